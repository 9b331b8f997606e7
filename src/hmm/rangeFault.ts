/**
 * hmm_range_fault(), the modern API (mm/hmm.c, 5.8 on).
 *
 * Guarantee: when it answers null, every word of the range says what the CPU page table maps there, every page that was asked
 * for is valid (and writable), and all of it was true at once with `seq`: the driver takes its own lock, asks
 * `readRetry`, and only then believes the words. Words before the place where a walk failed are answers, those from there on
 * still the requests. Nothing is referenced: the notifier is the only protection.
 *
 * Concurrency: the caller holds mmap_lock for reading.
 */
import {
  LEVEL_PTE, PMD_PAGES, PTE_RW, STOP_BAD, STOP_BUDGET, STOP_DONE_ALL, STOP_NEEDS_FAULT, STOP_NEEDS_WRITE, STOP_NONPRESENT, STOP_SPECIAL, TABLE_SHIFT, WALK_ZERO_OK,
} from '../abi.ts';
import { invariant } from '../errno.ts';
import type { RangeCall } from '../events/events.ts';
import {
  FAULT_FLAG_REMOTE, FAULT_FLAG_WRITE, FAULT_SLEEPS, VM_FAULT_ERROR, VM_HUGETLB, VM_IO, VM_MIXEDMAP, VM_PFNMAP, VM_READ, VM_WRITE, handleMmFault, hugeLockOf, hugePageOf, quickMmFault, type IntervalSub, type Mm,
  livelock, tellBreach, type Vma,
} from '../mm/index.ts';
import { framePfn, isProtNone, isSwapEntry } from '../pgtable/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { alignDown, pagesOfLevel, type Pfn, type Vpn } from '../units.ts';
import { HMM_PFN_ERROR, HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE, HMM_PFN_VALID, HMM_PFN_WRITE } from './pfnWord.ts';
import { judgeSwapEntry } from './swapEntry.ts';
import { tellCalled, tellReturned, tellEra } from './toldCalls.ts';
import { hugeChunk } from './hugeChunk.ts';
import { RangeWalk, type WalkEncoding } from './walker.ts';

export type HmmErrno = 'EBUSY' | 'EFAULT' | 'EPERM' | 'ENOMEM';

/** struct hmm_range. `words` has a word for each page of `[start, end)`, request in, answer out. */
export interface HmmRange {
  readonly mm: Mm;
  readonly notifier: IntervalSub;
  /** from readBegin */
  seq: number;
  readonly start: Vpn;
  readonly end: Vpn;
  readonly words: BigUint64Array;
  /** arena offset of `words` */
  readonly out: number;
  /** HMM_PFN_REQ_ bits for every page */
  readonly defaultFlags: bigint;
  /** bits of the words themselves that count as requests */
  readonly pfnFlagsMask: bigint;
  /** dev_private_owner: whose device-private pages are answered, instead of brought back */
  readonly devPrivateOwner?: object | null;
}

/** A fault that answers without anything having changed may come back so often before it is called a livelock. */
const MAX_IDLE_ROUNDS = 64;

export function modernEncoding(orderShift: number): WalkEncoding {
  return { pfnShift: 0, orderShift, valid: HMM_PFN_VALID, write: HMM_PFN_WRITE, none: 0n, reqFault: HMM_PFN_REQ_FAULT, reqWrite: HMM_PFN_REQ_WRITE };
}

/** Mask of the frame number in a word: below the order bits. */
export function modernPfnMask(orderShift: number): bigint {
  return (1n << BigInt(orderShift)) - 1n;
}

/**
 * Fills `range.words`. Null: done. EBUSY: `seq` is no longer good, begin anew. EFAULT: a page that was asked for cannot be had.
 * EPERM: write was asked for where the area is read only.
 */
export function* hmmRangeFault(range: HmmRange): Sleepable<HmmErrno | null> {
  const { mm } = range;
  const { sched } = mm.platform;
  const state = beginRangeFault(range);
  for (;;) {
    if (sched.concurrent) yield sched.point('hmm_range_fault', `${mm.touches},areas ${mm.id},${mm.notifiers.subTouches(range.notifier.name)}`, state.idleRounds > 1);
    const answer = quickRangeFault(state);
    if (answer !== RANGE_SLEEPS) return answer;
    if (!(yield* awaitRange(state))) return returned(state, 'EFAULT');
  }
}

/** The rest of what quickRangeFault() left with RANGE_SLEEPS. Answers as hmmRangeFault(). */
export function* resumeRangeFault(state: WalkState): Sleepable<HmmErrno | null> {
  for (;;) {
    if (!(yield* awaitRange(state))) return returned(state, 'EFAULT');
    const answer = quickRangeFault(state);
    if (answer !== RANGE_SLEEPS) return answer;
  }
}

/** Where a range stands of which nothing has been walked. */
export function beginRangeFault(range: HmmRange): WalkState {
  const { mm, start } = range;
  const walk = new RangeWalk(mm, start, range.out, modernEncoding(mm.platform.profile.hmmOrderShift), WALK_ZERO_OK);
  return { range, walk, last: start, idleRounds: 0, vma: null, faultEnd: 0, faultFlags: 0, slept: -1, awaited: -1, call: mm.platform.bus.on ? tellCalled(range) : null };
}

/** hmmRangeFault() by plain functions, as far as nothing has to wait; RANGE_SLEEPS where something has to. Where others can run: one round of it. */
export function quickRangeFault(state: WalkState): HmmErrno | typeof RANGE_SLEEPS | null {
  const answer = faultRounds(state);
  return answer === RANGE_SLEEPS ? answer : returned(state, answer);
}

/** Who checks hears of the answer. */
function returned({ range, call, last }: WalkState, errno: HmmErrno | null): HmmErrno | null {
  if (call !== null) tellReturned(range.mm, call, { errno, count: errno === null ? range.end - range.start : 0, reached: errno === null ? -1 : last, marked: -1, dropped: false });
  return errno;
}

function faultRounds(state: WalkState): HmmErrno | typeof RANGE_SLEEPS | null {
  const { range } = state;
  for (;;) {
    if (range.mm.notifiers.readRetry(range.notifier, range.seq)) return 'EBUSY';
    const from = state.last;
    state.slept = -1;
    const answer = walkRange(state);
    if (answer === NEEDS_WAIT) return RANGE_SLEEPS;
    if (answer !== NEEDS_FAULT) {
      const { bus } = range.mm.platform;
      if (answer === 'EFAULT' && bus.on) bus.emit({ type: 'hmm-refused', mm: range.mm.id, vpn: state.last, write: asksWrite(range, state.last, state.last + 1) });
      return answer;
    }
    const { vma, last, faultEnd, faultFlags } = state;
    invariant(vma !== null, 'a fault is to be taken in no area');
    state.idleRounds = last === from ? state.idleRounds + 1 : 0;
    const slept = quickFaultPages(vma, last, faultEnd, faultFlags);
    if (slept < 0) return 'EFAULT';
    if (slept < faultEnd) {
      state.slept = slept;
      return RANGE_SLEEPS;
    }
    checkProgress(state);
  }
}

/** What has to be waited for after RANGE_SLEEPS: a page on its way, or faults from `slept` on; false where one of them fails. */
function* awaitRange(state: WalkState): Sleepable<boolean> {
  const { platform } = state.range.mm;
  if (state.slept < 0) {
    yield* platform.pageLocks.waitUnlocked(platform.sched, state.awaited);
    return true;
  }
  const { vma } = state;
  invariant(vma !== null, 'a fault is to be taken in no area');
  if (!(yield* faultUnlocked(vma, state.slept, state.faultEnd, state.faultFlags))) return false;
  checkProgress(state);
  return true;
}

/** What the walk holds is given back before it faults; bug switch hugetlb-fault-in-walk: not the lock of a hugetlb area. */
function* faultUnlocked(vma: Vma, start: Vpn, end: Vpn, flags: number): Sleepable<boolean> {
  const { sched, bugs } = vma.mm.platform;
  const held = vma.has(VM_HUGETLB) && bugs.has('hugetlb-fault-in-walk') ? hugeLockOf(vma) : null;
  if (held !== null) yield* held.read(sched);
  try {
    return yield* faultPages(vma, start, end, flags);
  } finally {
    held?.readUnlock(sched);
  }
}

function checkProgress({ range, last, idleRounds }: WalkState): void {
  if (idleRounds > MAX_IDLE_ROUNDS) throw livelock(range.mm, 'hmm_range_fault', last, idleRounds);
}

/** What quickRangeFault() answers where it would have to sleep: what for is in its state. */
export const RANGE_SLEEPS = 'sleeps';
/** What the plain part of the walk answers where pages have to be faulted in before it can go on; which ones is in its state. */
const NEEDS_FAULT = 'fault';
/** What it answers at a page on its way elsewhere, which it has to wait for. */
const NEEDS_WAIT = 'wait';
type WalkAnswer = HmmErrno | typeof NEEDS_FAULT | typeof NEEDS_WAIT | null;

/** Where a range fault stands. */
export interface WalkState {
  readonly range: HmmRange;
  readonly walk: RangeWalk;
  /** words before it are answers; with NEEDS_FAULT where the faulting begins */
  last: Vpn;
  idleRounds: number;
  /** with NEEDS_FAULT: the area, where the faulting ends, FAULT_FLAG_ bits */
  vma: Vma | null;
  faultEnd: Vpn;
  faultFlags: number;
  /** with RANGE_SLEEPS: the first page whose fault may sleep; or -1, and `awaited` is what to wait for */
  slept: Vpn;
  /** with NEEDS_WAIT: the page */
  awaited: Pfn;
  /** as who checks knows it; null: nobody does */
  readonly call: RangeCall | null;
}

/** One walk from `last` on, VMA by VMA. */
function walkRange(state: WalkState): WalkAnswer {
  const { range, walk } = state;
  const { mm, end } = range;
  walk.prepare(range.defaultFlags, range.pfnFlagsMask);
  for (let at = state.last; at < end; ) {
    const vma = mm.vmas.find(at);
    const inside = vma !== null && vma.start <= at;
    const upTo = Math.min(end, vma === null ? end : inside ? vma.end : vma.start);
    const readable = inside && vma.has(VM_READ) && !vma.has(VM_IO | VM_PFNMAP) && !refusesMixed(vma);
    const answer = readable ? walkArea(state, vma, at, upTo) : refuseArea(state, at, upTo);
    if (answer !== null) return answer;
    at = upTo;
  }
  return null;
}

/** Bug switch mixedmap-refused: pages of a driver's own are no pages to HMM. */
function refusesMixed(vma: Vma): boolean {
  if (!vma.has(VM_MIXEDMAP) || !vma.mm.platform.bugs.has('mixedmap-refused')) return false;
  tellEra(vma.mm, 'mixedmap-refused', vma.start, vma.end);
  return true;
}

/** Where there is nothing to mirror: an error for who asks, HMM_PFN_ERROR for who only looks. */
function refuseArea(state: WalkState, start: Vpn, end: Vpn): HmmErrno | null {
  if (asks(state.range, start, end)) {
    state.last = start;
    return 'EFAULT';
  }
  fill(state.range, start, end, HMM_PFN_ERROR);
  return null;
}

function walkArea(state: WalkState, vma: Vma, start: Vpn, end: Vpn): WalkAnswer {
  if (vma.has(VM_HUGETLB)) return walkHuge(state, vma, start, end);
  const { range, walk } = state;
  const { mm } = range;
  for (let at = start; at < end; ) {
    const reason = walk.run(at, end);
    if (reason === STOP_DONE_ALL) return null;
    const { stopVpn, stopEnd, stopLevel, entryLo, entryHi } = walk;
    if (reason === STOP_BUDGET) {
      at = stopVpn;
      continue;
    }
    if (reason === STOP_NEEDS_FAULT || reason === STOP_NEEDS_WRITE) return wantFault(state, vma, stopVpn, stopEnd, chunkEnd(stopVpn, stopEnd, end));
    invariant(reason === STOP_NONPRESENT || reason === STOP_SPECIAL || reason === STOP_BAD, `range walk stopped for reason ${reason}`);
    const wanted = asks(range, stopVpn, stopEnd);
    if (reason === STOP_NONPRESENT && stopLevel === LEVEL_PTE && isSwapEntry(LEVEL_PTE, entryLo, entryHi)) {
      const verdict = judgeSwapEntry(mm.platform, range.devPrivateOwner ?? null, entryLo, entryHi);
      if (verdict.kind === 'own') {
        const lacksWrite = (verdict.word & HMM_PFN_WRITE) === 0n && asksWrite(range, stopVpn, stopEnd);
        if (lacksWrite && !mm.platform.profile.ownPrivateAsIs) return wantFault(state, vma, stopVpn, stopEnd, chunkEnd(stopVpn, stopEnd, end));
        if (lacksWrite) tellBreach(mm, 'hmm-answers', 'ownPrivateAsIs', stopVpn, stopEnd);
        range.words[stopVpn - range.start] = verdict.word;
      } else if (!wanted) range.words[stopVpn - range.start] = 0n;
      else if (verdict.kind === 'fault') return wantFault(state, vma, stopVpn, stopEnd, chunkEnd(stopVpn, stopEnd, end));
      else {
        state.last = stopVpn;
        if (verdict.kind === 'refuse') return 'EFAULT';
        state.awaited = verdict.pfn;
        return NEEDS_WAIT;
      }
      at = stopEnd;
      continue;
    }
    if (reason === STOP_NONPRESENT && isProtNone(entryLo)) {
      // Not accessible now (a NUMA hint): faulted when asked for, else its frames without VALID.
      if (wanted) return wantFault(state, vma, stopVpn, stopEnd, chunkEnd(stopVpn, stopEnd, end));
      fillFrames(range, stopVpn, stopEnd, framePfn(entryLo, entryHi) + (stopVpn % pagesOfLevel(stopLevel)));
    } else {
      if (wanted) {
        state.last = stopVpn;
        return 'EFAULT';
      }
      // At pte level what is neither present nor faultable now reads 0; larger entries and special pages read ERROR.
      fill(range, stopVpn, stopEnd, reason === STOP_NONPRESENT && stopLevel === LEVEL_PTE ? 0n : HMM_PFN_ERROR);
    }
    at = stopEnd;
  }
  return null;
}

/** An area of huge pages of a pool, one after the other. */
function walkHuge(state: WalkState, vma: Vma, start: Vpn, end: Vpn): WalkAnswer {
  const { range } = state;
  const { mm } = range;
  const order = BigInt(hugePageOf(vma).level * TABLE_SHIFT) << BigInt(mm.platform.profile.hmmOrderShift);
  for (let at = start; at < end; ) {
    const chunk = hugeChunk(mm, hugePageOf(vma), at, end);
    const asking = chunk.table ? at + 1 : chunk.end;
    if ((!chunk.valid && asks(range, at, asking)) || (!chunk.write && asksWrite(range, at, asking))) return wantFault(state, vma, at, asking, chunk.end);
    if (!chunk.table) fill(range, at, chunk.end, 0n);
    else {
      const bits = order | (chunk.valid ? HMM_PFN_VALID : 0n) | (chunk.write ? HMM_PFN_WRITE : 0n);
      for (let vpn = at; vpn < chunk.end; vpn++) range.words[vpn - range.start] = bits | BigInt(chunk.frame + (vpn - at));
    }
    at = chunk.end;
  }
  return null;
}

/**
 * Where the faulting ends that a page of `[start, spanEnd)` started: with the 2 MiB chunk that the walk is in. One asked page
 * faults on to the end of its chunk (recorded on 6.1: test/conformance).
 */
function chunkEnd(start: Vpn, spanEnd: Vpn, end: Vpn): Vpn {
  return Math.max(spanEnd, Math.min(end, alignDown(start, PMD_PAGES) + PMD_PAGES));
}

/** hmm_vma_fault() of `[start, end)` as the pages of `[start, spanEnd)` ask: EPERM, or it is to be done. */
function wantFault(state: WalkState, vma: Vma, start: Vpn, spanEnd: Vpn, end: Vpn): WalkAnswer {
  const write = asksWrite(state.range, start, spanEnd);
  state.last = start;
  if (write && !vma.has(VM_WRITE)) return 'EPERM';
  state.vma = vma;
  state.faultEnd = end;
  state.faultFlags = FAULT_FLAG_REMOTE | (write ? FAULT_FLAG_WRITE : 0);
  return NEEDS_FAULT;
}

/**
 * handle_mm_fault() for each page of `[start, end)`; false at the first that fails. Pages that a huge leaf just faulted
 * covers are counted as the calls they are in a kernel, and skipped: they would find everything there.
 */
export function* faultPages(vma: Vma, start: Vpn, end: Vpn, flags: number): Sleepable<boolean> {
  const { counts } = vma.mm.platform;
  for (let vpn = start; vpn < end; ) {
    counts.hmmFaults++;
    if (((yield* handleMmFault(vma, vpn, flags)) & VM_FAULT_ERROR) !== 0) return false;
    vma.mm.pageTable.look(vpn);
    vpn = afterFaulted(vma, vpn, end, flags);
  }
  return true;
}

/** The same by the quick path: `end`; or the first page whose fault may sleep, none of it done; or -1 where one failed. */
export function quickFaultPages(vma: Vma, start: Vpn, end: Vpn, flags: number): number {
  const { counts, sched } = vma.mm.platform;
  if (sched.concurrent) return start;
  for (let vpn = start; vpn < end; ) {
    const result = quickMmFault(vma, vpn, flags);
    if (result === FAULT_SLEEPS) return vpn;
    counts.hmmFaults++;
    if ((result & VM_FAULT_ERROR) !== 0) return -1;
    vpn = afterFaulted(vma, vpn, end, flags);
  }
  return end;
}

/** The page to fault after `vpn`, whose entry the page table has found: the next, or the first beyond a huge leaf with the rights asked for. */
function afterFaulted(vma: Vma, vpn: Vpn, end: Vpn, flags: number): Vpn {
  const pt = vma.mm.pageTable;
  const next = vpn + 1;
  if (next >= end || pt.level === LEVEL_PTE || !pt.look(vpn) || ((flags & FAULT_FLAG_WRITE) !== 0 && (pt.lo & PTE_RW) === 0)) return next;
  const beyond = Math.min(end, alignDown(vpn, pagesOfLevel(pt.level)) + pagesOfLevel(pt.level));
  vma.mm.platform.counts.hmmFaults += beyond - next;
  return beyond;
}

/** Does anyone ask for a page in `[start, end)`? */
function asks(range: HmmRange, start: Vpn, end: Vpn): boolean {
  return asksFor(range, start, end, HMM_PFN_REQ_FAULT);
}

function asksWrite(range: HmmRange, start: Vpn, end: Vpn): boolean {
  return asksFor(range, start, end, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE);
}

function asksFor(range: HmmRange, start: Vpn, end: Vpn, bits: bigint): boolean {
  const { defaultFlags, pfnFlagsMask, words } = range;
  if ((defaultFlags & bits) === bits) return true;
  if (((defaultFlags | pfnFlagsMask) & bits) !== bits) return false;
  for (let vpn = start; vpn < end; vpn++) {
    const request = ((words[vpn - range.start] as bigint) & pfnFlagsMask) | defaultFlags;
    if ((request & bits) === bits) return true;
  }
  return false;
}

function fill(range: HmmRange, start: Vpn, end: Vpn, word: bigint): void {
  range.words.fill(word, start - range.start, end - range.start);
}

function fillFrames(range: HmmRange, start: Vpn, end: Vpn, pfn: Pfn): void {
  for (let vpn = start; vpn < end; vpn++) range.words[vpn - range.start] = BigInt(pfn + (vpn - start));
}
