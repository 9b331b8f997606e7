/**
 * Poison in a page of RAM (mm/memory-failure.c: memory_failure, hwpoison_user_mappings).
 *
 * A huge page is split first. A clean page of a file on a disk is forgotten. Else every entry becomes a hwpoison entry, area by area with a CLEAR of its page; who touches one has
 * SIGBUS. The page keeps the reference that found it and is never used again.
 */
import { LEVEL_PTE } from '../../abi.ts';
import type { Mappable } from '../../fs/index.ts';
import type { Platform } from '../../memremap/index.ts';
import { PAGE_ANON, PAGE_POISONED } from '../../page/index.ts';
import { SWP_HWPOISON, swapHi, swapLo } from '../../pgtable/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import { alignDown, pagesOfLevel, type Pfn } from '../../units.ts';
import type { PageCache } from '../filemap/index.ts';
import { putUserPage } from '../gup/index.ts';
import { lookPte, mappedPfn } from '../migrate/entries.ts';
import { cacheOf, mappersOf } from '../migrate/mappers.ts';
import { invalidateEnd, invalidateStart, type Mm } from '../mm.ts';
import { mkcleanMapping } from '../rmap.ts';
import { dropPage, splitHugePage } from '../thp/index.ts';
import { zapTouches } from '../zap.ts';
import type { Failed } from './inject.ts';
import { failHugePage, isHugetlb } from './hugePage.ts';
import { PoisonSignal, frameAt, signalsOf } from './signal.ts';

/** The caller holds one reference, which is used up. EHWPOISON: it has failed before; EBUSY: it cannot be taken out of use. */
export function* failPage(mm: Mm, pfn: Pfn): Sleepable<Failed> {
  const { platform } = mm;
  const { records, ram, profile } = platform;
  if (isHugetlb(platform, pfn)) return yield* failHugePage(mm, pfn);
  const { adviceKills } = profile;
  if ((records.flags(pfn) & PAGE_POISONED) !== 0) return refuse(platform, pfn, 'EHWPOISON', adviceKills ? firstEntry(mm, pfn) : []);
  records.setFlags(pfn, records.flags(pfn) | PAGE_POISONED);
  if (pfn === ram.zeroPfn) return refuse(platform, pfn, 'EBUSY');
  const whole = ram.isZero(pfn) || (ram.order(pfn) > 0 && !(yield* splitFor(platform, pfn)));
  if (whole) return refuse(platform, pfn, profile.unsplitAnswers, adviceKills ? signalsOf(mm, pfn) : []);
  const cache = cacheOf(platform, pfn);
  if (cache === undefined && (records.flags(pfn) & PAGE_ANON) === 0) return refuse(platform, pfn, 'EBUSY'); // the kernel's own, as [vdso] has: me_kernel()
  if (cache !== undefined && (yield* dropIfClean(cache, pfn))) return { err: null, signals: [] };
  const signals = adviceKills ? signalsOf(mm, pfn) : [];
  yield* takeOut(platform, pfn, true);
  if (cache !== undefined) forgetDirty(cache, records.index(pfn));
  return { err: null, signals };
}

/** The huge page of `pfn`, on which the caller has a reference, falls to pages; the reference is then that page's. */
export function* splitFor(platform: Platform, pfn: Pfn): Sleepable<boolean> {
  const { ram, records } = platform;
  const head = ram.head(pfn);
  return (records.flags(head) & PAGE_ANON) !== 0 && (yield* splitHugePage(platform, head, 1, pfn));
}

function refuse(platform: Platform, pfn: Pfn, err: 'EBUSY' | 'EHWPOISON', signals: readonly PoisonSignal[] = []): Failed {
  putUserPage(platform, pfn);
  return { err, signals };
}

/** kill_accessing_process(): a page that has failed before is told of at the first address at which the process has it. */
function firstEntry(mm: Mm, pfn: Pfn): PoisonSignal[] {
  const pt = mm.pageTable;
  for (const vma of mm.vmas) {
    for (let vpn = pt.nextEntry(vma.start, vma.end, LEVEL_PTE); vpn >= 0; ) {
      const npages = pt.look(vpn) ? pagesOfLevel(pt.level) : 1;
      const first = alignDown(vpn, npages);
      const found = pt.look(first) ? pfn - frameAt(mm, first) : -1;
      if (found >= 0 && found < npages) return [new PoisonSignal(first + found, 12)];
      vpn = first + npages >= vma.end ? -1 : pt.nextEntry(first + npages, vma.end, LEVEL_PTE);
    }
  }
  return [];
}

/** A page of a file on a disk that has been written back is only forgotten: it is read again when it is next needed. */
function* dropIfClean(cache: PageCache, pfn: Pfn): Sleepable<boolean> {
  const { platform, inode } = cache;
  const index = platform.records.index(pfn);
  const folio = cache.get(index);
  if (!onDisk(inode) || folio === undefined || folio.dirty) return false;
  if (platform.records.mappings(pfn) > 0) yield* mkcleanMapping(inode, index, 1);
  yield* takeOut(platform, pfn, false);
  cache.remove(folio);
  return true;
}

/** A written page of a file on a disk is lost, and who next syncs the file is told. Shared memory keeps the page, and its fault with it. */
function forgetDirty(cache: PageCache, index: number): void {
  const folio = cache.get(index);
  if (folio === undefined || !onDisk(cache.inode)) return;
  cache.lostWrites = true;
  cache.remove(folio);
}

function onDisk(inode: Mappable): boolean {
  return 'fs' in inode;
}

/** try_to_unmap(): every entry of the page goes; `poison`: a hwpoison entry stands there. */
function* takeOut(platform: Platform, pfn: Pfn, poison: boolean): Sleepable<void> {
  const { sched, records } = platform;
  if (records.mappings(pfn) === 0) return;
  for (const { vma, vpn } of mappersOf(platform, pfn)) {
    const { mm } = vma;
    const range = yield* invalidateStart(mm, 'CLEAR', vpn, vpn + 1, null, 'poison-untold');
    if (sched.concurrent) yield sched.point('try_to_unmap', zapTouches(vma));
    const pt = mm.pageTable;
    if (lookPte(vma, vpn) && mappedPfn(pt.lo, pt.hi) === pfn) {
      if (poison) mm.mayHaveSwapEntries = true;
      pt.setRaw(poison ? swapLo(pfn) : 0, poison ? swapHi(SWP_HWPOISON, pfn) : 0);
      dropPage(mm, LEVEL_PTE, pfn);
    }
    invalidateEnd(mm, range);
    if (records.mappings(pfn) === 0) break;
  }
}
