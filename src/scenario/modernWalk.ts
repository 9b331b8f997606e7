/**
 * One hmm_range_fault() as a driver makes it, and its answer in the words of the records: runs of pages alike.
 *
 *   f: V valid, W write, E error, - nothing; in:fw where a word stands as the caller wrote it.  o: order.  k: kind of frame.
 *   cong: by which page size frames and addresses agree.  at: a device's frame, from the first one that was shown of it.
 */
import { HMM_PFN_ERROR, HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE, HMM_PFN_VALID, HMM_PFN_WRITE, hmmRangeFault, modernPfnMask } from '../hmm/index.ts';
import { PAGE_ANON } from '../page/index.ts';
import type { Platform } from '../memremap/index.ts';
import type { Mm, NotifierRange } from '../mm/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { PMD_PAGES, PUD_PAGES } from '../abi.ts';
import type { Vpn } from '../units.ts';
import type { Guest } from './guest.ts';
import type { Answer } from './operation.ts';
import type { LoggedMirror } from './process.ts';

/** Attempts after which a walk that always finds itself disturbed is EBUSY. */
const ATTEMPTS_MAX = 2000;

/** One word of an answer, taken apart. */
export interface Word {
  readonly pfn: number;
  readonly order: number;
  readonly f: string;
  readonly valid: boolean;
  /** anon, zero, hugetlb, ram, or the label of a device */
  readonly kind: string;
  readonly inDevice: boolean;
}

export interface Walked {
  readonly err: string | null;
  readonly busy: boolean;
  readonly words: readonly Word[];
}

export interface Requests {
  readonly defaultFlags: bigint;
  readonly mask?: bigint;
  /** request bits by page */
  readonly asked?: ReadonlyMap<number, bigint>;
}

/** A subscription to `[start, start + npages)` that writes down what it hears. */
export function* subscribe(mm: Mm, start: Vpn, npages: number): Sleepable<LoggedMirror> {
  const { notifiers } = mm;
  const log: NotifierRange[] = [];
  const sub = notifiers.insert('record', start, start + npages, function* invalidate(range, seq): Sleepable<boolean> {
    notifiers.setSeq(sub, seq);
    log.push({ ...range });
    return true;
  });
  return { sub, seq: yield* notifiers.readBegin(sub), log };
}

/** What a driver does: subscribe, read the sequence, walk under mmap_lock; from the start where something interfered. */
export function* walkPages(mm: Mm, start: Vpn, npages: number, { defaultFlags, mask = 0n, asked }: Requests): Sleepable<Walked> {
  const { platform } = mm;
  const { sub } = yield* subscribe(mm, start, npages);
  const window = platform.arena.window(npages);
  let err: string | null = 'EBUSY';
  let attempts = 0;
  for (let settled = false; !settled && attempts < ATTEMPTS_MAX; attempts++) {
    for (let i = 0; i < npages; i++) window.words[i] = asked?.get(i) ?? 0n;
    const seq = yield* mm.notifiers.readBegin(sub);
    if (!mm.mmapLock.tryRead(platform.sched)) yield* mm.mmapLock.read(platform.sched);
    err = yield* hmmRangeFault({ mm, notifier: sub, seq, start, end: start + npages, words: window.words, out: window.offset, defaultFlags, pfnFlagsMask: mask });
    mm.mmapLock.readUnlock(platform.sched);
    settled = err === null ? !mm.notifiers.readRetry(sub, seq) : err !== 'EBUSY';
  }
  yield* mm.notifiers.remove(sub);
  const words = Array.from(window.words, (word) => decode(platform, word));
  window.free();
  return { err, busy: attempts > 1, words };
}

function decode(platform: Platform, word: bigint): Word {
  const { profile } = platform;
  const pfn = Number(word & modernPfnMask(profile.hmmOrderShift));
  const order = Number((word >> BigInt(profile.hmmOrderShift)) & 31n);
  // Request and answer have the same bits: without a frame it is the request that stands there still.
  const left = (word & HMM_PFN_REQ_FAULT) !== 0n && pfn === 0;
  const valid = (word & HMM_PFN_VALID) !== 0n && !left;
  const write = (word & HMM_PFN_WRITE) !== 0n;
  if (left) return { pfn, order, f: `in:f${write ? 'w' : ''}`, valid, kind: '', inDevice: false };
  const device = valid ? platform.pgmaps.find(pfn) : null;
  const kind = valid ? (device?.name ?? kindOfRam(platform, pfn)) : '';
  const f = `${valid ? 'V' : ''}${write ? 'W' : ''}${(word & HMM_PFN_ERROR) === 0n ? '' : 'E'}`;
  return { pfn, order, f: f === '' ? '-' : f, valid, kind, inDevice: device !== null };
}

/** What /proc/kpageflags would say of a frame of RAM. */
export function kindOfRam({ ram, records }: Platform, pfn: number): string {
  if (ram.isZero(pfn)) return 'zero';
  return (records.flags(pfn) & PAGE_ANON) === 0 ? 'ram' : 'anon';
}

/** Runs of pages alike, as the records write them. */
export function runsOf(guest: Guest, words: readonly Word[], start: Vpn): Answer[] {
  const runs: Answer[] = [];
  for (let i = 0, end = 0; i < words.length; i = end) {
    const first = words[i] as Word;
    const follows = (page: Word, n: number): boolean =>
      page.f === first.f && page.order === first.order && page.kind === first.kind && (!page.inDevice || page.pfn === first.pfn + n);
    for (end = i + 1; end < words.length && follows(words[end] as Word, end - i); end++);
    const run: Answer = { n: end - i, f: first.f };
    const last = words[end - 1] as Word;
    if (!first.valid && last.pfn !== 0) run['junk'] = last.pfn === (start + end - 1) % 2 ** first.order ? 'index' : 'other';
    if (first.order > 0) run['o'] = first.order;
    if (first.valid) Object.assign(run, { k: first.kind, cong: congruence(words.slice(i, end), start + i) });
    if (first.inDevice) run['at'] = guest.frame(first.kind, first.pfn);
    runs.push(run);
  }
  return runs;
}

/** `def=f mask=fw req=2:fw,4-6:f` */
export function requestBits(letters: string): bigint {
  return (letters.includes('f') ? HMM_PFN_REQ_FAULT : 0n) | (letters.includes('w') ? HMM_PFN_REQ_WRITE : 0n);
}

/** The largest page size by which frames and addresses of the run agree; single pages of RAM say nothing, file systems at most 2M. */
function congruence(run: readonly Word[], start: Vpn): '4K' | '2M' | '1G' {
  const [first] = run as [Word];
  if (first.order === 0 && (!first.inDevice || first.kind.startsWith('dev'))) return '4K';
  const agree = (npages: number): boolean => run.every(({ pfn }, i) => (pfn - (start + i)) % npages === 0);
  if ((!first.inDevice || first.kind.startsWith('dax')) && agree(PUD_PAGES)) return '1G';
  return agree(PMD_PAGES) ? '2M' : '4K';
}
