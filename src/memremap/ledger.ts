/** One that keeps a ledger of the references that are no mapping's: told of each while there is one (`Platform.ledger`). */
import type { Pfn } from '../units.ts';

export interface ReferenceLedger {
  /** `refs` references on the page have just been taken, for one who works for `place` */
  took(pfn: Pfn, refs: number, place: string): void;
  /** `refs` of them are given back; of pages of RAM just before they are */
  put(pfn: Pfn, refs: number): void;
  /** the caller has these pages from now on, one taking of each: it has to give them back */
  handed(pfns: readonly Pfn[]): void;
  /** `place` is about to work on the page, and takes it for one that cannot go away */
  uses(pfn: Pfn, place: string): void;
}
