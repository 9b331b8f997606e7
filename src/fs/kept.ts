/** Blocks that are kept for files and not yet theirs: in use as the allocator sees it, free as the file system counts. */
import { IntervalSet } from '../interval/set.ts';
import type { BlockAllocator } from './allocator.ts';

export class KeptBlocks {
  readonly #set = new IntervalSet();
  #count = 0;

  get count(): number {
    return this.#count;
  }

  hold(pfn: number, npages: number): void {
    this.#set.add(pfn, pfn + npages);
    this.#count += npages;
  }

  /** Makes kept blocks from `pfn` on a file's, up to `npages`; returns how many were. */
  use(pfn: number, npages: number): number {
    if (!this.#set.has(pfn)) return 0;
    const count = Math.min(npages, this.#set.boundaryAfter(pfn, pfn + npages) - pfn);
    this.#set.remove(pfn, pfn + count);
    this.#count -= count;
    return count;
  }

  /** What is still kept of `[pfn, pfn + npages)` goes back to the allocator. */
  release(allocator: BlockAllocator, pfn: number, npages: number): void {
    const end = pfn + npages;
    for (let at = pfn; at < end; ) {
      const next = Math.min(this.#set.boundaryAfter(at, end), end);
      if (this.#set.has(at)) {
        this.#set.remove(at, next);
        this.#count -= next - at;
        allocator.free(at, next - at);
      }
      at = next;
    }
  }
}
