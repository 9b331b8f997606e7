/** One hmm_range_fault() as a driver makes it: subscribe, read the sequence, walk under mmap_lock, again where something interfered. */
import { KernelCrash } from '../errno.ts';
import { HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE, hmmRangeFault } from '../hmm/index.ts';
import type { Mm, NotifierRange } from '../mm/index.ts';
import type { Sleepable } from '../sched/index.ts';
import type { Vpn } from '../units.ts';
import { Words } from './pageRuns.ts';
import type { LoggedMirror } from './process.ts';

/** Attempts after which a walk that always finds itself disturbed is EBUSY. */
const ATTEMPTS_MAX = 2000;

/** Events that a mirror keeps. */
const EVENTS_MAX = 2048;

export interface Walked {
  readonly err: string | null;
  readonly busy: boolean;
  readonly words: Words;
}

export interface Requests {
  readonly defaultFlags: bigint;
  readonly mask?: bigint;
  /** request bits by page */
  readonly asked?: ReadonlyMap<number, bigint>;
  /** whose device-private pages are answered */
  readonly owner?: object | null;
}

/** A subscription to `[start, start + npages)` that writes down what it hears. */
export function* subscribe(mm: Mm, start: Vpn, npages: number): Sleepable<LoggedMirror> {
  const { notifiers } = mm;
  const log: NotifierRange[] = [];
  const mirror = { log, heard: 0, told: 0, freed: false };
  const sub = notifiers.insert('record', start, start + npages, function* invalidate(range, seq): Sleepable<boolean> {
    if (mirror.freed) throw new KernelCrash('use after free: a mirror that was removed hears of an invalidation');
    notifiers.setSeq(sub, seq);
    mirror.heard++;
    if (log.length < EVENTS_MAX) log.push({ ...range });
    return true;
  });
  return Object.assign(mirror, { mm, sub, seq: yield* notifiers.readBegin(sub) });
}

/** What a driver does: subscribe, read the sequence, walk under mmap_lock; from the start where something interfered. */
export function* walkPages(mm: Mm, start: Vpn, npages: number, { defaultFlags, mask = 0n, asked, owner = null }: Requests): Sleepable<Walked> {
  const { platform } = mm;
  const mirror = yield* subscribe(mm, start, npages);
  const { sub } = mirror;
  const window = platform.arena.window(npages);
  let err: string | null = 'EBUSY';
  let attempts = 0;
  for (let settled = false; !settled && attempts < ATTEMPTS_MAX; attempts++) {
    window.words.fill(0n);
    for (const [page, bits] of asked ?? []) if (page < npages) window.words[page] = bits;
    const seq = yield* mm.notifiers.readBegin(sub);
    if (!mm.mmapLock.tryRead(platform.sched)) yield* mm.mmapLock.read(platform.sched);
    err = yield* hmmRangeFault({
      mm, notifier: sub, seq, start, end: start + npages, words: window.words, out: window.offset, defaultFlags, pfnFlagsMask: mask, devPrivateOwner: owner,
    });
    mm.mmapLock.readUnlock(platform.sched);
    settled = err === null ? !mm.notifiers.readRetry(sub, seq) : err !== 'EBUSY';
  }
  yield* mm.notifiers.remove(sub);
  mirror.freed = true;
  const words = new Words(platform, window.words);
  window.free();
  return { err, busy: attempts > 1, words };
}

/** `def=f mask=fw req=2:fw,4-6:f` */
export function requestBits(letters: string): bigint {
  return (letters.includes('f') ? HMM_PFN_REQ_FAULT : 0n) | (letters.includes('w') ? HMM_PFN_REQ_WRITE : 0n);
}
