/**
 * Disjoint intervals [start, end) of integers in order, each with a value: what VMAs, file extents and used
 * blocks have in common.
 *
 * Slots of up to 64 intervals (slots.ts), `#order` the slots in order of address, `#lastEnds` where each ends. A search
 * is branch-free and touches packed numbers only: O(log n). Insert and remove move at most one slot's worth and, once
 * in tens of times, the names of the slots after it.
 * One cursor belongs to the list: `seek` places it, `start`, `end` and `value` read it, `remove` and `setBounds` act on it.
 *
 * Each slot knows an upper bound of the gaps before its intervals, so a search for free room skips slots without
 * any. The bound only rises on changes; a search that went through a slot in vain lowers it to the truth.
 *
 * For the rooms' own use: arguments are not checked here, the classes in front of it do.
 */
import { SLOT, Slots, widened } from './slots.ts';

export class IntervalList<T> {
  #slots = new Slots<T>();
  // by position, in order of address
  #order = new Int32Array(1);
  #lastEnds = new Float64Array(1);
  /** no gap before an interval of that slot is wider */
  #gapMax = new Float64Array(1);
  /** slots in order */
  #used = 0;
  #count = 0;
  // the cursor: position of a slot and index in it; past the end it is (#used, 0)
  #c = 0;
  #i = 0;

  get count(): number {
    return this.#count;
  }

  /** Places the cursor on the first interval that ends after `page`; false, and past the end, if there is none. */
  seek(page: number): boolean {
    const used = this.#used;
    const ends = this.#slots.ends;
    if (this.#c < used) {
      // Mostly the same one is asked for again; one test of both, which is no coin toss where it never is. Of the end before it, because
      // nothing else of a search brings starts into the caches.
      const at = this.#order[this.#c]! * SLOT + this.#i;
      if (+(ends[at]! > page) & +((this.#i > 0 ? ends[at - 1]! : this.#slots.starts[at]!) <= page)) return true;
    }
    if (used === 0) return false;
    const c = this.#positionOf(page);
    this.#c = c;
    this.#i = 0;
    if (c === used) return false;
    const slot = this.#order[c]!;
    const base = slot * SLOT;
    const length = this.#slots.lengths[slot]!;
    // Eight at a time by looks that do not wait for each other: among many intervals each is a cache miss.
    let at = base;
    for (let eighth = base + 7; eighth < base + length; eighth += 8) at += 8 & -(ends[eighth]! <= page);
    let n = Math.min(8, base + length - at);
    while (n > 1) {
      const half = n >>> 1;
      at += half & -(ends[at + half - 1]! <= page);
      n -= half;
    }
    this.#i = at % SLOT; // of what is left one ends after `page`
    return true;
  }

  /** The value of the first interval that ends after `page`, or null; the cursor goes there. */
  find(page: number): T | null {
    return this.seek(page) ? this.value : null;
  }

  /** False when the cursor is past the end. */
  get valid(): boolean {
    return this.#c < this.#used;
  }

  // What the cursor stands on; only while `valid`.
  get start(): number {
    return this.#slots.starts[this.#order[this.#c]! * SLOT + this.#i]!;
  }

  get end(): number {
    return this.#slots.ends[this.#order[this.#c]! * SLOT + this.#i]!;
  }

  get value(): T {
    return this.#slots.values[this.#order[this.#c]! * SLOT + this.#i]!;
  }

  set value(value: T) {
    this.#slots.values[this.#order[this.#c]! * SLOT + this.#i] = value;
  }

  /** One interval on; false, and past the end, after the last. The cursor was valid. */
  toNext(): boolean {
    if (++this.#i < this.#slots.lengths[this.#order[this.#c]!]!) return true;
    this.#c++;
    this.#i = 0;
    return this.#c < this.#used;
  }

  /** One interval back, also from past the end; false, and unmoved, before the first. */
  toPrev(): boolean {
    if (this.#i > 0) {
      this.#i--;
      return true;
    }
    if (this.#c === 0) return false;
    this.#c--;
    this.#i = this.#slots.lengths[this.#order[this.#c]!]! - 1;
    return true;
  }

  /** Adds [start, end), cursor on it. False, and nothing changed, if that would overlap; the cursor then stands on the first overlapped. */
  insert(start: number, end: number, value: T): boolean {
    if (this.seek(start) && this.start < end) return false;
    if (this.#c === this.#used) {
      if (this.#c === 0) this.#addSlot(0);
      else this.#c--;
      this.#i = this.#slots.lengths[this.#order[this.#c]!]!;
    }
    if (this.#slots.lengths[this.#order[this.#c]!] === SLOT) this.#split();
    const slot = this.#order[this.#c]!;
    if (this.#i === this.#slots.lengths[slot]) this.#lastEnds[this.#c] = end;
    this.#slots.insert(slot, this.#i, start, end, value);
    this.#count++;
    this.#noteGap(this.#c, this.#i);
    return true;
  }

  /** Takes out what the cursor stands on; the cursor goes to the interval after it. */
  remove(): void {
    const c = this.#c;
    const slot = this.#order[c]!;
    const length = this.#slots.remove(slot, this.#i);
    this.#count--;
    if (length === 0) {
      this.#dropSlot(c);
    } else if (this.#i === length) {
      this.#lastEnds[c] = this.#slots.ends[slot * SLOT + length - 1]!;
      this.#c++;
      this.#i = 0;
    }
    if (this.#c < this.#used) this.#noteGap(this.#c, this.#i);
    if (length > 0 && length < SLOT / 4) this.#merge(c);
  }

  /** Moves the bounds of what the cursor stands on. False, and nothing changed, if it would meet a neighbour. */
  setBounds(start: number, end: number): boolean {
    const c = this.#c;
    const i = this.#i;
    const slot = this.#order[c]!;
    const at = slot * SLOT + i;
    const last = i === this.#slots.lengths[slot]! - 1;
    const nextC = last ? c + 1 : c;
    const nextI = last ? 0 : i + 1;
    if (start < this.#endBefore(c, i)) return false;
    if (nextC < this.#used && this.#slots.starts[this.#order[nextC]! * SLOT + nextI]! < end) return false;
    this.#slots.starts[at] = start;
    this.#slots.ends[at] = end;
    if (last) this.#lastEnds[c] = end;
    this.#noteGap(c, i);
    if (nextC < this.#used) this.#noteGap(nextC, nextI);
    return true;
  }

  /** Forgets all, at once. */
  clear(): void {
    if (this.#count === 0) return;
    this.#slots = new Slots();
    this.#used = this.#count = this.#c = this.#i = 0;
  }

  /** The lowest a with low <= a, a + npages <= high, a = offset (mod align) and nothing in [a, a + npages); -1 if there is none. The cursor moves. */
  gapUp(npages: number, low: number, high: number, align: number, offset: number): number {
    let from = low;
    if (this.seek(low) && this.start <= low) {
      from = this.end;
      this.toNext();
    }
    const used = this.#used;
    const gapMax = this.#gapMax;
    const lastEnds = this.#lastEnds;
    const { starts, ends } = this.#slots;
    const first = this.#c;
    for (let c = first; c < used; c++) {
      if (gapMax[c]! < npages) continue;
      if (c > first) from = lastEnds[c - 1]!;
      if (from + npages > high) return -1;
      const slot = this.#order[c]!;
      const past = slot * SLOT + this.#slots.lengths[slot]!;
      const i = c > first ? 0 : this.#i;
      let widest = i === 0 ? starts[slot * SLOT]! - this.#endBefore(c, 0) : Infinity;
      for (let at = slot * SLOT + i; at < past; at++) {
        const start = starts[at]!;
        const room = start - from;
        if (room > widest) widest = room;
        if (room >= npages) {
          const page = align === 1 ? from : alignUp(from, align, offset);
          if (page + npages <= (start < high ? start : high)) return page;
        }
        if (start >= high) return -1;
        from = ends[at]!;
      }
      if (widest < gapMax[c]!) gapMax[c] = widest;
    }
    if (used > first) from = lastEnds[used - 1]!;
    const page = align === 1 ? from : alignUp(from, align, offset);
    return page + npages <= high ? page : -1;
  }

  /** The highest such a; otherwise as gapUp. */
  gapDown(npages: number, low: number, high: number, align: number, offset: number): number {
    if (!this.seek(high - 1)) {
      const page = lastFit(npages, Math.max(low, this.#endBefore(this.#c, 0)), high, align, offset);
      if (page >= 0) return page;
      if (!this.toPrev()) return -1;
    }
    const gapMax = this.#gapMax;
    const { starts, ends } = this.#slots;
    const first = this.#c;
    for (let c = first; c >= 0; c--) {
      if (gapMax[c]! < npages) continue;
      const slot = this.#order[c]!;
      const last = this.#slots.lengths[slot]! - 1;
      const i = c < first ? last : this.#i;
      let widest = i === last ? 0 : Infinity;
      for (let at = slot * SLOT + i; at >= slot * SLOT; at--) {
        const start = starts[at]!;
        const before = at > slot * SLOT ? ends[at - 1]! : this.#endBefore(c, 0);
        const room = start - before;
        if (room > widest) widest = room;
        if (room >= npages) {
          const page = lastFit(npages, before > low ? before : low, start < high ? start : high, align, offset);
          if (page >= 0) return page;
        }
        if (before < low + npages) return -1;
      }
      if (widest < gapMax[c]!) gapMax[c] = widest;
    }
    return -1;
  }

  /** The position of the first slot that ends after `page`, or `#used`; there is one slot at least. By quarters: three looks that do not wait for each other. */
  #positionOf(page: number): number {
    const lastEnds = this.#lastEnds;
    let c = 0;
    let n = this.#used;
    while (n > 3) {
      const quarter = n >>> 2;
      c += quarter * (+(lastEnds[c + quarter - 1]! <= page) + +(lastEnds[c + 2 * quarter - 1]! <= page) + +(lastEnds[c + 3 * quarter - 1]! <= page));
      n -= 3 * quarter;
    }
    while (n > 1) {
      const half = n >>> 1;
      c += half & -(lastEnds[c + half - 1]! <= page);
      n -= half;
    }
    return c + +(lastEnds[c]! <= page);
  }

  /** The end of the interval before position (c, i), or 0. */
  #endBefore(c: number, i: number): number {
    if (i > 0) return this.#slots.ends[this.#order[c]! * SLOT + i - 1]!;
    return c > 0 ? this.#lastEnds[c - 1]! : 0;
  }

  #noteGap(c: number, i: number): void {
    const gap = this.#slots.starts[this.#order[c]! * SLOT + i]! - this.#endBefore(c, i);
    if (gap > this.#gapMax[c]!) this.#gapMax[c] = gap;
  }

  /** Puts an empty slot at position c. */
  #addSlot(c: number): void {
    const used = this.#used++;
    if (used === this.#order.length) {
      this.#order = widened(this.#order, new Int32Array(2 * used));
      this.#lastEnds = widened(this.#lastEnds, new Float64Array(2 * used));
      this.#gapMax = widened(this.#gapMax, new Float64Array(2 * used));
    }
    this.#order.copyWithin(c + 1, c, used);
    this.#lastEnds.copyWithin(c + 1, c, used);
    this.#gapMax.copyWithin(c + 1, c, used);
    this.#order[c] = this.#slots.take();
    this.#gapMax[c] = 0;
  }

  #dropSlot(c: number): void {
    this.#slots.give(this.#order[c]!);
    this.#order.copyWithin(c, c + 1, this.#used);
    this.#lastEnds.copyWithin(c, c + 1, this.#used);
    this.#gapMax.copyWithin(c, c + 1, this.#used);
    this.#used--;
  }

  /** Makes room in the full slot under the cursor, which keeps its place: a new slot at either edge, else two halves. */
  #split(): void {
    if (this.#i === 0 || this.#i === SLOT) {
      if (this.#i > 0) this.#c++;
      this.#i = 0;
      this.#addSlot(this.#c);
      return;
    }
    const half = SLOT / 2;
    this.#addSlot(this.#c + 1);
    const slot = this.#order[this.#c]!;
    const upper = this.#order[this.#c + 1]!;
    this.#slots.move(slot, half, upper);
    this.#gapMax[this.#c + 1] = this.#gapMax[this.#c]!;
    this.#lastEnds[this.#c + 1] = this.#lastEnds[this.#c]!;
    this.#lastEnds[this.#c] = this.#slots.ends[slot * SLOT + half - 1]!;
    if (this.#i > half) {
      this.#c++;
      this.#i -= half;
    }
  }

  /** Joins the thin slot at position c with the one after it where both leave room to grow. */
  #merge(c: number): void {
    if (c + 1 === this.#used) return;
    const slot = this.#order[c]!;
    const upper = this.#order[c + 1]!;
    const length = this.#slots.lengths[slot]!;
    if (length + this.#slots.lengths[upper]! > SLOT / 2) return;
    this.#slots.move(upper, 0, slot);
    this.#gapMax[c] = Math.max(this.#gapMax[c]!, this.#gapMax[c + 1]!);
    this.#lastEnds[c] = this.#lastEnds[c + 1]!;
    this.#dropSlot(c + 1);
    if (this.#c === c + 1) {
      this.#c = c;
      this.#i += length;
    } else if (this.#c > c + 1) {
      this.#c--;
    }
  }
}

/** How far `page` is above the last number that is `offset` modulo `align`. Exact below 2^52, and faster than `%`, which is a call on such numbers. */
function excess(page: number, align: number, offset: number): number {
  const distance = page - offset;
  return distance - Math.floor(distance / align) * align;
}

/** `page` raised to the next number that is `offset` modulo `align`. */
function alignUp(page: number, align: number, offset: number): number {
  const over = excess(page, align, offset);
  return over === 0 ? page : page + align - over;
}

/** The highest page of [low, high) with room for `npages` up to `high` and the right remainder, or -1. */
function lastFit(npages: number, low: number, high: number, align: number, offset: number): number {
  if (high - low < npages) return -1;
  const page = high - npages - (align === 1 ? 0 : excess(high - npages, align, offset));
  return page >= low ? page : -1;
}
