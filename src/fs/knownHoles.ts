/**
 * What ext4 remembers of the holes of a file (fs/ext4/extents_status.c), as far as a write can tell.
 *
 * A page that is looked at makes the hole around it known. Blocks taken away leave what is known beside them, and are not known
 * to be a hole themselves until somebody looks there; and who writes into a known hole gets no further than what is known of it.
 */
import { Beside } from '../beside.ts';
import { IntervalSet } from '../interval/set.ts';
import { FILE_PAGES_MAX } from './extents.ts';
import type { Inode } from './inode.ts';

const known = new Beside<Inode, IntervalSet>();

function setOf(inode: Inode): IntervalSet | null {
  const { fs } = inode;
  if (fs.xfs !== null || !fs.platform.profile.punchForgetsHole) return null;
  let set = known.get(inode);
  if (set === undefined) known.set(inode, (set = new IntervalSet()));
  return set;
}

/** Somebody has looked at page `index`. Returns where the hole that it is in ends, as far as that was known before; FILE_PAGES_MAX where it was not. */
export function lookAtHole(inode: Inode, index: number): number {
  const set = setOf(inode);
  if (set === null) return FILE_PAGES_MAX;
  if (set.has(index)) return set.boundaryAfter(index, FILE_PAGES_MAX);
  const run = inode.extents.lookup(index);
  if (run.hole === true) mark(set, run.start, run.start + run.npages, true);
  return FILE_PAGES_MAX;
}

/** Somebody has looked at all of the file. */
export function lookAtAllHoles(inode: Inode): void {
  if (setOf(inode) === null) return;
  let at = 0;
  for (const { block, npages } of inode.extents) {
    if (block > at) lookAtRest(inode, at, block);
    at = block + npages;
  }
  lookAtRest(inode, at, FILE_PAGES_MAX);
}

function lookAtRest(inode: Inode, from: number, end: number): void {
  mark(setOf(inode) as IntervalSet, from, end, true);
}

/** Blocks of `[index, end)` are taken away, or what is there moves. */
export function forgetHoles(inode: Inode, index: number, end: number): void {
  const set = setOf(inode);
  if (set !== null && index < end) mark(set, index, Math.min(end, FILE_PAGES_MAX), false);
}

function mark(set: IntervalSet, start: number, end: number, isKnown: boolean): void {
  for (let at = start; at < end; ) {
    const next = Math.min(set.boundaryAfter(at, end), end);
    if (set.has(at) !== isKnown) {
      if (isKnown) set.add(at, next);
      else set.remove(at, next);
    }
    at = next;
  }
}
