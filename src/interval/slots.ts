/**
 * Where IntervalList keeps its intervals: slots of up to 64, side by side in the same packed arrays, so that a search
 * follows no pointers. Interval `i` of slot `s` is at `s * SLOT + i`. Which slots are in use, and in what order, is the list's.
 */

export const SLOT = 64;
/** a file of one extent should not pay for 64 */
const FIRST = 4;

export class Slots<T> {
  starts = new Float64Array(FIRST);
  ends = new Float64Array(FIRST);
  readonly values: (T | null)[] = [];
  /** intervals in each slot */
  lengths = new Int32Array(1);
  #made = 0;
  readonly #spare: number[] = [];

  /** An empty slot. */
  take(): number {
    const slot = this.#spare.pop() ?? this.#made++;
    if (slot === this.lengths.length) this.lengths = widened(this.lengths, new Int32Array(2 * slot));
    this.lengths[slot] = 0;
    return slot;
  }

  /** Hands an empty slot back. */
  give(slot: number): void {
    this.#spare.push(slot);
  }

  /** Puts an interval at index `i` of a slot that is not full; those from there on move up. */
  insert(slot: number, i: number, start: number, end: number, value: T): void {
    const past = slot * SLOT + this.lengths[slot]!++;
    this.#reserve(past + 1);
    const at = slot * SLOT + i;
    const { starts, ends, values } = this;
    for (let k = past; k > at; k--) {
      starts[k] = starts[k - 1]!;
      ends[k] = ends[k - 1]!;
      values[k] = values[k - 1]!;
    }
    starts[at] = start;
    ends[at] = end;
    values[at] = value;
  }

  /** Takes out interval `i`; those after it move down. Returns how many are left. */
  remove(slot: number, i: number): number {
    const length = --this.lengths[slot]!;
    const last = slot * SLOT + length;
    const { starts, ends, values } = this;
    for (let k = slot * SLOT + i; k < last; k++) {
      starts[k] = starts[k + 1]!;
      ends[k] = ends[k + 1]!;
      values[k] = values[k + 1]!;
    }
    values[last] = null;
    return length;
  }

  /** Appends what slot `from` holds from index `first` on to slot `to`, which has room for it. */
  move(from: number, first: number, to: number): void {
    const source = from * SLOT + first;
    const target = to * SLOT + this.lengths[to]!;
    const n = this.lengths[from]! - first;
    this.#reserve(target + n);
    this.starts.copyWithin(target, source, source + n);
    this.ends.copyWithin(target, source, source + n);
    for (let k = 0; k < n; k++) {
      this.values[target + k] = this.values[source + k]!;
      this.values[source + k] = null;
    }
    this.lengths[to]! += n;
    this.lengths[from] = first;
  }

  /** Makes the arrays reach to `length`: doubled, and in whole slots above one. */
  #reserve(length: number): void {
    if (length > this.starts.length) {
      const capacity = Math.max(2 * this.starts.length, length > SLOT ? Math.ceil(length / SLOT) * SLOT : length);
      this.starts = widened(this.starts, new Float64Array(capacity));
      this.ends = widened(this.ends, new Float64Array(capacity));
    }
    while (this.values.length < length) this.values.push(null);
  }
}

/** `wider`, which begins as `numbers`. */
export function widened<A extends Float64Array | Int32Array>(numbers: A, wider: A): A {
  wider.set(numbers);
  return wider;
}
