/** Waiting for a userfaultfd handler (fs/userfaultfd.c: handle_userfault); what the handler does is userfaultfd.ts. */
import type { Sleepable } from '../sched/index.ts';
import type { Vpn } from '../units.ts';
import type { Mm } from './mm.ts';

/** A fault that waits for the handler: UFFD_EVENT_PAGEFAULT. */
export interface UserFault {
  readonly vpn: Vpn;
  readonly write: boolean;
}

/** handle_userfault(): mmap_lock, held for reading, is dropped; comes back when the handler has seen to the page. */
export function* waitForUser(mm: Mm, vpn: Vpn, write: boolean): Sleepable<void> {
  const { sched } = mm.platform;
  const waiting = mm.userFaults.get(vpn);
  if (waiting === undefined || (write && !waiting.write)) mm.userFaults.set(vpn, { vpn, write });
  mm.mmapLock.readUnlock(sched);
  try {
    while (mm.userFaults.has(vpn)) {
      yield {
        kind: 'wait', what: `the userfaultfd handler of ${mm.name}`, touches: `${mm.touches},areas ${mm.id}`, ready: () => !mm.userFaults.has(vpn), holder: () => null, deadlineNs: Infinity,
      };
    }
  } catch (error) {
    mm.mmapLock.readNow(sched); // who waits for ever comes back as he went
    throw error;
  }
}
