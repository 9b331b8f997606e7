/**
 * The second half of migrate_vma_setup(): what else maps the pages (mm/migrate_device.c: migrate_device_unmap, mm/rmap.c:
 * try_to_migrate), and the way back (mm/migrate.c: remove_migration_ptes).
 *
 * Each mapping hears CLEAR for its page, without an owner; also one whose entry is gone already, if the walk over the mappings comes
 * by before the last other one has gone. A page that is still mapped then, or has references that nobody accounts for (a pin, I/O),
 * stays where it is.
 */
import type { Platform } from '../../memremap/index.ts';
import { PAGE_CACHE } from '../../page/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import type { Pfn } from '../../units.ts';
import { maps } from '../anonVma.ts';
import { letGo } from '../hold.ts';
import { invalidateEnd, invalidateStart } from '../mm.ts';
import { zapTouches } from '../zap.ts';
import { fromMigrationEntry, isMigrationOf, lookPte, mappedPfn, toMigrationEntry } from './entries.ts';
import { mappersOf } from './mappers.ts';
import { MIGRATE_PFN_MIGRATE, type MigratePages } from './migration.ts';

/**
 * Takes the pages of `src`, each locked and with a reference of the caller's, out of all page tables. Those that cannot go are put
 * back and forgotten. Returns how many are still to migrate, holes included.
 */
export function* unmapPages(platform: Platform, src: MigratePages, npages: number, faultPage: Pfn): Sleepable<number> {
  let migrating = 0;
  for (let i = 0; i < npages; i++) {
    const pfn = src.pfn(i);
    if (pfn >= 0) {
      if (platform.records.mappings(pfn) > 0) yield* tryToMigrate(platform, pfn);
      if (platform.records.mappings(pfn) > 0 || hasOtherReferences(platform, pfn, faultPage)) src.giveUp(i);
    }
    if (src.has(i, MIGRATE_PFN_MIGRATE)) migrating++;
  }
  for (let i = 0; i < npages; i++) {
    const pfn = src.pfn(i);
    if (pfn < 0 || src.has(i, MIGRATE_PFN_MIGRATE)) continue;
    putBack(platform, pfn, pfn);
    src.flags[i] = 0;
    platform.pageLocks.unlock(pfn);
    letGo(platform, pfn);
  }
  return migrating;
}

/** migrate_vma_check_page(): references beyond the caller's, the page cache's and the core's of a fault. */
function hasOtherReferences({ records }: Platform, pfn: Pfn, faultPage: Pfn): boolean {
  const expected = 1 + (pfn === faultPage ? 1 : 0) + ((records.flags(pfn) & PAGE_CACHE) !== 0 ? 1 : 0);
  return records.refs(pfn) > expected + records.mappings(pfn);
}

/** try_to_migrate(): every entry of the page becomes a migration entry, area by area until none is left. */
export function* tryToMigrate(platform: Platform, pfn: Pfn): Sleepable<void> {
  const { sched } = platform;
  for (const { vma, vpn } of mappersOf(platform, pfn)) {
    const range = yield* invalidateStart(vma.mm, 'CLEAR', vpn, vpn + 1, null, 'migrate-untold');
    if (sched.concurrent) yield sched.point('try_to_migrate', zapTouches(vma));
    const pt = vma.mm.pageTable;
    const moved = !maps({ vma, vpn }) || !lookPte(vma, vpn) || mappedPfn(pt.lo, pt.hi) !== pfn || toMigrationEntry(vma, pfn, true);
    invalidateEnd(vma.mm, range);
    if (!moved || platform.records.mappings(pfn) === 0) break;
  }
}

/** remove_migration_ptes(): where migration entries of `old` stand, `now` is mapped: its destination, or itself. Tells nobody. */
export function putBack(platform: Platform, old: Pfn, now: Pfn): void {
  for (const { vma, vpn } of mappersOf(platform, now)) {
    const pt = vma.mm.pageTable;
    if (lookPte(vma, vpn) && isMigrationOf(pt.lo, pt.hi, old)) fromMigrationEntry(vma, now);
  }
}
