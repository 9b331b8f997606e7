/**
 * hmm_range_snapshot() and hmm_range_fault() of the 2019 API: area by area over a registered range (mm/hmm.c, v5.2).
 *
 * Guarantee: where a call answers a count, the words before it said what the CPU page table maps while it ran; whether they still
 * do is `range.valid`, asked under the driver's lock. Nothing is referenced.
 *
 * Answers, besides the count of pages from the start of the range:
 *
 * | errno  | means                                                                                                    |
 * |--------|----------------------------------------------------------------------------------------------------------|
 * | EFAULT | the process has exited; nothing there, or device memory; a page that cannot be had                        |
 * | EAGAIN | a handler dropped mmap_lock to wait; era: the range is not valid, and a fault has then dropped mmap_lock      |
 * | EINVAL | `pageShift` of huge pages in an area of others; a DAX area under profile field daxMirror 'refused'         |
 * | EPERM  | an area without read access; write asked for in a read-only area                                           |
 * | EBUSY  | the range is not valid, or not any more: a fault went well, or a dev_pagemap is dying                        |
 *
 * A fault walks again for as long as the walk answers EBUSY and the range is valid. Where that changes nothing any more and
 * nobody else can change it, it throws Livelock. Bug switches: snapshot-ignores-walk, fault-wipes-marker,
 * count-stops-at-hole, block-may-drop-lock.
 *
 * Concurrency: the caller holds mmap_lock for reading, and afterwards still does unless the answer says `dropped`.
 */
import { HDR_TABLES_CHANGED, PAGE_SHIFT } from '../abi.ts';
import { HmmError, Livelock, checkOptions } from '../errno.ts';
import type { RangeCall } from '../events/events.ts';
import { VM_HUGETLB, VM_IO, VM_MIXEDMAP, VM_PFNMAP, VM_READ, livelock, tellBreach, type Vma } from '../mm/index.ts';
import { DEVICE_BASE_PFN } from '../page/index.ts';
import { framePfn } from '../pgtable/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { addrOf, hex, type Vpn } from '../units.ts';
import type { Walk2019 } from './fault2019.ts';
import { hugeShiftOf, pagesPerWord } from './hugetlb2019.ts';
import type { Hmm2019 } from './mirror2019.ts';
import { PFN_VALUE_NONE, PFN_VALUE_SPECIAL } from './need2019.ts';
import type { Range2019 } from './range2019.ts';
import { tellCalled2019, tellEra, tellReturned } from './toldCalls.ts';
import { newWalk2019, walkPageRange } from './walk2019.ts';

export type RangeErrno = 'EINVAL' | 'EPERM' | 'EFAULT' | 'EAGAIN' | 'EBUSY';

export interface RangeAnswer {
  /** pages from the start of the range, or what went wrong */
  readonly result: number | RangeErrno;
  /** mmap_lock is not held any more */
  readonly dropped: boolean;
}

/** So many walks that end at the same entry, unchanged, are enough to call it standing still; or so many that end at one place. */
const SAME_STOPS = 3;
const SAME_PLACES = 64;

/** hmm_range_snapshot(): looks, and faults nothing in. */
export function* hmmRangeSnapshot(range: Range2019): Sleepable<RangeAnswer> {
  const hmm = registered(range, 'hmm_range_snapshot');
  const { bugs, bus } = hmm.mm.platform;
  const call = bus.on ? tellCalled2019(hmm.mm, range, 'hmm_range_snapshot', true) : null;
  let last = range.start;
  for (let start = range.start; start < range.end; ) {
    const vma = areaFor(hmm, range, start);
    if (typeof vma === 'string') return returned(hmm, call, vma);
    const end = Math.min(range.end, vma.end);
    const w = newWalk2019(range, hmm.mm, start, false, false);
    const answer = yield* walkPageRange(w, vma, start, end);
    if (answer !== null && !bugs.has('snapshot-ignores-walk')) return returned(hmm, call, failed(w, answer), w);
    if (answer !== null) tellEra(hmm.mm, 'snapshot-ignores-walk', start, range.end);
    last = countedTo(w, answer === null ? end : w.last, range.end);
    start = end;
  }
  return returned(hmm, call, last - range.start);
}

/** hmm_range_fault(): brings in what is asked for. `block`: the fault handler is not to drop mmap_lock (default true). */
export function* hmmRangeFault2019(range: Range2019, options: { readonly block?: boolean } = {}): Sleepable<RangeAnswer> {
  checkOptions('hmm_range_fault', options, ['block']);
  const hmm = registered(range, 'hmm_range_fault');
  const { mm } = hmm;
  const { sched, bugs, bus } = mm.platform;
  const block = options.block ?? true;
  const allowRetry = !block || bugs.has('block-may-drop-lock');
  const call = bus.on ? tellCalled2019(mm, range, 'hmm_range_fault', block) : null;
  let last = range.start;
  for (let start = range.start; start < range.end; ) {
    const vma = areaFor(hmm, range, start);
    if (vma === 'EAGAIN') {
      mm.mmapLock.readUnlock(sched);
      tellEra(mm, 'invalid-range-eagain', range.start, range.end);
      return returned(hmm, call, 'EAGAIN', null, true);
    }
    if (typeof vma === 'string') return returned(hmm, call, vma);
    const end = Math.min(range.end, vma.end);
    const w = newWalk2019(range, mm, start, true, allowRetry);
    const answer = yield* walkUntilSettled(w, vma, start, end);
    if (answer === 'EFAULT') tellRefused(w);
    if (answer === 'EAGAIN' && block) tellEra(mm, 'block-may-drop-lock', range.start, range.end);
    if (answer !== null) return returned(hmm, call, failed(w, answer), w, answer === 'EAGAIN');
    last = countedTo(w, end, range.end);
    start = end;
  }
  return returned(hmm, call, last - range.start);
}

function registered(range: Range2019, op: string): Hmm2019 {
  if (range.hmm === null) throw new TypeError(`${op}: the range is not registered`);
  return range.hmm;
}

/** The answer, of which who checks hears. `w`: the walk that failed. */
function returned({ mm }: Hmm2019, call: RangeCall | null, result: number | RangeErrno, w: Walk2019 | null = null, dropped = false): RangeAnswer {
  if (call !== null) {
    const fails = typeof result === 'string';
    tellReturned(mm, call, {
      errno: fails ? result : null, count: fails ? 0 : result, reached: w === null ? -1 : w.last, marked: w === null ? -1 : w.marked, dropped: dropped && (w === null || w.range.valid),
    });
  }
  return { result, dropped };
}

/** The area that `start` lies in or below, or why it cannot be walked: in the order in which the kernel asks. */
function areaFor(hmm: Hmm2019, range: Range2019, start: Vpn): Vma | RangeErrno {
  const { mm } = hmm;
  if (hmm.dead) return 'EFAULT';
  if (!range.valid) return mm.platform.bugs.has('invalid-range-eagain') ? 'EAGAIN' : 'EBUSY';
  const vma = mm.vmas.find(start);
  const refused = VM_IO | VM_PFNMAP | (mm.platform.bugs.has('mixedmap-refused') ? VM_MIXEDMAP : 0);
  if (vma === null || vma.has(refused)) return 'EFAULT';
  if (vma.isDax && mm.platform.profile.daxMirror === 'refused') {
    range.words.fill(range.values[PFN_VALUE_SPECIAL], 0, range.end - range.start);
    return 'EINVAL';
  }
  if (range.pageShift !== PAGE_SHIFT && !(vma.has(VM_HUGETLB) && hugeShiftOf(vma) === range.pageShift)) return 'EINVAL';
  if (!vma.has(VM_READ)) {
    range.words.fill(range.values[PFN_VALUE_NONE], 0, range.end - range.start);
    return 'EPERM';
  }
  return vma;
}

/** Walks again while pages were faulted in and the range is valid. */
function* walkUntilSettled(w: Walk2019, vma: Vma, start: Vpn, end: Vpn): Sleepable<RangeErrno | null> {
  const before = { ...w.stop };
  let sameStops = 0;
  let samePlaces = 0;
  for (let at = start; ; at = w.last) {
    const answer = yield* walkPageRange(w, vma, at, end);
    if (answer !== 'EBUSY' || !w.range.valid) return answer;
    samePlaces = w.stop.vpn === before.vpn ? samePlaces + 1 : 0;
    sameStops = samePlaces > 0 && w.stop.reason === before.reason && w.stop.lo === before.lo && w.stop.hi === before.hi ? sameStops + 1 : 0;
    Object.assign(before, w.stop);
    if (sameStops < SAME_STOPS && samePlaces < SAME_PLACES) continue;
    yield* awaitChange(w);
    if (!w.range.valid) return answer;
    sameStops = samePlaces = 0;
  }
}

/**
 * The loop stands at its head with nothing changed: it goes on when somebody else changes something. A kernel would spin here;
 * that nobody can is what the scheduler calls a wait for ever. A watchdog has its say when time has gone by for it.
 */
function* awaitChange(w: Walk2019): Sleepable<void> {
  const { mm, range } = w;
  const { arena, pgmaps } = mm.platform;
  const tables = arena.u32[HDR_TABLES_CHANGED >>> 2];
  const maps = pgmaps.changes;
  const changed = (): boolean => !range.valid || arena.u32[HDR_TABLES_CHANGED >>> 2] !== tables || pgmaps.changes !== maps;
  const what = `hmm_range_fault at ${hex(addrOf(w.stop.vpn))}`;
  const deadlineNs = range.watchdog?.dueNs ?? Infinity;
  try {
    yield { kind: 'wait', what, touches: `${mm.touches},notifier ${mm.id}`, ready: changed, holder: () => null, deadlineNs };
  } catch (error) {
    throw HmmError.is(error, 'EDEADLK') ? spins(w, what) : error;
  }
  if (changed()) return;
  spins(w, what);
  range.watchdog?.bitten(range);
}

/** It goes round with nothing changed: who checks hears of it, and which of the era's bugs it is. */
function spins({ mm, range, stop }: Walk2019, what: string): Livelock {
  const { bugs, pgmaps, profile } = mm.platform;
  const pfn = framePfn(stop.lo, stop.hi);
  const dying = pfn >= DEVICE_BASE_PFN && pgmaps.find(pfn)?.state !== 'live';
  const bug = dying ? 'dying-pagemap-retries' : 'fault-ignores-vm-write';
  if (bugs.has(bug) && profile.bugs.includes(bug)) tellBreach(mm, 'bounded-retries', bug, range.start, range.end);
  return livelock(mm, what, stop.vpn);
}

/** A walk that failed: who checks asks whether it had to, but for a fault that was taken and failed. The era takes the 4K page of zeroes for a special one. */
function tellRefused({ mm, marked, last, faultFailed }: Walk2019): void {
  const { bus, profile } = mm.platform;
  if (!bus.on || faultFailed) return;
  const vpn = Math.max(marked, last);
  if (profile.bugs.includes('zero-page-special')) tellBreach(mm, 'hmm-answers', 'zero-page-special', vpn, vpn + 1);
  bus.emit({ type: 'hmm-refused', mm: mm.id, vpn, write: false });
}

/** Where the count is counted to after an area: the era's code leaves out a hole at its end that has no page table. */
function countedTo(w: Walk2019, end: Vpn, rangeEnd: Vpn): Vpn {
  if (!w.mm.platform.bugs.has('count-stops-at-hole')) return end;
  if (w.last < end && end === rangeEnd) tellEra(w.mm, 'count-stops-at-hole', w.last, end);
  return w.last;
}

/** A walk has failed: words from there on are NONE, but for the one that names the error, which the era's code wipes too. */
function failed(w: Walk2019, answer: RangeErrno): RangeErrno {
  const { range, marked } = w;
  const { bugs } = w.mm.platform;
  const step = bugs.has('page-shift-mixed') ? 1 : pagesPerWord(range);
  const at = Math.floor((marked - range.start) / pagesPerWord(range));
  const keeps = marked >= w.last && !bugs.has('fault-wipes-marker');
  if (marked >= w.last && !keeps) tellEra(w.mm, 'fault-wipes-marker', marked, marked + 1);
  if (step !== pagesPerWord(range)) tellEra(w.mm, 'page-shift-mixed', range.start, range.end);
  const word = keeps ? (range.words[at] as bigint) : 0n;
  range.words.fill(range.values[PFN_VALUE_NONE], (w.last - range.start) / step, (range.end - range.start) / step);
  if (keeps) range.words[at] = word;
  return answer;
}
