/**
 * The probe: is this core ours alone?
 *
 * CPU time leaves out what others ran, not what they took: a neighbour on the same core (another hardware thread, another guest) shares
 * its execution units. Work that computes then takes up to twice as long, work that waits for memory hardly longer, so that even ratios
 * move. A fixed loop of independent additions, which fills those units, runs on either side of each sample; where it is much slower than
 * when it was undisturbed, the sample is marked.
 */
import type { Clock } from './clock.ts';

/** A sample counts as quiet up to so many times the undisturbed loop. */
const SLOWER_MAX = 1.25;
/** One loop in so many is faster than what counts as undisturbed: the very fastest are the clock's errors. */
const FASTER_ONES = 20;
const ADDITIONS = 30_000;
const WARMUP_RUNS = 200;

export interface Probe {
  /** ns that the loop takes now */
  run(): number;
  /** Was the core ours alone while the loop took `ns`? By all loops up to now. */
  isQuiet(ns: number): boolean;
}

export class CoreProbe implements Probe {
  readonly #clock: Clock;
  readonly #seenNs: number[] = [];
  #undisturbedNs = 0;
  /** loops that `#undisturbedNs` is made of */
  #judged = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    for (let i = 0; i < WARMUP_RUNS; i++) this.run();
  }

  run(): number {
    const start = this.#clock.now();
    const sum = additions(ADDITIONS);
    const ns = this.#clock.now() - start;
    if (!Number.isNaN(sum)) this.#seenNs.push(ns);
    return ns;
  }

  isQuiet(ns: number): boolean {
    const count = this.#seenNs.length;
    if (count > this.#judged) {
      this.#undisturbedNs = this.#seenNs.toSorted((a, b) => a - b)[Math.floor(count / FASTER_ONES)] as number;
      this.#judged = count;
    }
    return ns <= SLOWER_MAX * this.#undisturbedNs;
  }
}

/** Eight sums that do not wait for each other. */
function additions(n: number): number {
  let a = 1, b = 2, c = 3, d = 4, e = 5, f = 6, g = 7, h = 8;
  for (let i = 0; i < n; i++) {
    a = (a + i) | 0;
    b = (b ^ i) | 0;
    c = (c + i) | 0;
    d = (d ^ i) | 0;
    e = (e + i) | 0;
    f = (f ^ i) | 0;
    g = (g + i) | 0;
    h = (h ^ i) | 0;
  }
  return a + b + c + d + e + f + g + h;
}
