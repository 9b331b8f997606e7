/**
 * Page records: what the kernel keeps in struct page, for the pages that differ from the default.
 *
 * Dense records are out of the question (1 TiB has 268 M pages), so there is one block of 512 records a 2 MiB section,
 * made at the first value that is not the default. This room is the only writer of counts.
 *
 * Default of a RAM page: free, 0 references. Of a device page (fs-dax and device-dax, up to 6.14): idle at 1 reference;
 * mappings take none. (include/linux/mm_types.h, mm/memremap.c)
 */
import { PMD_PAGES } from '../abi.ts';
import type { Arena } from '../arena/index.ts';
import { HmmError, invariant } from '../errno.ts';
import { hex, type Pfn } from '../units.ts';
import type { PageWatch } from './watch.ts';

/** First frame of device memory: 1 TiB. RAM lies below. */
export const DEVICE_BASE_PFN: Pfn = 2 ** 28;
/**
 * First frame of device memory that migrates (device-private and device-coherent): 768 GiB, above all RAM. Unlike the frames of
 * DAX devices these are counted as RAM pages are: 0 references while free, one for each mapping.
 */
export const DEVICE_MEMORY_BASE_PFN: Pfn = 3 * 2 ** 26;
/** First frame of RAM: 4 GiB, above every table frame. */
export const RAM_BASE_PFN: Pfn = 2 ** 20;

// One record, in u32 words:
//   0 references beyond the default (i32)   1 mappings (i32)   2 pins (i32)   3 flags
//   4 owner: anon space or inode            5 compound         6,7 index: page number in the owner (f64)
// compound: of the first page of a block of pages that is one (THP, hugetlb) the block's order, of its second page how often
// the block is mapped whole, by leaves of its own size. References and pins of all its pages are the first page's.
const RECORD_WORDS = 8;
const RECORD_BYTES = RECORD_WORDS * 4;
const SECTION_BYTES = PMD_PAGES * RECORD_BYTES;

export const PAGE_ANON = 1; // anonymous memory
export const PAGE_EXCLUSIVE = 2; // belongs to one process alone (PageAnonExclusive)
export const PAGE_DIRTY = 4;
export const PAGE_POISONED = 8; // PageHWPoison
export const PAGE_ZERO = 16; // the shared zero page
export const PAGE_LAZYFREE = 64; // MADV_FREE: may go while its entries are clean (not PageSwapBacked)
export const PAGE_CACHE = 32; // page cache of a file that is not DAX
export const PAGE_HUGETLB = 4096; // one of a pool of huge pages
export const PAGE_OF_HUGE = 2048; // was part of a huge page, and still lies where that lay

export class PageRecords {
  readonly #arena: Arena;
  readonly #blocks = new Map<number, number>();
  #section = -1;
  #block = 0;
  /** hears of every change of references; null: nobody does */
  watch: PageWatch | null = null;

  constructor(arena: Arena) {
    this.#arena = arena;
  }

  /** References, as page_count() would answer. */
  refs(pfn: Pfn): number {
    return (pfn >= DEVICE_BASE_PFN ? 1 : 0) + this.#read(pfn, 0);
  }

  mappings(pfn: Pfn): number {
    return this.#read(pfn, 1);
  }

  pins(pfn: Pfn): number {
    return this.#read(pfn, 2);
  }

  flags(pfn: Pfn): number {
    return this.#read(pfn, 3);
  }

  /** Who an anonymous page belongs to, and at which page number. */
  owner(pfn: Pfn): number {
    return this.#read(pfn, 4);
  }

  index(pfn: Pfn): number {
    const at = this.#find(pfn);
    return at === 0 ? 0 : (this.#arena.f64[(at + 24) >>> 3] as number);
  }

  /** Adds to the reference count and returns what it is then. Throws ENOMEM before anything has changed; below zero is an invariant. */
  addRefs(pfn: Pfn, delta: number): number {
    const at = this.#make(pfn);
    const i = at >>> 2;
    const refs = (this.#arena.i32[i] as number) + delta;
    this.#arena.i32[i] = refs;
    const count = refs + (pfn >= DEVICE_BASE_PFN ? 1 : 0);
    invariant(count >= 0, `page ${hex(pfn)} has ${count} references`);
    if (this.watch !== null) this.watch.changed(pfn, count, delta);
    return count;
  }

  addMappings(pfn: Pfn, delta: number): number {
    const i = (this.#make(pfn) >>> 2) + 1;
    const count = (this.#arena.i32[i] as number) + delta;
    this.#arena.i32[i] = count;
    invariant(count >= 0, `page ${hex(pfn)} has ${count} mappings`);
    return count;
  }

  addPins(pfn: Pfn, delta: number): number {
    const i = (this.#make(pfn) >>> 2) + 2;
    const count = (this.#arena.i32[i] as number) + delta;
    this.#arena.i32[i] = count;
    invariant(count >= 0, `page ${hex(pfn)} has ${count} pins`);
    return count;
  }

  /** Sets flags, owner and index of a page at once. */
  setOwner(pfn: Pfn, flags: number, owner: number, index: number): void {
    const at = this.#make(pfn);
    const i = at >>> 2;
    this.#arena.u32[i + 3] = flags;
    this.#arena.u32[i + 4] = owner;
    this.#arena.f64[(at + 24) >>> 3] = index;
  }

  /** Order of the block of pages that begins at `pfn`; 0 for a page by itself. Not to be asked of other pages of a block. */
  order(pfn: Pfn): number {
    return this.#read(pfn, 5);
  }

  /** How often the block that begins at `head` is mapped whole. */
  wholeMappings(head: Pfn): number {
    return this.#read(head + 1, 5);
  }

  setOrder(head: Pfn, order: number): void {
    this.#arena.u32[(this.#make(head) >>> 2) + 5] = order;
  }

  addWholeMappings(head: Pfn, delta: number): number {
    const i = (this.#make(head + 1) >>> 2) + 5;
    const count = (this.#arena.i32[i] as number) + delta;
    this.#arena.i32[i] = count;
    invariant(count >= 0, `block ${hex(head)} has ${count} mappings`);
    return count;
  }

  setFlags(pfn: Pfn, flags: number): void {
    this.#arena.u32[(this.#make(pfn) >>> 2) + 3] = flags;
  }

  /** False when all 512 pages around `pfn` are at the default. */
  hasRecords(pfn: Pfn): boolean {
    return this.#find(pfn) !== 0;
  }

  /** Makes sure that writing this page's record cannot fail; false when the arena is full. */
  reserve(pfn: Pfn): boolean {
    return this.#find(pfn) !== 0 || this.#create(pfn);
  }

  /** The pages are free: back to the default. More than one: a block that lies in one section, or whole sections. */
  clear(pfn: Pfn, npages = 1): void {
    for (let done = 0; done < npages; done += PMD_PAGES) {
      const at = this.#find(pfn + done);
      if (at !== 0) this.#arena.zero(at, Math.min(npages, PMD_PAGES) * RECORD_BYTES);
    }
  }

  reset(): void {
    this.#blocks.clear();
    this.#section = -1;
    this.#block = 0;
  }

  // ── inside ──

  #read(pfn: Pfn, word: number): number {
    const at = this.#find(pfn);
    return at === 0 ? 0 : (this.#arena.i32[(at >>> 2) + word] as number);
  }

  /** Arena offset of the record, or 0 when all of its section is default. */
  #find(pfn: Pfn): number {
    const section = Math.floor(pfn / PMD_PAGES);
    if (section !== this.#section) {
      const block = this.#blocks.get(section);
      if (block === undefined) return 0;
      this.#section = section;
      this.#block = block;
    }
    return this.#block + (pfn - section * PMD_PAGES) * RECORD_BYTES;
  }

  #make(pfn: Pfn): number {
    const at = this.#find(pfn);
    if (at !== 0) return at;
    if (!this.#create(pfn)) throw new HmmError('ENOMEM', 'page', `no room in the arena for the record of page ${hex(pfn)}`);
    return this.#find(pfn);
  }

  #create(pfn: Pfn): boolean {
    const block = this.#arena.blockAlloc(SECTION_BYTES);
    if (block === 0) return false;
    this.#blocks.set(Math.floor(pfn / PMD_PAGES), block);
    return true;
  }
}
