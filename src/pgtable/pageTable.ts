/**
 * A page table: one type for processes, devices and KVM guests. All of it lies in the arena; this is the handle.
 *
 * `look` and `slot` leave what they found in the handle's own fields (`offset`, `level`, `lo`, `hi`), to be read at
 * once: fault paths create no objects. Addresses are page numbers, ranges `[vpn, vpn + npages)`.
 */
import {
  HDR_TABLES_CHANGED, REQ_ACCESS, REQ_AND, REQ_CAPACITY, REQ_IN, REQ_LEVEL, REQ_LEVELS, REQ_MODE, REQ_NPAGES,
  REQ_OR, REQ_OR_IF_DIRTY, REQ_OUT, REQ_PFN, REQ_PFN_SHIFT, REQ_ROOT, REQ_VALID_WORD, REQ_VPN, REQ_WRITE_WORD, REQ_NONE_WORD, SHARE_ID, SHARE_SEQUENCE,
  STOP_CHANGED, STOP_DONE_ALL, STOP_LEAVES, STOP_LEVEL, STOP_NO_MEMORY, STOP_PARTIAL, STOP_REASON, STOP_VPN, WALK_FREE_TABLES,
} from '../abi.ts';
import type { Arena } from '../arena/index.ts';
import { HmmError, invariant } from '../errno.ts';
import { alignDown, pagesOfLevel, type Pfn, type Vpn } from '../units.ts';
import { isLeaf, isNone } from './entry.ts';

/** What zap or protect does where a range cuts a huge leaf: the owner splits or drops it, then it goes on. */
export type PartialLeaf = (vpn: Vpn, level: number) => void;

/** Counts of pages are u32 in a request: longer ranges go in calls that end where no leaf is cut. */
const CALL_PAGES = 2 ** 31;
/** pages that are translated at a time: 32 KiB, which stay near */
const BATCH_PAGES = 4096;

function callEnd(vpn: Vpn, end: Vpn): Vpn {
  return Math.min(end, alignDown(vpn, CALL_PAGES) + CALL_PAGES);
}

export class PageTable {
  readonly arena: Arena;
  readonly root: number;
  /** 4, or 5 for LA57 */
  readonly levels: number;
  /** the entry found last: its arena offset, its level, its halves */
  offset = 0;
  level = 0;
  lo = 0;
  hi = 0;
  readonly #req: number;
  /** arena offset of what Workers read of this table's changes (SHARE_*), or 0: it is not shared */
  #share = 0;
  /** the page that was found last, and the arena's count of changed entries then */
  #foundFor: Vpn = -1;
  #changesThen = 0;

  /** Throws ENOMEM when there is no frame for the top table. */
  constructor(arena: Arena, levels: 4 | 5) {
    this.arena = arena;
    this.levels = levels;
    this.#req = arena.request();
    this.root = arena.frameAlloc();
    if (this.root === 0) throw new HmmError('ENOMEM', 'pgd_alloc', 'no table frame left in the arena');
  }

  /** First page number that this table cannot map for a process: 2^35 pages of 47 bits, 2^44 of 56. */
  get endVpn(): Vpn {
    return this.levels === 4 ? 2 ** 35 : 2 ** 44;
  }

  /** Finds the entry at which the walk to `vpn` ends; true when the processor could use it as a leaf. */
  look(vpn: Vpn): boolean {
    const found = this.arena.walker.descend(this.root, this.levels, vpn) >>> 0;
    if (found === 0) invariant(false, `bad page table at page 0x${vpn.toString(16)}`);
    this.#found(vpn, found);
    return isLeaf(this.level, this.lo);
  }

  /**
   * Makes sure that there is an entry at `level` for `vpn`, and finds it; where a leaf stands above, finds that. False when
   * there is no table frame: then nothing has changed.
   */
  slot(vpn: Vpn, level: number): boolean {
    // A fault looks first: where that ended at `level` and no entry has changed since, it is the slot.
    if (vpn === this.#foundFor && level === this.level && this.#changesThen === this.arena.u32[HDR_TABLES_CHANGED >>> 2]) {
      this.#load();
      return true;
    }
    if (this.#share !== 0) this.#changing();
    const found = this.arena.walker.slot(this.root, this.levels, vpn, level) >>> 0;
    if (this.#share !== 0) this.#changing();
    if (found === 0) return false;
    this.#found(vpn, found);
    return true;
  }

  /** True when the entry found last is none. */
  get none(): boolean {
    return isNone(this.lo, this.hi);
  }

  /** Writes the entry found last, in one 64-bit store. */
  set(pfn: Pfn, flagsLo: number, flagsHi: number): void {
    if (this.#share !== 0) this.#replacing();
    this.arena.walker.setEntry(this.offset, pfn, flagsLo, flagsHi);
  }

  /** Writes the entry found last, both halves as they are. */
  setRaw(lo: number, hi: number): void {
    if (this.#share !== 0) this.#replacing();
    this.arena.walker.setRaw(this.offset, lo, hi);
  }

  /** The frame of the 4 KiB page `vpn`, or -STOP_* where a walk with `access` (ACCESS_*) ends. */
  translate(vpn: Vpn, access: number): number {
    return this.arena.walker.translate(this.root, this.levels, vpn, access);
  }

  /** `translate` for many pages in one walk of theirs: an answer each. Throws ENOMEM when the arena has no room for them. */
  translatePages(vpns: Float64Array, access: number): Float64Array {
    const frames = new Float64Array(vpns.length);
    const { u32, f64, walker } = this.arena;
    const window = this.arena.window(Math.min(vpns.length, BATCH_PAGES));
    const at = window.offset / 8;
    for (let done = 0; done < vpns.length; done += BATCH_PAGES) {
      const piece = vpns.subarray(done, done + BATCH_PAGES);
      const r = this.#begin(0, 0, 0);
      u32[(r + REQ_ACCESS) >>> 2] = access;
      u32[(r + REQ_CAPACITY) >>> 2] = piece.length;
      u32[(r + REQ_IN) >>> 2] = window.offset;
      u32[(r + REQ_OUT) >>> 2] = window.offset;
      f64.set(piece, at);
      walker.translateBatch(r);
      frames.set(f64.subarray(at, at + piece.length), done);
    }
    window.free();
    return frames;
  }

  /** Maps contiguous frames by leaves of one level. Returns pages mapped; fewer than asked only with the reason in `stopReason`. */
  map(vpn: Vpn, pfn: Pfn, npages: number, level: number, flagsLo: number, flagsHi: number): number {
    const { u32, f64 } = this.arena;
    const r = this.#begin(vpn, npages, 0);
    f64[(r + REQ_PFN) >>> 3] = pfn;
    u32[(r + REQ_LEVEL) >>> 2] = level;
    u32[(r + REQ_OR) >>> 2] = flagsLo;
    u32[(r + REQ_OR + 4) >>> 2] = flagsHi;
    if (this.#share !== 0) this.#changing();
    const done = this.arena.walker.map(r) >>> 0;
    if (this.#share !== 0) this.#changing();
    return done;
  }

  /** STOP_* of the last map, zap, protect or install. */
  get stopReason(): number {
    return this.arena.u32[(this.#req + STOP_REASON) >>> 2] as number;
  }

  /** Clears every leaf in the range and returns how many there were. `partial` is called where the range cuts a huge leaf and must see to it that none is there afterwards. */
  zap(vpn: Vpn, npages: number, options: { partial?: PartialLeaf; freeTables?: boolean } = {}): number {
    const end = vpn + npages;
    const { partial, freeTables = false } = options;
    let cleared = 0;
    for (let at = vpn; at < end; ) {
      const upTo = callEnd(at, end);
      const r = this.#begin(at, upTo - at, freeTables ? WALK_FREE_TABLES : 0);
      if (this.#share !== 0) this.#changing();
      this.arena.walker.zap(r);
      if (this.#share !== 0) this.#changing();
      const reason = this.stopReason;
      cleared += this.arena.u32[(r + STOP_CHANGED) >>> 2] as number;
      if (reason === STOP_DONE_ALL) {
        at = upTo;
        continue;
      }
      invariant(reason === STOP_PARTIAL && partial !== undefined, `zap stopped for reason ${reason}`);
      const stopVpn = this.arena.f64[(r + STOP_VPN) >>> 3] as number;
      const stopLevel = this.arena.u32[(r + STOP_LEVEL) >>> 2] as number;
      partial(alignDown(stopVpn, pagesOfLevel(stopLevel)), stopLevel);
      at = stopVpn;
    }
    return cleared;
  }

  /**
   * Rewrites every present leaf in the range as `(entry & ~clear) | set`, and `| setIfDirty` where it is dirty. Low flag bits
   * only. Returns how many changed.
   */
  protect(vpn: Vpn, npages: number, clear: number, set: number, options: { setIfDirty?: number; partial?: PartialLeaf } = {}): number {
    const end = vpn + npages;
    let changed = 0;
    for (let at = vpn; at < end; ) {
      const { u32 } = this.arena;
      const upTo = callEnd(at, end);
      const r = this.#begin(at, upTo - at, 0);
      u32[(r + REQ_AND) >>> 2] = ~clear >>> 0;
      u32[(r + REQ_AND + 4) >>> 2] = 0xffffffff;
      u32[(r + REQ_OR) >>> 2] = set;
      u32[(r + REQ_OR + 4) >>> 2] = 0;
      u32[(r + REQ_OR_IF_DIRTY) >>> 2] = options.setIfDirty ?? 0;
      u32[(r + REQ_OR_IF_DIRTY + 4) >>> 2] = 0;
      if (this.#share !== 0) this.#changing();
      this.arena.walker.protect(r);
      if (this.#share !== 0) this.#changing();
      changed += u32[(r + STOP_CHANGED) >>> 2] as number;
      const reason = this.stopReason;
      if (reason === STOP_DONE_ALL) {
        at = upTo;
        continue;
      }
      invariant(reason === STOP_PARTIAL && options.partial !== undefined, `protect stopped for reason ${reason}`);
      const stopVpn = this.arena.f64[(r + STOP_VPN) >>> 3] as number;
      const level = u32[(r + STOP_LEVEL) >>> 2] as number;
      options.partial(alignDown(stopVpn, pagesOfLevel(level)), level);
      at = stopVpn;
    }
    return changed;
  }

  /** First page in `[vpn, end)` with anything at `level` or above, or -1. */
  nextEntry(vpn: Vpn, end: Vpn, level: number): Vpn | -1 {
    return this.arena.walker.nextEntry(this.root, this.levels, vpn, end, level);
  }

  /** Replaces the huge leaf over `vpn` at `level` by a table of leaves one level lower. False when there is no frame. */
  split(vpn: Vpn, level: number): boolean {
    if (this.#share !== 0) this.#changing();
    const reason = this.arena.walker.split(this.root, this.levels, vpn, level);
    if (this.#share !== 0) this.#changing();
    return reason !== STOP_NO_MEMORY;
  }

  /**
   * Fills this (device's) table from output words of a range walk: leaves as large as the words allow. Returns pages
   * answered; fewer than asked when table frames ran out.
   */
  install(vpn: Vpn, npages: number, words: { offset: number; pfnShift: number; pfnMask: bigint; valid: bigint; write: bigint; none: bigint }, flagsLo: number): number {
    const { u32, u64 } = this.arena;
    const r = this.#begin(vpn, npages, 0);
    u32[(r + REQ_IN) >>> 2] = words.offset;
    u32[(r + REQ_PFN_SHIFT) >>> 2] = words.pfnShift;
    u64[(r + REQ_AND) >>> 3] = words.pfnMask;
    u64[(r + REQ_VALID_WORD) >>> 3] = words.valid;
    u64[(r + REQ_WRITE_WORD) >>> 3] = words.write;
    u64[(r + REQ_NONE_WORD) >>> 3] = words.none;
    u32[(r + REQ_OR) >>> 2] = flagsLo;
    u32[(r + REQ_OR + 4) >>> 2] = 0;
    if (this.#share !== 0) this.#changing();
    const done = this.arena.walker.install(r) >>> 0;
    if (this.#share !== 0) this.#changing();
    return done;
  }

  /** Leaves of `level` that the last install made. */
  installed(level: number): number {
    return this.arena.u32[((this.#req + STOP_LEAVES) >>> 2) + level] as number;
  }

  freeTables(vpn: Vpn, npages: number): number {
    if (this.#share !== 0) this.#changing();
    const freed = this.arena.walker.freeTables(this.root, this.levels, vpn, npages) >>> 0;
    if (this.#share !== 0) this.#changing();
    return freed;
  }

  /** Table frames in use, the top one included. */
  get frames(): number {
    return this.arena.walker.tableCount(this.root, this.levels) >>> 0;
  }

  /** Gives all frames back; the handle is dead. Leaves are not looked at. */
  destroy(): void {
    if (this.#share !== 0) Atomics.store(this.arena.i32, (this.#share + SHARE_ID) >>> 2, 0); // before a frame of it can be another's
    this.#share = 0;
    this.arena.walker.freeSpace(this.root, this.levels);
  }

  /**
   * Lets Workers walk it: from now on the sequence of `share` (SHARE_* of abi.ts) tells of changes, and its id is 0 once the
   * table is gone. A table that is not shared pays one predictable branch a change.
   */
  set share(share: number) {
    this.#share = share;
  }

  get share(): number {
    return this.#share;
  }

  /** Fills in what every range call needs and returns the request's offset. */
  #begin(vpn: Vpn, npages: number, mode: number): number {
    invariant(npages <= CALL_PAGES, `a call over ${npages} pages`);
    const r = this.#req;
    const { u32, f64 } = this.arena;
    f64[(r + REQ_VPN) >>> 3] = vpn;
    u32[(r + REQ_NPAGES) >>> 2] = npages;
    u32[(r + REQ_ROOT) >>> 2] = this.root;
    u32[(r + REQ_LEVELS) >>> 2] = this.levels;
    u32[(r + REQ_MODE) >>> 2] = mode;
    return r;
  }

  /**
   * Before one entry of a shared table is replaced, by a store that nobody sees half of: a reader has the old one or the new, and either
   * is true. The addition is a fence: what lies behind the new entry is there before it.
   */
  #replacing(): void {
    Atomics.add(this.arena.i32, (this.#share + SHARE_SEQUENCE) >>> 2, 2);
  }

  /** Before and after every other change of a shared table: Workers take nothing of what they read meanwhile. */
  #changing(): void {
    Atomics.add(this.arena.i32, (this.#share + SHARE_SEQUENCE) >>> 2, 1);
  }

  #found(vpn: Vpn, found: number): void {
    this.level = found & 7;
    this.offset = found - this.level;
    this.#foundFor = vpn;
    this.#changesThen = this.arena.u32[HDR_TABLES_CHANGED >>> 2] as number;
    this.#load();
  }

  #load(): void {
    const i = this.offset >>> 2;
    this.lo = this.arena.u32[i] as number;
    this.hi = this.arena.u32[i + 1] as number;
  }
}

