/**
 * What a file may be after a power cut, by what was promised of it and by the meaning of operations alone.
 *
 * A call that makes durable (fsync, msync, a flush of a MAP_SYNC mapping) promises; what came after it may be there or not. Sizes and
 * places of pages are those after some operation from the last promise on, or between two: in a row, as a journal has them. Each aligned
 * word of 8 bytes is what it was when it was promised, or what a later store made of it: whole, and never anything else.
 *
 * Bytes follow their page: a page that moves (collapse, insert) or is shared (clone, dedupe) takes along what it may be. One that is the last
 * to have its block is written where it is, and the others still had it until the journal says that they let it go: what is stored there may
 * be found in their place. A page whose block goes (truncate, punch) is held to have been zeroed where it was, and one that was deduped to be
 * what either was: that allows a little more than can be.
 */
import { pagesFor } from '../units.ts';
import { hex, operationText, type Operation } from './operation.ts';
import type { Noise } from './shadow.ts';

const PAGE_BYTES = 4096;
const WORD_BYTES = 8;
const WORDS = PAGE_BYTES / WORD_BYTES;
const NOBODY = -1;

/** What an operation made of some words of a page. */
interface Store {
  readonly number: number;
  readonly firstWord: number;
  readonly bytes: Uint8Array;
}

class Page {
  readonly now: Uint8Array<ArrayBuffer>;
  /** as it was when each word was promised last */
  readonly base: Uint8Array<ArrayBuffer>;
  /** who stored what a word is now, and what it was when promised */
  readonly writers: Int32Array<ArrayBuffer>;
  readonly baseWriters: Int32Array<ArrayBuffer>;
  /** who promised it */
  readonly promisers: Int32Array<ArrayBuffer>;
  /** of `stores`, the first that still counts for a word */
  readonly since: Uint32Array<ArrayBuffer>;
  stores: Store[];

  constructor(from: Page | null = null) {
    this.now = from === null ? new Uint8Array(PAGE_BYTES) : from.now.slice();
    this.base = from === null ? new Uint8Array(PAGE_BYTES) : from.base.slice();
    this.writers = from === null ? new Int32Array(WORDS).fill(NOBODY) : from.writers.slice();
    this.baseWriters = from === null ? new Int32Array(WORDS).fill(NOBODY) : from.baseWriters.slice();
    this.promisers = from === null ? new Int32Array(WORDS).fill(NOBODY) : from.promisers.slice();
    this.since = from === null ? new Uint32Array(WORDS) : from.since.slice();
    this.stores = from === null ? [] : [...from.stores];
  }

  store(number: number, within: number, bytes: Uint8Array | null, length: number): void {
    if (bytes === null) this.now.fill(0, within, within + length);
    else this.now.set(bytes, within);
    const firstWord = Math.floor(within / WORD_BYTES);
    const endWord = Math.ceil((within + length) / WORD_BYTES);
    this.writers.fill(number, firstWord, endWord);
    this.stores.push({ number, firstWord, bytes: this.now.slice(firstWord * WORD_BYTES, endWord * WORD_BYTES) });
  }

  promise(number: number, firstWord = 0, endWord = WORDS): void {
    this.base.set(this.now.subarray(firstWord * WORD_BYTES, endWord * WORD_BYTES), firstWord * WORD_BYTES);
    this.baseWriters.set(this.writers.subarray(firstWord, endWord), firstWord);
    this.promisers.fill(number, firstWord, endWord);
    this.since.fill(this.stores.length, firstWord, endWord);
    if (endWord - firstWord < WORDS) return;
    this.stores = [];
    this.since.fill(0);
  }

  /** The first word of `bytes[at…]`, a page or the beginning of one, that this page may not be; -1: there is none. */
  wrongWord(bytes: Uint8Array, at: number, length: number): number {
    if (length === PAGE_BYTES && (samePage(bytes, at, this.now) || samePage(bytes, at, this.base))) return -1;
    for (let word = 0; word * WORD_BYTES < length; word++) {
      const n = Math.min(WORD_BYTES, length - word * WORD_BYTES);
      if (!this.#mayBe(word, bytes, at + word * WORD_BYTES, n)) return word;
    }
    return -1;
  }

  #mayBe(word: number, bytes: Uint8Array, at: number, n: number): boolean {
    if (same(bytes, at, this.now, word * WORD_BYTES, n) || same(bytes, at, this.base, word * WORD_BYTES, n)) return true;
    for (let i = this.stores.length - 1; i >= (this.since[word] as number); i--) {
      const { firstWord, bytes: stored } = this.stores[i] as Store;
      const from = (word - firstWord) * WORD_BYTES;
      if (from >= 0 && from < stored.length && same(bytes, at, stored, from, n)) return true;
    }
    return false;
  }
}

function same(a: Uint8Array, at: number, b: Uint8Array, from: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (a[at + i] !== b[from + i]) return false;
  return true;
}

/** By words: `at` is on a page. */
function samePage(bytes: Uint8Array, at: number, page: Uint8Array<ArrayBuffer>): boolean {
  const a = new Int32Array(bytes.buffer, bytes.byteOffset + at, PAGE_BYTES / 4);
  const b = new Int32Array(page.buffer);
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Where the pages of a file are after an operation. */
interface State {
  readonly number: number;
  readonly size: number;
  readonly pages: readonly Page[];
}

/** Of what is found after a cut, what ought not to be. */
export interface CutFault {
  readonly what: string;
  /** byte of the file, and how many from it on are wrong; -1: the size is */
  readonly offset: number;
  readonly length: number;
}

export class FilePromises {
  readonly #noise: Noise;
  readonly #file: number;
  #states: State[];
  readonly #operations = new Map<number, Operation>();
  #shares = false;
  #promiser = NOBODY;

  /** All of `bytes`, `size` of them, is durable; `blocks`: which block each page has, -1 none. */
  constructor(file: number, bytes: Uint8Array, size: number, noise: Noise, blocks: readonly number[] = []) {
    this.#file = file;
    this.#noise = noise;
    const byBlock = new Map<number, Page>();
    const pages = Array.from({ length: pagesFor(bytes.length) }, (_, i) => {
      const block = blocks[i] ?? -1;
      const shared = byBlock.get(block);
      // The last page may be shared, and what lies beyond the end is not read.
      if (shared !== undefined && samePage(bytes, i * PAGE_BYTES, shared.now)) {
        this.#shares = true;
        return shared;
      }
      const page = new Page();
      if (block >= 0) byBlock.set(block, page);
      page.now.set(bytes.subarray(i * PAGE_BYTES, (i + 1) * PAGE_BYTES));
      page.base.set(page.now);
      return page;
    });
    this.#states = [{ number: NOBODY, size, pages }];
  }

  get #last(): State {
    return this.#states.at(-1) as State;
  }

  /** Operation `number` begins: from now on, what it does may be there after a cut. */
  begin(operation: Operation, number: number): void {
    const { name, offset, length, dest, keepSize, unshare } = operation;
    this.#operations.set(number, operation);
    const { size } = this.#last;
    const end = offset + length;
    switch (name) {
      case 'write':
      case 'mapwrite':
      case 'fork':
        return this.#write(number, offset, this.#noise.of(number, offset, length));
      case 'copy_range':
        return this.#write(number, dest, this.#bytes(offset, length));
      case 'truncate':
        this.#zero(number, Math.min(length, size), Math.max(length, size));
        return this.#push(number, length, this.#last.pages);
      case 'fallocate':
        if (unshare) for (let i = Math.floor(offset / PAGE_BYTES); i * PAGE_BYTES < Math.min(end, size); i++) this.#own(number, i);
        return keepSize ? undefined : this.#push(number, Math.max(size, end), this.#last.pages);
      case 'zero_range':
        this.#free(number, offset, end);
        return keepSize ? undefined : this.#push(number, Math.max(size, end), this.#last.pages);
      case 'punch_hole':
        return this.#free(number, offset, Math.min(end, size));
      case 'collapse_range':
        this.#zero(number, offset, end);
        return this.#move(number, size - length, (pages, first, npages) => [...pages.slice(0, first), ...pages.slice(first + npages), ...fresh(npages)], offset, length);
      case 'insert_range':
        return this.#move(number, size + length, (pages, first, npages) => [...pages.slice(0, first), ...fresh(npages), ...pages.slice(first)].slice(0, pages.length), offset, length);
      case 'dedupe_range':
        return this.#isSame(operation) ? this.#share(number, operation) : undefined;
      case 'clone_range':
        return this.#share(number, operation);
      default:
    }
  }

  /** fsync, or msync of bytes `[offset, end)`: their pages are durable, and so is where they are. */
  synced(number: number, offset = 0, end = Infinity): void {
    const last = this.#last;
    const upTo = Math.min(last.pages.length, Math.ceil(end / PAGE_BYTES));
    for (let i = Math.floor(offset / PAGE_BYTES); i < upTo; i++) (last.pages[i] as Page).promise(number);
    this.#states = [last];
    this.#promiser = number;
  }

  /** Bytes `[offset, offset + length)` were stored and flushed through a MAP_SYNC mapping: they are durable, and their pages where they are. */
  persisted(number: number, offset: number, length: number): void {
    const { pages } = this.#last;
    const end = offset + length;
    let keep = this.#states.length - 1;
    for (let i = Math.floor(offset / PAGE_BYTES); i * PAGE_BYTES < end; i++) {
      const page = pages[i] as Page;
      const from = Math.max(0, offset - i * PAGE_BYTES);
      page.promise(number, Math.floor(from / WORD_BYTES), Math.ceil(Math.min(PAGE_BYTES, end - i * PAGE_BYTES) / WORD_BYTES));
    }
    for (; keep > 0; keep--) {
      const before = this.#states[keep - 1] as State;
      let holds = true;
      for (let i = Math.floor(offset / PAGE_BYTES); i * PAGE_BYTES < end; i++) holds &&= before.pages[i] === pages[i] && i * PAGE_BYTES < before.size;
      if (!holds) break;
    }
    if (keep > 0) [this.#states, this.#promiser] = [this.#states.slice(keep), number];
  }

  /** Is a file of these bytes, `size` of them, what may be found now? Null: yes. */
  check(bytes: Uint8Array, size: number): CutFault | null {
    let best: { readonly page: number; readonly word: number; readonly state: State; wrong: number } | null = null;
    for (let m = this.#states.length - 1; m >= 0; m--) {
      const state = this.#states[m] as State;
      const before = m > 0 ? (this.#states[m - 1] as State) : state;
      if (size !== state.size && size !== before.size) continue;
      const wrong = firstWrong(bytes, size, state, before);
      if (wrong === null) return null;
      if (best === null || wrong.page > best.page) best = { ...wrong, state, wrong: 0 };
    }
    if (best === null) return { what: this.#wrongSize(size), offset: -1, length: 0 };
    return this.#wrongBytes(bytes, size, best.state.pages[best.page] as Page, best.page, best.word);
  }

  /** `operation 3: write 0x0..0x10 of file0 in process0` */
  told(number: number): string {
    const operation = this.#operations.get(number);
    return operation === undefined ? 'what was there at the beginning' : `operation ${number + 1}: ${operationText(operation)}`;
  }

  // ── inside ──

  #push(number: number, size: number, pages: readonly Page[]): void {
    const last = this.#last;
    if (size !== last.size || pages !== last.pages) this.#states.push({ number, size, pages });
  }

  #move(number: number, size: number, moved: (pages: readonly Page[], first: number, npages: number) => readonly Page[], offset: number, length: number): void {
    this.#push(number, size, moved(this.#last.pages, offset / PAGE_BYTES, length / PAGE_BYTES));
  }

  /** The pages at `dest` become those at `offset`. */
  #share(number: number, { offset, length, dest }: Operation): void {
    this.#shares = true;
    const to = dest / PAGE_BYTES;
    this.#move(number, Math.max(this.#last.size, dest + length), (pages, first, npages) => pages.map((page, i) => (i >= to && i < to + npages ? (pages[first + i - to] as Page) : page)), offset, length);
  }

  #isSame({ offset, length, dest }: Operation): boolean {
    return same(this.#bytes(offset, length), 0, this.#bytes(dest, length), 0, length);
  }

  #write(number: number, offset: number, bytes: Uint8Array): void {
    this.#store(number, offset, bytes, bytes.length);
    const { size, pages } = this.#last;
    this.#push(number, Math.max(size, offset + bytes.length), pages);
  }

  /** Zeroes whole pages, which lose their blocks, and only then the edges (xfs_free_file_space): by then an edge may be the last to have its block. */
  #free(number: number, from: number, end: number): void {
    const first = Math.ceil(from / PAGE_BYTES) * PAGE_BYTES;
    const last = Math.max(first, Math.floor(end / PAGE_BYTES) * PAGE_BYTES);
    this.#zero(number, first, last);
    this.#zero(number, from, Math.min(end, first));
    this.#zero(number, last, end);
  }

  /** In the order of the file, as truncate does: the page of the new end is zeroed before those after it lose their blocks. */
  #zero(number: number, from: number, end: number): void {
    const { pages } = this.#last;
    this.#store(number, from, null, Math.min(end, pages.length * PAGE_BYTES) - from);
  }

  #store(number: number, offset: number, bytes: Uint8Array | null, length: number): void {
    for (let done = 0; done < length; ) {
      const index = Math.floor((offset + done) / PAGE_BYTES);
      const within = (offset + done) % PAGE_BYTES;
      const n = Math.min(length - done, PAGE_BYTES - within);
      this.#own(number, index).store(number, within, bytes === null ? null : bytes.subarray(done, done + n), n);
      done += n;
    }
  }

  /** Page `index`, apart from others that have shared its bytes. */
  #own(number: number, index: number): Page {
    const { pages, size } = this.#last;
    const page = pages[index] as Page;
    if (!this.#shares || pages.indexOf(page) === pages.lastIndexOf(page)) return page;
    const own = new Page(page);
    this.#push(number, size, pages.with(index, own));
    return own;
  }

  #bytes(offset: number, length: number): Uint8Array {
    const { pages } = this.#last;
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const within = (offset + done) % PAGE_BYTES;
      const n = Math.min(length - done, PAGE_BYTES - within);
      bytes.set((pages[Math.floor((offset + done) / PAGE_BYTES)] as Page).now.subarray(within, within + n), done);
      done += n;
    }
    return bytes;
  }

  #wrongSize(size: number): string {
    const sizes = [...new Set(this.#states.map((state) => hex(state.size)))].join(', ');
    return `file${this.#file} has ${hex(size)} bytes; it may have ${sizes}\n  promised by ${this.told(this.#promiser)}`;
  }

  #wrongBytes(bytes: Uint8Array, size: number, page: Page, index: number, word: number): CutFault {
    const at = index * PAGE_BYTES + word * WORD_BYTES;
    let end = word + 1;
    const wordsEnd = Math.min(WORDS, Math.ceil((size - index * PAGE_BYTES) / WORD_BYTES));
    while (end < wordsEnd && !same(bytes, index * PAGE_BYTES + end * WORD_BYTES, page.base, end * WORD_BYTES, Math.min(WORD_BYTES, size - index * PAGE_BYTES - end * WORD_BYTES))) end++;
    const upTo = Math.min(size, index * PAGE_BYTES + end * WORD_BYTES);
    const promised = page.promisers[word] as number;
    const writer = page.baseWriters[word] as number;
    const isPromised = promised !== NOBODY && writer !== NOBODY;
    const isZero = isPromised && page.base.subarray(word * WORD_BYTES, (word + 1) * WORD_BYTES).every((byte) => byte === 0);
    const found = bytesText(bytes, at, Math.min(WORD_BYTES, size - at));
    const where = `${hex(at)}..${hex(upTo)} of file${this.#file}`;
    const who = `by ${this.told(writer)}, made durable by ${this.told(promised)}`;
    const what = isZero ? `${where} is not zero any more: zeroed ${who}` : isPromised ? `${where} is lost: stored ${who}` : `${where} is what nobody ever stored there`;
    return { what: `${what}\n  at ${hex(at)} there is ${found}, and ought to be ${bytesText(page.base, word * WORD_BYTES, WORD_BYTES)}${page.stores.length > 0 ? ', or what was stored later' : ''}`, offset: at, length: upTo - at };
  }
}

/** The first page, and word of it, that neither state allows. */
function firstWrong(bytes: Uint8Array, size: number, state: State, before: State): { page: number; word: number } | null {
  for (let page = 0; page * PAGE_BYTES < size; page++) {
    const length = Math.min(PAGE_BYTES, size - page * PAGE_BYTES);
    const word = (state.pages[page] as Page).wrongWord(bytes, page * PAGE_BYTES, length);
    if (word < 0) continue;
    const other = before.pages[page] as Page;
    if (other !== state.pages[page] && other.wrongWord(bytes, page * PAGE_BYTES, length) < 0) continue;
    return { page, word };
  }
  return null;
}

function fresh(npages: number): Page[] {
  return Array.from({ length: npages }, () => new Page());
}

function bytesText(bytes: Uint8Array, at: number, length: number): string {
  return [...bytes.subarray(at, at + length)].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
}
