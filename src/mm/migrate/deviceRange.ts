/**
 * Migration by frame, for a driver that empties its memory (mm/migrate_device.c: migrate_device_range, _pages, _finalize).
 *
 * The mappings hear CLEAR for each page, never MIGRATE, and no owner is named. Free pages and those that someone else has locked are
 * passed over. No mmap_lock is needed.
 */
import type { Platform } from '../../memremap/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import type { Pfn } from '../../units.ts';
import { hold } from '../hold.ts';
import { finalizePages, migratePage } from './migrateVma.ts';
import { MIGRATE_PFN_MIGRATE, type MigratePages } from './migration.ts';
import { unmapPages } from './unmap.ts';

/** Collects, locks and unmaps the device pages `[start, start + npages)`. */
export function* migrateDeviceRange(platform: Platform, src: MigratePages, start: Pfn, npages: number): Sleepable<void> {
  const { records, pageLocks } = platform;
  for (let i = 0; i < npages; i++) {
    const pfn = start + i;
    if (!records.hasRecords(pfn) || records.refs(pfn) === 0) continue;
    if (!pageLocks.tryLock(pfn)) continue;
    hold(platform, pfn, 'migrate_device_range');
    src.setPage(i, pfn, MIGRATE_PFN_MIGRATE);
  }
  yield* unmapPages(platform, src, npages, -1);
}

export function migrateDevicePages(platform: Platform, src: MigratePages, dst: MigratePages, npages: number): void {
  for (let i = 0; i < npages; i++) {
    if (dst.pfn(i) < 0) src.giveUp(i);
    else if (src.pfn(i) >= 0) migratePage(platform, src, i, src.pfn(i), dst.pfn(i), -1);
  }
}

export function migrateDeviceFinalize(platform: Platform, src: MigratePages, dst: MigratePages, npages: number): void {
  finalizePages(platform, src, dst, npages);
}
