/**
 * Logs of operations in the classic exerciser's own form, one operation a line:
 *
 *   [skip] NAME OFFSET LENGTH [DEST] FILESIZE [keep_size] [close_open] [unshare] [*]
 *
 * Numbers as C writes them, `#` begins a comment line. What the classic one has not stands in comments that it passes over, and applies
 * to what follows:
 *
 *   #! daxmirror-fsx 1 fs=ext4 profile=v6.1 page=any flen=0x40000 processes=1 files=1     the layout; first
 *   #! process=0 file=0 by=modern                                                         whose the next operations are
 *   #! beside=OFFSET,LENGTH,BY,PROCESS,SEED                                               of the next operation alone
 *   #! flush=1  and  #! cut=POINT,SEED                                                    of the next operation alone
 *   #+ msync 0x0 0x1000 0x3000                                                            operations of ours: msync map unmap mprotect fork
 */
import { checkString } from '../api/checks.ts';
import { nearest } from '../scenario/index.ts';
import { PROFILES } from '../profile/index.ts';
import { dumpAsLog, type DumpFault } from './logDump.ts';
import {
  ACCESSORS, CLASSIC_OPERATIONS, DEFAULT_LAYOUT, OWN_OPERATIONS, WITH_DEST, hex, type AccessorName, type Beside, type Cut, type Layout, type Operation, type OperationName,
} from './operation.ts';

const VERSION = '1';
const MAGIC = 'daxmirror-fsx';
/** of a file, and thereby of every number in a log */
export const FILE_BYTES_MAX = 2 ** 26;
export const PLACES_MAX = 16;
const OPERATIONS_MAX = 2 ** 22;
/** of an operation that was passed over: the classic one tells what it drew, up to 31 bits of it */
const SKIPPED_MAX = 2 ** 32;
const FLAGS = ['keep_size', 'close_open', 'unshare', '*', 'none', 'r', 'rw', 'sync'];
/** Names of the classic one for what is the same to a DAX file: it has no cache to keep out of, and what is stored is the same. */
const SAME_AS: Readonly<Record<string, OperationName>> = { read_dontcache: 'read', write_dontcache: 'write', write_atomic: 'write' };
const PROTECTIONS: readonly string[] = ['none', 'r', 'rw'];

/** A log that is not one: `FILE:LINE:COLUMN: what is wrong`. */
export class LogError extends Error {
  constructor(file: string, { line, column, what }: DumpFault) {
    super(`${file}:${line}:${column}: ${what}`);
    this.name = 'LogError';
  }
}

export interface OperationLog {
  readonly layout: Layout;
  /** false: a classic exerciser's; the layout is a guess from the largest number in it */
  readonly ours: boolean;
  readonly operations: readonly Operation[];
  /** where the first operation stands that the model's kernels do not have (exchange_range), `FILE:LINE:COLUMN`; null: there is none */
  readonly notModelled: string | null;
}

/** A log, or the dump of operations in a classic exerciser's output. Throws LogError, TypeError where an argument is no string. */
export function parseLog(file: string, text: string): OperationLog {
  checkString('parseFsxLog', 'file', file);
  checkString('parseFsxLog', 'text', text);
  const reader = new LogReader(file);
  const lines = text.split(/\r?\n/);
  const last = lines.at(-1) as string;
  if (last !== '') throw new LogError(file, { line: lines.length, column: last.length + 1, what: 'the last line is cut: it has no end' });
  const dump = dumpAsLog(lines);
  if (dump !== null && 'what' in dump) throw new LogError(file, dump);
  for (const [i, line] of (dump ?? lines).entries()) reader.line(i + 1, line);
  return reader.end(lines.length);
}

class LogReader {
  readonly #file: string;
  #at = 0;
  /** the line, and the last of its words that was looked at */
  #text = '';
  #word = '';
  #notModelled: string | null = null;
  #layout: Layout | null = null;
  #process = 0;
  #ours = 0;
  #by: AccessorName = 'modern';
  #beside: Beside | null = null;
  #cut: Cut | null = null;
  #flush = false;
  readonly #operations: Operation[] = [];
  #reach = DEFAULT_LAYOUT.fileBytes;

  constructor(file: string) {
    this.#file = file;
  }

  line(number: number, line: string): void {
    this.#at = number;
    this.#text = line;
    this.#word = '';
    const text = line.trim();
    if (text.startsWith('#!')) this.#directive(text.slice(2).trim().split(/\s+/));
    else if (text.startsWith('#+')) this.#operation(text.slice(2).trim().split(/\s+/), OWN_OPERATIONS);
    else if (text !== '' && !text.startsWith('#')) this.#operation(text.split(/\s+/), CLASSIC_OPERATIONS);
  }

  end(lines: number): OperationLog {
    this.#at = lines;
    this.#text = '';
    this.#word = '';
    if (this.#beside !== null) this.#bad('a read beside an operation, and no operation follows');
    if (this.#cut !== null || this.#flush) this.#bad('a power cut or a flush of an operation, and no operation follows');
    return { layout: this.#layout ?? { ...DEFAULT_LAYOUT, fileBytes: this.#reach }, ours: this.#layout !== null, operations: this.#operations, notModelled: this.#notModelled };
  }

  #bad(what: string, word = this.#word): never {
    this.#word = word;
    throw new LogError(this.#file, { line: this.#at, column: this.#column(), what });
  }

  /** Of the word in question; from 1. */
  #column(): number {
    const { index = this.#text.search(/\S|$/) } = [...this.#text.matchAll(/\S+/g)].find(([word]) => word === this.#word) ?? {};
    return index + 1;
  }

  #directive(words: readonly string[]): void {
    if (words[0] === MAGIC) return this.#head(words);
    for (const word of words) {
      const { key, value } = this.#pair(word);
      const { processes, files } = this.#layout ?? DEFAULT_LAYOUT;
      if (key === 'process') this.#process = this.#below(word, value, processes);
      else if (key === 'file') this.#ours = this.#below(word, value, files);
      else if (key === 'by') this.#by = this.#oneOf(word, value, ACCESSORS);
      else if (key === 'beside') this.#beside = this.#besideOf(word, value.split(','));
      else if (key === 'cut') this.#cut = this.#cutOf(word, value.split(','));
      else if (key === 'flush') this.#flush = this.#below(word, value, 2) === 1;
      else this.#bad(`unknown word ${nearest(key, ['process', 'file', 'by', 'beside', 'cut', 'flush'])}`);
    }
  }

  #head([, version, ...words]: readonly string[]): void {
    if (this.#layout !== null || this.#operations.length > 0) this.#bad('the layout stands first, and once');
    if (version !== VERSION) this.#bad(`a log of version ${version ?? '?'}; this reads version ${VERSION}`, version);
    let layout = DEFAULT_LAYOUT;
    for (const word of words) {
      const { key, value } = this.#pair(word);
      if (key === 'fs') layout = { ...layout, fs: this.#oneOf(word, value, ['ext4', 'xfs', 'xfsn']) };
      else if (key === 'profile') layout = { ...layout, profile: this.#oneOf(word, value, Object.keys(PROFILES)) };
      else if (key === 'page') layout = { ...layout, page: this.#oneOf(word, value, ['any', '4K']) };
      else if (key === 'flen') layout = { ...layout, fileBytes: Math.max(1, this.#number(value)) };
      else if (key === 'processes') layout = { ...layout, processes: 1 + this.#below(word, String(this.#number(value) - 1), PLACES_MAX) };
      else if (key === 'files') layout = { ...layout, files: 1 + this.#below(word, String(this.#number(value) - 1), PLACES_MAX) };
      else if (key === 'power') layout = { ...layout, power: this.#oneOf(word, value, ['off', 'adr', 'eadr']) };
      else if (key === 'points') layout = { ...layout, everyPoint: this.#oneOf(word, value, ['some', 'all']) === 'all' };
      else this.#bad(`unknown word ${nearest(key, ['fs', 'profile', 'page', 'flen', 'processes', 'files', 'power', 'points'])}`);
    }
    this.#layout = layout;
  }

  #operation(given: readonly string[], known: readonly OperationName[]): void {
    if (this.#operations.length >= OPERATIONS_MAX) this.#bad(`more than ${OPERATIONS_MAX} operations`);
    const skipped = given[0] === 'skip';
    const [word = '', ...rest] = skipped ? given.slice(1) : given;
    this.#word = word;
    const name = known === CLASSIC_OPERATIONS ? (SAME_AS[word] ?? known.find((one) => one === word)) : known.find((one) => one === word);
    if (name === undefined) this.#bad(word === '' ? 'no operation' : `unknown operation ${nearest(word, known)}`);
    if (name === 'exchange_range') this.#notModelled ??= `${this.#file}:${this.#at}:${this.#column()}`;
    const count = WITH_DEST.includes(name) ? 4 : 3;
    if (rest.length < count) this.#bad(`${name} has ${count} numbers, here are ${rest.length}`);
    const numbers = rest.slice(0, count).map((text) => this.#number(text, skipped ? SKIPPED_MAX : FILE_BYTES_MAX));
    const flags = rest.slice(count);
    for (const flag of flags) if (!FLAGS.includes(flag)) this.#bad(`unknown flag ${nearest(flag, FLAGS)}`, flag);
    const [offset = 0, length = 0, dest = 0] = numbers;
    if (!skipped) this.#reach = Math.max(this.#reach, offset + length, count === 4 ? dest + length : 0);
    const { fileBytes } = this.#layout ?? { fileBytes: FILE_BYTES_MAX };
    if (!skipped && Math.max(offset + length, count === 4 ? dest + length : 0) > fileBytes) this.#bad(`${name} reaches beyond the largest file, ${hex(fileBytes)} bytes`);
    this.#operations.push({
      name, offset, length, dest: count === 4 ? dest : 0, size: numbers[count - 1] as number, skipped,
      keepSize: flags.includes('keep_size'), unshare: flags.includes('unshare'), closeOpen: flags.includes('close_open'), sync: flags.includes('sync'),
      prot: (flags.find((flag) => PROTECTIONS.includes(flag)) ?? 'rw') as Operation['prot'],
      process: this.#process, file: this.#ours, by: this.#by, beside: this.#beside, flush: this.#flush, cut: this.#cut,
    });
    this.#beside = null;
    this.#cut = null;
    this.#flush = false;
  }

  #cutOf(word: string, parts: readonly string[]): Cut {
    const [point = '', seed = ''] = parts;
    if (parts.length !== 2) this.#bad(`'${word}' is not cut=POINT,SEED`);
    if (this.#layout === null || this.#layout.power === 'off') this.#bad(`'${word}': the log's first line says nothing of power=adr or power=eadr`);
    return { point: this.#number(point), seed: this.#number(seed) };
  }

  #besideOf(word: string, parts: readonly string[]): Beside {
    const [offset = '', length = '', by = '', process = '', seed = ''] = parts;
    if (parts.length !== 5) this.#bad(`'${word}' is not beside=OFFSET,LENGTH,BY,PROCESS,SEED`);
    const { processes, fileBytes } = this.#layout ?? DEFAULT_LAYOUT;
    const read = { process: this.#below(word, process, processes), by: this.#oneOf(word, by, ACCESSORS), offset: this.#number(offset), length: this.#number(length), seed: this.#number(seed) };
    if (read.offset + read.length > fileBytes) this.#bad(`'${word}' reaches beyond the largest file, ${hex(fileBytes)} bytes`);
    return read;
  }

  #pair(word: string): { key: string; value: string } {
    this.#word = word;
    const at = word.indexOf('=');
    if (at <= 0) this.#bad(`'${word}' is not NAME=VALUE`);
    return { key: word.slice(0, at), value: word.slice(at + 1) };
  }

  /** 0x1f, 017, 31 */
  #number(text: string, most = FILE_BYTES_MAX): number {
    const value = /^0x[0-9a-f]+$/i.test(text) || /^(0|[1-9]\d*)$/.test(text) ? Number(text) : /^0[0-7]+$/.test(text) ? Number.parseInt(text, 8) : NaN;
    const word = this.#word.includes(text) ? this.#word : text; // of NAME=A,B, or one by itself
    if (!(value >= 0)) this.#bad(`'${text}' is not a number`, word);
    if (value > most) this.#bad(`${text} is more than ${hex(most)}`, word);
    return value;
  }

  #below(word: string, text: string, end: number): number {
    const value = /^\d+$/.test(text) ? Number(text) : NaN;
    if (!(value < end)) this.#bad(`'${word}': not a number below ${end}`);
    return value;
  }

  #oneOf<T extends string>(word: string, value: string, known: readonly T[]): T {
    const found = known.find((one) => one === value);
    if (found === undefined) this.#bad(`'${word}': unknown ${nearest(value, known)}; known: ${known.join(', ')}`);
    return found;
  }
}

/** Operations as lines of a log; what applies to several is said once. */
export class LogWriter {
  #who = 'process=0 file=0 by=modern';

  head({ fs, profile, page, fileBytes, processes, files, power, everyPoint }: Layout): string {
    const cuts = `${power === 'off' ? '' : ` power=${power}`}${everyPoint ? ' points=all' : ''}`;
    return `#! ${MAGIC} ${VERSION} fs=${fs} profile=${profile} page=${page} flen=${hex(fileBytes)} processes=${processes} files=${files}${cuts}\n`;
  }

  lines(operation: Operation): string {
    const { name, offset, length, dest, size, process, file, by, beside } = operation;
    const who = `process=${process} file=${file} by=${by}`;
    const whose = who === this.#who ? '' : `#! ${who}\n`;
    this.#who = who;
    const race = beside === null ? '' : `#! beside=${hex(beside.offset)},${hex(beside.length)},${beside.by},${beside.process},${beside.seed}\n`;
    const own = (OWN_OPERATIONS as readonly OperationName[]).includes(name) ? '#+ ' : '';
    const numbers = [offset, length, ...(WITH_DEST.includes(name) ? [dest] : []), size].map((n) => hex(n));
    const flags = [
      operation.keepSize ? ' keep_size' : '', operation.closeOpen ? ' close_open' : '', operation.unshare ? ' unshare' : '', name === 'mprotect' ? ` ${operation.prot}` : '', operation.sync ? ' sync' : '',
    ];
    const power = `${operation.flush ? '#! flush=1\n' : ''}${operation.cut === null ? '' : `#! cut=${operation.cut.point},${operation.cut.seed}\n`}`;
    return `${whose}${race}${power}${own}${operation.skipped ? 'skip ' : ''}${name} ${numbers.join(' ')}${flags.join('')}\n`;
  }
}

/** What `layout` leaves out is as in DEFAULT_LAYOUT. */
export function logText(layout: Partial<Layout> | undefined, operations: readonly Operation[]): string {
  const writer = new LogWriter();
  return writer.head({ ...DEFAULT_LAYOUT, ...layout }) + operations.map((operation) => writer.lines(operation)).join('');
}
