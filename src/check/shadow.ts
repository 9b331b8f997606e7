/**
 * The perfect mirror: a copy of a process's page table as it was last seen. What differs now must have been told.
 *
 * It has everything at once, so that no operation goes unnoticed for want of a device that had the page. Only where the count of table
 * entries ever written has moved is anything looked at, and only what differs is copied.
 */
import { HDR_TABLES_CHANGED, PMD_PAGES } from '../abi.ts';
import type { Mm } from '../mm/index.ts';
import type { Vpn } from '../units.ts';
import { chunkNow, forEachChunk, frameOf, writableAt, type Chunk } from './rights.ts';

/** Pages `[start, end)` of which a mirror would have kept more than there is now. To be used at once: `after` is the table itself. */
export type Loss = (start: Vpn, end: Vpn, before: Chunk, after: Chunk | null) => void;

interface Kept {
  chunk: Chunk;
  /** count of entries written when it was last compared */
  seen: number;
  /** the round in which it was last met */
  round: number;
}

export class Shadow {
  readonly #mm: Mm;
  readonly #chunks = new Map<number, Kept>();
  /** first pages of the chunks that have changed since this was last emptied */
  readonly changed = new Set<Vpn>();
  #seen = -1;
  #round = 0;

  constructor(mm: Mm) {
    this.#mm = mm;
  }

  /** Takes the whole table as it is now, and tells what was lost since. Returns chunks looked at. */
  refresh(lost: Loss): number {
    const { pageTable, alive } = this.#mm;
    const now = this.#now();
    if (now === this.#seen) return 0;
    this.#seen = now;
    const round = ++this.#round;
    if (!alive) {
      this.#chunks.clear(); // it was told RELEASE
      return 0;
    }
    forEachChunk(pageTable, (base, chunk) => {
      const kept = this.#chunks.get(base);
      if (kept === undefined) {
        this.#chunks.set(base, { chunk: copyOf(chunk), seen: now, round });
        this.changed.add(base);
        return;
      }
      kept.round = round;
      if (kept.seen !== now) this.#compare(base, kept, chunk, now, lost);
    });
    if (this.#chunks.size > 0) {
      for (const [base, kept] of this.#chunks) if (kept.round !== round) this.#compare(base, kept, null, now, lost);
    }
    return this.#chunks.size;
  }

  /** The same for what lies around `[start, end)` only. */
  refreshRange(start: Vpn, end: Vpn, lost: Loss): void {
    if (this.#chunks.size === 0 || !this.#mm.alive) return;
    const now = this.#now();
    const first = start - (start % PMD_PAGES);
    if ((end - first) / PMD_PAGES <= this.#chunks.size) {
      for (let base = first; base < end; base += PMD_PAGES) this.#refreshOne(base, now, lost);
    } else {
      for (const base of this.#chunks.keys()) if (base < end && base + PMD_PAGES > start) this.#refreshOne(base, now, lost);
    }
  }

  /** How many of pages `[start, end)` it has a frame for. */
  countFrames(start: Vpn, end: Vpn): number {
    let count = 0;
    for (const [base, { chunk }] of this.#chunks) {
      if (base >= end || base + PMD_PAGES <= start) continue;
      const from = Math.max(start, base) - base;
      const to = Math.min(end, base + PMD_PAGES) - base;
      if (!(chunk instanceof Uint32Array)) count += to - from;
      else for (let i = from; i < to; i++) count += (chunk[i * 2] as number) % 2;
    }
    return count;
  }

  #now(): number {
    return this.#mm.platform.arena.u32[HDR_TABLES_CHANGED >>> 2] as number;
  }

  #refreshOne(base: Vpn, now: number, lost: Loss): void {
    const kept = this.#chunks.get(base);
    if (kept !== undefined && kept.seen !== now) this.#compare(base, kept, chunkNow(this.#mm.pageTable, base), now, lost);
  }

  #compare(base: Vpn, kept: Kept, after: Chunk | null, now: number, lost: Loss): void {
    const { chunk: before } = kept;
    kept.seen = now;
    if (sameChunk(before, after)) return;
    this.changed.add(base);
    tellLosses(base, before, after, lost);
    if (after === null) this.#chunks.delete(base);
    else if (before instanceof Uint32Array && after instanceof Uint32Array) before.set(after);
    else kept.chunk = copyOf(after);
  }
}

function copyOf(chunk: Chunk): Chunk {
  return chunk instanceof Uint32Array ? chunk.slice() : chunk;
}

/** Are two chunks the same, to the last bit? */
function sameChunk(a: Chunk, b: Chunk | null): boolean {
  if (b === null) return false;
  if (!(a instanceof Uint32Array)) return !(b instanceof Uint32Array) && a.level === b.level && a.lo === b.lo && a.hi === b.hi;
  if (!(b instanceof Uint32Array)) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Runs of pages whose frame went, changed or lost the right to be written. */
function tellLosses(base: Vpn, before: Chunk, after: Chunk | null, lost: Loss): void {
  let from = -1;
  for (let i = 0; i <= PMD_PAGES; i++) {
    const gone = i < PMD_PAGES && isLost(before, after, i);
    if (gone && from < 0) from = i;
    if (!gone && from >= 0) {
      lost(base + from, base + i, before, after);
      from = -1;
    }
  }
}

function isLost(before: Chunk, after: Chunk | null, i: number): boolean {
  const frame = frameOf(before, i);
  if (frame < 0) return false;
  return frameOf(after, i) !== frame || (writableAt(before, i) && !writableAt(after, i));
}
