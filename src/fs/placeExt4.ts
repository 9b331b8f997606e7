/**
 * Where ext4 puts new blocks (fs/ext4/mballoc.c: ext4_mb_new_blocks, ext4_mb_normalize_request, preallocation spaces, v6.1).
 *
 * A write looks ahead: the request grows to a window of the file, and what it does not use of the window is kept for the file
 * (*preallocation*) until blocks are taken away or the file is closed. Files of up to 16 blocks take theirs from one such
 * space of all of them. fallocate(2) says what it wants and has nothing kept.
 */
import { alignDown, type Pfn } from '../units.ts';
import type { FileSystem } from './fileSystem.ts';
import { sizePages, type Inode } from './inode.ts';
import { GROUP_PAGES, searchGroups } from './mballoc.ts';
import type { Placed, Wanted } from './place.ts';

/** Blocks kept for pages `[index, index + npages)` of a file; for small files `index` does not matter. */
export interface Kept {
  index: number;
  pfn: Pfn;
  npages: number;
}

/** what the allocator remembers of a file system */
export interface Ext4Memory {
  /** the group that a large file last took blocks from */
  lastGroup: number;
  /** for small files, newest first */
  small: Kept[];
}

const SMALL_FILE_PAGES = 16;
const SMALL_KEPT_PAGES = 512;
/** a fiftieth of the device, up to so many, is for metadata */
const RESERVED_PAGES_MAX = 4096;
const MiB_PAGES = 256;

export function placeExt4(fs: FileSystem, inode: Inode, wanted: Wanted): Placed | null {
  const { index, ahead } = wanted;
  let npages = Math.min(wanted.npages, GROUP_PAGES);
  const claimable = fs.allocator.freePages + fs.kept.count - Math.min(Math.floor(fs.pgmap.npages / 50), RESERVED_PAGES_MAX);
  while (npages > claimable && npages > 0) npages = Math.floor(npages / 2);
  if (npages === 0) return null;
  const small = Math.max(index + npages, sizePages(inode)) <= SMALL_FILE_PAGES;
  const kept = fromKept(fs, inode, index, npages, small);
  if (kept !== null) return kept;
  const request: Wanted = { index, npages, ahead };
  const placed = allocate(fs, inode, request, small);
  if (placed !== null) return placed;
  for (const other of fs.inodes.values()) forgetKept(fs, other);
  forgetKept(fs, inode);
  for (const space of fs.ext4.small.splice(0)) fs.kept.release(fs.allocator, space.pfn, space.npages);
  fs.allocator.settle();
  return allocate(fs, inode, request, small);
}

/** ext4_discard_preallocations(): what is kept for the file and not used goes back. */
export function forgetKept(fs: FileSystem, inode: Inode): void {
  for (const { pfn, npages } of inode.placed.kept) fs.kept.release(fs.allocator, pfn, npages);
  inode.placed.kept = [];
}

/** ext4_mb_use_preallocated(). */
function fromKept(fs: FileSystem, inode: Inode, index: number, npages: number, small: boolean): Placed | null {
  for (const space of inode.placed.kept) {
    if (index < space.index || index >= space.index + space.npages) continue;
    const pfn = space.pfn + (index - space.index);
    const count = fs.kept.use(pfn, Math.min(npages, space.index + space.npages - index));
    if (count > 0) return { index, pfn, npages: count };
  }
  if (!small) return null;
  const space = fs.ext4.small.find((one) => one.npages >= npages);
  if (space === undefined) return null;
  const { pfn } = space;
  fs.kept.use(pfn, npages);
  space.pfn += npages;
  space.npages -= npages;
  if (space.npages === 0) fs.ext4.small = fs.ext4.small.filter((one) => one !== space);
  return { index, pfn, npages };
}

/** From the groups, and the rest kept. */
function allocate(fs: FileSystem, inode: Inode, { index, npages, ahead }: Wanted, small: boolean): Placed | null {
  const { allocator, profile, ext4 } = fs;
  const base = fs.pgmap.basePfn;
  const groups = Math.ceil(fs.pgmap.npages / GROUP_PAGES);
  const window = !ahead ? { index, npages, goal: -1 } : small ? { index, npages: SMALL_KEPT_PAGES, goal: -1 } : normalize(inode, index, npages);
  const group = small ? Math.floor((goalOf(inode, index, base, groups) - base) / GROUP_PAGES) : ext4.lastGroup;
  const run = searchGroups({ allocator, base, groups, npages: window.npages, stripe: profile.alignPages, goal: window.goal, group: group % groups });
  if (run === null) return null;
  allocator.reserve(run.pfn, run.npages);
  if (!small) ext4.lastGroup = Math.floor((run.pfn - base) / GROUP_PAGES);
  if (run.npages <= npages) return { index, pfn: run.pfn, npages: run.npages };
  fs.kept.hold(run.pfn, run.npages);
  const first = small ? index : firstOf(window, run.npages, index, npages);
  const space: Kept = { index: first, pfn: run.pfn, npages: run.npages };
  if (small) ext4.small.unshift(space);
  else inode.placed.kept.unshift(space);
  return fromKept(fs, inode, index, npages, small);
}

/** Where in the file what was found stands: the window's end, its start, or the page asked for. */
function firstOf(window: { index: number; npages: number }, found: number, index: number, npages: number): number {
  if (found >= window.npages) return window.index;
  const atEnd = window.index + window.npages - found;
  if (index >= atEnd) return atEnd;
  return index + npages <= window.index + found ? window.index : index;
}

/** ext4_mb_normalize_request(): the window around a request, and the block it should begin at to go on with a neighbour, or -1. */
function normalize(inode: Inode, index: number, npages: number): { index: number; npages: number; goal: number } {
  const filePages = Math.max(index + npages, sizePages(inode));
  const byteSize = Math.max((index + npages) * 4096, inode.size) / 4096;
  let [start, size] = [0, 0];
  const unit = (pages: number): void => {
    start = alignDown(index, pages);
    size = pages;
  };
  if (byteSize <= MiB_PAGES) size = Math.max(4, 2 ** Math.ceil(Math.log2(filePages)));
  else if (byteSize <= 4 * MiB_PAGES) unit(2 * MiB_PAGES);
  else if (byteSize <= 8 * MiB_PAGES) unit(4 * MiB_PAGES);
  else if (npages <= 8 * MiB_PAGES) unit(8 * MiB_PAGES);
  else [start, size] = [index, npages];
  start = Math.max(start, alignDown(index, GROUP_PAGES));
  const before = index > 0 ? inode.extents.lookup(index - 1, index) : null;
  const left = before === null ? null : !before.hole ? before : before.start > 0 ? inode.extents.next(before.start - 1) : null;
  const right = inode.extents.next(index);
  if (left !== null && start < left.block + left.npages) {
    size -= left.block + left.npages - start;
    start = left.block + left.npages;
  }
  if (right !== null && start + size > right.block) size = right.block - start;
  size = Math.min(size, GROUP_PAGES);
  let end = start + size;
  for (const space of inode.placed.kept) {
    const spaceEnd = space.index + space.npages;
    if (space.index >= end || spaceEnd <= start) continue;
    if (spaceEnd <= index) start = spaceEnd;
    else if (space.index > index) end = space.index;
  }
  size = end - start;
  let goal = -1;
  if (right !== null && right.block === end && right.pfn - size >= inode.fs.pgmap.basePfn) goal = right.pfn - size;
  if (left !== null && left.block + left.npages === start) goal = left.pfn + left.npages;
  return { index: start, npages: size, goal };
}

/** ext4_ext_find_goal(). */
function goalOf(inode: Inode, index: number, base: Pfn, groups: number): Pfn {
  const at = inode.extents.lookup(index, index + 1);
  const near = at.hole ? (at.start > 0 ? inode.extents.next(at.start - 1) : inode.extents.next(index)) : at;
  if (near === null) return base + Math.min(1, groups - 1) * GROUP_PAGES;
  return Math.max(base, near.pfn + (index - near.block));
}
