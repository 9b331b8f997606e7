/**
 * msync(2) (mm/msync.c): what shared mappings of files have had written to them in a range is made durable, area by area.
 *
 * Only `sync` does that; the others look at the range. What is not mapped is skipped, and answered with ENOMEM at the end.
 */
import { HmmError } from '../errno.ts';
import type { Sleepable } from '../sched/index.ts';
import { addrOf, type Vpn } from '../units.ts';
import type { Mm } from './mm.ts';
import { VM_LOCKED } from './vma.ts';

export type MsyncMode = 'sync' | 'async' | 'invalidate';

/** ENOMEM where part of `[start, start + npages)` is not mapped; EBUSY for `invalidate` of a locked area; EINVAL and what else a file's fsync refuses with. */
export function* msync(mm: Mm, start: Vpn, npages: number, mode: MsyncMode): Sleepable<void> {
  const { sched } = mm.platform;
  const end = start + npages;
  let gap = false;
  for (let at = start; at < end; ) {
    if (!mm.mmapLock.tryRead(sched)) yield* mm.mmapLock.read(sched);
    const vma = mm.vmas.find(at);
    mm.mmapLock.readUnlock(sched);
    if (vma === null || vma.start > at) {
      gap = true;
      if (vma === null || vma.start >= end || mode === 'async') break;
      at = vma.start;
    }
    if (mode === 'invalidate' && vma.has(VM_LOCKED)) throw new HmmError('EBUSY', 'msync', 'the area is locked', addrOf(at));
    const upTo = Math.min(end, vma.end);
    const { calls } = vma.file ?? {};
    if (mode === 'sync' && vma.isShared && calls !== undefined) yield* calls.sync(vma.pgoffOf(at), vma.pgoffOf(at) + (upTo - at) - (mm.platform.bugs.has('msync-off-by-one') ? 1 : 0));
    at = upTo;
  }
  if (gap) throw new HmmError('ENOMEM', 'msync', 'part of the range is not mapped', addrOf(start));
}
