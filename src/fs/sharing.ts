/**
 * Which blocks have more than one owner (fs/xfs/libxfs/xfs_refcount.c): runs of pages with their number of owners, from two on.
 *
 * A block in none of them has one owner, or none. Searches are O(log n).
 */
import { checkCount, checkIndex } from '../interval.ts';
import { IntervalList } from '../interval/list.ts';
import type { Run } from './allocator.ts';

interface Piece {
  readonly start: number;
  readonly end: number;
  readonly owners: number;
}

export class BlockSharing {
  readonly #list = new IntervalList<number>();

  /** Blocks `[pfn, pfn + npages)` get one more owner. */
  share(pfn: number, npages: number): void {
    for (const { start, end, owners } of this.#take('share', pfn, npages)) this.#put(start, end, owners + 1);
  }

  /** They lose one. Returns the runs that nobody owns any more. */
  release(pfn: number, npages: number): Run[] {
    const orphans: Run[] = [];
    for (const { start, end, owners } of this.#take('release', pfn, npages)) {
      if (owners > 2) this.#put(start, end, owners - 1);
      else if (owners === 1) orphans.push({ pfn: start, npages: end - start });
    }
    return orphans;
  }

  /** The first run of shared blocks in `[pfn, pfn + npages)`, whoever shares them; null when there is none. */
  firstShared(pfn: number, npages: number): Run | null {
    const end = pfn + npages;
    const list = this.#list;
    if (!list.seek(pfn) || list.start >= end) return null;
    const start = Math.max(pfn, list.start);
    let upTo = list.end;
    while (upTo < end && list.toNext() && list.start === upTo) upTo = list.end;
    return { pfn: start, npages: Math.min(upTo, end) - start };
  }

  clear(): void {
    this.#list.clear();
  }

  /** Takes the range out and returns all of it in pieces of equally many owners. */
  #take(op: string, pfn: number, npages: number): Piece[] {
    checkIndex(`BlockSharing.${op}`, 'pfn', pfn);
    checkCount(`BlockSharing.${op}`, 'npages', npages);
    const end = pfn + npages;
    const list = this.#list;
    const pieces: Piece[] = [];
    for (let at = pfn; at < end; ) {
      if (!list.seek(at) || list.start >= end) {
        pieces.push({ start: at, end, owners: 1 });
        break;
      }
      const first = list.start;
      const past = list.end;
      const owners = list.value;
      if (first > at) pieces.push({ start: at, end: first, owners: 1 });
      const from = Math.max(at, first);
      const upTo = Math.min(past, end);
      list.remove();
      if (first < from) list.insert(first, from, owners);
      if (upTo < past) list.insert(upTo, past, owners);
      pieces.push({ start: from, end: upTo, owners });
      at = upTo;
    }
    return pieces;
  }

  /** Enters a run, joined with a neighbour of equally many owners. */
  #put(start: number, end: number, owners: number): void {
    const list = this.#list;
    let [first, past] = [start, end];
    if (list.seek(end) && list.start === end && list.value === owners) {
      past = list.end;
      list.remove();
    }
    list.seek(start);
    if (list.toPrev() && list.end === start && list.value === owners) {
      first = list.start;
      list.remove();
    }
    list.insert(first, past, owners);
  }
}
