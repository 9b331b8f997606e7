/**
 * The OOM reaper: takes the memory of a process that is to die before it gets round to it (mm/oom_kill.c: __oom_reap_task_mm,
 * oom_reap_task).
 *
 * It is the one caller of invalidations that may not block: a mirror that would have to wait answers so, the area is left for the next
 * attempt, and its end is not called. What it took is gone for good: a later fault of such memory is SIGBUS, not a fresh page.
 */
import type { Sleepable } from '../sched/index.ts';
import { requireAlive } from './mmap.ts';
import type { Mm } from './mm.ts';
import type { NotifierRange } from './notifier/index.ts';
import { VM_HUGETLB, VM_PFNMAP } from './vma.ts';
import { zapRange } from './zap.ts';

/** MAX_OOM_REAP_RETRIES */
const ATTEMPTS_MAX = 10;
/** a tenth of a second between two attempts */
const PAUSE_NS = 100_000_000;

export interface OomReaped {
  /** areas unmapped, and areas that a mirror kept in the last attempt */
  readonly reaped: number;
  readonly refused: number;
  readonly attempts: number;
}

/** oom_reap_task(): attempt after attempt until nobody refused, ten at most. EFAULT once the process has exited. */
export function* oomReap(mm: Mm): Sleepable<OomReaped> {
  requireAlive(mm, 'oom_reap_task');
  const { sched } = mm.platform;
  for (let attempts = 1; ; attempts++) {
    const { reaped, refused } = yield* reapOnce(mm);
    if (refused === 0 || attempts === ATTEMPTS_MAX) return { reaped, refused, attempts };
    yield* sched.sleep(PAUSE_NS);
  }
}

/** __oom_reap_task_mm(): private and anonymous areas, each in an invalidation of its own that may not block. Where mmap_lock is not to be had at once: all are refused. */
function* reapOnce(mm: Mm): Sleepable<{ reaped: number; refused: number }> {
  const { sched, counts } = mm.platform;
  if (sched.concurrent) yield sched.point(`oom reaper ${mm.name}`, `areas ${mm.id}`);
  if (!mm.mmapLock.readNow(sched)) return { reaped: 0, refused: mm.vmas.count };
  mm.unstable = true;
  let [reaped, refused] = [0, 0];
  try {
    for (const vma of Array.from(mm.vmas)) {
      if (vma.has(VM_HUGETLB | VM_PFNMAP) || (vma.file !== null && vma.isShared)) continue;
      counts.invalidations++;
      const range: NotifierRange = { event: 'UNMAP', start: vma.start, end: vma.end, blockable: false, owner: null };
      const told = mm.untold === null || !mm.untold.has('oom-reap-untold');
      if (told && !(yield* mm.notifiers.start(range))) {
        refused++;
        continue;
      }
      yield* zapRange(vma, vma.start, vma.end);
      if (told) mm.notifiers.end(range);
      reaped++;
    }
  } finally {
    mm.mmapLock.readUnlock(sched);
  }
  return { reaped, refused };
}
