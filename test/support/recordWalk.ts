/**
 * One hmm_range_fault() as a driver makes it, and its answer in the words of the records: runs of pages alike; of bytes too.
 *
 *   f: V valid, W write, E error, - nothing; in:fw where a word stands as the caller wrote it.  o: order.  k: kind of frame.
 *   cong: by which page size frames and addresses agree.  at: a device's frame, from the first one that was shown of it.
 */
import { HMM_PFN_ERROR, HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE, HMM_PFN_VALID, HMM_PFN_WRITE, hmmRangeFault, modernPfnMask } from '../../dist/hmm/index.js';
import type { IntervalSub, NotifierRange } from '../../dist/mm/index.js';
import { PAGE_ANON } from '../../dist/page/index.js';
import type { Sleepable } from '../../dist/sched/index.js';
import type { Answer } from './contract.ts';
import { byteRuns } from './recordText.ts';
import type { Rig } from './rig.ts';

const PMD_PAGES = 512;
const PUD_PAGES = 2 ** 18;
/** Of a list of byte runs the records have as many, then '...'. */
const BYTE_RUNS_MAX = 16;
/** Attempts after which a walk that always finds itself disturbed is EBUSY. */
const ATTEMPTS_MAX = 2000;

/** One word of an answer, taken apart. */
export interface Word {
  readonly pfn: number;
  readonly order: number;
  readonly f: string;
  readonly valid: boolean;
  /** anon, zero, ram, or the label of a device */
  readonly kind: string;
  readonly inDevice: boolean;
}

export interface Walked {
  readonly err: string | null;
  readonly busy: boolean;
  readonly words: readonly Word[];
}

export interface Mirror {
  readonly sub: IntervalSub;
  readonly seq: number;
  readonly log: NotifierRange[];
}

export interface Requests {
  readonly defaultFlags: bigint;
  readonly mask?: bigint;
  /** request bits by page */
  readonly asked?: ReadonlyMap<number, bigint>;
}

/** A subscription to `[start, start + npages)` that writes down what it hears. */
export function subscribe(rig: Rig, start: number, npages: number): Mirror {
  const { notifiers } = rig.mm;
  const log: NotifierRange[] = [];
  const sub = notifiers.insert('record', start, start + npages, function* invalidate(range, seq): Sleepable<boolean> {
    notifiers.setSeq(sub, seq);
    log.push({ ...range });
    return true;
  });
  return { sub, seq: rig.run(notifiers.readBegin(sub)), log };
}

/** What a driver does: subscribe, read the sequence, walk under mmap_lock; from the start where something interfered. */
export function walkPages(rig: Rig, start: number, npages: number, { defaultFlags, mask = 0n, asked }: Requests): Walked {
  const { mm, platform } = rig;
  const { sub } = subscribe(rig, start, npages);
  const window = platform.arena.window(npages);
  let err: string | null = 'EBUSY';
  let attempts = 0;
  for (let settled = false; !settled && attempts < ATTEMPTS_MAX; attempts++) {
    for (let i = 0; i < npages; i++) window.words[i] = asked?.get(i) ?? 0n;
    const seq = rig.run(mm.notifiers.readBegin(sub));
    if (!mm.mmapLock.tryRead(platform.sched)) throw new Error('mmap_lock is held');
    err = rig.run(hmmRangeFault({ mm, notifier: sub, seq, start, end: start + npages, words: window.words, out: window.offset, defaultFlags, pfnFlagsMask: mask }));
    mm.mmapLock.readUnlock(platform.sched);
    settled = err === null ? !mm.notifiers.readRetry(sub, seq) : err !== 'EBUSY';
  }
  rig.run(mm.notifiers.remove(sub));
  const answered = Array.from(window.words, (word) => decode(rig, word));
  window.free();
  return { err, busy: attempts > 1, words: answered };
}

function decode(rig: Rig, word: bigint): Word {
  const { pgmaps, ram, records, profile } = rig.platform;
  const pfn = Number(word & modernPfnMask(profile.hmmOrderShift));
  const order = Number((word >> BigInt(profile.hmmOrderShift)) & 31n);
  // Request and answer have the same bits: without a frame it is the request that stands there still.
  const left = (word & HMM_PFN_REQ_FAULT) !== 0n && pfn === 0;
  const valid = (word & HMM_PFN_VALID) !== 0n && !left;
  const write = (word & HMM_PFN_WRITE) !== 0n;
  if (left) return { pfn, order, f: `in:f${write ? 'w' : ''}`, valid, kind: '', inDevice: false };
  const device = valid ? pgmaps.find(pfn) : null;
  const kind = !valid ? '' : (device?.name ?? (ram.isZero(pfn) ? 'zero' : (records.flags(pfn) & PAGE_ANON) === 0 ? 'ram' : 'anon'));
  const f = `${valid ? 'V' : ''}${write ? 'W' : ''}${(word & HMM_PFN_ERROR) === 0n ? '' : 'E'}`;
  return { pfn, order, f: f === '' ? '-' : f, valid, kind, inDevice: device !== null };
}

/** `frame` writes a device's frame down. */
export function runsOf(words: readonly Word[], start: number, frame: (kind: string, pfn: number) => string): Answer[] {
  const runs: Answer[] = [];
  for (let i = 0, end = 0; i < words.length; i = end) {
    const first = words[i] as Word;
    const follows = (page: Word, n: number): boolean =>
      page.f === first.f && page.order === first.order && page.kind === first.kind && (!page.inDevice || page.pfn === first.pfn + n);
    for (end = i + 1; end < words.length && follows(words[end] as Word, end - i); end++);
    const run: Answer = { n: end - i, f: first.f };
    if (first.order > 0) run['o'] = first.order;
    if (!first.valid && first.pfn !== 0) run['junk'] = 'other';
    if (first.valid) Object.assign(run, { k: first.kind, cong: congruence(words.slice(i, end), start + i) });
    if (first.inDevice) run['at'] = frame(first.kind, first.pfn);
    runs.push(run);
  }
  return runs;
}

/** `def=f mask=fw req=2:fw,4-6:f` */
export function requests(opts: Readonly<Record<string, string>>): Requests {
  const asked = new Map<number, bigint>();
  for (const part of (opts['req'] ?? '').split(',').filter((text) => text !== '')) {
    const [, from = '', to = from, letters = ''] = /^(\d+)(?:-(\d+))?:([fw]+)$/.exec(part) ?? [];
    if (letters === '') throw new Error(`no request ${part}`);
    for (let i = Number(from); i <= Number(to); i++) asked.set(i, requestBits(letters));
  }
  return { defaultFlags: requestBits(opts['def'] ?? ''), mask: requestBits(opts['mask'] ?? ''), asked };
}

function requestBits(letters: string): bigint {
  return (letters.includes('f') ? HMM_PFN_REQ_FAULT : 0n) | (letters.includes('w') ? HMM_PFN_REQ_WRITE : 0n);
}

/** The largest page size by which frames and addresses of the run agree. 1 GiB is only looked for where it can be had; single pages of RAM say nothing. */
function congruence(run: readonly Word[], start: number): '4K' | '2M' | '1G' {
  const [first] = run as [Word];
  if (!first.inDevice && first.order === 0) return '4K';
  const agree = (npages: number): boolean => run.every(({ pfn }, i) => (pfn - (start + i)) % npages === 0);
  if ((!first.inDevice || first.kind === 'dax1g') && agree(PUD_PAGES)) return '1G';
  return agree(PMD_PAGES) ? '2M' : '4K';
}

/** Byte runs as the records have them: cut after so many. */
export function cutRuns(bytes: Uint8Array): unknown[] {
  const runs = byteRuns(bytes);
  return runs.length > BYTE_RUNS_MAX ? [...runs.slice(0, BYTE_RUNS_MAX), '...'] : runs;
}

export function hex(n: number): string {
  return `0x${n.toString(16)}`;
}
