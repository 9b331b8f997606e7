/** Range walks and mirrors by the modern API: snap, fault, hmm, mirror, events, unmirror. */
import { HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE } from '../../hmm/index.ts';
import type { NotifierRange } from '../../mm/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import { signedHex } from '../guest.ts';
import { requestBits, subscribe, walkPages, type Requests } from '../modernWalk.ts';
import { Skip, type Answer, type OperationList } from '../operation.ts';
import { runsOf } from '../pageRuns.ts';
import type { Args } from '../parse.ts';
import type { LoggedMirror, Process } from '../process.ts';
import { pageOf, pagesUp } from './mappings.ts';

function* walk(process: Process, args: Args, asked: Requests): Sleepable<Answer> {
  const start = pageOf(process, args);
  const { err, busy, words } = yield* walkPages(process.mm, start, pagesUp(args.size('LEN')), asked);
  return { err: err ?? 'ok', ...(busy && err !== 'EBUSY' ? { busy } : {}), pfns: runsOf(process.guest, words, start) };
}

/** '2:fw,4-6:f' by page. */
function askedPages(text: string): Map<number, bigint> {
  const asked = new Map<number, bigint>();
  for (const part of text.split(',').filter((piece) => piece !== '')) {
    const [, from = '', to = from, letters = ''] = /^(\d+)(?:-(\d+))?:([fw]+)$/.exec(part) ?? [];
    if (letters === '') throw new Skip(`no request ${part}`);
    for (let i = Number(from); i <= Number(to); i++) asked.set(i, requestBits(letters));
  }
  return asked;
}

function mirrorOf(process: Process, id: string): LoggedMirror {
  const mirror = process.mirrors.get(id);
  if (mirror === undefined) throw new Skip(`no mirror ${id}`);
  return mirror;
}

/** A row of equal neighbours is told as one: `n` of them, `each` so long. */
function foldEvents(log: readonly NotifierRange[], start: number): Answer[] {
  const offset = (vpn: number): string => signedHex((vpn - start) * 4096);
  return log.map(({ event, start: from, end, blockable }) => ({ type: event, start: offset(from), end: offset(end), block: blockable }));
}

export const HMM_OPERATIONS: OperationList = {
  'snap ADDR LEN [owner=N]': (process, args) => walk(process, args, { defaultFlags: 0n }),
  'fault ADDR LEN [r|w] [owner=N]': (process, args) =>
    walk(process, args, { defaultFlags: args.word('r|w') === 'w' ? HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE : HMM_PFN_REQ_FAULT }),
  'hmm ADDR LEN [def=FLAGS] [mask=FLAGS] [req=WORD] [owner=N]': (process, args) =>
    walk(process, args, { defaultFlags: requestBits(args.word('def')), mask: requestBits(args.word('mask')), asked: askedPages(args.word('req')) }),
  'mirror ID ADDR LEN': function* mirror(process, args) {
    process.mirrors.set(args.word('ID'), yield* subscribe(process.mm, pageOf(process, args), pagesUp(args.size('LEN'))));
    return { err: 'ok' };
  },
  'events ID': function* events(process, args) {
    const { sub, seq, log } = mirrorOf(process, args.word('ID'));
    return { events: foldEvents(log.splice(0), sub.start), stale: process.mm.notifiers.readRetry(sub, seq) };
  },
  'unmirror ID': function* unmirror(process, args) {
    yield* process.mm.notifiers.remove(mirrorOf(process, args.word('ID')).sub);
    process.mirrors.delete(args.word('ID'));
    return { err: 'ok' };
  },
};
