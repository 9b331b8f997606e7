/**
 * Where new blocks go: what a file system's allocator does with a hole, as far as a mapping can tell, which is by whether a
 * frame is congruent to its address.
 *
 * ext4 (fs/ext4/mballoc.c) grows a write to a window of 2 or 4 MiB around it and remembers where that came to lie, so that the
 * pages of a window stay congruent in whatever order they come. Windows of a power of two come from the buddy bitmaps, never
 * from the first group; multiples of a stripe as one stripe; all else is first come. XFS is placeXfs.ts.
 * A file made with an extent size of its own (`inode.hinted`) has what it asked for, whichever file system it is on.
 */
import { PMD_PAGES } from '../abi.ts';
import { InvariantError } from '../errno.ts';
import { alignDown, alignUp, type Pfn } from '../units.ts';
import type { Run } from './allocator.ts';
import type { FileSystem } from './fileSystem.ts';
import { sizePages, type Inode } from './inode.ts';
import { placeXfs, type Placed } from './placeXfs.ts';

/** Part of a hole that is to get blocks. */
export interface Wanted {
  readonly index: number;
  readonly npages: number;
  /** by a write or a fault, which look ahead, or by fallocate, which says what it wants */
  readonly ahead: boolean;
}

/** A window of the file and the frames that its pages go to when they are free. */
interface Window {
  readonly index: number;
  readonly npages: number;
  readonly pfn: Pfn;
}

/** What the allocator remembers of a file and of the file system, until blocks are taken away again. */
export interface PlaceMemory {
  windows: Window[];
}

/** Files up to this many pages take their blocks one after the other from one stripe of the whole file system. */
const SMALL_FILE_PAGES = 16;
/** 32 MiB: the largest block of the buddy bitmaps */
const BUDDY_PAGES_MAX = 8192;
const WINDOWS_MAX = 8;

/** Takes blocks for the first pages of `wanted`, at least one. Null when there is not even that. */
export function placeBlocks(fs: FileSystem, inode: Inode, wanted: Wanted): Placed | null {
  const { index, npages, ahead } = wanted;
  if (!inode.hinted && fs.xfs !== null) return placeXfs(fs, inode, inode.extents, index, npages, { unit: fs.profile.hintPages, rounds: !ahead });
  const run = inode.hinted ? placeHinted(fs, inode, wanted) : placeByWindow(fs, inode, wanted);
  return run === null ? null : { index, ...run };
}

// ── ext4 ──

function placeByWindow(fs: FileSystem, inode: Inode, wanted: Wanted): Run | null {
  const { index, npages, ahead } = wanted;
  if (!ahead) return findBlocks(fs, inode, wanted);
  if (Math.max(index + npages, sizePages(inode)) <= SMALL_FILE_PAGES) return placeSmall(fs, npages);
  for (const window of inode.placed.windows) {
    if (index < window.index || index >= window.index + window.npages) continue;
    const run = takeAt(fs, window.pfn + (index - window.index), Math.min(npages, window.index + window.npages - index));
    if (run !== null) return run;
  }
  const window = clipToHole(inode, lookAhead(inode, wanted), wanted);
  const found = findBlocks(fs, inode, window);
  if (found === null) return null;
  // What was found may be shorter than the window: it stands at the window's start if it reaches the page asked for.
  const start = index < window.index + found.npages ? window.index : index;
  inode.placed.windows = [...inode.placed.windows.slice(1 - WINDOWS_MAX), { index: start, npages: found.npages, pfn: found.pfn }];
  return keepPart(fs, found, index - start, npages);
}

/** ext4_mb_normalize_request(): how much a write looks ahead depends on how large the file is. */
function lookAhead(inode: Inode, { index, npages }: Wanted): { index: number; npages: number } {
  const filePages = Math.max(index + npages, sizePages(inode));
  const window = (unit: number): { index: number; npages: number } => ({ index: alignDown(index, unit), npages: unit });
  if (filePages <= 256) return { index: 0, npages: 2 ** Math.ceil(Math.log2(filePages)) };
  if (filePages <= 1024) return window(512);
  if (filePages <= 2048) return window(1024);
  if (npages <= 2048) return window(2048);
  return { index, npages };
}

/** The window without what is allocated already, on both sides of the page asked for. */
function clipToHole(inode: Inode, window: { index: number; npages: number }, { index, npages }: Wanted): Wanted {
  const end = Math.max(window.index + window.npages, index + npages);
  const hole = inode.extents.lookup(index, end);
  if (!hole.hole) throw new InvariantError(`page ${index} of ${inode.name} has a block already`);
  const start = Math.max(window.index, hole.start);
  return { index: start, npages: Math.min(end, hole.start + hole.npages) - start, ahead: true };
}

/** ext4_mb_regular_allocator(): after the neighbour; a power of two from the buddies; a stripe; the first that fits. */
function findBlocks(fs: FileSystem, inode: Inode, { index, npages, ahead }: Wanted): Run | null {
  const { allocator, profile } = fs;
  const stripe = profile.alignPages;
  if (ahead && index > 0) {
    const before = inode.extents.lookup(index - 1, index);
    const goal = before.hole ? -1 : before.pfn + (index - before.block);
    if (goal >= 0 && (npages !== stripe || goal % stripe === 0) && freeFrom(fs, goal) >= npages) return takeAt(fs, goal, npages);
  }
  const buddy = npages >= 4 && npages <= BUDDY_PAGES_MAX && Number.isInteger(Math.log2(npages));
  const [run] = (buddy ? allocator.alloc(npages, { align: npages, goal: dataStart(fs, 1), contiguous: true }) : null) ??
    (npages % stripe === 0 ? allocator.alloc(stripe, { align: stripe, goal: fs.allocator.basePfn, contiguous: true }) : null) ??
    allocator.alloc(npages, { goal: dataStart(fs, 1), contiguous: true }) ?? [];
  return run ?? firstPiece(fs, npages);
}

/** Files of a few pages share a stripe. */
function placeSmall(fs: FileSystem, npages: number): Run | null {
  const next = fs.smallFiles;
  const found = next >= 0 ? takeAt(fs, next, npages) : null;
  const run = found ?? keepPart(fs, fs.allocator.alloc(fs.profile.alignPages, { align: fs.profile.alignPages, contiguous: true })?.[0] ?? null, 0, npages) ?? firstPiece(fs, npages);
  if (run !== null) fs.smallFiles = run.pfn + run.npages;
  return run;
}

/** First data page of block group `number`, or of the device where that has no such group. */
function dataStart(fs: FileSystem, number: number): Pfn {
  const { allocator, profile, pgmap } = fs;
  const start = pgmap.basePfn + number * profile.groupPages;
  return start + profile.groupPages <= allocator.basePfn + allocator.npages ? start + profile.groupHeadPages : allocator.basePfn;
}

// ── an extent size of the file's own ──

/** Whole aligned units; a file that asks for 4K extents gets none that a 2M entry could map. */
function placeHinted(fs: FileSystem, inode: Inode, { index, npages }: Wanted): Run | null {
  const { allocator } = fs;
  const unit = inode.extentPages;
  const before = index > 0 ? inode.extents.lookup(index - 1, index) : null;
  const goal = clampGoal(fs, before === null || before.hole ? -1 : before.pfn + (index - before.block));
  const runs = allocator.alloc(npages, { align: npages >= unit && index % unit === 0 ? unit : 1, goal });
  if (runs === null) return null;
  const run = keepFirst(fs, runs);
  if (unit > 1 || run.npages < PMD_PAGES || (run.pfn - index) % PMD_PAGES !== 0) return run;
  allocator.free(run.pfn, run.npages);
  return takeAt(fs, run.pfn + 1, run.npages);
}

/** The whole units that a hinted file allocates around `[index, end)`. */
export function hintedSpan(inode: Inode, index: number, end: number): { index: number; end: number } {
  return inode.hinted ? { index: alignDown(index, inode.extentPages), end: alignUp(end, inode.extentPages) } : { index, end };
}

// ── tools ──

/** Pages to be had in a row from `pfn` on; 0 where it is in use or not on the device. */
function freeFrom(fs: FileSystem, pfn: Pfn): number {
  const { allocator } = fs;
  if (pfn < allocator.basePfn || pfn >= allocator.basePfn + allocator.npages) return 0;
  const run = allocator.freeRunAt(pfn);
  return run === null ? 0 : run.pfn + run.npages - pfn;
}

/** Takes up to `npages` from `pfn` on, or null when that is none. */
function takeAt(fs: FileSystem, pfn: Pfn, npages: number): Run | null {
  const count = Math.min(npages, freeFrom(fs, pfn));
  return count > 0 && fs.allocator.reserve(pfn, count) ? { pfn, npages: count } : null;
}

/** Whatever there is for the first of `npages`. */
function firstPiece(fs: FileSystem, npages: number): Run | null {
  const runs = fs.allocator.alloc(Math.min(npages, fs.allocator.freePages) || 1);
  return runs === null ? null : keepFirst(fs, runs);
}

function keepFirst(fs: FileSystem, runs: readonly Run[]): Run {
  const [first, ...rest] = runs;
  if (first === undefined) throw new InvariantError('an allocation of no runs');
  for (const run of rest) fs.allocator.free(run.pfn, run.npages);
  return first;
}

/** Of `run`, pages `[from, from + npages)`; the others go back. */
function keepPart(fs: FileSystem, run: Run | null, from: number, npages: number): Run | null {
  if (run === null) return null;
  const count = Math.min(npages, run.npages - from);
  if (from > 0) fs.allocator.free(run.pfn, from);
  if (from + count < run.npages) fs.allocator.free(run.pfn + from + count, run.npages - from - count);
  return { pfn: run.pfn + from, npages: count };
}

function clampGoal(fs: FileSystem, goal: Pfn): Pfn {
  const { basePfn, npages } = fs.allocator;
  return goal < basePfn || goal > basePfn + npages ? basePfn : goal;
}
