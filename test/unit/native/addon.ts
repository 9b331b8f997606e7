/** What the tests of the addon share: whether it can be there, the addon, memory over which files are mapped, and child processes. */
import { execFileSync, spawnSync, type SpawnSyncReturns } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';
import { detectToolchain } from '../../../scripts/build-native.mjs';
import { loadNative, type Native } from '../../../dist/native/load.js';
import { needs } from '../../support/skips.ts';

export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
export const PAGE = 4096;

/** True where the addon can be built; then its absence is a failure. */
export const buildable: boolean = detectToolchain().reason === null;

/** `describe` and `it` for tests of the addon in test file `file`. */
export function withAddon(file: string): ReturnType<typeof needs> {
  return needs('no compiler', buildable, file);
}

/** The addon whatever DAXMIRROR_NATIVE says. Throws with the reason where it is missing. */
export function addon(): Native {
  const { native, reason } = loadNative({ env: {} });
  if (native === null) throw new Error(`the addon is missing: ${reason}`);
  return native;
}

export function sharedMemory(pages64K = 64): WebAssembly.Memory {
  return new WebAssembly.Memory({ initial: pages64K, maximum: pages64K, shared: true });
}

/** A folder that is gone after the file's tests. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'daxmirror-native-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/**
 * Text of a program in a process of its own; its arguments are process.argv from 1 on. It has `fs`, `loadNative`, LOADS (the module below),
 * and `inWorker(text, data)`: a Worker of CommonJS `text` with `data` and `loader`, and its first message.
 */
function program(body: string): string {
  return `
    import fs from 'node:fs';
    import { Worker } from 'node:worker_threads';
    import { loadNative } from ${JSON.stringify(new URL('../../../dist/native/load.js', import.meta.url).href)};
    const inWorker = async (text, data) => {
      const loader = ${JSON.stringify(new URL('../../../dist/native/load.js', import.meta.url).href)};
      const worker = new Worker("const { workerData, parentPort } = require('node:worker_threads');" + text, { eval: true, execArgv: [], workerData: { loader, ...data } });
      return { worker, message: await new Promise((resolve, reject) => worker.on('message', resolve).on('error', reject)) };
    };
    const LOADS = new Uint8Array(${JSON.stringify([...LOADS_AND_STORES])});
    ${body}`;
}

export function runProgram(body: string, args: string[] = [], flags: string[] = []): SpawnSyncReturns<string> {
  return spawnSync(process.execPath, [...flags, '--input-type=module', '-e', program(body), ...args], { encoding: 'utf8', timeout: 20_000 });
}

/** A program that ends well and prints one JSON value. */
export function answerOf(body: string, args: string[] = [], flags: string[] = []): unknown {
  return JSON.parse(execFileSync(process.execPath, [...flags, '--input-type=module', '-e', program(body), ...args], { encoding: 'utf8', timeout: 20_000 }));
}

/**
 * (module
 *   (import "env" "memory" (memory 1 65536 shared))
 *   (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
 *   (func (export "store") (param i32 i32) (i32.store8 (local.get 0) (local.get 1))))
 */
export const LOADS_AND_STORES = Uint8Array.from([
  0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00,
  0x01, 0x0b, 0x02, 0x60, 0x01, 0x7f, 0x01, 0x7f, 0x60, 0x02, 0x7f, 0x7f, 0x00, // types
  0x02, 0x12, 0x01, 0x03, 0x65, 0x6e, 0x76, 0x06, 0x6d, 0x65, 0x6d, 0x6f, 0x72, 0x79, 0x02, 0x03, 0x01, 0x80, 0x80, 0x04, // import
  0x03, 0x03, 0x02, 0x00, 0x01, // functions
  0x07, 0x10, 0x02, 0x04, 0x6c, 0x6f, 0x61, 0x64, 0x00, 0x00, 0x05, 0x73, 0x74, 0x6f, 0x72, 0x65, 0x00, 0x01, // exports
  0x0a, 0x13, 0x02, 0x07, 0x00, 0x20, 0x00, 0x2d, 0x00, 0x00, 0x0b, 0x09, 0x00, 0x20, 0x00, 0x20, 0x01, 0x3a, 0x00, 0x00, 0x0b, // code
]);

export interface LoadsAndStores {
  load(offset: number): number;
  store(offset: number, byte: number): void;
}

export function loadsAndStores(memory: WebAssembly.Memory): LoadsAndStores {
  return new WebAssembly.Instance(new WebAssembly.Module(LOADS_AND_STORES), { env: { memory } }).exports as unknown as LoadsAndStores;
}
