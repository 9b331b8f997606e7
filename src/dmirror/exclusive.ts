/**
 * A driver's use of device exclusive access (lib/test_hmm.c: dmirror_exclusive): it asks, works on the pages while they are locked,
 * and lets go; the entries stay exclusive until somebody else comes.
 */
import type { ErrnoCode } from '../errno.ts';
import { letGo, makeDeviceExclusiveRange, type Mm } from '../mm/index.ts';
import type { Sleepable } from '../sched/index.ts';
import type { Pfn, Vpn } from '../units.ts';
import type { DeviceMemory } from './deviceMemory.ts';

export interface ExclusiveUse {
  readonly error: ErrnoCode | null;
  /** how many pages could be had, exclusive or not */
  readonly count: number;
  /** which were granted */
  readonly granted: readonly boolean[];
}

/** Calls `use` with each page granted, while it is the device's alone. */
export function* useExclusive(memory: DeviceMemory, mm: Mm, start: Vpn, npages: number, use: (pfn: Pfn) => void): Sleepable<ExclusiveUse> {
  const { sched, pageLocks } = mm.platform;
  if (!mm.mmapLock.tryRead(sched)) yield* mm.mmapLock.read(sched);
  try {
    const { error, count, pfns } = yield* makeDeviceExclusiveRange(mm, start, npages, memory);
    for (const pfn of pfns.filter((one) => one >= 0)) {
      use(pfn);
      pageLocks.unlock(pfn);
      letGo(mm.platform, pfn);
    }
    return { error, count, granted: Array.from({ length: npages }, (_, i) => (pfns[i] ?? -1) >= 0) };
  } finally {
    mm.mmapLock.readUnlock(sched);
  }
}
