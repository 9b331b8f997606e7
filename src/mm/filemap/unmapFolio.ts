/** Takes the entries out that map certain frames (mm/rmap.c: try_to_unmap_one), within an invalidation that the caller has open. */
import { framePfn, isLeafEntry } from '../../pgtable/index.ts';
import { alignDown, pagesOfLevel, type Pfn, type Vpn } from '../../units.ts';
import type { Mm } from '../mm.ts';
import { dropPage, isCounted } from '../thp/index.ts';

/** Entries in `[start, end)` that map frames of `[first, last)` go, a huge leaf that maps some of them whole. */
export function dropMappingOf(mm: Mm, start: Vpn, end: Vpn, first: Pfn, last: Pfn, level: number): void {
  const pt = mm.pageTable;
  for (let vpn = pt.nextEntry(start, end, level); vpn >= 0; ) {
    pt.look(vpn);
    const npages = pagesOfLevel(pt.level);
    const next = alignDown(vpn, npages) + npages;
    const { lo, hi } = pt;
    if (isLeafEntry(pt.level, lo) && isCounted(mm, pt.level, lo, hi)) {
      const pfn = framePfn(lo, hi);
      if (pfn < last && pfn + npages > first) {
        const leafLevel = pt.level;
        pt.setRaw(0, 0);
        dropPage(mm, leafLevel, pfn);
      }
    }
    vpn = next >= end ? -1 : pt.nextEntry(next, end, level);
  }
}
