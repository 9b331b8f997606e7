/**
 * The text that a classic exerciser prints when it fails, as reports quote it, made into the lines of a log:
 *
 *   LOG DUMP (6784 total operations):
 *   6778(122 mod 256): PUNCH    0x2ba67 thru 0x466da	(0x1ac74 bytes)
 *   6782(126 mod 256): WRITE    0xc049 thru 0x20ea9	(0x14e61 bytes)	***WWWW
 *   		CLOSE/OPEN
 *
 * Also with the older `6778: SECONDS PUNCH …`, and behind the `>` and `+` of mails and patches. What stands around the dump is passed over. A
 * dump keeps the last 10,000 operations; it does not tell whether zero_range left the size alone. Lines keep their places.
 */
import { WITH_DEST, hex, type OperationName } from './operation.ts';

const HEAD = /^[>+\s]*LOG DUMP \((\d+) total operations\):/;
const ENTRY = /^[>+\s]*(\d+)(?:\(\s*\d+ mod 256\):|: \d+\.\d+)\s+(.*)$/;
const CLOSED = /^[>+\s]*CLOSE\/OPEN\s*$/;
const END = /^[>+\s]*(?:Log of operations saved|Correct content saved|\(maybe hexdump)/;
const RANGE = /^(\w+)\s+(0x[0-9a-f]+) thru 0x[0-9a-f]+\s*\((0x[0-9a-f]+) bytes\)(?: to (0x[0-9a-f]+))?(.*)$/i;
const TRUNCATE = /^TRUNCATE (?:UP|DOWN)\s+from (0x[0-9a-f]+) to (0x[0-9a-f]+)/;

const NAMES: Readonly<Record<string, OperationName>> = {
  READ: 'read', WRITE: 'write', MAPREAD: 'mapread', MAPWRITE: 'mapwrite', FALLOC: 'fallocate', PUNCH: 'punch_hole', ZERO: 'zero_range', COLLAPSE: 'collapse_range', INSERT: 'insert_range',
  CLONE: 'clone_range', DEDUPE: 'dedupe_range', COPY: 'copy_range', XCHG: 'exchange_range',
};

/** What is wrong with a line of a dump: `line` and `column` from 1. */
export interface DumpFault {
  readonly line: number;
  readonly column: number;
  readonly what: string;
}

/** The lines with those of a dump as a log has them and all others empty; null: there is no dump in them. */
export function dumpAsLog(lines: readonly string[]): readonly string[] | DumpFault | null {
  const first = lines.findIndex((line) => HEAD.test(line));
  if (first < 0) return null;
  const made = lines.map(() => '');
  const total = Number(HEAD.exec(lines[first] as string)?.[1]);
  let [size, before, at] = [0, -1, -1];
  for (let i = first + 1; i < lines.length; i++) {
    const line = lines[i] as string;
    if (END.test(line)) break;
    if (CLOSED.test(line) && at >= 0) made[at] += ' close_open';
    const [, number = '', entry = ''] = ENTRY.exec(line) ?? [];
    if (number === '') continue;
    if (before >= 0 && Number(number) !== before + 1) return { line: i + 1, column: line.indexOf(number) + 1, what: `operation ${number} of the dump follows ${before}: those between are missing` };
    const said = entryAsLine(entry, size);
    if (said === null) return { line: i + 1, column: line.indexOf(entry) + 1, what: `'${entry.trim()}' is no entry of a dump` };
    [before, at, size] = [Number(number), i, said.size];
    made[i] = said.text;
  }
  if (before === total) return made;
  return { line: (at < 0 ? first : at) + 1, column: 1, what: `the dump is cut: it ends with operation ${Math.max(0, before)} of ${total}` };
}

/** One entry on a file of `size` bytes, and the size after it; null: none. */
function entryAsLine(entry: string, size: number): { readonly text: string; readonly size: number } | null {
  if (entry.startsWith('SKIPPED')) return { text: `skip read 0x0 0x0 ${hex(size)}`, size };
  if (/^FSYNC\b/.test(entry)) return { text: `fsync 0x0 0x0 ${hex(size)}`, size };
  const [, from, to] = TRUNCATE.exec(entry) ?? [];
  if (from !== undefined && to !== undefined) return { text: `truncate 0x0 ${to} ${from}`, size: Number(to) };
  const [, word = '', offset = '', length = '', dest, tail = ''] = RANGE.exec(entry) ?? [];
  const name = NAMES[word];
  if (name === undefined || WITH_DEST.includes(name) !== (dest !== undefined)) return null;
  const keeps = name === 'fallocate' && tail.includes('PAST_EOF');
  const text = [name, offset, length, ...(dest === undefined ? [] : [dest]), hex(size), ...(keeps ? ['keep_size'] : []), ...(tail.includes('UNSHARE') ? ['unshare'] : [])].join(' ');
  return { text, size: sizeAfter(name, { size, end: Number(offset) + Number(length), length: Number(length), dest: Number(dest ?? 0), keeps }) };
}

function sizeAfter(name: OperationName, { size, end, length, dest, keeps }: { size: number; end: number; length: number; dest: number; keeps: boolean }): number {
  if (name === 'collapse_range') return Math.max(0, size - length);
  if (name === 'insert_range') return size + length;
  if (name === 'clone_range' || name === 'copy_range') return Math.max(size, dest + length);
  return keeps || name === 'punch_hole' || name === 'dedupe_range' || name === 'exchange_range' ? size : Math.max(size, end);
}
