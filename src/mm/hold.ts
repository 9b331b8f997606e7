/**
 * References that a path of the kernel takes for itself, so that a page stays while it works on it or sleeps (folio_get, folio_put):
 * of RAM, or of device memory that migrates. The ledger knows for which place each was taken.
 */
import type { Platform } from '../memremap/index.ts';
import type { Pfn } from '../units.ts';

/** Takes one for `place`. ENOMEM. */
export function hold({ ram, ledger }: Platform, pfn: Pfn, place: string): void {
  ram.get(pfn);
  ledger?.took(ram.head(pfn), 1, place);
}

/** Gives one back; the last one frees the page. */
export function letGo({ ram, ledger }: Platform, pfn: Pfn): void {
  ledger?.put(ram.head(pfn), 1);
  ram.put(pfn);
}
