#!/usr/bin/env node
/**
 * The build: assembly/ -> dist/wasm (asc) and src/ -> dist (tsc), each only when its inputs changed.
 *
 * Run by prestart, pretest and prepack; silent when there is nothing to do. What it guarantees:
 * - inputs are compared by content (scripts/build/stamp.mjs), outputs by presence and size;
 * - a part is compiled into a folder of its own and moved into dist file by file, so that a failed build changes
 *   nothing and a reader never sees half a file; outputs of deleted sources go away;
 * - two builds at once wait for each other (scripts/build/lock.mjs); one with nothing to do waits for nobody and writes nothing;
 * - a failure is one line on stderr and exit code 1 (--verbose adds the compilers' own words).
 *
 * node scripts/build.mjs [--native] [--force] [--verbose]
 *   --native   the addon too, where a C++ compiler and Node's headers are found; else one line says what is off
 */
import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { withLock } from './build/lock.mjs';
import { filesUnder, hashInputs, isCurrent, moveOutputs, readStamp, removeStamp, sweep, writeStamp } from './build/stamp.mjs';

const NODE_MIN = [20, 19];

/** A failure that has been put into one line. `details` is what a compiler said. */
export class BuildError extends Error {
  constructor(message, details = '') {
    super(message);
    this.details = details;
  }
}

/** The two parts: what goes in, what comes out where, who compiles it. */
function partsOf(root) {
  const dist = path.join(root, 'dist');
  const ts = {
    name: 'ts',
    inputs: [...filesUnder(path.join(root, 'src'), /\.ts$/), path.join(root, 'tsconfig.json')],
    tools: ['typescript', '@types/node'],
    target: dist,
    stale: { in: dist, pattern: /\.(?:js|d\.ts)(?:\.map)?$/, except: ['.build', 'wasm'] },
    compile: (outDir) => compileTypeScript(root, outDir),
  };
  const wasm = {
    name: 'wasm',
    inputs: [...filesUnder(path.join(root, 'assembly'), /\.(?:ts|json)$/), path.join(root, 'src', 'abi.ts'), path.join(root, 'scripts', 'build-wasm.mjs')],
    tools: ['assemblyscript', 'binaryen'],
    target: path.join(dist, 'wasm'),
    stale: { in: path.join(dist, 'wasm'), pattern: /\.wasm$/, except: [] },
    compile: (outDir) => compileWasm(root, outDir),
  };
  return [ts, wasm];
}

/**
 * Builds what is out of date under `root`; resolves to the names of what was built.
 * Throws BuildError; dist is then as it was.
 */
export async function build({ root, native = false, force = false, verbose = false, ...unknown }) {
  for (const key of Object.keys(unknown)) throw new TypeError(`build: unknown option ${key}`);
  checkNode();
  const parts = partsOf(root);
  const stampDir = path.join(root, 'dist', '.build');
  for (const part of parts) part.hash = hashPart(root, part);
  const isStale = (part) => !isCurrent(readStamp(stampDir, part.name), part.hash, part.target);
  if (!native && !force && !parts.some(isStale)) return [];

  makeFolder(stampDir);
  return withLock(path.join(stampDir, 'lock'), async () => {
    clearStaging(stampDir);
    const stale = force ? parts : parts.filter(isStale); // another build may have done the work meanwhile
    const work = stale.map((part) => buildPart(stampDir, part)); // in processes of their own: the addon's build holds this one up
    if (native) work.push(buildAddon(root, verbose));
    const outcomes = await Promise.allSettled(work); // each with its name, or null for an addon that was not built
    if (stale.length > 0) keepOutOfPackage(root);
    const failed = outcomes.filter((outcome) => outcome.status === 'rejected').map((outcome) => outcome.reason);
    if (failed.length > 0) throw failed.length === 1 ? failed[0] : joinFailures(failed);
    return outcomes.map((outcome) => outcome.value).filter((name) => name !== null);
  });
}

async function buildPart(stampDir, part) {
  const staging = path.join(stampDir, `${part.name}-${process.pid}`);
  rmSync(staging, { recursive: true, force: true });
  mkdirSync(staging, { recursive: true });
  try {
    const from = await part.compile(staging);
    removeStamp(stampDir, part.name); // from here until the new stamp stands, dist counts as out of date
    const outputs = moveOutputs(from, part.target);
    sweep(part.stale, new Set(outputs.map((output) => path.join(part.target, output.path))));
    writeStamp(stampDir, part.name, part.hash, outputs);
    return part.name;
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

/** What a killed build left. Concurrency: only with the lock held. */
function clearStaging(stampDir) {
  for (const entry of readdirSync(stampDir, { withFileTypes: true })) {
    if (entry.isDirectory()) rmSync(path.join(stampDir, entry.name), { recursive: true, force: true });
  }
}

/** tsc into `outDir`; the CLI's entry gets its exec bit. Returns the folder whose files are the outputs. */
async function compileTypeScript(root, outDir) {
  const tsc = path.join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const { code, output } = await run([tsc, '-p', path.join(root, 'tsconfig.json'), '--outDir', outDir, '--pretty', 'false'], root);
  if (code !== 0) {
    const errors = output.split('\n').filter((line) => /error TS\d+/.test(line));
    const more = errors.length > 1 ? ` (and ${errors.length - 1} more: npm run typecheck)` : '';
    throw new BuildError(`TypeScript: ${errors[0] ?? `tsc ended with ${code}`}${more}`, output);
  }
  const entry = path.join(outDir, 'cli', 'main.js');
  if (existsSync(entry)) chmodSync(entry, 0o755);
  return outDir;
}

/** asc in a process of its own (it would block this one), three builds into `outDir`. */
async function compileWasm(root, outDir) {
  const script = path.join(root, 'scripts', 'build-wasm.mjs');
  const program = `const [script, outDir] = process.argv.slice(1);
    try { const { buildWasm } = await import(script); await buildWasm({ outDir }); }
    catch (error) { console.error(error?.message ?? String(error)); process.exitCode = 1; }`;
  const { code, output } = await run(['--input-type=module', '-e', program, pathToFileURL(script).href, outDir], root);
  if (code !== 0) {
    const lines = output.split('\n').map((line) => line.trim());
    const first = lines.find((line) => /^(?:ERROR|FAILURE)\b/.test(line)) ?? lines.find((line) => /error/i.test(line)) ?? lines.find((line) => line !== '') ?? `asc ended with ${code}`;
    const where = lines.find((line) => /\.ts\(\d+,\d+\)/.test(line));
    throw new BuildError(`WASM: ${first}${where === undefined || where === first ? '' : ` ${where.replace(/^\W+/, '')}`}`, output);
  }
  const made = filesUnder(outDir, /\.wasm$/);
  if (made.length === 0) throw new BuildError('WASM: scripts/build-wasm.mjs wrote no .wasm file', output);
  return path.dirname(made[0]);
}

/** The addon, or one line that says what is off. A compiler that is there and fails is a failure. 'addon' if it was built. */
async function buildAddon(root, verbose) {
  if (process.env.DAXMIRROR_NATIVE === 'off') {
    note('addon off (DAXMIRROR_NATIVE=off)');
    return null;
  }
  let outcome;
  try {
    const { buildNative } = await import(pathToFileURL(path.join(root, 'scripts', 'build-native.mjs')).href);
    outcome = await buildNative({ quiet: !verbose });
  } catch (error) {
    throw new BuildError(`addon: ${String(error?.message ?? error).split('\n')[0]}`, String(error?.stack ?? error));
  }
  if (outcome.reason === null) return outcome.upToDate ? null : 'addon';
  const how = outcome.hint ? `; to get it: ${outcome.hint}, then npm run build:native` : '';
  note(`addon off (${outcome.reason}): plain memory instead of mapped files, no C++ peers in benches${how}`);
  return null;
}

/** Stamps, a lock and the addon of this very machine are no part of the package. */
function keepOutOfPackage(root) {
  const file = path.join(root, 'dist', '.npmignore');
  const text = '.build\nnative/*\n!native/*.js\n!native/*.d.ts\n!native/prebuilds\n';
  if (!existsSync(file) || readFileSync(file, 'utf8') !== text) writeFileSync(file, text);
}

function hashPart(root, part) {
  const extra = part.tools.map((name) => {
    const file = path.join(root, 'node_modules', name, 'package.json');
    if (!existsSync(file)) throw new BuildError(`${name} is not installed: run npm ci`);
    return `${name}@${JSON.parse(readFileSync(file, 'utf8')).version}`;
  });
  for (const file of part.inputs) {
    if (!existsSync(file)) throw new BuildError(`${path.relative(root, file)} is missing`);
  }
  const { type } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')); // tsc asks for it
  return hashInputs(root, part.inputs, [...extra, `type=${type}`, scriptText()]);
}

/** The build's own text counts as an input of both parts. */
function scriptText() {
  const here = path.dirname(fileURLToPath(import.meta.url));
  return ['build.mjs', 'build/stamp.mjs'].map((name) => readFileSync(path.join(here, name), 'utf8')).join('\n');
}

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const [majorMin, minorMin] = NODE_MIN;
  if (major < majorMin || (major === majorMin && minor < minorMin)) throw new BuildError(`Node >= ${NODE_MIN.join('.')} is needed, this is ${process.versions.node}`);
}

function makeFolder(folder) {
  try {
    mkdirSync(folder, { recursive: true });
    if (!statSync(folder).isDirectory()) throw new Error('not a folder');
  } catch (error) {
    throw new BuildError(`cannot write ${path.basename(path.dirname(folder))}/: ${error.code ?? error.message}`);
  }
}

function joinFailures(failures) {
  const error = new BuildError(failures.map((failure) => failure.message).join('; '));
  error.details = failures.map((failure) => failure.details ?? failure.stack).join('\n');
  return error;
}

/** Runs this Node with `args`; resolves to its exit code and all it printed. No shell: any path will do. */
function run(args, cwd) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const collect = (chunk) => (output += chunk);
    child.stdout.setEncoding('utf8').on('data', collect);
    child.stderr.setEncoding('utf8').on('data', collect);
    child.on('error', reject).on('close', (code, signal) => resolve({ code: code ?? signal, output }));
  });
}

function note(text) {
  process.stderr.write(`build: ${text}\n`);
}

async function main(argv) {
  const known = new Set(['--native', '--force', '--verbose']);
  const verbose = argv.includes('--verbose');
  try {
    const unknown = argv.find((arg) => !known.has(arg));
    if (unknown !== undefined) throw new BuildError(`unknown option ${unknown} (known: ${[...known].join(' ')})`);
    const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
    const started = performance.now();
    const built = await build({ root, native: argv.includes('--native'), force: argv.includes('--force'), verbose });
    if (built.length > 0) note(`${built.join(', ')} in ${((performance.now() - started) / 1000).toFixed(1)} s`);
    else if (verbose) note('up to date');
  } catch (error) {
    const line = error.code === 'EACCES' || error.code === 'EROFS' || error.code === 'EPERM' ? `cannot write dist/: ${error.code}` : error.message;
    note(line.split('\n')[0]);
    if (verbose) process.stderr.write(`${error.details || error.stack}\n`);
    process.exitCode = 1;
  }
}

if (process.argv[1] !== undefined && path.resolve(process.argv[1]) === fileURLToPath(import.meta.url)) await main(process.argv.slice(2));
