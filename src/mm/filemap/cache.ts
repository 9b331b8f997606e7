/**
 * The page cache of one file: its pages in RAM, in folios of 2^order pages (mm/filemap.c, include/linux/pagemap.h).
 *
 * Guarantee: a folio that is in the cache has the file's bytes (`filled` false: zeroes, that a fault around it passes over), and holds one reference on its block for that; entries that map it hold
 * their own. A folio that is split leaves a folio of one page for each, unless it lies beyond the end of the file.
 */
import { LEVEL_PTE } from '../../abi.ts';
import { invariant } from '../../errno.ts';
import type { Mappable } from '../../fs/index.ts';
import type { Platform } from '../../memremap/index.ts';
import { PAGE_CACHE } from '../../page/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import { alignDown, type Pfn } from '../../units.ts';
import { invalidateEnd, invalidateStart } from '../mm.ts';
import { eachMapping } from '../rmap.ts';
import { dropMappingOf } from './unmapFolio.ts';

export interface Folio {
  readonly index: number;
  readonly order: number;
  /** frame of page `index`; the others follow */
  readonly pfn: Pfn;
  /** written to since it was last written back */
  dirty: boolean;
  /** the next read of it reads further ahead */
  readahead: boolean;
  /** its bytes are what the file has; a page that fallocate(2) took from memory is not filled before somebody wants it */
  filled: boolean;
}

export class PageCache {
  readonly platform: Platform;
  readonly inode: Mappable;
  /** what page records call it */
  readonly id: number;
  /** of tmpfs: there is no file on a device behind it */
  readonly swapBacked: boolean;
  /** a written page was lost before it was written back (AS_EIO): who next syncs is told */
  lostWrites = false;
  readonly #folios = new Map<number, Folio>();

  constructor(platform: Platform, inode: Mappable, swapBacked = false) {
    this.platform = platform;
    this.swapBacked = swapBacked;
    this.inode = inode;
    this.id = platform.caches.add(this);
  }

  /** The folio that has page `index`. */
  get(index: number): Folio | undefined {
    return this.#folios.get(index);
  }

  /** Pages in the cache. */
  get pages(): number {
    return this.#folios.size;
  }

  /** A new folio of zeroes, clean; null when RAM is full. Its pages are not in the cache yet. */
  add(index: number, order: number): Folio | null {
    const pfn = this.platform.ram.alloc(order);
    return pfn < 0 ? null : this.#enter(index, order, pfn);
  }

  #enter(index: number, order: number, pfn: Pfn): Folio {
    const folio = { index, order, pfn, dirty: false, readahead: false, filled: true };
    this.platform.records.setOwner(pfn, PAGE_CACHE, this.id, index);
    for (let i = 0; i < 2 ** order; i++) this.#folios.set(index + i, folio);
    return folio;
  }

  /** Takes a folio out; its pages are free when the last entry that maps them goes. */
  remove(folio: Folio): void {
    for (let i = 0; i < 2 ** folio.order; i++) this.#folios.delete(folio.index + i);
    this.platform.ram.put(folio.pfn);
  }

  /** The page `index`, a folio by itself, has moved to frame `to`, which the cache holds from now on (folio_migrate_mapping). */
  replace(index: number, to: Pfn): void {
    const folio = this.#folios.get(index);
    invariant(folio !== undefined && folio.order === 0, `page ${index} of a cache is no folio by itself`);
    this.#folios.set(index, { ...folio, pfn: to });
    this.platform.ram.get(to);
    this.platform.ram.put(folio.pfn);
  }

  /** The folios that touch pages `[index, end)`, ascending. */
  folios(index: number, end: number): Folio[] {
    const found = new Set<Folio>();
    if (end - index <= this.#folios.size) {
      for (let i = index; i < end; i++) {
        const folio = this.#folios.get(i);
        if (folio !== undefined) found.add(folio);
      }
      return [...found];
    }
    for (const [i, folio] of this.#folios) if (i >= index && i < end) found.add(folio);
    return [...found].sort((a, b) => a.index - b.index);
  }

  isMapped(folio: Folio): boolean {
    const { ram } = this.platform;
    for (let i = 0; i < 2 ** folio.order; i++) if (ram.mappings(folio.pfn + i) > 0) return true;
    return false;
  }

  /**
   * split_folio(): whoever maps it is unmapped (CLEAR over its pages, in earlier kernels over the 2 MiB around them too), then it is
   * single pages; those from `endIndex` on, beyond the end of the file, go.
   */
  *split(folio: Folio, endIndex: number): Sleepable<void> {
    yield* unmapFolio(this, folio);
    const { ram, records } = this.platform;
    const npages = 2 ** folio.order;
    // A page keeps what it has references for: each gets the cache's own before the block is taken apart.
    for (let i = 1; i < npages; i++) {
      records.addMappings(folio.pfn + i, 1);
      ram.get(folio.pfn);
    }
    ram.split(folio.pfn);
    for (let i = 0; i < npages; i++) {
      const pfn = folio.pfn + i;
      if (i > 0) records.addMappings(pfn, -1);
      if (folio.index + i >= endIndex) {
        this.#folios.delete(folio.index + i);
        ram.put(pfn);
        continue;
      }
      records.setOwner(pfn, PAGE_CACHE, this.id, folio.index + i);
      this.#folios.set(folio.index + i, { index: folio.index + i, order: 0, pfn, dirty: folio.dirty, readahead: false, filled: folio.filled });
    }
  }

  /** The 2 MiB from page `index` on, of which nobody maps anything, become one folio with their bytes; null when RAM is full. */
  merge(index: number): Folio | null {
    const { ram, arena } = this.platform;
    const pfn = ram.alloc(9);
    if (pfn < 0) return null;
    for (let i = index; i < index + 512; i++) {
      const old = this.#folios.get(i);
      if (old !== undefined && !arena.content.copy((pfn + (i - index)) * 4096, (old.pfn + (i - old.index)) * 4096, 4096)) {
        ram.put(pfn);
        return null;
      }
    }
    for (const old of this.folios(index, index + 512)) this.remove(old);
    return this.#enter(index, 9, pfn);
  }

  /** The file is gone: all its pages go. */
  drop(): void {
    for (const folio of new Set(this.#folios.values())) this.platform.ram.put(folio.pfn);
    this.#folios.clear();
  }
}

/** try_to_unmap() of a folio of a file: in each area that covers it, until nothing maps it any more. Private copies stay. */
export function* unmapFolio(cache: PageCache, folio: Folio): Sleepable<void> {
  const { profile } = cache.platform;
  let visited = 0;
  yield* eachMapping(cache.inode, folio.index, folio.index + 2 ** folio.order, function* unmap(vma, start, end): Sleepable<void> {
    if (visited > 0 && !cache.isMapped(folio)) return;
    visited++;
    if (folio.order > 0 && profile.unmapClearsPmd) {
      const base = alignDown(start, 512);
      invalidateEnd(vma.mm, yield* invalidateStart(vma.mm, 'CLEAR', base, base + 512));
    }
    const range = yield* invalidateStart(vma.mm, 'CLEAR', start, end);
    dropMappingOf(vma.mm, start, end, folio.pfn, folio.pfn + 2 ** folio.order, LEVEL_PTE);
    invalidateEnd(vma.mm, range);
  });
}
