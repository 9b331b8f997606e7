/**
 * read(2), write(2), truncate(2) and fsync(2) of files in the page cache (mm/filemap.c, fs/iomap, fs/ext4/file.c, fs/xfs/xfs_file.c).
 * Direct ones go past it: what is dirty in their range is written back first, and a write leaves none of it in the cache.
 */
import { HmmError } from '../../errno.ts';
import { FILE_PAGES_MAX } from '../../fs/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import { alignUp, pagesFor } from '../../units.ts';
import type { Folio } from './cache.ts';
import type { InodeCache } from './inodeCache.ts';
import { asyncReadahead, folioOrder, syncReadahead, type Readahead } from './readahead.ts';
import { invalidatePages, truncatePagecache } from './truncate.ts';

const SECTION = 512;
const MAX_BYTES = 2 ** 44;
/** folios that a read takes at a time */
const BATCH_MAX = 15;

/** filemap_read() */
export function* cachedRead(file: InodeCache, ra: Readahead, offset: number, target: Uint8Array): Sleepable<number> {
  const { sched, arena } = file.cache.platform;
  const { rwsem } = file.inode;
  if (!rwsem.tryRead(sched)) yield* rwsem.read(sched);
  try {
    const length = Math.max(0, Math.min(target.length, file.size - offset));
    const end = pagesFor(offset + length);
    for (let index = Math.floor(offset / 4096); index < end; ) {
      const upTo = readBatch(file, ra, index, end);
      for (; index < upTo; index++) {
        const folio = file.folioFor(index, 0);
        const from = Math.max(0, offset - index * 4096);
        const at = index * 4096 + from - offset;
        arena.content.read((folio.pfn + (index - folio.index)) * 4096 + from, target, at, Math.min(length - at, 4096 - from));
      }
      ra.prev = upTo - 1;
    }
    return length;
  } finally {
    rwsem.readUnlock(sched);
  }
}

/** filemap_get_pages(): brings in what is missing at `index`. Returns where the pages end that are there in a row; a marked folio ends them. */
function readBatch(file: InodeCache, ra: Readahead, index: number, end: number): number {
  if (file.cache.get(index) === undefined) syncReadahead(file, ra, index, end - index);
  let upTo = index;
  for (let folios = 0; upTo < end && folios < BATCH_MAX; folios++) {
    const folio = file.cache.get(upTo);
    if (folio === undefined) break;
    upTo = folio.index + 2 ** folio.order;
    if (!folio.readahead) continue;
    asyncReadahead(file, ra, folio, folio.index, end - folio.index);
    break;
  }
  return Math.min(end, Math.max(upTo, index + 1));
}

/** generic_perform_write(), iomap_file_buffered_write(): bytes written. ENOSPC where not one was. */
export function* cachedWrite(file: InodeCache, offset: number, source: Uint8Array): Sleepable<number> {
  const { inode } = file;
  const { sched } = file.cache.platform;
  const end = offset + source.length;
  if (end > MAX_BYTES) throw new HmmError('EFBIG', 'write', `${end} bytes is more than a file can have`);
  if (source.length === 0) return 0;
  if (!inode.rwsem.tryWrite(sched)) yield* inode.rwsem.write(sched);
  try {
    if (offset > file.size) yield* zeroTail(file, offset);
    let done = 0;
    while (done < source.length) {
      const n = writePart(file, offset + done, source, done);
      if (n === 0) break;
      done += n;
    }
    if (done === 0) throw new HmmError('ENOSPC', 'write', `no room for ${source.length} bytes at ${offset} of ${inode.name}`);
    return done;
  } finally {
    inode.rwsem.writeUnlock(sched);
  }
}

/** What goes into one folio; 0 where there is no room. */
function writePart(file: InodeCache, offset: number, source: Uint8Array, at: number): number {
  const { inode } = file;
  const { profile, arena } = file.cache.platform;
  const index = Math.floor(offset / 4096);
  const left = source.length - at;
  // A folio as large as what is written, as far as the index is aligned and within 2 MiB.
  const chunk = Math.min(left, 2 ** 21 - (offset % 2 ** 21));
  const order = profile.largeFolioWrites && file.largeFolios && chunk >= 4096 ? folioOrder(index, Math.min(9, Math.floor(Math.log2(chunk / 4096))), Infinity) : 0;
  const folio = file.cache.get(index);
  const pages = folio === undefined ? orderThatFits(file, index, order) : folio.order;
  const first = folio?.index ?? index;
  const n = Math.min(left, (first + 2 ** pages) * 4096 - offset);
  try {
    file.prepareWrite(index, pagesFor(offset + n));
  } catch (error) {
    if (HmmError.is(error, 'ENOSPC')) return 0;
    throw error;
  }
  const target = folio ?? file.folioFor(index, pages);
  if (!arena.content.write(target.pfn * 4096 + (offset - target.index * 4096), source, at, n)) throw new HmmError('ENOMEM', 'write', 'no room in the arena for the bytes');
  target.dirty = true;
  if (offset + n > inode.size) inode.fs.setSize(inode, offset + n);
  return n;
}

/** The largest order up to `order` whose pages are all absent. */
function orderThatFits(file: InodeCache, index: number, order: number): number {
  for (let at = order; at > 0; at--) {
    let free = true;
    for (let i = 1; free && i < 2 ** at; i++) free = file.cache.get(index + i) === undefined;
    if (free) return at;
  }
  return 0;
}

/**
 * From the end of the file to the new end of its page, what there was reads zero. XFS does it where there are written blocks, and what
 * is dirty over others it passes over, or writes back first; ext4 leaves it, or does it where the page is dirty. True when XFS did.
 */
function* zeroTail(file: InodeCache, upTo: number): Sleepable<boolean> {
  const { inode } = file;
  const { extendZeroes } = file.cache.platform.profile;
  const from = file.size;
  const to = Math.min(upTo, alignUp(from, 4096));
  if (to <= from) return false;
  if (!inode.fs.profile.zeroesOnExtend) {
    const folio = file.cache.get(Math.floor(from / 4096));
    if (extendZeroes && folio?.dirty === true) zeroIn(file, folio, from, to);
    return false;
  }
  return yield* zeroBlocks(file, from, Math.max(to, upTo), to);
}

/** iomap_zero_range() of `[from, end)` as far as `to`, in one page. True when there was something to zero. */
function* zeroBlocks(file: InodeCache, from: number, end: number, to: number): Sleepable<boolean> {
  const { inode } = file;
  const index = Math.floor(from / 4096);
  const isMapped = (): boolean => inode.fs.iomap(inode, index, index + 1).kind === 'mapped';
  if (!isMapped() && file.cache.platform.profile.extendZeroes) yield* file.writeBack(from, end);
  if (!isMapped()) return false;
  const folio = file.folioFor(index, 0);
  zeroIn(file, folio, from, to);
  folio.dirty = true;
  return true;
}

function zeroIn(file: InodeCache, folio: Folio, from: number, to: number): void {
  file.cache.platform.arena.content.zero(folio.pfn * 4096 + (from - folio.index * 4096), to - from);
}

/** ext4_block_truncate_page(), xfs_truncate_page(): the rest of the page that holds the new end is zero on the device too, in time. */
function* zeroLastPage(file: InodeCache, size: number): Sleepable<void> {
  if (size % 4096 === 0) return;
  const end = alignUp(size, 4096);
  if (file.inode.fs.profile.zeroesOnExtend) yield* zeroBlocks(file, size, end, end);
  else if (file.inode.fs.iomap(file.inode, Math.floor(size / 4096), end / 4096).kind === 'mapped') {
    const folio = file.folioFor(Math.floor(size / 4096), 0);
    zeroIn(file, folio, size, end);
    folio.dirty = true;
  }
}

/** O_DIRECT: offset and length in sectors. EINVAL. */
export function* directRead(file: InodeCache, offset: number, target: Uint8Array): Sleepable<number> {
  const { content } = file.cache.platform.arena;
  const length = Math.max(0, Math.min(target.length, file.size - offset));
  if (length > 0) yield* file.writeBack(offset, offset + target.length);
  checkSectors(offset, target.length);
  for (let done = 0; done < length; ) {
    const index = Math.floor((offset + done) / 4096);
    const within = offset + done - index * 4096;
    const n = Math.min(length - done, 4096 - within);
    const map = file.inode.fs.iomap(file.inode, index, index + 1);
    if (map.kind === 'mapped') content.read((map.pfn + (index - map.start)) * 4096 + within, target, done, n);
    else target.fill(0, done, done + n);
    done += n;
  }
  return length;
}

export function* directWrite(file: InodeCache, offset: number, source: Uint8Array): Sleepable<number> {
  const { inode } = file;
  const { content } = file.cache.platform.arena;
  const { sched } = file.cache.platform;
  if (source.length === 0) return 0;
  if (inode.fs.profile.directChecksFirst) checkSectors(offset, source.length);
  if (!inode.rwsem.tryWrite(sched)) yield* inode.rwsem.write(sched);
  try {
    const end = offset + source.length;
    yield* file.writeBack(offset, end);
    yield* invalidatePages(file, Math.floor(offset / 4096), pagesFor(end));
    checkSectors(offset, source.length);
    const first = Math.floor(offset / 4096);
    const { hintPages } = inode.fs.profile;
    if (hintPages > 1) file.prepareWrite(first, pagesFor(end));
    file.writeBlocks(first, pagesFor(end) - first, (paddr, index) => {
      const from = Math.max(0, offset - index * 4096);
      const at = index * 4096 + from - offset;
      return content.write(paddr + from, source, at, Math.min(source.length - at, 4096 - from));
    });
    if (end > inode.size) inode.fs.setSize(inode, end);
    file.diskSize = Math.max(file.diskSize, end);
    return source.length;
  } finally {
    inode.rwsem.writeUnlock(sched);
  }
}

function checkSectors(offset: number, length: number): void {
  if (offset % SECTION !== 0 || length % SECTION !== 0) throw new HmmError('EINVAL', 'direct I/O', `${offset} and ${length} are not whole sectors`);
}

/** ftruncate(2), up, down or as it is. EINVAL, EFBIG. */
export function* cachedTruncate(file: InodeCache, size: number): Sleepable<void> {
  if (!Number.isSafeInteger(size) || size < 0) throw new HmmError('EINVAL', 'truncate', `size ${size} is not a whole number of bytes`);
  if (size > MAX_BYTES) throw new HmmError('EFBIG', 'truncate', `${size} bytes is more than a file can have`);
  const { inode } = file;
  const { sched } = file.cache.platform;
  if (!inode.rwsem.tryWrite(sched)) yield* inode.rwsem.write(sched);
  try {
    if (!inode.invalidateLock.tryWrite(sched)) yield* inode.invalidateLock.write(sched);
    try {
      yield* setFileSize(file, size);
    } finally {
      inode.invalidateLock.writeUnlock(sched);
    }
  } finally {
    inode.rwsem.writeUnlock(sched);
  }
}

/**
 * ext4_setattr() and xfs_setattr_size(). XFS writes the page of the new end back before it shortens a file, and what the device does
 * not have yet, zeroes beyond the old end too, before it goes on to be longer.
 */
export function* setFileSize(file: InodeCache, size: number): Sleepable<void> {
  const { inode } = file;
  const before = inode.size;
  const { zeroesOnExtend } = inode.fs.profile;
  if (zeroesOnExtend && size === 0 && before === 0 && inode.extents.count === 0) return;
  const zeroed = size > before && (yield* zeroTail(file, size));
  if (zeroesOnExtend && size <= before && file.cache.platform.profile.truncateFlushesEnd) yield* file.writeBack(size, size + 1);
  if (zeroesOnExtend && size < before) yield* zeroLastPage(file, size);
  if (size !== before) inode.fs.setSize(inode, size);
  yield* truncatePagecache(file, size);
  if (!zeroesOnExtend && size < before) yield* zeroLastPage(file, size);
  if (zeroesOnExtend && (zeroed || (size > file.diskSize && before !== file.diskSize))) yield* file.writeBack(file.diskSize, size);
  file.diskSize = zeroesOnExtend && size > before ? size : Math.min(file.diskSize, size);
  if (size <= before) inode.fs.freeBlocks(inode, pagesFor(size), FILE_PAGES_MAX);
}

/** fsync(2), msync(2): dirty pages of `[index, end)` have reached the device, and metadata with them. */
export function* cachedSync(file: InodeCache, index: number, end: number): Sleepable<void> {
  yield* file.writeBack(index * 4096, Math.min(end, FILE_PAGES_MAX) * 4096);
  file.inode.fs.commit(file.inode);
  if (!file.cache.lostWrites) return;
  file.cache.lostWrites = false;
  throw new HmmError('EIO', 'fsync', `a written page of ${file.inode.name} was lost`);
}
