/**
 * A walk of the 2019 API, and how it faults pages in (mm/hmm.c: struct hmm_vma_walk, hmm_vma_walk_hole_, hmm_vma_do_fault, v5.2).
 *
 * EBUSY means faulted, walk again; EPERM, write asked for in a read-only area. The era's code faults everything from the first page
 * that asks to the end of its chunk, with that page's rights, and overwrites the requests on its way (bug switch chunk-faulting:
 * `faultChunk`). What was meant: each page that asks, with the rights it asks for, and requests stand until they are answered
 * (`faultAsked`). Further switches: block-may-drop-lock, fault-ignores-vm-write.
 */
import { LEVEL_PTE, PTE_RW } from '../abi.ts';
import {
  FAULT_FLAG_ALLOW_RETRY, FAULT_FLAG_REMOTE, FAULT_FLAG_WRITE, FAULT_SLEEPS, VM_FAULT_ERROR, VM_FAULT_RETRY, VM_WRITE, handleMmFault, quickMmFault, type Mm, type Vma,
} from '../mm/index.ts';
import type { PgMap } from '../memremap/index.ts';
import type { PageTable } from '../pgtable/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { alignDown, pagesOfLevel, type Vpn } from '../units.ts';
import { NEED_WRITE, PFN_VALUE_ERROR, PFN_VALUE_NONE, cpuFlags, needFault, type PfnRequests } from './need2019.ts';
import type { Range2019 } from './range2019.ts';
import { tellEra } from './toldCalls.ts';
import type { RangeWalk } from './walker.ts';

export type WalkErrno = 'EBUSY' | 'EAGAIN' | 'EFAULT' | 'EPERM' | 'EINVAL';

/** struct hmm_vma_walk: one area's worth of a call. */
export interface Walk2019 {
  readonly range: Range2019;
  readonly mm: Mm;
  readonly walk: RangeWalk;
  /** faults what is asked for; without it requests are not looked at */
  readonly fault: boolean;
  /** the fault handler may drop mmap_lock and answer "again" */
  readonly allowRetry: boolean;
  /** where a retry goes on, and what the count is counted to */
  last: Vpn;
  /** the page whose word names the error that the walk returned, or -1 */
  marked: Vpn | -1;
  /** the error is the fault handler's own */
  faultFailed: boolean;
  /** the dev_pagemap held between devmap pages */
  held: PgMap | null;
  /** where and why the WASM walk stopped last: page, STOP_ reason, entry */
  readonly stop: { vpn: Vpn; reason: number; lo: number; hi: number };
}

/** Makes the word of `vpn`, which is word `i`, say what the walk's error is: `value` is its place in `values`. */
export function mark(w: Walk2019, vpn: Vpn, value: number, i = vpn - w.range.start): void {
  w.range.words[i] = w.range.values[value] as bigint;
  w.marked = vpn;
}

/** Faults every page of `[start, end)`, all alike. Their words are NONE from here on. */
export function* faultChunk(w: Walk2019, vma: Vma, start: Vpn, end: Vpn, write: boolean): Sleepable<WalkErrno> {
  const { range } = w;
  const { counts, sched } = w.mm.platform;
  const pt = w.mm.pageTable;
  if (mayNotWrite(w, vma, start, write)) return 'EPERM';
  const flags = flagsOf(w, write);
  if (range.pfnFlagsMask !== 0n) tellEra(w.mm, 'chunk-faulting', start, end);
  range.words.fill(range.values[PFN_VALUE_NONE], start - range.start, end - range.start);
  for (let vpn = start; vpn < end; ) {
    const quick = sched.concurrent ? FAULT_SLEEPS : quickMmFault(vma, vpn, flags);
    const answer = faulted(w, vpn, quick === FAULT_SLEEPS ? yield* handleMmFault(vma, vpn, flags) : quick);
    if (answer !== 'EBUSY') return answer;
    // The calls for the rest of a huge leaf would find all they want: they are counted, and not made.
    const next = pt.look(vpn) && pt.level > LEVEL_PTE && (!write || (pt.lo & PTE_RW) !== 0) ? Math.min(end, leafEnd(pt, vpn)) : vpn + 1;
    counts.hmmFaults += next - vpn - 1;
    vpn = next;
  }
  return 'EBUSY';
}

/** Faults the pages of `[start, end)` that need it. */
export function* faultAsked(w: Walk2019, vma: Vma, start: Vpn, end: Vpn): Sleepable<WalkErrno> {
  const { range } = w;
  const { sched } = w.mm.platform;
  const pt = w.mm.pageTable;
  const needs = needTable(range);
  for (let vpn = start; vpn < end; ) {
    const present = pt.look(vpn);
    const need = needs(range.words[vpn - range.start] as bigint, present, (pt.lo & PTE_RW) !== 0);
    if (need === 0) {
      vpn = present && pt.level > LEVEL_PTE && range.pfnFlagsMask === 0n ? Math.min(end, leafEnd(pt, vpn)) : vpn + 1;
      continue;
    }
    const write = (need & NEED_WRITE) !== 0;
    if (mayNotWrite(w, vma, vpn, write)) return 'EPERM';
    const flags = flagsOf(w, write);
    const quick = sched.concurrent ? FAULT_SLEEPS : quickMmFault(vma, vpn, flags);
    const answer = faulted(w, vpn, quick === FAULT_SLEEPS ? yield* handleMmFault(vma, vpn, flags) : quick);
    if (answer !== 'EBUSY') return answer;
    vpn++;
  }
  return 'EBUSY';
}

/** Write asked for in a read-only area: the page's word says ERROR. */
export function mayNotWrite(w: Walk2019, vma: Vma, vpn: Vpn, write: boolean): boolean {
  if (!write || vma.has(VM_WRITE) || w.mm.platform.bugs.has('fault-ignores-vm-write')) return false;
  mark(w, vpn, PFN_VALUE_ERROR);
  return true;
}

export function flagsOf(w: Walk2019, write: boolean): number {
  return FAULT_FLAG_REMOTE | (w.allowRetry ? FAULT_FLAG_ALLOW_RETRY : 0) | (write ? FAULT_FLAG_WRITE : 0);
}

/** What hmm_vma_do_fault() makes of VM_FAULT_ bits. EAGAIN: mmap_lock was dropped; EFAULT: the page's word, which is word `i`, says ERROR. */
export function faulted(w: Walk2019, vpn: Vpn, result: number, i = vpn - w.range.start): WalkErrno {
  w.mm.platform.counts.hmmFaults++;
  if ((result & VM_FAULT_RETRY) !== 0) return 'EAGAIN';
  if ((result & VM_FAULT_ERROR) === 0) return 'EBUSY';
  mark(w, vpn, PFN_VALUE_ERROR, i);
  w.faultFailed = true;
  return 'EFAULT';
}

/** `needFault` for many pages: three answers where the words do not matter, worked out once. */
function needTable(range: PfnRequests): (word: bigint, present: boolean, writable: boolean) => number {
  const readOnly = cpuFlags(range, false);
  const readWrite = cpuFlags(range, true);
  if (range.pfnFlagsMask !== 0n) return (word, present, writable) => needFault(range, word, present ? (writable ? readWrite : readOnly) : 0n);
  const ifNone = needFault(range, 0n, 0n);
  const ifReadOnly = needFault(range, 0n, readOnly);
  const ifReadWrite = needFault(range, 0n, readWrite);
  return (_word, present, writable) => (present ? (writable ? ifReadWrite : ifReadOnly) : ifNone);
}

function leafEnd(pt: PageTable, vpn: Vpn): Vpn {
  const npages = pagesOfLevel(pt.level);
  return alignDown(vpn, npages) + npages;
}
