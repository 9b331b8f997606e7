/**
 * Advice about how soon pages are wanted again (mm/madvise.c: madvise_cold_or_pageout_pte_range, madvise_free_pte_range;
 * mm/vmscan.c: reclaim_pages). There is no swap.
 *
 * COLD and PAGEOUT touch only pages that nobody else maps. A huge page is split where the advice is for a part of it, and where it is to
 * be paged out. Anonymous pages cannot go, having no swap, but those that were freed lazily and not written since; pages
 * of a file lose their entries. Kernels that take a 2M device leaf for a broken table clear it and tell no one
 * (`profile.coldClearsPmd`).
 *
 * Concurrency: the caller holds mmap_lock for reading.
 */
import { LEVEL_PMD, LEVEL_PTE, PMD_PAGES, PTE_ACCESSED, PTE_DIRTY } from '../abi.ts';
import type { Platform } from '../memremap/index.ts';
import { DEVICE_BASE_PFN, PAGE_ANON, PAGE_LAZYFREE } from '../page/index.ts';
import { SWP_HWPOISON, framePfn, isDirty, isLeafEntry, isPresent, isSpecial, isSwapEntry, swapType } from '../pgtable/index.ts';
import type { Sleepable } from '../sched/index.ts';
import type { Pfn, Vpn } from '../units.ts';
import { invalidateEnd, invalidateStart, tellBreach } from './mm.ts';
import { unmapFolio } from './filemap/cache.ts';
import { cacheOf } from './migrate/mappers.ts';
import { zapSwapEntry } from './migrate/swapEntries.ts';
import { walkPmds } from './pagewalk.ts';
import { dropPage, mappingsOfBlock, splitHugePage } from './thp/index.ts';
import type { Vma } from './vma.ts';
import { splitHuge, zapRange } from './zap.ts';

/** What the advice does with the entries of a page. */
type Age = 'cold' | 'pageout' | 'free';

/** MADV_COLD and MADV_PAGEOUT of `[start, end)` of the area. */
export function* coldRange(vma: Vma, start: Vpn, end: Vpn, pageout: boolean): Sleepable<void> {
  yield* ageRange(vma, start, end, pageout ? 'pageout' : 'cold');
}

/** MADV_FREE of `[start, end)` of an anonymous area: the bytes may be lost from now on until they are written anew. */
export function* freeRange(vma: Vma, start: Vpn, end: Vpn): Sleepable<void> {
  const range = yield* invalidateStart(vma.mm, 'CLEAR', start, end);
  yield* ageRange(vma, start, end, 'free');
  invalidateEnd(vma.mm, range);
}

function* ageRange(vma: Vma, start: Vpn, end: Vpn, age: Age): Sleepable<void> {
  const pt = vma.mm.pageTable;
  yield* walkPmds(vma, start, end, function* visit(base, from, to): Sleepable<void> {
    pt.look(base);
    if (pt.level === LEVEL_PMD && isLeafEntry(LEVEL_PMD, pt.lo) && (yield* ageHuge(vma, base, to - from === PMD_PAGES, age))) return;
    yield* agePages(vma, from, to, age);
  });
}

/** A huge leaf. False: it is no leaf any more, and its pages are next. */
function* ageHuge(vma: Vma, base: Vpn, whole: boolean, age: Age): Sleepable<boolean> {
  const { platform, pageTable: pt } = vma.mm;
  const pfn = framePfn(pt.lo, pt.hi);
  if (pfn >= DEVICE_BASE_PFN) {
    if (platform.profile.coldClearsPmd) {
      tellBreach(vma.mm, 'told-before-taken', 'coldClearsPmd', base, base + PMD_PAGES);
      pt.setRaw(0, 0);
    }
    return true;
  }
  if (platform.ram.isZero(pfn) || platform.ram.mappings(pfn) !== 1) return true;
  if (!whole) return !(yield* splitBlock(vma, pfn));
  pt.setRaw((pt.lo & ~agedBits(age)) >>> 0, pt.hi);
  if (age === 'free') setLazyFree(platform, pfn);
  if (age !== 'pageout') return true;
  if ((platform.records.flags(pfn) & PAGE_LAZYFREE) !== 0) yield* reclaimHuge(vma, base, pfn, isDirty(pt.lo));
  else if ((platform.records.flags(pfn) & PAGE_ANON) === 0) yield* reclaimFolio(vma, pfn);
  else yield* splitBlock(vma, pfn); // there is no swap for a huge page; for its pages there is none either
  return true;
}

/** The huge page of `pfn` falls to pages. False: somebody else has it. Those of a file are mapped nowhere then. */
function* splitBlock(vma: Vma, pfn: Pfn): Sleepable<boolean> {
  const { platform } = vma.mm;
  const { ram, records } = platform;
  const head = ram.head(pfn);
  if ((records.flags(head) & PAGE_ANON) !== 0) return yield* splitHugePage(platform, head);
  const cache = cacheOf(platform, head);
  const folio = cache?.get(records.index(head));
  if (cache === undefined || folio === undefined || ram.refs(head) !== mappingsOfBlock(platform, head) + 1) return false;
  yield* cache.split(folio, Infinity);
  return true;
}

/** As `reclaimFolio`, of a block that is mapped whole, by parts. Anonymous memory would go to swap. */
function* reclaimByParts(vma: Vma, pfn: Pfn): Sleepable<void> {
  const { records } = vma.mm.platform;
  if ((records.flags(pfn) & PAGE_ANON) !== 0) yield* splitBlock(vma, pfn);
  else yield* reclaimFolio(vma, pfn);
}

/** A huge leaf of a file is to be paged out: what could only go to swap is split on the way, else the folio is only mapped no more. */
function* reclaimFolio(vma: Vma, pfn: Pfn): Sleepable<void> {
  if (vma.ops?.swapBacked === true) {
    yield* splitBlock(vma, pfn);
    return;
  }
  const { platform } = vma.mm;
  const cache = cacheOf(platform, pfn);
  const folio = cache?.get(platform.records.index(pfn));
  if (cache !== undefined && folio !== undefined) yield* unmapFolio(cache, folio);
}

/** Entry by entry. Of a huge page that is mapped by parts a part is meant: it is split first. Kernels that look at more than one entry at a time leave it whole where all of it is meant. */
function* agePages(vma: Vma, from: Vpn, to: Vpn, age: Age): Sleepable<void> {
  const { platform, pageTable: pt } = vma.mm;
  const { ram, profile } = platform;
  const out: Vpn[] = [];
  for (let vpn = from; vpn < to; vpn++) {
    const pfn = anyPage(vma, vpn);
    if (pfn < 0) {
      if (age === 'free' && isSwapEntry(pt.level, pt.lo, pt.hi) && swapType(pt.hi) <= SWP_HWPOISON) zapSwapEntry(vma.mm, false);
      continue;
    }
    if (ram.order(pfn) > 0) {
      const npages = 2 ** ram.order(pfn);
      if (!profile.adviceSplitsParts && ram.head(pfn) === pfn && allByParts(vma, vpn, to, pfn, npages)) {
        pt.protect(vpn, npages, agedBits(age), 0);
        if (age === 'free') for (let i = 0; i < npages; i++) setLazyFree(platform, pfn + i);
        if (age === 'pageout') yield* reclaimByParts(vma, pfn);
        vpn += npages - 1;
      } else if (ram.mappings(pfn) === 1 && (yield* splitBlock(vma, pfn))) vpn--;
      else if (profile.adviceSplitsParts) break;
      continue;
    }
    if (age !== 'free' && ram.mappings(pfn) !== 1) continue;
    pt.setRaw((pt.lo & ~agedBits(age)) >>> 0, pt.hi);
    if (age === 'free') setLazyFree(platform, pfn);
    if (age === 'pageout') out.push(vpn);
  }
  for (const vpn of out) yield* reclaim(vma, vpn);
}

/** The page of RAM that the pte of `vpn` maps, or -1. */
function anyPage(vma: Vma, vpn: Vpn): Pfn {
  const { platform, pageTable: pt } = vma.mm;
  pt.look(vpn);
  if (pt.level !== LEVEL_PTE || !isPresent(LEVEL_PTE, pt.lo) || isSpecial(pt.lo)) return -1;
  const pfn = framePfn(pt.lo, pt.hi);
  return pfn >= DEVICE_BASE_PFN || platform.ram.isZero(pfn) ? -1 : pfn;
}

/** Do the ptes from `vpn` on, all below `to`, map each of the `npages` pages of the block that begins at `head`? */
function allByParts(vma: Vma, vpn: Vpn, to: Vpn, head: Pfn, npages: number): boolean {
  if (vpn + npages > to) return false;
  for (let i = 0; i < npages; i++) if (anyPage(vma, vpn + i) !== head + i) return false;
  return true;
}

/** try_to_unmap() of a huge page that was freed lazily: it goes, unless it was written to since. */
function* reclaimHuge(vma: Vma, base: Vpn, pfn: Pfn, written: boolean): Sleepable<void> {
  const { mm } = vma;
  const { records, ram } = mm.platform;
  yield* splitHuge(vma, base, PMD_PAGES);
  const range = yield* invalidateStart(mm, 'CLEAR', base, base + PMD_PAGES);
  const kept = written || ram.refs(pfn) !== PMD_PAGES;
  if (kept) records.setFlags(pfn, records.flags(pfn) & ~PAGE_LAZYFREE);
  else yield* zapRange(vma, base, base + PMD_PAGES);
  invalidateEnd(mm, range);
}

function setLazyFree({ records }: Platform, pfn: Pfn): void {
  records.setFlags(pfn, records.flags(pfn) | PAGE_LAZYFREE);
}

function agedBits(age: Age): number {
  return age === 'free' ? PTE_ACCESSED | PTE_DIRTY : PTE_ACCESSED;
}

/** shrink_page_list() of one page that is mapped here alone. */
function* reclaim(vma: Vma, vpn: Vpn): Sleepable<void> {
  const { mm } = vma;
  const { records, ram } = mm.platform;
  const pt = mm.pageTable;
  const pfn = anyPage(vma, vpn);
  if (pfn < 0) return;
  const flags = records.flags(pfn);
  if ((flags & PAGE_ANON) !== 0 && (flags & PAGE_LAZYFREE) === 0) return;
  const range = yield* invalidateStart(mm, 'CLEAR', vpn, vpn + 1);
  const there = anyPage(vma, vpn) === pfn;
  if (there && (flags & PAGE_ANON) !== 0 && (isDirty(pt.lo) || ram.refs(pfn) !== 1)) records.setFlags(pfn, flags & ~PAGE_LAZYFREE);
  else if (there) {
    pt.setRaw(0, 0);
    dropPage(mm, LEVEL_PTE, pfn);
  }
  invalidateEnd(mm, range);
}
