/**
 * Do two answers to one operation agree in what a driver, a file system test or a user could rely on?
 *
 * Equal have to be: errno and signals, counts, bytes, sizes, areas, `busy` and `stale`. Walked pages and extents agree page by page,
 * wherever either side cut its runs; frames agree up to renaming: what is one frame in the one answer is one frame in the other, over
 * the whole record. Of events the ranges count, merged by type: a kernel may say a thing twice or in parts.
 */
import { isDeepStrictEqual } from 'node:util';

export type Answer = Record<string, unknown>;

/** What has to be equal as it stands, where either side has it. */
const PLAIN = ['err', 'exit', 'code', 'addr', 'or', 'done', 'bytes', 'size', 'dax', 'busy', 'stale', 'async', 'skip', 'vmas'];
const PAGE_SIZE = 4096;

/** A row of pages alike; `at` is the first frame, in pages, and moves on with them. */
interface Row {
  readonly start: number;
  readonly end: number;
  readonly kind: string;
  readonly at: number | null;
  /** all that has to be equal besides */
  readonly rest: Answer;
}

/** Which frame of the one side is which of the other: one to one, for a whole record. */
export class Renaming {
  readonly #there = new Map<string, string>();
  readonly #back = new Map<string, string>();

  /** Takes two frames for one; false where that contradicts an earlier pair. */
  pair(want: string, got: string): boolean {
    if ((this.#there.get(want) ?? got) !== got || (this.#back.get(got) ?? want) !== want) return false;
    this.#there.set(want, got);
    this.#back.set(got, want);
    return true;
  }
}

/** What of the contract differs, by key: {} where the answers agree. Learns frames into `frames`. */
export function differences(want: Answer, got: Answer, frames: Renaming): Record<string, { want: unknown; got: unknown }> {
  const agree: Record<string, boolean> = Object.fromEntries(PLAIN.map((key) => [key, isDeepStrictEqual(want[key], got[key])]));
  agree['pfns'] = rowsAgree(walked(want['pfns']), walked(got['pfns']), frames);
  agree['extents'] = rowsAgree(extents(want['extents']), extents(got['extents']), frames);
  agree['events'] = isDeepStrictEqual(coverage(want['events']), coverage(got['events']));
  const differing = Object.keys(agree).filter((key) => agree[key] === false);
  return Object.fromEntries(differing.map((key) => [key, { want: want[key], got: got[key] }]));
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
  for (let page = from; page < to; page++) {
    if (!frames.pair(`${a.kind}:${a.at + page - a.start}`, `${b.kind}:${b.at + page - b.start}`)) return false;
  }
  return true;
}

/** Runs of walked pages, which follow each other. Null where there are none to compare. */
function walked(runs: unknown): Row[] | null {
  if (runs === undefined) return null;
  let end = 0;
  return (runs as Answer[]).map(({ n, k, at, ...rest }) => {
    const start = end;
    end += n as number;
    return { start, end, kind: String(k), at: at === undefined ? null : bytesOf(at) / PAGE_SIZE, rest };
  });
}

/** Extents; that one is the last, or was merged for the report, says nothing about a page. */
function extents(list: unknown): Row[] | null {
  if (list === undefined) return null;
  return (list as Answer[]).map(({ off, len, at, f, ...rest }) => {
    const start = bytesOf(off) / PAGE_SIZE;
    const marks = String(f).split(/[ ,]+/).filter((mark) => !['', 'last', 'merged'].includes(mark));
    return { start, end: start + bytesOf(len) / PAGE_SIZE, kind: 'extent', at: bytesOf(at) / PAGE_SIZE, rest: { ...rest, marks } };
  });
}

/** Type of event -> its ranges in bytes, in order, those that touch as one. */
function coverage(events: unknown): Record<string, [number, number][]> | null {
  if (events === undefined) return null;
  const ranges: Record<string, [number, number][]> = {};
  for (const { type, block, start, end } of events as Answer[]) (ranges[`${String(type)} ${String(block)}`] ??= []).push([bytesOf(start), bytesOf(end)]);
  for (const [type, list] of Object.entries(ranges)) {
    const merged: [number, number][] = [];
    for (const [start, end] of list.toSorted((a, b) => a[0] - b[0])) {
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
  const [, sign = '', digits = ''] = /^([+-]?)(0x[0-9a-f]+|\d+)$/.exec(String(text)) ?? [];
  if (digits === '') throw new Error(`not an offset: ${String(text)}`);
  return (sign === '-' ? -1 : 1) * Number(digits);
}
