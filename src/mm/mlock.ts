/** mlock(2) and munlock(2) (mm/mlock.c). Nothing is ever paged out here: what is left is that pages are faulted in, and what locked areas refuse. */
import { HmmError } from '../errno.ts';
import type { Sleepable } from '../sched/index.ts';
import { addrOf, type Vpn } from '../units.ts';
import { changeFlags, requireAlive } from './mmap.ts';
import type { Mm } from './mm.ts';
import { mmPopulate } from './populate.ts';
import { VM_HUGETLB, VM_LOCKED, VM_SPECIAL, type Vma } from './vma.ts';

/** Areas that are never marked locked: their pages do not move, or are no memory. */
export function neverLocked(vma: Vma): boolean {
  return vma.has(VM_SPECIAL | VM_HUGETLB) || vma.isDax;
}

/** mlock(2): the areas are marked, then their pages faulted in. ENOMEM for gaps and for what cannot be accessed, EAGAIN without memory. */
export function* mlock(mm: Mm, start: Vpn, npages: number): Sleepable<void> {
  if (npages === 0) return;
  yield* markLocked(mm, start, start + npages, VM_LOCKED, 'mlock');
  const error = yield* mmPopulate(mm, start, start + npages, false);
  if (error !== null) throw new HmmError(error === 'ENOMEM' ? 'EAGAIN' : 'ENOMEM', 'mlock', 'a page cannot be had', addrOf(start));
}

/** munlock(2): ENOMEM for gaps; what stands below one is unlocked. */
export function* munlock(mm: Mm, start: Vpn, npages: number): Sleepable<void> {
  yield* markLocked(mm, start, start + npages, 0, 'munlock');
}

function* markLocked(mm: Mm, start: Vpn, end: Vpn, locked: number, op: string): Sleepable<void> {
  const { sched } = mm.platform;
  if (!mm.mmapLock.tryWrite(sched)) yield* mm.mmapLock.write(sched);
  try {
    requireAlive(mm, op);
    for (let at = start; at < end; ) {
      const vma = mm.vmas.at(at);
      if (vma === null) throw new HmmError('ENOMEM', op, 'part of the range is not mapped', addrOf(at));
      const upTo = Math.min(end, vma.end);
      const flags = (vma.flags & ~VM_LOCKED) | locked;
      if (flags !== vma.flags && !neverLocked(vma)) yield* changeFlags(mm, vma, at, upTo, flags, op);
      at = upTo;
    }
  } finally {
    mm.mmapLock.writeUnlock(sched);
  }
}
