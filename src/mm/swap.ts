/**
 * Anonymous pages in swap entries (mm/rmap.c: try_to_unmap_one, mm/memory.c: do_swap_page). Nothing is ever written out: a page stays
 * in the swap cache, and a fault finds it there.
 *
 * A swap entry holds a count of its slot. A read fault maps the page without the right to write, a write fault with it where nobody
 * else has the page or its slot.
 */
import { LEVEL_PTE, PTE_DIRTY, PTE_RW } from '../abi.ts';
import { HmmError } from '../errno.ts';
import type { Platform } from '../memremap/index.ts';
import { PAGE_ANON, PAGE_EXCLUSIVE } from '../page/index.ts';
import { HI_NX, SWP_SWAP, framePfn, isPresent, isSpecial, swapHi, swapLo, swapOffset } from '../pgtable/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { addrOf, type Pfn, type Vpn } from '../units.ts';
import { anonMappings } from './anonVma.ts';
import { vmaFlagsLo } from './insert.ts';
import { hold, letGo } from './hold.ts';
import { invalidateEnd, invalidateStart, type Mm } from './mm.ts';
import { FAULT_FLAG_WRITE, VM_EXEC, VM_WRITE, type Vma, type Vmf } from './vma.ts';
import { zapTouches } from './zap.ts';

/** Every 4K anonymous page of `[start, end)` goes to its swap entry, wherever it is mapped. Others stay. EINVAL: not mapped. */
export function* swapOut(mm: Mm, start: Vpn, end: Vpn): Sleepable<void> {
  const { sched } = mm.platform;
  if (!mm.mmapLock.tryRead(sched)) yield* mm.mmapLock.read(sched);
  try {
    for (let vpn = start; vpn < end; vpn++) {
      const vma = mm.vmas.at(vpn);
      if (vma === null) throw new HmmError('EINVAL', 'swap', 'not mapped', addrOf(vpn));
      const pfn = swappable(mm, vpn);
      if (pfn >= 0) yield* swapOutPage(mm.platform, pfn);
    }
  } finally {
    mm.mmapLock.readUnlock(sched);
  }
}

/** The ordinary anonymous page mapped by a pte there, or -1. */
function swappable(mm: Mm, vpn: Vpn): Pfn | -1 {
  const pt = mm.pageTable;
  pt.look(vpn);
  if (pt.level !== LEVEL_PTE || pt.none || !isPresent(LEVEL_PTE, pt.lo) || isSpecial(pt.lo)) return -1;
  const pfn = framePfn(pt.lo, pt.hi);
  const { ram } = mm.platform;
  return (ram.flags(pfn) & PAGE_ANON) !== 0 && ram.order(pfn) === 0 ? pfn : -1;
}

/** try_to_unmap(): each mapping hears CLEAR of its page. */
function* swapOutPage(platform: Platform, pfn: Pfn): Sleepable<void> {
  const { sched, ram, records, swapCache, pageLocks } = platform;
  yield* pageLocks.lock(sched, pfn);
  hold(platform, pfn, 'swap out');
  const slot = swapCache.add(pfn);
  for (const { vma, vpn } of anonMappings(platform, pfn)) {
    const range = yield* invalidateStart(vma.mm, 'CLEAR', vpn, vpn + 1, null, 'swapout-untold');
    if (sched.concurrent) yield sched.point('try_to_unmap', zapTouches(vma));
    if (swappable(vma.mm, vpn) === pfn) {
      records.setFlags(pfn, records.flags(pfn) & ~PAGE_EXCLUSIVE);
      swapCache.duplicate(slot);
      vma.mm.mayHaveSwapEntries = true;
      vma.mm.pageTable.setRaw(swapLo(slot), swapHi(SWP_SWAP, slot));
      records.addMappings(pfn, -1);
      ram.put(pfn);
    }
    invalidateEnd(vma.mm, range);
  }
  pageLocks.unlock(pfn);
  letGo(platform, pfn);
}

/** do_swap_page() of the swap entry found last. */
export function* swapInPage({ vma, vpn, flags }: Vmf): Sleepable<number> {
  const { platform, pageTable: pt } = vma.mm;
  const { sched, swapCache, pageLocks } = platform;
  const { lo, hi } = pt;
  const slot = swapOffset(lo, hi);
  const pfn = swapCache.page(slot);
  yield* pageLocks.lock(sched, pfn);
  pt.look(vpn);
  if (pt.level === LEVEL_PTE && pt.lo === lo && pt.hi === hi) mapSwapped(vma, slot, pfn, (flags & FAULT_FLAG_WRITE) !== 0);
  pageLocks.unlock(pfn);
  return 0;
}

function mapSwapped(vma: Vma, slot: number, pfn: Pfn, write: boolean): void {
  const { ram, records, swapCache } = vma.mm.platform;
  const alone = swapCache.count(slot) === 1 && ram.mappings(pfn) === 0;
  const writable = write && alone && vma.has(VM_WRITE);
  ram.get(pfn);
  records.addMappings(pfn, 1);
  if (alone) records.setFlags(pfn, records.flags(pfn) | PAGE_EXCLUSIVE);
  vma.mm.pageTable.set(pfn, vmaFlagsLo(vma.flags, LEVEL_PTE, false) | (writable ? PTE_RW | PTE_DIRTY : 0), vma.has(VM_EXEC) ? 0 : HI_NX);
  swapCache.free(slot);
}
