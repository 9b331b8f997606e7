/**
 * Where new blocks go: what a file system's allocator does with a hole, as far as a mapping can tell, which is by whether a
 * frame is congruent to its address. ext4 is placeExt4.ts, XFS placeXfs.ts.
 *
 * A file made with an extent size of its own (`inode.hinted`) has what it asked for, whichever file system it is on.
 */
import { PMD_PAGES } from '../abi.ts';
import { InvariantError } from '../errno.ts';
import { alignDown, alignUp, type Pfn } from '../units.ts';
import type { Run } from './allocator.ts';
import type { FileSystem } from './fileSystem.ts';
import type { Inode } from './inode.ts';
import { placeExt4, type Kept } from './placeExt4.ts';
import { placeXfs } from './placeXfs.ts';

/** Part of a hole that is to get blocks. */
export interface Wanted {
  readonly index: number;
  readonly npages: number;
  /** by a write or a fault, which look ahead, or by fallocate, which says what it wants */
  readonly ahead: boolean;
}

/** Blocks for pages of a file. */
export interface Placed {
  readonly index: number;
  readonly pfn: Pfn;
  readonly npages: number;
}

/** What the allocator remembers of a file, until blocks are taken away again: what it keeps for it, newest first. */
export interface PlaceMemory {
  kept: Kept[];
}

/** Takes blocks for the first pages of `wanted`, at least one. Null when there is not even that. */
export function placeBlocks(fs: FileSystem, inode: Inode, wanted: Wanted): Placed | null {
  const { index, npages, ahead } = wanted;
  if (!inode.hinted && fs.xfs !== null) return placeXfs(fs, inode, inode.extents, index, npages, { unit: fs.profile.hintPages, rounds: !ahead });
  if (!inode.hinted) return placeExt4(fs, inode, wanted);
  const run = placeHinted(fs, inode, wanted);
  return run === null ? null : { index, ...run };
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

function keepFirst(fs: FileSystem, runs: readonly Run[]): Run {
  const [first, ...rest] = runs;
  if (first === undefined) throw new InvariantError('an allocation of no runs');
  for (const run of rest) fs.allocator.free(run.pfn, run.npages);
  return first;
}

function clampGoal(fs: FileSystem, goal: Pfn): Pfn {
  const { basePfn, npages } = fs.allocator;
  return goal < basePfn || goal > basePfn + npages ? basePfn : goal;
}
