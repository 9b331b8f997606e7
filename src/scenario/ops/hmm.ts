/** Range walks and mirrors by the modern API: snap, fault, hmm, mirror, events, unmirror. */
import { PAGE_SIZE } from '../../abi.ts';
import { HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE } from '../../hmm/index.ts';
import type { NotifierRange } from '../../mm/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import type { Vpn } from '../../units.ts';
import { hex, signedHex } from '../guest.ts';
import { requestBits, subscribe, walkPages, type Requests } from '../modernWalk.ts';
import { Skip, type Answer, type OperationList } from '../operation.ts';
import { runsOf } from '../pageRuns.ts';
import type { Args } from '../parse.ts';
import type { LoggedMirror, Process } from '../process.ts';
import { pagesUp } from './mappings.ts';

/** Pages of one walk that the probe takes at most. */
const WALK_PAGES_MAX = 2 ** 20;

function* walk(process: Process, args: Args, asked: Requests): Sleepable<Answer> {
  const pages = wholePages(process, args);
  if (pages === null || pages.npages > WALK_PAGES_MAX) return { ioctl: 'EINVAL' };
  const { start, npages } = pages;
  const { err, busy, words } = yield* walkPages(process.mm, start, npages, { ...asked, owner: ownerOf(process, args) });
  return { err: err ?? 'ok', ...(busy && err !== 'EBUSY' ? { busy } : {}), pfns: runsOf(process, words, start) };
}

/** ADDR and LEN where they are of whole pages, and of one at least. */
function wholePages(process: Process, args: Args): { readonly start: Vpn; readonly npages: number } | null {
  const [start, within] = process.split(args.address('ADDR'));
  const length = args.size('LEN');
  return within !== 0 || length === 0 || length % PAGE_SIZE !== 0 ? null : { start, npages: length / PAGE_SIZE };
}

/** `owner=D`: the question is device D's own. */
export function ownerOf(process: Process, args: Args): object | null {
  return args.has('owner') ? (process.guest.deviceMemory(args.number('owner')) ?? null) : null;
}

/** '2:fw,4-6:f' by page. */
function askedPages(text: string, npages: number): Map<number, bigint> {
  const asked = new Map<number, bigint>();
  for (const part of text.split(',').filter((piece) => piece !== '')) {
    const [, from = '', to = from, letters = ''] = /^(\d+)(?:-(\d+))?:(\w+)$/.exec(part) ?? [];
    for (let i = Number(from); i <= Number(to) && i < npages; i++) asked.set(i, requestBits(letters));
  }
  return asked;
}

/** A row of equal neighbours is told as one: `n` of them, `each` so long. `seq` counts all that the mirror has heard. */
function foldEvents(process: Process, { sub, log, told }: LoggedMirror): Answer[] {
  const offset = (vpn: number): string => signedHex((vpn - sub.start) * 4096);
  const rows: Answer[] = [];
  for (let i = 0, next = 0; i < log.length; i = next) {
    const first = log[i] as NotifierRange;
    const each = first.end - first.start;
    for (next = i + 1; next < log.length && follows(log[next - 1] as NotifierRange, log[next] as NotifierRange, each); next++);
    rows.push({
      seq: told + i + 1,
      type: first.event,
      start: offset(first.start),
      end: offset((log[next - 1] as NotifierRange).end),
      ...(next - i > 1 ? { n: next - i, each: hex(each * 4096) } : {}),
      block: first.blockable,
      ...(first.owner === null ? {} : { owner: process.guest.numberOfDevice(first.owner) ?? true }),
    });
  }
  return rows;
}

function follows(before: NotifierRange, next: NotifierRange, each: number): boolean {
  return next.event === before.event && next.blockable === before.blockable && next.owner === before.owner && next.start === before.end && next.end - next.start === each;
}

export const HMM_OPERATIONS: OperationList = {
  'snap ADDR LEN [owner=N]': (process, args) => walk(process, args, { defaultFlags: 0n }),
  'fault ADDR LEN [r|w] [owner=N]': (process, args) =>
    walk(process, args, { defaultFlags: args.word('r|w') === 'w' || args.word('ADDR') === 'w' ? HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE : HMM_PFN_REQ_FAULT }),
  'hmm ADDR LEN [def=FLAGS] [mask=FLAGS] [req=REQUESTS] [owner=N]': (process, args) =>
    walk(process, args, { defaultFlags: requestBits(args.word('def')), mask: requestBits(args.word('mask')), asked: askedPages(args.word('req'), pagesUp(args.size('LEN'))) }),
  'mirror ID ADDR LEN': function* mirror(process, args) {
    const pages = wholePages(process, args);
    if (!process.hasProbeSlot()) return { err: 'EBUSY' };
    if (pages === null) return { err: 'EINVAL' };
    process.mirrors.set(args.word('ID'), yield* subscribe(process.mm, pages.start, pages.npages));
    process.takeProbeSlot();
    return { err: 'ok' };
  },
  'events ID': function* events(process, args) {
    const mirror = process.mirrors.get(args.word('ID'));
    if (mirror === undefined) throw new Skip(`no mirror ${args.word('ID')}`);
    if (mirror.mm !== process.mm) return { err: 'ENOENT' };
    const rows = foldEvents(process, mirror);
    const lost = mirror.heard - mirror.told - mirror.log.length;
    mirror.told = mirror.heard;
    mirror.log.length = 0;
    return { events: rows, ...(lost > 0 ? { lost } : {}), stale: process.mm.notifiers.readRetry(mirror.sub, mirror.seq) };
  },
  'unmirror ID': function* unmirror(process, args) {
    const mirror = process.mirrors.get(args.word('ID'));
    process.mirrors.delete(args.word('ID'));
    // A child has its parent's names, not its parent's mirrors.
    if (mirror === undefined || mirror.mm !== process.mm) return { err: 'ENOENT' };
    yield* process.mm.notifiers.remove(mirror.sub);
    mirror.freed = true;
    return { err: 'ok' };
  },
};
