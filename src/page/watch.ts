/** One that is told of every change of a page's references (`PageRecords.watch`): who keeps a ledger of them. */
import type { Pfn } from '../units.ts';

export interface PageWatch {
  /** the count has just changed by `delta`, and is `refs` now */
  changed(pfn: Pfn, refs: number, delta: number): void;
  /** the page, or the block that begins there, has lost its last reference and is about to be free */
  freed(head: Pfn): void;
  /** the block that began at `head` is pages now; who held it holds `keeper` */
  split(head: Pfn, keeper: Pfn): void;
}
