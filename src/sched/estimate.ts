/**
 * How many schedules there are where they are too many to be run (D. E. Knuth, Estimating the efficiency of backtrack programs, 1975):
 * a random way down the tree that `Exploration` goes through, reduced as there, weighs the product of the branches that it passed by; the
 * mean of the weights is the number. A few large weights make most of it, and few ways down find them: mostly it is too low.
 */
import { awakeAfter, touchesOf } from './explore.ts';
import { Random } from './random.ts';
import type { Policy } from './scheduler.ts';

/** Thrown through a schedule all of whose ready tasks sleep: none of its own. */
const ASLEEP = Symbol('asleep');

/** About how many schedules run to their end, up to equivalence, by so many ways down. What `attempt` throws is thrown on. */
export function estimateSchedules(attempt: (policy: Policy) => unknown, { probes = 1000, seed = 1n }: { readonly probes?: number; readonly seed?: bigint } = {}): number {
  const random = new Random(seed);
  let sum = 0;
  for (let i = 0; i < probes; i++) {
    const way = new Way(random);
    try {
      attempt(way);
      sum += way.weight;
    } catch (error) {
      if (error !== ASLEEP) throw error;
    }
  }
  return sum / probes;
}

class Way implements Policy {
  weight = 1;
  readonly #random: Random;
  #asleep = new Map<number, string>();

  constructor(random: Random) {
    this.#random = random;
  }

  choose(ready: Parameters<Policy['choose']>[0]): number {
    const awake = ready.filter(({ id }) => !this.#asleep.has(id));
    if (awake.length === 0) throw ASLEEP;
    const at = this.#random.below(awake.length);
    this.weight *= awake.length;
    for (const task of awake.slice(0, at)) this.#asleep.set(task.id, touchesOf(task));
    const taken = awake[at] as (typeof awake)[number];
    this.#asleep = awakeAfter(this.#asleep, taken.id, touchesOf(taken));
    return ready.indexOf(taken);
  }
}
