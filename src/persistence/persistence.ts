/**
 * The persistence domain of a machine: which stores to persistent memory a power cut would take back.
 *
 * A store, whoever makes it, stays in a cache line of 64 bytes until that is flushed (clwb) and the flush fenced (sfence); on its own a
 * line may reach the memory at any time before. Stores to one line arrive there in the order in which they were made; 8 bytes that are
 * aligned arrive whole or not at all, lines in any order (Intel SDM volume 1, "Persistent memory"). With eADR the caches are within the
 * domain, and nothing is lost. What the kernel writes itself it writes past the caches (memcpy_flushcache: copied and flushed), and
 * fences before each journal commit (drivers/nvdimm/pmem.c, fs/dax.c: dax_flush, arch/x86/lib/usercopy_64.c).
 *
 * The bytes in the arena are what loads see: the newest. Here are the older ones, of the lines that have any. Nothing of this exists
 * until somebody tracks it; then it costs a few hundred nanoseconds for each line stored to.
 */
import { LINE_BYTES, type Content, type StoreWatch } from '../arena/index.ts';
import { Random } from '../sched/index.ts';

/** what a line may have been is forgotten beyond so many stores to its page */
const STORES_MAX = 64;
const PAGE_BYTES = 4096;
const PAGE_LINES = PAGE_BYTES / LINE_BYTES;
const WORD_BYTES = 8;

/** A moment at which what is durable is about to change: a cut just before it is unlike any earlier one. */
export type PersistencePoint = 'flush' | 'fence' | 'commit';

/** How a line comes out of a cut: as it last was durable, as loads see it, or at random between. */
export type LinesLeft = 'oldest' | 'newest' | 'random';

/** A store to lines `[first, end)` of a page: what they held before it. */
interface Store {
  readonly first: number;
  readonly end: number;
  readonly before: Uint8Array;
}

/** A flush of lines `[first, end)`, after so many stores, that nobody has fenced. */
interface Flush {
  readonly first: number;
  readonly end: number;
  readonly stores: number;
  readonly when: number;
}

/** A page with lines that a cut could take back. Stores are counted from the first, forgotten ones included. */
interface VolatilePage {
  readonly number: number;
  stores: Store[];
  /** stores forgotten, as all their lines are durable */
  forgotten: number;
  /** by line: stores that are durable */
  readonly arrived: Uint32Array;
  flushes: Flush[];
}

export interface PersistenceOptions {
  /** the caches are within the persistence domain (default false) */
  readonly eadr?: boolean;
}

export class Persistence implements StoreWatch {
  readonly eadr: boolean;
  /** Called just before what is durable changes; what it throws goes to whoever flushes, fences or commits. */
  onPoint: ((point: PersistencePoint) => void) | null = null;
  readonly #content: Content;
  readonly #pages = new Map<number, VolatilePage>();
  #unfenced: VolatilePage[] = [];
  #spans: { from: number; end: number }[] = [];
  #now = 0;

  constructor(content: Content, { eadr = false }: PersistenceOptions = {}) {
    this.#content = content;
    this.eadr = eadr;
  }

  /** Bytes `[from, end)` of physical memory are persistent. */
  cover(from: number, end: number): void {
    this.#spans.push({ from, end });
  }

  /** A moment in the order of flushes and journal records. */
  tick(): number {
    return ++this.#now;
  }

  /** Lines whose newest bytes a cut could lose. */
  get volatileLines(): number {
    let count = 0;
    for (const page of this.#pages.values()) for (let line = 0; line < PAGE_LINES; line++) if (nextStore(page, line, 0) !== null) count++;
    return count;
  }

  /** Before a store to `[paddr, paddr + length)`: what is there is remembered. */
  beforeStore(paddr: number, length: number): void {
    if (this.eadr || !this.#covers(paddr)) return;
    const end = paddr + length;
    for (let at = paddr; at < end; ) {
      const number = Math.floor(at / PAGE_BYTES);
      const upTo = Math.min(end, (number + 1) * PAGE_BYTES);
      this.#remember(number, Math.floor((at % PAGE_BYTES) / LINE_BYTES), Math.ceil((upTo - number * PAGE_BYTES) / LINE_BYTES));
      at = upTo;
    }
  }

  /** clwb of every line that `[paddr, paddr + length)` touches, or a copy that leaves nothing in the caches. */
  flush(paddr: number, length: number): void {
    if (length <= 0 || this.#pages.size === 0 || !this.#covers(paddr)) return;
    this.onPoint?.('flush');
    const when = this.tick();
    const end = paddr + length;
    const last = Math.floor((end - 1) / PAGE_BYTES);
    for (let number = Math.floor(paddr / PAGE_BYTES); number <= last; number++) {
      const page = this.#pages.get(number);
      if (page === undefined) continue;
      const from = Math.max(0, paddr - number * PAGE_BYTES);
      const upTo = Math.min(PAGE_BYTES, end - number * PAGE_BYTES);
      if (page.flushes.length === 0) this.#unfenced.push(page);
      page.flushes.push({ first: Math.floor(from / LINE_BYTES), end: Math.ceil(upTo / LINE_BYTES), stores: page.forgotten + page.stores.length, when });
    }
  }

  /** sfence: what was flushed is durable. */
  fence(): void {
    if (this.#unfenced.length === 0) return;
    this.onPoint?.('fence');
    for (const page of this.#unfenced) {
      for (const { first, end, stores } of page.flushes) page.arrived.fill(stores, first, end);
      page.flushes = [];
      forgetArrived(page);
      if (page.stores.length === 0 && this.#pages.get(page.number) === page) this.#pages.delete(page.number);
    }
    this.#unfenced = [];
  }

  /** A journal commit is about to be written. */
  beforeCommit(): void {
    this.onPoint?.('commit');
  }

  /**
   * What lines of `[from, end)` come out of a cut as, where that is not as they are now: by line number. `since`: a journal record from
   * that moment on is not among what survives; what was flushed before was fenced with the last that does.
   */
  cut(from: number, end: number, left: LinesLeft, random: Random, since: number): Map<number, Uint8Array> {
    const lost = new Map<number, Uint8Array>();
    if (left === 'newest') return lost;
    // Of an image at random, most lines are old, or most new, or as it falls.
    const oldOf8 = left === 'oldest' ? 8 : random.below(9);
    for (const page of this.#pages.values()) {
      if (page.number * PAGE_BYTES < from || page.number * PAGE_BYTES >= end) continue;
      for (let line = 0; line < PAGE_LINES; line++) {
        const oldest = nextStore(page, line, arrivedBy(page, line, since));
        if (oldest === null || (oldOf8 < 8 && random.below(8) >= oldOf8)) continue;
        const bytes = left === 'oldest' ? lineOf(oldest, line) : this.#chosen(page, line, since, random);
        lost.set(page.number * PAGE_LINES + line, bytes);
      }
    }
    return lost;
  }

  /** Why the newest bytes of the line around `paddr` may be lost; null: they may not. */
  why(paddr: number): string | null {
    const page = this.#pages.get(Math.floor(paddr / PAGE_BYTES));
    const line = Math.floor((paddr % PAGE_BYTES) / LINE_BYTES);
    if (page === undefined || nextStore(page, line, 0) === null) return null;
    return nextStore(page, line, arrivedBy(page, line, Infinity)) === null ? 'a fence after the flush of its cache line' : 'a flush of its cache line after the store';
  }

  /** All is durable as it is, in `[from, end)`. */
  forget(from = 0, end = Infinity): void {
    for (const number of this.#pages.keys()) if (number * PAGE_BYTES >= from && number * PAGE_BYTES < end) this.#pages.delete(number);
    this.#unfenced = this.#unfenced.filter((page) => this.#pages.get(page.number) === page);
  }

  /** The machine was reset: no memory is persistent any more. */
  reset(): void {
    this.#pages.clear();
    this.#unfenced = [];
    this.#spans = [];
    this.#now = 0;
  }

  // ── inside ──

  #covers(paddr: number): boolean {
    for (const { from, end } of this.#spans) if (paddr >= from && paddr < end) return true;
    return false;
  }

  #remember(number: number, first: number, end: number): void {
    const before = new Uint8Array((end - first) * LINE_BYTES);
    this.#content.read(number * PAGE_BYTES + first * LINE_BYTES, before, 0, before.length);
    let page = this.#pages.get(number);
    if (page === undefined) this.#pages.set(number, (page = { number, stores: [], forgotten: 0, arrived: new Uint32Array(PAGE_LINES), flushes: [] }));
    page.stores.push({ first, end, before });
    // The second oldest goes: the oldest is what may be there however often is stored.
    if (page.stores.length > STORES_MAX && page.flushes.length === 0) forgetOne(page);
  }

  /** One of the states that a line was in, or one between two. */
  #chosen(page: VolatilePage, line: number, since: number, random: Random): Uint8Array {
    const states: Uint8Array[] = [];
    for (let at = arrivedBy(page, line, since), store = nextStore(page, line, at); store !== null; store = nextStore(page, line, at)) {
      states.push(lineOf(store, line));
      at = page.forgotten + page.stores.indexOf(store) + 1;
    }
    const at = random.below(3) > 0 ? 0 : random.below(states.length);
    const bytes = states[at] as Uint8Array;
    if (random.below(3) > 0) return bytes;
    // Some of the words of the next store had arrived.
    const torn = bytes.slice();
    const next = states[at + 1] ?? this.#newest(page.number * PAGE_BYTES + line * LINE_BYTES);
    for (let word = 0; word < LINE_BYTES; word += WORD_BYTES) if (random.below(2) === 0) torn.set(next.subarray(word, word + WORD_BYTES), word);
    return torn;
  }

  #newest(paddr: number): Uint8Array {
    const bytes = new Uint8Array(LINE_BYTES);
    this.#content.read(paddr, bytes, 0, LINE_BYTES);
    return bytes;
  }
}

/** Stores to a line that have arrived for certain: those fenced, or flushed before the moment `since`. */
function arrivedBy({ arrived, flushes }: VolatilePage, line: number, since: number): number {
  let stores = arrived[line] as number;
  for (const flush of flushes) if (flush.when < since && line >= flush.first && line < flush.end) stores = flush.stores;
  return stores;
}

/** The first store to a line from the `from`-th of the page on. */
function nextStore({ stores, forgotten, arrived }: VolatilePage, line: number, from: number): Store | null {
  for (let i = Math.max(0, Math.max(from, arrived[line] as number) - forgotten); i < stores.length; i++) {
    const store = stores[i] as Store;
    if (line >= store.first && line < store.end) return store;
  }
  return null;
}

function lineOf({ first, before }: Store, line: number): Uint8Array {
  return before.subarray((line - first) * LINE_BYTES, (line - first + 1) * LINE_BYTES);
}

/** The first stores go whose lines are all durable. */
function forgetArrived(page: VolatilePage): void {
  let count = 0;
  for (const { first, end } of page.stores) {
    if (!page.arrived.subarray(first, end).every((stores) => stores > page.forgotten + count)) break;
    count++;
  }
  page.stores.splice(0, count);
  page.forgotten += count;
}

/** A store goes that no line needs as its oldest. */
function forgetOne(page: VolatilePage): void {
  const seen = new Uint8Array(PAGE_LINES);
  for (const [i, { first, end }] of page.stores.entries()) {
    if (i > 0 && seen.subarray(first, end).every((times) => times > 0)) {
      page.stores.splice(i, 1);
      page.arrived.forEach((stores, line) => {
        if (stores > page.forgotten + i) page.arrived[line] = stores - 1;
      });
      return;
    }
    seen.fill(1, first, end);
  }
}
