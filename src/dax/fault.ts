/**
 * Faults of DAX files (fs/dax.c: dax_iomap_pte_fault, dax_iomap_pmd_fault; xfs and ext4 fault handlers).
 *
 * A 2M fault falls back to 4K, in this order of checks: beyond the file (SIGBUS); file page and address not congruent; a write
 * that will be copied; the 2M not inside the area; the last page of it not inside the file; 4K entries in the way; a page
 * table already there (try again); the extent shorter than 2M; its frame not aligned. The 1G fault of the lab is the same with
 * another size. Faults hold the file's invalidate_lock for reading, so that truncate and punch can keep them out.
 */
import { LEVEL_PMD, LEVEL_PTE, LEVEL_PUD, PUD_PAGES } from '../abi.ts';
import { HmmError } from '../errno.ts';
import { sizePages, type Inode, type Iomap } from '../fs/index.ts';
import {
  FAULT_FLAG_WRITE, VM_FAULT_FALLBACK, VM_FAULT_MAJOR, VM_FAULT_NEEDDSYNC, VM_FAULT_NOPAGE, VM_FAULT_OOM, VM_FAULT_SIGBUS, VM_SYNC, dropHuge, insertDevicePfn, insertZeroPage,
  installCow, unmapMappingRange, type Vmf, type VmOps,
} from '../mm/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { alignDown, pagesOfLevel, type Pfn } from '../units.ts';
import { DAX_DIRTY, DAX_EMPTY, DAX_LOCKED, DAX_ZERO, daxEntry, entriesOf, entryFlags, entryPfn, type DaxEntries } from './entries.ts';
import { writebackRange } from './writeback.ts';

/** The handlers of a DAX file's mappings. */
export function daxVmOps(inode: Inode): VmOps {
  return {
    name: 'fs-dax',
    dax: true,
    fault: (vmf) => locked(inode, vmf, LEVEL_PTE),
    hugeFault: (vmf, level) => locked(inode, vmf, level),
    pfnMkwrite: (vmf) => locked(inode, vmf, LEVEL_PTE),
  };
}

function* locked(inode: Inode, vmf: Vmf, level: number): Sleepable<number> {
  const { sched } = inode.fs.platform;
  if (level === LEVEL_PUD && !mapsGiant(inode)) return VM_FAULT_FALLBACK;
  if (!inode.invalidateLock.tryRead(sched)) yield* inode.invalidateLock.read(sched);
  try {
    const result = level === LEVEL_PTE ? yield* pteFault(inode, vmf) : yield* hugeFault(inode, vmf, level);
    return (result & VM_FAULT_NEEDDSYNC) === 0 ? result : yield* finishSyncFault(inode, vmf);
  } finally {
    inode.invalidateLock.readUnlock(sched);
  }
}

function mapsGiant(inode: Inode): boolean {
  return inode.fs.platform.profile.fsdaxPud && inode.extentPages >= PUD_PAGES;
}

function* pteFault(inode: Inode, vmf: Vmf): Sleepable<number> {
  const { vma, pgoff } = vmf;
  const write = (vmf.flags & FAULT_FLAG_WRITE) !== 0;
  if (pgoff >= sizePages(inode)) return VM_FAULT_SIGBUS;
  const entries = entriesOf(inode);
  yield* grabEntry(inode, entries, pgoff);
  try {
    const pt = vma.mm.pageTable;
    pt.look(vmf.vpn);
    if (pt.level > LEVEL_PTE && !pt.none) return VM_FAULT_NOPAGE;
    const cow = write && !vma.isShared;
    const map = blocksFor(inode, pgoff, 1, write && !cow);
    if (typeof map === 'number') return map;
    const pfn = map.kind === 'mapped' ? map.pfn + (pgoff - map.start) : -1;
    if (cow) return installCow(vmf, pfn < 0 ? null : pfn);
    const major = map.fresh ? VM_FAULT_MAJOR : 0;
    if (pfn < 0) return major | (yield* mapHole(inode, entries, vmf, LEVEL_PTE));
    return major | (yield* mapBlocks(inode, entries, vmf, LEVEL_PTE, pfn, write));
  } finally {
    releaseEntry(entries, pgoff);
  }
}

function* hugeFault(inode: Inode, vmf: Vmf, level: number): Sleepable<number> {
  const result = yield* tryHugeFault(inode, vmf, level);
  if (result !== VM_FAULT_FALLBACK) return result;
  const pt = vmf.vma.mm.pageTable;
  pt.look(vmf.vpn);
  const npages = pagesOfLevel(level);
  if (pt.level === level && !pt.none) yield* dropHuge(vmf.vma, alignDown(vmf.vpn, npages), npages);
  return VM_FAULT_FALLBACK;
}

function* tryHugeFault(inode: Inode, vmf: Vmf, level: number): Sleepable<number> {
  const { vma, pgoff, vpn } = vmf;
  const npages = pagesOfLevel(level);
  const write = (vmf.flags & FAULT_FLAG_WRITE) !== 0;
  const first = alignDown(pgoff, npages);
  const base = alignDown(vpn, npages);
  if (pgoff >= sizePages(inode)) return level === LEVEL_PMD ? VM_FAULT_SIGBUS : VM_FAULT_FALLBACK;
  if (pgoff - first !== vpn - base) return VM_FAULT_FALLBACK;
  if (write && !vma.isShared) return VM_FAULT_FALLBACK;
  if (base < vma.start || base + npages > vma.end) return VM_FAULT_FALLBACK;
  if (first + npages > sizePages(inode)) return VM_FAULT_FALLBACK;
  const entries = entriesOf(inode);
  if (!(yield* grabHugeEntry(inode, entries, first, level))) return VM_FAULT_FALLBACK;
  try {
    const pt = vma.mm.pageTable;
    pt.look(vpn);
    if (pt.level < level) return 0; // a table of smaller pages is there: the core takes the smaller way
    const map = blocksFor(inode, first, npages, write);
    if (typeof map === 'number') return map === VM_FAULT_OOM ? map : VM_FAULT_FALLBACK;
    if (map.start + map.npages < first + npages) return VM_FAULT_FALLBACK;
    if (map.kind !== 'mapped') return level === LEVEL_PMD && !write ? yield* mapHole(inode, entries, vmf, level) : VM_FAULT_FALLBACK;
    const pfn = map.pfn + (first - map.start);
    if (pfn % npages !== 0) return VM_FAULT_FALLBACK;
    return (map.fresh ? VM_FAULT_MAJOR : 0) | (yield* mapBlocks(inode, entries, vmf, level, pfn, write));
  } finally {
    releaseEntry(entries, first);
  }
}

/** iomap for a fault: what is there, or for a write what is there afterwards. A VM_FAULT_ code where there is nothing to be had. */
function blocksFor(inode: Inode, index: number, npages: number, write: boolean): Iomap | number {
  if (inode.fs.pgmap.state === 'dead') return VM_FAULT_SIGBUS;
  if (!write) return inode.fs.iomap(inode, index, index + npages);
  try {
    const map = inode.fs.iomap(inode, index, index + npages);
    if (map.kind === 'mapped' && map.start + map.npages >= index + npages) return map;
    return inode.fs.allocateWritten(inode, index, npages);
  } catch (error) {
    if (HmmError.is(error, 'ENOMEM')) return VM_FAULT_OOM;
    if (HmmError.is(error)) return VM_FAULT_SIGBUS;
    throw error;
  }
}

/** dax_load_hole(): the page of zeroes, read only. */
function* mapHole(inode: Inode, entries: DaxEntries, vmf: Vmf, level: number): Sleepable<number> {
  const { ram } = inode.fs.platform;
  const dirty = inode.fs.platform.profile.readFaultDirties;
  yield* insertEntry(inode, entries, vmf.pgoff, level, level === LEVEL_PTE ? ram.zeroPfn : ram.hugeZeroPfn, DAX_ZERO, dirty);
  return insertZeroPage(vmf, level);
}

function* mapBlocks(inode: Inode, entries: DaxEntries, vmf: Vmf, level: number, pfn: Pfn, write: boolean): Sleepable<number> {
  const { profile } = inode.fs.platform;
  const sync = write && vmf.vma.has(VM_SYNC) && inode.metadataDirty;
  const dirty = !sync && (write || profile.readFaultDirties);
  yield* insertEntry(inode, entries, vmf.pgoff, level, pfn, 0, dirty);
  if (sync) {
    vmf.syncPfn = pfn;
    vmf.syncLevel = level;
    return VM_FAULT_NEEDDSYNC;
  }
  return insertDevicePfn(vmf, level, pfn, write);
}

/** dax_finish_sync_fault(): no writable entry before the metadata that leads to its block is durable. */
function* finishSyncFault(inode: Inode, vmf: Vmf): Sleepable<number> {
  const { syncPfn: pfn, syncLevel: level } = vmf;
  const first = alignDown(vmf.pgoff, pagesOfLevel(level));
  yield* writebackRange(inode, first, first + pagesOfLevel(level));
  const entries = entriesOf(inode);
  yield* waitUnlocked(inode, entries, vmf.pgoff);
  const entry = entries.find(vmf.pgoff);
  const flags = entryFlags(entry);
  if (entry === 0 || hasFlag(flags, DAX_ZERO | DAX_EMPTY) || entryPfn(entry) !== pfn) return VM_FAULT_NOPAGE;
  entries.set(entries.base, entries.level, daxEntry(pfn, flags | DAX_DIRTY));
  return insertDevicePfn(vmf, level, pfn, true);
}

/**
 * dax_insert_entry(): the entry says from now on what stands there. Where real blocks replace the page of zeroes, everyone
 * who maps that is unmapped first.
 */
function* insertEntry(inode: Inode, entries: DaxEntries, index: number, level: number, pfn: Pfn, kind: number, dirty: boolean): Sleepable<void> {
  const old = entries.find(index);
  const { level: oldLevel, base } = entries;
  const oldFlags = entryFlags(old);
  const wasZero = old !== 0 && hasFlag(oldFlags, DAX_ZERO);
  if (wasZero && kind !== DAX_ZERO) yield* unmapMappingRange(inode, base, base + pagesOfLevel(oldLevel), false);
  const dirtyFlag = dirty ? DAX_DIRTY : 0;
  if (old === 0 || wasZero || hasFlag(oldFlags, DAX_EMPTY)) {
    const kept = hasFlag(oldFlags, DAX_DIRTY) ? DAX_DIRTY : dirtyFlag;
    entries.set(alignDown(index, pagesOfLevel(level)), level, daxEntry(pfn, DAX_LOCKED | kind | kept));
  } else if (dirty) {
    entries.set(base, oldLevel, old - oldFlags + (oldFlags | DAX_DIRTY));
  }
}

/**
 * grab_mapping_entry() for a page: waits for the entry to be free and locks it. A 2M placeholder or page of zeroes is taken
 * apart: unmapped everywhere, then removed. A real huge entry stays and is the page's entry too.
 */
function* grabEntry(inode: Inode, entries: DaxEntries, index: number): Sleepable<void> {
  yield* waitUnlocked(inode, entries, index);
  let entry = entries.find(index);
  if (entry !== 0 && entries.level > 0 && (hasFlag(entryFlags(entry), DAX_ZERO) || hasFlag(entryFlags(entry), DAX_EMPTY))) {
    const { level, base } = entries;
    if (hasFlag(entryFlags(entry), DAX_ZERO)) {
      entries.set(base, level, entry + DAX_LOCKED);
      yield* unmapMappingRange(inode, base, base + pagesOfLevel(level), false);
    }
    entries.remove(base, level);
    entry = entries.find(index);
  }
  if (entry === 0) entries.set(index, LEVEL_PTE, daxEntry(0, DAX_EMPTY | DAX_LOCKED));
  else entries.set(entries.base, entries.level, entry + DAX_LOCKED);
}

/** The same for a huge one; false when smaller entries are in the way. */
function* grabHugeEntry(inode: Inode, entries: DaxEntries, first: number, level: number): Sleepable<boolean> {
  yield* waitUnlocked(inode, entries, first);
  if (entries.hasSmaller(first, level)) return false;
  const entry = entries.find(first);
  if (entry === 0) entries.set(first, level, daxEntry(0, DAX_EMPTY | DAX_LOCKED));
  else if (entries.level !== level) return false;
  else entries.set(first, level, entry + DAX_LOCKED);
  return true;
}

function* waitUnlocked(inode: Inode, entries: DaxEntries, index: number): Sleepable<void> {
  const { sched } = inode.fs.platform;
  if (sched.concurrent) yield sched.point('DAX entry', `entries ${inode.name}`);
  if (entryFlags(entries.find(index)) % 2 === 0) return;
  yield* entries.changed.wait(sched, () => entryFlags(entries.find(index)) % 2 === 0);
}

/** put_unlocked_entry(): a placeholder that nothing came of goes. */
function releaseEntry(entries: DaxEntries, index: number): void {
  const entry = entries.find(index);
  const flags = entryFlags(entry);
  if (flags % 2 === 0) return;
  if (hasFlag(flags, DAX_EMPTY)) entries.remove(entries.base, entries.level);
  else entries.set(entries.base, entries.level, entry - DAX_LOCKED);
}

function hasFlag(flags: number, flag: number): boolean {
  return (flags & flag) !== 0;
}
