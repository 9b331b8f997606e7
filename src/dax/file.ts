/**
 * What is done to a DAX file other than mapping it: read, write, truncate, punch, fallocate, fsync (fs/dax.c, the setattr and
 * fallocate paths of ext4 and xfs).
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
import { pagesFor, pagesOfLevel, type Pfn } from '../units.ts';
import { DAX_DIRTY, DAX_EMPTY, DAX_ZERO, entriesOf, entryFlags, entryPfn } from './entries.ts';
import { cleanRange, writebackRange } from './writeback.ts';

/** The largest file: 2^52 pages less one, in bytes that a number holds exactly. */
export const MAX_FILE_BYTES = Number.MAX_SAFE_INTEGER - 4095;

const idle = new WaitQueue('a DAX page that is still referenced');

/** read(2): fills `target` from `offset` on, returns bytes read (fewer at the end of the file). EIO when the device is gone. */
export function* daxRead(inode: Inode, offset: number, target: Uint8Array): Sleepable<number> {
  const { sched, arena } = inode.fs.platform;
  if (!inode.rwsem.tryRead(sched)) yield* inode.rwsem.read(sched);
  try {
    requireDevice(inode, 'read');
    const length = Math.max(0, Math.min(target.length, inode.size - offset));
    for (let done = 0; done < length; ) {
      const index = Math.floor((offset + done) / 4096);
      const within = (offset + done) % 4096;
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

/** write(2): blocks are allocated where there are none, and whoever mapped zeroes there is unmapped. ENOSPC, EFBIG, EIO. */
export function* daxWrite(inode: Inode, offset: number, source: Uint8Array): Sleepable<number> {
  const { sched, arena } = inode.fs.platform;
  const end = offset + source.length;
  if (end > MAX_FILE_BYTES) throw new HmmError('EFBIG', 'write', `${end} bytes is more than a file can have`);
  if (source.length === 0) return 0;
  if (!inode.rwsem.tryWrite(sched)) yield* inode.rwsem.write(sched);
  try {
    requireDevice(inode, 'write');
    const first = Math.floor(offset / 4096);
    const last = pagesFor(end);
    const fresh = hasNewBlocks(inode, first, last);
    inode.fs.allocateWritten(inode, first, last - first);
    if (fresh) yield* invalidateClean(inode, first, last);
    for (let done = 0; done < source.length; ) {
      const index = Math.floor((offset + done) / 4096);
      const within = (offset + done) % 4096;
      const map = inode.fs.iomap(inode, index, last);
      const n = Math.min(source.length - done, (map.start + map.npages - index) * 4096 - within);
      if (!arena.content.write((map.pfn + (index - map.start)) * 4096 + within, source, done, n)) throw new HmmError('ENOSPC', 'write', 'no room in the arena for the bytes');
      done += n;
    }
    if (end > inode.size) inode.fs.setSize(inode, end);
    return source.length;
  } finally {
    inode.rwsem.writeUnlock(sched);
  }
}

/** ftruncate(2). EINVAL, EFBIG, EIO; may wait for pinned pages. */
export function* daxTruncate(inode: Inode, size: number): Sleepable<void> {
  if (!Number.isSafeInteger(size) || size < 0) throw new HmmError('EINVAL', 'truncate', `size ${size} is not a whole number of bytes`);
  if (size > MAX_FILE_BYTES) throw new HmmError('EFBIG', 'truncate', `${size} bytes is more than a file can have`);
  const { sched } = inode.fs.platform;
  if (!inode.rwsem.tryWrite(sched)) yield* inode.rwsem.write(sched);
  try {
    requireDevice(inode, 'truncate');
    if (size === inode.size) return;
    if (!inode.invalidateLock.tryWrite(sched)) yield* inode.invalidateLock.write(sched);
    try {
      yield* breakLayouts(inode);
      const shrinks = size < inode.size;
      const keep = pagesFor(size);
      inode.fs.setSize(inode, size);
      if (!shrinks) return;
      yield* unmapMappingRange(inode, keep, FILE_PAGES_MAX, true);
      entriesOf(inode).removeRange(keep, FILE_PAGES_MAX);
      yield* unmapMappingRange(inode, keep, FILE_PAGES_MAX, true);
      zeroBytes(inode, size, keep * 4096);
      if (sched.concurrent) yield sched.point('truncate: free blocks', '*');
      inode.fs.freeBlocks(inode, keep, FILE_PAGES_MAX);
    } finally {
      inode.invalidateLock.writeUnlock(sched);
    }
  } finally {
    inode.rwsem.writeUnlock(sched);
  }
}

/** fallocate(2) with PUNCH_HOLE: whole pages become holes, the rest of the range zeroes. The size stays. */
export function* daxPunch(inode: Inode, offset: number, length: number): Sleepable<void> {
  checkRange('punch', offset, length);
  const { sched } = inode.fs.platform;
  if (!inode.rwsem.tryWrite(sched)) yield* inode.rwsem.write(sched);
  try {
    requireDevice(inode, 'punch');
    const end = Math.min(offset + length, inode.size);
    if (offset >= end) return;
    yield* cleanRange(inode, Math.floor(offset / 4096), pagesFor(end));
    if (!inode.invalidateLock.tryWrite(sched)) yield* inode.invalidateLock.write(sched);
    try {
      yield* breakLayouts(inode);
      const first = pagesFor(offset);
      const last = end === inode.size ? pagesFor(end) : Math.floor(end / 4096);
      if (first >= last) {
        zeroBytes(inode, offset, end);
        return;
      }
      yield* unmapMappingRange(inode, first, last, false);
      entriesOf(inode).removeRange(first, last);
      zeroBytes(inode, offset, first * 4096);
      zeroBytes(inode, last * 4096, end);
      if (sched.concurrent) yield sched.point('punch: free blocks', '*');
      inode.fs.freeBlocks(inode, first, last);
    } finally {
      inode.invalidateLock.writeUnlock(sched);
    }
  } finally {
    inode.rwsem.writeUnlock(sched);
  }
}

/** fallocate(2): blocks for the range, unwritten where there were none. `keepSize`: FALLOC_FL_KEEP_SIZE. ENOSPC. */
export function* daxAllocate(inode: Inode, offset: number, length: number, keepSize: boolean): Sleepable<void> {
  checkRange('fallocate', offset, length);
  const { sched } = inode.fs.platform;
  if (!inode.rwsem.tryWrite(sched)) yield* inode.rwsem.write(sched);
  try {
    requireDevice(inode, 'fallocate');
    const first = Math.floor(offset / 4096);
    inode.fs.allocate(inode, first, pagesFor(offset + length) - first);
    if (!keepSize && offset + length > inode.size) inode.fs.setSize(inode, offset + length);
  } finally {
    inode.rwsem.writeUnlock(sched);
  }
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
  const { sched } = inode.fs.platform;
  for (;;) {
    const mapped = inode.mappings.size > 0;
    yield* unmapMappingRange(inode, 0, FILE_PAGES_MAX, false);
    const busy = mapped ? busyPage(inode) : -1;
    if (busy < 0) return;
    inode.invalidateLock.writeUnlock(sched);
    try {
      yield* idle.wait(sched, () => inode.fs.platform.records.refs(busy) <= 1);
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

function hasNewBlocks(inode: Inode, first: number, last: number): boolean {
  for (let at = first; at < last; ) {
    const map = inode.fs.iomap(inode, at, last);
    if (map.kind !== 'mapped') return true;
    at = map.start + map.npages;
  }
  return false;
}

/** Zeroes the bytes `[from, to)` of the file, within blocks that are written. */
function zeroBytes(inode: Inode, from: number, to: number): void {
  for (let at = from; at < to; ) {
    const index = Math.floor(at / 4096);
    const n = Math.min(to, (index + 1) * 4096) - at;
    const map = inode.fs.iomap(inode, index, index + 1);
    if (map.kind === 'mapped') inode.fs.platform.arena.content.zero((map.pfn + (index - map.start)) * 4096 + (at % 4096), n);
    at += n;
  }
}

function requireDevice(inode: Inode, op: string): void {
  if (inode.fs.shutDown) throw new HmmError('EIO', op, `${inode.fs.name} is shut down`);
  if (inode.fs.pgmap.state === 'dead') throw new HmmError('ENXIO', op, `the device of ${inode.fs.name} is gone`);
}

function checkRange(op: string, offset: number, length: number): void {
  if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length <= 0) {
    throw new HmmError('EINVAL', op, `offset ${offset}, length ${length} is no range of bytes`);
  }
  if (offset + length > MAX_FILE_BYTES) throw new HmmError('EFBIG', op, 'the range ends beyond the largest file');
}
