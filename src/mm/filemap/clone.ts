/**
 * FICLONE and FICLONERANGE of files in the page cache (fs/remap_range.c, fs/xfs/xfs_reflink.c): both ranges are written back, what maps
 * the target's pages is unmapped and they go, then the blocks are shared. A later write gets blocks of its own when it is written back.
 */
import { HmmError } from '../../errno.ts';
import { checkClone, shareRange, type Inode, type Mappable } from '../../fs/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import { pagesFor } from '../../units.ts';
import { flushUnmap } from './falloc.ts';
import { inodeCacheOf, type InodeCache } from './inodeCache.ts';

/** `length` 0: all from `from` on. EXDEV, EOPNOTSUPP, EINVAL. */
export function* cachedClone(dest: InodeCache, source: Mappable, from: number, length: number, to: number): Sleepable<void> {
  const { inode } = dest;
  if (!('fs' in source) || (source as Inode).fs !== inode.fs) throw new HmmError('EXDEV', 'clone', `${source.name} is on another file system`);
  const given = source as Inode;
  if (!inode.fs.reflink) throw new HmmError('EOPNOTSUPP', 'clone', `${inode.fs.name} shares no blocks`);
  const { sched } = inode.fs.platform;
  const inodes = given === inode ? [inode] : [given, inode].sort((a, b) => a.id - b.id);
  for (const one of inodes) yield* one.rwsem.write(sched);
  for (const one of inodes) yield* one.invalidateLock.write(sched);
  try {
    const bytes = length === 0 ? given.size - from : length;
    if (bytes === 0 && length === 0) return;
    checkClone(given, inode, from, bytes, to);
    yield* inodeCacheOf(given).writeBack(from, from + bytes);
    yield* dest.writeBack(to, to + bytes);
    if (bytes % 4096 !== 0 && to + bytes < inode.size) throw new HmmError('EINVAL', 'clone', `the last page of the range is not whole, and ${inode.name} goes on after it`);
    yield* flushUnmap(dest, to, bytes);
    shareRange(given, from / 4096, pagesFor(bytes), inode, to / 4096);
    if (to + bytes > inode.size) inode.fs.setSize(inode, to + bytes);
    dest.diskSize = Math.max(dest.diskSize, to + bytes);
  } finally {
    for (const one of inodes) one.invalidateLock.writeUnlock(sched);
    for (const one of inodes) one.rwsem.writeUnlock(sched);
  }
}
