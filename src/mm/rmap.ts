/**
 * From a file's pages to the areas that map them (mm/interval_tree.c, mm/memory.c: unmap_mapping_range).
 *
 * Each inode has an interval tree over file pages: finding the mappings of a range costs O(log n + those found), in the
 * order of file offset, then of mapping.
 */
import { PTE_DIRTY, PTE_RW } from '../abi.ts';
import type { Mappable } from '../fs/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { isDirty, isLeafEntry, isWritable } from '../pgtable/index.ts';
import { alignDown, pagesOfLevel } from '../units.ts';
import { invalidateEnd, invalidateStart } from './mm.ts';
import type { Vma } from './vma.ts';
import { zapPageRangeSingle, zapTouches } from './zap.ts';

/** Enters an area into its file's tree. */
export function linkVma(vma: Vma): void {
  if (vma.file !== null) vma.mapping = vma.file.inode.mappings.insert(vma.pgoff, vma.pgoff + vma.npages, vma);
}

export function unlinkVma(vma: Vma): void {
  if (vma.file === null || vma.mapping === null) return;
  vma.file.inode.mappings.remove(vma.mapping);
  vma.mapping = null;
}

/** The areas that map some of pages `[index, end)` of a file. */
export function mappingsOf(inode: Mappable, index: number, end: number): readonly Vma[] {
  const found: Vma[] = [];
  inode.mappings.overlapping(index, end, (vma) => found.push(vma as Vma));
  return found;
}

/**
 * unmap_mapping_range(): drops what maps pages `[index, end)` of the file, everywhere, each area as an operation of its own.
 * `evenCows`: private copies too.
 */
export function* unmapMappingRange(inode: Mappable, index: number, end: number, evenCows: boolean): Sleepable<void> {
  for (const vma of mappingsOf(inode, index, end)) {
    const first = Math.max(index, vma.pgoff);
    const last = Math.min(end, vma.pgoff + vma.npages);
    if (first >= last) continue;
    yield* zapPageRangeSingle(vma, vma.start + (first - vma.pgoff), vma.start + (last - vma.pgoff), { keepCows: !evenCows });
  }
}

/**
 * pfn_mkclean_range(): takes write and dirty from the shared leaves over pages `[index, index + npages)`, each under its own
 * PROTECTION_PAGE. Returns how many it changed.
 */
export function* mkcleanMapping(inode: Mappable, index: number, npages: number): Sleepable<number> {
  let changed = 0;
  for (const vma of mappingsOf(inode, index, index + npages)) {
    if (!vma.isShared) continue;
    const first = Math.max(index, vma.pgoff);
    const last = Math.min(index + npages, vma.pgoff + vma.npages);
    const start = vma.start + (first - vma.pgoff);
    const end = vma.start + (last - vma.pgoff);
    const range = yield* invalidateStart(vma.mm, 'PROTECTION_PAGE', start, end);
    if (vma.mm.platform.sched.concurrent) yield vma.mm.platform.sched.point('mkclean', zapTouches(vma));
    changed += mkcleanArea(vma, start, end);
    invalidateEnd(vma.mm, range);
  }
  return changed;
}

function mkcleanArea(vma: Vma, start: number, end: number): number {
  const pt = vma.mm.pageTable;
  let changed = 0;
  for (let vpn = pt.nextEntry(start, end, 0); vpn >= 0; ) {
    pt.look(vpn);
    if (isLeafEntry(pt.level, pt.lo) && (isDirty(pt.lo) || isWritable(pt.lo))) {
      pt.setRaw((pt.lo & ~(PTE_DIRTY | PTE_RW)) >>> 0, pt.hi);
      changed++;
    }
    const next = alignDown(vpn, pagesOfLevel(pt.level)) + pagesOfLevel(pt.level);
    vpn = next >= end ? -1 : pt.nextEntry(next, end, 0);
  }
  return changed;
}
