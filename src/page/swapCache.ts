/**
 * Swap slots, and the pages that are still in RAM for them: the swap cache (mm/swap_state.c, mm/swapfile.c).
 *
 * A slot is counted by the entries that name it. A page stays in the cache, with a reference of the cache's, as long as its slot
 * is counted: nothing here writes pages out, so a swap entry's page can always be had without reading.
 */
import { invariant } from '../errno.ts';
import type { Pfn } from '../units.ts';
import type { Ram } from './ram.ts';

interface Slot {
  readonly pfn: Pfn;
  count: number;
}

export class SwapCache {
  readonly #ram: Ram;
  #slots = new Map<number, Slot>();
  #byPage = new Map<Pfn, number>();
  #next = 1;

  constructor(ram: Ram) {
    this.#ram = ram;
  }

  /** add_to_swap(): the page's slot, which the caller counts with `duplicate` for each entry; a page has one. */
  add(pfn: Pfn): number {
    const there = this.#byPage.get(pfn);
    if (there !== undefined) return there;
    const slot = this.#next++;
    this.#ram.get(pfn);
    this.#slots.set(slot, { pfn, count: 0 });
    this.#byPage.set(pfn, slot);
    return slot;
  }

  /** lookup_swap_cache(). */
  page(slot: number): Pfn {
    return this.#at(slot).pfn;
  }

  /** Does it have the page? */
  has(pfn: Pfn): boolean {
    return this.#byPage.has(pfn);
  }

  /** Entries that name the slot. */
  count(slot: number): number {
    return this.#at(slot).count;
  }

  /** swap_duplicate(): one entry more. */
  duplicate(slot: number): void {
    this.#at(slot).count++;
  }

  /** swap_free(): one entry less; the last one takes the page out of the cache. */
  free(slot: number): void {
    const at = this.#at(slot);
    invariant(at.count > 0, `swap slot ${slot} is freed more often than it was counted`);
    at.count--;
    if (at.count > 0) return;
    this.#slots.delete(slot);
    this.#byPage.delete(at.pfn);
    this.#ram.put(at.pfn);
  }

  reset(): void {
    this.#slots = new Map(); // see AnonVmas.reset
    this.#byPage = new Map();
    this.#next = 1;
  }

  #at(slot: number): Slot {
    const at = this.#slots.get(slot);
    invariant(at !== undefined, `no swap slot ${slot}`);
    return at;
  }
}
