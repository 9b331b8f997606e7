/**
 * Calls of the 2019 API as the kernel probe makes them: a mirror and a range of exactly the pages asked for, wait until valid,
 * mmap_lock, one call; again on EBUSY, EAGAIN, or a range that is not valid afterwards.
 */
import { LEGACY_FORMAT } from '../../dist/dmirror/index.js';
import {
  hmmRangeFault2019, hmmRangeRegister, hmmRangeSnapshot, hmmRangeUnregister, hmmRangeWaitUntilValid, newRange2019, type PfnFormat, type Range2019, type RangeErrno,
} from '../../dist/hmm/index.js';
import type { Mm } from '../../dist/mm/index.js';
import { DEVICE_BASE_PFN, PAGE_ANON } from '../../dist/page/index.js';
import type { Rig } from './rig.ts';

/** What stands in a word before anybody writes it, besides what it asks for: no value, no frame of any device. */
export const UNTOUCHED = 0x7000_0000_0000_0000n;
/** Flags of LEGACY_FORMAT. */
export const VALID = 1n;
export const WRITE = 2n;

export interface RangeSetup {
  readonly mm?: Mm;
  readonly format?: PfnFormat;
  readonly defaultFlags?: bigint;
  readonly pfnFlagsMask?: bigint;
  readonly pageShift?: number;
  /** flags asked for by page */
  readonly requests?: Readonly<Record<number, bigint>>;
}

export interface CallOptions {
  /** fault instead of looking */
  readonly fault?: boolean;
  readonly block?: boolean;
  /** one call, without waiting */
  readonly once?: boolean;
  /** runs when the range is registered */
  readonly onRange?: (range: Range2019) => void;
  /** asked after a call that would be made again */
  readonly givesUp?: () => boolean;
}

export interface CallAnswer {
  readonly result: number | RangeErrno | 'never valid';
  readonly dropped: boolean;
  readonly calls: number;
  /** calls of handle_mm_fault */
  readonly faults: number;
  readonly valid: readonly [before: boolean, after: boolean];
  readonly words: BigUint64Array;
}

/** A range over `[start, start + npages)`, registered; to be given back with `dispose`. */
export function makeRange(rig: Rig, start: number, npages: number, setup: RangeSetup = {}): { range: Range2019; dispose: () => void } {
  const { mm = rig.mm, format = LEGACY_FORMAT, defaultFlags = 0n, pfnFlagsMask = 0n, requests = {} } = setup;
  const window = rig.platform.arena.window(npages);
  const range = newRange2019({ ...format, words: window.words, out: window.offset, defaultFlags, pfnFlagsMask });
  range.words.fill(UNTOUCHED);
  for (const [page, flags] of Object.entries(requests)) range.words[Number(page)] = UNTOUCHED | flags;
  const refused = hmmRangeRegister(range, mm, start, start + npages, setup.pageShift ?? 12);
  if (refused !== null) {
    window.free();
    throw new Error(`hmm_range_register: ${refused}`);
  }
  return {
    range,
    dispose: () => {
      hmmRangeUnregister(range);
      window.free();
    },
  };
}

/** One call on a registered range, as a driver would make it: with mmap_lock for reading, which is given back. */
export function callRange(rig: Rig, range: Range2019, options: { fault?: boolean; block?: boolean } = {}): { result: number | RangeErrno; dropped: boolean } {
  const { sched } = rig.platform;
  const { mmapLock } = (range.hmm as NonNullable<Range2019['hmm']>).mm;
  rig.run(mmapLock.read(sched));
  let dropped = false;
  try {
    const answer = rig.run(options.fault === true ? hmmRangeFault2019(range, { block: options.block ?? true }) : hmmRangeSnapshot(range));
    ({ dropped } = answer);
    return answer;
  } finally {
    if (!dropped) mmapLock.readUnlock(sched);
  }
}

/** The whole of it: register, wait, call, again, unregister. */
export function callPages(rig: Rig, start: number, npages: number, setup: RangeSetup = {}, options: CallOptions = {}): CallAnswer {
  const { counts } = rig.platform;
  const { range, dispose } = makeRange(rig, start, npages, setup);
  try {
    options.onRange?.(range);
    const before = range.valid;
    const requests = range.words.slice();
    for (let calls = 1; ; calls++) {
      if (options.once !== true && !rig.run(hmmRangeWaitUntilValid(range))) {
        return { result: 'never valid', dropped: false, calls: calls - 1, faults: 0, valid: [before, range.valid], words: range.words.slice() };
      }
      const faults = counts.hmmFaults;
      if (calls > 1) range.words.set(requests);
      const answer = callRange(rig, range, options);
      const again = answer.result === 'EBUSY' || answer.result === 'EAGAIN' || !range.valid;
      if (!again || options.once === true || calls === 4 || options.givesUp?.() === true) return { ...answer, calls, faults: counts.hmmFaults - faults, valid: [before, range.valid], words: range.words.slice() };
    }
  } finally {
    dispose();
  }
}

export function snap(rig: Rig, start: number, npages: number, setup: RangeSetup = {}, options: CallOptions = {}): CallAnswer {
  return callPages(rig, start, npages, setup, options);
}

export function fault(rig: Rig, start: number, npages: number, how: 'r' | 'w' = 'r', options: CallOptions = {}, setup: RangeSetup = {}): CallAnswer {
  return callPages(rig, start, npages, { defaultFlags: how === 'w' ? VALID | WRITE : VALID, ...setup }, { ...options, fault: true });
}

/** Words by letters, in runs: '3VW 1- 2S': V valid, W write, E and S the driver's values, - NONE, ? as the caller left it (?fw: with its request). */
export function letters(words: BigUint64Array, format: PfnFormat = LEGACY_FORMAT): string {
  const runs: { n: number; f: string }[] = [];
  for (const word of words) {
    const f = letterOf(word, format);
    const last = runs.at(-1);
    if (last?.f === f) last.n++;
    else runs.push({ n: 1, f });
  }
  return runs.map(({ n, f }) => `${n}${f}`).join(' ');
}

export function letterOf(word: bigint, format: PfnFormat = LEGACY_FORMAT): string {
  const [error, none, special] = format.values;
  if (word === none) return '-';
  if (word === error) return 'E';
  if (word === special) return 'S';
  const [valid, write, devicePrivate] = format.flags;
  if ((word & ~(valid | write)) === UNTOUCHED) return `?${(word & valid) === 0n ? '' : 'f'}${(word & write) === 0n ? '' : 'w'}`;
  return `${(word & valid) === 0n ? '' : 'V'}${(word & write) === 0n ? '' : 'W'}${devicePrivate === 0n || (word & devicePrivate) === 0n ? '' : 'P'}` || '0';
}

/** The frame in a word of LEGACY_FORMAT. */
export function frameOf(word: bigint): number {
  return Number(word >> 12n);
}

/** What kind of frame it is: a device's label, anon, zero or ram. */
export function kindOf(rig: Rig, pfn: number): string {
  const { pgmaps, ram, records } = rig.platform;
  if (pfn >= DEVICE_BASE_PFN) return pgmaps.find(pfn)?.name ?? 'gone';
  if (ram.isZero(pfn)) return 'zero';
  return (records.flags(pfn) & PAGE_ANON) === 0 ? 'ram' : 'anon';
}
