/**
 * What who checks hears of calls over ranges: that one begins, while its words still are requests, and what came of it. Whoever emits
 * asks `bus.on` first. And which of the era's bugs gave an answer, where the profile has them.
 */
import { PAGE_SHIFT } from '../abi.ts';
import type { RangeCall, RangeReturn } from '../events/events.ts';
import { tellBreach, type Mm } from '../mm/index.ts';
import type { BugSwitch } from '../profile/index.ts';
import type { Vpn } from '../units.ts';
import { HMM_PFN_ERROR, HMM_PFN_VALID, HMM_PFN_WRITE } from './pfnWord.ts';
import type { Range2019 } from './range2019.ts';
import type { HmmRange } from './rangeFault.ts';

const MODERN_FLAGS = [HMM_PFN_VALID, HMM_PFN_WRITE, 0n] as const;
const MODERN_VALUES = [HMM_PFN_ERROR, 0n, HMM_PFN_ERROR] as const;

/** A range fault begins. */
export function tellCalled({ mm, start, end, words, defaultFlags, pfnFlagsMask }: HmmRange): RangeCall {
  const { bus, profile } = mm.platform;
  const call: RangeCall = {
    op: 'hmm_range_fault', api: 'modern', mm: mm.id, start, end, words, pagesPerWord: 1, defaultFlags, pfnFlagsMask,
    flags: MODERN_FLAGS, values: MODERN_VALUES, pfnShift: 0, pfnBits: profile.hmmOrderShift, block: false,
  };
  bus.emit({ type: 'hmm-called', call });
  return call;
}

/** A call of 2019 begins; a snapshot asks for nothing. */
export function tellCalled2019(mm: Mm, range: Range2019, op: RangeCall['op'], block: boolean): RangeCall {
  const { start, end, words, pageShift, flags, values, pfnShift } = range;
  const faults = op === 'hmm_range_fault';
  const call: RangeCall = {
    op, api: '2019', mm: mm.id, start, end, words, pagesPerWord: 2 ** (pageShift - PAGE_SHIFT), defaultFlags: faults ? range.defaultFlags : 0n, pfnFlagsMask: faults ? range.pfnFlagsMask : 0n,
    flags, values, pfnShift, pfnBits: 64 - pfnShift, block,
  };
  mm.platform.bus.emit({ type: 'hmm-called', call });
  return call;
}

/** It is over. */
export function tellReturned(mm: Mm, call: RangeCall, answer: RangeReturn): void {
  mm.platform.bus.emit({ type: 'hmm-returned', call, answer });
}

/** The era's own code answers wrongly for pages `[start, end)`: `bug` of its profile. Nothing where the switch was turned on by hand. */
export function tellEra(mm: Mm, bug: BugSwitch, start: Vpn, end: Vpn): void {
  const { bus, profile } = mm.platform;
  if (bus.on && profile.bugs.includes(bug)) tellBreach(mm, 'hmm-answers', bug, start, end);
}
