/**
 * What a migration works on: pages by page of a range, where they come from and where they are to go (include/linux/migrate.h).
 */
import type { Pfn, Vpn } from '../../units.ts';
import type { Vma } from '../vma.ts';

/** there is a page: its frame stands beside */
export const MIGRATE_PFN_VALID = 1;
/** it is to migrate, or has; without VALID a hole that a page may be put into */
export const MIGRATE_PFN_MIGRATE = 2;
export const MIGRATE_PFN_WRITE = 8;

/** What is collected. */
export const MIGRATE_VMA_SELECT_SYSTEM = 1;
export const MIGRATE_VMA_SELECT_DEVICE_PRIVATE = 2;
export const MIGRATE_VMA_SELECT_DEVICE_COHERENT = 4;

/** MIGRATE_PFN_ flags and frame of each page. */
export class MigratePages {
  readonly flags: Uint8Array;
  readonly #pfns: Float64Array;

  constructor(npages: number) {
    this.flags = new Uint8Array(npages);
    this.#pfns = new Float64Array(npages);
  }

  has(i: number, flag: number): boolean {
    return ((this.flags[i] as number) & flag) !== 0;
  }

  /** The frame, or -1 where there is no page. */
  pfn(i: number): Pfn {
    return this.has(i, MIGRATE_PFN_VALID) ? (this.#pfns[i] as number) : -1;
  }

  setPage(i: number, pfn: Pfn, flags: number): void {
    this.flags[i] = flags | MIGRATE_PFN_VALID;
    this.#pfns[i] = pfn;
  }

  /** The page stays where it is. */
  giveUp(i: number): void {
    this.flags[i] = (this.flags[i] as number) & ~MIGRATE_PFN_MIGRATE;
  }
}

/** struct migrate_vma: one setup, pages, finalize over `[start, end)` of an area, at most as many pages as `src` has. */
export interface MigrateVma {
  readonly vma: Vma | null;
  readonly start: Vpn;
  readonly end: Vpn;
  /** whose device memory is collected, and who is named in the events */
  readonly owner: object;
  /** MIGRATE_VMA_SELECT_ flags */
  readonly select: number;
  /** the device page at which the CPU faulted, on which the core holds a reference; or -1 */
  readonly faultPage: Pfn;
  readonly src: MigratePages;
  readonly dst: MigratePages;
  /** how many are to migrate, holes included */
  cpages: number;
}
