/**
 * A page is taken out of use before it fails (mm/memory-failure.c: soft_offline_page): what it holds moves to another one.
 *
 * Its mappers hear CLEAR of the page and then map the new one with the same rights. Who holds the page beside its mappings makes that
 * impossible. Device pages and the page of zeroes cannot be replaced.
 */
import type { Platform } from '../../memremap/index.ts';
import { DEVICE_BASE_PFN, PAGE_POISONED } from '../../page/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import type { Pfn } from '../../units.ts';
import { putUserPage } from '../gup/index.ts';
import { cacheOf } from '../migrate/mappers.ts';
import { putBack, tryToMigrate } from '../migrate/unmap.ts';
import { splitFor } from './failPage.ts';
import { isHugetlb, replaceHugePage } from './hugePage.ts';
import type { Failed } from './inject.ts';

/** So often it is tried, in the hope that who holds the page lets it go. */
const MIGRATE_PASSES = 10;

const DONE: Failed = { err: null, signals: [] };

/** The caller holds one reference, which is used up. EIO: no page that could move; EBUSY: somebody holds it. */
export function* softOfflinePage(platform: Platform, pfn: Pfn): Sleepable<Failed> {
  const { ram, records } = platform;
  if (pfn >= DEVICE_BASE_PFN) return refuse(platform, pfn, 'EIO');
  if ((records.flags(pfn) & PAGE_POISONED) !== 0) {
    putUserPage(platform, pfn);
    return DONE; // it is out of use already
  }
  if (ram.isZero(pfn)) return refuse(platform, pfn, 'EIO');
  if (isHugetlb(platform, pfn)) return (yield* replaceHugePage(platform, pfn)) ? DONE : refuse(platform, pfn, 'EBUSY');
  if (ram.order(pfn) > 0 && !(yield* splitFor(platform, pfn))) return refuse(platform, pfn, 'EBUSY');
  for (let pass = 0; pass < MIGRATE_PASSES; pass++) if (yield* movePage(platform, pfn)) return DONE;
  return refuse(platform, pfn, 'EBUSY');
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
  const cache = cacheOf(platform, pfn);
  const expected = cache === undefined ? 1 : 2;
  const moves = records.mappings(pfn) === 0 && ram.refs(pfn) === expected && arena.content.copy(to * 4096, pfn * 4096, 4096);
  if (moves) {
    records.setOwner(to, flags, records.owner(pfn), records.index(pfn));
    cache?.replace(records.index(pfn), to);
    records.setFlags(pfn, PAGE_POISONED);
  }
  putBack(platform, pfn, moves ? to : pfn);
  pageLocks.unlock(pfn);
  ram.put(to); // the mappings hold it, or nothing does
  return moves;
}
