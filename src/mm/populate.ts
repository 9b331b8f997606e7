/**
 * Faulting pages in before anybody touches them, as GUP does without taking references (mm/gup.c: populate_vma_page_range,
 * faultin_page_range).
 *
 * The caller of the inner functions holds mmap_lock for reading.
 */
import { LEVEL_PTE, PTE_ACCESSED, PTE_DIRTY } from '../abi.ts';
import { DEVICE_BASE_PFN } from '../page/index.ts';
import { framePfn, isWritable } from '../pgtable/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { alignDown, pagesOfLevel, type Vpn } from '../units.ts';
import { handleMmFault } from './fault.ts';
import { livelock, type Mm } from './mm.ts';
import {
  FAULT_FLAG_WRITE, VM_ACCESS, VM_FAULT_HWPOISON, VM_FAULT_OOM, VM_FAULT_SIGBUS, VM_FAULT_SIGSEGV, VM_IO, VM_PFNMAP, VM_SHARED, VM_WRITE,
  type Vma,
} from './vma.ts';

/** So many faults in a row that leave a page as it was are a livelock. */
const MAX_ROUNDS = 64;

/** Why populating stopped; null: it did not. */
export type PopulateErrno = 'ENOMEM' | 'EFAULT' | 'EHWPOISON';

/** Faults in `[start, end)` of the area, for writing or not; rights are the caller's to check. Stops at the first page that cannot be had. */
export function* faultIn(vma: Vma, start: Vpn, end: Vpn, write: boolean): Sleepable<PopulateErrno | null> {
  const pt = vma.mm.pageTable;
  for (let vpn = start, round = 0; vpn < end; round++) {
    if (pt.look(vpn) && (!write || isWritable(pt.lo))) {
      if (framePfn(pt.lo, pt.hi) >= DEVICE_BASE_PFN) pt.setRaw((pt.lo | PTE_ACCESSED | (write ? PTE_DIRTY : 0)) >>> 0, pt.hi);
      const npages = pagesOfLevel(pt.level);
      vpn = pt.level === LEVEL_PTE ? vpn + 1 : alignDown(vpn, npages) + npages;
      round = 0;
      continue;
    }
    if (round > MAX_ROUNDS) throw livelock(vma.mm, 'populate', vpn, round);
    const result = yield* handleMmFault(vma, vpn, write ? FAULT_FLAG_WRITE : 0);
    if ((result & VM_FAULT_OOM) !== 0) return 'ENOMEM';
    if ((result & VM_FAULT_HWPOISON) !== 0) return 'EHWPOISON';
    if ((result & (VM_FAULT_SIGBUS | VM_FAULT_SIGSEGV)) !== 0) return 'EFAULT';
  }
  return null;
}

/** populate_vma_page_range(): with write where that breaks copy on write, for reading else. EFAULT for what nobody may access. */
export function* populateArea(vma: Vma, start: Vpn, end: Vpn): Sleepable<PopulateErrno | null> {
  if (!vma.has(VM_ACCESS)) return 'EFAULT';
  return yield* faultIn(vma, start, end, (vma.flags & (VM_WRITE | VM_SHARED)) === VM_WRITE);
}

/**
 * __mm_populate() over whatever is mapped in the range: of MAP_POPULATE (`tolerant`: an area that cannot be had is left) and
 * of mlock (the first error ends it). Takes mmap_lock.
 */
export function* mmPopulate(mm: Mm, start: Vpn, end: Vpn, tolerant: boolean): Sleepable<PopulateErrno | null> {
  const { sched } = mm.platform;
  if (!mm.mmapLock.tryRead(sched)) yield* mm.mmapLock.read(sched);
  try {
    for (let vma = mm.vmas.find(start); vma !== null && vma.start < end; vma = mm.vmas.next(vma)) {
      if (vma.has(VM_IO | VM_PFNMAP)) continue;
      const error = yield* populateArea(vma, Math.max(start, vma.start), Math.min(end, vma.end));
      if (error !== null && !tolerant) return error;
    }
    return null;
  } finally {
    mm.mmapLock.readUnlock(sched);
  }
}
