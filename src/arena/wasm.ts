/**
 * The hot loops, as WASM: three builds of one source, found, compiled once and instantiated over an arena.
 *
 * `shared` (SIMD, shared memory) is the default; `simd` (SIMD, private) serves where SharedArrayBuffer is missing;
 * `scalar` (no SIMD, no threads, private) is the embedding artefact. A module that is no module of ours, or speaks
 * another ABI, is ENOEXEC.
 */
import { ABI_VERSION } from '../abi.ts';
import { HmmError } from '../errno.ts';

export const WASM_BUILDS = ['shared', 'simd', 'scalar'] as const;
export type WasmBuild = (typeof WASM_BUILDS)[number];

/** What the module exports; offsets are arena bytes, page numbers f64. assembly/ has the contracts. */
export interface Walker {
  abiVersion(): number;
  walk(req: number): number;
  translate(root: number, levels: number, vpn: number, access: number): number;
  translateBatch(req: number): number;
  descend(root: number, levels: number, vpn: number): number;
  slot(root: number, levels: number, vpn: number, level: number): number;
  setEntry(offset: number, pfn: number, flagsLo: number, flagsHi: number): void;
  setRaw(offset: number, lo: number, hi: number): void;
  map(req: number): number;
  zap(req: number): number;
  protect(req: number): number;
  split(root: number, levels: number, vpn: number, level: number): number;
  harvest(req: number): number;
  install(req: number): number;
  freeTables(root: number, levels: number, vpn: number, npages: number): number;
  nextEntry(root: number, levels: number, vpn: number, end: number, level: number): number;
  frameAlloc(): number;
  frameFree(offset: number): void;
  tableCount(root: number, levels: number): number;
  freeSpace(root: number, levels: number): number;
  contentOffset(paddr: number): number;
  zero(offset: number, nbytes: number): void;
  costAccess(state: number, vpn: number, kind: number): number;
  costReplay(state: number, records: number, count: number): number;
  costInvalidate(state: number, vpn: number, end: number): number;
  costFlush(state: number, pcid: number): number;
  readLackey(request: number): void;
  readPlain(request: number): void;
  readChampsim(request: number): void;
}

/** WebAssembly.Memory, as far as it is used: declared here because not every TypeScript set-up knows the WebAssembly names. */
export interface ArenaMemory {
  readonly buffer: ArrayBufferLike;
}

/** A compiled module, opaque. */
export type WalkerModule = object & { readonly [Symbol.toStringTag]?: string };

/** The bytes of a module. */
export type ModuleBytes = Uint8Array | ArrayBuffer;

/** Compiled modules are immutable and costly: one a build for the whole process. */
const compiled = new Map<string, Promise<WalkerModule>>();

export function isShared(build: WasmBuild): boolean {
  return build === 'shared';
}

/** Compiles one build; `bytes` replaces the file that ships with the package. Throws ENOENT or ENOEXEC. */
export function compileBuild(build: WasmBuild, bytes?: ModuleBytes): Promise<WalkerModule> {
  if (bytes !== undefined) return compileBytes(`the ${build} module given`, bytes);
  const url = new URL(`../wasm/walk.${build}.wasm`, import.meta.url);
  let module = compiled.get(url.href);
  if (module === undefined) {
    module = readUrl(url).then((content) => compileBytes(`walk.${build}.wasm`, content));
    compiled.set(url.href, module);
    module.catch(() => compiled.delete(url.href));
  }
  return module;
}

async function compileBytes(name: string, bytes: ModuleBytes): Promise<WalkerModule> {
  try {
    return await WebAssembly.compile(bytes as BufferSource);
  } catch (error) {
    throw new HmmError('ENOEXEC', 'arena', `${name} is not a WASM module: ${(error as Error).message}`);
  }
}

async function readUrl(url: URL): Promise<ModuleBytes> {
  if (url.protocol === 'file:') {
    const { readFile } = await import('node:fs/promises');
    try {
      return new Uint8Array(await readFile(url));
    } catch (error) {
      throw new HmmError('ENOENT', 'arena', `cannot read ${url.pathname.split('/').at(-1)}: ${(error as NodeJS.ErrnoException).code}; was the package built?`);
    }
  }
  const response = await fetch(url);
  if (!response.ok) throw new HmmError('ENOENT', 'arena', `cannot fetch ${url.href}: ${response.status}`);
  return response.arrayBuffer();
}

/** Instantiates over `memory` and checks the ABI. Throws ENOEXEC for a foreign module. */
export async function instantiate(module: WalkerModule, memory: ArenaMemory): Promise<Walker> {
  let instance: WebAssembly.Instance;
  try {
    instance = await WebAssembly.instantiate(module as WebAssembly.Module, { env: { memory: memory as WebAssembly.Memory } });
  } catch (error) {
    throw new HmmError('ENOEXEC', 'arena', `the WASM module does not fit this arena: ${(error as Error).message}`);
  }
  return walkerOf(instance);
}

/** The same at once, of a module that another thread has compiled. Throws ENOEXEC. */
export function instantiateNow(module: WalkerModule, memory: ArenaMemory): Walker {
  let instance: WebAssembly.Instance;
  try {
    instance = new WebAssembly.Instance(module as WebAssembly.Module, { env: { memory: memory as WebAssembly.Memory } });
  } catch (error) {
    throw new HmmError('ENOEXEC', 'attach', `the WASM module does not fit this arena: ${(error as Error).message}`);
  }
  return walkerOf(instance);
}

function walkerOf(instance: WebAssembly.Instance): Walker {
  const walker = instance.exports as unknown as Partial<Walker>;
  if (typeof walker.abiVersion !== 'function' || typeof walker.walk !== 'function') throw new HmmError('ENOEXEC', 'arena', 'the WASM module is not a daxmirror walker');
  const version = walker.abiVersion();
  if (version !== ABI_VERSION) throw new HmmError('ENOEXEC', 'arena', `the WASM module speaks ABI version ${version}, this library ${ABI_VERSION}`);
  return walker as Walker;
}
