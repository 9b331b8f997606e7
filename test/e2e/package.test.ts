/**
 * The package as users get it: packed, installed from the tarball into an empty folder, imported, run and type-checked there.
 *
 * No registry is asked: its dependencies are packed from the checkout's node_modules and handed to npm as overrides.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const CHECKOUT = fileURLToPath(new URL('../..', import.meta.url));
const EXAMPLE = path.join(CHECKOUT, 'examples', 'embed.mjs');

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  readonly dependencies?: Readonly<Record<string, string>>;
}
interface Packed {
  readonly filename: string;
  readonly name: string;
  readonly files: readonly { readonly path: string; readonly mode: number }[];
}
interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const manifest = JSON.parse(readFileSync(path.join(CHECKOUT, 'package.json'), 'utf8')) as Manifest;
/** the empty folder, in a path with a space and with names of folders of ours */
let consumer: string;
let folder: string;
let packed: Packed;

/** Without what an outer `npm test` says of itself. */
function outsideEnv(): NodeJS.ProcessEnv {
  const ours = /^(?:npm_(?:package|lifecycle|command|config_local_prefix|config_global_prefix|config_prefix)|INIT_CWD$|NODE_OPTIONS$|VITEST|DAXMIRROR_(?!NATIVE))/;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !ours.test(name)));
}

function run(command: string, args: readonly string[], cwd: string): Outcome {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, env: outsideEnv(), encoding: 'utf8', timeout: 110_000, maxBuffer: 2 ** 26 });
  if (error !== undefined) throw error;
  return { code: status, stdout, stderr };
}

/** The npm that runs this, or the one on the path. */
function npm(args: readonly string[], cwd: string): Outcome {
  const cli = process.env['npm_execpath'];
  const isNpm = cli !== undefined && /npm-cli\.[cm]?js$/.test(cli);
  const outcome = isNpm ? run(process.execPath, [cli, ...args], cwd) : run('npm', args, cwd);
  expect(outcome, `npm ${args[0]}`).toMatchObject({ code: 0 });
  return outcome;
}

/** Packs `specs` into `folder` and tells what is in each. */
function pack(specs: readonly string[]): Packed[] {
  return JSON.parse(npm(['pack', '--json', '--ignore-scripts', '--pack-destination', folder, ...specs], CHECKOUT).stdout) as Packed[];
}

/** Folders below node_modules that a user of the package gets: all that the lock file does not mark as development's. */
function runtimeFolders(): string[] {
  const lock = JSON.parse(readFileSync(path.join(CHECKOUT, 'package-lock.json'), 'utf8')) as { packages: Record<string, { dev?: boolean; devOptional?: boolean }> };
  return Object.entries(lock.packages)
    .filter(([name, { dev, devOptional }]) => name !== '' && dev !== true && devOptional !== true && existsSync(path.join(CHECKOUT, name)))
    .map(([name]) => `./${name}`);
}

beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'daxmirror package '));
  consumer = path.join(folder, 'check', 'dist', 'empty folder');
  mkdirSync(consumer, { recursive: true });
  [packed] = pack(['.']) as [Packed];
  const dependencies = pack(runtimeFolders());
  const overrides = Object.fromEntries(dependencies.map(({ name, filename }) => [name, `file:${path.join(folder, filename)}`]));
  expect(Object.keys(overrides)).toHaveLength(dependencies.length); // two versions of one package would need nested overrides
  writeFileSync(path.join(consumer, 'package.json'), JSON.stringify({ private: true, type: 'module', overrides }));
  npm(['install', '--offline', '--ignore-scripts', '--no-audit', '--no-fund', path.join(folder, packed.filename)], consumer);
}, 120_000);

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Runs an ES module of the consumer. */
function script(name: string, text: string): Outcome {
  writeFileSync(path.join(consumer, name), text);
  return run(process.execPath, [name], consumer);
}

describe('the tarball', () => {
  it('holds the library, the CLI, the WASM builds, the ABI, the addon’s sources, the licence and the README', () => {
    const files = packed.files.map((file) => file.path);
    expect(files).toEqual(expect.arrayContaining(['package.json', 'LICENSE', 'README.md', 'dist/index.js', 'dist/index.d.ts', 'dist/cli/main.js', 'src/abi.ts', 'src/native/binding.gyp']));
    expect(files).toEqual(expect.arrayContaining(['shared', 'simd', 'scalar'].map((build) => `dist/wasm/walk.${build}.wasm`)));
    expect(files.some((file) => /^src\/native\/.*\.cc$/.test(file))).toBe(true);
  });

  it('holds no tests, no scripts, no build leftovers, no binary of this machine', () => {
    const files = packed.files.map((file) => file.path);
    expect(files.filter((file) => /^(?:test|scripts|assembly|bench|\.ci)\/|\.test\.|\/build\/|\.build\/|\.(?:o|a|so|node|tgz)$/.test(file))).toEqual([]);
  });

  it('marks the CLI as executable', () => {
    expect((packed.files.find((file) => file.path === 'dist/cli/main.js')?.mode ?? 0) & 0o111).toBe(0o111);
  });

  it('brings its declared dependencies and nothing else', () => {
    const installed = readdirSync(path.join(consumer, 'node_modules')).filter((name) => !name.startsWith('.'));
    expect(installed).toEqual(expect.arrayContaining([manifest.name, ...Object.keys(manifest.dependencies ?? {}).map((name) => name.split('/')[0])]));
    expect(installed).not.toEqual(expect.arrayContaining(['typescript']));
    expect(installed.length).toBeLessThanOrEqual(runtimeFolders().length + 1);
  });
});

describe('installed in an empty folder', () => {
  it('imports as an ES module', () => {
    const outcome = script('import.mjs', "const m = await import('daxmirror'); console.log(typeof m.createMachine, typeof m.HmmError);");
    expect(outcome).toEqual({ code: 0, stdout: 'function function\n', stderr: '' });
  });

  it('imports by require(), where Node can', () => {
    const canRequire = (process.features as { require_module?: boolean }).require_module === true;
    const outcome = script('require.cjs', "console.log(typeof require('daxmirror').createMachine);");
    if (canRequire) expect(outcome).toMatchObject({ code: 0, stdout: 'function\n' });
    else expect(outcome.stderr).toContain('ERR_REQUIRE_ESM');
  });

  it('keeps its inside to itself', () => {
    const outcome = script('inside.mjs', "await import('daxmirror/dist/machine.js').then(() => console.log('open'), (error) => console.log(error.code));");
    expect(outcome.stdout).toBe('ERR_PACKAGE_PATH_NOT_EXPORTED\n');
  });

  it('answers --version and --help through npx', () => {
    expect(npm(['exec', '--offline', '--no', '--', 'daxmirror', '--version'], consumer).stdout.trim()).toBe(manifest.version);
    expect(npm(['exec', '--offline', '--no', '--', 'daxmirror', '--help'], consumer).stdout).toMatch(/^usage: daxmirror/im);
  });

  it('names places of its own the same wherever it is installed', () => {
    writeFileSync(path.join(consumer, 'pinned.scn'), ['open d dev:dax4k', 'map a 2M d', 'touch a w', 'pin p a 1', ''].join('\n'));
    const outcome = npm(['exec', '--offline', '--no', '--', 'daxmirror', 'run', '--stacks', 'pinned.scn'], consumer);
    expect(outcome.stdout).toMatch(/held: a pin of 1024 references by pin_user_pages, taken in "pin p a 1" \(main\)\n(?: +at .*\n)* +at pinUserPages \(mm\/gup\//);
    expect(outcome.stdout).not.toContain(folder);
  });

  it('type-checks under strict options, libraries too, without the DOM', () => {
    const compilerOptions = {
      strict: true,
      noUncheckedIndexedAccess: true,
      exactOptionalPropertyTypes: true,
      noEmit: true,
      target: 'es2023',
      lib: ['es2023', 'esnext.disposable'],
      module: 'nodenext',
      types: ['node'],
      typeRoots: [path.join(CHECKOUT, 'node_modules', '@types')],
      skipLibCheck: false,
    };
    writeFileSync(path.join(consumer, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['consumer.ts'] }));
    const source = [
      "import { createMachine, HmmError } from 'daxmirror';",
      "import * as everything from 'daxmirror';",
      'export const names: string[] = Object.keys(everything);',
      'export const make: () => Promise<unknown> = () => createMachine();',
      'export function isOurs(error: unknown): error is HmmError { return HmmError.is(error); }',
      '// @ts-expect-error: a name that is not there, so that the types are known to be looked at',
      "export { noSuchName } from 'daxmirror';",
    ];
    writeFileSync(path.join(consumer, 'consumer.ts'), `${source.join('\n')}\n`);
    const outcome = run(process.execPath, [path.join(CHECKOUT, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', '.', '--pretty', 'false'], consumer);
    expect(outcome).toEqual({ code: 0, stdout: '', stderr: '' });
  });

  if (existsSync(EXAMPLE)) {
    it('runs the embedding example', () => {
      copyFileSync(EXAMPLE, path.join(consumer, 'embed.mjs'));
      const outcome = run(process.execPath, ['embed.mjs'], consumer);
      expect(outcome).toMatchObject({ code: 0, stderr: '' });
      expect(outcome.stdout).not.toBe('');
    });
  }
});
