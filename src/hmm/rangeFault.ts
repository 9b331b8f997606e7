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
  LEVEL_PTE, PMD_PAGES, PTE_RW, STOP_BAD, STOP_BUDGET, STOP_DONE_ALL, STOP_NEEDS_FAULT, STOP_NEEDS_WRITE, STOP_NONPRESENT, STOP_SPECIAL, WALK_ZERO_OK,
} from '../abi.ts';
import { Livelock, invariant } from '../errno.ts';
import {
  FAULT_FLAG_REMOTE, FAULT_FLAG_WRITE, VM_FAULT_ERROR, VM_IO, VM_PFNMAP, VM_READ, VM_WRITE, handleMmFault, type IntervalSub, type Mm, type Vma,
} from '../mm/index.ts';
import { isProtNone } from '../pgtable/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { alignDown, pagesOfLevel, type Vpn } from '../units.ts';
import { RangeWalk, type WalkEncoding } from './walker.ts';

export const HMM_PFN_VALID = 1n << 63n;
export const HMM_PFN_WRITE = 1n << 62n;
export const HMM_PFN_ERROR = 1n << 61n;
/** as input the same bits ask */
export const HMM_PFN_REQ_FAULT = HMM_PFN_VALID;
export const HMM_PFN_REQ_WRITE = HMM_PFN_WRITE;

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
  const walk = new RangeWalk(mm, range.start, range.out, modernEncoding(mm.platform.profile.hmmOrderShift), WALK_ZERO_OK);
  const state: WalkState = { range, walk, last: range.start, idleRounds: 0 };
  for (;;) {
    if (mm.platform.sched.concurrent) yield mm.platform.sched.point('hmm_range_fault', `${mm.touches},notifier ${mm.id}`);
    if (mm.notifiers.readRetry(range.notifier, range.seq)) return 'EBUSY';
    const from = state.last;
    const answer = yield* walkRange(state);
    if (answer !== 'EBUSY') return answer;
    state.idleRounds = state.last === from ? state.idleRounds + 1 : 0;
    if (state.idleRounds > MAX_IDLE_ROUNDS) throw new Livelock('hmm_range_fault');
  }
}

interface WalkState {
  readonly range: HmmRange;
  readonly walk: RangeWalk;
  /** words before it are answers */
  last: Vpn;
  idleRounds: number;
}

/** One walk from `last` on, VMA by VMA. EBUSY: something was faulted in, walk again. */
function* walkRange(state: WalkState): Sleepable<HmmErrno | null> {
  const { range, walk } = state;
  const { mm, end } = range;
  walk.prepare(range.defaultFlags, range.pfnFlagsMask);
  for (let at = state.last; at < end; ) {
    const vma = mm.vmas.find(at);
    const inside = vma !== null && vma.start <= at;
    const upTo = Math.min(end, vma === null ? end : inside ? vma.end : vma.start);
    const readable = inside && vma.has(VM_READ) && !vma.has(VM_IO | VM_PFNMAP);
    const answer = readable ? yield* walkArea(state, vma, at, upTo) : refuseArea(state, at, upTo);
    if (answer !== null) return answer;
    at = upTo;
  }
  return null;
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

function* walkArea(state: WalkState, vma: Vma, start: Vpn, end: Vpn): Sleepable<HmmErrno | null> {
  const { range, walk } = state;
  for (let at = start; at < end; ) {
    const reason = walk.run(at, end);
    if (reason === STOP_DONE_ALL) return null;
    const { stopVpn, stopEnd, stopLevel, entryLo } = walk;
    if (reason === STOP_BUDGET) {
      at = stopVpn;
      continue;
    }
    if (reason === STOP_NEEDS_FAULT || reason === STOP_NEEDS_WRITE) return yield* faultChunk(state, vma, stopVpn, stopEnd, chunkEnd(stopVpn, stopEnd, end));
    invariant(reason === STOP_NONPRESENT || reason === STOP_SPECIAL || reason === STOP_BAD, `range walk stopped for reason ${reason}`);
    const wanted = asks(range, stopVpn, stopEnd);
    if (reason === STOP_NONPRESENT && isProtNone(entryLo)) {
      // Not accessible now (a NUMA hint): like nothing there, faulted when asked for.
      if (wanted) return yield* faultChunk(state, vma, stopVpn, stopEnd, chunkEnd(stopVpn, stopEnd, end));
      fill(range, stopVpn, stopEnd, 0n);
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

/**
 * Where the faulting ends that a page of `[start, spanEnd)` started: with the 2 MiB chunk that the walk is in. One asked page
 * faults on to the end of its chunk (recorded on 6.1: test/conformance).
 */
function chunkEnd(start: Vpn, spanEnd: Vpn, end: Vpn): Vpn {
  return Math.max(spanEnd, Math.min(end, alignDown(start, PMD_PAGES) + PMD_PAGES));
}

/** hmm_vma_fault(): faults `[start, end)` as the pages of `[start, spanEnd)` ask; EBUSY when that went well. */
function* faultChunk(state: WalkState, vma: Vma, start: Vpn, spanEnd: Vpn, end: Vpn): Sleepable<HmmErrno> {
  const write = asksWrite(state.range, start, spanEnd);
  state.last = start;
  if (write && !vma.has(VM_WRITE)) return 'EPERM';
  return (yield* faultPages(vma, start, end, FAULT_FLAG_REMOTE | (write ? FAULT_FLAG_WRITE : 0))) ? 'EBUSY' : 'EFAULT';
}

/**
 * handle_mm_fault() for each page of `[start, end)`; false at the first that fails. Pages that a huge leaf just faulted
 * covers are counted as the calls they are in a kernel, and skipped: they would find everything there.
 */
export function* faultPages(vma: Vma, start: Vpn, end: Vpn, flags: number): Sleepable<boolean> {
  const { counts } = vma.mm.platform;
  const pt = vma.mm.pageTable;
  for (let vpn = start; vpn < end; ) {
    counts.hmmFaults++;
    if (((yield* handleMmFault(vma, vpn, flags)) & VM_FAULT_ERROR) !== 0) return false;
    let next = vpn + 1;
    if (next < end && pt.look(vpn) && pt.level > LEVEL_PTE && ((flags & FAULT_FLAG_WRITE) === 0 || (pt.lo & PTE_RW) !== 0)) {
      next = Math.min(end, alignDown(vpn, pagesOfLevel(pt.level)) + pagesOfLevel(pt.level));
      counts.hmmFaults += next - vpn - 1;
    }
    vpn = next;
  }
  return true;
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

