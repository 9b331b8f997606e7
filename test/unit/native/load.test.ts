/** Finding and loading the addon: present, switched off, missing, damaged, foreign, of another ABI. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { ABI_VERSION } from '../../../src/abi.ts';
import { loadNative } from '../../../dist/native/load.js';
import { detectToolchain } from '../../../scripts/build-native.mjs';
import { ROOT, addon, runProgram, temporaryFolder, withAddon } from './addon.ts';

const compiled = withAddon(import.meta.url);
const folder = temporaryFolder();
const BUILT = path.join(ROOT, 'dist/native/daxmirror.node');

/** What loading the file at `file`, asked for by name, ends in: 'loaded' or `CODE message`. In a process of its own: it might die. */
function loading(file: string): string {
  const child = runProgram(`
    try { loadNative({ env: { DAXMIRROR_NATIVE: process.argv[1] } }); console.log('loaded'); }
    catch (error) { console.log(error.code + ' ' + error.message); }`, [file]);
  return child.signal === null ? child.stdout.trim() : `died of ${child.signal}`;
}

compiled.describe('an addon that was built', () => {
  compiled.it('is found, speaks our ABI, and says where it came from', () => {
    for (const env of [{}, { DAXMIRROR_NATIVE: '' }, { DAXMIRROR_NATIVE: 'on' }, { DAXMIRROR_NATIVE: BUILT }]) {
      const { native, reason } = loadNative({ env });
      expect(reason).toBeNull();
      expect(native?.abiVersion()).toBe(ABI_VERSION);
      expect(native?.path).toBe(BUILT);
    }
  });

  compiled.it('is frozen and shows nothing of how it is wired', () => {
    const native = addon();
    expect(Object.isFrozen(native)).toBe(true);
    expect(native).not.toHaveProperty('setErrors');
  });

  compiled.it('is loaded by the main thread and by Workers', () => {
    const child = runProgram(`
      const mine = loadNative({ env: {} }).native.abiVersion();
      const { message, worker } = await inWorker("import(workerData.loader).then(({ loadNative }) => parentPort.postMessage(loadNative({ env: {} }).native.abiVersion()))", {});
      await worker.terminate();
      console.log(mine === message);`);
    expect(child.stdout).toBe('true\n');
  });

  compiled.it('throws ENOEXEC and both versions when it has another ABI', () => {
    const file = foreignAddon('other', `napi_value version(napi_env env, napi_callback_info info) { napi_value v; napi_create_uint32(env, ${ABI_VERSION + 41}, &v); return v; }`, ['abiVersion', 'setErrors']);
    const text = loading(file);
    expect(text).toMatch(new RegExp(`^ENOEXEC loadNative: .*other\\.node has ABI version ${ABI_VERSION + 41}, this package ${ABI_VERSION}; npm run build:native \\(ENOEXEC\\)$`));
  });

  compiled.it('is told from an addon of something else', () => {
    const file = foreignAddon('foreign', 'napi_value version(napi_env env, napi_callback_info info) { return NULL; }', ['hello']);
    expect(loading(file)).toMatch(/^ENOEXEC .*foreign\.node: is an addon of something else \(ENOEXEC\)$/);
  });

  compiled.it('cut short anywhere is refused in one line, not died of', () => {
    const { length } = readFileSync(BUILT);
    for (const keep of [0, 10, 63, 64, 4096, Math.floor(length / 3), Math.floor(length / 2), length - 4096, length - 1]) {
      const file = path.join(folder, 'cut.node');
      copyFileSync(BUILT, file);
      truncateSync(file, keep);
      expect(`${keep}: ${loading(file)}`).toMatch(/^\d+: ENOEXEC loadNative: .*(too short for a library|is cut short) \(ENOEXEC\)$/);
    }
  });

  compiled.it('whose bytes are not those of its stamp is refused', () => {
    const file = path.join(folder, 'changed.node');
    const bytes = readFileSync(BUILT);
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] as number) ^ 1;
    writeFileSync(file, bytes);
    copyFileSync(`${BUILT}.json`, `${file}.json`);
    expect(loading(file)).toMatch(/ENOEXEC .*is not the file that was built/);
    writeFileSync(file, readFileSync(BUILT));
    expect(loading(file)).toBe('loaded');
    writeFileSync(`${file}.json`, '{');
    expect(loading(file)).toMatch(/ENOEXEC .*its stamp cannot be read/);
  });
});

describe('without it', () => {
  it('off is a reason', () => {
    expect(loadNative({ env: { DAXMIRROR_NATIVE: 'off' } })).toEqual({ native: null, reason: 'switched off by DAXMIRROR_NATIVE=off' });
  });

  it('process.env is asked by default', () => {
    const before = process.env['DAXMIRROR_NATIVE'];
    process.env['DAXMIRROR_NATIVE'] = 'off';
    try {
      expect(loadNative().native).toBeNull();
    } finally {
      if (before === undefined) delete process.env['DAXMIRROR_NATIVE'];
      else process.env['DAXMIRROR_NATIVE'] = before;
    }
  });

  it('a dist without one, or with one that is damaged, gives a reason that says how to get it', () => {
    const dist = path.join(folder, 'dist');
    mkdirSync(path.join(dist, 'native'), { recursive: true });
    writeFileSync(path.join(folder, 'package.json'), '{ "type": "module" }');
    for (const file of ['abi.js', 'errno.js', 'nearest.js', 'native/load.js', 'native/elf.js']) copyFileSync(path.join(ROOT, 'dist', file), path.join(dist, file));
    const reason = (): string => execFileSync(process.execPath, ['--input-type=module', '-e', `
      const { loadNative } = await import(process.argv[1]); const { native, reason } = loadNative({ env: {} }); console.log(native, reason);`, path.join(dist, 'native/load.js')], { encoding: 'utf8' });
    expect(reason()).toBe('null not built: npm run build:native\n');
    writeFileSync(path.join(dist, 'native/daxmirror.node'), 'not a library, but long enough to be taken for one by its length alone');
    expect(reason()).toMatch(/^null \S+daxmirror\.node: is no library; npm run build:native\n$/);
  });

  it('a path that leads nowhere throws ENOENT, one to something else ENOEXEC', () => {
    expect(loading(path.join(folder, 'none.node'))).toMatch(/^ENOENT loadNative: DAXMIRROR_NATIVE=\S+none\.node: cannot be read \(ENOENT\) \(ENOENT\)$/);
    expect(loading(folder)).toMatch(/^ENOEXEC .*cannot be read \(EISDIR\)/);
    const text = path.join(folder, 'text.node');
    writeFileSync(text, 'x'.repeat(5000));
    expect(loading(text)).toMatch(/^ENOEXEC .*is no library/);
  });

  it('an unknown option throws by name', () => {
    expect(() => loadNative({ enviroment: {} } as object)).toThrow(/loadNative: unknown option 'enviroment'/);
  });
});

/** Compiles an addon whose exports `names` are all `version`. */
function foreignAddon(name: string, body: string, names: readonly string[]): string {
  const toolchain = detectToolchain();
  if (toolchain.reason !== null) throw new Error(toolchain.reason);
  const source = path.join(folder, `${name}.cc`);
  const file = path.join(folder, `${name}.node`);
  const sets = names.map((key) => `napi_create_function(env, "${key}", NAPI_AUTO_LENGTH, version, NULL, &f); napi_set_named_property(env, exports, "${key}", f);`);
  writeFileSync(source, `#include <node_api.h>\nstatic ${body}\nNAPI_MODULE_INIT() { napi_value f; ${sets.join(' ')} return exports; }\n`);
  execFileSync(toolchain.cxx, ['-shared', '-fPIC', '-I', path.join(toolchain.nodedir, 'include/node'), '-o', file, source]);
  return file;
}
