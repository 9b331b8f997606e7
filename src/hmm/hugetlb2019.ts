/**
 * hugetlb areas under a 2019 walk (mm/hmm.c: hmm_vma_walk_hugetlb_entry, mm/pagewalk.c: walk_hugetlb_range, v5.2).
 *
 * Huge page by huge page: where there is a table for its entry the entry is looked at, empty or not; else there is a hole. A range
 * with the huge page's `pageShift` has a word for each huge page, and takes whole ones only (EINVAL); words are then counted in huge
 * pages here, and in 4K where a failed call clears them and where pages are counted (bug switch page-shift-mixed). The encoder makes
 * every word VALID: of an empty entry with frame 0, of one that is not present with whatever stands in it (hugetlb-empty-valid).
 */
import { LEVEL_PMD, LEVEL_PTE, LEVEL_PUD, PAGE_SHIFT, PTE_RW, TABLE_SHIFT } from '../abi.ts';
import { handleMmFault, hugePageOf, type Vma } from '../mm/index.ts';
import { framePfn, isNone, isPresent, isWritable } from '../pgtable/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { alignDown, pagesOfLevel, type Vpn } from '../units.ts';
import { faulted, flagsOf, mayNotWrite, type Walk2019, type WalkErrno } from './fault2019.ts';
import { NEED_WRITE, PFN_VALUE_NONE, cpuFlags, encodePfn, needFault, needFaultOfAny } from './need2019.ts';
import type { Range2019 } from './range2019.ts';
import { tellEra } from './toldCalls.ts';

/** log2 of the bytes of a hugetlb area's pages. */
export function hugeShiftOf(vma: Vma): number {
  return PAGE_SHIFT + hugePageOf(vma).level * TABLE_SHIFT;
}

/** 4K pages that a word of the range stands for. */
export function pagesPerWord(range: Range2019): number {
  return 2 ** (range.pageShift - PAGE_SHIFT);
}

/** Walks `[start, end)` of a hugetlb area. Null: to the end. */
export function* walkHugetlb(w: Walk2019, vma: Vma, start: Vpn, end: Vpn): Sleepable<WalkErrno | null> {
  const pt = w.mm.pageTable;
  const { level, npages } = hugePageOf(vma);
  for (let at = start; at < end; ) {
    const next = Math.min(end, alignDown(at, npages) + npages);
    pt.look(at);
    const answer = yield* pt.level <= level ? walkEntry(w, vma, at, next, level) : walkHole(w, vma, at, next);
    if (answer !== null) return answer;
    at = next;
  }
  return null;
}

/** The entry found last, for what the range has of it. */
function* walkEntry(w: Walk2019, vma: Vma, start: Vpn, end: Vpn, level: number): Sleepable<WalkErrno | null> {
  const { range } = w;
  const { lo, hi } = w.mm.pageTable;
  const step = pagesPerWord(range);
  const npages = pagesOfLevel(level);
  if (step > 1 && (start % npages !== 0 || end - start < npages)) return 'EINVAL';
  let i = (start - range.start) / step;
  const word = range.words[i] as bigint;
  const there = !isNone(lo, hi) && isPresent(level === LEVEL_PUD ? LEVEL_PMD : level, lo);
  const flags = there ? cpuFlags(range, isWritable(lo)) : 0n;
  Object.assign(w.stop, { vpn: start, reason: level, lo, hi });
  range.words[i] = range.values[PFN_VALUE_NONE];
  const need = w.fault ? needFault(range, word, flags) : 0;
  if (need !== 0) return yield* faultHuge(w, vma, start, end, (need & NEED_WRITE) !== 0);
  if (!there && !w.mm.platform.bugs.has('hugetlb-empty-valid')) return clear(w, start, end);
  if (!there) tellEra(w.mm, 'hugetlb-empty-valid', start, end);
  let pfn = (isNone(lo, hi) ? 0 : framePfn(lo, hi)) + (step > 1 ? 0 : start % npages);
  for (let at = start; at < end; at += step, pfn += step) {
    range.words[i] = encodePfn(range, pfn, there && isWritable(lo));
    i++;
  }
  w.last = end;
  return null;
}

/** No table for the entry: nothing there. What is asked is read at the words of 4K pages, whatever the words stand for. */
function* walkHole(w: Walk2019, vma: Vma, start: Vpn, end: Vpn): Sleepable<WalkErrno | null> {
  const { range } = w;
  const from = (start - range.start) / (w.mm.platform.bugs.has('page-shift-mixed') ? 1 : pagesPerWord(range));
  if (from * pagesPerWord(range) !== start - range.start) tellEra(w.mm, 'page-shift-mixed', start, end);
  const need = w.fault ? needFaultOfAny(range, range.words, from, Math.min(range.words.length, from + end - start), 0n) : 0;
  Object.assign(w.stop, { vpn: start, reason: LEVEL_PTE, lo: 0, hi: 0 });
  w.last = start;
  return need === 0 ? clear(w, start, end, start) : yield* faultHuge(w, vma, start, end, (need & NEED_WRITE) !== 0);
}

function clear(w: Walk2019, start: Vpn, end: Vpn, last = end): null {
  const { range } = w;
  const step = pagesPerWord(range);
  range.words.fill(range.values[PFN_VALUE_NONE], (start - range.start) / step, Math.ceil((end - range.start) / step));
  w.last = last;
  return null;
}

/** Faults once for each word; what the calls for the rest of a huge page find needs no call, and is counted. */
function* faultHuge(w: Walk2019, vma: Vma, start: Vpn, end: Vpn, write: boolean): Sleepable<WalkErrno> {
  const { range } = w;
  const pt = w.mm.pageTable;
  const step = pagesPerWord(range);
  if (mayNotWrite(w, vma, start, write)) return 'EPERM';
  clear(w, start, end, start);
  for (let vpn = start; vpn < end; vpn += step) {
    const answer = faulted(w, vpn, yield* handleMmFault(vma, vpn, flagsOf(w, write)), (vpn - range.start) / step);
    if (answer !== 'EBUSY') return answer;
    if (pt.look(vpn) && (!write || (pt.lo & PTE_RW) !== 0) && pt.level >= LEVEL_PMD) {
      w.mm.platform.counts.hmmFaults += (end - vpn) / step - 1;
      break;
    }
  }
  return 'EBUSY';
}
