/**
 * fallocate(2) of files in the page cache (ext4_fallocate and xfs_file_fallocate, without DAX).
 *
 * What differs between the two: ext4 keeps the pages that the range only touches and writes back before it punches; XFS writes back
 * and drops every page that it touches, sets the size by a truncate, and frees before it moves.
 */
import { HmmError } from '../../errno.ts';
import { FILE_PAGES_MAX, type Inode } from '../../fs/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import { alignDown, alignUp, pagesFor } from '../../units.ts';
import type { FallocMode } from '../file.ts';
import type { InodeCache } from './inodeCache.ts';
import { setFileSize } from './io.ts';
import { truncatePagecache, truncatePagecacheRange } from './truncate.ts';

export function* cachedFallocate(file: InodeCache, mode: FallocMode, offset: number, length: number): Sleepable<void> {
  if (length <= 0 || offset < 0) throw new HmmError('EINVAL', 'fallocate', `offset ${offset} and length ${length}`);
  const { inode } = file;
  const { sched } = file.cache.platform;
  if (!inode.rwsem.tryWrite(sched)) yield* inode.rwsem.write(sched);
  try {
    if (!inode.invalidateLock.tryWrite(sched)) yield* inode.invalidateLock.write(sched);
    try {
      yield* change(file, mode, offset, length);
    } finally {
      inode.invalidateLock.writeUnlock(sched);
    }
  } finally {
    inode.rwsem.writeUnlock(sched);
  }
}

function* change(file: InodeCache, mode: FallocMode, offset: number, length: number): Sleepable<void> {
  switch (mode) {
    case 'alloc':
    case 'keep':
      return yield* allocate(file, offset, length, mode === 'keep');
    case 'punch':
      return yield* punch(file, offset, length);
    case 'zero':
      return yield* zeroRange(file, offset, length);
    case 'collapse':
      return yield* collapse(file, offset, length);
    case 'insert':
      return yield* insert(file, offset, length);
    default:
      if (!file.inode.fs.profile.unshares) throw new HmmError('EOPNOTSUPP', 'fallocate', `${file.inode.fs.name} does not ${mode}`);
      if (offset + length > file.size) yield* setFileSize(file, offset + length);
  }
}

/** The new size, by a truncate where the file system does it so. */
function* grow(file: InodeCache, size: number): Sleepable<void> {
  const { inode } = file;
  if (size <= inode.size) return;
  if (inode.fs.profile.zeroesOnExtend) yield* setFileSize(file, size);
  else inode.fs.setSize(inode, size);
}

function* allocate(file: InodeCache, offset: number, length: number, keepSize: boolean): Sleepable<void> {
  const { inode } = file;
  const { hintPages } = inode.fs.profile;
  const first = alignDown(Math.floor(offset / 4096), hintPages);
  const end = alignUp(pagesFor(offset + length), hintPages);
  inode.fs.allocate(inode, first, end - first);
  inode.preallocated = true;
  if (!keepSize) yield* grow(file, offset + length);
}

/** xfs_flush_unmap_range(): the pages that the range touches are written back and dropped. */
export function* flushUnmap(file: InodeCache, offset: number, length: number): Sleepable<void> {
  const start = alignDown(offset, 4096);
  const end = alignUp(offset + length, 4096);
  yield* file.writeBack(start, end);
  yield* truncatePagecacheRange(file, start, end);
}

function* punch(file: InodeCache, offset: number, length: number): Sleepable<void> {
  const { inode } = file;
  const xfs = inode.fs.profile.punchDrops === 'touched';
  if (!xfs && offset >= inode.size) return;
  const end = xfs ? offset + length : Math.min(offset + length, inode.size - (inode.size % 4096) + 4096);
  if (xfs) yield* flushUnmap(file, offset, length);
  else if (inode.fs.platform.profile.punchWritesBack) yield* file.writeBack(offset, end);
  const first = pagesFor(offset);
  const last = Math.max(first, Math.floor(end / 4096));
  if (!xfs && last > first) yield* truncatePagecacheRange(file, first * 4096, last * 4096);
  zeroEdges(file, offset, end);
  inode.fs.freeBlocks(inode, first, last);
}

function* zeroRange(file: InodeCache, offset: number, length: number): Sleepable<void> {
  const { inode } = file;
  const { fs } = inode;
  const xfs = fs.profile.punchDrops === 'touched';
  const end = offset + length;
  const first = pagesFor(offset);
  const last = Math.max(first, Math.floor(end / 4096));
  if (xfs) yield* flushUnmap(file, offset, length);
  if (fs.profile.zeroRange === 'replaced') fs.freeBlocks(inode, first, last);
  fs.allocate(inode, Math.floor(offset / 4096), pagesFor(end) - Math.floor(offset / 4096));
  if (!xfs) {
    if (end > inode.size) fs.setSize(inode, end);
    if (last > first) yield* truncatePagecacheRange(file, first * 4096, last * 4096);
  }
  zeroEdges(file, offset, end);
  fs.makeUnwritten(inode, first, last);
  if (xfs) yield* grow(file, end);
}

/** Pages that `[offset, end)` cuts read zero there; they are dirty if there was anything to zero. */
function zeroEdges(file: InodeCache, offset: number, end: number): void {
  const first = pagesFor(offset) * 4096;
  const last = Math.max(first, alignDown(end, 4096));
  zeroCached(file, offset, Math.min(end, first));
  zeroCached(file, Math.max(offset, last), end);
}

function zeroCached(file: InodeCache, from: number, to: number): void {
  const { inode } = file;
  if (to <= from || from >= alignUp(inode.size, 4096)) return;
  const index = Math.floor(from / 4096);
  if (file.cache.get(index) === undefined && inode.fs.iomap(inode, index, index + 1).kind !== 'mapped') return;
  const folio = file.folioFor(index, 0);
  file.cache.platform.arena.content.zero(folio.pfn * 4096 + (from - folio.index * 4096), to - from);
  folio.dirty = true;
}

/** Whole blocks within the file. EINVAL. */
function checkShift({ size }: InodeCache, offset: number, length: number, mode: FallocMode): void {
  if (offset % 4096 !== 0 || length % 4096 !== 0) throw new HmmError('EINVAL', 'fallocate', `${mode} of parts of blocks`);
  if (mode === 'collapse' ? offset + length >= size : offset >= size) throw new HmmError('EINVAL', 'fallocate', `${mode} beyond the end of the file`);
}

function* collapse(file: InodeCache, offset: number, length: number): Sleepable<void> {
  const { inode } = file;
  checkShift(file, offset, length, 'collapse');
  const xfs = inode.fs.profile.punchDrops === 'touched';
  const size = inode.size - length;
  if (xfs) {
    yield* flushUnmap(file, offset, length);
    yield* prepareShift(file, offset);
  } else {
    yield* file.writeBack(offset, offset + 1);
    yield* file.writeBack(offset + length, FILE_PAGES_MAX * 4096);
    yield* truncatePagecache(file, offset);
  }
  shift(inode, offset / 4096, (offset + length) / 4096, -length / 4096);
  if (xfs) yield* setFileSize(file, size);
  else inode.fs.setSize(inode, size);
}

function* insert(file: InodeCache, offset: number, length: number): Sleepable<void> {
  const { inode } = file;
  checkShift(file, offset, length, 'insert');
  const xfs = inode.fs.profile.punchDrops === 'touched';
  if (xfs) {
    yield* setFileSize(file, inode.size + length);
    yield* prepareShift(file, offset);
  } else {
    yield* file.writeBack(offset, FILE_PAGES_MAX * 4096);
    yield* truncatePagecache(file, offset);
    inode.fs.setSize(inode, inode.size + length);
  }
  shift(inode, offset / 4096, offset / 4096, length / 4096);
}

/** xfs_prepare_shift(): from the block before `offset` on, for the length of the file, everything is written back and dropped. */
function* prepareShift(file: InodeCache, offset: number): Sleepable<void> {
  yield* flushUnmap(file, Math.max(0, offset - 4096), file.size);
}

/** The blocks from page `from` on move by `delta` pages; what lies in `[index, from)` goes. */
function shift(inode: Inode, index: number, from: number, delta: number): void {
  const { fs } = inode;
  fs.freeBlocks(inode, index, from);
  const pieces = inode.extents.punch(from, FILE_PAGES_MAX - from);
  for (const { block, pfn, npages, state } of pieces) inode.extents.insert(block + delta, pfn, npages, state);
  inode.metadataDirty = true;
}
