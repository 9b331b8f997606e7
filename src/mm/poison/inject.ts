/**
 * MADV_HWPOISON and MADV_SOFT_OFFLINE (mm/madvise.c: madvise_inject_error; mm/memory-failure.c).
 *
 * Page by page, of compound pages one step each: the page is faulted in and held, then fails. The first that refuses ends it. Of
 * several signals to one process in one call only the first arrives, as the others find it pending.
 */
import { HmmError, type ErrnoCode } from '../../errno.ts';
import { DEVICE_BASE_PFN } from '../../page/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import { type Pfn, type Vpn } from '../../units.ts';
import { getUserPage, isCompound, putUserPage } from '../gup/index.ts';
import type { Mm } from '../mm.ts';
import { failDevicePage } from './devicePage.ts';
import { failPage } from './failPage.ts';
import type { PoisonSignal } from './signal.ts';
import { softOfflinePage } from './softOffline.ts';

export interface Injected {
  /** why it ended early, or null */
  readonly err: ErrnoCode | null;
  /** what the process that asked is told of */
  readonly signal: PoisonSignal | null;
}

/** What came of one page. */
export interface Failed {
  readonly err: ErrnoCode | null;
  readonly signals: readonly PoisonSignal[];
}

/** Pages of `[start, start + npages)` fail (`hwpoison`), or are replaced before they do. EFAULT, EIO, EBUSY, EHWPOISON. */
export function* madviseInject(mm: Mm, start: Vpn, npages: number, how: 'hwpoison' | 'softoffline'): Sleepable<Injected> {
  if (!mm.alive) throw new HmmError('EFAULT', 'madvise', `process ${mm.name} has exited`);
  let signal: PoisonSignal | null = null;
  for (let vpn = start; vpn < start + npages; ) {
    const pfn = yield* getUserPage(mm, vpn);
    if (typeof pfn === 'string') return { err: pfn, signal };
    const step = pagesOf(mm, pfn);
    const { err, signals } = how === 'hwpoison' ? yield* memoryFailure(mm, vpn, pfn) : yield* softOfflinePage(mm.platform, pfn);
    signal ??= signals[0] ?? null;
    if (err !== null) return { err, signal };
    vpn += step;
  }
  return { err: null, signal };
}

/** memory_failure() of a page that the caller holds, found at `vpn`. */
function* memoryFailure(mm: Mm, vpn: Vpn, pfn: Pfn): Sleepable<Failed> {
  const { bus } = mm.platform;
  const failed = yield* pfn < DEVICE_BASE_PFN ? failPage(mm, pfn) : failFoundDevicePage(mm, vpn, pfn);
  if (bus.on && failed.err === null) bus.emit({ type: 'poison', mm: mm.id, vpn, pfn });
  return failed;
}

function* failFoundDevicePage(mm: Mm, vpn: Vpn, pfn: Pfn): Sleepable<Failed> {
  putUserPage(mm.platform, pfn);
  return yield* failDevicePage(mm, vpn, pfn);
}

/** page_size() of the page that it is a part of. */
function pagesOf({ platform }: Mm, pfn: Pfn): number {
  if (!isCompound(platform, pfn)) return 1;
  return pfn < DEVICE_BASE_PFN ? 2 ** platform.ram.order(pfn) : (platform.pgmaps.find(pfn)?.compoundPages ?? 1);
}
