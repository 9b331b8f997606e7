/**
 * RAM: frames from a buddy allocator (orders 0, 9, 18), counted in the page records. A page whose last reference goes is
 * free again and its bytes read zero when it is handed out next.
 */
import { PMD_PAGES, PUD_PAGES } from '../abi.ts';
import type { Arena } from '../arena/index.ts';
import type { Pfn } from '../units.ts';
import { Buddy } from './buddy.ts';
import { PAGE_ZERO, RAM_BASE_PFN, type PageRecords } from './records.ts';

export class Ram {
  /** the 4 KiB page of zeroes that read faults of anonymous memory and of holes map; never freed */
  readonly zeroPfn: Pfn = RAM_BASE_PFN;
  /** first page of the 2 MiB page of zeroes: the last of its GiB, which no mapping from a GiB boundary on is congruent to by chance */
  readonly hugeZeroPfn: Pfn = RAM_BASE_PFN + PUD_PAGES - PMD_PAGES;
  readonly npages: number;
  readonly #arena: Arena;
  readonly #records: PageRecords;
  readonly #buddy: Buddy;

  /** `npages` of RAM, beyond the GiB of the zero pages. */
  constructor(arena: Arena, records: PageRecords, npages: number) {
    this.#arena = arena;
    this.#records = records;
    this.npages = npages;
    this.#buddy = new Buddy(RAM_BASE_PFN + PUD_PAGES, npages);
  }

  get freePages(): number {
    return this.#buddy.freePages;
  }

  isZero(pfn: Pfn): boolean {
    return pfn === this.zeroPfn || (pfn >= this.hugeZeroPfn && pfn < this.hugeZeroPfn + PMD_PAGES);
  }

  /** One page with one reference, all zero; or -1 when RAM or the arena is full. */
  alloc(): Pfn {
    const pfn = this.#buddy.alloc(0);
    if (pfn < 0) return -1;
    if (!this.#records.reserve(pfn)) {
      this.#buddy.free(pfn, 0);
      return -1;
    }
    this.#records.addRefs(pfn, 1);
    return pfn;
  }

  /** Drops one reference; the last one frees the page. */
  put(pfn: Pfn): void {
    if (this.#records.addRefs(pfn, -1) > 0) return;
    this.#records.clear(pfn);
    this.#arena.content.zero(pfn * 4096, 4096);
    this.#buddy.free(pfn, 0);
  }

  flags(pfn: Pfn): number {
    return this.isZero(pfn) ? PAGE_ZERO : this.#records.flags(pfn);
  }

  reset(): void {
    this.#buddy.reset();
  }
}
