/**
 * Content: the bytes of RAM pages and of the pmem image.
 *
 * One directory leads from a physical 2 MiB section to its backing (abi.ts draws it): nothing, which reads as zeroes and
 * costs nothing; *sparse*, 64 KiB chunks made at the first write; *linear*, arena bytes in a row, which a real file may
 * lie under. Physical addresses are numbers, exact up to 2^52. A write that finds no room answers false and has changed
 * nothing.
 */
import {
  CHUNKS_PER_SECTION, CHUNK_SHIFT, CHUNK_SIZE, CONTENT_LINEAR, CONTENT_SPARSE, CONTENT_TAG_MASK, DIRECTORY_ENTRIES, HDR_DIRECTORY, HDR_SEQUENCE, SECTION_SIZE,
} from '../abi.ts';
import { invariant } from '../errno.ts';

/** What the directory needs of the arena it lies in. */
export interface ContentMemory {
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  /** a zeroed table frame, or 0 */
  frameAlloc(): number;
  /** a zeroed block, or 0 */
  blockAlloc(nbytes: number): number;
  blockFree(offset: number, nbytes: number): void;
  zero(offset: number, nbytes: number): void;
}

/** Told of stores before they are made, where somebody keeps what they replace. */
export interface StoreWatch {
  beforeStore(paddr: number, length: number): void;
}

/** what a processor's caches hold at a time */
export const LINE_BYTES = 64;

const CHUNK_TABLE_BYTES = CHUNKS_PER_SECTION * 4;

export class Content {
  /** hears of every store; null: nobody does */
  watch: StoreWatch | null = null;
  readonly #memory: ContentMemory;
  /** sections looked up last: most accesses stay near each other */
  #section = -1;
  #word = 0;

  constructor(memory: ContentMemory) {
    this.#memory = memory;
  }

  /** Arena offset of the byte at `paddr`, or 0 when nothing was ever written near it. Valid to the end of its 64 KiB chunk. */
  offsetOf(paddr: number): number {
    const section = Math.floor(paddr / SECTION_SIZE);
    if (section !== this.#section) {
      const word = this.#lookup(section);
      if (word === 0) return 0;
      this.#section = section;
      this.#word = word;
    }
    const within = paddr - section * SECTION_SIZE;
    const base = this.#word - (this.#word & CONTENT_TAG_MASK);
    if ((this.#word & CONTENT_TAG_MASK) === CONTENT_LINEAR) return (base >>> 0) + within;
    const chunk = this.#memory.u32[((base >>> 0) >>> 2) + (within >>> CHUNK_SHIFT)] as number;
    return chunk === 0 ? 0 : chunk + (within & (CHUNK_SIZE - 1));
  }

  /** Makes room for the 64 KiB chunk around `paddr`; false when the arena is full. */
  ensure(paddr: number): boolean {
    const { u32 } = this.#memory;
    const section = Math.floor(paddr / SECTION_SIZE);
    const slot = this.#slot(section);
    if (slot === 0) return false;
    let word = u32[slot >>> 2] as number;
    if ((word & CONTENT_TAG_MASK) === CONTENT_LINEAR) return true;
    if (word === 0) {
      const table = this.#memory.blockAlloc(CHUNK_TABLE_BYTES);
      if (table === 0) return false;
      word = (table + CONTENT_SPARSE) >>> 0;
      u32[slot >>> 2] = word;
      this.#section = -1;
    }
    const at = ((word - CONTENT_SPARSE) >>> 2) + ((paddr - section * SECTION_SIZE) >>> CHUNK_SHIFT);
    if (u32[at] !== 0) return true;
    const chunk = this.#memory.blockAlloc(CHUNK_SIZE);
    if (chunk === 0) return false;
    u32[at] = chunk;
    return true;
  }

  /**
   * Backs `[paddr, paddr + nbytes)` with the arena bytes at `offset`, in place of what was there. Both are multiples of
   * 64 KiB and congruent in their place in a chunk; whole sections become linear. False when the directory has no room.
   */
  attach(paddr: number, offset: number, nbytes: number): boolean {
    invariant(paddr % CHUNK_SIZE === 0 && offset % CHUNK_SIZE === 0 && nbytes % CHUNK_SIZE === 0, 'attached content is not in whole chunks');
    this.#changing();
    const done = this.#attach(paddr, offset, nbytes);
    this.#changing();
    return done;
  }

  #attach(paddr: number, offset: number, nbytes: number): boolean {
    for (let at = 0; at < nbytes; ) {
      const here = paddr + at;
      const section = Math.floor(here / SECTION_SIZE);
      const slot = this.#slot(section);
      if (slot === 0) return false;
      const { u32 } = this.#memory;
      const whole = here % SECTION_SIZE === 0 && nbytes - at >= SECTION_SIZE;
      if (whole) {
        this.#release(slot);
        u32[slot >>> 2] = (offset + at + CONTENT_LINEAR) >>> 0;
        at += SECTION_SIZE;
      } else {
        if (!this.ensure(here)) return false;
        const table = (u32[slot >>> 2] as number) - CONTENT_SPARSE;
        const entry = (table >>> 2) + ((here - section * SECTION_SIZE) >>> CHUNK_SHIFT);
        this.#memory.blockFree(u32[entry] as number, CHUNK_SIZE);
        u32[entry] = offset + at;
        at += CHUNK_SIZE;
      }
      this.#section = -1;
    }
    return true;
  }

  /** Undoes attach: the range reads zeroes again. The arena bytes stay the caller's. */
  detach(paddr: number, nbytes: number): void {
    const { u32 } = this.#memory;
    this.#changing();
    for (let at = 0; at < nbytes; at += CHUNK_SIZE) {
      const section = Math.floor((paddr + at) / SECTION_SIZE);
      const slot = this.#find(section);
      if (slot === 0) continue;
      const word = u32[slot >>> 2] as number;
      if ((word & CONTENT_TAG_MASK) === CONTENT_LINEAR) u32[slot >>> 2] = 0;
      else if (word !== 0) u32[((word - CONTENT_SPARSE) >>> 2) + ((paddr + at - section * SECTION_SIZE) >>> CHUNK_SHIFT)] = 0;
    }
    this.#changing();
    this.#section = -1;
  }

  /** Copies `length` bytes at `paddr` to `target[at…]`. */
  read(paddr: number, target: Uint8Array, at: number, length: number): void {
    const { u8 } = this.#memory;
    for (let done = 0; done < length; ) {
      const n = Math.min(length - done, CHUNK_SIZE - ((paddr + done) % CHUNK_SIZE));
      const offset = this.offsetOf(paddr + done);
      if (offset === 0) target.fill(0, at + done, at + done + n);
      else target.set(u8.subarray(offset, offset + n), at + done);
      done += n;
    }
  }

  /** Writes `length` bytes of `source[at…]` at `paddr`; false, with nothing written, when there is no room. */
  write(paddr: number, source: Uint8Array, at: number, length: number): boolean {
    if (!this.#reserve(paddr, length)) return false;
    if (this.watch !== null) this.watch.beforeStore(paddr, length);
    const { u8 } = this.#memory;
    for (let done = 0; done < length; ) {
      const n = Math.min(length - done, CHUNK_SIZE - ((paddr + done) % CHUNK_SIZE));
      u8.set(source.subarray(at + done, at + done + n), this.offsetOf(paddr + done));
      done += n;
    }
    return true;
  }

  /** Makes `length` bytes at `paddr` zero; what has no backing already is. */
  zero(paddr: number, length: number): void {
    for (let done = 0; done < length; ) {
      const n = Math.min(length - done, CHUNK_SIZE - ((paddr + done) % CHUNK_SIZE));
      const offset = this.offsetOf(paddr + done);
      if (offset !== 0) {
        if (this.watch !== null) this.watch.beforeStore(paddr + done, n);
        this.#memory.zero(offset, n);
      } else {
        const section = Math.floor((paddr + done) / SECTION_SIZE);
        if (this.#lookup(section) === 0) {
          done = (section + 1) * SECTION_SIZE - paddr; // nothing of it was ever written
          continue;
        }
      }
      done += n;
    }
  }

  /** Where the first 64 KiB chunk with bytes begins in `[paddr, end)`; both on a chunk. `end` where there is none. */
  nextChunk(paddr: number, end: number): number {
    for (let at = paddr; at < end; ) {
      const section = Math.floor(at / SECTION_SIZE);
      if (this.#lookup(section) === 0) at = (section + 1) * SECTION_SIZE;
      else if (this.offsetOf(at) !== 0) return at;
      else at += CHUNK_SIZE;
    }
    return end;
  }

  /** Is there nothing but zeroes in the `length` bytes at `paddr`? */
  isZero(paddr: number, length: number): boolean {
    const { u8 } = this.#memory;
    for (let done = 0; done < length; ) {
      const n = Math.min(length - done, CHUNK_SIZE - ((paddr + done) % CHUNK_SIZE));
      const offset = this.offsetOf(paddr + done);
      if (offset !== 0 && u8.subarray(offset, offset + n).some((byte) => byte !== 0)) return false;
      done += n;
    }
    return true;
  }

  /** Copies `length` bytes from one physical place to another, both page aligned; false when there is no room. */
  copy(to: number, from: number, length: number): boolean {
    const { u8 } = this.#memory;
    if (this.watch !== null) this.watch.beforeStore(to, length);
    for (let done = 0; done < length; ) {
      const n = Math.min(length - done, CHUNK_SIZE - ((from + done) % CHUNK_SIZE), CHUNK_SIZE - ((to + done) % CHUNK_SIZE));
      const source = this.offsetOf(from + done);
      if (source === 0) this.zero(to + done, n);
      else {
        if (!this.ensure(to + done)) return false;
        u8.copyWithin(this.offsetOf(to + done), source, source + n);
      }
      done += n;
    }
    return true;
  }

  /** Forgets what it remembers; the arena has dropped the directory. */
  reset(): void {
    this.#section = -1;
    this.#word = 0;
  }

  // ── inside ──

  /** Before and after places are taken away: Workers take nothing of what they read meanwhile. */
  #changing(): void {
    Atomics.add(this.#memory.u32, HDR_SEQUENCE >>> 2, 1);
  }

  #reserve(paddr: number, length: number): boolean {
    for (let at = alignedDown(paddr); at < paddr + length; at += CHUNK_SIZE) if (this.offsetOf(at) === 0 && !this.ensure(at)) return false;
    return true;
  }

  #lookup(section: number): number {
    const slot = this.#find(section);
    return slot === 0 ? 0 : (this.#memory.u32[slot >>> 2] as number);
  }

  /** Arena offset of the section's word, or 0 where the directory has no node for it. */
  #find(section: number): number {
    const { u32 } = this.#memory;
    const root = u32[HDR_DIRECTORY >>> 2] as number;
    if (root === 0) return 0;
    const middle = u32[(root >>> 2) + Math.floor(section / (DIRECTORY_ENTRIES * DIRECTORY_ENTRIES))] as number;
    if (middle === 0) return 0;
    const leaf = u32[(middle >>> 2) + (Math.floor(section / DIRECTORY_ENTRIES) % DIRECTORY_ENTRIES)] as number;
    return leaf === 0 ? 0 : leaf + (section % DIRECTORY_ENTRIES) * 4;
  }

  /** The same, with nodes made on the way; 0 when there is no frame for one. */
  #slot(section: number): number {
    const root = this.#node(HDR_DIRECTORY);
    if (root === 0) return 0;
    const middle = this.#node(root + Math.floor(section / (DIRECTORY_ENTRIES * DIRECTORY_ENTRIES)) * 4);
    if (middle === 0) return 0;
    const leaf = this.#node(middle + (Math.floor(section / DIRECTORY_ENTRIES) % DIRECTORY_ENTRIES) * 4);
    return leaf === 0 ? 0 : leaf + (section % DIRECTORY_ENTRIES) * 4;
  }

  #node(at: number): number {
    const { u32 } = this.#memory;
    const there = u32[at >>> 2] as number;
    if (there !== 0) return there;
    const frame = this.#memory.frameAlloc();
    u32[at >>> 2] = frame;
    return frame;
  }

  /** Gives the blocks of a sparse section back. */
  #release(slot: number): void {
    const { u32 } = this.#memory;
    const word = u32[slot >>> 2] as number;
    if ((word & CONTENT_TAG_MASK) !== CONTENT_SPARSE) return;
    const table = (word - CONTENT_SPARSE) >>> 0;
    for (let i = 0; i < CHUNKS_PER_SECTION; i++) {
      const chunk = u32[(table >>> 2) + i] as number;
      if (chunk !== 0) this.#memory.blockFree(chunk, CHUNK_SIZE);
    }
    this.#memory.blockFree(table, CHUNK_TABLE_BYTES);
  }
}

function alignedDown(paddr: number): number {
  return paddr - (paddr % CHUNK_SIZE);
}
