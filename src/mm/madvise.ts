/**
 * madvise(2) (mm/madvise.c): each area in the range by itself, in order. The first that refuses ends it, and what stands below has
 * been done. What lies between areas makes the answer ENOMEM, after the rest is done.
 *
 * Advice that changes an area's flags cuts and merges areas, under mmap_lock for writing; the rest deals in pages, under it for
 * reading.
 */
import { HmmError } from '../errno.ts';
import type { Sleepable } from '../sched/index.ts';
import { addrOf, alignDown, type Vpn } from '../units.ts';
import { handleMmFault } from './fault.ts';
import { changeFlags, requireAlive } from './mmap.ts';
import type { Mm } from './mm.ts';
import { coldRange, freeRange } from './pageout.ts';
import { faultIn } from './populate.ts';
import { collapseRange } from './thp/index.ts';
import {
  VM_DONTCOPY, VM_DONTEXPAND, VM_FAULT_ERROR, VM_HUGEPAGE, VM_HUGETLB, VM_IO, VM_LOCKED, VM_MAYSHARE, VM_MAYWRITE, VM_MERGEABLE, VM_MIXEDMAP, VM_NOHUGEPAGE, VM_PFNMAP, VM_READ,
  VM_SHARED, VM_WIPEONFORK, VM_WRITE, type Vma,
} from './vma.ts';
import { zapPageRangeSingle } from './zap.ts';

const PAGE_SIZE = 4096;

/** What an advice does to one area's part of the range. */
type Visit = (vma: Vma, start: Vpn, end: Vpn) => Sleepable<void>;

/** The flags that an area is to have, or why not. */
const FLAG_ADVICE = {
  normal: ({ flags }) => flags,
  hugepage: ({ flags }) => (flags & ~VM_NOHUGEPAGE) | VM_HUGEPAGE,
  nohugepage: ({ flags }) => (flags & ~VM_HUGEPAGE) | VM_NOHUGEPAGE,
  dontfork: ({ flags }) => flags | VM_DONTCOPY,
  dofork(vma) {
    if (vma.has(VM_IO)) throw refusal(vma, 'EINVAL', 'the area is of a device');
    return vma.flags & ~VM_DONTCOPY;
  },
  wipeonfork(vma) {
    if (vma.file !== null || vma.isShared) throw refusal(vma, 'EINVAL', 'only private anonymous memory is wiped');
    return vma.flags | VM_WIPEONFORK;
  },
  keeponfork: ({ flags }) => flags & ~VM_WIPEONFORK,
  mergeable(vma) {
    const never = VM_SHARED | VM_MAYSHARE | VM_PFNMAP | VM_IO | VM_DONTEXPAND | VM_HUGETLB | VM_MIXEDMAP;
    return vma.has(never) || vma.isDax ? vma.flags : vma.flags | VM_MERGEABLE;
  },
} as const satisfies Readonly<Record<string, (vma: Vma) => number>>;

const PAGE_ADVICE = {
  *willneed() {
    // nothing is on a disk that it could be read from ahead
  },
  *dontneed(vma, start, end) {
    const upTo = discardEnd(vma, start, end);
    if (upTo > start) yield* zapPageRangeSingle(vma, start, upTo, { untold: 'dontneed-untold' });
  },
  *free(vma, start, end) {
    if (vma.ops !== null || vma.has(VM_LOCKED | VM_PFNMAP)) throw refusal(vma, 'EINVAL', 'only anonymous memory that is not locked can be freed');
    yield* freeRange(vma, start, end);
  },
  remove: removeRange,
  *cold(vma, start, end) {
    yield* coldRange(requireReclaimable(vma), start, end, false);
  },
  *pageout(vma, start, end) {
    yield* coldRange(requireReclaimable(vma), start, end, true);
  },
  collapse: (vma, start, end) => collapseRange(vma, start, end, faultBack),
  populate_read: (vma, start, end) => populateRange(vma, start, end, false),
  populate_write: (vma, start, end) => populateRange(vma, start, end, true),
} as const satisfies Readonly<Record<string, Visit>>;

export type Advice = keyof typeof FLAG_ADVICE | keyof typeof PAGE_ADVICE;
export const ADVICE = [...Object.keys(FLAG_ADVICE), ...Object.keys(PAGE_ADVICE)] as readonly Advice[];

/**
 * madvise(2), the advice by the name of its constant: MADV_DONTNEED is 'dontneed'. EINVAL for advice that the kernel does not know, or
 * not for that area; EACCES, ENODEV, EAGAIN, EFAULT, EHWPOISON, ENOMEM.
 */
export function* madvise(mm: Mm, start: Vpn, npages: number, advice: string): Sleepable<void> {
  const { profile, sched } = mm.platform;
  const flagsFor = (FLAG_ADVICE as Readonly<Record<string, (vma: Vma) => number>>)[advice];
  const visit = (PAGE_ADVICE as Readonly<Record<string, Visit>>)[advice];
  if (profile.adviceUnknown.includes(advice) || (flagsFor === undefined && visit === undefined)) throw new HmmError('EINVAL', 'madvise', `no advice ${advice}`, addrOf(start));
  if (npages === 0) return;
  if (visit === undefined) {
    if (!mm.mmapLock.tryWrite(sched)) yield* mm.mmapLock.write(sched);
  } else if (!mm.mmapLock.tryRead(sched)) yield* mm.mmapLock.read(sched);
  try {
    const stopAtGap = profile.populateStopsAtGap && (advice === 'populate_read' || advice === 'populate_write');
    yield* eachArea(mm, start, start + npages, visit ?? ((vma, from, to) => setFlags(vma, from, to, (flagsFor as (vma: Vma) => number)(vma))), stopAtGap);
  } finally {
    if (visit === undefined) mm.mmapLock.writeUnlock(sched);
    else mm.mmapLock.readUnlock(sched);
  }
}

/** MADV_DONTNEED: the entries go (CLEAR for each area), the areas stay. EINVAL for locked and for device mappings, ENOMEM. */
export function madviseDontneed(mm: Mm, start: Vpn, npages: number): Sleepable<void> {
  return madvise(mm, start, npages, 'dontneed');
}

/** MADV_HUGEPAGE and MADV_NOHUGEPAGE: the flag of the areas, which are cut and merged as need be. EINVAL, ENOMEM. */
export function madviseHuge(mm: Mm, start: Vpn, npages: number, huge: boolean): Sleepable<void> {
  return madvise(mm, start, npages, huge ? 'hugepage' : 'nohugepage');
}

function* faultBack(vma: Vma, vpn: Vpn): Sleepable<boolean> {
  return ((yield* handleMmFault(vma, vpn, 0)) & VM_FAULT_ERROR) === 0;
}

function refusal(vma: Vma, code: 'EINVAL' | 'EACCES' | 'ENODEV', why: string): HmmError {
  return new HmmError(code, 'madvise', why, addrOf(vma.start));
}

/** madvise_update_vma(): what there is no area for may be there later. */
function* setFlags(vma: Vma, start: Vpn, end: Vpn, flags: number): Sleepable<void> {
  if (flags === vma.flags) return;
  try {
    yield* changeFlags(vma.mm, vma, start, end, flags, 'madvise');
  } catch (error) {
    throw HmmError.is(error, 'ENOMEM') ? new HmmError('EAGAIN', 'madvise', error.message, addrOf(start)) : error;
  }
}

function requireReclaimable(vma: Vma): Vma {
  if (vma.has(VM_LOCKED | VM_HUGETLB | VM_PFNMAP)) throw refusal(vma, 'EINVAL', 'the pages are locked, hugetlb or no memory');
  return vma;
}

/** Where DONTNEED ends: hugetlb pages go whole, and a part of one at the end is left. EINVAL. */
function discardEnd(vma: Vma, start: Vpn, end: Vpn): Vpn {
  if (vma.has(VM_HUGETLB)) {
    const unit = vma.file?.alignPages ?? 1;
    if (vma.mm.platform.profile.hugetlbDontneed && start === alignDown(start, unit)) return alignDown(end, unit);
  } else if (!vma.has(VM_LOCKED | VM_PFNMAP)) return end;
  throw refusal(vma, 'EINVAL', 'DONTNEED of a locked or device mapping');
}

/** MADV_REMOVE: a hole is punched into the file behind a shared mapping, without mmap_lock. */
function* removeRange(vma: Vma, start: Vpn, end: Vpn): Sleepable<void> {
  const { profile, sched } = vma.mm.platform;
  const { file } = vma;
  if (vma.has(VM_LOCKED) || file === null) throw refusal(vma, 'EINVAL', 'the pages are locked or no file\'s');
  const needed = VM_SHARED | (profile.removeNeedsWrite ? VM_WRITE : VM_MAYWRITE);
  if ((vma.flags & needed) !== needed) throw refusal(vma, 'EACCES', 'the mapping is not shared and writable');
  const { calls } = file;
  if (calls === undefined) throw refusal(vma, 'ENODEV', `${file.inode.name} is no file with holes`);
  const offset = vma.pgoffOf(start) * PAGE_SIZE;
  vma.mm.mmapLock.readUnlock(sched);
  try {
    yield* calls.fallocate('punch', offset, (end - start) * PAGE_SIZE);
  } finally {
    if (!vma.mm.mmapLock.tryRead(sched)) yield* vma.mm.mmapLock.read(sched);
  }
}

/** madvise_populate(): EINVAL where the area does not grant it, or has no pages. */
function* populateRange(vma: Vma, start: Vpn, end: Vpn, write: boolean): Sleepable<void> {
  if (vma.has(VM_IO | VM_PFNMAP) || !vma.has(write ? VM_WRITE : VM_READ)) throw refusal(vma, 'EINVAL', 'the area does not grant it');
  const error = yield* faultIn(vma, start, end, write);
  if (error !== null) throw new HmmError(error, 'madvise', 'a page cannot be had', addrOf(start));
}

/** Calls `visit` with each area and its part of `[start, end)`. `stopAtGap`: not with those beyond the first gap. */
function* eachArea(mm: Mm, start: Vpn, end: Vpn, visit: Visit, stopAtGap: boolean): Sleepable<void> {
  requireAlive(mm, 'madvise');
  let gap = false;
  for (let at = start; at < end; ) {
    const vma = mm.vmas.find(at);
    if (vma === null || vma.start >= end || (stopAtGap && vma.start > at)) {
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
