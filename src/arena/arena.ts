/**
 * The arena: one WebAssembly.Memory that holds everything hot, and who owns which of its bytes.
 *
 * ```
 *  0        64 KiB       FRAMES ->                                   <- blocks        limit
 *  | guard  | control     | table frames, growing up   ···   records, windows, content |
 * ```
 * initial = maximum: it never grows, so views never detach. Table frames come from the bottom (allocated in WASM),
 * everything else from the top; they may meet anywhere, so a machine with 2 GiB of tables and one with 2 GiB of
 * content both fit. What runs out is answered with 0 or false, and ENOMEM or ENOSPC where a caller can see it.
 * `reset` costs in proportion to what was used since the last: memory is zeroed when handed out again, not before.
 */
import {
  ABI_VERSION, ARENA_MAGIC, FRAMES, HDR_ABI_VERSION, HDR_CLEAN_END, HDR_CLEAN_START, HDR_DIRECTORY, HDR_FAIL_AFTER, HDR_FRAMES_USED, HDR_FRAME_FREE,
  HDR_FRAME_LIMIT, HDR_FRAME_NEXT, HDR_MAGIC, HDR_PGMAP_COUNT, HDR_TABLES_CHANGED, HEADER, HEADER_SIZE, NULL_GUARD_SIZE, PAGE_SIZE,
  REQUESTS, REQUEST_STRIDE, SECTION_SIZE, HDR_CLAIMS, HDR_GENERATION, HDR_SHARE_IDS,
} from '../abi.ts';
import { HmmError, invariant } from '../errno.ts';
import { GiB, KiB, MiB, alignDown } from '../units.ts';
import { Blocks, Sections } from './blocks.ts';
import { Content } from './content.ts';
import { compileBuild, instantiate, type ArenaMemory, type ModuleBytes, type Walker, type WalkerModule, type WasmBuild } from './wasm.ts';

export const ARENA_MIN_BYTES = 16 * MiB;
export const ARENA_MAX_BYTES = 4 * GiB;
/** Memory is known to be as it came, all zero, in units of so many bytes. */
const CLEAN_SHIFT = 16;
/** below this an arena that cannot be had is an error, above it is halved */
const HALVE_DOWN_TO_BYTES = 256 * MiB;

export interface ArenaOptions {
  /** bytes, 16 MiB to 4 GiB, a multiple of 64 KiB (default 4 GiB: reserved, not committed) */
  readonly bytes?: number;
  /** memory of the embedder's, in place of `bytes`; its contents are overwritten as the machine needs them */
  readonly memory?: ArenaMemory;
  /** which module (default: shared where SharedArrayBuffer exists, else simd; a given memory decides by its kind) */
  readonly build?: WasmBuild;
  /** the module itself, in place of the one that ships */
  readonly wasm?: ModuleBytes;
}

/** An output array of pfn words in the arena; valid until `free`. */
export interface Window {
  /** arena bytes */
  readonly offset: number;
  readonly words: BigUint64Array;
  /** the same, as [lo, hi] pairs */
  readonly halves: Uint32Array;
  free(): void;
}

export class Arena {
  readonly memory: ArenaMemory;
  readonly build: WasmBuild;
  /** the module, compiled: what other threads make a walker of their own of */
  readonly module: WalkerModule;
  readonly bytes: number;
  readonly walker: Walker;
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  readonly u64: BigUint64Array;
  readonly f64: Float64Array;
  readonly content: Content;
  /** bytes asked for, when more than could be had */
  readonly wantedBytes: number;
  readonly #limit: number;
  /** a byte a unit: 1 once a block lay there */
  readonly #taken: Uint8Array;
  readonly #sections: Sections;
  readonly #blocks: Blocks;

  private constructor(memory: ArenaMemory, module: WalkerModule, walker: Walker, build: WasmBuild, wantedBytes: number, clean: boolean) {
    this.memory = memory;
    this.module = module;
    this.walker = walker;
    this.build = build;
    this.wantedBytes = wantedBytes;
    const { buffer } = memory;
    this.bytes = buffer.byteLength;
    this.u8 = new Uint8Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.u64 = new BigUint64Array(buffer);
    this.f64 = new Float64Array(buffer);
    // Offsets are u32, so the last section of a full 4 GiB stays unused.
    this.#limit = Math.min(alignDown(this.bytes, SECTION_SIZE), ARENA_MAX_BYTES - SECTION_SIZE);
    this.#taken = new Uint8Array(this.bytes >>> CLEAN_SHIFT).fill(clean ? 0 : 1);
    this.content = new Content(this);
    this.#sections = this.#newSections();
    this.#blocks = new Blocks(this.#sections);
    // Numbers that tell this arena from the one that lay in the same memory before go on from there.
    const numbers = [HDR_GENERATION, HDR_CLAIMS, HDR_SHARE_IDS].map((field) => [field, this.u32[field >>> 2] as number] as const);
    this.u8.fill(0, NULL_GUARD_SIZE, FRAMES);
    for (const [field, value] of numbers) this.#set(field, value + 1);
    this.#set(HDR_CLEAN_START, clean ? FRAMES : 0);
    this.#set(HDR_CLEAN_END, clean ? this.#limit : 0);
    this.#initControl();
  }

  /** Makes an arena. Throws RangeError for sizes out of bounds, ENOMEM when no memory can be had, ENOENT or ENOEXEC for its module. */
  static async create(options: ArenaOptions = {}): Promise<Arena> {
    const wanted = options.memory?.buffer.byteLength ?? options.bytes ?? ARENA_MAX_BYTES;
    if (!Number.isInteger(wanted) || wanted < ARENA_MIN_BYTES || wanted > ARENA_MAX_BYTES || wanted % (64 * KiB) !== 0) {
      throw new RangeError(`arena: ${wanted} bytes is not a multiple of 64 KiB from 16 MiB to 4 GiB`);
    }
    const build = options.build ?? defaultBuild(options.memory);
    const module = await compileBuild(build, options.wasm);
    const memory = options.memory ?? reserve(wanted, build === 'shared');
    const walker = await instantiate(module, memory);
    return new Arena(memory, module, walker, build, wanted, options.memory === undefined);
  }

  /** Request block of worker `worker` (0 is the owner's), as an arena offset. */
  request(worker = 0): number {
    return REQUESTS + worker * REQUEST_STRIDE;
  }

  // ── memory ──

  /** A zeroed 4 KiB table frame, or 0. */
  frameAlloc(): number {
    return this.walker.frameAlloc() >>> 0;
  }

  /** A zeroed block of `nbytes` (rounded up to a power of two from 64 bytes, at most 2 MiB), aligned to its size, or 0. */
  blockAlloc(nbytes: number): number {
    if (this.#failsNow()) return 0;
    const offset = this.#blocks.alloc(nbytes);
    if (offset !== 0) this.#take(offset, nbytes, true);
    return offset;
  }

  blockFree(offset: number, nbytes: number): void {
    this.#blocks.free(offset, nbytes);
  }

  /** `nbytes` in a row on a 2 MiB boundary, rounded up to whole 2 MiB, not zeroed unless `zeroed`; or 0. */
  runAlloc(nbytes: number, zeroed: boolean): number {
    if (this.#failsNow()) return 0;
    const offset = this.#blocks.allocRun(Math.ceil(nbytes / SECTION_SIZE));
    if (offset !== 0) this.#take(offset, nbytes, zeroed);
    return offset;
  }

  runFree(offset: number, nbytes: number): void {
    this.#blocks.freeRun(offset, Math.ceil(nbytes / SECTION_SIZE));
  }

  /** Makes bytes zero. */
  zero(offset: number, nbytes: number): void {
    this.walker.zero(offset, nbytes);
  }

  /** An array for `nwords` pfn words, aligned to the power of two of its size up to 2 MiB. Throws ENOMEM. */
  window(nwords: number): Window {
    const nbytes = Math.max(64, nwords * 8);
    const large = nbytes > SECTION_SIZE;
    const offset = large ? this.runAlloc(nbytes, true) : this.blockAlloc(nbytes);
    if (offset === 0) throw new HmmError('ENOMEM', 'window', `no room in the arena for ${nwords} pfn words`);
    let live = true;
    return {
      offset,
      words: new BigUint64Array(this.memory.buffer, offset, nwords),
      halves: new Uint32Array(this.memory.buffer, offset, nwords * 2),
      free: () => {
        if (!live) return;
        live = false;
        if (large) this.runFree(offset, nbytes);
        else this.blockFree(offset, nbytes);
      },
    };
  }

  /** Lets `count` allocations of the arena's pass and fails the one after; 0 switches that off. Of use in tests. */
  failAfter(count: number): void {
    this.#set(HDR_FAIL_AFTER, count);
  }

  /** Table frames handed out, and bytes of blocks handed out. */
  get usage(): { readonly tableBytes: number; readonly blockBytes: number } {
    return { tableBytes: (this.u32[HDR_FRAMES_USED >>> 2] as number) * PAGE_SIZE, blockBytes: this.#blocks.usedBytes };
  }

  /** Bytes neither frames nor blocks have taken. */
  get freeBytes(): number {
    return (this.u32[HDR_FRAME_LIMIT >>> 2] as number) - (this.u32[HDR_FRAME_NEXT >>> 2] as number);
  }

  /** Everything is handed back: as just created, but for the zeroing, which waits until memory is handed out again. */
  reset(): void {
    this.zero(REQUESTS, REQUEST_STRIDE);
    this.#blocks.reset();
    this.#sections.reset();
    this.content.reset();
    this.#initControl();
  }

  // ── inside ──

  #initControl(): void {
    this.#set(HDR_MAGIC, ARENA_MAGIC);
    this.#set(HDR_ABI_VERSION, ABI_VERSION);
    for (const field of [HDR_FRAME_FREE, HDR_FRAMES_USED, HDR_FAIL_AFTER, HDR_DIRECTORY, HDR_PGMAP_COUNT, HDR_TABLES_CHANGED]) this.#set(field, 0);
    this.#set(HDR_FRAME_NEXT, FRAMES);
    this.#set(HDR_FRAME_LIMIT, this.#limit);
    invariant(HEADER + HEADER_SIZE > HDR_TABLES_CHANGED, 'the arena header is too small');
  }

  #newSections(): Sections {
    return new Sections({ limit: this.#limit, floor: () => this.u32[HDR_FRAME_NEXT >>> 2] as number, onBottom: (offset) => this.#set(HDR_FRAME_LIMIT, offset) });
  }

  #set(field: number, value: number): void {
    this.u32[field >>> 2] = value;
  }

  /** One step of the fault injection; frames count theirs in WASM. */
  #failsNow(): boolean {
    const left = this.u32[HDR_FAIL_AFTER >>> 2] as number;
    if (left === 0) return false;
    this.#set(HDR_FAIL_AFTER, left - 1);
    return left === 1;
  }

  /**
   * Notes that a block lies there now; with `zeroed` makes it zero where it is not as it came. Small blocks of a unit come in any order:
   * the whole unit counts as used from its first on.
   */
  #take(offset: number, nbytes: number, zeroed: boolean): void {
    const cleanStart = this.u32[HDR_CLEAN_START >>> 2] as number;
    const end = offset + nbytes;
    for (let at = offset; at < end; ) {
      const unit = at >>> CLEAN_SHIFT;
      const next = Math.min(end, (unit + 1) * 2 ** CLEAN_SHIFT);
      if (zeroed && (this.#taken[unit] === 1 || at < cleanStart)) this.zero(at, next - at);
      this.#taken[unit] = 1;
      at = next;
    }
    // Table frames, which come from the other end, know of one border only.
    const section = alignDown(offset, SECTION_SIZE);
    if (section < (this.u32[HDR_CLEAN_END >>> 2] as number)) this.#set(HDR_CLEAN_END, section);
  }
}

function defaultBuild(memory: ArenaMemory | undefined): WasmBuild {
  if (memory !== undefined) return typeof SharedArrayBuffer !== 'undefined' && memory.buffer instanceof SharedArrayBuffer ? 'shared' : 'simd';
  return typeof SharedArrayBuffer === 'undefined' ? 'simd' : 'shared';
}

function reserve(wantedBytes: number, shared: boolean): ArenaMemory {
  for (let bytes = wantedBytes; ; bytes /= 2) {
    const npages = bytes / (64 * KiB);
    try {
      return new WebAssembly.Memory({ initial: npages, maximum: npages, shared });
    } catch {
      if (bytes <= HALVE_DOWN_TO_BYTES) throw new HmmError('ENOMEM', 'arena', `no memory of ${wantedBytes} bytes to be had`);
    }
  }
}
