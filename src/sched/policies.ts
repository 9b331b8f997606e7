/** Ready-made policies: who runs next at a preemption point. */
import type { Policy } from './scheduler.ts';
import { Random } from './random.ts';
import type { Task } from './task.ts';

/** Each task runs until it waits or ends. */
export const runOn: Policy = { choose: () => 0 };

/** A random task at every point; the same seed gives the same schedule. */
export function randomPolicy(seed: bigint): Policy {
  if (typeof seed !== 'bigint') throw new TypeError(`randomPolicy: seed must be a bigint, not ${typeof seed}`);
  const random = new Random(seed);
  return { choose: (ready) => random.below(ready.length) };
}

/**
 * PCT (Burckhardt et al., ASPLOS 2010): tasks have random priorities and the highest that is ready runs; at `depth - 1` random steps of
 * about `steps` the one that would run becomes the lowest. A bug that needs `depth` orderings among n tasks is found with a chance of at
 * least 1 / (n * steps^(depth - 1)) a schedule.
 */
export function pctPolicy(seed: bigint, depth: number, steps: number): Policy {
  const random = new Random(seed);
  const priorities = new Map<number, number>();
  const changes = Array.from({ length: depth - 1 }, () => random.below(Math.max(steps, 1)));
  let at = 0;
  const highest = (ready: readonly Task[]): number => {
    let best = 0;
    for (let i = 0; i < ready.length; i++) if (priorityOf(ready[i] as Task) > priorityOf(ready[best] as Task)) best = i;
    return best;
  };
  return {
    choose(ready) {
      let index = highest(ready);
      for (const change of changes) {
        if (change !== at) continue;
        priorities.set((ready[index] as Task).id, -1 - at); // below all, the later the lower
        index = highest(ready);
      }
      at++;
      return index;
    },
  };

  function priorityOf({ id }: Task): number {
    let priority = priorities.get(id);
    if (priority === undefined) priorities.set(id, (priority = 1 + random.u32()));
    return priority;
  }
}

/** The schedule written down by `recording`: the ids of the tasks chosen, then `runOn`. Throws RangeError where it does not fit. */
export function replayPolicy(schedule: readonly number[]): Policy {
  if (!Array.isArray(schedule)) throw new TypeError(`replayPolicy: schedule must be an array of task ids, not ${typeof schedule}`);
  let at = 0;
  return {
    choose(ready) {
      if (at >= schedule.length) return 0;
      const id = schedule[at++];
      const index = ready.findIndex((task) => task.id === id);
      if (index < 0) throw new RangeError(`replay: choice ${at} names task ${id}, which is not ready (ready: ${ready.map((task) => task.id).join(', ')})`);
      return index;
    },
  };
}
