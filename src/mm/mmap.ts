/**
 * mmap, munmap, mprotect, exit and the rules by which VMAs split and merge (mm/mmap.c, mm/mprotect.c).
 *
 * Check, then commit: what throws has changed nothing, but for the areas cut so far where a later cut is refused, and for what
 * mprotect did below a gap; a kernel leaves these too. Bounds are page numbers; the facade checks addresses. Each takes
 * mmap_lock for writing itself.
 */
import { HmmError } from '../errno.ts';
import type { Sleepable } from '../sched/index.ts';
import { addrOf, alignDown, alignUp, hex, pagesOfLevel, type Vpn } from '../units.ts';
import { anonVmasMerge, cloneAnonVma, dropAnonVmas } from './anonVma.ts';
import { protectRange } from './mprotect.ts';
import { invalidateEnd, invalidateStart, MAP_WINDOW_VPN, MAX_MAP_COUNT, MIN_VPN, MMAP_BASE_VPN, type Mm } from './mm.ts';
import { populateArea } from './populate.ts';
import { linkVma, lockMappings, unlinkVma, unlockMappings } from './rmap.ts';
import { newSharedAnon } from './filemap/shmem.ts';
import {
  VM_ACCESS, VM_ACCOUNT, VM_HUGETLB, VM_LOCKED, VM_MAYEXEC, VM_MAYREAD, VM_MAYSHARE, VM_MAYWRITE, VM_NOHUGEPAGE, VM_HUGEPAGE, VM_NORESERVE, VM_SHARED,
  VM_SOFTDIRTY, VM_SPECIAL, VM_SYNC, VM_WRITE, Vma, protString, type MappedFile,
} from './vma.ts';
import { splitHugeForCut, zapRange } from './zap.ts';

export interface MmapRequest {
  readonly npages: number;
  /** VM_READ | VM_WRITE | VM_EXEC */
  readonly prot: number;
  readonly shared: boolean;
  readonly file: MappedFile | null;
  readonly pgoff: number;
  /** where: a hint, or a demand */
  readonly start: Vpn | null;
  readonly fixed: 'hint' | 'fixed' | 'noreplace';
  /** MAP_SYNC, with MAP_SHARED_VALIDATE */
  readonly sync: boolean;
  /** further VM_ flags (VM_NOHUGEPAGE and the like) */
  readonly vmFlags: number;
}

/** mmap(2). Returns the new area's first page. EINVAL, EACCES, ENOMEM, EEXIST, EOPNOTSUPP, EOVERFLOW, and what the file refuses with. */
export function* mmap(mm: Mm, request: MmapRequest): Sleepable<Vpn> {
  const { fixed } = request;
  const npages = alignUp(request.npages, request.file?.roundPages ?? 1);
  if (npages <= 0) throw new HmmError('EINVAL', 'mmap', 'length is zero');
  if (npages > mm.taskEndVpn) throw new HmmError('ENOMEM', 'mmap', `length of ${hex(npages)} pages does not fit the address space`);
  if (request.pgoff + npages > 2 ** 52) throw new HmmError('EOVERFLOW', 'mmap', 'offset and length wrap');
  const flags = vmFlagsFor(request);
  const file = request.file === null ? (request.shared ? newSharedAnon(mm.platform, npages) : null) : (request.file.instead?.(request.shared, npages) ?? request.file);
  const { sched } = mm.platform;
  if (!mm.mmapLock.tryWrite(sched)) yield* mm.mmapLock.write(sched);
  try {
    requireAlive(mm, 'mmap');
    const start = placeMapping(mm, { ...request, npages });
    const refused = file?.refuses(request.shared, start, npages, request.pgoff) ?? null;
    if (refused !== null) throw new HmmError(refused, 'mmap', `${file?.inode.name ?? ''} does not take this mapping`, addrOf(start));
    // A whole area in the middle may be replaced: one cut more.
    if (mm.vmas.count >= MAX_MAP_COUNT) throw new HmmError('ENOMEM', 'mmap', `more than ${MAX_MAP_COUNT} areas`);
    if (fixed === 'fixed') yield* unmapRange(mm, start, start + npages, 'mmap');
    const vma = new Vma(mm, start, start + npages, flags, file, file === null ? start : request.file === null ? 0 : request.pgoff);
    file?.attach?.(vma);
    const area = yield* insertVma(mm, vma);
    file?.mapped?.(area);
    if (mm.platform.bus.on) {
      mm.platform.bus.emit({ type: 'mmap', mm: mm.id, start, end: start + npages, file: file?.inode.name ?? null, prot: protString(flags) });
    }
    return start;
  } finally {
    mm.mmapLock.writeUnlock(sched);
  }
}

/** munmap(2): EINVAL, ENOMEM where a split would be one area too many. What is not mapped is no error. */
export function* munmap(mm: Mm, start: Vpn, npages: number): Sleepable<void> {
  if (npages <= 0) throw new HmmError('EINVAL', 'munmap', 'length is zero', addrOf(start));
  if (start + npages > mm.taskEndVpn) throw new HmmError('EINVAL', 'munmap', 'range lies outside the address space', addrOf(start));
  const { sched } = mm.platform;
  if (!mm.mmapLock.tryWrite(sched)) yield* mm.mmapLock.write(sched);
  try {
    requireAlive(mm, 'munmap');
    yield* unmapRange(mm, start, start + npages, 'munmap');
  } finally {
    mm.mmapLock.writeUnlock(sched);
  }
}

/** mprotect(2): ENOMEM for gaps (what stands below the gap has changed, as in the kernel) and too many areas, EACCES, EINVAL. */
export function* mprotect(mm: Mm, start: Vpn, npages: number, prot: number): Sleepable<void> {
  if (npages === 0) return;
  const end = start + npages;
  if (end > mm.taskEndVpn) throw new HmmError('ENOMEM', 'mprotect', 'range lies outside the address space', addrOf(start));
  const { sched } = mm.platform;
  if (!mm.mmapLock.tryWrite(sched)) yield* mm.mmapLock.write(sched);
  try {
    requireAlive(mm, 'mprotect');
    let at = start;
    for (let vma = mm.vmas.find(start); at < end; vma = mm.vmas.find(at)) {
      if (vma === null || vma.start > at) throw new HmmError('ENOMEM', 'mprotect', `nothing is mapped at ${hex(addrOf(at))}`, addrOf(at));
      const asked = (vma.flags & ~VM_ACCESS) | prot;
      const flags = asked === vma.flags ? asked : accounted(vma, asked);
      if ((flags & ~(flags >>> 4) & VM_ACCESS) !== 0) throw new HmmError('EACCES', 'mprotect', `the mapping at ${hex(addrOf(at))} may not become ${protString(prot)}`, addrOf(at));
      const upTo = Math.min(end, vma.end);
      if (flags !== vma.flags) {
        const old = vma.flags;
        const changed = yield* changeFlags(mm, vma, at, upTo, flags, 'mprotect');
        yield* protectRange(changed, at, upTo, old, flags);
        // Locked private pages that become writable are copied at once.
        if ((old & (VM_WRITE | VM_SHARED | VM_LOCKED)) === VM_LOCKED && (flags & VM_WRITE) !== 0) yield* populateArea(changed, at, upTo);
      }
      at = upTo;
    }
    if (mm.platform.bus.on) mm.platform.bus.emit({ type: 'mprotect', mm: mm.id, start, end, prot: protString(prot) });
  } finally {
    mm.mmapLock.writeUnlock(sched);
  }
}

/** mprotect_fixup(): what becomes writable and private is accounted for, and stays so, but where no page has come of it in some kernels. */
function accounted(vma: Vma, flags: number): number {
  if ((flags & VM_WRITE) !== 0) return vma.has(VM_ACCOUNT | VM_WRITE | VM_HUGETLB | VM_SHARED | VM_NORESERVE) ? flags : flags | VM_ACCOUNT;
  return vma.mm.platform.profile.mprotectUnaccounts && vma.ops === null && vma.anonVma === null ? flags & ~VM_ACCOUNT : flags;
}

/** exit_mmap(): everything is unmapped, mirrors are released, the tables go. */
export function* exitMm(mm: Mm): Sleepable<void> {
  const { sched } = mm.platform;
  if (!mm.mmapLock.tryWrite(sched)) yield* mm.mmapLock.write(sched);
  try {
    requireAlive(mm, 'exit');
    mm.alive = false;
    yield* mm.notifiers.release(mm.pageTable.endVpn);
    if (sched.concurrent) yield sched.point(`exit ${mm.name}: unmap`, '*');
    yield* unmapRange(mm, 0, mm.taskEndVpn, 'exit');
    mm.pageTable.destroy();
    if (mm.platform.bus.on) mm.platform.bus.emit({ type: 'exit', mm: mm.id });
  } finally {
    mm.mmapLock.writeUnlock(sched);
  }
}

/** EFAULT once the process has exited. */
export function requireAlive(mm: Mm, op: string): void {
  if (!mm.alive) throw new HmmError('EFAULT', op, `process ${mm.name} has exited`);
}

function vmFlagsFor(request: MmapRequest): number {
  const { file, shared, prot } = request;
  let flags = prot | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC | VM_SOFTDIRTY | request.vmFlags | (file?.vmFlags ?? 0);
  if ((request.vmFlags & VM_NOHUGEPAGE) !== 0) flags &= ~VM_HUGEPAGE;
  if (shared) {
    flags |= VM_SHARED | VM_MAYSHARE;
    if (file !== null && !file.writable) {
      if ((prot & VM_WRITE) !== 0) throw new HmmError('EACCES', 'mmap', `${file.inode.name} is not open for writing`);
      flags &= ~(VM_MAYWRITE | VM_SHARED);
    }
  }
  if ((flags & VM_LOCKED) !== 0 && ((flags & (VM_SPECIAL | VM_HUGETLB)) !== 0 || file?.vmOps?.dax === true)) flags &= ~VM_LOCKED;
  if (request.sync) {
    if (file === null || !file.syncSupported) throw new HmmError('EOPNOTSUPP', 'mmap', 'MAP_SYNC needs a DAX file on synchronous memory');
    flags |= VM_SYNC;
  }
  return (flags & (VM_NORESERVE | VM_SHARED | VM_WRITE | VM_HUGETLB)) === VM_WRITE ? flags | VM_ACCOUNT : flags;
}

/** Where a mapping goes: at the demand, or where findPlace says. */
function placeMapping(mm: Mm, request: MmapRequest): Vpn {
  const { npages, start: wanted, fixed } = request;
  if (fixed === 'hint') return findPlace(mm, request);
  if (wanted === null) throw new HmmError('EINVAL', 'mmap', 'a fixed mapping needs an address');
  if (wanted < MIN_VPN) throw new HmmError('EPERM', 'mmap', `address ${hex(addrOf(wanted))} is below the lowest allowed`, addrOf(wanted));
  if (wanted + npages > mm.taskEndVpn) throw new HmmError('ENOMEM', 'mmap', 'range lies outside the address space', addrOf(wanted));
  if (fixed === 'noreplace') {
    const there = mm.vmas.find(wanted);
    if (there !== null && there.start < wanted + npages) throw new HmmError('EEXIST', 'mmap', `something is mapped at ${hex(addrOf(Math.max(wanted, there.start)))}`, addrOf(wanted));
  }
  return wanted;
}

/**
 * get_unmapped_area(): at a hint that is free, else the highest gap that fits, where a file's huge pages can be used if they
 * fit into the mapping at all. Beyond 47 bits only for who hints there.
 */
export function findPlace(mm: Mm, { npages, start: wanted, pgoff, file }: Pick<MmapRequest, 'npages' | 'start' | 'pgoff' | 'file'>): Vpn {
  const hint = wanted === null || wanted === 0 ? null : Math.max(wanted, MIN_VPN);
  if (hint !== null && hint + npages <= mm.taskEndVpn) {
    const next = mm.vmas.find(hint);
    if (next === null || next.start >= hint + npages) return hint;
  }
  const unit = file?.preferPages ?? 1;
  const align = pgoff + npages - alignUp(pgoff, unit) >= unit ? unit : 1;
  const top = MMAP_BASE_VPN + (hint !== null && hint >= MAP_WINDOW_VPN ? mm.taskEndVpn - MAP_WINDOW_VPN : 0);
  const found = mm.vmas.findGapTopDown(npages, MIN_VPN, top, align, pgoff - alignDown(pgoff, align));
  if (found < 0) throw new HmmError('ENOMEM', 'mmap', `no gap of ${hex(npages)} pages`);
  return found;
}

/** Adds an area, merged with its neighbours where the rules allow. Returns what it is now part of. */
export function* insertVma(mm: Mm, vma: Vma): Sleepable<Vma> {
  yield* lockMappings(vma.file);
  mm.vmas.insert(vma);
  linkVma(vma);
  const merged = mergeAround(mm, vma, vma.flags);
  unlockMappings(vma.file);
  return merged;
}

/** Lets an area, at whose end there is room, grow to `end`; it may then meet the next. */
export function* growVma(mm: Mm, vma: Vma, end: Vpn): Sleepable<void> {
  yield* lockMappings(vma.file);
  unlinkVma(vma);
  mm.vmas.resize(vma, vma.start, end);
  linkVma(vma);
  const after = mm.vmas.next(vma);
  if (after !== null && mergesInto(after, vma, vma.flags)) absorb(mm, vma, after);
  unlockMappings(vma.file);
}

/** Gives `vma` new flags and merges it with neighbours that have come to be its equals. Returns what it is now part of. Under lockMappings. */
function mergeAround(mm: Mm, vma: Vma, flags: number): Vma {
  vma.flags = flags;
  const before = mm.vmas.prev(vma);
  const after = mm.vmas.next(vma);
  const joinsBefore = before !== null && mergesInto(before, vma, flags);
  const joinsAfter = after !== null && mergesInto(after, vma, flags);
  // Through a part without pages two areas of different anon_vmas do not become one.
  const apart = joinsBefore && joinsAfter && before.anonVma !== after.anonVma && before.anonVma !== null && after.anonVma !== null;
  if (joinsBefore) absorb(mm, before, vma);
  const merged = joinsBefore ? before : vma;
  if (joinsAfter && !apart) absorb(mm, merged, after);
  return merged;
}

function absorb(mm: Mm, low: Vma, high: Vma): void {
  unlinkVma(high);
  unlinkVma(low);
  mm.vmas.remove(high);
  mm.vmas.resize(low, low.start, high.end);
  if (low.anonVma === null) cloneAnonVma(low, high);
  linkVma(low);
  dropAnonVmas(high); // only now: an anon_vma of no area at all is forgotten
}

/** can_vma_merge_after(), can_vma_merge_before(): may `neighbour` and a part with these flags that it meets be one? */
function mergesInto(neighbour: Vma, part: Vma, flags: number): boolean {
  const low = neighbour.start < part.start ? neighbour : part;
  const high = low === part ? neighbour : part;
  if (low.end !== high.start || low.pgoff + low.npages !== high.pgoff) return false;
  return mergeable(neighbour, part, flags) && anonVmasMerge(neighbour, part);
}

/** is_mergeable_vma(): equal flags and file; special areas never. */
function mergeable(neighbour: Vma, part: Vma, flags: number): boolean {
  if ((neighbour.flags & ~VM_SOFTDIRTY) !== (flags & ~VM_SOFTDIRTY) || (flags & VM_SPECIAL) !== 0) return false;
  return neighbour.file?.inode === part.file?.inode && neighbour.ops === part.ops;
}

/** Cuts `vma` at `at`; both sides keep their rights. What is huge across the cut is dropped first, with a CLEAR of its own. */
function* splitVma(mm: Mm, vma: Vma, at: Vpn): Sleepable<Vma> {
  yield* splitHugeForCut(vma, at);
  const high = new Vma(mm, at, vma.end, vma.flags, vma.file, vma.pgoffOf(at));
  high.privateData = vma.privateData;
  yield* lockMappings(vma.file);
  unlinkVma(vma);
  mm.vmas.resize(vma, vma.start, at);
  mm.vmas.insert(high);
  linkVma(vma);
  linkVma(high);
  cloneAnonVma(high, vma);
  unlockMappings(vma.file);
  return high;
}

/** May `vma` be cut at `at`? EINVAL where the driver forbids it. */
export function checkSplit(vma: Vma, at: Vpn, op: string): void {
  if (vma.ops?.maySplit !== undefined && !vma.ops.maySplit(vma, at)) throw new HmmError('EINVAL', op, `the mapping cannot be split at ${hex(addrOf(at))}`, addrOf(at));
}

/** ENOMEM when there is no area left for one more. */
function checkCount(mm: Mm, op: string, at: Vpn): void {
  if (mm.vmas.count >= MAX_MAP_COUNT) throw new HmmError('ENOMEM', op, `more than ${MAX_MAP_COUNT} areas`, addrOf(at));
}

/**
 * Gives `[start, end)` of `vma` new flags: cut out, and merged with what it then equals (split_vma, vma_merge). Where a
 * neighbour takes the part over, its bound only moves: that needs no further area and nobody's leave. EINVAL, ENOMEM; a
 * first cut stays when the second is refused, as in a kernel.
 */
export function* changeFlags(mm: Mm, vma: Vma, start: Vpn, end: Vpn, flags: number, op: string): Sleepable<Vma> {
  const before = start === vma.start ? mm.vmas.prev(vma) : null;
  const after = end === vma.end ? mm.vmas.next(vma) : null;
  const joinsBefore = before !== null && mergesInto(before, vma, flags);
  const joinsAfter = after !== null && mergesInto(after, vma, flags);
  let part = vma;
  if (start > part.start) {
    if (!joinsAfter) {
      checkCount(mm, op, start);
      checkSplit(part, start, op);
    }
    part = yield* splitVma(mm, part, start);
  }
  if (end < part.end) {
    if (!joinsBefore) {
      checkCount(mm, op, end);
      checkSplit(part, end, op);
    }
    yield* splitVma(mm, part, end);
  }
  yield* lockMappings(part.file);
  const merged = mergeAround(mm, part, flags);
  unlockMappings(part.file);
  return merged;
}

/** Unmaps `[start, end)`: the areas are cut at its edges, then one UNMAP around all of it, and they are gone. */
export function* unmapRange(mm: Mm, start: Vpn, end: Vpn, op: string): Sleepable<void> {
  const first = mm.vmas.find(start);
  if (first === null || first.start >= end) return;
  if (first.start < start) {
    if (first.end > end) checkCount(mm, op, start); // a hole in the middle; cutting an end off needs no further area
    checkSplit(first, start, op);
    yield* splitVma(mm, first, start);
  }
  const last = lastBelow(mm, end);
  if (last !== null && last.end > end) {
    checkSplit(last, end, op);
    yield* splitVma(mm, last, end);
  }

  const doomed: Vma[] = [];
  for (let vma = mm.vmas.find(start); vma !== null && vma.start < end; vma = mm.vmas.next(vma)) doomed.push(vma);
  for (const vma of doomed) mm.vmas.remove(vma);
  const range = yield* invalidateStart(mm, 'UNMAP', start, end, null, 'munmap-untold');
  const { sched, bugs } = mm.platform;
  for (const vma of doomed) yield* zapRange(vma, vma.start, vma.end);
  if (sched.concurrent) yield sched.point(`${op} ${mm.name}: tables and areas go`, '*');
  if (!bugs.has('munmap-never-ends')) invalidateEnd(mm, range);
  for (const vma of doomed) {
    yield* lockMappings(vma.file);
    unlinkVma(vma);
    dropAnonVmas(vma);
    unlockMappings(vma.file);
    vma.ops?.close?.(vma);
    if (vma.file?.inode.mappings.size === 0) vma.file.released?.();
  }
  freeTables(mm, start, end);
  if (mm.platform.bus.on) mm.platform.bus.emit({ type: 'munmap', mm: mm.id, start, end });
}

/** The last area that begins below `end`. */
function lastBelow(mm: Mm, end: Vpn): Vma | null {
  const over = mm.vmas.find(end - 1);
  return over !== null && over.start < end ? over : mm.vmas.findPrev(end);
}

/** free_pgtables(): tables that no remaining area could use, between the neighbours left standing. */
function freeTables(mm: Mm, start: Vpn, end: Vpn): void {
  const before = mm.vmas.findPrev(start);
  const after = mm.vmas.find(start);
  // No table of the range spans more than one entry of the top table.
  const span = pagesOfLevel(mm.pageTable.levels - 1);
  const floor = Math.max(before === null ? 0 : before.end, alignDown(start, span));
  const ceiling = Math.min(after === null ? mm.pageTable.endVpn : after.start, alignUp(end, span));
  if (floor < ceiling) mm.pageTable.freeTables(floor, ceiling - floor);
}

