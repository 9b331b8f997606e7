/**
 * fallocate(2) on DAX files: blocks ahead of time, holes, zeroes (ext4_fallocate, ext4_punch_hole, ext4_zero_range;
 * xfs_file_fallocate, xfs_free_file_space). What differs between the two file systems is in FsProfile.
 *
 * Whatever takes blocks away breaks the layout first (file.ts). Lengths and offsets are bytes. Check, then commit.
 */
import { HmmError } from '../errno.ts';
import type { Inode } from '../fs/index.ts';
import { unmapMappingRange } from '../mm/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { alignDown, alignUp, pagesFor } from '../units.ts';
import { entriesOf } from './entries.ts';
import { MAX_FILE_BYTES, breakLayouts, dropPageCache, requireDevice, zeroBytes } from './file.ts';
import { cleanRange } from './writeback.ts';

/** fallocate(2): blocks for the range, unwritten where there were none. `keepSize`: FALLOC_FL_KEEP_SIZE. EINVAL, EFBIG, ENOSPC, EIO, ENXIO. */
export function* daxAllocate(inode: Inode, offset: number, length: number, keepSize: boolean): Sleepable<void> {
  checkRange('fallocate', offset, length);
  const first = Math.floor(offset / 4096);
  yield* changeBlocks(inode, 'fallocate', offset, length, function* allocate(): Sleepable<void> {
    if (inode.fs.profile.allocateBreaks) yield* breakLayouts(inode);
    inode.fs.allocate(inode, first, pagesFor(offset + length) - first);
    if (!keepSize) yield* growTo(inode, offset + length);
  });
}

/** FALLOC_FL_PUNCH_HOLE: whole pages become holes, the rest of the range zeroes. The size stays. Errors as daxAllocate, but for ENOSPC. */
export function* daxPunch(inode: Inode, offset: number, length: number): Sleepable<void> {
  checkRange('punch', offset, length);
  const { profile, platform } = inode.fs;
  const { sched } = platform;
  // ext4 goes on to the end of the page that holds the file's end, XFS keeps that page and zeroes it.
  const toEnd = profile.punchDrops === 'inside';
  if (toEnd && offset >= inode.size) return;
  const end = toEnd ? Math.min(offset + length, alignDown(inode.size, 4096) + 4096) : offset + length;
  const first = pagesFor(offset);
  const last = Math.max(first, Math.floor(end / 4096));
  yield* changeBlocks(inode, 'punch', offset, length, function* punch(): Sleepable<void> {
    yield* breakLayouts(inode);
    yield* forgetRange(inode, offset, end);
    zeroBytes(inode, offset, Math.min(end, first * 4096, inode.size));
    zeroBytes(inode, Math.max(offset, last * 4096), Math.min(end, inode.size));
    if (sched.concurrent) yield sched.point('punch: free blocks', `${inode.touches},bytes`);
    inode.fs.freeBlocks(inode, first, last);
  });
}

/** FALLOC_FL_ZERO_RANGE: the range reads zero and has blocks, unwritten but for the pages that it only touches. Errors as daxAllocate. */
export function* daxZeroRange(inode: Inode, offset: number, length: number, keepSize: boolean): Sleepable<void> {
  checkRange('fallocate', offset, length);
  const { profile, platform } = inode.fs;
  const end = offset + length;
  const first = pagesFor(offset);
  const last = Math.max(first, Math.floor(end / 4096));
  yield* changeBlocks(inode, 'fallocate', offset, length, function* zero(): Sleepable<void> {
    yield* breakLayouts(inode);
    // Before anything is taken away there must be room for it again.
    inode.fs.allocate(inode, Math.floor(offset / 4096), pagesFor(end) - Math.floor(offset / 4096));
    yield* forgetRange(inode, offset, end);
    zeroBytes(inode, offset, Math.min(end, first * 4096));
    zeroBytes(inode, Math.max(offset, last * 4096), end);
    if (platform.sched.concurrent) yield platform.sched.point('zero range: change blocks', `${inode.touches},bytes`);
    if (first < last) replaceBlocks(inode, first, last, profile.zeroRange === 'replaced');
    if (!keepSize) yield* growTo(inode, end);
  });
}

/** Pages `[first, last)` get unwritten blocks: XFS others, where there is room for others. */
function replaceBlocks(inode: Inode, first: number, last: number, others: boolean): void {
  const { fs } = inode;
  if (!others) {
    fs.makeUnwritten(inode, first, last);
    return;
  }
  fs.freeBlocks(inode, first, last);
  fs.allocate(inode, first, last - first);
}

/** Under i_rwsem, the invalidate_lock and after write-back, as far as the file system has these. */
function* changeBlocks(inode: Inode, op: string, offset: number, length: number, change: () => Sleepable<void>): Sleepable<void> {
  const { sched, profile } = inode.fs.platform;
  requireDevice(inode, op);
  if (op === 'punch' && inode.fs.profile.punchFlushes === 'first' && profile.punchWritesBack) yield* cleanRange(inode, Math.floor(offset / 4096), pagesFor(offset + length));
  if (!inode.rwsem.tryWrite(sched)) yield* inode.rwsem.write(sched);
  try {
    requireDevice(inode, op);
    if (!inode.invalidateLock.tryWrite(sched)) yield* inode.invalidateLock.write(sched);
    try {
      yield* change();
    } finally {
      inode.invalidateLock.writeUnlock(sched);
    }
  } finally {
    inode.rwsem.writeUnlock(sched);
  }
}

/** The pages of a range are unmapped and their entries go: those inside it, or (xfs_flush_unmap_range) those that it touches, written back before. */
function* forgetRange(inode: Inode, offset: number, end: number): Sleepable<void> {
  const inside = inode.fs.profile.punchDrops === 'inside';
  const first = inside ? pagesFor(offset) : Math.floor(offset / 4096);
  const last = inside ? Math.floor(end / 4096) : pagesFor(end);
  if (first >= last) return;
  if (inode.fs.profile.punchFlushes === 'unmapped') yield* cleanRange(inode, first, last);
  yield* unmapMappingRange(inode, first, last, false);
  entriesOf(inode).removeRange(first, last);
}

/** The size after blocks were added beyond it. XFS sets it as truncate does, which unmaps what lies beyond. */
function* growTo(inode: Inode, size: number): Sleepable<void> {
  const before = inode.size;
  if (size <= before) return;
  zeroBytes(inode, before, Math.min(size, alignUp(before, 4096)));
  inode.fs.setSize(inode, size);
  if (inode.fs.profile.allocateBreaks) yield* dropPageCache(inode, pagesFor(size));
}

function checkRange(op: string, offset: number, length: number): void {
  if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length <= 0) {
    throw new HmmError('EINVAL', op, `offset ${offset}, length ${length} is no range of bytes`);
  }
  if (offset + length > MAX_FILE_BYTES) throw new HmmError('EFBIG', op, 'the range ends beyond the largest file');
}
