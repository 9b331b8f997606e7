/** One that keeps a ledger of references on pages of devices: told of each while there is one (`Platform.ledger`). */
import type { Pfn } from '../units.ts';

export interface ReferenceLedger {
  /** `refs` references on the page have just been taken, for one who works for `place` */
  took(pfn: Pfn, refs: number, place: string): void;
  /** `refs` of them have been given back */
  put(pfn: Pfn, refs: number): void;
  /** the caller has these pages from now on, one taking of each: it has to give them back */
  handed(pfns: readonly Pfn[]): void;
}
