/**
 * Where the pages of a file are: extents in order of file page (the extent tree of an inode).
 *
 * An extent maps `npages` file pages from `block` to as many device pages from `pfn`. Neighbours that go on in both, with the
 * same state, are one extent, always: the map of a file depends on what is mapped, not on how it came about. Whether its blocks
 * are shared with others is known of the blocks (sharing.ts). What is in no extent is a hole. Extents are immutable records, replaced when they change,
 * so one that was answered stays what it was. Searches are O(log n); 100,000 extents cost little more than one.
 *
 * File pages and pfns are integers from 0; arguments that are not, and empty ranges, throw RangeError. Mapping what
 * is mapped is an InvariantError. Either changes nothing.
 */
import { InvariantError } from '../errno.ts';
import { checkCount, checkIndex, checkSpan, steps } from '../interval.ts';
import { IntervalList } from '../interval/list.ts';

/** mapped: has data. unwritten: has blocks, and reads zero (fallocate). */
export type ExtentState = 'mapped' | 'unwritten';

export interface Extent {
  readonly hole?: false;
  /** first file page */
  readonly block: number;
  readonly pfn: number;
  readonly npages: number;
  readonly state: ExtentState;
}

export interface Hole {
  readonly hole: true;
  /** first file page */
  readonly start: number;
  readonly npages: number;
}

/** The first file page that cannot be: a file ends at or below it. */
export const FILE_PAGES_MAX = 2 ** 52;

export class ExtentMap {
  readonly #list = new IntervalList<Extent>();
  #pages = 0;

  /** How many extents. */
  get count(): number {
    return this.#list.count;
  }

  /** How many file pages have a device page. */
  get pages(): number {
    return this.#pages;
  }

  /** The extent that holds file page `index`, whole; or the hole around it, from the extent before (or 0) to the one after (or `end`, where that is less). */
  lookup(index: number, end: number = FILE_PAGES_MAX): Extent | Hole {
    checkIndex('ExtentMap.lookup', 'index', index);
    checkIndex('ExtentMap.lookup', 'end', end);
    if (end <= index) throw new RangeError(`ExtentMap.lookup: end ${end} is not above index ${index}`);
    const list = this.#list;
    let holeEnd = end;
    if (list.seek(index)) {
      if (list.start <= index) return list.value;
      if (list.start < end) holeEnd = list.start;
    }
    const start = list.toPrev() ? list.end : 0;
    return { hole: true, start, npages: holeEnd - start };
  }

  /** The first extent that ends after file page `index`, or null: SEEK_DATA. With `block + npages` of the last answer it steps through the map. */
  next(index: number): Extent | null {
    checkIndex('ExtentMap.next', 'index', index);
    return this.#list.find(index);
  }

  /** Maps [index, index + npages), a hole until now; returns the extent it is part of. */
  insert(index: number, pfn: number, npages: number, state: ExtentState): Extent {
    checkFile('ExtentMap.insert', 'index', index, npages);
    checkIndex('ExtentMap.insert', 'pfn', pfn);
    if (state !== 'mapped' && state !== 'unwritten') throw new RangeError(`ExtentMap.insert: state ${String(state)} is not mapped or unwritten`);
    return this.#join({ block: index, pfn, npages, state });
  }

  /** Makes a hole of [start, start + npages); returns what was mapped there, in order. */
  punch(start: number, npages: number): Extent[] {
    checkFile('ExtentMap.punch', 'start', start, npages);
    return this.#cut(start, start + npages);
  }

  /** Makes a hole of all from file page `from` on; returns what was mapped there, in order. */
  truncate(from: number): Extent[] {
    checkIndex('ExtentMap.truncate', 'from', from);
    return from < FILE_PAGES_MAX ? this.#cut(from, FILE_PAGES_MAX) : [];
  }

  /** Gives what is mapped in [start, start + npages) the state `state`; holes stay. Returns how many pages changed. */
  convert(start: number, npages: number, state: ExtentState): number {
    checkFile('ExtentMap.convert', 'start', start, npages);
    if (state !== 'mapped' && state !== 'unwritten') throw new RangeError(`ExtentMap.convert: state ${String(state)} is not mapped or unwritten`);
    return this.#rewrite(start, start + npages, state);
  }

  /** Moves all from file page `from` on `npages` down, over a hole of as many pages: the second half of FALLOC_FL_COLLAPSE_RANGE. */
  shiftLeft(from: number, npages: number): void {
    checkFile('ExtentMap.shiftLeft', 'from', from, npages);
    if (npages > from) throw new RangeError(`ExtentMap.shiftLeft: npages ${npages} is above from ${from}`);
    if (this.#list.seek(from - npages) && this.#list.start < from) {
      throw new InvariantError(`ExtentMap.shiftLeft: [${from - npages}, ${from}) is not a hole`);
    }
    this.#shift(from, -npages);
  }

  /** Moves all from file page `from` on `npages` up, and leaves a hole: FALLOC_FL_INSERT_RANGE. RangeError if the last page would move out of the file. */
  shiftRight(from: number, npages: number): void {
    checkFile('ExtentMap.shiftRight', 'from', from, npages);
    this.#list.seek(FILE_PAGES_MAX);
    if (this.#list.toPrev() && this.#list.end > from && this.#list.end + npages > FILE_PAGES_MAX) {
      throw new RangeError(`ExtentMap.shiftRight: npages ${npages} moves the last extent beyond file page 2^52`);
    }
    this.#shift(from, npages);
  }

  /** Calls `visit` with each extent that holds a page of [start, end), whole, in order. The visitor may change what it is given and what lies before. */
  overlapping(start: number, end: number, visit: (extent: Extent) => void): void {
    checkSpan('ExtentMap.overlapping', start, end);
    let from = start;
    for (;;) {
      const extent = this.#list.find(from);
      if (extent === null || extent.block >= end) return;
      from = extent.block + extent.npages;
      visit(extent);
    }
  }

  /** Forgets everything. */
  clear(): void {
    this.#list.clear();
    this.#pages = 0;
  }

  /** All extents in order; changes behind the iterator are allowed. */
  [Symbol.iterator](): IterableIterator<Extent> {
    let from = 0;
    return steps(() => {
      const extent = this.#list.find(from);
      if (extent !== null) from = extent.block + extent.npages;
      return extent;
    });
  }

  /** Adds `extent`, joined with its neighbours where it continues them. */
  #join(extent: Extent): Extent {
    const list = this.#list;
    let { block, pfn, npages } = extent;
    const end = block + npages;
    const follows = list.seek(block);
    if (follows && list.start < end) throw new InvariantError(`ExtentMap: [${block}, ${end}) is mapped in part`);
    this.#pages += npages;
    if (follows && list.start === end && continues(extent, list.value)) {
      npages += list.value.npages;
      list.remove();
    }
    if (list.toPrev() && list.end === block && continues(list.value, extent)) {
      const before = list.value;
      block = before.block;
      pfn = before.pfn;
      npages += before.npages;
      const whole: Extent = { block, pfn, npages, state: extent.state };
      list.setBounds(block, block + npages);
      list.value = whole;
      return whole;
    }
    const whole: Extent = npages === extent.npages ? extent : { block, pfn, npages, state: extent.state };
    list.insert(block, block + npages, whole);
    return whole;
  }

  /** Takes [start, end) out and returns its pieces. */
  #cut(start: number, end: number): Extent[] {
    const list = this.#list;
    const pieces: Extent[] = [];
    let more = list.seek(start);
    while (more && list.start < end) {
      const extent = list.value;
      const piece = part(extent, start, end);
      pieces.push(piece);
      this.#pages -= piece.npages;
      const extentEnd = extent.block + extent.npages;
      if (piece === extent) {
        list.remove();
        more = list.valid;
        continue;
      }
      if (extent.block < start) {
        list.value = part(extent, extent.block, start);
        list.setBounds(extent.block, start);
        if (extentEnd > end) list.insert(end, extentEnd, part(extent, end, extentEnd));
      } else {
        list.value = part(extent, end, extentEnd);
        list.setBounds(end, extentEnd);
      }
      more = extentEnd < end && list.toNext();
    }
    return pieces;
  }

  /** Gives what is mapped in [start, end) another state. */
  #rewrite(start: number, end: number, state: ExtentState): number {
    let changed = 0;
    let from = start;
    while (from < end) {
      const extent = this.#list.find(from);
      if (extent === null || extent.block >= end) break;
      const first = Math.max(from, extent.block);
      const past = Math.min(end, extent.block + extent.npages);
      from = past;
      if (state === extent.state) continue;
      this.#cut(first, past);
      this.#join({ block: first, pfn: extent.pfn + (first - extent.block), npages: past - first, state });
      changed += past - first;
    }
    return changed;
  }

  #shift(from: number, by: number): void {
    for (const { block, pfn, npages, state } of this.#cut(from, FILE_PAGES_MAX)) this.#join({ block: block + by, pfn, npages, state });
  }
}

/** Does `next`, which begins where `extent` ends in the file, go on with it on the device too? */
function continues(extent: Extent, next: Extent): boolean {
  return extent.pfn + extent.npages === next.pfn && extent.state === next.state;
}

/** What of `extent` lies in [start, end): itself where that is all. */
function part(extent: Extent, start: number, end: number): Extent {
  const first = Math.max(start, extent.block);
  const past = Math.min(end, extent.block + extent.npages);
  if (past - first === extent.npages) return extent;
  return { block: first, pfn: extent.pfn + (first - extent.block), npages: past - first, state: extent.state };
}

/** A range of `npages` file pages from `first`, below FILE_PAGES_MAX. */
function checkFile(op: string, name: string, first: number, npages: number): void {
  checkIndex(op, name, first);
  checkCount(op, 'npages', npages);
  if (first + npages > FILE_PAGES_MAX) throw new RangeError(`${op}: npages ${npages} from ${first} end beyond file page 2^52`);
}
