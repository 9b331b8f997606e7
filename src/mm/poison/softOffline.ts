/**
 * A page is taken out of use before it fails (mm/memory-failure.c: soft_offline_page): what it holds moves to another one.
 *
 * Its mappers hear CLEAR of the page and then map the new one with the same rights. Who holds the page beside its mappings makes that
 * impossible. Device pages and the page of zeroes cannot be replaced.
 */
import type { Platform } from '../../memremap/index.ts';
import { DEVICE_BASE_PFN, PAGE_CACHE, PAGE_POISONED } from '../../page/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import type { Pfn } from '../../units.ts';
import { putUserPage } from '../gup/index.ts';
import { putBack, tryToMigrate } from '../migrate/unmap.ts';
import { splitFor } from './failPage.ts';
import type { Failed } from './inject.ts';

const DONE: Failed = { err: null, signals: [] };

/** The caller holds one reference, which is used up. EIO: no page that could move; EBUSY: somebody holds it. */
export function* softOfflinePage(platform: Platform, pfn: Pfn): Sleepable<Failed> {
  const { ram } = platform;
  if (pfn >= DEVICE_BASE_PFN || ram.isZero(pfn)) return refuse(platform, pfn, 'EIO');
  if (ram.order(pfn) > 0 && !(yield* splitFor(platform, pfn))) return refuse(platform, pfn, 'EBUSY');
  if (!(yield* movePage(platform, pfn))) return refuse(platform, pfn, 'EBUSY');
  return DONE;
}

function refuse(platform: Platform, pfn: Pfn, err: 'EIO' | 'EBUSY'): Failed {
  putUserPage(platform, pfn);
  return { err, signals: [] };
}

/** migrate_pages() of one page: false, with every entry as it was, where that cannot be. */
function* movePage(platform: Platform, pfn: Pfn): Sleepable<boolean> {
  const { ram, records, arena, sched, pageLocks } = platform;
  const to = ram.alloc();
  if (to < 0) return false;
  yield* pageLocks.lock(sched, pfn);
  if (records.mappings(pfn) > 0) yield* tryToMigrate(platform, pfn);
  const flags = records.flags(pfn);
  const expected = 1 + ((flags & PAGE_CACHE) !== 0 ? 1 : 0);
  const moves = records.mappings(pfn) === 0 && ram.refs(pfn) === expected && arena.content.copy(to * 4096, pfn * 4096, 4096);
  if (moves) {
    records.setOwner(to, flags, records.owner(pfn), records.index(pfn));
    records.setFlags(pfn, PAGE_POISONED);
  }
  putBack(platform, pfn, moves ? to : pfn);
  pageLocks.unlock(pfn);
  ram.put(to); // the mappings hold it, or nothing does
  return moves;
}
