/**
 * Do two answers to one scenario agree?
 *
 * *Contract* is what a driver, a file system test or a user could rely on, and must agree: errnos and signals, counts, bytes, VMAs,
 * sizes, `busy` and `stale`; walked pages and extents page by page, wherever either side cut its runs; frames up to renaming: what is
 * one frame here is one frame there, over the whole record. Of events the ranges count, merged by type: a kernel may say a thing
 * twice or in parts. *Detail* is order and multiplicity of events, counts and flags of struct pages, smaps, blocks.
 */
import { isDeepStrictEqual } from 'node:util';
import { describe } from '../api/checks.ts';
import type { Answer } from './operation.ts';

const CONTRACT = [
  'err', 'exit', 'done', 'bytes', 'pinned', 'size', 'dax', 'code', 'addr', 'lsb', 'or', 'busy', 'async', 'stale', 'skip', 'vmas', 'signals',
  'cpages', 'pages', 'granted', 'moved', 'used', 'faults', 'count', 'valid', 'sem', 'livelock', 'notifiers', 'pgmap', 'dying', 'from', 'changed', 'first',
];
const DETAIL = ['page', 'refs', 'maps', 'smaps', 'blocks', 'steps', 'pfns', 'extents', 'events'];
const PAGE_SIZE = 4096;

/** What is compared of a record. */
export interface Comparable {
  readonly result: string;
  readonly ops: readonly Answer[];
}

export interface Difference {
  /** place among the operations, from 0 */
  readonly i: number;
  readonly op: string;
  readonly contract: readonly string[];
  readonly detail: readonly string[];
  readonly want: Answer | undefined;
  readonly got: Answer | undefined;
}

export interface Comparison {
  readonly differences: readonly Difference[];
  readonly operations: number;
  /** operations that agree in contract */
  readonly agree: number;
  /** and in detail too */
  readonly detail: number;
  /** do the results, 'ok' or 'crash', and the numbers of operations agree? */
  readonly resultAgrees: boolean;
}

/** Is everything that must agree so? */
export function agreesWhole({ agree, operations, resultAgrees }: Comparison): boolean {
  return agree === operations && resultAgrees;
}

/** Where `got` answers otherwise than `want`; frames and such that a run chooses may have other names. Throws TypeError for what is no record. */
export function compareRecords(want: Comparable, got: Comparable): Comparison {
  for (const [name, record] of Object.entries({ want, got })) if (!Array.isArray(record?.ops)) throw new TypeError(`compareRecords: ${name} must be a record, not ${describe(record)}`);
  const frames = new Renaming();
  const differences: Difference[] = [];
  let agree = 0;
  let full = 0;
  for (const [i, wanted] of want.ops.entries()) {
    const op = String(wanted['op']);
    const answered = got.ops[i];
    const paired = answered !== undefined && answered['op'] === wanted['op'] && answered['who'] === wanted['who'];
    const { contract, detail } = paired ? compareAnswers(wanted, answered, frames) : { contract: ['missing or out of order'], detail: [] };
    if (contract.length === 0) agree++;
    if (contract.length + detail.length === 0) full++;
    else differences.push({ i, op, contract, detail, want: wanted, got: answered });
  }
  return { differences, operations: want.ops.length, agree, detail: full, resultAgrees: want.result === got.result && want.ops.length === got.ops.length };
}

/** What differs, by key. Learns frames into `frames`. */
export function compareAnswers(want: Answer, got: Answer, frames: Renaming): { readonly contract: readonly string[]; readonly detail: readonly string[] } {
  const contract = CONTRACT.filter((key) => !isDeepStrictEqual(want[key], got[key]));
  const detail = DETAIL.filter((key) => !isDeepStrictEqual(want[key], got[key]));
  if (!rowsAgree(walkedRows(want['pfns']), walkedRows(got['pfns']), frames)) contract.push('pfns');
  if (!rowsAgree(extentRows(want['extents']), extentRows(got['extents']), frames)) contract.push('extents');
  if (!isDeepStrictEqual(coverage(want['events']), coverage(got['events']))) contract.push('events');
  return { contract, detail: detail.filter((key) => !contract.includes(key)) };
}

/** Which frame of the one side is which of the other: one to one within a kind, for a whole record. */
export class Renaming {
  readonly #kinds = new Map<string, { readonly there: Map<number, number>; readonly back: Map<number, number>; readonly runs: Pairing[] }>();

  /** Takes `npages` frames from `want` on for those from `got` on; false where that contradicts an earlier pair. */
  pair(kind: string, want: number, got: number, npages: number): boolean {
    let names = this.#kinds.get(kind);
    if (names === undefined) this.#kinds.set(kind, (names = { there: new Map(), back: new Map(), runs: [] }));
    const { there, back, runs } = names;
    if (runs.some((run) => run.by === got - want && want >= run.start && want + npages <= run.end)) return true;
    for (let i = 0; i < npages; i++) {
      if ((there.get(want + i) ?? got + i) !== got + i || (back.get(got + i) ?? want + i) !== want + i) return false;
      there.set(want + i, got + i);
      back.set(got + i, want + i);
    }
    if (npages >= RUN_PAGES_MIN) runs.push({ start: want, end: want + npages, by: got - want });
    return true;
  }
}

/** Frames [start, end) of the one side are those `by` further on the other. */
interface Pairing {
  readonly start: number;
  readonly end: number;
  readonly by: number;
}

/** Shorter runs are as quickly gone through as found. */
const RUN_PAGES_MIN = 64;

/** A row of pages alike; `at` is the first frame, in pages, and moves on with them. */
interface Row {
  readonly start: number;
  readonly end: number;
  readonly kind: string;
  readonly at: number | null;
  /** all that has to be equal besides */
  readonly rest: Answer;
}

function rowsAgree(want: readonly Row[] | null, got: readonly Row[] | null, frames: Renaming): boolean {
  if (want === null || got === null) return want === got;
  let w = 0;
  let g = 0;
  for (let page: number | null = null; w < want.length && g < got.length; ) {
    const [a, b] = [want[w] as Row, got[g] as Row];
    // Both go on where the last piece ended, or with the next row, which must be at the same page.
    const from: number = Math.max(page ?? 0, a.start);
    if (from !== Math.max(page ?? 0, b.start)) return false;
    const to = Math.min(a.end, b.end);
    if (a.kind !== b.kind || !isDeepStrictEqual(a.rest, b.rest) || !framesAgree(a, b, from, to, frames)) return false;
    if (a.end === to) w++;
    if (b.end === to) g++;
    page = to;
  }
  return w === want.length && g === got.length;
}

function framesAgree(a: Row, b: Row, from: number, to: number, frames: Renaming): boolean {
  if (a.at === null || b.at === null) return a.at === b.at;
  return frames.pair(a.kind, a.at + from - a.start, b.at + from - b.start, to - from);
}

/** Runs of walked pages, which follow each other. Null where there are none to compare. */
function walkedRows(runs: unknown): Row[] | null {
  if (runs === undefined) return null;
  let end = 0;
  return (runs as Answer[]).map(({ n, k, at, ...rest }) => {
    const start = end;
    end += n as number;
    return { start, end, kind: String(k), at: at === undefined ? null : bytesOf(at) / PAGE_SIZE, rest };
  });
}

/** Extents; that one is the last, or was merged for the report, says nothing about a page. */
function extentRows(list: unknown): Row[] | null {
  if (list === undefined) return null;
  return (list as Answer[]).map(({ off, len, at, f, ...rest }) => {
    const start = bytesOf(off) / PAGE_SIZE;
    const marks = String(f ?? '').split(',').filter((mark) => !['', 'last', 'merged'].includes(mark));
    return { start, end: start + bytesOf(len) / PAGE_SIZE, kind: 'extent', at: at === undefined ? null : bytesOf(at) / PAGE_SIZE, rest: { ...rest, marks } };
  });
}

/** Type of event -> its ranges in bytes, in order, those that touch as one. */
function coverage(events: unknown): Record<string, [number, number][]> | null {
  if (events === undefined) return null;
  const ranges: Record<string, [number, number][]> = {};
  for (const { type, block, start, end } of events as Answer[]) (ranges[`${String(type)}${block === true ? '' : ' nonblock'}`] ??= []).push([bytesOf(start), bytesOf(end)]);
  for (const [type, list] of Object.entries(ranges)) {
    const merged: [number, number][] = [];
    for (const [start, end] of list.toSorted((a, b) => a[0] - b[0] || a[1] - b[1])) {
      const last = merged.at(-1);
      if (last !== undefined && start <= last[1]) last[1] = Math.max(last[1], end);
      else merged.push([start, end]);
    }
    ranges[type] = merged;
  }
  return ranges;
}

/** '+0x1000', '-0x1000', '0x1000', '0' */
function bytesOf(text: unknown): number {
  const [, sign = '', digits = ''] = /^([+-]?)(0x[0-9a-f]+|\d+)$/i.exec(String(text)) ?? [];
  if (digits === '') throw new TypeError(`not an offset: ${String(text)}`);
  return (sign === '-' ? -1 : 1) * Number(digits);
}
