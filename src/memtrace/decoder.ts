/**
 * A trace in, records in the arena out: bytes are read straight into it, and WASM (assembly/memtrace.ts) makes page numbers of them.
 *
 * Memory is constant: one buffer of bytes, one of records. What is wrong is a TraceError that says in which line (or record) it stands; all
 * before it has been handed out.
 */
import {
  CHAMPSIM_RECORD, TRACE_BAD_ADDRESS, TRACE_BAD_BYTE, TRACE_BAD_CANONICAL, TRACE_BAD_KERNEL, TRACE_BAD_LA57, TRACE_BAD_LINE, TRACE_BAD_NULL, TRACE_BAD_RECORD, TRACE_BAD_SIZE,
  TRACE_CAPACITY, TRACE_COUNT, TRACE_DIGITS, TRACE_END, TRACE_ERROR, TRACE_ERROR_AT, TRACE_FLAGS, TRACE_IN, TRACE_LA57, TRACE_LAST, TRACE_LINES, TRACE_NO_FETCH, TRACE_OUT,
  TRACE_REQUEST_SIZE, TRACE_SEEN, TRACE_SKIPPED, TRACE_USED,
} from '../abi.ts';
import type { Arena } from '../arena/index.ts';
import { HmmError } from '../errno.ts';
import { KiB } from '../units.ts';
import { SNIFF_BYTES, formatOf, type TraceFormat } from './format.ts';

const INPUT_BYTES = 512 * KiB;
const RECORDS = 64 * KiB;
/** hexadecimal ones: the first of a row, what it is worth, and how many follow each other */
const DIGITS = [['0', 0, 10], ['a', 10, 6], ['A', 10, 6]] as const;
const NO_DIGIT = 255;
/** of a line that is shown */
const SHOWN_CHARACTERS = 48;

/** Where bytes come from: fills as much of `target` as it has at hand, at least one byte; 0 at the end. */
export interface ByteSource {
  read(target: Uint8Array): number | Promise<number>;
}

/** A trace that cannot be read on. `line` counts from 1; of ChampSim's it is the record. */
export class TraceError extends Error {
  readonly line: number;
  readonly column: number;
  constructor(line: number, column: number, message: string) {
    super(message);
    this.name = 'TraceError';
    this.line = line;
    this.column = column;
  }
}

export interface DecoderOptions {
  /** default: told from the first bytes */
  readonly format?: TraceFormat;
  /** instruction fetches are left out */
  readonly withoutFetches: boolean;
  readonly la57: boolean;
}

/** What was read, by what the trace calls it. A modify is one access, a store. */
export interface TraceCounts {
  bytes: number;
  /** lines, or ChampSim's records */
  lines: number;
  /** lines without an access: valgrind's own, comments, empty ones */
  skipped: number;
  fetches: number;
  loads: number;
  stores: number;
  modifies: number;
}

export class TraceDecoder {
  readonly counts: TraceCounts = { bytes: 0, lines: 0, skipped: 0, fetches: 0, loads: 0, stores: 0, modifies: 0 };
  /** null before the first bytes */
  format: TraceFormat | null;
  /** arena offset of the records of the last `next` */
  readonly records: number;
  readonly #arena: Arena;
  readonly #source: ByteSource;
  readonly #request: number;
  readonly #input: number;
  readonly #flags: number;
  /** bytes that wait at the start of the buffer, and those of them that were taken */
  #filled = 0;
  #used = 0;
  #ended = false;

  /** Throws ENOMEM. */
  constructor(arena: Arena, source: ByteSource, { format, withoutFetches, la57 }: DecoderOptions) {
    this.#arena = arena;
    this.#source = source;
    this.format = format ?? null;
    this.#flags = (withoutFetches ? TRACE_NO_FETCH : 0) + (la57 ? TRACE_LA57 : 0);
    this.#request = arena.blockAlloc(TRACE_REQUEST_SIZE);
    this.#input = arena.blockAlloc(INPUT_BYTES);
    this.records = arena.blockAlloc(RECORDS * 8);
    if (this.#request === 0 || this.#input === 0 || this.records === 0) throw new HmmError('ENOMEM', 'trace', 'no room in the arena for its buffers');
    const digits = this.#request + TRACE_DIGITS;
    arena.u8.fill(NO_DIGIT, digits, digits + 256);
    for (const [base, first, count] of DIGITS) for (let i = 0; i < count; i++) arena.u8[digits + base.charCodeAt(0) + i] = first + i;
  }

  /** Decodes what is at hand, or reads on: how many records there are now, 0 at the end. Throws TraceError, and what the source throws. */
  async next(): Promise<number> {
    for (;;) {
      if (this.#used < this.#filled) {
        const count = this.#decode();
        if (count > 0) return count;
      }
      if (this.#ended) return 0;
      await this.#fill();
    }
  }

  /** Moves what is left to the front and reads behind it. */
  async #fill(): Promise<void> {
    const { u8 } = this.#arena;
    if (this.#used > 0) u8.copyWithin(this.#input, this.#input + this.#used, this.#input + this.#filled);
    this.#filled -= this.#used;
    this.#used = 0;
    const room = INPUT_BYTES - 1 - this.#filled; // one for the newline behind
    if (room === 0) throw new TraceError(this.counts.lines + 1, 1, `a line of more than ${INPUT_BYTES - 1} bytes`);
    const read = this.#source.read(u8.subarray(this.#input + this.#filled, this.#input + this.#filled + room));
    const n = typeof read === 'number' ? read : await read;
    this.#filled += n;
    this.counts.bytes += n;
    if (n === 0) this.#end();
    else if (this.format === null && this.#filled >= SNIFF_BYTES) this.#sniff();
  }

  #end(): void {
    this.#ended = true;
    if (this.counts.bytes === 0) throw new TraceError(0, 0, 'empty: not one access');
    if (this.format === null) this.#sniff();
    const left = this.#filled - this.#used;
    if (this.format === 'champsim' && left % CHAMPSIM_RECORD !== 0 && left < CHAMPSIM_RECORD) throw this.#truncated(left);
  }

  #sniff(): void {
    this.format = formatOf(this.#arena.u8.slice(this.#input, this.#input + Math.min(this.#filled, SNIFF_BYTES)));
  }

  #decode(): number {
    if (this.format === null && !this.#ended) return 0;
    const { u8, u32, walker } = this.#arena;
    const r = this.#request >>> 2;
    const end = this.#input + this.#filled;
    u8[end] = 10;
    u32[r + TRACE_IN / 4] = this.#input + this.#used;
    u32[r + TRACE_END / 4] = end;
    u32[r + TRACE_OUT / 4] = this.records;
    u32[r + TRACE_CAPACITY / 4] = RECORDS;
    u32[r + TRACE_FLAGS / 4] = this.#flags + (this.#ended ? TRACE_LAST : 0);
    if (this.format === 'champsim') walker.readChampsim(this.#request);
    else if (this.format === 'lackey') walker.readLackey(this.#request);
    else walker.readPlain(this.#request);
    const answer = (field: number): number => u32[r + field / 4] as number;
    const { counts } = this;
    counts.lines += answer(TRACE_LINES);
    counts.skipped += answer(TRACE_SKIPPED);
    counts.fetches += answer(TRACE_SEEN);
    counts.loads += answer(TRACE_SEEN + 4);
    counts.stores += answer(TRACE_SEEN + 8);
    counts.modifies += answer(TRACE_SEEN + 12);
    this.#used += answer(TRACE_USED);
    const count = answer(TRACE_COUNT);
    if (count > 0) return count; // what is wrong comes up again, first thing
    if (answer(TRACE_ERROR) !== 0) throw this.#wrong(answer(TRACE_ERROR), answer(TRACE_ERROR_AT));
    if (this.#ended && this.#used < this.#filled && answer(TRACE_USED) === 0) throw this.#truncated(this.#filled - this.#used);
    return 0;
  }

  #truncated(left: number): TraceError {
    return new TraceError(this.counts.lines + 1, 1, `truncated: the last record has ${left} of ${CHAMPSIM_RECORD} bytes`);
  }

  #wrong(error: number, at: number): TraceError {
    const line = this.counts.lines + 1;
    const start = this.#input + this.#used;
    const { u8, u64 } = this.#arena;
    if (this.format === 'champsim') {
      const addr = error === TRACE_BAD_RECORD ? 0n : (u64[at >>> 3] ?? 0n);
      const aligned = at % 8 === 0 ? addr : new DataView(u8.buffer).getBigUint64(at, true);
      const what = error === TRACE_BAD_RECORD ? 'neither text nor a ChampSim record (its branch flags are neither 0 nor 1)' : addressWrong(error, `0x${aligned.toString(16)}`);
      return new TraceError(line, at - start + 1, line === 1 && error !== TRACE_BAD_RECORD ? `${what}; is this a ChampSim trace?` : what);
    }
    let end = start;
    while (u8[end] !== 10 && end - start < 4096) end++;
    const text = new TextDecoder('latin1').decode(u8.slice(start, end)).trimEnd();
    const cut = this.#ended && end >= this.#input + this.#filled;
    return new TraceError(line, at - start + 1, `${lineWrong(error, text, at - start, u8[at] ?? 0, this.format === 'lackey')}${cut && error === TRACE_BAD_LINE ? '; the trace ends in this line: truncated?' : ''}`);
  }
}

function lineWrong(error: number, text: string, at: number, byte: number, lackey: boolean): string {
  if (error === TRACE_BAD_BYTE) return `byte 0x${byte.toString(16).padStart(2, '0')} where text is expected`;
  if (error === TRACE_BAD_SIZE) return `size ${/^\d+/.exec(text.slice(at))?.[0]} is not 1 to 4096 bytes`;
  if (error !== TRACE_BAD_LINE) return addressWrong(error, `0x${/^[0-9a-f]+/i.exec(text.slice(at))?.[0]}`);
  const shown = text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text;
  return `'${shown}' is not ${lackey ? 'a line of lackey (I, L, S or M, address, comma, size)' : 'an access (hexadecimal address, then r, w or x)'}`;
}

function addressWrong(error: number, addr: string): string {
  if (error === TRACE_BAD_ADDRESS) return `address ${addr} has more than 64 bits`;
  if (error === TRACE_BAD_CANONICAL) return `address ${addr} is not canonical: no x86-64 has it`;
  if (error === TRACE_BAD_LA57) return `address ${addr} needs five levels of page tables (--la57)`;
  if (error === TRACE_BAD_KERNEL) return `address ${addr} is the kernel's, not a process's`;
  if (error === TRACE_BAD_NULL) return `address ${addr} is below 0x10000, where no process has memory`;
  return `bad address ${addr}`;
}
