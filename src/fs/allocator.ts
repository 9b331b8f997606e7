/**
 * The free blocks of a file system's device, by address.
 *
 * What is in use is a set of runs; the gaps between them are free and found in O(log n) and a walk over chunk summaries.
 * Deterministic: the answer depends on what is in use and on the arguments, never on how it came about.
 * `pfn`s are device pages, and alignment is that of pfns, because huge mappings need it there.
 */
import { checkOptions, InvariantError } from '../errno.ts';
import { checkCount, checkIndex, steps } from '../interval.ts';
import { IntervalSet } from '../interval/set.ts';

export interface Run {
  readonly pfn: number;
  readonly npages: number;
}

export interface AllocOptions {
  /** pages to whose multiples a run should start (default 1) */
  readonly align?: 1 | 512 | 262144;
  /** look from this pfn on first: the page after the file's last extent */
  readonly goal?: number;
  /** one aligned run or none (default false) */
  readonly contiguous?: boolean;
}

const ALIGNS: readonly number[] = [1, 512, 262144];
const DEFAULTS: AllocOptions = {};

export class BlockAllocator {
  readonly basePfn: number;
  readonly npages: number;
  readonly #used = new IntervalSet();
  #freePages: number;

  /** Manages [basePfn, basePfn + npages), all of it free. */
  constructor(basePfn: number, npages: number) {
    checkIndex('BlockAllocator', 'basePfn', basePfn);
    checkCount('BlockAllocator', 'npages', npages);
    checkIndex('BlockAllocator', 'basePfn + npages', basePfn + npages);
    this.basePfn = basePfn;
    this.npages = npages;
    this.#freePages = npages;
  }

  get freePages(): number {
    return this.#freePages;
  }

  /**
   * Takes `npages` pages; null, and nothing changed, if they are not to be had. In this order:
   * one aligned run, the first from `goal` on; the first from the start of the device; unless `contiguous`: pieces by
   * address (from `goal` on, then from the start), aligned and in whole multiples of `align` as far as there are such, the
   * rest from whatever is free. Runs are in the order in which the file is to use them.
   */
  alloc(npages: number, options: AllocOptions = DEFAULTS): Run[] | null {
    checkCount('BlockAllocator.alloc', 'npages', npages);
    if (options !== DEFAULTS) checkOptions('BlockAllocator.alloc', options, ['align', 'goal', 'contiguous']);
    const { align = 1, goal = this.basePfn, contiguous = false } = options;
    if (!ALIGNS.includes(align)) throw new RangeError(`BlockAllocator.alloc: align ${String(align)} is not 1, 512 or 262144`);
    checkIndex('BlockAllocator.alloc', 'goal', goal);
    const end = this.basePfn + this.npages;
    if (goal < this.basePfn || goal > end) throw new RangeError(`BlockAllocator.alloc: goal ${goal} is not on the device`);
    if (npages > this.#freePages) return null;
    let pfn = goal < end ? this.#used.gapUp(npages, goal, end, align) : -1;
    if (pfn < 0 && goal > this.basePfn) pfn = this.#used.gapUp(npages, this.basePfn, end, align);
    if (pfn >= 0) {
      this.#take(pfn, npages);
      return [{ pfn, npages }];
    }
    return contiguous ? null : this.#pieces(npages, align, goal);
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
    if (!this.#used.remove(pfn, pfn + npages)) throw new InvariantError(`BlockAllocator.free: pages of [${pfn}, ${pfn + npages}) are free already`);
    this.#freePages += npages;
  }

  /** Is all of [pfn, pfn + npages) free? */
  isFree(pfn: number, npages = 1): boolean {
    this.#check('isFree', pfn, npages);
    return this.#used.isFree(pfn, pfn + npages);
  }

  /** The free run that `pfn` is in, or null if it is in use. */
  freeRunAt(pfn: number): Run | null {
    this.#check('freeRunAt', pfn, 1);
    if (this.#used.has(pfn)) return null;
    const start = this.#used.boundaryBefore(pfn, this.basePfn);
    return { pfn: start, npages: this.#used.boundaryAfter(pfn, this.basePfn + this.npages) - start };
  }

  /** All free again, as just created. */
  reset(): void {
    this.#used.clear();
    this.#freePages = this.npages;
  }

  /** The free runs in order of address. */
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

/** Appends a run, or lengthens the last one where it goes on there. */
function addRun(runs: Run[], pfn: number, npages: number): void {
  const last = runs.at(-1);
  if (last !== undefined && last.pfn + last.npages === pfn) runs[runs.length - 1] = { pfn: last.pfn, npages: last.npages + npages };
  else runs.push({ pfn, npages });
}
