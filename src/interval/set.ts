/**
 * A set of integers, kept as its runs: ranges that touch are one. What is in use of an address range, the gaps
 * being what is free.
 *
 * Costs are those of IntervalList, in the number of runs. For the rooms' own use: arguments are not checked here.
 */
import { IntervalList } from './list.ts';

export class IntervalSet {
  readonly #runs = new IntervalList<null>();

  /** How many runs. */
  get count(): number {
    return this.#runs.count;
  }

  /** Adds [start, end). False, and nothing changed, if any of it is in the set. */
  add(start: number, end: number): boolean {
    const runs = this.#runs;
    let joined = end;
    if (runs.seek(start)) {
      if (runs.start < end) return false;
      if (runs.start === end) {
        joined = runs.end;
        runs.remove();
      }
    }
    if (runs.toPrev() && runs.end === start) runs.setBounds(runs.start, joined);
    else runs.insert(start, joined, null);
    return true;
  }

  /** Takes [start, end) out. False, and nothing changed, unless all of it is in the set. */
  remove(start: number, end: number): boolean {
    const runs = this.#runs;
    if (!runs.seek(start) || runs.start > start || runs.end < end) return false;
    const runEnd = runs.end;
    if (runs.start < start) {
      runs.setBounds(runs.start, start);
      if (end < runEnd) runs.insert(end, runEnd, null);
    } else if (end < runEnd) {
      runs.setBounds(end, runEnd);
    } else {
      runs.remove();
    }
    return true;
  }

  has(page: number): boolean {
    return this.#runs.seek(page) && this.#runs.start <= page;
  }

  /** Is nothing of [start, end) in the set? */
  isFree(start: number, end: number): boolean {
    return !this.#runs.seek(start) || this.#runs.start >= end;
  }

  /** Where the run that `page` is in ends; or, if it is in none, where the next one starts, or `none`. */
  boundaryAfter(page: number, none: number): number {
    if (!this.#runs.seek(page)) return none;
    return this.#runs.start <= page ? this.#runs.end : this.#runs.start;
  }

  /** Where the run that `page` is in starts; or, if it is in none, where the one before ends, or `none`. */
  boundaryBefore(page: number, none: number): number {
    if (this.#runs.seek(page) && this.#runs.start <= page) return this.#runs.start;
    return this.#runs.toPrev() ? this.#runs.end : none;
  }

  /** The least number in the set, or `none`. */
  first(none: number): number {
    return this.#runs.seek(0) ? this.#runs.start : none;
  }

  /** The lowest a in [low, high - npages] with a = 0 (mod align) and [a, a + npages) not in the set; or -1. */
  gapUp(npages: number, low: number, high: number, align: number): number {
    return this.#runs.gapUp(npages, low, high, align, 0);
  }

  /** The highest such a; or -1. */
  gapDown(npages: number, low: number, high: number, align: number): number {
    return this.#runs.gapDown(npages, low, high, align, 0);
  }

  clear(): void {
    this.#runs.clear();
  }
}
