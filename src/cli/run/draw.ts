/**
 * The members of an answer as lines for people: walked pages, areas and invalidations each with a bar of where they lie.
 *
 *   █ written and read   ▒ read only   ░ neither, or device private   ✗ error   ? left as the caller wrote it   · nothing
 */
import { addressOf, type Answer } from '../../scenario/index.ts';
import { NOTHING, bar, bytesOf, offsetInWords, sizeInWords, type Span } from './bars.ts';

const WRITABLE = '█';
const READ_ONLY = '▒';
const NO_ACCESS = '░';
const ERROR = '✗';
const LEFT = '?';

/** What was walked: a bar of all, then a line a run. `from` names where it begins, `a+4K`. */
export function drawPages(runs: readonly Answer[], from: string, cells: number): string[] {
  const { name, offset: base } = addressOf(from) ?? { name: null, offset: 0 };
  let at = 0;
  const spans: Span[] = [];
  const lines = runs.map(({ n, f, o, k, at: frame, cong, junk, ...more }) => {
    const start = at;
    at += Number(n) * 4096;
    const sign = signOfPages(String(f));
    spans.push({ start, end: at, sign });
    const words = [
      `${sign} ${`${name === null ? '' : `${name}+`}${sizeInWords(base + start)}`.padEnd(10)} ${sizeInWords(at - start).padStart(6)}  ${String(f).padEnd(3)}`,
      k === undefined ? '' : `${String(k)}${frame === undefined ? '' : ` ${offsetInWords(frame)}`}`,
      o === undefined ? '' : `order ${String(o)}`,
      cong === undefined || cong === '4K' ? '' : `aligned at ${String(cong)}`,
      junk === undefined ? '' : `frame bits: ${String(junk)}`,
      ...othersOf(more),
    ];
    return words.filter((word) => word !== '').join('  ').trimEnd();
  });
  return runs.length > 1 ? [bar(at, spans, cells), ...lines] : lines;
}

function signOfPages(f: string): string {
  if (f.startsWith('in:')) return LEFT;
  if (/[ES]/.test(f)) return ERROR;
  if (f.includes('P')) return NO_ACCESS;
  if (f.includes('V')) return f.includes('W') ? WRITABLE : READ_ONLY;
  return NOTHING;
}

/** Areas by the name of their first address: a line each, with where in all that has that name they lie. */
export function drawAreas(areas: readonly Answer[], before: readonly Answer[], cells: number): string[] {
  if (areas.length === 0) return ['(nothing is mapped)'];
  const known = new Set(before.map((area) => JSON.stringify(area)));
  const ends = new Map<string, number>();
  for (const area of [...areas, ...before]) {
    const { name, start, length } = placeOf(area);
    ends.set(name, Math.max(ends.get(name) ?? 0, start + length));
  }
  return areas.map((area) => {
    const { name, start, length } = placeOf(area);
    const { at: _at, len: _len, perm, file, off, ...more } = area;
    const total = ends.get(name) ?? length;
    const sign = signOfPerm(String(perm));
    const words = [
      `${known.has(JSON.stringify(area)) ? ' ' : '+'} ${`${name}+${sizeInWords(start)}`.padEnd(10)} ${sizeInWords(length).padStart(6)}  ${String(perm)}`,
      (file === undefined ? '' : `${String(file)}${offsetInWords(off)}`).padEnd(12),
      start === 0 && length === total ? '' : bar(total, [{ start, end: start + length, sign }], cells),
      ...othersOf(more),
    ];
    return words.join('  ').trimEnd();
  });
}

function placeOf({ at, len }: Answer): { name: string; start: number; length: number } {
  const [, name = '', offset = ''] = /^(.*?)(?:\+(.*))?$/.exec(String(at)) ?? [];
  return { name, start: bytesOf(offset) ?? 0, length: bytesOf(len) ?? 0 };
}

function signOfPerm(perm: string): string {
  if (perm.includes('w')) return WRITABLE;
  return perm.includes('r') || perm.includes('x') ? READ_ONLY : NO_ACCESS;
}

/** Invalidations, each with where in the mirror it hit; an arrow where it reaches beyond. `length`: the mirror's, null where unknown. */
export function drawEvents(events: readonly Answer[], length: number | null, cells: number): string[] {
  const total = length ?? Math.max(4096, ...events.map(({ end }) => bytesOf(end) ?? 0));
  const names = events.map(({ type, valid }) => String(type ?? (valid === undefined ? 'invalidate' : `invalidate, range ${valid === true ? 'valid' : 'invalid'}`)));
  const width = Math.max(0, ...names.map((name) => name.length));
  return events.map(({ seq, type: _type, valid: _valid, start, end, n, each, block, owner, ...more }, i) => {
    const [from, to] = [bytesOf(start) ?? 0, bytesOf(end) ?? Infinity];
    const row = bar(total, [{ start: from, end: to, sign: WRITABLE }], cells);
    const words = [
      `${seq === undefined ? '' : String(seq).padStart(3)} ${(names[i] as string).padEnd(width)}  ${from < 0 ? '◀' : ' '}${row}${to > total ? '▶' : ' '} ${offsetInWords(start)}..${offsetInWords(end)}`,
      n === undefined ? '' : `${String(n)} of ${sizeInWords(bytesOf(each) ?? 0)}`,
      block === false ? 'may not wait' : '',
      owner === undefined ? '' : `owner ${String(owner)}`,
      ...othersOf(more),
    ];
    return words.filter((word) => word !== '').join('  ');
  });
}

/** Extents of a file: `f+0  2M  ext4 +0`. */
export function drawExtents(extents: readonly Answer[], cells: number): string[] {
  const end = Math.max(4096, ...extents.map(({ off, len }) => (bytesOf(off) ?? 0) + (bytesOf(len) ?? 0)));
  return extents.map(({ off, len, at, f, ...more }) => {
    const start = bytesOf(off) ?? 0;
    const length = bytesOf(len) ?? 0;
    const marks = String(f).trim();
    const row = bar(end, [{ start, end: start + length, sign: marks.includes('unwritten') ? NO_ACCESS : WRITABLE }], cells);
    const words = [`${`+${sizeInWords(start)}`.padEnd(8)} ${sizeInWords(length).padStart(6)}  ${row}`, at === undefined ? '' : `block ${offsetInWords(at)}`, marks, ...othersOf(more)];
    return words.filter((word) => word !== '').join('  ');
  });
}

/** Collected pages of a migration. */
export function drawMoves(pages: readonly Answer[]): string[] {
  return pages.map(({ n, src, moved, ...more }) => [`${sizeInWords(Number(n) * 4096).padStart(6)}  ${String(src).padEnd(3)}  ${moved === true ? 'moved' : 'stays'}`, ...othersOf(more)].join('  '));
}

/** '2M of 9, 4K of 0'. */
export function bytesInRuns(runs: readonly unknown[]): string {
  return runs.map((run) => (Array.isArray(run) ? `${sizeInWords(Number(run[0]))} of ${String(run[1])}` : String(run))).join(', ');
}

/** Members nobody drew, so that none is lost: `refs 2`, `busy`, `pgmap 3`. */
export function othersOf(members: Answer): string[] {
  return Object.entries(members).map(([key, value]) => {
    if (value === true) return key;
    return `${key} ${typeof value === 'string' || typeof value === 'number' ? value : JSON.stringify(value)}`;
  });
}
