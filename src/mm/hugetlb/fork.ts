/**
 * fork of an area of huge pages (mm/hugetlb.c: copy_hugetlb_page_range): CLEAR over the whole of a private one, and both sides have its
 * pages read only. A pinned page stays the parent's and the child gets a copy. Shared ones are faulted anew.
 */
import { PTE_DIRTY, PTE_RW } from '../../abi.ts';
import { HmmError } from '../../errno.ts';
import { PAGE_ANON, PAGE_EXCLUSIVE, PAGE_HUGETLB } from '../../page/index.ts';
import { framePfn, isLeafEntry } from '../../pgtable/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import { addrOf } from '../../units.ts';
import { ownPage } from '../anonVma.ts';
import { invalidateEnd, invalidateStart } from '../mm.ts';
import { addPage } from '../thp/index.ts';
import type { Vma, VmOps } from '../vma.ts';
import type { HugeFile } from './file.ts';

export function* copyHuge(copy: Vma, vma: Vma): Sleepable<void> {
  const { mm } = vma;
  const { records } = mm.platform;
  const { level, npages } = ((vma.ops as VmOps).hugetlb as HugeFile).pool;
  const range = vma.isCow ? yield* invalidateStart(mm, 'CLEAR', vma.start, vma.end) : null;
  try {
    for (let vpn = vma.start; vpn < vma.end; vpn += npages) {
      mm.pageTable.look(vpn);
      if (mm.pageTable.level !== level || mm.pageTable.none) continue;
      if (!copy.mm.pageTable.slot(vpn, level)) throw new HmmError('ENOMEM', 'fork', 'no table frame left in the arena', addrOf(vpn));
      const { lo, hi } = mm.pageTable;
      if (!isLeafEntry(level, lo)) {
        copy.mm.pageTable.setRaw(lo, hi); // poisoned: so it is for the child
        continue;
      }
      const pfn = framePfn(lo, hi);
      if ((records.flags(pfn) & PAGE_ANON) !== 0 && records.pins(pfn) > 0 && (yield* copyPinned(copy, vma, vpn))) continue;
      records.setFlags(pfn, records.flags(pfn) & ~PAGE_EXCLUSIVE);
      addPage(copy.mm, level, pfn);
      const shared = vma.isCow ? (lo & ~PTE_RW) >>> 0 : lo;
      mm.pageTable.setRaw(shared, hi);
      copy.mm.pageTable.setRaw((shared & ~PTE_DIRTY) >>> 0, hi);
    }
  } finally {
    if (range !== null) invalidateEnd(mm, range);
  }
}

/** The child's own copy of a pinned page at the entries found last; ENOMEM where the pool has none for it. */
function* copyPinned(copy: Vma, vma: Vma, vpn: number): Sleepable<boolean> {
  const { arena, records } = vma.mm.platform;
  const file = vma.ops?.hugetlb as HugeFile;
  const { lo, hi } = vma.mm.pageTable;
  const pfn = file.allocFor(copy, file.indexOf(vma, vpn), true);
  if (pfn < 0) throw new HmmError('ENOMEM', 'fork', 'no huge page for a copy', addrOf(vpn));
  if (!arena.content.copy(pfn * 4096, framePfn(lo, hi) * 4096, file.pool.npages * 4096)) throw new HmmError('ENOMEM', 'fork', 'no room in the arena for the bytes', addrOf(vpn));
  ownPage(copy, pfn, vpn);
  records.setFlags(pfn, records.flags(pfn) | PAGE_HUGETLB);
  records.addWholeMappings(pfn, 1);
  copy.mm.pageTable.set(pfn, lo & 0xfff, hi);
  return true;
}
