/**
 * The clocks that benches read, in nanoseconds.
 *
 * CPU time of this thread where the addon can tell it: a busy machine does not count. Wall time otherwise, and for what is not one
 * thread's work (machine creation). A clock knows its step: what is not far longer cannot be measured with it.
 */
import type { Native } from '../native/load.ts';

export interface Clock {
  readonly kind: 'thread CPU time' | 'wall time';
  /** the median step between readings in a row: granularity, or the price of a reading where that is more */
  readonly resolutionNs: number;
  /** ns since some point in the past */
  now(): number;
}

/** A stretch of time shorter than so many steps of its clock is refused. */
export const RESOLUTION_STEPS_MIN = 20;

const STEPS_LOOKED_AT = 201;
/** a clock that stands still for so many readings has no step */
const READINGS_MAX = 1_000_000;

/** A clock over `now`, its step measured. Throws RangeError for one that stands still. */
export function clockOf(kind: Clock['kind'], now: () => number): Clock {
  const steps: number[] = [];
  let last = now();
  for (let reading = 0; steps.length < STEPS_LOOKED_AT; reading++) {
    if (reading === READINGS_MAX) throw new RangeError(`clock: ${kind} stands still`);
    const next = now();
    if (next > last) steps.push(next - last);
    last = next;
  }
  steps.sort((a, b) => a - b);
  return { kind, resolutionNs: steps[STEPS_LOOKED_AT >>> 1] as number, now };
}

export function wallClock(): Clock {
  return clockOf('wall time', () => performance.now() * 1e6);
}

/** Thread CPU time with the addon, else wall time. */
export function workClock(native: Native | null): Clock {
  return native === null ? wallClock() : clockOf('thread CPU time', () => native.cpuTime());
}
