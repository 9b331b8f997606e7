/**
 * RAM: frames from a buddy allocator, counted in the page records. A page whose last reference goes is free again and its
 * bytes read zero when it is handed out next.
 *
 * Pages come alone or as blocks of 2^order that are one (compound pages: THP of order 9, hugetlb of 9 and 18, file pages of
 * any order). A block has one reference count, its first page's: `get` and `put` of any page of it go there. Mappings are
 * counted by page for ptes (`records.mappings`), and once for a leaf over the whole block (`records.wholeMappings`). A block
 * that has fallen to pages again (`split`) is 2^order pages like others.
 */
import { PMD_PAGES, PUD_PAGES } from '../abi.ts';
import type { Arena } from '../arena/index.ts';
import { invariant } from '../errno.ts';
import { alignDown, type Pfn } from '../units.ts';
import { Buddy } from './buddy.ts';
import { DEVICE_MEMORY_BASE_PFN, PAGE_EXCLUSIVE, PAGE_HUGETLB, PAGE_OF_HUGE, PAGE_ZERO, RAM_BASE_PFN, type PageRecords } from './records.ts';

const ORDER_MAX = 18;
/** what lies at the start of the second GiB is not to be had */
const KERNEL_PAGES = 216 * PMD_PAGES;

export class Ram {
  /** the 4 KiB page of zeroes that read faults of anonymous memory and of holes map; never freed */
  readonly zeroPfn: Pfn = RAM_BASE_PFN;
  /** first page of the 2 MiB page of zeroes: the last of its GiB, which no mapping from a GiB boundary on is congruent to by chance */
  readonly hugeZeroPfn: Pfn = RAM_BASE_PFN + PUD_PAGES - PMD_PAGES;
  readonly npages: number;
  /** free_zone_device_page(): where device memory goes with its last reference; PgMaps sets it */
  freeDevicePage: (pfn: Pfn) => void = () => undefined;
  /** free_huge_page(): a page of the pools has no reference left; HugePools' owner sets it */
  freeHugePage: (order: number) => void = () => undefined;
  readonly #arena: Arena;
  readonly #records: PageRecords;
  readonly #buddy: Buddy;
  /** blocks there are, by order: what is not there need not be looked for */
  readonly #blocks = new Uint32Array(ORDER_MAX + 1);
  #blockCount = 0;

  /** `npages` of RAM, beyond the GiB of the zero pages, and as far from the next GiB boundary as no area has its 2 MiB pages from one. */
  constructor(arena: Arena, records: PageRecords, npages: number) {
    this.#arena = arena;
    this.#records = records;
    this.npages = npages;
    this.#buddy = new Buddy(RAM_BASE_PFN + PUD_PAGES + KERNEL_PAGES, npages);
  }

  get freePages(): number {
    return this.#buddy.freePages;
  }

  isZero(pfn: Pfn): boolean {
    return pfn === this.zeroPfn || (pfn >= this.hugeZeroPfn && pfn < this.hugeZeroPfn + PMD_PAGES);
  }

  /** A page, or a block of 2^order that is one, with one reference, all zero; or -1 when RAM or the arena is full. */
  alloc(order = 0): Pfn {
    const pfn = this.#buddy.alloc(order);
    if (pfn < 0) return -1;
    if (!this.#records.reserve(pfn)) {
      this.#buddy.free(pfn, order);
      return -1;
    }
    this.#records.addRefs(pfn, 1);
    if (order > 0) {
      this.#records.setOrder(pfn, order);
      this.#count(order, 1);
    }
    return pfn;
  }

  /** First page of the block that `pfn` is in; a page by itself is its own. */
  head(pfn: Pfn): Pfn {
    if (this.#blockCount === 0) return pfn;
    for (let order = 1; order <= ORDER_MAX; order++) {
      if (this.#blocks[order] === 0) continue;
      const first = alignDown(pfn, 2 ** order);
      if (this.#records.order(first) === order) return first;
    }
    return pfn;
  }

  /** Order of the block that `pfn` is in: 0 for a page by itself. */
  order(pfn: Pfn): number {
    return this.#blockCount === 0 ? 0 : this.#records.order(this.head(pfn));
  }

  /** References of the page, which are its block's. */
  refs(pfn: Pfn): number {
    return this.#records.refs(this.head(pfn));
  }

  /** How often the page is mapped: by itself, and with its block (page_mapcount). */
  mappings(pfn: Pfn): number {
    const head = this.head(pfn);
    return this.#records.mappings(pfn) + (this.#records.order(head) === 0 ? 0 : this.#records.wholeMappings(head));
  }

  /** Takes references to the page, which are its block's. */
  get(pfn: Pfn, count = 1): void {
    this.#records.addRefs(this.head(pfn), count);
  }

  /** Drops references; the last one frees the page, or the block. */
  put(pfn: Pfn, count = 1): void {
    const head = this.head(pfn);
    if (this.#records.addRefs(head, -count) > 0) return;
    this.#records.watch?.freed(head);
    if (head >= DEVICE_MEMORY_BASE_PFN) {
      this.freeDevicePage(head);
      return;
    }
    const order = this.#records.order(head);
    if (order > 0 && (this.#records.flags(head) & PAGE_HUGETLB) !== 0) this.freeHugePage(order);
    this.#records.clear(head, 2 ** order);
    this.#arena.content.zero(head * 4096, 4096 * 2 ** order);
    this.#buddy.free(head, order);
    if (order > 0) this.#count(order, -1);
  }

  /**
   * The block that begins at `head` falls to pages (split_huge_page), each with the references of its mappings; what the block
   * had beyond them, its callers', is the page `keeper`'s. No leaf may map it whole any more. Pages belong to whom the block did;
   * those with no reference are free.
   */
  split(head: Pfn, keeper: Pfn = head): void {
    const records = this.#records;
    const order = records.order(head);
    invariant(order > 0, `a page by itself cannot be split: ${head}`);
    invariant(records.wholeMappings(head) === 0, `block ${head} is mapped whole`);
    const npages = 2 ** order;
    const held = records.refs(head);
    let beyond = held;
    for (let i = 0; i < npages; i++) beyond -= records.mappings(head + i);
    invariant(beyond >= 0, `block ${head} has fewer references than mappings`);
    records.setOrder(head, 0);
    this.#count(order, -1);
    this.#buddy.split(head, order);
    const owner = records.owner(head);
    const index = records.index(head);
    records.addRefs(head, -held);
    for (let i = 0; i < npages; i++) {
      const page = head + i;
      const refs = records.mappings(page) + (page === keeper ? beyond : 0);
      if (refs === 0) this.#free(page);
      else {
        records.addRefs(page, refs);
        records.setOwner(page, records.flags(page) | PAGE_OF_HUGE, owner, index + i);
      }
    }
    records.watch?.split(head, keeper);
  }

  /** PAGE_ flags of a page; those of its block, but for what is each page's own (PAGE_EXCLUSIVE), are the first page's. */
  flags(pfn: Pfn): number {
    if (this.isZero(pfn)) return PAGE_ZERO;
    const head = this.head(pfn);
    const own = this.#records.flags(pfn);
    return head === pfn ? own : own | (this.#records.flags(head) & ~PAGE_EXCLUSIVE);
  }

  reset(): void {
    this.#buddy.reset();
    this.#blocks.fill(0);
    this.#blockCount = 0;
  }

  // ── inside ──

  #count(order: number, delta: number): void {
    this.#blocks[order] = (this.#blocks[order] as number) + delta;
    this.#blockCount += delta;
  }

  #free(pfn: Pfn): void {
    this.#records.clear(pfn);
    this.#arena.content.zero(pfn * 4096, 4096);
    this.#buddy.free(pfn, 0);
  }
}
