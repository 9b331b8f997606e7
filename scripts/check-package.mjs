#!/usr/bin/env node
/**
 * `npm run check:package`: is what npm would publish whole, and nothing else? One line a problem, exit code 1 if there is any.
 *
 * Two looks: publint at package.json, and the list of files of `npm pack --dry-run` against what must and must not be in it.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const UNPACKED_BYTES_MAX = 8 * 1024 * 1024;

const MUST = ['package.json', 'LICENSE', 'README.md', 'CHANGELOG.md', 'dist/index.js', 'dist/index.d.ts', 'dist/cli/main.js', 'src/abi.ts', 'src/native/binding.gyp'].concat(
  ['shared', 'simd', 'scalar'].map((build) => `dist/wasm/walk.${build}.wasm`),
);
const MUST_NOT = [/^test\//, /^\.ci\//, /^scripts\//, /^assembly\//, /(?:^|\/)(?:node_modules|build|\.build)\//, /\.tgz$/, /^dist\/native\/[^/]*\.node$/, /\.(?:o|a|so)$/];

/** Problems with the list of packed files. */
export function fileProblems(files, unpackedBytes) {
  const names = new Set(files);
  const problems = MUST.filter((file) => !names.has(file)).map((file) => `${file} is not in the package`);
  for (const file of files) if (MUST_NOT.some((pattern) => pattern.test(file))) problems.push(`${file} does not belong in the package`);
  if (unpackedBytes > UNPACKED_BYTES_MAX) problems.push(`the package unpacks to ${unpackedBytes} bytes (at most ${UNPACKED_BYTES_MAX})`);
  return problems;
}

/** Packages that a packed .js or .d.ts imports and package.json does not name. `read` gives a file's text. */
export function undeclaredImports(files, manifest, read) {
  const declared = new Set([...Object.keys(manifest.dependencies ?? {}), ...Object.keys(manifest.optionalDependencies ?? {}), manifest.name, ...builtinModules]);
  const problems = [];
  for (const file of files.filter((name) => /^dist\/.*\.(?:js|d\.ts)$/.test(name))) {
    for (const [, , spec] of read(file).matchAll(/\b(?:from|import)\s*\(?\s*(['"])([@a-z][\w./@:-]*)\1/g)) {
      const name = spec.split('/').slice(0, spec.startsWith('@') ? 2 : 1).join('/');
      if (!spec.startsWith('node:') && !declared.has(name)) problems.push(`${file} imports ${spec}, which package.json does not name`);
    }
  }
  return problems;
}

/** What `npm pack` would take: [{ path, size }]. Nothing is built or written. */
function packList() {
  const npm = process.env.npm_execpath; // set under `npm run`; else the npm on the path
  const [command, args] = npm === undefined ? ['npm', []] : [process.execPath, [npm]];
  const { status, stdout, stderr } = spawnSync(command, [...args, 'pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: ROOT, encoding: 'utf8' });
  if (status !== 0) throw new Error(`npm pack --dry-run ended with ${status}: ${stderr.trim().split('\n').at(-1)}`);
  return JSON.parse(stdout)[0];
}

async function main() {
  const manifest = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8'));
  const packed = packList();
  const files = packed.files.map((file) => file.path);
  const { messages } = await publint({ pkgDir: 'package', strict: true, pack: { files: files.map((name) => ({ name: `package/${name}`, data: readFileSync(path.join(ROOT, name)) })) } });
  const problems = [
    ...messages.map((message) => `publint: ${formatMessage(message, manifest, { color: false })}`),
    ...fileProblems(files, packed.unpackedSize),
    ...undeclaredImports(files, manifest, (file) => readFileSync(path.join(ROOT, file), 'utf8')),
  ];
  for (const problem of problems) process.stderr.write(`check:package: ${problem}\n`);
  process.stdout.write(`check:package: ${files.length} files, ${Math.ceil(packed.size / 1024)} KiB packed, ${problems.length} problems\n`);
  process.exitCode = problems.length > 0 ? 1 : 0;
}

if (process.argv[1] !== undefined && path.resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  await main().catch((error) => {
    process.stderr.write(`check:package: ${error.message.split('\n')[0]}\n`);
    process.exitCode = 1;
  });
}
