/**
 * fallocate(2) on DAX files: blocks ahead of time, holes, zeroes (ext4_fallocate, ext4_punch_hole, ext4_zero_range;
 * xfs_file_fallocate, xfs_free_file_space). What differs between the two file systems is in FsProfile.
 *
 * Whatever takes blocks away breaks the layout first (file.ts). Lengths and offsets are bytes. Check, then commit.
 */
import { HmmError } from '../errno.ts';
import { forgetSharing, type Inode } from '../fs/index.ts';
import { unmapMappingNow, unmapMappingRange } from '../mm/index.ts';
import type { UntoldBug } from '../profile/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { alignDown, alignUp, pagesFor } from '../units.ts';
import { copyBlocks } from './copy.ts';
import { entriesOf } from './entries.ts';
import { MAX_FILE_BYTES, breakLayouts, dropPageCache, invalidateClean, zeroBytes, zeroFrom } from './file.ts';
import { requireChangeable } from './gone.ts';
import { cleanRange } from './writeback.ts';

/** fallocate(2): blocks for the range, unwritten where there were none. `keepSize`: FALLOC_FL_KEEP_SIZE. EINVAL, EFBIG, ENOSPC, EIO, ENXIO. */
export function* daxAllocate(inode: Inode, offset: number, length: number, keepSize: boolean): Sleepable<void> {
  checkRange('fallocate', offset, length);
  if (!tryLockBlocks(inode)) yield* lockBlocks(inode);
  try {
    if (inode.fs.profile.allocateBreaks) yield* breakLayouts(inode);
    else requireChangeable(inode, 'fallocate');
    preallocate(inode, offset, offset + length);
    if (!keepSize) yield* growTo(inode, offset + length);
  } finally {
    unlockBlocks(inode);
  }
}

/** FALLOC_FL_PUNCH_HOLE: whole pages become holes, the rest of the range zeroes. The size stays. Errors as daxAllocate, but for ENOSPC. */
export function* daxPunch(inode: Inode, offset: number, length: number): Sleepable<void> {
  checkRange('punch', offset, length);
  const { profile, platform } = inode.fs;
  const { sched } = platform;
  // ext4 goes on to the end of the page that holds the file's end, XFS keeps that page and zeroes it.
  const toEnd = profile.punchDrops === 'inside';
  const beyond = toEnd && offset >= inode.size;
  if (beyond && !platform.profile.fallocateBreaksFirst) return;
  const end = toEnd ? Math.min(offset + length, alignDown(inode.size, 4096) + 4096) : offset + length;
  if (profile.punchFlushes === 'first' && platform.profile.punchWritesBack) yield* cleanRange(inode, Math.floor(offset / 4096), pagesFor(offset + length));
  if (!tryLockBlocks(inode)) yield* lockBlocks(inode);
  try {
    yield* breakLayouts(inode, 'punch-untold');
    if (beyond) return;
    yield* forgetRange(inode, offset, end, 'punch-untold');
    if (sched.concurrent) yield sched.point('punch: free blocks', `${inode.touches},bytes`);
    freeSpace(inode, offset, end);
  } finally {
    unlockBlocks(inode);
  }
}

/** FALLOC_FL_ZERO_RANGE: the range reads zero and has blocks, unwritten but for the pages that it only touches. Errors as daxAllocate. */
export function* daxZeroRange(inode: Inode, offset: number, length: number, keepSize: boolean): Sleepable<void> {
  checkRange('fallocate', offset, length);
  const { profile, platform } = inode.fs;
  const end = offset + length;
  const first = pagesFor(offset);
  const last = Math.max(first, Math.floor(end / 4096));
  if (!tryLockBlocks(inode)) yield* lockBlocks(inode);
  try {
    yield* breakLayouts(inode, 'zero-range-untold');
    // What has its blocks changed in place must have room for those that it has not, before anything is lost.
    if (profile.zeroRange === 'converted') preallocate(inode, offset, end);
    yield* forgetRange(inode, offset, end, 'zero-range-untold');
    if (profile.zeroRange === 'converted') {
      zeroBytes(inode, offset, Math.min(end, first * 4096));
      zeroBytes(inode, Math.max(offset, last * 4096), end);
    }
    if (platform.sched.concurrent) yield platform.sched.point('zero range: change blocks', `${inode.touches},bytes`);
    if (profile.zeroRange === 'converted') inode.fs.makeUnwritten(inode, first, last);
    else {
      // XFS takes the blocks away and asks for new ones: without room for them a hole is left.
      freeSpace(inode, offset, end);
      preallocate(inode, offset, end);
    }
    if (!keepSize) yield* growTo(inode, end);
  } finally {
    unlockBlocks(inode);
  }
}

/** Blocks for all pages that bytes `[offset, end)` touch, to stay beyond the file's end too. */
function preallocate(inode: Inode, offset: number, end: number): void {
  const first = Math.floor(offset / 4096);
  inode.fs.allocate(inode, first, pagesFor(end) - first);
  inode.preallocated = true;
  inode.fs.logged(inode);
  inode.metadataDirty = true; // even where there were blocks: that they were asked for is written down
}

/** xfs_free_file_space(): whole pages become holes, the rest of the range within the file zeroes. */
export function freeSpace(inode: Inode, offset: number, end: number): void {
  const first = pagesFor(offset);
  const last = Math.max(first, Math.floor(end / 4096));
  inode.fs.freeBlocks(inode, first, last);
  zeroBytes(inode, offset, Math.min(end, first * 4096, inode.size));
  zeroBytes(inode, Math.max(offset, last * 4096), Math.min(end, inode.size));
}

/** FALLOC_FL_UNSHARE_RANGE: the range has blocks that no other file has. EOPNOTSUPP where files share none, else errors as daxAllocate. */
export function* daxUnshare(inode: Inode, offset: number, length: number, keepSize = false): Sleepable<void> {
  checkRange('fallocate', offset, length);
  const { fs } = inode;
  if (!fs.profile.unshares) throw new HmmError('EOPNOTSUPP', 'fallocate', `${fs.profile.name} shares no blocks`);
  const first = Math.floor(offset / 4096);
  if (!tryLockBlocks(inode)) yield* lockBlocks(inode);
  try {
    yield* breakLayouts(inode);
    if (inode.reflinked && offset < inode.size) yield* copyShared(inode, first, pagesFor(Math.min(offset + length, inode.size)));
    preallocate(inode, offset, offset + length);
    if (!keepSize) yield* growTo(inode, offset + length);
  } finally {
    unlockBlocks(inode);
  }
}

/** dax_file_unshare(): each run of shared blocks becomes a copy of its own; what maps it goes. It looks as one who writes does: where there are no blocks, or unwritten ones, there are written ones then. */
function* copyShared(inode: Inode, first: number, end: number): Sleepable<void> {
  const { fs } = inode;
  for (let at = first; at < end; ) {
    const map = fs.writeMap(inode, at, end, 0);
    const upTo = Math.min(map.start + map.npages, end);
    if (map.source !== null) {
      // Else a dirty entry stays, and goes on naming the block that is left.
      if (fs.platform.profile.copiesFlushed) yield* cleanRange(inode, at, upTo);
      yield* invalidateClean(inode, at, upTo);
      copyBlocks(inode, map.source, map.pfn + (at - map.start), at, upTo - at);
      if (fs.platform.profile.copiesFlushed) fs.platform.persistence?.flush((map.pfn + (at - map.start)) * 4096, (upTo - at) * 4096);
      fs.finishWrite(inode, map, at, upTo);
    }
    at = upTo;
  }
  yield* cleanRange(inode, first, end);
  forgetSharing(inode);
}

/**
 * What every fallocate(2) holds: i_rwsem, then the invalidate_lock, for writing. `tryLockBlocks` where that needs no wait and no
 * preemption point, else `lockBlocks`; `unlockBlocks` afterwards.
 */
export function tryLockBlocks(inode: Inode): boolean {
  const { sched } = inode.fs.platform;
  if (!inode.rwsem.tryWrite(sched)) return false;
  if (inode.invalidateLock.tryWrite(sched)) return true;
  inode.rwsem.writeUnlock(sched);
  return false;
}

export function* lockBlocks(inode: Inode): Sleepable<void> {
  const { sched } = inode.fs.platform;
  yield* inode.rwsem.write(sched);
  try {
    yield* inode.invalidateLock.write(sched);
  } catch (error) {
    inode.rwsem.writeUnlock(sched);
    throw error;
  }
}

export function unlockBlocks(inode: Inode): void {
  const { sched } = inode.fs.platform;
  inode.invalidateLock.writeUnlock(sched);
  inode.rwsem.writeUnlock(sched);
}

/** The pages of a range are unmapped and their entries go: those inside it, or (xfs_flush_unmap_range) those that it touches, written back before. */
export function* forgetRange(inode: Inode, offset: number, end: number, untold: UntoldBug | null = null): Sleepable<void> {
  const inside = inode.fs.profile.punchDrops === 'inside';
  const first = inside ? pagesFor(offset) : Math.floor(offset / 4096);
  const last = inside ? Math.floor(end / 4096) : pagesFor(end);
  if (first >= last) return;
  if (inode.fs.profile.punchFlushes === 'unmapped') yield* cleanRange(inode, first, last);
  if (!unmapMappingNow(inode, first, last, false, untold)) yield* unmapMappingRange(inode, first, last, false, untold);
  entriesOf(inode).removeRange(first, last);
}

/** The size after blocks were added beyond it. XFS sets it as truncate does, which unmaps what lies beyond. */
export function* growTo(inode: Inode, size: number): Sleepable<void> {
  const before = inode.size;
  if (size <= before) return;
  yield* zeroFrom(inode, before, Math.min(size, alignUp(before, 4096)));
  inode.fs.setSize(inode, size);
  if (inode.fs.profile.allocateBreaks) yield* dropPageCache(inode, pagesFor(size));
}

export function checkRange(op: string, offset: number, length: number): void {
  if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length <= 0) {
    throw new HmmError('EINVAL', op, `offset ${offset}, length ${length} is no range of bytes`);
  }
  if (offset + length > MAX_FILE_BYTES) throw new HmmError('EFBIG', op, 'the range ends beyond the largest file');
}
