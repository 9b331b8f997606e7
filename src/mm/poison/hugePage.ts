/**
 * Poison in, and replacement of, a page of hugetlb (mm/memory-failure.c: try_memory_failure_hugetlb, me_huge_page).
 *
 * It fails as a whole: every mapper hears CLEAR of all of it and has one hwpoison entry, the file keeps it, and the pool has one
 * page less. Soft offline takes another page of the pool.
 */
import type { Platform } from '../../memremap/index.ts';
import { PAGE_HUGETLB, PAGE_POISONED } from '../../page/index.ts';
import { SWP_HWPOISON, framePfn, isLeafEntry, swapHi, swapLo } from '../../pgtable/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import type { Pfn } from '../../units.ts';
import { putUserPage } from '../gup/index.ts';
import { hugePageOf, type HugeFile } from '../hugetlb/index.ts';
import { cacheOf, mappersOf } from '../migrate/mappers.ts';
import { invalidateEnd, invalidateStart, type Mm } from '../mm.ts';
import { addPage, dropPage } from '../thp/index.ts';
import type { Vma } from '../vma.ts';
import { zapTouches } from '../zap.ts';
import type { Failed } from './inject.ts';
import { signalsOf } from './signal.ts';

export function isHugetlb({ ram, records }: Platform, pfn: Pfn): boolean {
  return ram.order(pfn) > 0 && (records.flags(ram.head(pfn)) & PAGE_HUGETLB) !== 0;
}

/** The page of hugetlb that `pfn` is a part of fails. The caller's reference is used up. EHWPOISON. */
export function* failHugePage(mm: Mm, pfn: Pfn): Sleepable<Failed> {
  const { platform } = mm;
  const { ram, records, profile } = platform;
  const head = ram.head(pfn);
  if ((records.flags(head) & PAGE_POISONED) !== 0) {
    putUserPage(platform, pfn);
    return { err: 'EHWPOISON', signals: [] };
  }
  records.setFlags(head, records.flags(head) | PAGE_POISONED);
  const signals = profile.adviceKills ? signalsOf(mm, pfn) : [];
  yield* eachLeaf(platform, head, (vma, _vpn, level) => {
    vma.mm.mayHaveSwapEntries = true;
    vma.mm.pageTable.setRaw(swapLo(head), swapHi(SWP_HWPOISON, head));
    dropPage(vma.mm, level, head);
  });
  return { err: null, signals };
}

/** What it holds moves to another page of the pool. The caller's reference is used up. EBUSY: somebody holds it, or there is none. */
export function* replaceHugePage(platform: Platform, pfn: Pfn): Sleepable<boolean> {
  const { ram, records, arena } = platform;
  const head = ram.head(pfn);
  const [first] = mappersOf(platform, head);
  const file = cacheOf(platform, head) as HugeFile | undefined;
  const expected = 1 + ram.mappings(head) + (file === undefined ? 0 : 1);
  const pool = first === undefined ? undefined : hugePageOf(first.vma);
  const to = pool === undefined || ram.refs(head) !== expected ? -1 : pool.alloc(false);
  if (to < 0) return false;
  if (!arena.content.copy(to * 4096, head * 4096, 4096 * 2 ** ram.order(head))) {
    ram.put(to);
    return false;
  }
  records.setOwner(to, records.flags(head), records.owner(head), records.index(head));
  yield* eachLeaf(platform, head, (vma, _vpn, level) => {
    const pt = vma.mm.pageTable;
    pt.set(to, pt.lo & 0xfff, (pt.hi & 0xfff00000) >>> 0);
    addPage(vma.mm, level, to);
    dropPage(vma.mm, level, head);
  });
  if (file === undefined) ram.put(to); // the mappings hold it
  else {
    file.pages.set(records.index(head) / 2 ** ram.order(head), to);
    ram.put(head);
  }
  records.setFlags(head, records.flags(head) | PAGE_POISONED);
  return true;
}

/** Each area over the page hears CLEAR, until nothing maps it any more; `visit` sees the leaves that do, found last. */
function* eachLeaf(platform: Platform, head: Pfn, visit: (vma: Vma, vpn: number, level: number) => void): Sleepable<void> {
  const { sched, ram } = platform;
  if (ram.mappings(head) === 0) return;
  for (const { vma, vpn } of mappersOf(platform, head)) {
    const { mm } = vma;
    const { level, npages } = hugePageOf(vma);
    const range = yield* invalidateStart(mm, 'CLEAR', vpn, vpn + npages);
    if (sched.concurrent) yield sched.point('try_to_unmap', zapTouches(vma));
    const pt = mm.pageTable;
    pt.look(vpn);
    if (pt.level === level && isLeafEntry(level, pt.lo) && framePfn(pt.lo, pt.hi) === head) visit(vma, vpn, level);
    invalidateEnd(mm, range);
    if (ram.mappings(head) === 0) break;
  }
}
