/**
 * The range walk of the 2019 API over one area, and what each entry comes to (mm/hmm.c: hmm_vma_walk_pud, _pmd, _pte, _hole,
 * v5.2, with the seed's PUD walk).
 *
 * | there                                  | its words, and how the walk goes on                                  |
 * |----------------------------------------|----------------------------------------------------------------------|
 * | nothing, under no pte table: a hole    | NONE; every page of it faulted where one asks                        |
 * | nothing, in a pte table                | NONE; faulted where it asks                                          |
 * | a page or a leaf, write not asked for  | frame, VALID (WRITE)                                                 |
 * | the same, read only, and write asked   | faulted                                                              |
 * | devmap                                 | as any page, while its dev_pagemap lives; else ERROR, EFAULT         |
 * | pte special, not the page of zeroes    | SPECIAL, EFAULT                                                      |
 * | pte of the page of zeroes              | as any page, read only                                               |
 * | pte or pmd of PROT_NONE (a NUMA hint)  | as nothing                                                           |
 * | pud not present, devmap                | a hole                                                               |
 * | another pte that is not present        | ERROR, EFAULT                                                        |
 * | another larger entry, bad ones too     | ERROR, and goes on                                                   |
 *
 * The WASM walk passes what is plain and stops at the rest. One dev_pagemap reference is held at a time, from one devmap page
 * to the next; while the walk stands still it is a real one in the ledger. `last` is where a retry goes on and what the count
 * is counted to. Bug switches that change a row: leak-pgmap-on-special, zero-page-special, protnone-valid, dying-pagemap-retries,
 * fault-under-pud-lock, gap-fault-without-vma, and those of faulting (fault2019.ts).
 *
 * Hugetlb areas, swap, migration and device-private entries come with the rooms that make them.
 *
 * Concurrency: the caller holds mmap_lock for reading.
 */
import {
  LEVEL_PMD, LEVEL_PTE, LEVEL_PUD, PMD_PAGES, STOP_DONE_ALL, STOP_DYING, STOP_NEEDS_FAULT, STOP_NEEDS_WRITE, STOP_NONPRESENT, STOP_SPECIAL, WALK_PGMAP, WALK_ZERO_OK,
} from '../abi.ts';
import { InvariantError, KernelCrash, invariant } from '../errno.ts';
import { VM_HUGETLB, VM_WRITE, tellBreach, type Mm, type Vma } from '../mm/index.ts';
import { framePfn, isNone, isProtNone, isSpecial, isSwapEntry, isWritable } from '../pgtable/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { alignDown, pagesOfLevel, type Vpn } from '../units.ts';
import { isMigrating, walkAbsentPte, walkMigratingPmd } from './absent2019.ts';
import { faultAsked, faultChunk, mark, type Walk2019, type WalkErrno } from './fault2019.ts';
import { walkHugetlb } from './hugetlb2019.ts';
import {
  NEED_FAULT, NEED_WRITE, PFN_FLAG_VALID, PFN_FLAG_WRITE, PFN_VALUE_ERROR, PFN_VALUE_NONE, PFN_VALUE_SPECIAL, cpuFlags, encodePfn, needFault, needFaultOfAny,
} from './need2019.ts';
import type { Range2019 } from './range2019.ts';
import { tellEra } from './toldCalls.ts';
import { RangeWalk, type WalkEncoding } from './walker.ts';

/** Who holds dev_pagemap references, in the ledger. */
export const HMM_WALK = 'hmm_vma_walk';

export function newWalk2019(range: Range2019, mm: Mm, start: Vpn, fault: boolean, allowRetry: boolean): Walk2019 {
  const mode = WALK_PGMAP | (mm.platform.bugs.has('zero-page-special') ? 0 : WALK_ZERO_OK);
  const walk = new RangeWalk(mm, range.start, range.out, encodingOf(range), mode);
  return { range, mm, walk, fault, allowRetry, last: start, marked: -1, faultFailed: false, held: null, stop: { vpn: -1, reason: 0, lo: 0, hi: 0 } };
}

function encodingOf(range: Range2019): WalkEncoding {
  const { flags, values, pfnShift } = range;
  return {
    pfnShift, orderShift: 0, valid: flags[PFN_FLAG_VALID], write: flags[PFN_FLAG_WRITE], none: values[PFN_VALUE_NONE], reqFault: flags[PFN_FLAG_VALID], reqWrite: flags[PFN_FLAG_WRITE],
  };
}

/** walk_page_range() over `[start, end)`, which ends within `vma` and may start in the gap below it. Null: walked to the end. */
export function* walkPageRange(w: Walk2019, vma: Vma, start: Vpn, end: Vpn): Sleepable<WalkErrno | null> {
  if (w.mm.platform.sched.concurrent) yield w.mm.platform.sched.point('hmm range walk', `${w.mm.touches},notifier ${w.mm.id}`);
  w.marked = -1;
  const inside = Math.max(start, Math.min(end, vma.start));
  if (start < inside) {
    const answer = yield* walkGap(w, start, inside);
    if (answer !== null) return answer;
  }
  if (inside >= end) return null;
  return vma.has(VM_HUGETLB) ? yield* walkHugetlb(w, vma, inside, end) : yield* walkArea(w, vma, inside, end);
}

/** A gap is a hole without an area, in pieces of what a pud entry spans, or a larger one where there is no pud table. */
function* walkGap(w: Walk2019, start: Vpn, end: Vpn): Sleepable<WalkErrno | null> {
  for (let at = start; at < end; ) {
    w.mm.pageTable.look(at);
    const span = pagesOfLevel(Math.max(w.mm.pageTable.level, LEVEL_PUD));
    const upTo = Math.min(end, alignDown(at, span) + span);
    const answer = yield* hole(w, null, at, upTo, 0n);
    if (answer !== null) return answer;
    at = upTo;
  }
  return null;
}

function* walkArea(w: Walk2019, vma: Vma, start: Vpn, end: Vpn): Sleepable<WalkErrno | null> {
  const { range, walk, mm, stop } = w;
  let leaked = false;
  walk.prepare(w.fault ? range.defaultFlags : 0n, w.fault ? range.pfnFlagsMask : 0n);
  try {
    for (let at = start; at < end; ) {
      stop.reason = walk.run(at, end, w.held === null ? 0 : mm.platform.pgmaps.indexOf(w.held) + 1);
      takeOver(w);
      if (walk.stopVpn > at || stop.reason === STOP_DONE_ALL) w.last = walk.last;
      if (stop.reason === STOP_DONE_ALL) return null;
      const { stopEnd, stopLevel } = walk;
      stop.vpn = walk.stopVpn;
      stop.lo = walk.entryLo;
      stop.hi = walk.entryHi;
      const answer = stopLevel === LEVEL_PTE ? yield* handlePte(w, vma, end) : yield* handleLarge(w, vma, stopLevel, stopEnd);
      if (answer === 'leaves') {
        leaked = mm.platform.bugs.has('leak-pgmap-on-special');
        if (leaked && mm.platform.profile.bugs.includes('leak-pgmap-on-special')) tellBreach(mm, 'pagemap-references', 'leak-pgmap-on-special', at, end);
        return 'EFAULT';
      }
      if (answer !== null) return answer;
      at = stopEnd;
      if (stopLevel === LEVEL_PTE && (at === end || at % PMD_PAGES === 0)) {
        putHeld(w);
        w.last = at;
      }
    }
    return null;
  } finally {
    if (leaked) w.held = null;
    else putHeld(w);
  }
}

/** hmm_vma_handle_pte() of the pte at which the walk stopped. 'leaves': EFAULT on the way out that forgets the pagemap. */
function* handlePte(w: Walk2019, vma: Vma, end: Vpn): Sleepable<WalkErrno | 'leaves' | null> {
  const { range } = w;
  const { vpn, reason, lo, hi } = w.stop;
  const i = vpn - range.start;
  if (reason === STOP_NONPRESENT && isSwapEntry(LEVEL_PTE, lo, hi)) return yield* handleAbsent(w, vma, end);
  const there = thereOf(w, reason, lo, hi);
  const mayFault = reason === STOP_NEEDS_FAULT || reason === STOP_NEEDS_WRITE || (reason === STOP_NONPRESENT && isProtNone(lo));
  const need = mayFault && w.fault ? needFault(range, range.words[i] as bigint, there) : 0;
  if (need !== 0) return yield* faultFrom(w, vma, vpn, Math.min(end, alignDown(vpn, PMD_PAGES) + PMD_PAGES), need);
  range.words[i] = range.values[PFN_VALUE_NONE];
  w.last = vpn;
  if (reason === STOP_DYING) return dying(w, vpn);
  if (reason === STOP_SPECIAL) return refuse(w, vpn, PFN_VALUE_SPECIAL);
  invariant(reason === STOP_NONPRESENT, `2019 walk stopped at a pte for reason ${reason}`);
  if (!isProtNone(lo)) return refuse(w, vpn, PFN_VALUE_ERROR);
  if (there === 0n) return null;
  const pfn = framePfn(lo, hi);
  if (isDevmap(w, hi)) {
    if (!hold(w, pfn)) return dying(w, vpn);
  } else if (isSpecial(lo) && (pfn !== w.mm.platform.ram.zeroPfn || w.mm.platform.bugs.has('zero-page-special'))) return refuse(w, vpn, PFN_VALUE_SPECIAL);
  if (isProtNone(lo)) tellEra(w.mm, 'protnone-valid', vpn, vpn + 1);
  range.words[i] = encodePfn(range, pfn, isWritable(lo));
  return null;
}

/** The same of a pte that is neither empty nor present. */
function* handleAbsent(w: Walk2019, vma: Vma, end: Vpn): Sleepable<WalkErrno | 'leaves' | null> {
  const { vpn } = w.stop;
  const absent = yield* walkAbsentPte(w);
  if (absent.kind === 'end') return absent.answer;
  if (absent.kind === 'fault') return yield* faultFrom(w, vma, vpn, Math.min(end, alignDown(vpn, PMD_PAGES) + PMD_PAGES), absent.need);
  w.last = vpn;
  return absent.kind === 'refuse' ? refuse(w, vpn, PFN_VALUE_ERROR) : null;
}

/** What a pte says of itself. The era's code does not know PROT_NONE there, which the processor does. */
function thereOf(w: Walk2019, reason: number, lo: number, hi: number): bigint {
  if (isNone(lo, hi)) return 0n;
  if (reason === STOP_NONPRESENT && !(isProtNone(lo) && w.mm.platform.bugs.has('protnone-valid'))) return 0n;
  return cpuFlags(w.range, isWritable(lo));
}

/** The handlers of larger entries: from the stop to `end` is what the range has of the one entry. */
function* handleLarge(w: Walk2019, vma: Vma, level: number, end: Vpn): Sleepable<WalkErrno | null> {
  const { range } = w;
  const { vpn, reason, lo, hi } = w.stop;
  if (reason === STOP_NEEDS_FAULT) return yield* hole(w, vma, vpn, end, 0n);
  if (reason === STOP_NEEDS_WRITE) {
    const { bugs } = w.mm.platform;
    const faults = vma.has(VM_WRITE) || bugs.has('fault-ignores-vm-write');
    if (level === LEVEL_PUD && faults && bugs.has('fault-under-pud-lock')) faultUnderPudLock(w);
    return yield* hole(w, vma, vpn, end, cpuFlags(range, false));
  }
  if (reason === STOP_DYING) return dying(w, vpn);
  if (reason === STOP_NONPRESENT && level === LEVEL_PMD && isSwapEntry(level, lo, hi) && isMigrating(w, level)) {
    const absent = yield* walkMigratingPmd(w, end - vpn);
    return absent.kind === 'end' ? absent.answer : null;
  }
  if (reason === STOP_NONPRESENT && (level === LEVEL_PMD ? isProtNone(lo) : isDevmap(w, hi))) return yield* hole(w, vma, vpn, end, 0n);
  range.words.fill(range.values[PFN_VALUE_ERROR], vpn - range.start, end - range.start);
  return null;
}

/** hmm_vma_walk_hole(): pages `[start, end)` under one entry that says `there`. */
function* hole(w: Walk2019, vma: Vma | null, start: Vpn, end: Vpn, there: bigint): Sleepable<WalkErrno | null> {
  const { range } = w;
  w.last = start;
  const need = w.fault ? needFaultOfAny(range, range.words, start - range.start, end - range.start, there) : 0;
  if (need !== 0) return yield* faultFrom(w, vma, start, end, need);
  range.words.fill(range.values[PFN_VALUE_NONE], start - range.start, end - range.start);
  return null;
}

/** The fault path: lets go of the pagemap, then faults the chunk from `start` on, or just the pages of it that ask. */
function* faultFrom(w: Walk2019, vma: Vma | null, start: Vpn, end: Vpn, need: number): Sleepable<WalkErrno> {
  const { bugs } = w.mm.platform;
  putHeld(w);
  w.last = start;
  invariant((need & NEED_FAULT) !== 0, 'the walk stopped for a fault that the request does not ask for');
  if (vma === null) {
    if (bugs.has('gap-fault-without-vma')) faultNoArea(w.mm, start);
    mark(w, start, PFN_VALUE_ERROR);
    return 'EFAULT';
  }
  return bugs.has('chunk-faulting') ? yield* faultChunk(w, vma, start, end, (need & NEED_WRITE) !== 0) : yield* faultAsked(w, vma, start, end);
}

/** What a kernel dies of: who checks hears of it first. */
function faultNoArea(mm: Mm, vpn: Vpn): never {
  const { bus } = mm.platform;
  tellEra(mm, 'gap-fault-without-vma', vpn, vpn + 1);
  if (bus.on) bus.emit({ type: 'hmm-no-area', mm: mm.id, vpn });
  throw new KernelCrash('handle_mm_fault() called with no VMA: NULL pointer dereference');
}

/**
 * The pud handler runs with the pud's spinlock held, and handle_mm_fault() of a present 1G leaf takes it whatever it finds to do:
 * to make it writable, or to mark it accessed.
 */
function faultUnderPudLock(w: Walk2019): never {
  const { sched } = w.mm.platform;
  const lock = `pud_lock ${w.mm.name}`;
  const { start, end } = w.range;
  if (w.mm.platform.profile.bugs.includes('fault-under-pud-lock')) for (const rule of ['atomic-sleep', 'lock-order']) tellBreach(w.mm, rule, 'fault-under-pud-lock', start, end);
  sched.spinLock(lock);
  try {
    sched.watch?.maySleep('handle_mm_fault()');
    sched.spinLock(lock);
  } finally {
    sched.spinUnlock(lock);
  }
  throw new InvariantError(`${lock} was taken twice`);
}

function isDevmap(w: Walk2019, hi: number): boolean {
  const { devmapHi } = w.mm.platform;
  return devmapHi !== 0 && (hi & devmapHi) !== 0;
}

function refuse(w: Walk2019, vpn: Vpn, value: number): 'leaves' {
  mark(w, vpn, value);
  return 'leaves';
}

/** No reference on the page's dev_pagemap to be had: the code for "again", or (no bug) that there is nothing to be had. */
function dying(w: Walk2019, vpn: Vpn): WalkErrno {
  if (w.mm.platform.bugs.has('dying-pagemap-retries')) return 'EBUSY';
  mark(w, vpn, PFN_VALUE_ERROR);
  w.last = vpn;
  return 'EFAULT';
}

/** After a run: what the walk holds now is a reference in the ledger. What it took was live, what it kept is held already. */
function takeOver(w: Walk2019): void {
  const { pgmaps } = w.mm.platform;
  const held = w.walk.pgmapHeld;
  const now = held === 0 ? null : pgmaps.at(held - 1);
  if (now === w.held) return;
  putHeld(w);
  if (now === null) return;
  invariant(now.tryGet(HMM_WALK), `the walk holds ${now.name}, which is ${now.state}`);
  w.held = now;
}

/** get_dev_pagemap() with the one held as cache. */
function hold(w: Walk2019, pfn: number): boolean {
  if (w.held !== null && w.held.covers(pfn)) return true;
  putHeld(w);
  w.held = w.mm.platform.pgmaps.get(pfn, HMM_WALK);
  return w.held !== null;
}

function putHeld(w: Walk2019): void {
  if (w.held === null) return;
  w.mm.platform.pgmaps.put(w.held, HMM_WALK);
  w.held = null;
}
