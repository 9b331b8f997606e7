/**
 * What is done to a DAX file other than mapping it: read, write, truncate, fsync (fs/dax.c: dax_iomap_rw; the setattr paths of
 * ext4 and xfs). Holes are falloc.ts.
 *
 * Guarantee: before a block of the file is freed or moved, every mapping of it is gone and nobody holds a reference on its page
 * (*layout break*): the whole file is unmapped, then pages that are still referenced are waited for, without the
 * invalidate_lock, and the whole is tried again. HMM holds no such reference: a mirror is protected by the notifier alone.
 * Lengths and offsets are bytes. Check, then commit.
 */
import { HmmError } from '../errno.ts';
import { FILE_PAGES_MAX, NO_PAGES, cancelCopies, lookAtHole, type Inode, type Iomap, type PageRange } from '../fs/index.ts';
import { unmapMappingNow, unmapMappingRange, type Vma } from '../mm/index.ts';
import type { UntoldBug } from '../profile/index.ts';
import { WaitQueue, type Sleepable } from '../sched/index.ts';
import { alignUp, pagesFor, pagesOfLevel, type Pfn, type Vpn } from '../units.ts';
import { copyBlocks } from './copy.ts';
import { DAX_DIRTY, DAX_EMPTY, DAX_LOCKED, DAX_ZERO, entriesOf, entryFlags, entryPfn, type DaxEntries } from './entries.ts';
import { awaitFree } from './grab.ts';
import { requireBlocks, requireChangeable, requirePages, requireSync, requireUp, requireWritable } from './gone.ts';
import { cleanRange, writebackRange } from './writeback.ts';

/** The largest file: 2^52 pages less one, in bytes that a number holds exactly. */
export const MAX_FILE_BYTES = Number.MAX_SAFE_INTEGER - 4095;

/** read(2): fills `target` from `offset` on, returns bytes read (fewer at the end of the file). EIO, ENXIO when the device is gone. */
export function* daxRead(inode: Inode, offset: number, target: Uint8Array): Sleepable<number> {
  const { sched, arena } = inode.fs.platform;
  if (!inode.rwsem.tryRead(sched)) yield* inode.rwsem.read(sched);
  try {
    requireUp(inode, 'read');
    const length = Math.max(0, Math.min(target.length, inode.size - offset));
    for (let done = 0; done < length; ) {
      const index = Math.floor((offset + done) / 4096);
      const within = offset + done - index * 4096;
      const map = inode.fs.iomap(inode, index, pagesFor(offset + length));
      const n = Math.min(length - done, (map.start + map.npages - index) * 4096 - within);
      if (map.kind === 'mapped' && inode.fs.gone && done > 0) return done;
      if (map.kind === 'mapped') requireBlocks(inode, 'read');
      if (map.kind === 'hole') lookAtHole(inode, index);
      if (map.kind === 'mapped') arena.content.read((map.pfn + (index - map.start)) * 4096 + within, target, done, n);
      else target.fill(0, done, done + n);
      done += n;
    }
    return length;
  } finally {
    inode.rwsem.readUnlock(sched);
  }
}

/**
 * write(2): blocks are allocated where there are none, and whoever mapped zeroes there is unmapped. Returns bytes written: fewer
 * than asked where room ran out on the way. ENOSPC with nothing changed where there was none at all, EFBIG, EIO, ENXIO.
 */
export function* daxWrite(inode: Inode, offset: number, source: Uint8Array): Sleepable<number> {
  const { sched } = inode.fs.platform;
  const end = offset + source.length;
  if (end > MAX_FILE_BYTES) throw new HmmError('EFBIG', 'write', `${end} bytes is more than a file can have`);
  if (source.length === 0) return 0;
  if (!inode.rwsem.tryWrite(sched)) yield* inode.rwsem.write(sched);
  try {
    requireUp(inode, 'write');
    if (offset > inode.size) yield* zeroFrom(inode, inode.size, Math.min(offset, alignUp(inode.size, 4096)));
    let done = 0;
    while (done < source.length) {
      const written = yield* writeRun(inode, offset + done, source, done);
      if (written === 0) break;
      done += written;
    }
    if (done === 0) throw new HmmError('ENOSPC', 'write', `no room for ${source.length} bytes at ${offset} of ${inode.name}`);
    if (offset + done > inode.size) inode.fs.setSize(inode, offset + done);
    return done;
  } finally {
    inode.rwsem.writeUnlock(sched);
  }
}

/** `source[at…]` at byte `offset`, as far as one run of blocks goes. 0 and nothing changed where there is no room. */
function* writeRun(inode: Inode, offset: number, source: Uint8Array, at: number): Sleepable<number> {
  const { fs } = inode;
  const { content } = fs.platform.arena;
  const index = Math.floor(offset / 4096);
  const within = offset - index * 4096;
  const end = pagesFor(offset + source.length - at);
  const { kind } = fs.iomap(inode, index, end);
  requireWritable(inode, kind);
  const wasHole = kind === 'hole';
  let map;
  try {
    map = fs.writeMap(inode, index, end, offset + source.length - at, wasHole ? coveredPages(inode, offset, source.length - at) : NO_PAGES);
  } catch (error) {
    if (HmmError.is(error, 'ENOSPC')) return 0;
    throw error;
  }
  const upTo = Math.min(map.start + map.npages, end);
  const n = Math.min(source.length - at, (upTo - index) * 4096 - within);
  if (map.fresh) yield* invalidateClean(inode, index, upTo);
  else if (map.shared && fs.platform.profile.sharedWriteUnmaps) yield* invalidateAll(inode, index, upTo);
  const pfn = map.pfn + (index - map.start);
  const copied = map.source === null || copyEdges(inode, map.source, pfn, index, within, n);
  const done = copied && content.write(pfn * 4096 + within, source, at, n);
  if (!fs.platform.bugs.has('write-cached')) fs.platform.persistence?.flush(pfn * 4096 + within, n);
  fs.finishWrite(inode, map, index, upTo, done);
  // A fault since the unmapping has found the block that was left; no kernel looks again.
  if (map.shared && !fs.platform.profile.copiedWriteRaces) yield* invalidateAll(inode, index, upTo);
  if (done) return n;
  if (wasHole) fs.freeBlocks(inode, index, upTo);
  return 0;
}

/** The pages that a write fills whole, where nobody can look at them before it has: no other task, no entry of the file, no power cut. */
function coveredPages(inode: Inode, offset: number, length: number): PageRange {
  const { sched, persistence } = inode.fs.platform;
  if (sched.concurrent || persistence !== null || !entriesOf(inode).empty) return NO_PAGES;
  return { index: Math.ceil(offset / 4096), end: Math.floor((offset + length) / 4096) };
}

/** Zeroes what of a page lies beyond an end of the file, old or new. In a block set aside for a copy (dax_zero_iter) it is mapped nowhere then, and no entry leads to the block that was left. */
export function* zeroFrom(inode: Inode, from: number, to: number): Sleepable<void> {
  if (inode.reflinked && from % 4096 !== 0) yield* unmapForCopy(inode, Math.floor(from / 4096));
  zeroBytes(inode, from, to);
}

function* unmapForCopy(inode: Inode, index: number): Sleepable<void> {
  const { fs } = inode;
  if (!fs.platform.profile.sharedWriteUnmaps || fs.iomap(inode, index, index + 1).kind !== 'mapped') return;
  if (fs.writeMap(inode, index, index + 1, 0).shared) yield* invalidateAll(inode, index, index + 1);
}

/** The pages of a copy that `length` bytes from byte `within` on do not fill have the rest from their source. */
function copyEdges(inode: Inode, source: Iomap, pfn: Pfn, index: number, within: number, length: number): boolean {
  const last = Math.floor((within + length - 1) / 4096);
  if (within > 0 && !copyBlocks(inode, source, pfn, index, 1)) return false;
  const isWhole = (within + length) % 4096 === 0 || (last === 0 && within > 0);
  if (!isWhole && !copyBlocks(inode, source, pfn + last, index + last, 1)) return false;
  const { persistence, profile } = inode.fs.platform;
  if (profile.copiesFlushed) persistence?.flush(pfn * 4096, (last + 1) * 4096);
  return true;
}

/** ftruncate(2), up, down or as it is. EINVAL, EFBIG, EIO, ENXIO; may wait for pinned pages. */
export function* daxTruncate(inode: Inode, size: number): Sleepable<void> {
  if (!Number.isSafeInteger(size) || size < 0) throw new HmmError('EINVAL', 'truncate', `size ${size} is not a whole number of bytes`);
  if (size > MAX_FILE_BYTES) throw new HmmError('EFBIG', 'truncate', `${size} bytes is more than a file can have`);
  const { sched } = inode.fs.platform;
  if (!inode.rwsem.tryWrite(sched)) yield* inode.rwsem.write(sched);
  try {
    if (inode.fs.profile.truncateAsksFirst) requireUp(inode, 'truncate');
    if (!inode.invalidateLock.tryWrite(sched)) yield* inode.invalidateLock.write(sched);
    try {
      const before = inode.size;
      const keep = pagesFor(size);
      // So who waits for a pinned page has made the file shorter already.
      if (inode.fs.profile.truncateSizes === 'first' && inode.fs.platform.profile.truncateSizesFirst) inode.fs.setSize(inode, size);
      if (inode.fs.platform.bugs.has('truncate-frees-first')) inode.fs.freeBlocks(inode, keep, FILE_PAGES_MAX);
      yield* breakLayouts(inode, 'truncate-untold');
      if (size <= before) yield* flushEnd(inode, size);
      if (size > before) yield* zeroFrom(inode, before, Math.min(size, alignUp(before, 4096)));
      if (size !== inode.size) inode.fs.setSize(inode, size);
      yield* dropPageCache(inode, keep, 'truncate-untold');
      if (size > before) return;
      yield* zeroFrom(inode, size, keep * 4096);
      if (sched.concurrent) yield sched.point('truncate: free blocks', `${inode.touches},bytes`);
      inode.fs.freeBlocks(inode, keep, FILE_PAGES_MAX);
      cancelCopies(inode, keep);
      if (inode.extents.count === 0 && inode.copies.count === 0) inode.reflinked = false;
    } finally {
      inode.invalidateLock.writeUnlock(sched);
    }
  } finally {
    inode.rwsem.writeUnlock(sched);
  }
}

/** XFS writes the page of the new end back before the file becomes shorter, or stays as long. */
function* flushEnd(inode: Inode, size: number): Sleepable<void> {
  const { profile, platform } = inode.fs;
  const index = Math.floor(size / 4096);
  if (profile.zeroesOnExtend && platform.profile.truncateFlushesEnd) yield* cleanRange(inode, index, index + 1);
}

/** truncate_pagecache(): what maps pages from `keep` on goes, private copies too, before and after the entries do. */
export function* dropPageCache(inode: Inode, keep: number, untold: UntoldBug | null = null): Sleepable<void> {
  if (!unmapMappingNow(inode, keep, FILE_PAGES_MAX, true, untold)) yield* unmapMappingRange(inode, keep, FILE_PAGES_MAX, true, untold);
  entriesOf(inode).removeRange(keep, FILE_PAGES_MAX);
  if (!unmapMappingNow(inode, keep, FILE_PAGES_MAX, true, untold)) yield* unmapMappingRange(inode, keep, FILE_PAGES_MAX, true, untold);
}

/** fsync(2), msync(2): data and metadata of pages `[index, end)` are durable; mirrors lose the right to write there. */
export function* daxFsync(inode: Inode, index = 0, end = FILE_PAGES_MAX): Sleepable<void> {
  requireSync(inode);
  yield* writebackRange(inode, index, end);
}

/**
 * dax_layout_busy_page() and the wait around it: on return nothing maps the file and no page of it is referenced by more than
 * its idle count. The caller holds rwsem and invalidate_lock for writing; the latter is dropped while it waits.
 */
export function* breakLayouts(inode: Inode, untold: UntoldBug | null = null): Sleepable<void> {
  const { sched, records, bugs } = inode.fs.platform;
  for (;;) {
    const busy = yield* unmapAll(inode, untold);
    if (busy < 0) {
      requireChangeable(inode, 'truncate');
      return;
    }
    if (bugs.has('wait-interruptible')) return;
    inode.invalidateLock.writeUnlock(sched);
    try {
      yield* new WaitQueue(`a pinned page of ${inode.name}`, '*').wait(sched, () => records.refs(busy) <= 1);
    } finally {
      yield* inode.invalidateLock.write(sched);
    }
  }
}

/** dax_layout_busy_page(): nothing maps the file any more. Returns a page of it that is still referenced, or -1. */
export function* unmapAll(inode: Inode, untold: UntoldBug | null = null): Sleepable<Pfn> {
  const { bugs, bus, profile } = inode.fs.platform;
  const passes = inode.mappings.size === 0 && profile.unmappedLayoutsPass;
  const evenCows = bugs.has('layout-break-takes-copies');
  if (bus.on) bus.emit({ type: 'layout-break', file: inode.name, areas: privateAreas(inode) });
  if (!unmapMappingNow(inode, 0, FILE_PAGES_MAX, evenCows, untold)) yield* unmapMappingRange(inode, 0, FILE_PAGES_MAX, evenCows, untold);
  if (bus.on) bus.emit({ type: 'layout-broken', file: inode.name });
  if (!passes) return busyPage(inode);
  if (bus.on && busyPage(inode) >= 0) bus.emit({ type: 'breach', field: 'unmappedLayoutsPass', rule: 'blocks-owned', mm: 0, start: 0, end: 0 });
  return -1;
}

/** Where copies of its pages may be. */
function privateAreas(inode: Inode): { mm: number; start: Vpn; end: Vpn }[] {
  const areas = inode.mappings.collect(0, FILE_PAGES_MAX) as Vma[];
  return areas.filter((vma) => vma.isCow).map(({ mm, start, end }) => ({ mm: mm.id, start, end }));
}

/** A page of the file with more than its idle reference, or -1. */
function busyPage(inode: Inode): Pfn {
  const { records } = inode.fs.platform;
  let busy: Pfn = -1;
  entriesOf(inode).forEach(0, FILE_PAGES_MAX, (_base, level, entry) => {
    if (busy >= 0 || (entryFlags(entry) & (DAX_ZERO | DAX_EMPTY)) !== 0) return;
    requirePages(inode);
    const pfn = entryPfn(entry);
    for (let i = 0; i < pagesOfLevel(level) && busy < 0; i += records.hasRecords(pfn + i) ? 1 : 512 - ((pfn + i) % 512)) {
      if (records.refs(pfn + i) > 1) busy = pfn + i;
    }
  });
  return busy;
}

/** __dax_clear_dirty_range(), then the same: no entry stays. Entries that a fault works on are waited for. */
function* invalidateAll(inode: Inode, first: number, last: number): Sleepable<void> {
  const entries = entriesOf(inode);
  if (entries.empty) return;
  yield* awaitRangeFree(inode, entries, first, last);
  entries.removeRange(first, last);
  if (!unmapMappingNow(inode, first, last, false)) yield* unmapMappingRange(inode, first, last, false);
}

/** Waits for those entries of a range on which a fault works now. */
function* awaitRangeFree(inode: Inode, entries: DaxEntries, first: number, last: number): Sleepable<void> {
  const { sched } = inode.fs.platform;
  if (!sched.concurrent) return;
  yield sched.point('invalidate entries', '*');
  const locked: number[] = [];
  entries.forEach(first, last, (base, _level, entry) => {
    if ((entryFlags(entry) & DAX_LOCKED) !== 0) locked.push(base);
  });
  for (const base of locked) yield* awaitFree(inode, entries, base);
}

/** invalidate_inode_pages2_range() before new blocks are read: clean entries go, mappings of the range too; a file without entries is left alone. */
export function* invalidateClean(inode: Inode, first: number, last: number): Sleepable<void> {
  const entries = entriesOf(inode);
  if (entries.empty) return;
  yield* awaitRangeFree(inode, entries, first, last);
  const clean: { base: number; level: number }[] = [];
  entries.forEach(first, last, (base, level, entry) => {
    if ((entryFlags(entry) & DAX_DIRTY) === 0) clean.push({ base, level });
  });
  for (const { base, level } of clean) entries.remove(base, level);
  if (!unmapMappingNow(inode, first, last, false)) yield* unmapMappingRange(inode, first, last, false);
}

/** Zeroes the bytes `[from, to)` of the file, within blocks that are written; those that others share are copied first, and where the kernel forgets that the copy is to be the file's, stay (xfs_zero_range). ENOSPC. */
export function zeroBytes(inode: Inode, from: number, to: number): void {
  const { fs } = inode;
  const { content } = fs.platform.arena;
  for (let at = from; at < to; ) {
    const index = Math.floor(at / 4096);
    const within = at - index * 4096;
    const n = Math.min(to, (index + 1) * 4096) - at;
    if (fs.iomap(inode, index, index + 1).kind === 'mapped') {
      const map = fs.writeMap(inode, index, index + 1, 0);
      const pfn = map.pfn + (index - map.start);
      if (map.source !== null && n < 4096) copyBlocks(inode, map.source, pfn, index, 1);
      content.zero(pfn * 4096 + within, n);
      if (map.source === null || fs.platform.profile.copiesFlushed) fs.platform.persistence?.flush(pfn * 4096, 4096);
      if (fs.platform.profile.sharedZeroesKept) fs.finishWrite(inode, map, index, index + 1);
    }
    at += n;
  }
}
