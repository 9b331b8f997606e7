/** Ready-made policies: who runs next at a preemption point. */
import type { Policy } from './scheduler.ts';
import { Random } from './random.ts';

/** Each task runs until it waits or ends. */
export const runOn: Policy = { choose: () => 0 };

/** A random task at every point; the same seed gives the same schedule. */
export function randomPolicy(seed: bigint): Policy {
  const random = new Random(seed);
  return { choose: (ready) => random.below(ready.length) };
}

/** The schedule written down by `recording`: the ids of the tasks chosen, then `runOn`. Throws RangeError where it does not fit. */
export function replayPolicy(schedule: readonly number[]): Policy {
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
