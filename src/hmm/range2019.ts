/**
 * struct hmm_range of the 2019 API: a range of pages that a driver works on, and whether its words may still be believed
 * (mm/hmm.c: hmm_range_register and its kin, v5.2).
 *
 * What every driver does with one:
 *
 *   register
 *   again: wait until valid; take mmap_lock; fault; drop it (unless the call did)
 *          take the driver's lock; if not valid: drop it, again
 *          program the device; drop the driver's lock
 *   unregister
 *
 * `valid` is one bit without a number. The era's code sets it again at the end of the last invalidation: a driver that slept
 * through one, start to end, finds it true and programs frames that are gone (bug switch valid-aba). Without the switch the
 * bit is an arm that the driver sets and the core only clears: it becomes true at registration and where `waitUntilValid`
 * finds nothing in flight, which is before the walk; whatever is invalidated after that leaves it false until the driver
 * comes back to its `again`. So the check under the driver's lock means "nothing since I armed", as a sequence number would.
 */
import { PAGE_SHIFT } from '../abi.ts';
import { checkOptions } from '../errno.ts';
import type { Mm } from '../mm/index.ts';
import type { Sleepable } from '../sched/index.ts';
import type { Vpn } from '../units.ts';
import { getHmm, type Hmm2019, type TrackedRange } from './mirror2019.ts';
import { checkFormat, type PfnFormat, type PfnRequests } from './need2019.ts';

/** A reasonable time to wait, in milliseconds (HMM_RANGE_DEFAULT_TIMEOUT). */
export const RANGE_DEFAULT_TIMEOUT_MS = 1000;

export interface Range2019 extends TrackedRange, PfnRequests {
  /** a word for each page of `[start, end)`, request in, answer out */
  readonly words: BigUint64Array;
  /** arena offset of `words` */
  readonly out: number;
  /** the driver's to change between calls */
  defaultFlags: bigint;
  pfnFlagsMask: bigint;
  // Set by registration.
  hmm: Hmm2019 | null;
  start: Vpn;
  end: Vpn;
  pageShift: number;
  valid: boolean;
  /** who looks at the driver's calls from outside, and until when; null: nobody */
  watchdog: Watchdog | null;
}

/**
 * Somebody who notices that a call does not return. A call that stands at the head of its retry loop, with nothing changed since it
 * was there before and nobody who could change anything, would spin for ever: at `dueNs` it is `bitten`, which may change something.
 */
export interface Watchdog {
  readonly dueNs: number;
  bitten(range: Range2019): void;
}

export interface Range2019Options extends PfnFormat {
  readonly words: BigUint64Array;
  readonly out: number;
  readonly defaultFlags?: bigint;
  readonly pfnFlagsMask?: bigint;
}

/** A range that is not registered yet. RangeError for a format that makes no sense, TypeError for an unknown option. */
export function newRange2019(options: Range2019Options): Range2019 {
  checkOptions('hmm_range', options, ['flags', 'values', 'pfnShift', 'words', 'out', 'defaultFlags', 'pfnFlagsMask']);
  checkFormat('hmm_range', options);
  const { flags, values, pfnShift, words, out, defaultFlags = 0n, pfnFlagsMask = 0n } = options;
  return { flags, values, pfnShift, words, out, defaultFlags, pfnFlagsMask, hmm: null, start: 0, end: 0, pageShift: PAGE_SHIFT, valid: false, watchdog: null };
}

/**
 * hmm_range_register(). Null, or in this order EINVAL (bounds not aligned to `pageShift`), EINVAL (empty), EFAULT (the process
 * has exited). Valid at once when nothing is in flight. RangeError where `words` is too small for it.
 */
export function hmmRangeRegister(range: Range2019, mm: Mm, start: Vpn, end: Vpn, pageShift = PAGE_SHIFT): 'EINVAL' | 'EFAULT' | null {
  if (range.hmm !== null) throw new TypeError('hmm_range_register: the range is registered already');
  if (!Number.isInteger(pageShift) || pageShift < PAGE_SHIFT || pageShift > 30) throw new RangeError(`hmm_range_register: page_shift ${pageShift} is not one of 12 to 30`);
  const step = 2 ** (pageShift - PAGE_SHIFT);
  range.valid = false;
  if (start % step !== 0 || end % step !== 0) return 'EINVAL';
  if (start >= end) return 'EINVAL';
  if (range.words.length < end - start) throw new RangeError(`hmm_range_register: ${range.words.length} words for ${end - start} pages`);
  const hmm = getHmm(mm);
  if (hmm === null) return 'EFAULT';
  range.hmm = hmm;
  range.start = start;
  range.end = end;
  range.pageShift = pageShift;
  hmm.ranges.add(range);
  range.valid = hmm.quiet(range);
  hmm.tellValid(range);
  return null;
}

/** hmm_range_unregister(). Of a range that is not registered: nothing. */
export function hmmRangeUnregister(range: Range2019): void {
  const { hmm } = range;
  if (hmm === null) return;
  hmm.ranges.delete(range);
  range.valid = false;
  range.hmm = null;
  hmm.put();
}

/** hmm_range_wait_until_valid(): waits while the range is being invalidated; false when the time is up or the process has exited. */
export function* hmmRangeWaitUntilValid(range: Range2019, timeoutMs = RANGE_DEFAULT_TIMEOUT_MS): Sleepable<boolean> {
  const { hmm } = range;
  if (hmm === null) return false;
  const { sched, bugs } = hmm.mm.platform;
  const aba = bugs.has('valid-aba');
  if (sched.concurrent) yield sched.point('hmm_range_wait_until_valid', hmm.touches);
  const deadlineNs = sched.nowNs + timeoutMs * 1_000_000;
  const settled = (): boolean => hmm.dead || (aba ? range.valid : hmm.quiet(range));
  while (!range.valid && !settled() && sched.nowNs < deadlineNs) {
    sched.mightSleep('hmm_range_wait_until_valid');
    yield { kind: 'wait', what: `a range of mm ${hmm.mm.id} to be valid`, touches: hmm.touches, ready: settled, holder: () => null, deadlineNs };
  }
  if (hmm.dead) range.valid = false;
  else if (!aba && hmm.quiet(range)) range.valid = true;
  hmm.tellValid(range);
  return range.valid;
}
