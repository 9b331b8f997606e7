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
import { FILE_PAGES_MAX, type Inode } from '../fs/index.ts';
import { unmapMappingRange } from '../mm/index.ts';
import { WaitQueue, type Sleepable } from '../sched/index.ts';
import { alignUp, pagesFor, pagesOfLevel, type Pfn } from '../units.ts';
import { DAX_DIRTY, DAX_EMPTY, DAX_ZERO, entriesOf, entryFlags, entryPfn } from './entries.ts';
import { writebackRange } from './writeback.ts';

/** The largest file: 2^52 pages less one, in bytes that a number holds exactly. */
export const MAX_FILE_BYTES = Number.MAX_SAFE_INTEGER - 4095;

/** read(2): fills `target` from `offset` on, returns bytes read (fewer at the end of the file). EIO, ENXIO when the device is gone. */
export function* daxRead(inode: Inode, offset: number, target: Uint8Array): Sleepable<number> {
  const { sched, arena } = inode.fs.platform;
  if (!inode.rwsem.tryRead(sched)) yield* inode.rwsem.read(sched);
  try {
    requireDevice(inode, 'read');
    const length = Math.max(0, Math.min(target.length, inode.size - offset));
    for (let done = 0; done < length; ) {
      const index = Math.floor((offset + done) / 4096);
      const within = offset + done - index * 4096;
      const map = inode.fs.iomap(inode, index, pagesFor(offset + length));
      const n = Math.min(length - done, (map.start + map.npages - index) * 4096 - within);
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
    requireDevice(inode, 'write');
    if (offset > inode.size) zeroBytes(inode, inode.size, Math.min(offset, alignUp(inode.size, 4096)));
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
  const wasHole = fs.iomap(inode, index, end).kind === 'hole';
  let map;
  try {
    map = fs.allocateRun(inode, index, allocationEnd(inode, offset + source.length - at, end) - index);
  } catch (error) {
    if (HmmError.is(error, 'ENOSPC')) return 0;
    throw error;
  }
  const upTo = Math.min(map.start + map.npages, end);
  const n = Math.min(source.length - at, (upTo - index) * 4096 - within);
  if (map.fresh) yield* invalidateClean(inode, index, upTo);
  if (content.write((map.pfn + (index - map.start)) * 4096 + within, source, at, n)) return n;
  if (wasHole) fs.freeBlocks(inode, index, upTo);
  return 0;
}

/** Where a write that ends with page `end` of the file lets its blocks end: XFS rounds up to a stripe where nothing follows. */
function allocationEnd(inode: Inode, endByte: number, end: number): number {
  const { profile } = inode.fs;
  const stripe = profile.alignPages;
  const grows = profile.growsByStripe && !inode.hinted && endByte > inode.size && inode.size >= stripe * 4096;
  return grows && inode.extents.next(end) === null ? alignUp(end, stripe) : end;
}

/** ftruncate(2), up, down or as it is. EINVAL, EFBIG, EIO, ENXIO; may wait for pinned pages. */
export function* daxTruncate(inode: Inode, size: number): Sleepable<void> {
  if (!Number.isSafeInteger(size) || size < 0) throw new HmmError('EINVAL', 'truncate', `size ${size} is not a whole number of bytes`);
  if (size > MAX_FILE_BYTES) throw new HmmError('EFBIG', 'truncate', `${size} bytes is more than a file can have`);
  const { sched } = inode.fs.platform;
  if (!inode.rwsem.tryWrite(sched)) yield* inode.rwsem.write(sched);
  try {
    requireDevice(inode, 'truncate');
    if (!inode.invalidateLock.tryWrite(sched)) yield* inode.invalidateLock.write(sched);
    try {
      const before = inode.size;
      const keep = pagesFor(size);
      // So who waits for a pinned page has made the file shorter already.
      if (inode.fs.profile.truncateSizes === 'first' && inode.fs.platform.profile.truncateSizesFirst) inode.fs.setSize(inode, size);
      yield* breakLayouts(inode);
      if (size > before) zeroBytes(inode, before, Math.min(size, alignUp(before, 4096)));
      if (size !== inode.size) inode.fs.setSize(inode, size);
      yield* dropPageCache(inode, keep);
      if (size > before) return;
      zeroBytes(inode, size, keep * 4096);
      if (sched.concurrent) yield sched.point('truncate: free blocks', `${inode.touches},bytes`);
      inode.fs.freeBlocks(inode, keep, FILE_PAGES_MAX);
    } finally {
      inode.invalidateLock.writeUnlock(sched);
    }
  } finally {
    inode.rwsem.writeUnlock(sched);
  }
}

/** truncate_pagecache(): what maps pages from `keep` on goes, private copies too, before and after the entries do. */
export function* dropPageCache(inode: Inode, keep: number): Sleepable<void> {
  yield* unmapMappingRange(inode, keep, FILE_PAGES_MAX, true);
  entriesOf(inode).removeRange(keep, FILE_PAGES_MAX);
  yield* unmapMappingRange(inode, keep, FILE_PAGES_MAX, true);
}

/** fsync(2), msync(2): data and metadata of pages `[index, end)` are durable; mirrors lose the right to write there. */
export function* daxFsync(inode: Inode, index = 0, end = FILE_PAGES_MAX): Sleepable<void> {
  requireDevice(inode, 'fsync');
  yield* writebackRange(inode, index, end);
}

/**
 * dax_layout_busy_page() and the wait around it: on return nothing maps the file and no page of it is referenced by more than
 * its idle count. The caller holds rwsem and invalidate_lock for writing; the latter is dropped while it waits.
 */
export function* breakLayouts(inode: Inode): Sleepable<void> {
  const { sched, records } = inode.fs.platform;
  for (;;) {
    const mapped = inode.mappings.size > 0;
    yield* unmapMappingRange(inode, 0, FILE_PAGES_MAX, false);
    // Up to 6.14 a file that nobody maps is not looked through, pinned pages or not.
    const busy = mapped ? busyPage(inode) : -1;
    if (busy < 0) return;
    inode.invalidateLock.writeUnlock(sched);
    try {
      yield* new WaitQueue(`a pinned page of ${inode.name}`, '*').wait(sched, () => records.refs(busy) <= 1);
    } finally {
      yield* inode.invalidateLock.write(sched);
    }
  }
}

/** A page of the file with more than its idle reference, or -1. */
function busyPage(inode: Inode): Pfn {
  const { records } = inode.fs.platform;
  let busy: Pfn = -1;
  entriesOf(inode).forEach(0, FILE_PAGES_MAX, (_base, level, entry) => {
    if (busy >= 0 || (entryFlags(entry) & (DAX_ZERO | DAX_EMPTY)) !== 0) return;
    const pfn = entryPfn(entry);
    for (let i = 0; i < pagesOfLevel(level) && busy < 0; i += records.hasRecords(pfn + i) ? 1 : 512 - ((pfn + i) % 512)) {
      if (records.refs(pfn + i) > 1) busy = pfn + i;
    }
  });
  return busy;
}

/** invalidate_inode_pages2_range() before new blocks are read: clean entries go, mappings of the range too. */
function* invalidateClean(inode: Inode, first: number, last: number): Sleepable<void> {
  const entries = entriesOf(inode);
  const clean: { base: number; level: number }[] = [];
  entries.forEach(first, last, (base, level, entry) => {
    if ((entryFlags(entry) & DAX_DIRTY) === 0) clean.push({ base, level });
  });
  for (const { base, level } of clean) entries.remove(base, level);
  yield* unmapMappingRange(inode, first, last, false);
}

/** Zeroes the bytes `[from, to)` of the file, within blocks that are written. */
export function zeroBytes(inode: Inode, from: number, to: number): void {
  for (let at = from; at < to; ) {
    const index = Math.floor(at / 4096);
    const n = Math.min(to, (index + 1) * 4096) - at;
    const map = inode.fs.iomap(inode, index, index + 1);
    if (map.kind === 'mapped') inode.fs.platform.arena.content.zero((map.pfn + (index - map.start)) * 4096 + (at - index * 4096), n);
    at += n;
  }
}

/** Throws EIO or ENXIO where the file system or its device is gone. */
export function requireDevice(inode: Inode, op: string): void {
  if (inode.fs.shutDown) throw new HmmError('EIO', op, `${inode.fs.name} is shut down`);
  if (inode.fs.gone) throw new HmmError('ENXIO', op, `the device of ${inode.fs.name} is gone`);
}
