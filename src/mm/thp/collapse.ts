/**
 * MADV_COLLAPSE: pages of anonymous memory become one huge page (mm/khugepaged.c: madvise_collapse, hpage_collapse_scan_pmd,
 * collapse_huge_page). Whoever mirrors hears CLEAR over the 2 MiB; the bytes are copied, holes read zero.
 */
import { LEVEL_PMD, LEVEL_PTE, LEVEL_PUD, PMD_PAGES } from '../../abi.ts';
import { HmmError, type ErrnoCode } from '../../errno.ts';
import { DEVICE_BASE_PFN, PAGE_ANON } from '../../page/index.ts';
import { HI_NX, framePfn, isLeafEntry, isPresent, isSwapEntry, isWritable } from '../../pgtable/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import { addrOf, alignDown, alignUp, type Pfn, type Vpn } from '../../units.ts';
import { ownPage } from '../anonVma.ts';
import { vmaFlagsLo } from '../insert.ts';
import { invalidateEnd, invalidateStart } from '../mm.ts';
import { VM_EXEC, VM_HUGETLB, VM_NOHUGEPAGE, VM_SPECIAL, type Vma, type VmOps } from '../vma.ts';
import { dropPage } from './split.ts';
import { mappingsOfBlock } from './splitPage.ts';

/** What became of one 2 MiB; a reason that is not 'huge' leaves it as it was. */
type Outcome = 'huge' | 'empty' | 'not anonymous' | 'referenced' | 'read only' | 'no page' | 'away';

/** Faults a page back that is elsewhere (do_swap_page); false where it cannot be had. */
export type FaultBack = (vma: Vma, vpn: Vpn) => Sleepable<boolean>;

const ERRNO_OF: Readonly<Record<Exclude<Outcome, 'huge'>, ErrnoCode>> = {
  empty: 'EINVAL',
  'not anonymous': 'EINVAL',
  referenced: 'EAGAIN',
  'read only': 'EINVAL',
  'no page': 'ENOMEM',
  away: 'EINVAL',
};

/** May the area be collapsed at all? hugepage_vma_check() for MADV_COLLAPSE: asking for huge pages is not needed. */
function collapsible(vma: Vma): boolean {
  if (vma.has(VM_NOHUGEPAGE | VM_SPECIAL | VM_HUGETLB) || vma.ops !== null || vma.anonVma === null) return false;
  return alignDown(vma.end - PMD_PAGES, PMD_PAGES) >= vma.start;
}

/** Each aligned 2 MiB in `[start, end)` of the area. EINVAL, EAGAIN and ENOMEM by the last that could not; the others are collapsed. */
export function* collapseRange(vma: Vma, start: Vpn, end: Vpn, faultBack: FaultBack): Sleepable<void> {
  if (vma.ops?.collapse !== undefined && !vma.has(VM_NOHUGEPAGE)) return yield* collapseFile(vma, start, end, vma.ops.collapse);
  if (!collapsible(vma)) throw new HmmError('EINVAL', 'madvise', 'the area cannot have huge pages', addrOf(start));
  const first = alignUp(start, PMD_PAGES);
  const last = alignDown(end, PMD_PAGES);
  let failed: Exclude<Outcome, 'huge'> | null = first > last ? 'empty' : null;
  for (let base = first; base < last; base += PMD_PAGES) {
    const outcome = yield* collapseOne(vma, base, faultBack);
    if (outcome === 'huge') continue;
    failed = outcome;
    if (outcome === 'no page' || outcome === 'not anonymous' || outcome === 'away') break;
  }
  if (failed !== null) throw new HmmError(ERRNO_OF[failed], 'madvise', `cannot be one huge page: ${failed}`, addrOf(start));
}

/** The same for a file that can do it. */
function* collapseFile(vma: Vma, start: Vpn, end: Vpn, collapse: NonNullable<VmOps['collapse']>): Sleepable<void> {
  const first = alignUp(start, PMD_PAGES);
  const last = alignDown(end, PMD_PAGES);
  const fits = alignDown(vma.end - PMD_PAGES, PMD_PAGES) >= vma.start && (vma.start - vma.pgoff) % PMD_PAGES === 0;
  let failed: ErrnoCode | null = fits && first <= last ? null : 'EINVAL';
  for (let base = first; fits && base < last; base += PMD_PAGES) failed = (yield* collapse(vma, base)) ?? failed;
  if (failed !== null) throw new HmmError(failed, 'madvise', 'the area cannot have huge pages', addrOf(start));
}

function* collapseOne(vma: Vma, base: Vpn, faultBack: FaultBack): Sleepable<Outcome> {
  const { mm } = vma;
  const { ram, records, sched, bus } = mm.platform;
  const scanned = scan(vma, base, true);
  if (scanned !== 'ready') return scanned;
  if (!(yield* bringBack(vma, base, faultBack))) return 'away';
  const huge = ram.alloc(9);
  if (huge < 0) return 'no page';
  const range = yield* invalidateStart(mm, 'CLEAR', base, base + PMD_PAGES, null, 'collapse-untold');
  if (sched.concurrent) yield sched.point('collapse', '*');
  const again = scan(vma, base, false); // it may have slept
  if (again !== 'ready' || !copyPages(vma, base, huge)) {
    ram.put(huge);
    invalidateEnd(mm, range);
    return again === 'ready' ? 'no page' : again;
  }
  const pt = mm.pageTable;
  for (let i = 0; i < PMD_PAGES; i++) {
    pt.look(base + i);
    const pfn = pt.none ? -1 : framePfn(pt.lo, pt.hi);
    pt.setRaw(0, 0);
    if (pfn >= 0 && !ram.isZero(pfn)) dropPage(mm, LEVEL_PTE, pfn);
  }
  pt.freeTables(base, PMD_PAGES);
  pt.slot(base, LEVEL_PMD);
  ownPage(vma, huge, base);
  records.addWholeMappings(huge, 1);
  pt.set(huge, vmaFlagsLo(vma.flags, LEVEL_PMD, true), vma.has(VM_EXEC) ? 0 : HI_NX);
  if (bus.on) bus.emit({ type: 'entry', mm: mm.id, vpn: base, level: LEVEL_PMD, pfn: huge, write: true });
  invalidateEnd(mm, range);
  return 'huge';
}

/** Pages of the 2 MiB that are elsewhere come back first. */
function* bringBack(vma: Vma, base: Vpn, faultBack: FaultBack): Sleepable<boolean> {
  const pt = vma.mm.pageTable;
  for (let vpn = base; vpn < base + PMD_PAGES; vpn++) {
    pt.look(vpn);
    if (isSwapEntry(pt.level, pt.lo, pt.hi) && !(yield* faultBack(vma, vpn))) return false;
  }
  return true;
}

/** What the entries of a 2 MiB are good for. `awayToo`: pages that are elsewhere are no obstacle yet. */
function scan(vma: Vma, base: Vpn, awayToo: boolean): Outcome | 'ready' {
  const { mm } = vma;
  const { ram, records } = mm.platform;
  const pt = mm.pageTable;
  pt.look(base);
  if (pt.level >= LEVEL_PUD || (pt.level === LEVEL_PMD && pt.none)) return 'empty';
  if (pt.level === LEVEL_PMD) return isLeafEntry(LEVEL_PMD, pt.lo) ? 'huge' : 'empty';
  let writable = false;
  let checked: Pfn = -1;
  for (let i = 0; i < PMD_PAGES; i++) {
    pt.look(base + i);
    if (pt.none) continue;
    if (!isPresent(LEVEL_PTE, pt.lo)) {
      if (awayToo) continue;
      return 'empty';
    }
    const pfn = framePfn(pt.lo, pt.hi);
    if (ram.isZero(pfn)) continue;
    if (isWritable(pt.lo)) writable = true;
    if (pfn >= DEVICE_BASE_PFN) return 'empty';
    const head = ram.head(pfn);
    if (head === checked) continue;
    checked = head;
    if ((records.flags(head) & PAGE_ANON) === 0) return 'not anonymous';
    if (records.refs(head) !== mappingsOfBlock(mm.platform, head)) return 'referenced';
  }
  return writable ? 'ready' : 'read only';
}

/** Copies what is there to the huge page; false when the arena has no room for the bytes. */
function copyPages(vma: Vma, base: Vpn, huge: Pfn): boolean {
  const { ram, arena } = vma.mm.platform;
  const pt = vma.mm.pageTable;
  for (let i = 0; i < PMD_PAGES; i++) {
    pt.look(base + i);
    if (pt.none) continue;
    const pfn = framePfn(pt.lo, pt.hi);
    if (!ram.isZero(pfn) && !arena.content.copy((huge + i) * 4096, pfn * 4096, 4096)) return false;
  }
  return true;
}
