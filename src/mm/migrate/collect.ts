/**
 * The first half of migrate_vma_setup(): pages are found, locked, and taken out of the area's page table (mm/migrate_device.c:
 * migrate_vma_collect).
 *
 * Under one MIGRATE over the whole range, whatever is found. Holes and pages of zeroes of anonymous memory collect as "migrate, no
 * page". What is shared, swapped out, exclusive to a device, another device's, pinned and one's own, or part of a huge page mapped
 * by ptes is passed over.
 */
import { LEVEL_PMD, LEVEL_PTE, PMD_PAGES } from '../../abi.ts';
import { DEVICE_MEMORY_BASE_PFN, PAGE_ANON } from '../../page/index.ts';
import { framePfn, isDevicePrivateType, isLeafEntry, isPresent, isSpecial, isSwapEntry, isWritable, isWritableType, swapType } from '../../pgtable/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import { alignDown, type Pfn, type Vpn } from '../../units.ts';
import { hold, letGo } from '../hold.ts';
import { invalidateEnd, invalidateStart } from '../mm.ts';
import { isCounted, splitHugePage } from '../thp/index.ts';
import type { Vma } from '../vma.ts';
import { splitHuge, zapTouches } from '../zap.ts';
import { swapPfn, toMigrationEntry } from './entries.ts';
import { cacheOf } from './mappers.ts';
import {
  MIGRATE_PFN_MIGRATE, MIGRATE_PFN_WRITE, MIGRATE_VMA_SELECT_DEVICE_COHERENT, MIGRATE_VMA_SELECT_DEVICE_PRIVATE, MIGRATE_VMA_SELECT_SYSTEM, type MigrateVma,
} from './migration.ts';

/** Collects `[m.start, m.end)` of `vma`. */
export function* collectPages(m: MigrateVma, vma: Vma): Sleepable<void> {
  const { mm } = vma;
  const { sched } = mm.platform;
  const range = yield* invalidateStart(mm, 'MIGRATE', m.start, m.end, m.owner, 'collect-untold');
  if (sched.concurrent) yield sched.point('migrate: collect', zapTouches(vma));
  for (let at = m.start; at < m.end; ) {
    const upTo = Math.min(m.end, alignDown(at, PMD_PAGES) + PMD_PAGES);
    if (yield* splitLeaf(vma, at)) for (let vpn = at; vpn < upTo; vpn++) collectPage(m, vma, vpn);
    at = upTo;
  }
  invalidateEnd(mm, range);
}

/** Sees to it that no huge leaf stands over `vpn`: false where it has to stay. */
function* splitLeaf(vma: Vma, vpn: Vpn): Sleepable<boolean> {
  const { mm } = vma;
  const { ram, pageLocks } = mm.platform;
  const pt = mm.pageTable;
  pt.look(vpn);
  if (pt.none || pt.level === LEVEL_PTE) return true;
  if (pt.level !== LEVEL_PMD || !isLeafEntry(LEVEL_PMD, pt.lo)) return false;
  const head = framePfn(pt.lo, pt.hi);
  if (ram.isZero(head)) {
    yield* splitHuge(vma, alignDown(vpn, PMD_PAGES), PMD_PAGES);
    return true;
  }
  if (!isCounted(mm, LEVEL_PMD, pt.lo, pt.hi) || !pageLocks.tryLock(head)) return false;
  ram.get(head);
  const split = yield* splitHugePage(mm.platform, head, 1);
  pageLocks.unlock(head);
  ram.put(head);
  return split;
}

function collectPage(m: MigrateVma, vma: Vma, vpn: Vpn): void {
  const { platform } = vma.mm;
  const pt = vma.mm.pageTable;
  const i = vpn - m.start;
  pt.look(vpn);
  const hole = pt.none || (pt.level === LEVEL_PTE && isZeroPte(vma, m));
  if (hole) {
    if (vma.ops !== null) return;
    m.src.flags[i] = MIGRATE_PFN_MIGRATE;
    m.cpages++;
    return;
  }
  const pfn = pt.level === LEVEL_PTE ? selectedPfn(m, vma) : -1;
  if (pfn < 0 || platform.ram.order(pfn) > 0) return;
  if ((platform.records.flags(pfn) & PAGE_ANON) === 0 && cacheOf(platform, pfn) === undefined) return;
  const writable = isPresent(LEVEL_PTE, pt.lo) ? isWritable(pt.lo) : isWritableType(swapType(pt.hi));
  if (!platform.pageLocks.tryLock(pfn)) return;
  hold(platform, pfn, 'migrate_vma_setup');
  if (!toMigrationEntry(vma, pfn)) {
    platform.pageLocks.unlock(pfn);
    letGo(platform, pfn);
    return;
  }
  m.src.setPage(i, pfn, MIGRATE_PFN_MIGRATE | (writable ? MIGRATE_PFN_WRITE : 0));
  m.cpages++;
}

/** The 4K page of zeroes, where RAM is selected. */
function isZeroPte(vma: Vma, m: MigrateVma): boolean {
  const { lo, hi } = vma.mm.pageTable;
  return (m.select & MIGRATE_VMA_SELECT_SYSTEM) !== 0 && isPresent(LEVEL_PTE, lo) && vma.mm.platform.ram.isZero(framePfn(lo, hi));
}

/** The page behind the pte found last, if it is one that was selected; or -1. */
function selectedPfn(m: MigrateVma, vma: Vma): Pfn {
  const { lo, hi } = vma.mm.pageTable;
  if (isSwapEntry(LEVEL_PTE, lo, hi)) {
    if (!isDevicePrivateType(swapType(hi)) || (m.select & MIGRATE_VMA_SELECT_DEVICE_PRIVATE) === 0) return -1;
    return isOwn(m, vma, swapPfn(lo, hi)) ? swapPfn(lo, hi) : -1;
  }
  if (isSpecial(lo) || !isCounted(vma.mm, LEVEL_PTE, lo, hi)) return -1;
  const pfn = framePfn(lo, hi);
  if (pfn < DEVICE_MEMORY_BASE_PFN) return (m.select & MIGRATE_VMA_SELECT_SYSTEM) !== 0 ? pfn : -1;
  return (m.select & MIGRATE_VMA_SELECT_DEVICE_COHERENT) !== 0 && isOwn(m, vma, pfn) ? pfn : -1;
}

function isOwn(m: MigrateVma, vma: Vma, pfn: Pfn): boolean {
  return vma.mm.platform.pgmaps.find(pfn)?.owner === m.owner;
}
