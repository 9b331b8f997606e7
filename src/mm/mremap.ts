/**
 * mremap(2) (mm/mremap.c): grows and shrinks areas in place, and moves them or parts of them with what they map.
 *
 * To move is to make a new area (or to let a neighbour of the new place grow), to move the entries, and to unmap the old range, which
 * raises UNMAP a second time. MREMAP_DONTUNMAP leaves the old area, empty.
 */
import { HmmError } from '../errno.ts';
import type { Sleepable } from '../sched/index.ts';
import { addrOf, alignUp, hex, type Vpn } from '../units.ts';
import { cloneAnonVma, dropAnonVmas } from './anonVma.ts';
import { hugePageOf } from './hugetlb/open.ts';
import { checkSplit, findPlace, growVma, insertVma, requireAlive, unmapRange } from './mmap.ts';
import { movePageTables } from './moveTables.ts';
import { MAX_MAP_COUNT, type Mm } from './mm.ts';
import { mmPopulate } from './populate.ts';
import { VM_DONTEXPAND, VM_HUGETLB, VM_LOCKED, VM_MAYSHARE, VM_PFNMAP, VM_SHARED, VM_SPECIAL, VM_UFFD_MISSING, Vma } from './vma.ts';

export interface MremapRequest {
  readonly start: Vpn;
  /** 0: a second mapping of what is shared there */
  readonly oldPages: number;
  readonly newPages: number;
  /** MREMAP_MAYMOVE */
  readonly mayMove: boolean;
  /** MREMAP_FIXED: the place */
  readonly to: Vpn | null;
  readonly dontunmap: boolean;
}

/** So many areas a move may need: the new one, and those cut from the old. */
const AREAS_SPARE = 3;

/**
 * Returns the first page of the area as it then is. EINVAL; EFAULT: no area, or more than one; ENOMEM: no room, no area or no memory left.
 * With a place given, what is mapped there is gone even when the rest is refused, as in a kernel.
 */
export function* mremap(mm: Mm, asked: MremapRequest): Sleepable<Vpn> {
  const request = wholeHugePages(mm, asked);
  const { start, newPages, mayMove, to, dontunmap } = request;
  const { sched, profile, bus } = mm.platform;
  if (to !== null && !mayMove) throw refused('EINVAL', start, 'a fixed place without leave to move');
  if (dontunmap && (!mayMove || request.oldPages !== newPages)) throw refused('EINVAL', start, 'DONTUNMAP moves, and changes no length');
  if (dontunmap && !profile.mremapDontunmap) throw refused('EINVAL', start, 'no such flag');
  if (newPages === 0) throw refused('EINVAL', start, 'the new length is zero');
  let at = start;
  if (!mm.mmapLock.tryWrite(sched)) yield* mm.mmapLock.write(sched);
  try {
    requireAlive(mm, 'mremap');
    if (profile.mremapLooksFirst && mm.vmas.at(start) === null) throw refused('EFAULT', start, 'nothing is mapped there');
    at = to !== null || dontunmap ? yield* remapTo(mm, request) : yield* resize(mm, request);
    if (bus.on) bus.emit({ type: 'mremap', mm: mm.id, start, end: start + request.oldPages, to: at, toEnd: at + newPages });
  } finally {
    mm.mmapLock.writeUnlock(sched);
  }
  // What a locked area gained is faulted in; that this may fail is nobody's business.
  if (newPages > request.oldPages && mm.vmas.at(at)?.has(VM_LOCKED) === true) yield* mmPopulate(mm, at + request.oldPages, at + newPages, true);
  return at;
}

/** Of an area of huge pages: whole ones, at places of their own, and no more than there are. EINVAL. */
function wholeHugePages(mm: Mm, request: MremapRequest): MremapRequest {
  const { start, to } = request;
  const vma = mm.vmas.at(start);
  if (vma === null || !vma.has(VM_HUGETLB) || !mm.platform.profile.mremapHugetlb) return request;
  const { npages } = hugePageOf(vma);
  const [oldPages, newPages] = [alignUp(request.oldPages, npages), alignUp(request.newPages, npages)];
  if (start % npages !== 0 || (to ?? 0) % npages !== 0 || newPages > oldPages) throw refused('EINVAL', start, 'huge pages move whole, and do not grow');
  return { ...request, oldPages, newPages };
}

/** mremap_to() */
function* remapTo(mm: Mm, request: MremapRequest): Sleepable<Vpn> {
  const { start, newPages, to, dontunmap } = request;
  let { oldPages } = request;
  if (to !== null) {
    if (to + newPages > mm.taskEndVpn) throw refused('EINVAL', start, 'the new place lies outside the address space');
    if (start + oldPages > to && to + newPages > start) throw refused('EINVAL', start, 'old and new place overlap');
  }
  if (mm.vmas.count + 2 >= MAX_MAP_COUNT - AREAS_SPARE) throw refused('ENOMEM', start, `more than ${MAX_MAP_COUNT} areas`);
  if (to !== null) yield* unmapRange(mm, to, to + newPages, 'mremap');
  if (oldPages > newPages) {
    yield* unmapRange(mm, start + newPages, start + oldPages, 'mremap');
    oldPages = newPages;
  }
  const vma = areaToMove(mm, start, oldPages, newPages, dontunmap);
  const dest = to ?? findPlace(mm, { npages: newPages, start: null, file: vma.file, pgoff: vma.pgoffOf(start) });
  return yield* moveVma(mm, { ...request, oldPages }, dest);
}

/** Without a place given: shrink, grow where it is, else move if that is allowed. */
function* resize(mm: Mm, request: MremapRequest): Sleepable<Vpn> {
  const { start, oldPages, newPages, mayMove } = request;
  if (mm.vmas.at(start) === null) throw refused('EFAULT', start, 'nothing is mapped there');
  if (oldPages >= newPages) {
    if (oldPages > newPages) yield* unmapRange(mm, start + newPages, start + oldPages, 'mremap');
    return start;
  }
  const vma = areaToMove(mm, start, oldPages, newPages, false);
  const end = start + newPages;
  const after = mm.vmas.next(vma);
  if (start + oldPages === vma.end && end <= mm.taskEndVpn && (after === null || after.start >= end)) {
    if (vma.has(VM_SPECIAL)) throw refused('ENOMEM', start, 'a special area does not grow');
    yield* growVma(mm, vma, end);
    return start;
  }
  if (!mayMove) throw refused('ENOMEM', start, 'there is no room to grow');
  return yield* moveVma(mm, request, findPlace(mm, { npages: newPages, start: null, file: vma.file, pgoff: vma.pgoffOf(start) }));
}

/** vma_to_resize(): the one area that has all of `[start, start + oldPages)`, if it may be treated so. */
function areaToMove(mm: Mm, start: Vpn, oldPages: number, newPages: number, dontunmap: boolean): Vma {
  const vma = mm.vmas.at(start);
  if (vma === null) throw refused('EFAULT', start, 'nothing is mapped there');
  if (vma.has(VM_HUGETLB) && !mm.platform.profile.mremapHugetlb) throw refused('EINVAL', start, 'huge pages do not move');
  if (oldPages === 0 && !vma.has(VM_SHARED | VM_MAYSHARE)) throw refused('EINVAL', start, 'a private mapping cannot be had twice');
  if (dontunmap && vma.has(VM_DONTEXPAND | VM_PFNMAP)) throw refused('EINVAL', start, 'the old area could not be filled again');
  if (start + oldPages > vma.end) throw refused('EFAULT', start, 'the range leaves its area');
  if (newPages !== oldPages && vma.has(VM_DONTEXPAND | VM_PFNMAP)) throw refused('EFAULT', start, 'the area may not grow');
  return vma;
}

/** move_vma() */
function* moveVma(mm: Mm, { start, oldPages, newPages, dontunmap }: MremapRequest, dest: Vpn): Sleepable<Vpn> {
  const { profile } = mm.platform;
  const end = start + oldPages;
  let vma = mm.vmas.at(start) as Vma;
  if (mm.vmas.count >= MAX_MAP_COUNT - AREAS_SPARE) throw refused('ENOMEM', start, `more than ${MAX_MAP_COUNT} areas`);
  if (profile.mremapAsksSplit) {
    if (vma.start !== start) checkSplit(vma, start, 'mremap');
    if (vma.end !== end) checkSplit(vma, end, 'mremap');
  }
  // Pages that are not there yet have no place to keep: the area may then become one with a neighbour of the new one.
  const copy = new Vma(mm, dest, dest + newPages, vma.flags, vma.file, vma.ops === null && vma.anonVma === null ? dest : vma.pgoffOf(start));
  cloneAnonVma(copy, vma);
  copy.privateData = vma.privateData;
  const moved = yield* insertVma(mm, copy);
  moved.flags &= ~VM_UFFD_MISSING; // the handler knows the old place
  vma = mm.vmas.at(start) as Vma;

  const done = yield* movePageTables(vma, start, moved, dest, oldPages);
  if (done < oldPages) {
    yield* movePageTables(moved, dest, vma, start, done);
    yield* unmapRange(mm, dest, dest + newPages, 'mremap');
    throw refused('ENOMEM', start, 'no table frame left in the arena');
  }
  vma.privateData = null; // the new place has it
  if (dontunmap) {
    vma.flags &= ~VM_LOCKED;
    if (vma !== moved && vma.start === start && vma.end === end) dropAnonVmas(vma);
    return dest;
  }
  yield* unmapMoved(mm, start, end);
  return dest;
}

/** The old range goes. Where it cannot be cut out it stays, empty, and that is no error. */
function* unmapMoved(mm: Mm, start: Vpn, end: Vpn): Sleepable<void> {
  if (start === end) return;
  try {
    yield* unmapRange(mm, start, end, 'mremap');
  } catch (error) {
    if (!HmmError.is(error, 'EINVAL') && !HmmError.is(error, 'ENOMEM')) throw error;
  }
}

function refused(code: 'EINVAL' | 'EFAULT' | 'ENOMEM', start: Vpn, what: string): HmmError {
  return new HmmError(code, 'mremap', `${what} (${hex(addrOf(start))})`, addrOf(start));
}
