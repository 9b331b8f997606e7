/**
 * COLLAPSE_RANGE and INSERT_RANGE of fallocate(2): the rest of a file moves to other offsets, blocks and all (ext4_collapse_range,
 * ext4_insert_range; xfs_collapse_file_space, xfs_insert_file_space).
 *
 * What moves is written back and unmapped before; ranges are whole pages. ext4 looks at its arguments first, XFS breaks the layout,
 * and for a collapse forgets the range, before it refuses; later kernels break the layout first on both. Check, then commit.
 */
import { HmmError } from '../errno.ts';
import { FILE_PAGES_MAX, cancelCopies, dirtyBlocks, forgetHoles, sizePages, type Inode } from '../fs/index.ts';
import { unmapMappingNow, unmapMappingRange } from '../mm/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { entriesOf } from './entries.ts';
import { checkRange, forgetRange, freeSpace, growTo, lockBlocks, tryLockBlocks, unlockBlocks } from './falloc.ts';
import { MAX_FILE_BYTES, breakLayouts, dropPageCache } from './file.ts';
import { cleanRange } from './writeback.ts';

/** FALLOC_FL_COLLAPSE_RANGE. EINVAL where the range is not of whole pages or reaches the file's end; EIO, ENXIO. */
export function* daxCollapse(inode: Inode, offset: number, length: number): Sleepable<void> {
  checkRange('fallocate', offset, length);
  const { fs } = inode;
  const xfs = fs.profile.allocator === 'near';
  const late = xfs || fs.platform.profile.fallocateBreaksFirst;
  if (!late) checkWhole(offset, length);
  const [first, npages] = [offset / 4096, length / 4096];
  if (!tryLockBlocks(inode)) yield* lockBlocks(inode);
  try {
    if (!late) refuseCollapse(inode, offset, length);
    yield* breakLayouts(inode);
    if (fs.platform.profile.fallocateBreaksFirst) refuseCollapse(inode, offset, length);
    if (xfs) {
      yield* forgetRange(inode, offset, offset + length);
      refuseCollapse(inode, offset, length);
      freeSpace(inode, offset, offset + length);
      yield* prepareShift(inode, first);
    } else {
      yield* cleanRange(inode, first, first + 1);
      yield* cleanRange(inode, first + npages, FILE_PAGES_MAX);
      yield* dropPageCache(inode, first);
      fs.dropBlocks(inode, first, first + npages);
    }
    forgetHoles(inode, first, FILE_PAGES_MAX);
    inode.extents.shiftLeft(first + npages, npages);
    dirtyBlocks(inode, first, sizePages(inode));
    fs.setSize(inode, inode.size - length);
    if (!xfs) return;
    yield* dropPageCache(inode, sizePages(inode));
    fs.freeBlocks(inode, sizePages(inode), FILE_PAGES_MAX);
  } finally {
    unlockBlocks(inode);
  }
}

/** FALLOC_FL_INSERT_RANGE: a hole, and all after it moves up. EINVAL where it is not of whole pages or not within the file; EFBIG, EIO, ENXIO. */
export function* daxInsert(inode: Inode, offset: number, length: number): Sleepable<void> {
  checkRange('fallocate', offset, length);
  const { fs } = inode;
  const xfs = fs.profile.allocator === 'near';
  const late = xfs || fs.platform.profile.fallocateBreaksFirst;
  if (!late) checkWhole(offset, length);
  const [first, npages] = [offset / 4096, length / 4096];
  if (!tryLockBlocks(inode)) yield* lockBlocks(inode);
  try {
    if (!late) refuseInsert(inode, offset, length);
    yield* breakLayouts(inode);
    refuseInsert(inode, offset, length);
    if (xfs) {
      yield* growTo(inode, inode.size + length);
      yield* prepareShift(inode, first);
    } else {
      yield* cleanRange(inode, first, FILE_PAGES_MAX);
      yield* dropPageCache(inode, first);
      fs.setSize(inode, inode.size + length);
    }
    forgetHoles(inode, first, FILE_PAGES_MAX);
    inode.extents.shiftRight(first, npages);
    dirtyBlocks(inode, first, sizePages(inode));
    fs.logged(inode);
  } finally {
    unlockBlocks(inode);
  }
}

/** xfs_prepare_shift(): all from the page before the range on is written back and unmapped, to as far beyond as the file is long. */
function* prepareShift(inode: Inode, first: number): Sleepable<void> {
  inode.fs.closed(inode);
  const from = Math.max(0, first - 1);
  const end = from + sizePages(inode);
  yield* cleanRange(inode, from, end);
  if (!unmapMappingNow(inode, from, end, false)) yield* unmapMappingRange(inode, from, end, false);
  entriesOf(inode).removeRange(from, end);
  if (inode.reflinked) cancelCopies(inode, from);
}

function refuseCollapse(inode: Inode, offset: number, length: number): void {
  checkWhole(offset, length);
  if (offset + length >= inode.size) throw new HmmError('EINVAL', 'fallocate', `a collapse of [${offset}, ${offset + length}) reaches the end of ${inode.name}`);
}

function refuseInsert(inode: Inode, offset: number, length: number): void {
  checkWhole(offset, length);
  if (inode.size + length > MAX_FILE_BYTES) throw new HmmError('EFBIG', 'fallocate', `${inode.size + length} bytes is more than a file can have`);
  if (offset >= inode.size) throw new HmmError('EINVAL', 'fallocate', `${inode.name} ends before the range to insert`);
}

function checkWhole(offset: number, length: number): void {
  if (offset % 4096 !== 0 || length % 4096 !== 0) throw new HmmError('EINVAL', 'fallocate', `offset ${offset}, length ${length}: not whole pages`);
}
