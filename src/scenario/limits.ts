/**
 * How much a scenario may ask for. The first four are the guest's: its runner would pass over the rest of a file or of a line without a
 * word, and is given up after two minutes. The others are this program's own.
 */
import type { Line } from './parse.ts';

export const LINES_MAX = 400;
export const LINE_BYTES_MAX = 510;
export const WORDS_MAX = 24;
export const SCENARIO_MS_MAX = 120_000;

/** Task blocks in a row. */
export const TASKS_MAX = 8;

/** Bytes that one operation may have in hand at once. */
const BUFFER_BYTES_MAX = 2 ** 28;
/** Loads or stores of one `touch`. */
const TOUCHES_MAX = 2 ** 20;

const WITH_BUFFER: ReadonlySet<string> = new Set(['peek', 'poke', 'dread', 'dwrite', 'pread', 'pwrite']);

/** The place of `line` that asks for too much, and how; null: none does. */
export function excess({ op, args }: Line): { readonly place: string; readonly what: string } | null {
  for (const place of ['MS', 'hold']) {
    if (args.number(place) > SCENARIO_MS_MAX) return { place, what: `${args.word(place)} ms are too long: a scenario has ${SCENARIO_MS_MAX}` };
  }
  if (WITH_BUFFER.has(op) && args.size('LEN') > BUFFER_BYTES_MAX) return { place: 'LEN', what: `${args.word('LEN')} is more than 256M` };
  if (op === 'touch' && args.size('n') > TOUCHES_MAX) return { place: 'n', what: `${args.word('n')} touches are more than ${TOUCHES_MAX}` };
  return null;
}
