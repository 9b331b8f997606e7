/** Who may map a page (mm/rmap.c: rmap_walk), in the order in which a kernel's walk over the mappings comes by. */
import type { Platform } from '../../memremap/index.ts';
import { PAGE_ANON, PAGE_CACHE } from '../../page/index.ts';
import type { Pfn } from '../../units.ts';
import { anonMappings, type AnonMapping } from '../anonVma.ts';
import type { PageCache } from '../filemap/index.ts';
import type { Vma } from '../vma.ts';

/** Of an anonymous page or one of a file, by itself: not of a page within a larger block. */
export function mappersOf(platform: Platform, pfn: Pfn): readonly AnonMapping[] {
  const { records } = platform;
  if ((records.flags(pfn) & PAGE_ANON) !== 0) return anonMappings(platform, pfn);
  const index = records.index(pfn);
  const areas = (cacheOf(platform, pfn)?.inode.mappings.collect(index, index + 1) ?? []) as Vma[];
  return areas.map((vma) => ({ vma, vpn: vma.start + (index - vma.pgoff) }));
}

/** The page cache that a page of a file is in. */
export function cacheOf({ records, caches }: Platform, pfn: Pfn): PageCache | undefined {
  return (records.flags(pfn) & PAGE_CACHE) === 0 ? undefined : (caches.get(records.owner(pfn)) as PageCache | undefined);
}
