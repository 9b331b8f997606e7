/**
 * Unmapping huge pages (mm/hugetlb.c: __unmap_hugepage_range). Whole ones: bounds are multiples of the area's page size.
 *
 * Earlier kernels raise an UNMAP of its own for each area, whoever unmaps and whatever event is open already; later ones leave it to
 * the caller, and a file that takes its pages away raises CLEAR.
 */
import type { Sleepable } from '../../sched/index.ts';
import { framePfn, isLeafEntry } from '../../pgtable/index.ts';
import { PAGE_ANON } from '../../page/index.ts';
import type { Pfn, Vpn } from '../../units.ts';
import { invalidateEnd, invalidateStart } from '../mm.ts';
import { dropPage } from '../thp/index.ts';
import { VM_MAYSHARE, type Vma, type VmOps } from '../vma.ts';
import type { HugeFile, HugePromises } from './file.ts';

/** `within`: the caller has an invalidation open; `alone`: it has none. `only`: the entries of that page alone, which the area is robbed of. */
export function* unmapHuge(vma: Vma, start: Vpn, end: Vpn, caller: 'within' | 'alone', only: Pfn = -1): Sleepable<void> {
  const { mm } = vma;
  const nests = mm.platform.profile.hugetlbUnmapNests;
  const range = nests || caller === 'alone' ? yield* invalidateStart(mm, nests ? 'UNMAP' : 'CLEAR', start, end) : null;
  const pt = mm.pageTable;
  const { level, npages } = ((vma.ops as VmOps).hugetlb as HugeFile).pool;
  for (let vpn = pt.nextEntry(start, end, level); vpn >= 0; ) {
    const base = vpn - (vpn % npages);
    pt.look(base);
    const { lo, hi } = pt;
    if (pt.level === level && !pt.none) {
      const leaf = isLeafEntry(level, lo);
      const pfn = leaf ? framePfn(lo, hi) : -1;
      if (only < 0 || pfn === only) {
        pt.setRaw(0, 0);
        if (leaf) dropHuge(vma, base, pfn);
        if (only >= 0) rob(vma);
      }
    }
    const next = base + npages;
    vpn = next >= end ? -1 : pt.nextEntry(next, end, level);
  }
  if (range !== null) invalidateEnd(mm, range);
}

/** The area's page goes; where the kernel does that, its promise is there again. */
function dropHuge(vma: Vma, vpn: Vpn, pfn: Pfn): void {
  const { profile, records, ram } = vma.mm.platform;
  const file = vma.ops?.hugetlb as HugeFile;
  const promises = vma.privateData as HugePromises | null;
  const last = ram.refs(pfn) === 1 && (records.flags(pfn) & PAGE_ANON) !== 0;
  dropPage(vma.mm, file.pool.level, pfn);
  if (!profile.hugetlbRestoresReserve || !last || vma.has(VM_MAYSHARE) || promises === null || promises.used === null) return;
  promises.used.delete(file.indexOf(vma, vpn));
  file.pool.reserved++;
}

function rob(vma: Vma): void {
  const promises = (vma.privateData as HugePromises | null) ?? { used: null, robbed: true };
  promises.robbed = true;
  vma.privateData = promises;
}
