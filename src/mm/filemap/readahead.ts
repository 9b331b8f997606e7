/**
 * What is read into the page cache beside what is asked for (mm/readahead.c; the mmap part of mm/filemap.c).
 *
 * One state an open file. Reads look ahead in windows that grow while they come in order; a folio of the window bears a mark, and who
 * meets it reads the next window. A fault that misses reads around the page.
 */
import { PMD_PAGES } from '../../abi.ts';
import { alignDown, alignUp } from '../../units.ts';
import type { CachedFile } from './cachedFile.ts';
import type { Folio } from './cache.ts';

/** 128 KiB, and what a device takes at once */
const RA_PAGES = 32;
const IO_PAGES = 320;
/** so many more misses than hits, and faults read around no more */
const MMAP_LOTSAMISS = 100;

export class Readahead {
  start = 0;
  size = 0;
  asyncSize = 0;
  /** page that was read last */
  prev = -1;
  mmapMiss = 0;
}

/** A read of `npages` from `index` on finds nothing there (page_cache_sync_ra). */
export function syncReadahead(file: CachedFile, ra: Readahead, index: number, npages: number): void {
  onDemand(file, ra, index, npages, null);
}

/** It meets the marked `folio` (page_cache_async_ra). */
export function asyncReadahead(file: CachedFile, ra: Readahead, folio: Folio, index: number, npages: number): void {
  folio.readahead = false;
  if (file.cache.platform.profile.readaheadFollowsMarks) followMark(file, ra, folio, index, npages);
  else onDemand(file, ra, index, npages, folio);
}

/** do_sync_mmap_readahead(): a fault finds no page. `huge`: the area asked for huge pages. */
export function mmapReadahead(file: CachedFile, ra: Readahead, pgoff: number, huge: boolean): void {
  if (huge) {
    ra.size = 2 * PMD_PAGES;
    ra.asyncSize = PMD_PAGES;
    readOrder(file, ra, alignDown(pgoff, PMD_PAGES), 9);
    return;
  }
  if (ra.mmapMiss < MMAP_LOTSAMISS * 10) ra.mmapMiss++;
  if (ra.mmapMiss > MMAP_LOTSAMISS) return;
  ra.start = Math.max(0, pgoff - RA_PAGES / 2);
  ra.size = RA_PAGES;
  ra.asyncSize = RA_PAGES / 4;
  readOrder(file, ra, ra.start, 0);
}

/** do_async_mmap_readahead(): a fault finds `folio`. True: it read ahead. */
export function mmapReadaheadMark(file: CachedFile, ra: Readahead, folio: Folio, pgoff: number): boolean {
  if (ra.mmapMiss > 0) ra.mmapMiss--;
  if (!folio.readahead) return false;
  asyncReadahead(file, ra, folio, pgoff, RA_PAGES);
  return true;
}

/** page_cache_async_ra() of later kernels: the next window, or where the pages end that are there. */
function followMark(file: CachedFile, ra: Readahead, folio: Folio, index: number, npages: number): void {
  const max = maxPages(npages);
  if (ra.size > 0 && index === alignDown(ra.start + ra.size - ra.asyncSize, 2 ** folio.order)) {
    ra.start += ra.size;
    ra.size = Math.max(ra.size, nextSize(ra.size, max));
  } else {
    const miss = nextMiss(file, index + 1, max);
    if (miss - index > max) return;
    ra.start = miss;
    ra.size = nextSize(miss - index + npages, max);
  }
  ra.asyncSize = ra.size;
  readOrder(file, ra, ra.start, folio.order);
}

function maxPages(npages: number): number {
  return npages > RA_PAGES ? Math.min(npages, IO_PAGES) : RA_PAGES;
}

/** ondemand_readahead() */
function onDemand(file: CachedFile, ra: Readahead, index: number, npages: number, folio: Folio | null): void {
  const max = maxPages(npages);
  const order = folio?.order ?? 0;
  const expected = alignUp(ra.start + ra.size - ra.asyncSize, 2 ** order);
  if (index > 0 && ra.size > 0 && (index === expected || index === ra.start + ra.size)) {
    ra.start += ra.size;
    ra.size = nextSize(ra.size, max);
    ra.asyncSize = ra.size;
  } else if (index > 0 && folio !== null) {
    const miss = nextMiss(file, index + 1, max);
    if (miss - index > max) return;
    ra.start = miss;
    ra.size = nextSize(miss - index + npages, max);
    ra.asyncSize = ra.size;
  } else if (index === 0 || npages > max || index - ra.prev <= 1) {
    ra.start = index;
    ra.size = initialSize(npages, max);
    const whole = file.cache.platform.profile.readaheadFollowsMarks ? Math.floor(ra.size / 2) : ra.size;
    ra.asyncSize = ra.size > npages ? ra.size - npages : whole;
  } else if (!byContext(file, ra, index, npages, max)) {
    readSingle(file, index, npages, 0);
    return;
  }
  if (index === ra.start && ra.size === ra.asyncSize) {
    const more = nextSize(ra.size, max);
    const fits = ra.size + more <= max;
    ra.asyncSize = fits ? more : Math.floor(max / 2);
    ra.size = fits ? ra.size + more : max;
  }
  readOrder(file, ra, ra.start, order);
}

/** try_context_readahead(): pages in the cache before `index` show that somebody reads in order. */
function byContext(file: CachedFile, ra: Readahead, index: number, npages: number, max: number): boolean {
  let history = 0;
  while (history < max && file.cache.get(index - 1 - history) !== undefined) history++;
  if (history <= npages) return false;
  const size = history >= index ? history * 2 : history;
  ra.start = index;
  ra.size = Math.min(size + npages, max);
  ra.asyncSize = 1;
  return true;
}

function nextMiss(file: CachedFile, index: number, max: number): number {
  let at = index;
  while (at < index + max && file.cache.get(at) !== undefined) at++;
  return at;
}

function initialSize(npages: number, max: number): number {
  const size = 2 ** Math.ceil(Math.log2(npages));
  return size <= max / 32 ? size * 4 : size <= max / 4 ? size * 2 : max;
}

function nextSize(size: number, max: number): number {
  return size < max / 16 ? 4 * size : size <= max / 2 ? 2 * size : max;
}

/** page_cache_ra_order(): the window by folios of `order` and two more, where the file system has such; else by pages. */
function readOrder(file: CachedFile, ra: Readahead, first: number, order: number): void {
  const last = Math.min(file.sizePages - 1, first + ra.size - 1);
  if (!file.largeFolios || ra.size < 4) {
    readSingle(file, first, ra.size, ra.asyncSize);
    return;
  }
  let largest = Math.min(9, order + 2);
  while (2 ** largest > ra.size) largest--;
  const mark = first + ra.size - ra.asyncSize;
  let index = first;
  while (index <= last) {
    const own = folioOrder(index, largest, last);
    // Where a page is there already the rest is read page by page.
    if (!readFolio(file, index, own, mark)) {
      readSingle(file, index, ra.size, ra.asyncSize);
      return;
    }
    index += 2 ** own;
  }
  if (index > last + 1) {
    ra.size += index - last - 1;
    ra.asyncSize += index - last - 1;
  }
}

/** The largest order up to `largest` to which `index` is aligned and that does not reach beyond `last`. */
export function folioOrder(index: number, largest: number, last: number): number {
  let order = largest;
  while (order > 0 && (index % 2 ** order !== 0 || index + 2 ** order - 1 > last || order === 1)) order--;
  return order;
}

function readFolio(file: CachedFile, index: number, order: number, mark: number): boolean {
  for (let i = 0; i < 2 ** order; i++) if (file.cache.get(index + i) !== undefined) return false;
  const folio = file.read(index, order);
  if (folio === null) return false;
  if (mark >= index && mark < index + 2 ** order) folio.readahead = true;
  return true;
}

/** do_page_cache_ra(): page by page, what is there already left out. */
function readSingle(file: CachedFile, first: number, npages: number, lookahead: number): void {
  const count = Math.min(npages, file.sizePages - first);
  for (let i = 0; i < count; i++) {
    if (file.cache.get(first + i) !== undefined) continue;
    const folio = file.read(first + i, 0);
    if (folio === null) return;
    if (i === count - lookahead) folio.readahead = true;
  }
}
