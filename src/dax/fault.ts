/**
 * Faults of DAX files (fs/dax.c: dax_iomap_pte_fault, dax_iomap_pmd_fault; xfs and ext4 fault handlers).
 *
 * A 2M fault falls back to 4K, in this order of checks: wholly beyond the file (SIGBUS); file page and address not congruent; a write
 * that will be copied; the 2M not inside the area; the last page of it not inside the file; 4K entries in the way; a page
 * table already there (try again); the extent shorter than 2M; its frame not aligned. The 1G fault of the lab is the same with
 * another size. Faults hold the file's invalidate_lock for reading, so that truncate and punch can keep them out.
 *
 * `quickFault` is the short way: written blocks, no placeholder, nothing to allocate, to copy, to unmap or to sync.
 */
import { LEVEL_PMD, LEVEL_PTE, LEVEL_PUD, PMD_PAGES, PUD_PAGES } from '../abi.ts';
import { HmmError } from '../errno.ts';
import { lookAtHole, sizePages, upToSharing, type Inode, type WriteMap } from '../fs/index.ts';
import {
  FAULT_FLAG_REMOTE, FAULT_FLAG_USER, FAULT_FLAG_WRITE, FAULT_SLEEPS, VM_FAULT_FALLBACK, VM_FAULT_MAJOR, VM_FAULT_NEEDDSYNC, VM_FAULT_NOPAGE, VM_FAULT_OOM, VM_FAULT_SIGBUS, VM_SYNC,
  splitHuge, insertDevicePfn, insertZeroPage, installCow, type Vmf, type VmOps,
} from '../mm/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { alignDown, pagesOfLevel } from '../units.ts';
import { copyBlocks } from './copy.ts';
import { DAX_DIRTY, DAX_EMPTY, DAX_LOCKED, DAX_ZERO, daxEntry, entriesOf, entryFlags, entryPfn, type DaxEntries } from './entries.ts';
import { grabEntry, grabHugeEntry, hasSmaller, insertEntry, releaseEntry, waitUnlocked } from './grab.ts';
import { tiedTo } from './ties.ts';
import { cleanRange, writebackRange } from './writeback.ts';

/** What a fault found. `source` null: nothing is copied. */
type FaultMap = WriteMap;

/** The handlers of a DAX file's mappings. */
export function daxVmOps(inode: Inode): VmOps {
  return {
    name: 'fs-dax',
    dax: true,
    quickFault: (vmf, level) => quickFault(inode, vmf, level),
    fault: (vmf) => locked(inode, vmf, LEVEL_PTE),
    hugeFault: (vmf, level) => locked(inode, vmf, level),
    pfnMkwrite: (vmf) => locked(inode, vmf, LEVEL_PTE),
    pageOwner: (pfn) => tiedTo(inode.fs, pfn),
  };
}

/** A fault of any size over written blocks that touches this page table and this file's entries alone. As VmOps has it. */
function quickFault(inode: Inode, vmf: Vmf, level: number): number {
  const refused = refusal(inode, vmf, level);
  if (refused !== 0) return refused;
  const { vma, pgoff } = vmf;
  const write = (vmf.flags & FAULT_FLAG_WRITE) !== 0;
  if (inode.invalidateLock.held === 'write' || inode.reflinked || inode.fs.gone) return FAULT_SLEEPS;
  if (write && (!vma.isShared || (inode.metadataDirty && vma.has(VM_SYNC)))) return FAULT_SLEEPS;
  const entries = entriesOf(inode);
  const npages = pagesOfLevel(level);
  const first = alignDown(pgoff, npages);
  if (level > LEVEL_PTE && hasSmaller(inode, entries, first, level)) return VM_FAULT_FALLBACK;
  const entry = entries.find(first);
  const { level: entryLevel, base } = entries;
  if (entry !== 0 && (entryFlags(entry) & (DAX_LOCKED | DAX_ZERO | DAX_EMPTY)) !== 0) return FAULT_SLEEPS;
  if (entry !== 0 && entryLevel < level) return VM_FAULT_FALLBACK;
  const run = inode.extents.lookup(first);
  if (run.hole || run.state !== 'mapped') return FAULT_SLEEPS;
  const pfn = run.pfn + (first - run.block);
  if (level > LEVEL_PTE && (run.block + run.npages < first + npages || pfn % npages !== 0)) return VM_FAULT_FALLBACK;
  const result = insertDevicePfn(vmf, level, pfn, write);
  if (result === VM_FAULT_OOM) return result;
  const dirty = (write || inode.fs.platform.profile.readFaultDirties) && !losesDirty(inode, vmf) ? DAX_DIRTY : 0;
  if (entry === 0) entries.set(first, level, daxEntry(pfn, dirty));
  else if (dirty !== 0 && (entryFlags(entry) & DAX_DIRTY) === 0) entries.set(base, entryLevel, entry + DAX_DIRTY);
  return result;
}

function* locked(inode: Inode, vmf: Vmf, level: number): Sleepable<number> {
  const { sched } = inode.fs.platform;
  const write = (vmf.flags & FAULT_FLAG_WRITE) !== 0 && vmf.vma.isShared;
  if (write && inode.fs.shutDown && inode.fs.profile.writeFaultJournals) return VM_FAULT_SIGBUS;
  if (!inode.invalidateLock.tryRead(sched)) yield* inode.invalidateLock.read(sched);
  try {
    const result = level === LEVEL_PTE ? yield* pteFault(inode, vmf) : yield* hugeFault(inode, vmf, level);
    return (result & VM_FAULT_NEEDDSYNC) === 0 ? result : yield* finishSyncFault(inode, vmf);
  } finally {
    inode.invalidateLock.readUnlock(sched);
  }
}

/** What a fault of this size is refused with before anything of the file is looked at: VM_FAULT_SIGBUS, _FALLBACK, or 0. */
function refusal(inode: Inode, vmf: Vmf, level: number): number {
  const { vma, pgoff, vpn } = vmf;
  if (level === LEVEL_PUD && !(inode.fs.platform.profile.fsdaxPud && inode.extentPages >= PUD_PAGES)) return VM_FAULT_FALLBACK;
  if (level === LEVEL_PTE) return pgoff < sizePages(inode) ? 0 : VM_FAULT_SIGBUS;
  const npages = pagesOfLevel(level);
  const first = alignDown(pgoff, npages);
  if (first >= sizePages(inode)) return VM_FAULT_SIGBUS;
  const base = alignDown(vpn, npages);
  if (pgoff - first !== vpn - base) return VM_FAULT_FALLBACK;
  if ((vmf.flags & FAULT_FLAG_WRITE) !== 0 && !vma.isShared) return VM_FAULT_FALLBACK;
  if (base < vma.start || base + npages > vma.end) return VM_FAULT_FALLBACK;
  return first + npages > sizePages(inode) ? VM_FAULT_FALLBACK : 0;
}

function* pteFault(inode: Inode, vmf: Vmf): Sleepable<number> {
  const { vma, pgoff } = vmf;
  const write = (vmf.flags & FAULT_FLAG_WRITE) !== 0;
  const refused = refusal(inode, vmf, LEVEL_PTE);
  if (refused !== 0) return refused;
  const entries = entriesOf(inode);
  yield* grabEntry(inode, entries, pgoff, vma.mm);
  try {
    const pt = vma.mm.pageTable;
    pt.look(vmf.vpn);
    if (pt.level > LEVEL_PTE && !pt.none) return VM_FAULT_NOPAGE; // a huge leaf has come: the access is tried again
    if (write && !vma.isShared) return privateWrite(inode, vmf);
    const tableIsNew = pt.level > LEVEL_PTE;
    // The table first: what cannot be mapped is not allocated either.
    if (!pt.slot(vmf.vpn, LEVEL_PTE)) return VM_FAULT_OOM;
    const result = yield* mapPage(inode, entries, vmf, write);
    if (tableIsNew && (result & (VM_FAULT_SIGBUS | VM_FAULT_OOM)) !== 0) pt.freeTables(alignDown(vmf.vpn, PMD_PAGES), PMD_PAGES);
    return result;
  } finally {
    releaseEntry(inode, entries, pgoff);
  }
}

/** The page of a private mapping becomes the process's own at once, with the bytes of the block, or zeroes for a hole. */
function privateWrite(inode: Inode, vmf: Vmf): number {
  const map = inode.fs.iomap(inode, vmf.pgoff, vmf.pgoff + 1);
  if (inode.fs.gone && (map.kind === 'mapped' || inode.fs.shutDown)) return VM_FAULT_SIGBUS;
  return installCow(vmf, map.kind === 'mapped' ? map.pfn + (vmf.pgoff - map.start) : null);
}

function* mapPage(inode: Inode, entries: DaxEntries, vmf: Vmf, write: boolean): Sleepable<number> {
  const map = blocksFor(inode, vmf.pgoff, 1, write);
  if (typeof map === 'number') return map;
  const major = map.fresh ? VM_FAULT_MAJOR : 0;
  if (map.kind !== 'mapped') return major | (yield* mapHole(inode, entries, vmf, LEVEL_PTE));
  return major | (yield* mapBlocks(inode, entries, vmf, LEVEL_PTE, map, write));
}

function* hugeFault(inode: Inode, vmf: Vmf, level: number): Sleepable<number> {
  const result = yield* tryHugeFault(inode, vmf, level);
  if (result !== VM_FAULT_FALLBACK) return result;
  const pt = vmf.vma.mm.pageTable;
  pt.look(vmf.vpn);
  const npages = pagesOfLevel(level);
  if (pt.level === level && !pt.none) yield* splitHuge(vmf.vma, alignDown(vmf.vpn, npages), npages);
  return VM_FAULT_FALLBACK;
}

function* tryHugeFault(inode: Inode, vmf: Vmf, level: number): Sleepable<number> {
  const refused = refusal(inode, vmf, level);
  if (refused !== 0) return refused;
  const { vma, pgoff, vpn } = vmf;
  const npages = pagesOfLevel(level);
  const write = (vmf.flags & FAULT_FLAG_WRITE) !== 0;
  const first = alignDown(pgoff, npages);
  const entries = entriesOf(inode);
  if (!(yield* grabHugeEntry(inode, entries, first, level, vma.mm))) return VM_FAULT_FALLBACK;
  try {
    const pt = vma.mm.pageTable;
    pt.look(vpn);
    if (pt.level < level) return 0; // a table of smaller pages is there: the core takes the smaller way
    let map = blocksFor(inode, first, npages, write);
    if (triedAgain(inode, vmf, map, first + npages)) map = blocksFor(inode, first, npages, write);
    if (typeof map === 'number') return map === VM_FAULT_OOM ? map : VM_FAULT_FALLBACK;
    if (map.start + map.npages < first + npages) return giveUp(inode, map, first, npages);
    if (map.kind !== 'mapped') return level === LEVEL_PMD && !write ? yield* mapHole(inode, entries, vmf, level) : VM_FAULT_FALLBACK;
    if ((map.pfn + (first - map.start)) % npages !== 0) return giveUp(inode, map, first, npages);
    return (map.fresh ? VM_FAULT_MAJOR : 0) | (yield* mapBlocks(inode, entries, vmf, level, map, write));
  } finally {
    releaseEntry(inode, entries, first);
  }
}

/** vmf_can_call_fault(): a user's fault on ext4, whose areas have no map_pages, is tried from the start once more when there was no huge page for it. That is another question only where the first try has made blocks. */
function triedAgain(inode: Inode, { flags }: Vmf, map: FaultMap | number, end: number): boolean {
  const { fs } = inode;
  return typeof map !== 'number' && map.fresh && map.start + map.npages < end && fs.xfs === null && (flags & FAULT_FLAG_USER) !== 0 && fs.platform.profile.userFaultsTwice;
}

/** What a huge fault was given does not do: blocks for a copy go back. */
function giveUp(inode: Inode, map: FaultMap, first: number, npages: number): number {
  if (map.source !== null) inode.fs.finishWrite(inode, map, first, Math.min(first + npages, map.start + map.npages), false);
  return VM_FAULT_FALLBACK;
}

/** iomap for a fault: what is there, or for a write what is there afterwards. A VM_FAULT_ code where there is nothing to be had. */
function blocksFor(inode: Inode, index: number, npages: number, write: boolean): FaultMap | number {
  const { fs } = inode;
  if (fs.gone) return blocksWithoutDevice(inode, index, npages, write);
  if (!write) {
    const map = fs.iomap(inode, index, index + npages);
    if (map.kind === 'hole') lookAtHole(inode, index);
    const { kind, start, npages: found, pfn, fresh, shared } = inode.reflinked && fs.platform.profile.sharedReadUnmaps ? upToSharing(fs, map, index) : map;
    return { kind, start, npages: found, pfn, fresh, shared, source: null };
  }
  try {
    return fs.writeMap(inode, index, index + npages, (index + npages) * 4096);
  } catch (error) {
    if (HmmError.is(error, 'ENOMEM')) return VM_FAULT_OOM;
    if (HmmError.is(error)) return VM_FAULT_SIGBUS;
    throw error;
  }
}

/**
 * The same when the device is gone: a hole is still one, and reads. A write finds no block in reach; a huge one has its blocks made
 * before it finds that.
 */
function blocksWithoutDevice(inode: Inode, index: number, npages: number, write: boolean): FaultMap | number {
  const { fs } = inode;
  const map = fs.iomap(inode, index, index + npages);
  if (!write) return map.kind === 'mapped' || (fs.shutDown && fs.profile.failsBy === 'shutdown') ? VM_FAULT_SIGBUS : { ...map, source: null };
  if (map.kind === 'hole' && npages > 1 && !fs.shutDown && !fs.readOnly && fs.allocator.freePages >= npages) fs.allocateRun(inode, index, npages);
  return VM_FAULT_SIGBUS;
}

/** dax_load_hole(): the page of zeroes, read only. */
function* mapHole(inode: Inode, entries: DaxEntries, vmf: Vmf, level: number): Sleepable<number> {
  const { ram, profile } = inode.fs.platform;
  const pfn = level === LEVEL_PTE ? ram.zeroPfn : ram.hugeZeroPfn;
  yield* insertEntry(inode, entries, vmf.pgoff, level, { pfn, kind: DAX_ZERO, dirty: profile.readFaultDirties, shared: false }, vmf.vma.mm);
  return insertZeroPage(vmf, level);
}

function* mapBlocks(inode: Inode, entries: DaxEntries, vmf: Vmf, level: number, map: FaultMap, write: boolean): Sleepable<number> {
  const { profile, persistence, bugs } = inode.fs.platform;
  const npages = pagesOfLevel(level);
  const first = alignDown(vmf.pgoff, npages);
  const pfn = map.pfn + (first - map.start);
  // A copy is metadata that will be: the block is not the file's before it is finished.
  const sync = write && vmf.vma.has(VM_SYNC) && (inode.metadataDirty || map.source !== null);
  yield* insertEntry(inode, entries, vmf.pgoff, level, { pfn, kind: 0, dirty: !sync && (write || profile.readFaultDirties) && !losesDirty(inode, vmf), shared: map.shared }, vmf.vma.mm);
  if (map.source !== null) {
    const copied = copyBlocks(inode, map.source, pfn, first, npages);
    // Else fsync flushes it, as it is dirty.
    if ((sync && !bugs.has('sync-copy-unflushed')) || (profile.copiesFlushed && !sync)) persistence?.flush(pfn * 4096, npages * 4096);
    inode.fs.finishWrite(inode, map, first, first + npages, copied);
    if (!copied) return VM_FAULT_OOM;
  }
  if (!sync) return insertDevicePfn(vmf, level, pfn, write);
  vmf.syncPfn = pfn;
  vmf.syncLevel = level;
  return VM_FAULT_NEEDDSYNC;
}

/** Bug switch: what a device's fault makes writable is not dirty. */
function losesDirty(inode: Inode, vmf: Vmf): boolean {
  return (vmf.flags & FAULT_FLAG_REMOTE) !== 0 && inode.fs.platform.bugs.has('device-fault-not-dirty');
}

/** dax_finish_sync_fault(): no writable entry before the metadata that leads to its block is durable. */
function* finishSyncFault(inode: Inode, vmf: Vmf): Sleepable<number> {
  const { syncPfn: pfn, syncLevel: level } = vmf;
  const first = alignDown(vmf.pgoff, pagesOfLevel(level));
  if (inode.fs.platform.bugs.has('sync-fault-without-commit')) yield* cleanRange(inode, first, first + pagesOfLevel(level));
  else yield* writebackRange(inode, first, first + pagesOfLevel(level));
  const entries = entriesOf(inode);
  yield* waitUnlocked(inode, entries, vmf.pgoff, vmf.vma.mm);
  const entry = entries.find(vmf.pgoff);
  const flags = entryFlags(entry);
  // What the entry says must still be what was found before the sync.
  if (entry === 0 || (flags & (DAX_ZERO | DAX_EMPTY)) !== 0 || entries.level !== level || entryPfn(entry) !== pfn) return VM_FAULT_NOPAGE;
  if (!losesDirty(inode, vmf)) entries.set(entries.base, entries.level, daxEntry(pfn, flags | DAX_DIRTY));
  return insertDevicePfn(vmf, level, pfn, true);
}
