/**
 * Device-coherent memory that somebody wants to pin for long goes to RAM first (mm/migrate_device.c: migrate_device_coherent_page):
 * a device must be able to have its memory back.
 */
import type { Platform } from '../../memremap/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import type { Pfn } from '../../units.ts';
import { hold, letGo } from '../hold.ts';
import { finalizePages, migratePage } from './migrateVma.ts';
import { MIGRATE_PFN_MIGRATE, MigratePages } from './migration.ts';
import { unmapPages } from './unmap.ts';

/** False where the page cannot go (EBUSY): someone else has it, or there is no RAM. */
export function* migrateCoherentToRam(platform: Platform, pfn: Pfn): Sleepable<boolean> {
  const { ram, pageLocks, arena, sched, ledger } = platform;
  const src = new MigratePages(1);
  const dst = new MigratePages(1);
  yield* pageLocks.lock(sched, pfn);
  hold(platform, pfn, 'migrate_device_coherent_page');
  src.setPage(0, pfn, MIGRATE_PFN_MIGRATE);
  yield* unmapPages(platform, src, 1, -1);
  if (src.pfn(0) < 0) return false;
  const to = ram.alloc();
  if (to >= 0) ledger?.took(to, 1, 'migrate_device_coherent_page');
  if (to < 0 || !arena.content.copy(to * 4096, pfn * 4096, 4096)) {
    if (to >= 0) letGo(platform, to);
    src.giveUp(0);
  } else {
    pageLocks.tryLock(to);
    dst.setPage(0, to, 0);
    migratePage(platform, src, 0, pfn, to, -1);
  }
  const moved = src.has(0, MIGRATE_PFN_MIGRATE);
  finalizePages(platform, src, dst, 1);
  return moved;
}
