/**
 * The probe: is this core ours alone?
 *
 * CPU time leaves out what others ran, not what they took: a neighbour on the same core (another hardware thread, another guest) shares
 * its execution units. Work that computes then takes up to twice as long, work that waits for memory hardly longer, so that even ratios
 * move. A fixed loop of independent additions, which fills those units, runs on either side of each sample; where it is much slower than
 * at its fastest, the sample is marked.
 */
import type { Clock } from './clock.ts';

/** A sample counts as quiet up to so many times the fastest loop. */
const SLOWER_MAX = 1.25;
const ADDITIONS = 30_000;
const WARMUP_RUNS = 200;

export interface Probe {
  /** ns that the loop takes now */
  run(): number;
  /** Was the core ours alone while the loop took `ns`? By the fastest loop up to now. */
  isQuiet(ns: number): boolean;
}

export class CoreProbe implements Probe {
  readonly #clock: Clock;
  #fastestNs = Infinity;

  constructor(clock: Clock) {
    this.#clock = clock;
    for (let i = 0; i < WARMUP_RUNS; i++) this.run();
  }

  run(): number {
    const start = this.#clock.now();
    const sum = additions(ADDITIONS);
    const ns = this.#clock.now() - start;
    if (ns < this.#fastestNs && sum !== 0.5) this.#fastestNs = ns;
    return ns;
  }

  isQuiet(ns: number): boolean {
    return ns <= SLOWER_MAX * this.#fastestNs;
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
