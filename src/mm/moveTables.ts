/**
 * Moving entries to other addresses of one space (mm/mremap.c: move_page_tables): whole page tables where both places allow it,
 * huge leaves as they are where they stay aligned, else the ptes one by one.
 *
 * What is huge and does not fit is split first, which raises CLEAR: anonymous memory goes on as ptes, a leaf of a file or a device is
 * gone, to be faulted at the new place. A 1G leaf is a "bad pud" to this code and is cleared. All under one UNMAP over the
 * old place; nobody is told of the new one.
 */
import { LEVEL_PMD, LEVEL_PTE, LEVEL_PUD, PMD_PAGES, PUD_PAGES } from '../abi.ts';
import { KernelCrash } from '../errno.ts';
import { framePfn, isLeafEntry, isSwapEntry, type PageTable } from '../pgtable/index.ts';
import { DEVICE_BASE_PFN } from '../page/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { alignDown, type Vpn } from '../units.ts';
import { moveHuge } from './hugetlb/move.ts';
import { invalidateEnd, invalidateStart, tellBreach, type Mm } from './mm.ts';
import { VM_HUGETLB, type Vma } from './vma.ts';
import { splitHuge } from './zap.ts';

/** A stretch of entries that goes from `old` to `dest`, both in one table of the size that is looked at. */
interface Step {
  readonly vma: Vma;
  readonly old: Vpn;
  readonly dest: Vpn;
  readonly npages: number;
}

/** Moves what `vma` maps in `[start, start + npages)` to `dest` of `to`. Returns pages dealt with; fewer only when tables ran out. */
export function* movePageTables(vma: Vma, start: Vpn, to: Vma, dest: Vpn, npages: number): Sleepable<number> {
  if (npages === 0 && !vma.mm.platform.profile.mremapEmptyEvent) return 0;
  if (vma.has(VM_HUGETLB)) return yield* moveHuge(vma, start, dest, npages);
  const { mm } = vma;
  const { sched } = mm.platform;
  const end = start + npages;
  const back = realignedBy(vma, start, to, dest, npages);
  const range = yield* invalidateStart(mm, vma.has(VM_HUGETLB) ? 'CLEAR' : 'UNMAP', start - back, end, null, 'mremap-untold');
  if (sched.concurrent) yield sched.point(`mremap ${mm.name}`, '*');
  let old = start - back;
  try {
    while (old < end) {
      const moved = yield* moveStep(vma, old, dest + (old - start), end);
      if (moved === 0) break;
      old += moved;
    }
  } finally {
    invalidateEnd(mm, range);
  }
  return Math.max(0, old - start);
}

/**
 * try_realign_addr(): by how many pages both places can be begun earlier, on a 2M boundary, so that a whole table moves. Only
 * where they are alike within their 2M, each at the start of its area, with nothing before it in there.
 */
function realignedBy(vma: Vma, start: Vpn, to: Vma, dest: Vpn, npages: number): number {
  const back = start - alignDown(start, PMD_PAGES);
  if (!vma.mm.platform.profile.mremapRealigns || back === 0 || npages < PMD_PAGES - back || dest - alignDown(dest, PMD_PAGES) !== back) return 0;
  return canBegin(vma, start, back) && canBegin(to, dest, back) ? back : 0;
}

function canBegin(vma: Vma, start: Vpn, back: number): boolean {
  if (vma.start !== start) return false;
  const before = vma.mm.vmas.find(start - back);
  return before === null || before.start >= start;
}

/** Deals with as much as lies in one table at both places; 0: there is no frame for a table. */
function* moveStep(vma: Vma, old: Vpn, dest: Vpn, end: Vpn): Sleepable<number> {
  const pt = vma.mm.pageTable;
  const giant = extentOf(PUD_PAGES, old, dest, end);
  pt.look(old);
  if (pt.level >= LEVEL_PUD) {
    if (pt.level === LEVEL_PUD && !pt.none) pt.setRaw(0, 0);
    return giant;
  }
  if (!pt.slot(dest, LEVEL_PUD)) return 0;
  if (giant === PUD_PAGES && moveTable(pt, LEVEL_PUD, old, dest)) return giant;

  const npages = extentOf(PMD_PAGES, old, dest, end);
  pt.look(old);
  if (pt.level === LEVEL_PMD && pt.none) return npages;
  if (!pt.slot(dest, LEVEL_PMD)) return 0;
  const step: Step = { vma, old, dest, npages };
  if (yield* moveWhole(step)) return npages;
  pt.look(old);
  if (pt.level === LEVEL_PMD && pt.none) return npages;
  if (!pt.slot(dest, LEVEL_PTE)) return 0;
  tellTable(vma.mm, old);
  movePtes(pt, step);
  return npages;
}

/** move_ptes() is about to lock the table over `vpn`. */
function tellTable(mm: Mm, vpn: Vpn): void {
  const { bus } = mm.platform;
  if (bus.on) bus.emit({ type: 'pte-table', mm: mm.id, vpn, by: 'move_ptes()' });
}

/** Pages from both places to the next boundary of `size`, or to the end. */
function extentOf(size: number, old: Vpn, dest: Vpn, end: Vpn): number {
  return Math.min(size - (old % size), size - (dest % size), end - old);
}

/** The pmd as it is: a huge leaf, or a table of ptes. False: not in one piece; a huge leaf is then split, or gone. */
function* moveWhole({ vma, old, dest, npages }: Step): Sleepable<boolean> {
  const pt = vma.mm.pageTable;
  const whole = npages === PMD_PAGES;
  pt.look(old);
  const { level, lo, hi } = pt;
  if (level === LEVEL_PTE) return whole && moveTable(pt, LEVEL_PMD, old, dest);
  if (whole && moveTable(pt, LEVEL_PMD, old, dest)) return true;
  if (!isLeafEntry(level, lo) && !isSwapEntry(level, lo, hi)) return false;
  const { profile, bugs } = vma.mm.platform;
  if ((!profile.mremapKnowsDevmap || bugs.has('mremap-pmd-as-table')) && isLeafEntry(level, lo) && framePfn(lo, hi) >= DEVICE_BASE_PFN) {
    if (!profile.mremapKnowsDevmap) tellBreach(vma.mm, 'leaf-not-table', 'mremapKnowsDevmap', old, old + npages);
    tellTable(vma.mm, old);
    throw new KernelCrash('mremap takes a huge device entry for a page table, and locks what is no lock');
  }
  yield* splitHuge(vma, alignDown(old, PMD_PAGES), PMD_PAGES);
  return false;
}

/** Moves the entry at `level`, which spans its whole size at both places, if nothing stands at the new one. */
function moveTable(pt: PageTable, level: number, old: Vpn, dest: Vpn): boolean {
  if (!pt.slot(dest, level) || pt.level !== level || !pt.none) return false;
  pt.slot(old, level);
  const { lo, hi } = pt;
  pt.setRaw(0, 0);
  pt.slot(dest, level);
  pt.setRaw(lo, hi);
  return true;
}

/** move_ptes(): those that there are, as they are. */
function movePtes(pt: PageTable, { old, dest, npages }: Step): void {
  const end = old + npages;
  for (let vpn = pt.nextEntry(old, end, LEVEL_PTE); vpn >= 0; ) {
    pt.look(vpn);
    const { lo, hi } = pt;
    pt.setRaw(0, 0);
    pt.slot(dest + (vpn - old), LEVEL_PTE);
    pt.setRaw(lo, hi);
    vpn = vpn + 1 >= end ? -1 : pt.nextEntry(vpn + 1, end, LEVEL_PTE);
  }
}
