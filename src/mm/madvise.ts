/**
 * madvise(2) (mm/madvise.c): each area in the range by itself. What lies between areas makes the answer ENOMEM, after the
 * rest is done.
 */
import { HmmError } from '../errno.ts';
import type { Sleepable } from '../sched/index.ts';
import { addrOf, type Vpn } from '../units.ts';
import { changeFlags, requireAlive } from './mmap.ts';
import type { Mm } from './mm.ts';
import { VM_HUGEPAGE, VM_HUGETLB, VM_LOCKED, VM_NOHUGEPAGE, VM_PFNMAP, type Vma } from './vma.ts';
import { zapPageRangeSingle } from './zap.ts';

/** MADV_DONTNEED: the entries go (CLEAR for each area), the areas stay. EINVAL for locked and for device mappings, ENOMEM. */
export function* madviseDontneed(mm: Mm, start: Vpn, npages: number): Sleepable<void> {
  const { sched } = mm.platform;
  if (!mm.mmapLock.tryRead(sched)) yield* mm.mmapLock.read(sched);
  try {
    yield* eachArea(mm, start, start + npages, function* dontneed(vma, from, to): Sleepable<void> {
      if (vma.has(VM_LOCKED | VM_HUGETLB | VM_PFNMAP)) throw new HmmError('EINVAL', 'madvise', 'DONTNEED of a locked or device mapping', addrOf(from));
      yield* zapPageRangeSingle(vma, from, to);
    });
  } finally {
    mm.mmapLock.readUnlock(sched);
  }
}

/** MADV_HUGEPAGE and MADV_NOHUGEPAGE: the flag of the areas, which are cut and merged as need be. EINVAL, ENOMEM. */
export function* madviseHuge(mm: Mm, start: Vpn, npages: number, huge: boolean): Sleepable<void> {
  const { sched } = mm.platform;
  if (!mm.mmapLock.tryWrite(sched)) yield* mm.mmapLock.write(sched);
  try {
    yield* eachArea(mm, start, start + npages, function* setHuge(vma, from, to): Sleepable<void> {
      const flags = huge ? (vma.flags & ~VM_NOHUGEPAGE) | VM_HUGEPAGE : (vma.flags & ~VM_HUGEPAGE) | VM_NOHUGEPAGE;
      if (flags !== vma.flags) yield* changeFlags(mm, vma, from, to, flags, 'madvise');
    });
  } finally {
    mm.mmapLock.writeUnlock(sched);
  }
}

/** Calls `visit` with each area and its part of `[start, end)`. */
function* eachArea(mm: Mm, start: Vpn, end: Vpn, visit: (vma: Vma, from: Vpn, to: Vpn) => Sleepable<void>): Sleepable<void> {
  requireAlive(mm, 'madvise');
  let gap = false;
  for (let at = start; at < end; ) {
    const vma = mm.vmas.find(at);
    if (vma === null || vma.start >= end) {
      gap = true;
      break;
    }
    if (vma.start > at) gap = true;
    const to = Math.min(end, vma.end);
    yield* visit(vma, Math.max(at, vma.start), to);
    at = to;
  }
  if (gap) throw new HmmError('ENOMEM', 'madvise', 'part of the range is not mapped', addrOf(start));
}
