/** Ranges of bytes, drawn: one cell a page where they fit, else a share of the whole. */

/** Cells at most, where there is room. */
export const BAR_CELLS = 48;

export const NOTHING = '·';

export interface Span {
  readonly start: number;
  readonly end: number;
  readonly sign: string;
}

/** `total` bytes from 0 as a row of signs. A span shows in one cell at least; of several in a cell the shortest; what lies outside is cut off. */
export function bar(total: number, spans: readonly Span[], cellsMax: number): string {
  const cells = Math.max(1, Math.min(cellsMax, Math.ceil(total / 4096)));
  const signs = new Array<string>(cells).fill(NOTHING);
  const drawn = spans.filter(({ sign }) => sign !== NOTHING).sort((a, b) => b.end - b.start - (a.end - a.start));
  for (const { start, end, sign } of drawn) {
    const from = Math.floor((Math.max(0, start) / total) * cells);
    const to = Math.ceil((Math.min(total, end) / total) * cells);
    if (start < total && end > 0) signs.fill(sign, Math.min(from, cells - 1), Math.max(to, from + 1));
  }
  return signs.join('');
}

/** '6M', '4100K', '0x123': in the units in which scenarios are written. */
export function sizeInWords(bytes: number): string {
  if (bytes === 0) return '0';
  for (const [unit, name] of [[2 ** 30, 'G'], [2 ** 20, 'M'], [2 ** 10, 'K']] as const) if (bytes % unit === 0) return `${bytes / unit}${name}`;
  return `0x${bytes.toString(16)}`;
}

/** '+0x1000', '-0x1000', '0x1000', '0' in bytes; null for what is none of these. */
export function bytesOf(text: unknown): number | null {
  const [, sign = '', digits = ''] = /^([+-]?)(0x[0-9a-f]+|\d+)$/i.exec(String(text)) ?? [];
  if (digits === '') return null;
  return (sign === '-' ? -1 : 1) * Number(digits);
}

/** '+4M', '-8K', and 'max' as it is. */
export function offsetInWords(text: unknown): string {
  const bytes = bytesOf(text);
  if (bytes === null) return String(text);
  return `${bytes < 0 ? '-' : '+'}${sizeInWords(Math.abs(bytes))}`;
}
