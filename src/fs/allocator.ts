/**
 * The free blocks of a file system's device, by address.
 *
 * What is in use is a set of runs; the gaps between them are free and found in O(log n) and a walk over chunk summaries.
 * Deterministic: the answer depends on what is in use and on the arguments, never on how it came about.
 * `pfn`s are device pages, and alignment is that of pfns, because huge mappings need it there.
 *
 * What a journaling file system frees may be used again only once the transaction is durable: `freeLater` sets blocks aside
 * until `settle`. They count as free, nobody uses them, but `alloc` takes them only when nothing else will do, which in a
 * kernel is the forced commit before ENOSPC.
 */
import { checkOptions, InvariantError } from '../errno.ts';
import { checkCount, checkIndex, steps } from '../interval.ts';
import { IntervalSet } from '../interval/set.ts';

export interface Run {
  readonly pfn: number;
  readonly npages: number;
}

export interface AllocOptions {
  /** a power of two, at most 262144: pages to whose multiples a run should start (default 1) */
  readonly align?: number;
  /** look from this pfn on first: the page after the file's last extent */
  readonly goal?: number;
  /** one aligned run or none (default false) */
  readonly contiguous?: boolean;
}

const ALIGN_MAX = 262144;
const DEFAULTS: AllocOptions = {};

export class BlockAllocator {
  readonly basePfn: number;
  readonly npages: number;
  /** in use, or set aside */
  readonly #used = new IntervalSet();
  /** set aside by freeLater */
  readonly #aside = new IntervalSet();
  #asidePages = 0;
  /** set aside, in the order in which it was */
  #busy: Run[] = [];
  #freePages: number;
  /** told before what was set aside can be used again */
  onSettle: (() => void) | null = null;

  /** Manages [basePfn, basePfn + npages), all of it free. */
  constructor(basePfn: number, npages: number) {
    checkIndex('BlockAllocator', 'basePfn', basePfn);
    checkCount('BlockAllocator', 'npages', npages);
    checkIndex('BlockAllocator', 'basePfn + npages', basePfn + npages);
    this.basePfn = basePfn;
    this.npages = npages;
    this.#freePages = npages;
  }

  /** Those set aside are among them. */
  get freePages(): number {
    return this.#freePages;
  }

  /** What waits for `settle`, in the order in which it was freed. */
  get busy(): readonly Run[] {
    return this.#busy;
  }

  /** Pages freed that wait for `settle`. */
  get asidePages(): number {
    return this.#asidePages;
  }

  /**
   * Takes `npages` pages; null, and nothing changed, if they are not to be had. In this order:
   * one aligned run, the first from `goal` on; the first from the start of the device; unless `contiguous`: pieces by
   * address (from `goal` on, then from the start), aligned and in whole multiples of `align` as far as there are such, the
   * rest from whatever is free. Runs are in the order in which the file is to use them. Before it goes to pieces it settles
   * and tries again.
   */
  alloc(npages: number, options: AllocOptions = DEFAULTS): Run[] | null {
    checkCount('BlockAllocator.alloc', 'npages', npages);
    if (options !== DEFAULTS) checkOptions('BlockAllocator.alloc', options, ['align', 'goal', 'contiguous']);
    const { align = 1, goal = this.basePfn, contiguous = false } = options;
    if (!isAlign(align)) throw new RangeError(`BlockAllocator.alloc: align ${String(align)} is not a power of two up to ${ALIGN_MAX}`);
    checkIndex('BlockAllocator.alloc', 'goal', goal);
    if (goal < this.basePfn || goal > this.basePfn + this.npages) throw new RangeError(`BlockAllocator.alloc: goal ${goal} is not on the device`);
    if (npages > this.#freePages) return null;
    const run = this.#oneRun(npages, align, goal);
    if (run !== null || contiguous) return run;
    if (this.#asidePages === 0) return this.#pieces(npages, align, goal);
    this.settle();
    return this.#oneRun(npages, align, goal) ?? this.#pieces(npages, align, goal);
  }

  #oneRun(npages: number, align: number, goal: number): Run[] | null {
    const end = this.basePfn + this.npages;
    let pfn = goal < end ? this.#used.gapUp(npages, goal, end, align) : -1;
    if (pfn < 0 && goal > this.basePfn) pfn = this.#used.gapUp(npages, this.basePfn, end, align);
    if (pfn < 0) return null;
    this.#take(pfn, npages);
    return [{ pfn, npages }];
  }

  /** Takes [pfn, pfn + npages); false, and nothing changed, if any of it is in use. */
  reserve(pfn: number, npages: number): boolean {
    this.#check('reserve', pfn, npages);
    if (!this.#used.add(pfn, pfn + npages)) return false;
    this.#freePages -= npages;
    return true;
  }

  /** Gives [pfn, pfn + npages) back: any part of what was taken. InvariantError, and nothing changed, if any of it is free. */
  free(pfn: number, npages: number): void {
    this.#check('free', pfn, npages);
    if (this.#overlapsAside(pfn, pfn + npages) || !this.#used.remove(pfn, pfn + npages)) throw new InvariantError(`BlockAllocator.free: pages of [${pfn}, ${pfn + npages}) are free already`);
    this.#freePages += npages;
  }

  /** Gives it back as free() does, but not for use before the next settle(). */
  freeLater(pfn: number, npages: number): void {
    this.#check('freeLater', pfn, npages);
    if (this.#overlapsAside(pfn, pfn + npages) || this.#used.boundaryAfter(pfn, 0) < pfn + npages || !this.#used.has(pfn)) {
      throw new InvariantError(`BlockAllocator.freeLater: pages of [${pfn}, ${pfn + npages}) are free already`);
    }
    this.#aside.add(pfn, pfn + npages);
    this.#asidePages += npages;
    this.#busy.push({ pfn, npages });
    this.#freePages += npages;
  }

  /** What was set aside can be used again: the transaction that freed it is durable. */
  settle(): void {
    if (this.#asidePages > 0) this.onSettle?.();
    const end = this.basePfn + this.npages;
    for (let from = this.#aside.first(end); from < end; from = this.#aside.first(end)) {
      const runEnd = this.#aside.boundaryAfter(from, end);
      this.#aside.remove(from, runEnd);
      this.#used.remove(from, runEnd);
    }
    this.#asidePages = 0;
    this.#busy = [];
  }

  /** Does somebody use each of [pfn, pfn + npages)? */
  isUsed(pfn: number, npages = 1): boolean {
    const end = pfn + npages;
    if (!this.#used.has(pfn) || this.#used.boundaryAfter(pfn, end) < end) return false;
    return this.#asidePages === 0 || this.#aside.isFree(pfn, end);
  }

  /** Does nobody use any of [pfn, pfn + npages)? */
  isFree(pfn: number, npages = 1): boolean {
    this.#check('isFree', pfn, npages);
    const end = pfn + npages;
    for (let at = pfn; at < end; ) {
      if (this.#used.has(at) && !this.#aside.has(at)) return false;
      at = this.#aside.has(at) ? this.#aside.boundaryAfter(at, end) : Math.min(this.#used.boundaryAfter(at, end), this.#aside.boundaryAfter(at, end));
    }
    return true;
  }

  /** The run of pages to be had that `pfn` is in, or null if it is in use or set aside. */
  freeRunAt(pfn: number): Run | null {
    this.#check('freeRunAt', pfn, 1);
    if (this.#used.has(pfn)) return null;
    const start = this.#used.boundaryBefore(pfn, this.basePfn);
    return { pfn: start, npages: this.#used.boundaryAfter(pfn, this.basePfn + this.npages) - start };
  }

  /** The free runs in `[low, high)`, in order; those set aside too where `busy` says so, as runs of their own. */
  forEachFree(low: number, high: number, busy: boolean, visit: (pfn: number, npages: number) => void): void {
    const end = Math.min(high, this.basePfn + this.npages);
    for (let at = Math.max(low, this.basePfn); at < end; ) {
      const used = this.#used.has(at);
      const aside = used && this.#asidePages > 0 && this.#aside.has(at);
      let upTo = Math.min(this.#used.boundaryAfter(at, end), end);
      if (used && this.#asidePages > 0) upTo = Math.min(upTo, this.#aside.boundaryAfter(at, end));
      if (!used || (aside && busy)) visit(at, upTo - at);
      at = upTo;
    }
  }

  /** All free again, as just created. */
  reset(): void {
    this.#used.clear();
    this.#aside.clear();
    this.#asidePages = 0;
    this.#busy = [];
    this.#freePages = this.npages;
  }

  /** The runs to be had, in order of address. */
  [Symbol.iterator](): IterableIterator<Run> {
    const end = this.basePfn + this.npages;
    let from = this.basePfn;
    return steps(() => {
      const pfn = from < end ? this.#used.gapUp(1, from, end, 1) : -1;
      if (pfn < 0) return null;
      from = this.#used.boundaryAfter(pfn, end);
      return { pfn, npages: from - pfn };
    });
  }

  #overlapsAside(start: number, end: number): boolean {
    return this.#asidePages > 0 && !this.#aside.isFree(start, end);
  }

  #take(pfn: number, npages: number): void {
    this.#used.add(pfn, pfn + npages);
    this.#freePages -= npages;
  }

  /** `npages` in several runs; there are as many free. */
  #pieces(npages: number, align: number, goal: number): Run[] {
    const end = this.basePfn + this.npages;
    const runs: Run[] = [];
    let left = npages;
    if (align > 1) {
      left = this.#sweep(left, align, goal, end, runs);
      left = this.#sweep(left, align, this.basePfn, end, runs);
    }
    left = this.#sweep(left, 1, goal, end, runs);
    this.#sweep(left, 1, this.basePfn, end, runs);
    return runs;
  }

  /** Takes up to `npages` free pages of [low, high) by address, in aligned multiples of `unit`, adds them to `runs` and returns how many are still wanted. */
  #sweep(npages: number, unit: number, low: number, high: number, runs: Run[]): number {
    let left = npages;
    let from = low;
    while (left >= unit && from < high) {
      const pfn = this.#used.gapUp(unit, from, high, unit);
      if (pfn < 0) break;
      const room = Math.min(this.#used.boundaryAfter(pfn, high) - pfn, left);
      const taken = room - (room % unit);
      this.#take(pfn, taken);
      addRun(runs, pfn, taken);
      left -= taken;
      from = pfn + taken;
    }
    return left;
  }

  #check(op: string, pfn: number, npages: number): void {
    checkIndex(`BlockAllocator.${op}`, 'pfn', pfn);
    checkCount(`BlockAllocator.${op}`, 'npages', npages);
    if (pfn < this.basePfn || pfn + npages > this.basePfn + this.npages) {
      throw new RangeError(`BlockAllocator.${op}: pfn ${pfn} and the ${npages} pages from it are not all on the device`);
    }
  }
}

function isAlign(align: number): boolean {
  return Number.isInteger(align) && align >= 1 && align <= ALIGN_MAX && Number.isInteger(Math.log2(align));
}

/** Appends a run, or lengthens the last one where it goes on there. */
function addRun(runs: Run[], pfn: number, npages: number): void {
  const last = runs.at(-1);
  if (last !== undefined && last.pfn + last.npages === pfn) runs[runs.length - 1] = { pfn: last.pfn, npages: last.npages + npages };
  else runs.push({ pfn, npages });
}
