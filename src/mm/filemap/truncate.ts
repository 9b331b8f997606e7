/**
 * Taking pages out of a page cache (mm/truncate.c). Offsets are bytes; `[start, end)`.
 *
 * What is cut by the range keeps its folio, with zeroes in the range; a larger folio is split first, if that can be done.
 */
import type { Sleepable } from '../../sched/index.ts';
import { pagesFor } from '../../units.ts';
import { eachMapping, unmapMappingRange } from '../rmap.ts';
import { zapPageRangeSingle } from '../zap.ts';
import type { Folio } from './cache.ts';
import type { CachedFile } from './cachedFile.ts';

export const CACHE_PAGES_MAX = 2 ** 40;

/** truncate_pagecache(): what maps pages beyond `size` goes, private copies too, before and after the pages do. */
export function* truncatePagecache(file: CachedFile, size: number): Sleepable<void> {
  const keep = pagesFor(size);
  yield* unmapMappingRange(file.cache.inode, keep, CACHE_PAGES_MAX, true, 'cache-truncate-untold');
  yield* truncatePages(file, size, CACHE_PAGES_MAX * 4096);
  yield* unmapMappingRange(file.cache.inode, keep, CACHE_PAGES_MAX, true, 'cache-truncate-untold');
}

/** truncate_pagecache_range(): what maps whole pages of the range goes, but for private copies; then the pages do. */
export function* truncatePagecacheRange(file: CachedFile, start: number, end: number): Sleepable<void> {
  const first = pagesFor(start);
  const last = Math.floor(end / 4096);
  if (last > first) yield* unmapMappingRange(file.cache.inode, first, last, false);
  yield* truncatePages(file, start, end);
}

/** truncate_inode_pages_range() */
export function* truncatePages(file: CachedFile, start: number, end: number): Sleepable<void> {
  const { cache } = file;
  for (const folio of cache.folios(Math.floor(start / 4096), pagesFor(end))) yield* truncateFolio(file, folio, start, end);
  // What was split has come as pages.
  for (const folio of cache.folios(pagesFor(start), Math.floor(end / 4096))) if (folio.order === 0) yield* removeFolio(file, folio);
}

function* truncateFolio(file: CachedFile, folio: Folio, start: number, end: number): Sleepable<void> {
  const { content } = file.cache.platform.arena;
  const from = folio.index * 4096;
  const to = from + 4096 * 2 ** folio.order;
  if (start <= from && end >= to) {
    yield* removeFolio(file, folio);
    return;
  }
  const cutFrom = Math.max(start, from);
  content.zero(folio.pfn * 4096 + (cutFrom - from), Math.min(end, to) - cutFrom);
  if (folio.order === 0) return;
  // A dirty folio of a file system is kept whole: what it has to say of its blocks is not yet written.
  if (folio.dirty && file.keepsDirtyWhole) return;
  yield* file.cache.split(folio, file.sizePages);
}

/** truncate_inode_folio(): whoever maps it still is unmapped. */
function* removeFolio({ cache }: CachedFile, folio: Folio): Sleepable<void> {
  if (cache.get(folio.index) !== folio) return;
  if (cache.isMapped(folio)) yield* unmapFile(cache.inode, folio);
  cache.remove(folio);
}

/** unmap_mapping_folio() */
function* unmapFile(inode: CachedFile['cache']['inode'], folio: Folio): Sleepable<void> {
  yield* eachMapping(inode, folio.index, folio.index + 2 ** folio.order, (vma, from, to) => zapPageRangeSingle(vma, from, to, { keepCows: true }));
}

/**
 * invalidate_inode_pages2_range(): pages `[index, end)` go, and who maps them is unmapped: at the first mapped folio met, the rest of
 * the range in one go.
 */
export function* invalidatePages(file: CachedFile, index: number, end: number): Sleepable<void> {
  const { cache } = file;
  let unmapped = false;
  for (const folio of cache.folios(index, end)) {
    if (!unmapped && cache.isMapped(folio)) {
      yield* unmapMappingRange(cache.inode, Math.max(index, folio.index), end, false);
      unmapped = true;
    }
    yield* removeFolio(file, folio);
  }
}
