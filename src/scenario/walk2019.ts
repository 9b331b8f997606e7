/**
 * Calls of the 2019 API as the era's probe makes them: a range of exactly the pages asked for, wait until it is valid, mmap_lock,
 * one call; again on EBUSY, EAGAIN or a range that is not valid afterwards, for two seconds: what every driver does.
 *
 * A watchdog looks on: where a call spins, with nothing left that could change, it takes the range's `valid` away by hand three
 * seconds after the calls began. That a call spins is what the retry loop of the model found of itself.
 */
import { LEGACY_FORMAT } from '../dmirror/index.ts';
import {
  hmmRangeFault2019, hmmRangeRegister, hmmRangeSnapshot, hmmRangeUnregister, hmmRangeWaitUntilValid, newRange2019,
  type Range2019, type RangeErrno,
} from '../hmm/index.ts';
import type { Mm } from '../mm/index.ts';
import type { Sleepable } from '../sched/index.ts';
import type { Vpn } from '../units.ts';

/** What stands in a word before anybody writes it, besides what it asks for: no value, no frame. */
export const UNTOUCHED = 0x7000_0000_0000_0000n;
/** Flags of LEGACY_FORMAT. */
export const VALID = LEGACY_FORMAT.flags[0];
export const WRITE = LEGACY_FORMAT.flags[1];
export const DEVICE_PRIVATE = LEGACY_FORMAT.flags[2];

const SECOND_NS = 1e9;
const TRIES_NS = 2 * SECOND_NS;
const WATCHDOG_NS = 3 * SECOND_NS;
/** Calls that change nothing take no time here: so many are as good as two seconds. */
const CALLS_MAX = 2000;

export interface Asked2019 {
  readonly defaultFlags: bigint;
  readonly pfnFlagsMask?: bigint;
  /** flags asked for, by word */
  readonly asked?: ReadonlyMap<number, bigint>;
  readonly pageShift?: number;
  /** fault instead of looking */
  readonly fault: boolean;
  readonly block?: boolean;
  /** one call, without waiting */
  readonly once?: boolean;
}

export interface Called2019 {
  /** pages counted, or what went wrong */
  readonly result: number | RangeErrno | 'never valid';
  /** the error is the registration's */
  readonly refused: boolean;
  /** mmap_lock was not held any more */
  readonly dropped: boolean;
  /** what the first call answered, where there were more */
  readonly first: number | RangeErrno | null;
  /** calls of handle_mm_fault, where there was one call */
  readonly faults: number;
  readonly valid: readonly [before: boolean, after: boolean];
  readonly livelock: boolean;
  readonly words: BigUint64Array;
}

/** A registered range over `[start, start + npages)` with words of its own; `dispose` takes it back. Or why it was refused. */
export function makeRange(mm: Mm, start: Vpn, npages: number, asked: Asked2019): { range: Range2019; refused: RangeErrno | null; dispose: () => void } {
  const window = mm.platform.arena.window(npages);
  const { defaultFlags, pfnFlagsMask = 0n, pageShift = 12 } = asked;
  const range = newRange2019({ ...LEGACY_FORMAT, words: window.words, out: window.offset, defaultFlags, pfnFlagsMask });
  window.words.fill(UNTOUCHED);
  for (const [i, flags] of asked.asked ?? []) if (i < npages) window.words[i] = UNTOUCHED | flags;
  const refused = hmmRangeRegister(range, mm, start, start + npages, pageShift);
  return {
    range,
    refused,
    dispose: () => {
      hmmRangeUnregister(range);
      window.free();
    },
  };
}

/** The whole of it: register, wait, call, again, unregister. */
export function* callRange2019(mm: Mm, start: Vpn, npages: number, asked: Asked2019): Sleepable<Called2019> {
  const { range, refused, dispose } = makeRange(mm, start, npages, asked);
  try {
    if (refused !== null) return { result: refused, refused: true, dropped: false, first: null, faults: 0, valid: [false, false], livelock: false, words: range.words.slice() };
    let livelock = false;
    range.watchdog = {
      dueNs: mm.platform.sched.nowNs + WATCHDOG_NS,
      bitten: () => {
        range.valid = false;
        livelock = true;
      },
    };
    const called = yield* callUntilSettled(range, asked);
    return { ...called, refused: false, livelock, words: range.words.slice() };
  } finally {
    dispose();
  }
}

function* callUntilSettled(range: Range2019, asked: Asked2019): Sleepable<Pick<Called2019, 'result' | 'dropped' | 'first' | 'faults' | 'valid'>> {
  const { mm } = range.hmm as NonNullable<Range2019['hmm']>;
  const { sched, counts } = mm.platform;
  const before = range.valid;
  const requests = range.words.slice();
  const deadlineNs = sched.nowNs + TRIES_NS;
  let first: number | RangeErrno | null = null;
  for (let calls = 1; ; calls++) {
    if (asked.once !== true && !(yield* hmmRangeWaitUntilValid(range))) return { result: 'never valid', dropped: false, first, faults: 0, valid: [before, range.valid] };
    if (calls > 1) range.words.set(requests);
    const faultsBefore = counts.hmmFaults;
    const { result, dropped } = yield* callLocked(mm, range, asked);
    const again = result === 'EBUSY' || result === 'EAGAIN' || !range.valid;
    if (!again || asked.once === true || sched.nowNs >= deadlineNs || calls === CALLS_MAX) {
      return { result, dropped, first, faults: calls === 1 ? counts.hmmFaults - faultsBefore : 0, valid: [before, range.valid] };
    }
    first ??= result;
  }
}

/** One call with mmap_lock for reading, which is given back unless the call did. */
function* callLocked(mm: Mm, range: Range2019, { fault, block = true }: Asked2019): Sleepable<{ result: number | RangeErrno; dropped: boolean }> {
  const { sched } = mm.platform;
  if (!mm.mmapLock.tryRead(sched)) yield* mm.mmapLock.read(sched);
  let dropped = false;
  try {
    const answer = yield* fault ? hmmRangeFault2019(range, { block }) : hmmRangeSnapshot(range);
    ({ dropped } = answer);
    return answer;
  } finally {
    if (!dropped) mm.mmapLock.readUnlock(sched);
  }
}
