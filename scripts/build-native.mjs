/**
 * Builds the optional addon: dist/native/daxmirror.node, and a stamp beside it.
 *
 * Uses a C++ compiler, make, Python (node-gyp is written in it) and Node's headers where they are found on this machine, and downloads
 * nothing. Without them it says what is missing and leaves. The build runs in a folder of its own under dist/native, so that
 * sources stay clean and two builds at once do not meet; the finished file is renamed into place, as a running process may have the
 * old one mapped. Alone: `node scripts/build-native.mjs [--force] [--quiet] [--require]`.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const sources = join(root, 'src', 'native');
const abi = join(root, 'src', 'abi.ts');
const out = join(root, 'dist', 'native');
const addon = join(out, 'daxmirror.node');
const stamp = `${addon}.json`;
const require = createRequire(import.meta.url);

const OFF = 'real files under the arena (mirror works in plain memory) and the C++ peers of the benches are off';

/** The first command of `names` that runs, or null. */
function firstThatRuns(names) {
  return names.find((name) => name && spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0) ?? null;
}

/** A folder with include/node/node_api.h in it, or null: beside this Node, the system's, or what an earlier node-gyp left. */
function findHeaders() {
  const candidates = [
    process.env.npm_config_nodedir,
    dirname(dirname(process.execPath)),
    '/usr',
    '/usr/local',
    join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'node-gyp', process.versions.node),
  ];
  return candidates.find((dir) => dir && existsSync(join(dir, 'include/node/node_api.h')) && existsSync(join(dir, 'include/node/common.gypi'))) ?? null;
}

function findModule(name) {
  try {
    return require.resolve(name);
  } catch {
    return null;
  }
}

/** What a build needs. `reason` is null when it is all there, else what is missing and how to get it. */
export function detectToolchain() {
  if (process.platform !== 'linux') return { reason: 'the addon is for Linux' };
  const cxx = firstThatRuns([process.env.CXX, 'g++', 'c++', 'clang++']);
  if (cxx === null) return { reason: 'no C++ compiler', hint: 'install g++ or clang++, or set CXX' };
  const nodedir = findHeaders();
  if (nodedir === null) return { reason: "Node's headers not found", hint: 'install them (libnode-dev, or the tarball of this Node) and set npm_config_nodedir to the folder that has include/node' };
  const python = firstThatRuns([process.env.npm_config_python, process.env.PYTHON, 'python3', 'python']);
  if (python === null) return { reason: 'no Python', hint: 'node-gyp needs python3' };
  if (firstThatRuns(['make']) === null) return { reason: 'no make', hint: 'install make' };
  const nodeGyp = findModule('node-gyp/bin/node-gyp.js');
  if (nodeGyp === null || findModule('node-addon-api') === null) return { reason: 'node-gyp is not installed', hint: 'npm install without --omit=dev' };
  return { reason: null, cxx, nodedir, python, nodeGyp };
}

function inputFiles() {
  const native = readdirSync(sources, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(cc|h|gyp|mjs)$/.test(entry.name))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .filter((file) => relative(sources, file).split(sep)[0] !== 'build');
  return [abi, fileURLToPath(import.meta.url), ...native.sort()];
}

const sha256 = (data) => createHash('sha256').update(data).digest('hex');

function hashInputs({ cxx, nodedir }) {
  const hash = createHash('sha256');
  for (const part of [process.version, process.versions.modules, process.arch, cxx, nodedir]) hash.update(`${part}\0`);
  for (const file of inputFiles()) hash.update(`${relative(root, file)}\0${sha256(readFileSync(file))}\0`);
  return hash.digest('hex');
}

/** True when the addon in place is, byte for byte, what these inputs made. */
function isFresh(inputs) {
  try {
    const made = JSON.parse(readFileSync(stamp, 'utf8'));
    return made.inputs === inputs && made.sha256 === sha256(readFileSync(addon));
  } catch {
    return false;
  }
}

function compile(work, toolchain, quiet) {
  cpSync(abi, join(work, 'abi.ts'));
  cpSync(sources, join(work, 'native'), { recursive: true, filter: (from) => relative(sources, from).split(sep)[0] !== 'build' && !from.endsWith('load.ts') });
  const args = [toolchain.nodeGyp, 'rebuild', '--jobs=2', `--nodedir=${toolchain.nodedir}`, `--python=${toolchain.python}`, '--loglevel=error'];
  const env = { ...process.env, CXX: toolchain.cxx, PYTHONDONTWRITEBYTECODE: '1', PATH: `${dirname(process.execPath)}:${process.env.PATH ?? ''}` };
  const run = spawnSync(process.execPath, args, { cwd: join(work, 'native'), env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 1 << 26 });
  if (run.status !== 0) throw new Error(failureText(`${run.stdout}${run.stderr}`));
  if (!quiet && /\bwarning:/.test(run.stderr)) process.stderr.write(run.stderr);
  return readFileSync(join(work, 'native/build/Release/daxmirror.node'));
}

/** What went wrong on the first line, the end of the output below it. */
function failureText(output) {
  const lines = output.trimEnd().split('\n');
  const first = lines.find((line) => /\berror\b/i.test(line)) ?? lines.at(-1);
  return [`the C++ build failed: ${first.trim()}`, ...lines.slice(-40)].join('\n');
}

/** Writes `data` beside `to` and renames it there. */
function replace(to, data) {
  const next = `${to}.${process.pid}`;
  writeFileSync(next, data, { mode: 0o755 });
  renameSync(next, to);
}

/**
 * Builds unless the inputs are those of the addon in place (`force` builds anyway).
 * `{ built: true, reason: null, upToDate, path }`, or `{ built: false, reason, hint }` when something is missing; throws when the compiler does.
 */
export async function buildNative({ force = false, quiet = false } = {}) {
  const toolchain = detectToolchain();
  if (toolchain.reason !== null) return { built: false, reason: toolchain.reason, hint: toolchain.hint ?? null };
  const inputs = hashInputs(toolchain);
  if (!force && isFresh(inputs)) return { built: true, reason: null, upToDate: true, path: addon };
  mkdirSync(out, { recursive: true });
  const work = mkdtempSync(join(out, '.build-'));
  try {
    const binary = compile(work, toolchain, quiet);
    // Without a stamp for a moment rather than with the old one: a reader in between finds either pair whole or no stamp.
    rmSync(stamp, { force: true });
    replace(addon, binary);
    replace(stamp, `${JSON.stringify({ inputs, sha256: sha256(binary), node: process.version })}\n`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return { built: true, reason: null, upToDate: false, path: addon };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const flags = process.argv.slice(2);
  const unknown = flags.find((flag) => !['--force', '--quiet', '--require'].includes(flag));
  try {
    if (unknown !== undefined) throw new Error(`unknown flag ${unknown} (known: --force, --quiet, --require)`);
    const quiet = flags.includes('--quiet');
    const result = await buildNative({ force: flags.includes('--force'), quiet });
    if (!result.built) {
      console.log(`native addon not built: ${result.reason}. Without it ${OFF}.${result.hint ? ` To get it: ${result.hint}, then npm run build:native.` : ''}`);
      if (flags.includes('--require')) process.exitCode = 1;
    } else if (!quiet) {
      console.log(`native addon ${result.upToDate ? 'is up to date' : 'built'}: ${relative(process.cwd(), result.path) || result.path}`);
    }
  } catch (error) {
    console.error(`build-native: ${error.message}`);
    process.exitCode = 1;
  }
}
