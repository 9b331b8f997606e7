/**
 * src/abi.ts means the same to asc as to TypeScript, and the three builds are what embedders are told they are.
 */
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import * as abi from '../../../src/abi.ts';
import { BUILDS, BareArena, wasmBytes } from '../../support/wasm.ts';

/** By a name that tsc does not follow: asc's types declare WASM's as globals. */
const ASC: string = 'assemblyscript/asc';
interface Asc {
  main(argv: string[], options: object): Promise<{ error: Error | null; stderr: { toString(): string } }>;
}

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

/** Fields of 8 bytes in a request block; the others have 4. */
const WIDE = new Set([
  'REQ_VPN', 'REQ_PFN', 'REQ_VALID_WORD', 'REQ_WRITE_WORD', 'REQ_NONE_WORD', 'REQ_REQ_FAULT', 'REQ_REQ_WRITE', 'REQ_FLAGS_MASK', 'REQ_DEFAULT', 'REQ_ZERO_PFN',
  'REQ_AND', 'REQ_OR', 'REQ_OR_IF_DIRTY', 'STOP_VPN', 'STOP_END', 'STOP_LAST', 'STOP_ENTRY', 'CALL_VPN', 'CALL_NPAGES',
]);

/** Every export of `source`, a module beside assembly/'s, as WASM globals. */
async function globalsOf(source: string): Promise<Map<string, number | bigint>> {
  let binary: Uint8Array<ArrayBuffer> | undefined;
  const { default: asc } = (await import(ASC)) as { default: Asc };
  const { error, stderr } = await asc.main(['assembly/drift.ts', '--runtime', 'stub', '--config', 'none', '--baseDir', ROOT, '--outFile', 'drift.wasm'], {
    readFile: (name: string) => (name === 'assembly/drift.ts' ? source : readSource(name)),
    writeFile: (name: string, contents: string | Uint8Array) => {
      if (name.endsWith('.wasm')) binary = new Uint8Array(contents as Uint8Array);
    },
  });
  if (error !== null || binary === undefined) throw new Error(`${error?.message} ${stderr.toString()}`);
  const { instance } = await WebAssembly.instantiate(binary, { env: { abort() {} } });
  const globals = new Map<string, number | bigint>();
  for (const [name, value] of Object.entries(instance.exports)) {
    if (value instanceof WebAssembly.Global) globals.set(name, value.value as number | bigint);
  }
  return globals;
}

async function readSource(name: string): Promise<string | null> {
  const { readFile } = await import('node:fs/promises');
  return readFile(`${ROOT}/${name}`, 'utf8').catch(() => null);
}

/** i32 and i64 globals as unsigned numbers of their own width. */
function unsigned(value: number | bigint): number {
  return typeof value === 'bigint' ? Number(BigInt.asUintN(64, value)) : Number.isInteger(value) ? value >>> 0 : value;
}

describe('src/abi.ts', () => {
  test('every constant has the value in WASM that it has in TypeScript', async () => {
    const globals = await globalsOf("export * from '../src/abi';");
    const names = Object.keys(abi);
    expect(names.length).toBeGreaterThan(120);
    expect([...globals.keys()].sort()).toEqual([...names].sort());
    for (const [name, value] of Object.entries(abi)) {
      expect(`${name} ${unsigned(globals.get(name) as number | bigint)}`).toBe(`${name} ${value}`);
    }
  }, 30_000);

  test('the comparison sees a constant that drifts', async () => {
    // 2 ** 40 wraps in the i32 that asc makes of it.
    expect(unsigned((await globalsOf('export const WIDE = 512 * 512 * 512 * 512;')).get('WIDE') as number)).not.toBe(512 ** 4);
  }, 30_000);

  test('a wide mask survives as one literal', () => {
    expect(BigInt(abi.PTE_PFN_MASK)).toBe(0x000ffffffffff000n);
  });

  test('the request block does not overlap itself, and regions follow each other', () => {
    const answers = ['VPN', 'END', 'LAST', 'ENTRY', 'REASON', 'LEVEL', 'SLOT', 'DONE', 'STEPS', 'LEAVES', 'CHANGED', 'FREED'].map((name) => `STOP_${name}`);
    const calls = ['CLAIM', 'SERIAL', 'BUSY', 'STATE', 'SHARE', 'FLAGS', 'VPN', 'NPAGES', 'READS', 'RETRIES', 'WINDOW', 'TEXT'].map((name) => `CALL_${name}`);
    const isField = (name: string): boolean => (name.startsWith('REQ_') && name !== 'REQ_SCRATCH') || answers.includes(name) || calls.includes(name);
    const fields = Object.entries(abi).filter(([name]) => isField(name)).sort((a, b) => a[1] - b[1]);
    expect(fields.length).toBeGreaterThan(35);
    let end = 0;
    for (const [name, at] of fields) {
      const width = name === 'STOP_LEAVES' ? 12 : WIDE.has(name) ? 8 : 4;
      expect(`${name} at ${at}`).toBe(`${name} at ${Math.max(at, end)}`);
      expect(at % (width === 8 ? 8 : 4)).toBe(0);
      end = at + width;
    }
    expect(end).toBeLessThanOrEqual(abi.REQ_SCRATCH);
    expect(abi.REQUESTS).toBe(abi.PGMAP_TABLE + abi.PGMAP_STRIDE * abi.PGMAP_MAX);
    expect(abi.SHARES).toBe(abi.REQUESTS + abi.REQUEST_STRIDE * abi.REQUEST_MAX);
    expect(abi.SHARE_RING + abi.SHARE_RING_MAX * abi.SHARE_RING_STRIDE).toBeLessThanOrEqual(abi.SHARE_STRIDE);
    expect(abi.FRAMES).toBe(abi.SHARES + abi.SHARE_STRIDE * abi.SHARE_MAX);
    expect(abi.FRAMES % abi.PAGE_SIZE).toBe(0);
  });
});

describe.each(BUILDS)('%s build', (build) => {
  const module = new WebAssembly.Module(wasmBytes(build));

  test('imports one memory and nothing else, exports only functions', () => {
    expect(WebAssembly.Module.imports(module)).toEqual([{ module: 'env', name: 'memory', kind: 'memory' }]);
    expect(WebAssembly.Module.exports(module).filter(({ kind }) => kind !== 'function')).toEqual([]);
    expect(WebAssembly.Module.exports(module).map(({ name }) => name).sort()).toEqual([
      'abiVersion', 'contentOffset', 'costAccess', 'costFlush', 'costInvalidate', 'costReplay', 'descend', 'frameAlloc', 'frameFree', 'freeSpace', 'freeTables', 'harvest',
      'install', 'map', 'nextEntry', 'protect', 'readChampsim', 'readLackey', 'readPlain', 'setEntry', 'setRaw', 'slot', 'split', 'tableCount', 'translate', 'translateBatch',
      'walk', 'zap', 'zero',
    ]);
  });

  test('keeps all state in the arena: no data, no globals, no start function, no table', () => {
    const ids = sectionIds(wasmBytes(build));
    const unwanted = [[4, 'table'], [5, 'memory'], [6, 'global'], [8, 'start'], [9, 'element'], [11, 'data']] as const;
    expect(unwanted.filter(([id]) => ids.includes(id)).map(([, what]) => what)).toEqual([]);
  });

  test('takes memories from 16 MiB to 4 GiB and says its ABI version', () => {
    expect(new BareArena(build).wasm.abiVersion()).toBe(abi.ABI_VERSION);
    const memory = new WebAssembly.Memory({ initial: 65536, maximum: 65536, shared: build === 'shared' });
    expect(() => new WebAssembly.Instance(module, { env: { memory } })).not.toThrow();
  });

  test('is smaller than 48 KiB', () => {
    expect(wasmBytes(build).length).toBeLessThan(48 * 1024);
  });
});

/** Ids of a module's sections, in order. */
function sectionIds(bytes: Uint8Array): number[] {
  const ids: number[] = [];
  for (let at = 8; at < bytes.length; ) {
    ids.push(bytes[at++] as number);
    let size = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++] as number;
      size |= (byte & 127) << shift;
      if (byte < 128) break;
    }
    at += size;
  }
  return ids;
}
