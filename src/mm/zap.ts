/**
 * Taking entries out of a page table, and the pages behind them out of use (mm/memory.c: zap_pte_range and its callers,
 * mm/huge_memory.c for huge leaves).
 *
 * Device pages have no reference from a mapping (up to 6.14), so a DAX entry just goes. Anonymous pages lose one.
 */
import { LEVEL_PMD, LEVEL_PTE, LEVEL_PUD, PMD_PAGES, PUD_PAGES } from '../abi.ts';
import { alignDown, pagesOfLevel, type Vpn } from '../units.ts';
import { PAGE_ANON } from '../page/index.ts';
import type { UntoldBug } from '../profile/index.ts';
import { framePfn, isLeafEntry, isSwapEntry } from '../pgtable/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { invalidateEnd, invalidateStart, invalidateStartNow, type Mm } from './mm.ts';
import { unmapHuge } from './hugetlb/unmap.ts';
import { VM_HUGETLB, type Vma } from './vma.ts';
import { zapSwapEntry } from './migrate/swapEntries.ts';
import { dropPage, isCounted, splitHugeLeaf } from './thp/index.ts';

/** What else a zap has to respect. */
export interface ZapOptions {
  /** leave private copies alone: only what maps the file itself goes (unmap_mapping_range without even_cows) */
  readonly keepCows?: boolean;
  /** the bug switch by which nobody is told */
  readonly untold?: UntoldBug | null;
}

/**
 * Drops every entry of `vma` in `[start, end)`, within an invalidation that the caller has open. Huge leaves that the range
 * cuts are split first, with a CLEAR of their own over all of it; what splits them is dropped with it where it is DAX's.
 */
export function* zapRange(vma: Vma, start: Vpn, end: Vpn, options: ZapOptions = {}): Sleepable<void> {
  const { mm } = vma;
  const { sched } = mm.platform;
  if (sched.concurrent) yield sched.point(`zap ${mm.name}`, zapTouches(vma));
  if (vma.has(VM_HUGETLB)) return yield* unmapHuge(vma, start, end, 'within');
  // While it slept another may have come.
  while (cutHugeLeaf(vma, start) + cutHugeLeaf(vma, end) > 0) yield* splitHugeEdges(vma, start, end);
  zapLeaves(vma, start, end, options);
}

/** zapRange() of what needs no wait. */
function zapLeaves(vma: Vma, start: Vpn, end: Vpn, options: ZapOptions): void {
  const { mm } = vma;
  const { bus } = mm.platform;
  const leaves = vma.countsPages ? zapCounted(mm, start, end, options.keepCows === true, options.keepCows === true && vma.isCow) : mm.pageTable.zap(start, end - start);
  if (bus.on) bus.emit({ type: 'zap', mm: mm.id, start, end, leaves });
}

/** What it touches to change entries of `vma`, to end the invalidation, and to go on in the file operation that wanted it. */
export function zapTouches(vma: Vma): string {
  return `${vma.mm.touches},${vma.mm.notifiers.touches},${vma.file === null ? '' : (vma.file.inode.touches ?? '*')},ram,bytes`;
}

/** One VMA's part of a range, as an operation of its own: CLEAR around it (zap_page_range_single). */
export function* zapPageRangeSingle(vma: Vma, start: Vpn, end: Vpn, options: ZapOptions = {}): Sleepable<void> {
  const range = yield* invalidateStart(vma.mm, 'CLEAR', start, end, null, options.untold ?? null);
  const endsFirst = vma.mm.platform.bugs.has('zap-ends-first');
  if (endsFirst) invalidateEnd(vma.mm, range);
  yield* zapRange(vma, start, end, options);
  if (!endsFirst) invalidateEnd(vma.mm, range);
}

/** Nobody else can run and nothing has to wait: `zapPageRangeNow` may take its place. */
export function zapsNow(vma: Vma, start: Vpn, end: Vpn): boolean {
  const { notifiers, platform } = vma.mm;
  return notifiers.startsNow && !vma.has(VM_HUGETLB) && !platform.bugs.has('zap-ends-first') && cutHugeLeaf(vma, start) + cutHugeLeaf(vma, end) === 0;
}

/** The same by plain functions, where `zapsNow`. */
export function zapPageRangeNow(vma: Vma, start: Vpn, end: Vpn, options: ZapOptions): void {
  const { mm } = vma;
  const range = invalidateStartNow(mm, 'CLEAR', start, end, null, options.untold ?? null);
  zapLeaves(vma, start, end, options);
  invalidateEnd(mm, range);
}

/** Splits huge leaves that `start` or `end` cuts (zap_pmd_range, zap_pud_range). True when there was one. */
export function* splitHugeEdges(vma: Vma, start: Vpn, end: Vpn): Sleepable<boolean> {
  const atStart = cutHugeLeaf(vma, start);
  if (atStart > 0) yield* splitHuge(vma, alignDown(start, atStart), atStart);
  const atEnd = cutHugeLeaf(vma, end);
  if (atEnd > 0) yield* splitHuge(vma, alignDown(end, atEnd), atEnd);
  return atStart + atEnd > 0;
}

/** Pages of the huge leaf that `edge` cuts; 0 where it cuts none. */
function cutHugeLeaf(vma: Vma, edge: Vpn): number {
  const pt = vma.mm.pageTable;
  pt.look(edge);
  if (pt.none || pt.level === LEVEL_PTE || pt.level > LEVEL_PUD || !isLeafEntry(pt.level, pt.lo)) return 0;
  const npages = pagesOfLevel(pt.level);
  return alignDown(edge, npages) === edge ? 0 : npages;
}

/**
 * Before an area is cut at `at` (vma_adjust_trans_huge). A 2M that the cut goes through, all of it in the area, is split if
 * it is huge, and invalidated with CLEAR whether or not: it is enough that there is a pmd for it. A 1G leaf across the cut
 * goes.
 */
export function* splitHugeForCut(vma: Vma, at: Vpn): Sleepable<void> {
  const pt = vma.mm.pageTable;
  pt.look(at);
  if (pt.level === LEVEL_PUD && !pt.none && isLeafEntry(LEVEL_PUD, pt.lo) && at % PUD_PAGES !== 0) {
    yield* splitHuge(vma, alignDown(at, PUD_PAGES), PUD_PAGES);
    return;
  }
  const base = alignDown(at, PMD_PAGES);
  if (at === base || base < vma.start || base + PMD_PAGES > vma.end || pt.level > LEVEL_PMD) return;
  yield* splitHuge(vma, base, PMD_PAGES);
}

/** split_huge_pmd, split_huge_pud: CLEAR over a huge leaf's pages, and if there is one it is 512 ptes of the same pages (anonymous), or gone. */
export function* splitHuge(vma: Vma, base: Vpn, npages: number): Sleepable<void> {
  const { mm } = vma;
  const { sched, bus } = mm.platform;
  const range = yield* invalidateStart(mm, 'CLEAR', base, base + npages, null, 'split-untold');
  if (sched.concurrent) yield sched.point('split huge', '*');
  if (splitHugeLeaf(vma, base, npages === PMD_PAGES ? LEVEL_PMD : LEVEL_PUD) && bus.on && vma.ops !== null) {
    bus.emit({ type: 'zap', mm: mm.id, start: base, end: base + npages, leaves: 1 });
  }
  invalidateEnd(mm, range);
}

/** Leaf by leaf, where pages behind them are counted. `keepMarks`: poison and what went to swap stay; `keepCopies`: private copies do. */
function zapCounted(mm: Mm, start: Vpn, end: Vpn, keepMarks: boolean, keepCopies: boolean): number {
  const { ram } = mm.platform;
  const pt = mm.pageTable;
  let leaves = 0;
  for (let vpn = pt.nextEntry(start, end, LEVEL_PTE); vpn >= 0; ) {
    pt.look(vpn);
    const { level, lo, hi } = pt;
    const next = alignDown(vpn, pagesOfLevel(level)) + pagesOfLevel(level);
    const counted = isCounted(mm, level, lo, hi);
    if (isSwapEntry(level, lo, hi)) {
      if (zapSwapEntry(mm, keepMarks)) leaves++;
    } else if (!counted || !keepCopies || (ram.flags(framePfn(lo, hi)) & PAGE_ANON) === 0) {
      pt.setRaw(0, 0);
      leaves++;
      if (counted) dropPage(mm, level, framePfn(lo, hi));
    }
    vpn = next >= end ? -1 : pt.nextEntry(next, end, LEVEL_PTE);
  }
  return leaves;
}
