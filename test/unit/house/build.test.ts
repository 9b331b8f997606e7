/**
 * The build script, on a small project in a folder with spaces: its own sources, its own asc and addon stand-ins, the real tsc.
 */
import { spawn, spawnSync, type SpawnOptions } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { needs } from '../../support/skips.ts';

const CHECKOUT = fileURLToPath(new URL('../../..', import.meta.url));
const NOBODY = 65534;

let folder: string;
let root: string;

/** dist of the project as beforeEach lays it: built once, copied by `built()` */
let builtOnce: string;

beforeAll(async () => {
  lay();
  const outcome = await build();
  expect(outcome).toMatchObject({ code: 0, stdout: '' });
  expect(outcome.stderr).toMatch(/^build: ts, wasm in [\d.]+ s\n$/); // the one line of a build that had something to do
  rmSync(path.join(root, 'wasm-runs'));
  builtOnce = folder;
});
afterAll(() => rmSync(builtOnce, { recursive: true, force: true }));
beforeEach(lay);
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function built(): void {
  cpSync(path.join(builtOnce, 'a project', 'dist'), path.join(root, 'dist'), { recursive: true });
}

function lay(): void {
  folder = mkdtempSync(path.join(os.tmpdir(), 'daxmirror build '));
  root = path.join(folder, 'a project');
  for (const script of ['build.mjs', 'build']) cpSync(path.join(CHECKOUT, 'scripts', script), path.join(root, 'scripts', script), { recursive: true });
  cpSync(path.join(CHECKOUT, 'tsconfig.json'), path.join(root, 'tsconfig.json'));
  symlinkSync(path.join(CHECKOUT, 'node_modules'), path.join(root, 'node_modules'), 'dir');
  put('package.json', '{ "type": "module" }\n');
  put('src/abi.ts', 'export const ABI_VERSION = 7;\n');
  put('src/cli/main.ts', "#!/usr/bin/env node\nimport { ABI_VERSION } from '../abi.ts';\nconsole.log(ABI_VERSION);\n");
  put('assembly/index.ts', 'export function f(): u32 { return 1; }\n');
  // stands for asc: counts its runs, takes its time
  put(
    'scripts/build-wasm.mjs',
    `import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
     export async function buildWasm({ outDir }) {
       const source = readFileSync(new URL('../assembly/index.ts', import.meta.url), 'utf8');
       appendFileSync(new URL('../wasm-runs', import.meta.url), 'x');
       await new Promise((resolve) => setTimeout(resolve, 200));
       if (source.includes('broken')) throw new Error('asc: 1 parse error(s)\\nERROR TS2304: Cannot find name.\\n\\n in assembly/index.ts(1,2)\\n');
       writeFileSync(outDir + '/walk.scalar.wasm', source);
     }\n`,
  );
}

function put(file: string, text: string): void {
  mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
  writeFileSync(path.join(root, file), text);
}

function get(file: string): string {
  return readFileSync(path.join(root, file), 'utf8');
}

interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function build(args: readonly string[] = [], options: SpawnOptions = {}): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, ...options.env };
    const child = spawn(process.execPath, [path.join(root, 'scripts', 'build.mjs'), ...args], { cwd: os.tmpdir(), ...options, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let [stdout, stderr] = ['', ''];
    child.stdout?.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    child.on('error', reject).on('close', (code) => resolve({ code, stdout, stderr }));
  });
}

/** Files of dist and their contents, the build's own notes left out. */
function dist(): Record<string, string> {
  const files = readdirSync(path.join(root, 'dist'), { recursive: true, encoding: 'utf8' }).filter((file) => !file.startsWith('.') && statSync(path.join(root, 'dist', file)).isFile());
  return Object.fromEntries(files.sort().map((file) => [file.split(path.sep).join('/'), get(path.join('dist', file))]));
}

const SILENT = { code: 0, stdout: '', stderr: '' };

describe('build', () => {
  it('compiles both parts and gives the CLI its exec bit', () => {
    built();
    expect(Object.keys(dist())).toEqual(['abi.d.ts', 'abi.js', 'cli/main.d.ts', 'cli/main.js', 'wasm/walk.scalar.wasm']);
    expect(statSync(path.join(root, 'dist/cli/main.js')).mode & 0o111).toBe(0o111);
    expect(spawnSync(process.execPath, [path.join(root, 'dist/cli/main.js')], { encoding: 'utf8' }).stdout).toBe('7\n');
  });

  it('is silent when nothing changed, and says it is up to date only when asked', async () => {
    built();
    const stamp = statSync(path.join(root, 'dist/.build/ts.json')).mtimeMs;
    expect(await build()).toEqual(SILENT);
    expect(await build(['--verbose'])).toEqual({ ...SILENT, stderr: 'build: up to date\n' });
    expect(statSync(path.join(root, 'dist/.build/ts.json')).mtimeMs).toBe(stamp);
  });

  it('compiles only the part whose inputs changed, by content', async () => {
    built();
    put('src/abi.ts', get('src/abi.ts'));
    expect(await build()).toEqual(SILENT);
    put('src/cli/main.ts', `${get('src/cli/main.ts')}// more\n`);
    expect((await build()).stderr).toMatch(/^build: ts in/);
    put('assembly/index.ts', `${get('assembly/index.ts')}// more\n`);
    expect((await build()).stderr).toMatch(/^build: wasm in/);
    expect(get('dist/wasm/walk.scalar.wasm')).toContain('more');
    put('src/abi.ts', 'export const ABI_VERSION = 8;\n');
    expect((await build()).stderr).toMatch(/^build: ts, wasm in/);
  });

  it('removes the outputs of deleted sources, and what nobody made', async () => {
    put('src/mm/vma.ts', 'export const x = 1;\n');
    await build();
    expect(Object.keys(dist())).toContain('mm/vma.js');
    rmSync(path.join(root, 'src/mm'), { recursive: true });
    put('dist/left.js', 'export {};\n');
    put('dist/wasm/old.wasm', '');
    put('dist/native/daxmirror.node', 'the addon');
    put('assembly/index.ts', '// other\n');
    await build();
    expect(Object.keys(dist())).toEqual(['abi.d.ts', 'abi.js', 'cli/main.d.ts', 'cli/main.js', 'native/daxmirror.node', 'wasm/walk.scalar.wasm']);
    expect(existsSync(path.join(root, 'dist/mm'))).toBe(false);
  });

  it('makes again what is missing from dist', async () => {
    built();
    rmSync(path.join(root, 'dist/abi.js'));
    expect((await build()).stderr).toMatch(/^build: ts in/);
    expect(existsSync(path.join(root, 'dist/abi.js'))).toBe(true);
  });

  it('a type error is one line, exit code 1, and leaves dist as it was', async () => {
    built();
    const before = dist();
    put('src/abi.ts', "export const ABI_VERSION: number = 'x';\nexport const Y: number = 'y';\n");
    put('assembly/index.ts', 'broken');
    const { code, stderr } = await build();
    expect(code).toBe(1);
    expect(stderr.split('\n')).toHaveLength(2);
    expect(stderr).toMatch(/^build: TypeScript: src\/abi\.ts\(1,14\): error TS2322: .* \(and 1 more: npm run typecheck\); WASM: ERROR TS2304: Cannot find name\. in assembly\/index\.ts\(1,2\)\n$/);
    expect(dist()).toEqual(before);
    expect((await build()).code).toBe(1);
  });

  it('one part that fails does not hold up the other', async () => {
    put('assembly/index.ts', 'broken');
    expect((await build()).stderr).toMatch(/^build: WASM: ERROR TS2304/);
    expect(Object.keys(dist())).toContain('abi.js');
  });

  it('three builds at once: one works, the others wait, nothing is left lying about', async () => {
    const outcomes = await Promise.all([build(), build(), build()]);
    expect(outcomes.map(({ code }) => code)).toEqual([0, 0, 0]);
    expect(outcomes.filter(({ stderr }) => stderr !== '')).toHaveLength(1);
    expect(get('wasm-runs')).toBe('x');
    expect(readdirSync(path.join(root, 'dist/.build')).sort()).toEqual(['ts.json', 'wasm.json']);
    expect(await build()).toEqual(SILENT);
  });

  it('takes over the lock of a build that was killed', async () => {
    const { pid } = spawnSync(process.execPath, ['-e', '']);
    put('dist/.build/lock', `${pid}\n`);
    put(`dist/.build/ts-${pid}/half.js`, '');
    expect((await build()).code).toBe(0);
    expect(readdirSync(path.join(root, 'dist/.build')).sort()).toEqual(['ts.json', 'wasm.json']);
  });

  it('says in one line what is wrong with its surroundings', async () => {
    const line = async (...args: string[]): Promise<string> => {
      const { code, stderr } = await build(args);
      expect([code, stderr.split('\n').length]).toEqual([1, 2]);
      return stderr;
    };
    expect(await line('--fast')).toContain('unknown option --fast');
    put('dist', 'a file\n');
    expect(await line()).toMatch(/cannot write dist\/: E\w+/);
    rmSync(path.join(root, 'node_modules'));
    expect(await line()).toContain('run npm ci');
  });
});

describe('build --native', () => {
  const addon = (body: string): void => put('scripts/build-native.mjs', `export async function buildNative(options) { ${body} }\n`);

  it('builds the addon beside the rest', async () => {
    built();
    addon("const fs = await import('node:fs'); fs.writeFileSync(new URL('../addon', import.meta.url), JSON.stringify(options)); return { built: true, reason: null, upToDate: false };");
    expect((await build(['--native'])).stderr).toMatch(/^build: addon in [\d.]+ s\n$/);
    expect(JSON.parse(get('addon'))).toEqual({ quiet: true });
  });

  it('is silent when the addon is up to date too', async () => {
    built();
    addon('return { built: true, reason: null, upToDate: true };');
    expect(await build(['--native'])).toEqual(SILENT);
  });

  it('says in one line what is off where it cannot be built', async () => {
    built();
    addon("return { built: false, reason: 'no C++ compiler', hint: 'install one' };");
    const { code, stderr } = await build(['--native']);
    expect(code).toBe(0);
    expect(stderr).toMatch(/^build: addon off \(no C\+\+ compiler\): .*; to get it: install one, then npm run build:native\n$/);
  });

  it('a compiler that fails is a failure', async () => {
    built();
    addon("throw new Error('addon.cc:3: error: expected ;\\nmore');");
    expect(await build(['--native'])).toEqual({ code: 1, stdout: '', stderr: 'build: addon: addon.cc:3: error: expected ;\n' });
  });

  it('DAXMIRROR_NATIVE=off leaves it alone', async () => {
    built();
    addon("throw new Error('called');");
    expect(await build(['--native'], { env: { DAXMIRROR_NATIVE: 'off' } })).toEqual({ ...SILENT, stderr: 'build: addon off (DAXMIRROR_NATIVE=off)\n' });
  });

  it('is never built without being asked for', async () => {
    addon("throw new Error('called');");
    expect((await build()).code).toBe(0);
  });
});

// A user other than root can only be become by root, and only where the checkout is open to everybody.
const probe = spawnSync(process.execPath, ['-e', `require('node:fs').readFileSync(${JSON.stringify(path.join(CHECKOUT, 'node_modules', 'typescript', 'package.json'))})`], { uid: NOBODY, gid: NOBODY });
needs('root', process.getuid?.() === 0 && probe.status === 0, import.meta.url).describe('build as another user', () => {
  beforeEach(() => chmodSync(folder, 0o755));

  it('asks for no right to write while dist is up to date', async () => {
    built();
    expect(await build([], { uid: NOBODY, gid: NOBODY })).toEqual(SILENT);
  });

  it('says in one line that it may not write', async () => {
    expect(await build([], { uid: NOBODY, gid: NOBODY })).toEqual({ code: 1, stdout: '', stderr: 'build: cannot write dist/: EACCES\n' });
    await build();
    put('src/abi.ts', 'export const ABI_VERSION = 8;\n');
    expect(await build([], { uid: NOBODY, gid: NOBODY })).toEqual({ code: 1, stdout: '', stderr: 'build: cannot write dist/: EACCES\n' });
  });
});
