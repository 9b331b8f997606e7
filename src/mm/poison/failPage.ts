/**
 * Poison in a page of RAM (mm/memory-failure.c: memory_failure, hwpoison_user_mappings).
 *
 * A huge page is split first. Every entry becomes a hwpoison entry, area by area with a CLEAR of its page; who touches one has
 * SIGBUS. The page keeps the reference that found it and is never used again.
 */
import { LEVEL_PTE } from '../../abi.ts';
import type { Platform } from '../../memremap/index.ts';
import { PAGE_ANON, PAGE_POISONED } from '../../page/index.ts';
import { SWP_HWPOISON, swapHi, swapLo } from '../../pgtable/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import type { Pfn } from '../../units.ts';
import { putUserPage } from '../gup/index.ts';
import { lookPte, mappedPfn } from '../migrate/entries.ts';
import { mappersOf } from '../migrate/mappers.ts';
import { invalidateEnd, invalidateStart, type Mm } from '../mm.ts';
import { dropPage, splitHugePage } from '../thp/index.ts';
import { zapTouches } from '../zap.ts';
import type { Failed } from './inject.ts';
import { PoisonSignal } from './signal.ts';

/** The caller holds one reference, which is used up. EHWPOISON: it has failed before; EBUSY: it cannot be taken out of use. */
export function* failPage(mm: Mm, pfn: Pfn): Sleepable<Failed> {
  const { platform } = mm;
  const { records, ram, profile } = platform;
  if (ram.isZero(pfn)) return refuse(platform, pfn, 'EBUSY');
  if ((records.flags(pfn) & PAGE_POISONED) !== 0) return refuse(platform, pfn, 'EHWPOISON');
  records.setFlags(pfn, records.flags(pfn) | PAGE_POISONED);
  if (ram.order(pfn) > 0 && !(yield* splitFor(platform, pfn))) return refuse(platform, pfn, 'EBUSY');
  const signals = profile.adviceKills ? signalsOf(mm, pfn) : [];
  yield* poisonEntries(platform, pfn);
  return { err: null, signals };
}

/** The huge page of `pfn`, on which the caller has a reference, falls to pages; the reference is then that page's. */
export function* splitFor(platform: Platform, pfn: Pfn): Sleepable<boolean> {
  const { ram, records } = platform;
  const head = ram.head(pfn);
  if ((records.flags(head) & PAGE_ANON) === 0 || !(yield* splitHugePage(platform, head, 1))) return false;
  if (pfn !== head) {
    ram.get(pfn);
    ram.put(head);
  }
  return true;
}

function refuse(platform: Platform, pfn: Pfn, err: 'EBUSY' | 'EHWPOISON'): Failed {
  putUserPage(platform, pfn);
  return { err, signals: [] };
}

/** collect_procs() of the process that asked: where it maps the page. */
function signalsOf(mm: Mm, pfn: Pfn): PoisonSignal[] {
  const signals: PoisonSignal[] = [];
  for (const { vma, vpn } of mappersOf(mm.platform, pfn)) {
    const pt = vma.mm.pageTable;
    if (vma.mm === mm && lookPte(vma, vpn) && mappedPfn(pt.lo, pt.hi) === pfn) signals.push(new PoisonSignal(vpn, 12));
  }
  return signals;
}

/** try_to_unmap() of a poisoned page. */
function* poisonEntries(platform: Platform, pfn: Pfn): Sleepable<void> {
  const { sched, records } = platform;
  if (records.mappings(pfn) === 0) return;
  for (const { vma, vpn } of mappersOf(platform, pfn)) {
    const { mm } = vma;
    const range = yield* invalidateStart(mm, 'CLEAR', vpn, vpn + 1);
    if (sched.concurrent) yield sched.point('try_to_unmap', zapTouches(vma));
    const pt = mm.pageTable;
    if (lookPte(vma, vpn) && mappedPfn(pt.lo, pt.hi) === pfn) {
      mm.mayHaveSwapEntries = true;
      pt.setRaw(swapLo(pfn), swapHi(SWP_HWPOISON, pfn));
      dropPage(mm, LEVEL_PTE, pfn);
    }
    invalidateEnd(mm, range);
    if (records.mappings(pfn) === 0) break;
  }
}
