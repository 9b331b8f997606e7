/**
 * Blocks that files share, and their copies (fs/xfs/xfs_reflink.c). A write to a shared block goes to blocks set aside in the
 * file's *copy map* (XFS: the CoW fork), whole units of them at a time; once the bytes are there they move into the file's own map.
 *
 * What is set aside and not yet used stays with the file: a write there later goes to it, shared block or not.
 */
import { HmmError } from '../errno.ts';
import { pagesFor } from '../units.ts';
import { FILE_PAGES_MAX, type Extent } from './extents.ts';
import type { FileSystem, Iomap } from './fileSystem.ts';
import type { Inode } from './inode.ts';
import { placeXfs } from './placeXfs.ts';
import { dirtyBlocks } from './uncommitted.ts';

/** What a write to part of a file finds there. `copy`: blocks for a copy, not yet the file's; null: it may write in place, up to `end`. */
export interface CopyTarget {
  readonly copy: { readonly start: number; readonly npages: number; readonly pfn: number } | null;
  readonly end: number;
}

/** Pages `[to, to + npages)` of `dest` become those of `source` from `from` on, written blocks shared. */
export function shareRange(source: Inode, from: number, npages: number, dest: Inode, to: number): void {
  const { fs } = source;
  source.reflinked = true;
  dest.reflinked = true;
  for (let done = 0; done < npages; ) {
    const given = fs.iomap(source, from + done, from + npages);
    const taken = fs.iomap(dest, to + done, to + npages);
    const n = Math.min(given.start + given.npages - from, taken.start + taken.npages - to, npages) - done;
    const pfn = given.kind === 'mapped' ? given.pfn + (from + done - given.start) : -1;
    const same = given.kind === taken.kind && (pfn < 0 || pfn === taken.pfn + (to + done - taken.start));
    if (!same) {
      if (taken.kind !== 'hole') fs.dropBlocks(dest, to + done, to + done + n);
      if (pfn >= 0) {
        fs.sharing.share(pfn, n);
        dest.extents.insert(to + done, pfn, n, 'mapped');
      }
      fs.logged(dest);
    }
    done += n;
  }
  dirtyBlocks(dest, to, to + npages);
}

/** xfs_reflink_allocate_cow(): blocks for a write to `[index, end)` where some are shared. Null where there is no room. */
export function copyTarget(inode: Inode, index: number, end: number): CopyTarget | null {
  const { fs } = inode;
  const map = fs.iomap(inode, index, end);
  let upTo = Math.min(map.start + map.npages, end);
  let found = inode.copies.next(index);
  if (found === null || found.block > index) {
    if (found !== null) upTo = Math.min(upTo, found.block);
    if (map.kind !== 'mapped') return { copy: null, end: upTo };
    const pfn = map.pfn + (index - map.start);
    const shared = fs.sharing.firstShared(pfn, upTo - index);
    if (shared === null) return { copy: null, end: upTo };
    if (shared.pfn > pfn) return { copy: null, end: index + (shared.pfn - pfn) };
    upTo = index + shared.npages;
    if (!fs.hasRoom(inode, index, upTo)) return null;
    const placed = placeXfs(fs, inode, inode.copies, index, upTo - index, { unit: fs.profile.hintPages, rounds: true });
    if (placed === null) return null;
    inode.copies.insert(placed.index, placed.pfn, placed.npages, 'unwritten');
    found = inode.copies.next(index) as Extent;
  }
  const npages = Math.min(found.block + found.npages, upTo) - index;
  inode.copies.convert(index, npages, 'mapped');
  return { copy: { start: index, npages, pfn: found.pfn + (index - found.block) }, end: index + npages };
}

/** xfs_reflink_end_cow(): the copies in `[index, end)` that have bytes become the file's own. */
export function endCopy(inode: Inode, index: number, end: number): void {
  for (const { block, pfn, npages } of copiesWith(inode, index, end, 'mapped')) {
    inode.copies.punch(block, npages);
    inode.fs.dropBlocks(inode, block, block + npages);
    inode.extents.insert(block, pfn, npages, 'mapped');
  }
}

/** xfs_reflink_cancel_cow_range(): what is set aside for `[index, end)` goes back. */
export function cancelCopies(inode: Inode, index = 0, end = FILE_PAGES_MAX): void {
  for (const { pfn, npages } of inode.copies.punch(index, end - index)) inode.fs.allocator.freeLater(pfn, npages);
}

/** xfs_reflink_clear_inode_flag(): a file without a shared block needs no copies. */
export function forgetSharing(inode: Inode): void {
  if (!inode.reflinked) return;
  for (const { pfn, npages, state } of inode.extents) if (state === 'mapped' && inode.fs.sharing.firstShared(pfn, npages) !== null) return;
  cancelCopies(inode);
  inode.reflinked = false;
}

/** `map`, cut where the first run of blocks ends that are shared, or not. */
export function upToSharing(fs: FileSystem, map: Iomap, index: number): Iomap {
  if (map.kind !== 'mapped') return map;
  const pfn = map.pfn + (index - map.start);
  const run = fs.sharing.firstShared(pfn, map.start + map.npages - index);
  if (run === null) return map;
  const shared = run.pfn === pfn;
  const npages = shared ? run.npages : run.pfn - pfn;
  return { ...map, start: index, pfn, npages, shared };
}

/** A piece of a file's map, of blocks that are all shared with others, or none. */
export interface MappedPiece {
  readonly index: number;
  readonly npages: number;
  readonly pfn: number;
  readonly flags: readonly ('unwritten' | 'shared')[];
}

/** What FIEMAP tells of a file: its extents in order, cut where blocks begin to be shared, or cease. */
export function mappedPieces(inode: Inode): MappedPiece[] {
  const found: MappedPiece[] = [];
  for (const { block, npages, state } of inode.extents) {
    for (let at = block; at < block + npages; ) {
      const map = upToSharing(inode.fs, inode.fs.iomap(inode, at, block + npages), at);
      const end = Math.min(map.start + map.npages, block + npages);
      found.push({ index: at, npages: end - at, pfn: map.pfn + (at - map.start), flags: state === 'unwritten' ? ['unwritten'] : map.shared ? ['shared'] : [] });
      at = end;
    }
  }
  return found;
}

function copiesWith(inode: Inode, index: number, end: number, state: string): Extent[] {
  const found: Extent[] = [];
  for (let extent = inode.copies.next(index); extent !== null && extent.block < end; extent = inode.copies.next(extent.block + extent.npages)) {
    const start = Math.max(index, extent.block);
    const npages = Math.min(end, extent.block + extent.npages) - start;
    if (extent.state === state) found.push({ block: start, pfn: extent.pfn + (start - extent.block), npages, state: extent.state });
  }
  return found;
}

/** generic_remap_checks(): may bytes `[from, from + bytes)` of `source` become those of `dest` from `to` on? EINVAL, EFBIG. */
export function checkClone(source: Inode, dest: Inode, from: number, bytes: number, to: number): void {
  const refuse = (why: string): never => {
    throw new HmmError('EINVAL', 'clone', why);
  };
  if (!Number.isSafeInteger(from) || !Number.isSafeInteger(bytes) || !Number.isSafeInteger(to) || from < 0 || bytes < 0 || to < 0) refuse(`${from}, ${bytes}, ${to} is no range of bytes`);
  if (from % 4096 !== 0 || to % 4096 !== 0) refuse(`offsets ${from} and ${to} are not whole pages`);
  if (from >= source.size || from + bytes > source.size) refuse(`the range ends beyond ${source.name}`);
  const toEnd = from + bytes === source.size;
  if (!toEnd && bytes % 4096 !== 0) refuse(`length ${bytes} is not whole pages`);
  const whole = pagesFor(bytes) * 4096;
  if (source === dest && to + whole > from && to < from + whole) refuse('the ranges overlap');
  if (pagesFor(to + bytes) > FILE_PAGES_MAX) throw new HmmError('EFBIG', 'clone', 'the range ends beyond the largest file');
}
