/**
 * The WASM builds as a test sees them: one bare arena each, its header filled by hand, no room of src/ in between.
 */
import { readFileSync } from 'node:fs';
import {
  FRAMES, HDR_CLEAN_END, HDR_CLEAN_START, HDR_FRAMES_USED, HDR_FRAME_FREE, HDR_FRAME_LIMIT, HDR_FRAME_NEXT, HDR_PGMAP_COUNT, NULL_GUARD_SIZE, PGMAP_BASE,
  PGMAP_END, PGMAP_ID, PGMAP_STATE, PGMAP_STRIDE, PGMAP_TABLE, REQUESTS, REQUEST_STRIDE,
} from '../../src/abi.ts';

export const BUILDS = ['shared', 'simd', 'scalar'] as const;
export type Build = (typeof BUILDS)[number];

/** The exports, as JavaScript sees them: u32 answers are signed. */
export interface Exports {
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
}

export interface Pgmap {
  base: bigint;
  end: bigint;
  /** PGMAP_LIVE or PGMAP_DYING */
  state: number;
}

export function wasmBytes(build: Build): Uint8Array<ArrayBuffer> {
  return new Uint8Array(readFileSync(new URL(`../../dist/wasm/walk.${build}.wasm`, import.meta.url)));
}

/** A bare arena: `tableBytes` for frames, everything above them free for the test. */
export class BareArena {
  readonly build: Build;
  readonly memory: WebAssembly.Memory;
  readonly wasm: Exports;
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  readonly u64: BigUint64Array;
  readonly f64: Float64Array;
  readonly req: number = REQUESTS;
  /** first byte that is the test's own */
  readonly free: number;

  constructor(build: Build, { bytes = 16 << 20, tableBytes = 8 << 20 } = {}) {
    this.build = build;
    const npages = bytes / 65536;
    this.memory = new WebAssembly.Memory({ initial: npages, maximum: npages, shared: build === 'shared' });
    const { buffer } = this.memory;
    this.u8 = new Uint8Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.u64 = new BigUint64Array(buffer);
    this.f64 = new Float64Array(buffer);
    this.free = tableBytes;
    this.wasm = new WebAssembly.Instance(new WebAssembly.Module(wasmBytes(build)), { env: { memory: this.memory } }).exports as unknown as Exports;
    this.set32(HDR_FRAME_LIMIT, tableBytes);
    this.reset();
  }

  /** Forgets all frames; what was written to them is zeroed when they are handed out again. */
  reset(): void {
    this.u8.fill(0, NULL_GUARD_SIZE + 32, NULL_GUARD_SIZE + 4096);
    this.set32(HDR_FRAME_NEXT, FRAMES);
    this.set32(HDR_FRAME_FREE, 0);
    this.set32(HDR_FRAMES_USED, 0);
    this.set32(HDR_CLEAN_START, 0);
    this.set32(HDR_CLEAN_END, 0);
    this.u8.fill(0, this.req, this.req + REQUEST_STRIDE);
  }

  set32(offset: number, value: number): void {
    this.u32[offset >>> 2] = value;
  }

  get32(offset: number): number {
    return this.u32[offset >>> 2] as number;
  }

  set64(offset: number, value: bigint): void {
    this.u64[offset >>> 3] = value;
  }

  get64(offset: number): bigint {
    return this.u64[offset >>> 3] as bigint;
  }

  setF(offset: number, value: number): void {
    this.f64[offset >>> 3] = value;
  }

  getF(offset: number): number {
    return this.f64[offset >>> 3] as number;
  }

  setPgmaps(pgmaps: readonly Pgmap[]): void {
    this.set32(HDR_PGMAP_COUNT, pgmaps.length);
    pgmaps.forEach(({ base, end, state }, i) => {
      const at = PGMAP_TABLE + i * PGMAP_STRIDE;
      this.set64(at + PGMAP_BASE, base);
      this.set64(at + PGMAP_END, end);
      this.set32(at + PGMAP_STATE, state);
      this.set32(at + PGMAP_ID, i + 1);
    });
  }

  /** A zeroed frame for a top table. */
  root(): number {
    return this.wasm.frameAlloc() >>> 0;
  }

  /** Writes a raw entry at `level`, making the tables above it. */
  setRaw(root: number, levels: number, vpn: bigint, level: number, entry: bigint): void {
    const slot = this.wasm.slot(root, levels, Number(vpn), level) >>> 0;
    if ((slot & 7) !== level || slot === 0) throw new Error(`no slot at level ${level} for page ${vpn}: ${slot}`);
    this.set64(slot - level, entry);
  }
}
