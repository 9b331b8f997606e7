/** Whose the references of a page of RAM are that nobody took by hand: those of mappings, and of the caches that it is in. */
import type { Platform } from '../memremap/index.ts';
import { HugeFile, mappingsOfBlock, type PageCache } from '../mm/index.ts';
import { PAGE_CACHE, PAGE_HUGETLB } from '../page/index.ts';
import type { Pfn } from '../units.ts';

/** How many references of the page, or the block, that begins at `head` are a mapping's or a cache's. */
export function accountedFor(platform: Platform, head: Pfn): number {
  return mapped(platform, head) + (isCached(platform, head) ? 1 : 0) + (platform.swapCache.has(head) ? 1 : 0);
}

/** The same in words: '2 of mappings, 1 of the page cache'. */
export function accountText(platform: Platform, head: Pfn): string {
  const parts: string[] = [];
  const mappings = mapped(platform, head);
  if (mappings > 0) parts.push(mappings === 1 ? '1 of a mapping' : `${mappings} of mappings`);
  if (isCached(platform, head)) parts.push('1 of the page cache');
  if (platform.swapCache.has(head)) parts.push('1 of the swap cache');
  return parts.join(', ');
}

/** A page of hugetlb is mapped whole, or not at all. */
function mapped(platform: Platform, head: Pfn): number {
  const { records } = platform;
  return (records.flags(head) & PAGE_HUGETLB) === 0 ? mappingsOfBlock(platform, head) : records.wholeMappings(head);
}

/** Is it of a file, and does the file have it? */
function isCached({ records, caches }: Platform, head: Pfn): boolean {
  if ((records.flags(head) & PAGE_CACHE) === 0) return false;
  const cache = caches.get(records.owner(head)) as PageCache | HugeFile | undefined;
  const index = records.index(head);
  if (cache instanceof HugeFile) return cache.pages.get(index / cache.pool.npages) === head;
  return cache?.get(index)?.pfn === head;
}
