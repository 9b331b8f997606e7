/**
 * FIDEDUPERANGE on DAX files (fs/remap_range.c: vfs_dedupe_file_range_one, generic_remap_file_range_prep; fs/dax.c:
 * dax_dedupe_file_range_compare): a clone of what is the same already, and nothing at all where it is not.
 *
 * Sizes never change, and neither does a byte. Files are locked, unmapped and written back as for a clone. Offsets and lengths are bytes.
 */
import { HmmError } from '../errno.ts';
import { shareRange, type Inode } from '../fs/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { requireDedupes, tieSharing, withBothUnmapped, type CloneRange } from './clone.ts';
import { forgetRange } from './falloc.ts';
import { cleanRange } from './writeback.ts';

/** True: the range of `dest` has the blocks of that of `source` now. False: their bytes differ (FILE_DEDUPE_RANGE_DIFFERS). EXDEV, EINVAL, EIO, ENXIO. */
export function* daxDedupe(source: Inode, dest: Inode, range: CloneRange): Sleepable<boolean> {
  requireDedupes(source, dest);
  let same = false;
  yield* withBothUnmapped(source, dest, function* dedupe(): Sleepable<void> {
    const { from, to } = range;
    const length = checkDedupe(source, dest, range);
    if (length === 0) {
      same = true;
      return;
    }
    const [first, npages, at] = [from / 4096, length / 4096, to / 4096];
    yield* cleanRange(source, first, first + npages);
    yield* cleanRange(dest, at, at + npages);
    same = sameBytes(source, first, dest, at, npages);
    if (!same) return;
    yield* forgetRange(dest, to, to + length);
    tieSharing(source, dest);
    shareRange(source, first, npages, dest, at);
  });
  return same;
}

/** generic_remap_checks(), generic_remap_check_len(): bytes in whole pages, those of a last page that is not whole left out. */
function checkDedupe(source: Inode, dest: Inode, { from, length, to }: CloneRange): number {
  const refuse = (why: string): never => {
    throw new HmmError('EINVAL', 'dedupe', why);
  };
  if (![from, length, to].every((n) => Number.isSafeInteger(n) && n >= 0)) refuse(`${from}, ${length}, ${to} is no range of bytes`);
  if (from % 4096 !== 0 || to % 4096 !== 0) refuse(`offsets ${from} and ${to} are not whole pages`);
  if (from + length > source.size) refuse(`the range ends beyond ${source.name}`);
  if (to + length > dest.size) refuse(`the range ends beyond ${dest.name}`);
  if (source === dest && to + length > from && to < from + length) refuse('the ranges overlap');
  return length - (length % 4096);
}

function sameBytes(source: Inode, first: number, dest: Inode, at: number, npages: number): boolean {
  const one = new Uint8Array(4096);
  const other = new Uint8Array(4096);
  for (let i = 0; i < npages; i++) {
    readPage(source, first + i, one);
    readPage(dest, at + i, other);
    for (let j = 0; j < 4096; j++) if (one[j] !== other[j]) return false;
  }
  return true;
}

function readPage(inode: Inode, index: number, target: Uint8Array): void {
  const map = inode.fs.iomap(inode, index, index + 1);
  if (map.kind === 'mapped') inode.fs.platform.arena.content.read((map.pfn + (index - map.start)) * 4096, target, 0, 4096);
  else target.fill(0);
}
