/**
 * Pages on their way, for as long as somebody wants: migration entries in, the page locked, until it is put back where it was
 * (what mm/migrate.c: unmap_and_move does between try_to_unmap and remove_migration_ptes). Huge pages of anonymous memory that are
 * mapped whole have an entry of their own size.
 */
import { LEVEL_PMD, PMD_PAGES, PTE_DIRTY, PTE_RW } from '../../abi.ts';
import { HmmError } from '../../errno.ts';
import type { Platform } from '../../memremap/index.ts';
import { PAGE_ANON, PAGE_EXCLUSIVE } from '../../page/index.ts';
import {
  HI_NX, SWP_MIGRATION_READ, SWP_MIGRATION_READ_EXCLUSIVE, SWP_MIGRATION_WRITE, framePfn, isMigrationType, isSwapEntry, isWritable, swapHi, swapLo, swapType,
} from '../../pgtable/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import { addrOf, alignDown, type Pfn, type Vpn } from '../../units.ts';
import { hold, letGo } from '../hold.ts';
import { invalidateEnd, invalidateStart, type Mm } from '../mm.ts';
import { writeLeaf } from '../mprotect.ts';
import { isCounted } from '../thp/index.ts';
import { vmaFlagsLo } from '../insert.ts';
import { VM_EXEC, type Vma } from '../vma.ts';
import { swapPfn } from './entries.ts';
import { mappersOf } from './mappers.ts';
import { putBack, tryToMigrate } from './unmap.ts';

/** A page that is held: locked, with a reference, without a mapping. */
export interface HeldPage {
  readonly pfn: Pfn;
  readonly huge: boolean;
}

/** Takes the ordinary pages that are mapped in `[start, end)` out of all page tables. EINVAL: a part is not mapped. */
export function* holdPages(mm: Mm, start: Vpn, end: Vpn): Sleepable<readonly HeldPage[]> {
  const { sched } = mm.platform;
  const held: HeldPage[] = [];
  if (!mm.mmapLock.tryRead(sched)) yield* mm.mmapLock.read(sched);
  try {
    for (let vpn = start; vpn < end; ) {
      if (mm.vmas.at(vpn) === null) throw new HmmError('EINVAL', 'migrate', 'not mapped', addrOf(vpn));
      const page = pageAt(mm, vpn);
      if (page !== null) {
        yield* holdPage(mm.platform, page);
        mm.platform.pageLocks.leave(page.pfn);
        held.push(page);
      }
      vpn = page?.huge === true ? alignDown(vpn, PMD_PAGES) + PMD_PAGES : vpn + 1;
    }
  } finally {
    mm.mmapLock.readUnlock(sched);
  }
  return held;
}

/** remove_migration_ptes() and unlock_page(): each page is back where its entries still stand. */
export function releasePages(platform: Platform, held: readonly HeldPage[]): void {
  for (const { pfn, huge } of held) {
    if (huge) putBackHuge(platform, pfn);
    else putBack(platform, pfn, pfn);
    platform.pageLocks.unlock(pfn);
    letGo(platform, pfn);
  }
}

function pageAt(mm: Mm, vpn: Vpn): HeldPage | null {
  const pt = mm.pageTable;
  pt.look(vpn);
  if (pt.none || pt.level > LEVEL_PMD || !isCounted(mm, pt.level, pt.lo, pt.hi)) return null;
  return { pfn: framePfn(pt.lo, pt.hi), huge: pt.level === LEVEL_PMD };
}

function* holdPage(platform: Platform, { pfn, huge }: HeldPage): Sleepable<void> {
  hold(platform, pfn, 'migration by hand');
  platform.ledger?.handed([pfn]);
  yield* platform.pageLocks.lock(platform.sched, pfn);
  if (!huge) {
    yield* tryToMigrate(platform, pfn);
    return;
  }
  for (const { vma, vpn } of mappersOf(platform, pfn)) {
    const range = yield* invalidateStart(vma.mm, 'CLEAR', vpn, vpn + PMD_PAGES);
    const pt = vma.mm.pageTable;
    pt.look(vpn);
    if (pt.level === LEVEL_PMD && isCounted(vma.mm, LEVEL_PMD, pt.lo, pt.hi) && framePfn(pt.lo, pt.hi) === pfn) toHugeEntry(vma, pfn);
    invalidateEnd(vma.mm, range);
  }
}

/** set_pmd_migration_entry(). */
function toHugeEntry(vma: Vma, head: Pfn): void {
  const { records, ram } = vma.mm.platform;
  const pt = vma.mm.pageTable;
  const flags = records.flags(head);
  const own = (flags & (PAGE_ANON | PAGE_EXCLUSIVE)) === (PAGE_ANON | PAGE_EXCLUSIVE);
  const type = isWritable(pt.lo) ? SWP_MIGRATION_WRITE : own ? SWP_MIGRATION_READ_EXCLUSIVE : SWP_MIGRATION_READ;
  records.setFlags(head, flags & ~PAGE_EXCLUSIVE);
  vma.mm.mayHaveSwapEntries = true;
  pt.setRaw(swapLo(head), swapHi(type, head));
  records.addWholeMappings(head, -1);
  ram.put(head);
}

/** remove_migration_pmd(). */
function putBackHuge(platform: Platform, head: Pfn): void {
  const { records, ram } = platform;
  for (const { vma, vpn } of mappersOf(platform, head)) {
    const pt = vma.mm.pageTable;
    pt.look(vpn);
    const type = swapType(pt.hi);
    if (pt.level !== LEVEL_PMD || !isSwapEntry(LEVEL_PMD, pt.lo, pt.hi) || !isMigrationType(type) || swapPfn(pt.lo, pt.hi) !== head) continue;
    const write = type === SWP_MIGRATION_WRITE;
    ram.get(head);
    records.addWholeMappings(head, 1);
    if (type !== SWP_MIGRATION_READ) records.setFlags(head, records.flags(head) | PAGE_EXCLUSIVE);
    const lo = vmaFlagsLo(vma.flags, LEVEL_PMD, write) & ~PTE_DIRTY;
    writeLeaf(vma.mm, head, write ? lo : lo & ~PTE_RW, vma.has(VM_EXEC) ? 0 : HI_NX);
  }
}
