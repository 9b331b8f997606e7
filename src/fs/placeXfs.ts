/**
 * Where XFS puts new blocks (fs/xfs/libxfs/xfs_bmap.c: xfs_bmap_btalloc, xfs_bmap_adjacent; xfs_alloc.c: xfs_alloc_ag_vextent_near,
 * _size, _exact): near the file's neighbouring extents, or near its inode, in one group after the other.
 *
 * An extent size hint rounds the request to whole units of it first, as far as neighbours leave room; what is a stripe long and
 * beyond every extent is aligned to one. The records of free space are those of one leaf of the by-size tree, as on any small
 * device: all that are long enough are looked at, in order of length.
 */
import { alignUp, type Pfn } from '../units.ts';
import type { ExtentMap } from './extents.ts';
import type { FileSystem } from './fileSystem.ts';
import type { Inode } from './inode.ts';
import type { Placed } from './place.ts';
import { allocateInGroups, type GroupRequest } from './xfsGroups.ts';
import { xfsInodePage, type XfsGeometry } from './xfsGeometry.ts';

/** how far off a neighbour may be, in lengths of the allocation, to be followed at its distance */
const GAP_UNITS = 4;

interface Neighbours {
  /** the extent before the request, and the one at or after it */
  readonly prev: { readonly block: number; readonly pfn: Pfn; readonly npages: number } | null;
  readonly next: { readonly block: number; readonly pfn: Pfn; readonly npages: number } | null;
}

/** The file's extent size hint in pages; `rounds`: the request is rounded to it, which one that writes at once is not. */
export interface ExtentHint {
  readonly unit: number;
  readonly rounds: boolean;
}

/** One extent for the first of pages `[index, index + npages)` of `map`. Null where there is no block left. */
export function placeXfs(fs: FileSystem, inode: Inode, map: ExtentMap, index: number, npages: number, hint: ExtentHint): Placed | null {
  const geometry = fs.xfs as XfsGeometry;
  const { alignPages } = fs.profile;
  const next = map.next(index);
  const hole = index > 0 ? map.lookup(index - 1, index) : null;
  const prev = hole === null ? null : !hole.hole ? hole : hole.start > 0 ? map.next(hole.start - 1) : null;
  const wanted = next === null ? npages : Math.min(npages, next.block - index);
  const atEnd = wanted >= alignPages && next === null;
  const unit = hint.rounds && hint.unit > 0 ? alignToHint(index, wanted, hint.unit, { prev, next }) : { index, npages: wanted };
  const base = fs.pgmap.basePfn;
  const goal = adjacent(geometry, base + xfsInodePage(geometry, inode.id), unit, { prev, next }, base) - base;
  const of = Math.max(hint.unit, 1);
  const mod = (of - (unit.index % of)) % of;
  const request: GroupRequest = { goal, npages: unit.npages, unit: of, mod, stripe: alignPages, align: !atEnd ? 'none' : unit.index === 0 ? 'stripe' : 'exact' };
  const run = allocateInGroups(fs, geometry, request);
  if (run === null) return null;
  let first = unit.index;
  if (run.npages <= wanted) first = index;
  else if (first + run.npages < index + wanted) first = index + wanted - run.npages;
  return { index: first, pfn: base + run.start, npages: run.npages };
}

/** xfs_bmap_extsize_align(): whole units around the request, pushed aside and at last cut by neighbours. */
export function alignToHint(index: number, npages: number, hint: number, { prev, next }: Neighbours): { index: number; npages: number } {
  const end = index + npages;
  const prevEnd = prev === null ? 0 : prev.block + prev.npages;
  let first = index - (index % hint);
  let length = alignUp(end - first, hint);
  if (first !== index && first < prevEnd) first = prevEnd;
  if (next !== null && first + length !== end && first + length > next.block) first = Math.max(0, next.block - length);
  if (first !== index && first < prevEnd) first = prevEnd;
  if (next !== null && first + length !== end && first + length > next.block) length = next.block - first;
  return { index: first, npages: length };
}

/** xfs_bmap_adjacent(): the block to look near. */
function adjacent(geometry: XfsGeometry, inodeBlock: Pfn, { index, npages }: { index: number; npages: number }, { prev, next }: Neighbours, base: Pfn): Pfn {
  const group = (pfn: Pfn): number => Math.floor((pfn - base) / geometry.groupPages);
  const valid = (pfn: Pfn, near: Pfn): boolean => pfn >= base && group(pfn) === group(near) && group(pfn) < geometry.groupCount;
  const prevEnd = prev === null ? -1 : prev.pfn + prev.npages;
  const gap = prev === null ? 0 : index - (prev.block + prev.npages);
  if (next === null) {
    if (prev === null || !valid(prevEnd, prev.pfn)) return inodeBlock;
    return gap !== 0 && valid(prevEnd + gap, prev.pfn) ? prevEnd + gap : prevEnd;
  }
  let [left, leftFar] = [-1, 0];
  if (prev !== null && valid(prevEnd, prev.pfn)) {
    const followed = gap <= GAP_UNITS * npages && valid(prevEnd + gap, prev.pfn);
    left = followed ? prevEnd + gap : prevEnd;
    leftFar = followed ? gap : 2 * gap;
  }
  const rightGap = next.block - index;
  let [right, rightFar] = [next.pfn, rightGap];
  if (rightGap <= GAP_UNITS * npages && valid(next.pfn - rightGap, next.pfn)) right -= rightGap;
  else if (valid(next.pfn - npages, next.pfn)) {
    right -= npages;
    rightFar += rightGap - npages;
  } else rightFar += rightGap;
  return left >= 0 && leftFar <= rightFar ? left : right;
}
