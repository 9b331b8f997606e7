/**
 * Reading a table that its owner, another thread, is changing (include/linux/mmu_notifier.h: mmu_interval_read_begin and _retry; the
 * tables themselves as a seqcount's readers read).
 *
 * What is promised:
 * - An answer of `translate`, and each 4 KiB page's word of a walk, is what the table said at one moment between the call and its return:
 *   never half of an entry or of a table, never what stands in a frame that is another table's by now. It is taken only if the
 *   table's sequence was even and the same before and after.
 * - Once an operation of the owner's that took a page away, or rights to it, has returned, no call that begins later answers the old page.
 * - `begin` waits until no invalidation of the range is in flight and names that state; `retry` is true when one has begun since. Words
 *   for which it is false after the walk are all true together at that moment: nothing of what they say was taken back. Holes may have
 *   been filled meanwhile, as in the kernel.
 *
 * The owner never waits for a reader. So an answer may be used for as long as `retry` has not been asked after the use: who reads
 * bytes by it throws them away where `retry` says so.
 */
import {
  ACCESS_READ, ACCESS_WRITE, CALL_WINDOW_BYTES, HDR_SEQUENCE, LEVEL_PTE, REQ_BUDGET, REQ_CAPACITY, REQ_DEFAULT, REQ_DEVMAP_BIT, REQ_FLAGS_MASK, REQ_IN, REQ_LEVELS, REQ_MODE, REQ_NONE_WORD, REQ_NPAGES,
  REQ_ACCESS, REQ_ORDER_SHIFT, REQ_OUT, REQ_PFN_SHIFT, REQ_PGMAP, REQ_REQ_FAULT, REQ_REQ_WRITE, REQ_ROOT, REQ_VALID_WORD, REQ_VPN, REQ_WRITE_WORD, REQ_ZERO_PFN, SHARE_ENDED, SHARE_ID,
  SHARE_RING, SHARE_RING_MAX, SHARE_RING_STRIDE, SHARE_SEQUENCE, SHARE_STARTED, STOP_DONE_ALL, STOP_END, STOP_ENTRY, STOP_LEVEL, STOP_NONPRESENT, STOP_REASON, STOP_VPN, WALK_ZERO_OK,
} from '../abi.ts';
import { HmmError } from '../errno.ts';
import { HMM_PFN_ERROR, modernEncoding } from '../hmm/index.ts';
import { framePfn, isProtNone } from '../pgtable/index.ts';
import { addrOf, pagesOfLevel, type Pfn, type Vpn } from '../units.ts';
import type { SharedTableEntry } from './handle.ts';
import type { WorkerPlace } from './place.ts';

/** Words of one walk, and page numbers of one batch: what fits the window. */
export const WINDOW_WORDS = CALL_WINDOW_BYTES / 8;
export const BATCH_MAX = WINDOW_WORDS;
/** a walk that the owner disturbs goes on in pieces, down to so many pages */
const PIECE_MIN_PAGES = 64;
const BATCH_PIECE = 64;
/** looks at a number that changes before it sleeps, and tries before it gives up */
const SPINS = 200;
const TRIES_MAX = 1_000_000;

export class TableReader {
  readonly entry: SharedTableEntry;
  readonly #place: WorkerPlace;
  readonly #sequence: number;
  readonly #id: number;
  readonly #skipsRetry: boolean;
  #piece = WINDOW_WORDS;

  constructor(place: WorkerPlace, entry: SharedTableEntry) {
    this.#place = place;
    this.entry = entry;
    this.#sequence = (entry.share + SHARE_SEQUENCE) >>> 2;
    this.#id = (entry.share + SHARE_ID) >>> 2;
    this.#skipsRetry = place.handle.skipsRetry;
  }

  /** The frame of page `vpn`, or -STOP_* that says why there is none for this access (ACCESS_READ or ACCESS_WRITE). */
  translate(vpn: Vpn, write: boolean): Pfn {
    const { walker, i32 } = this.#place;
    const { root, levels } = this.entry;
    for (let tries = 0; ; tries++) {
      const sequence = Atomics.load(i32, this.#sequence);
      if (sequence % 2 === 0) {
        const pfn = walker.translate(root, levels, vpn, write ? ACCESS_WRITE : ACCESS_READ);
        this.#place.counted();
        if (this.#holds(sequence)) return pfn;
      }
      this.#again('translate', tries, sequence);
    }
  }

  /** translate() for many pages, an answer each; every one true at some moment of the call. At most BATCH_MAX. */
  translateBatch(vpns: Float64Array, write: boolean): Float64Array {
    const place = this.#place;
    const { i32, u32, f64, block, window } = place;
    const fields = [[REQ_ROOT, this.entry.root], [REQ_LEVELS, this.entry.levels], [REQ_ACCESS, write ? ACCESS_WRITE : ACCESS_READ]] as const;
    const frames = new Float64Array(vpns.length);
    place.enter('translate');
    try {
      for (const [field, value] of fields) u32[(block + field) >>> 2] = value;
      let piece = vpns.length;
      for (let done = 0, tries = 0; done < vpns.length; tries++) {
        const count = Math.min(piece, vpns.length - done);
        f64.set(vpns.subarray(done, done + count), window >>> 3);
        u32[(block + REQ_IN) >>> 2] = window;
        u32[(block + REQ_OUT) >>> 2] = window;
        u32[(block + REQ_CAPACITY) >>> 2] = count;
        const sequence = Atomics.load(i32, this.#sequence);
        if (sequence % 2 === 0) {
          place.walker.translateBatch(block);
          place.counted();
          if (this.#holds(sequence)) {
            frames.set(f64.subarray(window >>> 3, (window >>> 3) + count), done);
            done += count;
            tries = -1;
            continue;
          }
          piece = Math.max(BATCH_PIECE, piece >>> 1);
        }
        this.#again('translate', tries, sequence);
      }
      return frames;
    } finally {
      place.leave();
    }
  }

  /** mmu_interval_read_begin(): waits while an invalidation of the space is in flight. Throws EBUSY when it does not end. */
  begin(): number {
    const { i32 } = this.#place;
    const { share } = this.entry;
    for (let tries = 0; ; tries++) {
      const ended = Atomics.load(i32, (share + SHARE_ENDED) >>> 2);
      const started = Atomics.load(i32, (share + SHARE_STARTED) >>> 2);
      if (started === ended) return started;
      this.#again('begin', tries, ended, (share + SHARE_ENDED) >>> 2);
    }
  }

  /** mmu_interval_read_retry(): has an invalidation that touches `[start, end)` begun since `begin` named `seq`? */
  retry(seq: number, start: Vpn, end: Vpn): boolean {
    const { i32, f64 } = this.#place;
    const { share } = this.entry;
    const at = (share + SHARE_STARTED) >>> 2;
    this.#place.counted();
    if (this.#skipsRetry) return false;
    if (!this.#isThere()) return true;
    const begun = ((i32[at] as number) - seq) | 0;
    if (begun === 0) return false;
    // The entry after the newest may be written just now: it is the oldest one's place.
    if (begun < 0 || begun >= SHARE_RING_MAX) return true;
    for (let n = 0; n < begun; n++) {
      const ring = (share + SHARE_RING + ((seq + n) & (SHARE_RING_MAX - 1)) * SHARE_RING_STRIDE) >>> 3;
      if ((f64[ring] as number) < end && (f64[ring + 1] as number) > start) return true;
    }
    this.#place.counted();
    return (((i32[at] as number) - seq) | 0) >= SHARE_RING_MAX;
  }

  /**
   * Walks `[start, start + npages)` into the first words of the window, as hmm_range_fault() does where nothing is asked for: again until
   * nothing was invalidated meanwhile. Returns the state that the words stand for, for `retry`. At most WINDOW_WORDS. Throws EBUSY, ENXIO.
   */
  walk(start: Vpn, npages: number): number {
    const place = this.#place;
    place.enter('walk');
    try {
      for (let tries = 0; tries < TRIES_MAX; tries++) {
        const seq = this.begin();
        this.#prepare();
        for (let at = start; at < start + npages; ) at = this.#walkPiece(at, start, start + npages);
        if (!this.retry(seq, start, start + npages)) return seq;
        place.retried();
        this.#check('walk');
      }
    } finally {
      place.leave();
    }
    throw new HmmError('EBUSY', 'walk', 'the range did not settle', addrOf(start));
  }

  /** Copies the bytes at page `vpn`, byte `within`, that lie in this page, to `target[at…]`; false, with nothing of it good, where the page is not mapped or was taken away meanwhile. */
  copy(vpn: Vpn, within: number, target: Uint8Array, at: number, length: number): boolean {
    const { i32, u8, walker } = this.#place;
    const seq = this.begin();
    const contents = Atomics.load(i32, HDR_SEQUENCE >>> 2);
    const pfn = this.translate(vpn, false);
    if (pfn < 0) return false;
    const offset = walker.contentOffset(pfn * 4096 + within) >>> 0;
    if (offset === 0) target.fill(0, at, at + length);
    else target.set(u8.subarray(offset, offset + length), at);
    this.#place.counted();
    return contents % 2 === 0 && Atomics.load(i32, HDR_SEQUENCE >>> 2) === contents && !this.retry(seq, vpn, vpn + 1);
  }

  // ── inside ──

  /** Is what was read since the sequence was `sequence` good? To be asked after `counted`, whose fence keeps these reads behind those. */
  #holds(sequence: number): boolean {
    return this.#skipsRetry || (this.#place.i32[this.#sequence] === sequence && this.#isThere());
  }

  #isThere(): boolean {
    return this.#place.i32[this.#id] === this.entry.id;
  }

  /** Throws ENXIO where the machine was reset, EFAULT where the table is gone. */
  #check(op: string): void {
    this.#place.check(op);
    if (!this.#isThere()) throw new HmmError('EFAULT', op, `${this.entry.kind} ${this.entry.name} has ended`);
  }

  /** Before the next try: looks whether there is a table at all, and sleeps when the number at index `at` stays `value`. */
  #again(op: string, tries: number, value: number, at = this.#sequence): void {
    this.#check(op);
    this.#place.retried();
    if (tries < SPINS) return;
    if (this.#place.sleep(at, value) && tries > SPINS + this.#place.patienceMs) throw new HmmError('EBUSY', op, `${this.entry.name} did not settle within ${this.#place.patienceMs} ms`);
    if (tries > TRIES_MAX) throw new HmmError('EBUSY', op, `${this.entry.name} changes faster than it can be read`);
  }

  /** Fills in all of the request but the range. */
  #prepare(): void {
    const { u32, u64, f64, block, handle } = this.#place;
    const { devmapBit, orderShift, zeroPfn } = handle.constants;
    const e = modernEncoding(orderShift);
    u32[(block + REQ_ROOT) >>> 2] = this.entry.root;
    u32[(block + REQ_LEVELS) >>> 2] = this.entry.levels;
    u32[(block + REQ_MODE) >>> 2] = WALK_ZERO_OK;
    u32[(block + REQ_BUDGET) >>> 2] = 0;
    u32[(block + REQ_PGMAP) >>> 2] = 0;
    u32[(block + REQ_DEVMAP_BIT) >>> 2] = devmapBit;
    u32[(block + REQ_PFN_SHIFT) >>> 2] = e.pfnShift;
    u32[(block + REQ_ORDER_SHIFT) >>> 2] = e.orderShift;
    u64[(block + REQ_VALID_WORD) >>> 3] = e.valid;
    u64[(block + REQ_WRITE_WORD) >>> 3] = e.write;
    u64[(block + REQ_NONE_WORD) >>> 3] = e.none;
    u64[(block + REQ_REQ_FAULT) >>> 3] = e.reqFault;
    u64[(block + REQ_REQ_WRITE) >>> 3] = e.reqWrite;
    u64[(block + REQ_FLAGS_MASK) >>> 3] = 0n;
    u64[(block + REQ_DEFAULT) >>> 3] = 0n;
    f64[(block + REQ_ZERO_PFN) >>> 3] = zeroPfn;
  }

  /** Walks on from `at`; returns where the next piece begins. Pieces get smaller while the owner changes the table under them. */
  #walkPiece(at: Vpn, start: Vpn, end: Vpn): Vpn {
    const { i32, u32, f64, block, window, walker } = this.#place;
    for (let tries = 0; ; tries++) {
      const npages = Math.min(this.#piece, end - at);
      f64[(block + REQ_VPN) >>> 3] = at;
      u32[(block + REQ_NPAGES) >>> 2] = npages;
      u32[(block + REQ_OUT) >>> 2] = window + (at - start) * 8;
      const sequence = Atomics.load(i32, this.#sequence);
      if (sequence % 2 === 0) {
        walker.walk(block);
        this.#place.counted();
        if (this.#holds(sequence)) {
          this.#piece = Math.min(WINDOW_WORDS, this.#piece * 2);
          return u32[(block + STOP_REASON) >>> 2] === STOP_DONE_ALL ? at + npages : this.#pass(start);
        }
        this.#piece = Math.max(PIECE_MIN_PAGES, this.#piece >>> 1);
      }
      this.#again('walk', tries, sequence);
    }
  }

  /** Words for the entry at which the walk stopped, neither present nor none or of no page (hmm/rangeFault.ts). Returns its end. */
  #pass(start: Vpn): Vpn {
    const { u32, u64, f64, block, window } = this.#place;
    const from = f64[(block + STOP_VPN) >>> 3] as number;
    const end = f64[(block + STOP_END) >>> 3] as number;
    const level = u32[(block + STOP_LEVEL) >>> 2] as number;
    const [lo, hi] = [u32[(block + STOP_ENTRY) >>> 2] as number, u32[((block + STOP_ENTRY) >>> 2) + 1] as number];
    const nonPresent = u32[(block + STOP_REASON) >>> 2] === STOP_NONPRESENT;
    const word = (window >>> 3) - start;
    if (nonPresent && isProtNone(lo)) {
      const pfn = framePfn(lo, hi) + (from % pagesOfLevel(level));
      for (let vpn = from; vpn < end; vpn++) u64[word + vpn] = BigInt(pfn + (vpn - from));
    } else {
      u64.fill(nonPresent && level === LEVEL_PTE ? 0n : HMM_PFN_ERROR, word + from, word + end);
    }
    return end;
  }
}
