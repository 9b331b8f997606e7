/**
 * Files that share blocks: FICLONE and FICLONERANGE (fs/remap_range.c; fs/xfs/xfs_reflink.c: xfs_reflink_remap_prep,
 * xfs_reflink_remap_blocks).
 *
 * Both files are locked and unmapped as a whole first, the one that is older first, and pages of either that are still referenced are waited for.
 * That comes before the arguments are looked at. Offsets and lengths are bytes.
 */
import { HmmError } from '../errno.ts';
import { FILE_PAGES_MAX, checkClone, shareRange, type Inode } from '../fs/index.ts';
import { WaitQueue, type Sleepable } from '../sched/index.ts';
import { pagesFor, pagesOfLevel } from '../units.ts';
import { DAX_EMPTY, DAX_ZERO, entriesOf, entryFlags, entryPfn } from './entries.ts';
import { forgetRange } from './falloc.ts';
import { breakLayouts, unmapAll, zeroBytes } from './file.ts';
import { requireUp } from './gone.ts';
import { tiePages } from './ties.ts';
import { cleanRange } from './writeback.ts';

/** What is cloned: `length` 0 is all from `from` on. */
export interface CloneRange {
  readonly from: number;
  readonly length: number;
  readonly to: number;
}

/** Makes a range of `dest` share the blocks of one of `source`. EXDEV, EOPNOTSUPP, EINVAL, EIO, ENXIO. */
export function* daxClone(source: Inode, dest: Inode, range: CloneRange): Sleepable<void> {
  if (source.fs !== dest.fs) throw new HmmError('EXDEV', 'clone', `${source.name} and ${dest.name} are on two file systems`);
  if (!source.fs.reflink) throw new HmmError('EOPNOTSUPP', 'clone', `${source.fs.name} shares no blocks`);
  requireUp(source, 'clone');
  yield* withBothUnmapped(source, dest, () => remap(source, dest, range));
}

/** What a dedupe asks before it locks anything: EXDEV; EINVAL where files share no blocks; EIO. */
export function requireDedupes(source: Inode, dest: Inode): void {
  if (source.fs !== dest.fs) throw new HmmError('EXDEV', 'dedupe', `${source.name} and ${dest.name} are on two file systems`);
  if (!source.fs.reflink) throw new HmmError('EINVAL', 'dedupe', `${source.fs.name} shares no blocks`);
  requireUp(source, 'dedupe');
}

/** Carries `change` out with both files locked for writing and mapped nowhere. */
export function* withBothUnmapped(source: Inode, dest: Inode, change: () => Sleepable<void>): Sleepable<void> {
  const { sched } = source.fs.platform;
  const inodes = source === dest ? [source] : [source, dest];
  if (!source.fs.platform.bugs.has('clone-locks-by-argument')) inodes.sort((a, b) => a.id - b.id);
  for (const inode of inodes) yield* inode.rwsem.write(sched);
  try {
    yield* lockUnmapped(inodes);
    try {
      yield* change();
    } finally {
      for (const inode of inodes) inode.invalidateLock.writeUnlock(sched);
    }
  } finally {
    for (const inode of inodes) inode.rwsem.writeUnlock(sched);
  }
}

/** xfs_mmaplock_two_inodes_and_break_dax_layout(). */
function* lockUnmapped([first, second]: readonly Inode[]): Sleepable<void> {
  if (first === undefined) return;
  const { sched, records } = first.fs.platform;
  for (;;) {
    yield* first.invalidateLock.write(sched);
    yield* breakLayouts(first);
    if (second === undefined) return;
    yield* second.invalidateLock.write(sched);
    const busy = yield* unmapAll(second);
    if (busy < 0) return;
    second.invalidateLock.writeUnlock(sched);
    first.invalidateLock.writeUnlock(sched);
    yield* new WaitQueue(`a pinned page of ${second.name}`, '*').wait(sched, () => records.refs(busy) <= 1);
  }
}

function* remap(source: Inode, dest: Inode, { from, length, to }: CloneRange): Sleepable<void> {
  const bytes = length === 0 ? source.size - from : length;
  if (bytes === 0 && length === 0) return;
  checkClone(source, dest, from, bytes, to);
  const [first, npages, at] = [from / 4096, pagesFor(bytes), to / 4096];
  yield* cleanRange(source, first, first + npages);
  yield* cleanRange(dest, at, at + npages);
  if (bytes % 4096 !== 0 && to + bytes < dest.size) throw new HmmError('EINVAL', 'clone', `the last page of the range is not whole, and ${dest.name} goes on after it`);
  if (to > dest.size) zeroBytes(dest, dest.size, Math.min(to, pagesFor(dest.size) * 4096));
  yield* forgetRange(dest, Math.min(to, dest.size), to + bytes);
  tieSharing(source, dest);
  shareRange(source, first, npages, dest, at);
  if (to + bytes > dest.size) dest.fs.setSize(dest, to + bytes);
}

/** Before two files share their first blocks. */
export function tieSharing(source: Inode, dest: Inode): void {
  for (const inode of [source, dest]) if (!inode.reflinked) tieEntries(inode);
}

/** From now on it is kept whom its pages belong to: those that have an entry, to this file. */
function tieEntries(inode: Inode): void {
  entriesOf(inode).forEach(0, FILE_PAGES_MAX, (base, level, entry) => {
    if ((entryFlags(entry) & (DAX_ZERO | DAX_EMPTY)) === 0) tiePages(inode, base, entryPfn(entry), pagesOfLevel(level), false);
  });
}
