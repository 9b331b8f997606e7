/** The operations of the 2019 API's probe: its calls, and what it does by hand to bring about what a kernel meets by races. */
import type { PgMap } from '../../memremap/index.ts';
import { LEGACY_FORMAT } from '../../dmirror/index.ts';
import { encodePfn, type Hmm2019 } from '../../hmm/index.ts';
import { changeProtNuma, swapOut, type NotifierRange } from '../../mm/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import { byteRuns } from '../bytes.ts';
import { hex, signedHex, DAX_PLACES, type Guest } from '../guest.ts';
import { type Answer, type OperationList, type Perform } from '../operation.ts';
import type { Args } from '../parse.ts';
import type { HeardUpdate } from '../probe2019.ts';
import type { Process } from '../process.ts';
import { frameOf2019, runs2019 } from '../runs2019.ts';
import { DEVICE_PRIVATE, VALID, WRITE, callRange2019, type Asked2019, type Called2019 } from '../walk2019.ts';
import { pageOf, pagesUp } from './mappings.ts';
import { PAGE_OPERATIONS } from './pages.ts';

const PIN = 'pin ID ADDR PAGES [w] [longterm]';

function* call(process: Process, args: Args, asked: Pick<Asked2019, 'defaultFlags' | 'fault' | 'pfnFlagsMask' | 'asked'>): Sleepable<Answer> {
  const start = pageOf(process, args);
  const once = args.has('once');
  const called = yield* callRange2019(process.mm, start, pagesUp(args.size('LEN')), { ...asked, once, block: !args.has('nonblock'), pageShift: args.number('shift', 12) });
  return { ...resultOf(called), ...stateOf(called, asked.fault, once), pfns: runs2019(process, called.words, start) };
}

function resultOf({ result }: Called2019): Answer {
  return typeof result === 'number' ? { err: 'ok', count: result } : { err: result };
}

/** What the answer says besides the result and the words. */
function stateOf({ refused, dropped, first, faults, valid, livelock }: Called2019, fault: boolean, once: boolean): Answer {
  return {
    ...(refused ? { from: 'register' } : {}),
    ...(first === null ? {} : { busy: true, first: typeof first === 'number' ? 'ok' : first }),
    ...(fault && faults > 0 && !livelock && !dropped ? { faults } : {}),
    ...(dropped ? { sem: 'dropped' } : {}),
    ...(livelock ? { livelock } : {}),
    ...(once ? { valid } : valid[1] || livelock || refused ? {} : { valid: false }),
  };
}

/** 'fw' */
function flagsOf(letters: string): bigint {
  return (letters.includes('f') ? VALID : 0n) | (letters.includes('w') ? WRITE : 0n) | (letters.includes('p') ? DEVICE_PRIVATE : 0n);
}

/** '2:fw,4-6:f' by word. */
function askedWords(text: string, npages: number): Map<number, bigint> {
  const asked = new Map<number, bigint>();
  for (const part of text.split(',').filter((piece) => piece !== '')) {
    const [, from = '', to = from, letters = ''] = /^(\d+)(?:-(\d+))?:([fwp]+)$/.exec(part) ?? [];
    for (let i = Number(from); i <= Number(to) && i < npages; i++) asked.set(i, flagsOf(letters));
  }
  return asked;
}

/** A device that faults a page, then reads (`value` null) or writes its bytes behind the word; it stops where a page cannot be had. */
function* deviceAccess(process: Process, start: number, length: number, value: number | null): Sleepable<Answer> {
  const { content } = process.guest.platform.arena;
  const bytes = new Uint8Array(length).fill(value ?? 0);
  const defaultFlags = value === null ? VALID : VALID | WRITE;
  let done = 0;
  let answer: Answer = { err: 'ok' };
  while (done < length) {
    const within = (start + done) % 4096;
    const part = Math.min(length - done, 4096 - within);
    const called = yield* callRange2019(process.mm, (start + done - within) / 4096, 1, { defaultFlags, fault: true });
    const pfn = frameOf2019(called.words[0] as bigint);
    if (typeof called.result === 'string') answer = { err: called.result, ...(called.livelock ? { livelock: true } : {}) };
    else if (pfn < 0) answer = { err: 'ENODATA' };
    if (answer['err'] !== 'ok') break;
    if (value === null) content.read(pfn * 4096 + within, bytes, done, part);
    else content.write(pfn * 4096 + within, bytes, done, part);
    done += part;
  }
  const { err, ...spun } = answer;
  return { err, done, ...spun, ...(value === null && done > 0 ? { bytes: byteRuns(bytes.subarray(0, done)) } : {}) };
}

/** A row of updates of one length and kind, each where the last ended, is told as one: `n` of them, `each` so long. */
function foldUpdates(log: readonly HeardUpdate[], start: number): Answer[] {
  const folded: (HeardUpdate & { n: number; each: number })[] = [];
  for (const update of log) {
    const last = folded.at(-1);
    const each = update.end - update.start;
    const follows = last !== undefined && last.end === update.start && last.each === each && last.block === update.block && last.valid === update.valid;
    if (follows) folded[folded.length - 1] = { ...last, end: update.end, n: last.n + 1 };
    else folded.push({ ...update, n: 1, each });
  }
  const offset = (vpn: number): string => signedHex((vpn - start) * 4096);
  return folded.map(({ start: from, end, block, valid, n, each }) => ({
    start: offset(from), end: offset(end), ...(n > 1 ? { n, each: hex(each * 4096) } : {}), block, valid,
  }));
}

function pagemapOf(guest: Guest, label: string): PgMap {
  return DAX_PLACES.has(label) ? guest.daxDevice(label).pgmap : guest.madeAt(label).pgmap;
}

/** An invalidation begun by hand; `hold` is the lock of the 2019 API that is taken meanwhile. */
function* startByHand(process: Process, args: Args, blockable: boolean, hold: 'lock' | 'mirrorsSem' | null = null): Sleepable<Answer> {
  const { sched } = process.guest.platform;
  const start = pageOf(process, args);
  const range: NotifierRange = { event: 'UNMAP', start, end: start + pagesUp(args.size('LEN')), blockable, owner: null };
  const hmm: Hmm2019 | null = process.guest.probe2019.anyMirror(process)?.range.hmm ?? null;
  const lock = hmm === null || hold === null ? null : hmm[hold];
  if (lock !== null) yield* lock.write(sched);
  try {
    return { err: (yield* process.guest.probe2019.startInvalidation(process, range)) ? 'ok' : 'EAGAIN' };
  } finally {
    lock?.writeUnlock(sched);
  }
}

/** As the modern probe pins, its frames told as the era's records tell them. */
function* pin(process: Process, args: Args): Sleepable<Answer> {
  const answer = yield* (PAGE_OPERATIONS[PIN] as Perform)(process, args);
  const pins = answer['pfns'] === undefined ? undefined : process.pins.get(args.word('ID'));
  if (pins === undefined) return answer;
  const words = BigUint64Array.from(pins.pfns, (pfn) => encodePfn(LEGACY_FORMAT, pfn, false));
  return { ...answer, pfns: runs2019(process, words, process.split(args.address('ADDR'))[0]) };
}

export const LEGACY_OPERATIONS: OperationList = {
  'snap ADDR LEN [shift=N] [once] [owner=N]': (process, args) => call(process, args, { defaultFlags: 0n, fault: false }),
  'fault ADDR LEN [r|w] [nonblock] [shift=N] [once] [owner=N]': (process, args) =>
    call(process, args, { defaultFlags: args.word('r|w') === 'w' ? VALID | WRITE : VALID, fault: true }),
  'hmm ADDR LEN [def=FLAGS] [mask=FLAGS] [req=REQUESTS] [nonblock] [shift=N] [once] [owner=N]': (process, args) =>
    call(process, args, { defaultFlags: flagsOf(args.word('def')), pfnFlagsMask: flagsOf(args.word('mask')), asked: askedWords(args.word('req'), pagesUp(args.size('LEN'))), fault: true }),
  'dread ADDR LEN [owner=N]': (process, args) => deviceAccess(process, process.byte(args.address('ADDR')), args.size('LEN'), null),
  'dwrite ADDR LEN [BYTE] [owner=N]': (process, args) => deviceAccess(process, process.byte(args.address('ADDR')), args.size('LEN'), args.number('BYTE')),
  [PIN]: pin,
  'mirror ID ADDR LEN [again]': function* mirror(process, args) {
    process.guest.probe2019.addMirror(process, args.word('ID'), pageOf(process, args), pagesUp(args.size('LEN')), args.has('again'));
    return { err: 'ok' };
  },
  'events ID': function* events(process, args) {
    const mirror = process.guest.probe2019.mirror(process, args.word('ID'));
    const { range } = mirror;
    const heard = foldUpdates(mirror.log, range.start);
    mirror.log = [];
    const notifiers = range.hmm?.notifiers ?? 0;
    return { events: heard, valid: range.valid, ...(notifiers === 0 ? {} : { notifiers }) };
  },
  'unmirror ID': function* unmirror(process, args) {
    yield* process.guest.probe2019.removeMirror(process, args.word('ID'));
    return { err: 'ok' };
  },
  'pgmap WORD': function* pgmap(process, args) {
    const map = pagemapOf(process.guest, args.word('WORD'));
    const references = process.guest.probe2019.references(map);
    return { pgmap: references === null ? 'base' : `${references < 0 ? '' : '+'}${references}`, ...(map.state === 'live' ? {} : { dying: true }) };
  },
  'dying WORD': function* dying(process, args) {
    process.guest.probe2019.kill(process, pagemapOf(process.guest, args.word('WORD')));
    return { err: 'ok' };
  },
  alive: function* alive(process) {
    process.guest.probe2019.revive(process);
    return { err: 'ok' };
  },
  'numa ADDR LEN': function* numa(process, args) {
    const start = pageOf(process, args);
    return { err: 'ok', changed: yield* changeProtNuma(process.mm, start, start + pagesUp(args.size('LEN'))) };
  },
  'swap ADDR LEN': function* swap(process, args) {
    const start = pageOf(process, args);
    yield* swapOut(process.mm, start, start + pagesUp(args.size('LEN')));
    return { err: 'ok' };
  },
  'migrate ADDR LEN': function* migrate(process, args) {
    const start = pageOf(process, args);
    yield* process.guest.probe2019.holdPages(process, start, start + pagesUp(args.size('LEN')));
    return { err: 'ok' };
  },
  unmigrate: function* unmigrate(process) {
    process.guest.probe2019.releasePages(process);
    return { err: 'ok' };
  },
  'inv_start ADDR LEN': (process, args) => startByHand(process, args, true),
  'inv_start_nb ADDR LEN': (process, args) => startByHand(process, args, false),
  'inv_start_nb_lock ADDR LEN': (process, args) => startByHand(process, args, false, 'lock'),
  'inv_start_nb_sem ADDR LEN': (process, args) => startByHand(process, args, false, 'mirrorsSem'),
  inv_end: function* end(process) {
    return { err: process.guest.probe2019.endInvalidation() ? 'ok' : 'EINVAL' };
  },
};
