/**
 * Exhaustive exploration of the interleavings of tasks, by replay: each schedule runs from a fresh start, follows a
 * prefix of choices, then goes on with the first task that is ready; backtracking changes the last choice that has
 * an alternative left.
 *
 * Reduction (sleep sets, Godefroid): after the subtree of a choice is done, that task sleeps in its sibling subtrees
 * until a step that depends on its next one is taken. Two steps are independent when the code after their points
 * touches different things (`Point.touches`). Sound: at least one schedule of every class of equivalent ones runs to
 * its end. `reduce: false` runs all of them.
 */
import { invariant } from '../errno.ts';
import type { Policy, Scheduler } from './scheduler.ts';
import type { Task } from './task.ts';

export interface ExploreOptions {
  /** how often a task that could go on may be stopped for another; unbounded without */
  readonly maxPreemptions?: number;
  /** give up after so many schedules (default 10 million) */
  readonly maxSchedules?: number;
  /** leave out schedules that are equal to one already run (default: where there is no `maxPreemptions`, with which it would miss some) */
  readonly reduce?: boolean;
}

export interface ExploreResult {
  /** schedules that ran to their end */
  readonly schedules: number;
  /** schedules cut short because every ready task slept: equal to one already run */
  readonly pruned: number;
  /** true: every schedule, up to equivalence; false: bounded by maxPreemptions or maxSchedules */
  readonly complete: boolean;
}

/** A failure and the schedule that leads to it, as task ids for `replayPolicy`. */
export class ScheduleError extends Error {
  readonly schedule: readonly number[];
  override readonly cause: unknown;
  constructor(schedule: readonly number[], cause: unknown) {
    super(`schedule ${schedule.join('.')}: ${cause instanceof Error ? cause.message : String(cause)}`);
    this.name = 'ScheduleError';
    this.schedule = schedule;
    this.cause = cause;
  }
}

interface Choice {
  readonly ids: number[];
  readonly touches: string[];
  /** tasks not to be taken here: asleep on arrival, or explored */
  readonly asleep: Map<number, string>;
  taken: number;
  preemptions: number;
  readonly currentId: number | null;
}

class PrunedSchedule extends Error {}

/**
 * Runs `attempt` once a schedule. It must bring the model to the same start each time, spawn its tasks on the
 * scheduler and call `run` with the policy it is given, then check; what it throws ends the exploration as ScheduleError.
 */
export function exploreSchedules(attempt: (policy: Policy) => Scheduler | void, options: ExploreOptions = {}): ExploreResult {
  const { maxPreemptions = Infinity, maxSchedules = 10_000_000 } = options;
  const reduce = options.reduce ?? maxPreemptions === Infinity;
  if (reduce && maxPreemptions !== Infinity) throw new RangeError('explore: reduction is sound only without maxPreemptions');
  const path: Choice[] = [];
  let schedules = 0;
  let pruned = 0;
  let bounded = false;

  for (;;) {
    let depth = 0;
    let inherited = new Map<number, string>();
    const schedule: number[] = [];
    const policy: Policy = {
      choose(ready: readonly Task[], current: Task | null): number {
        let choice = path[depth];
        if (choice === undefined) {
          choice = newChoice(ready, current, reduce ? inherited : new Map(), preemptionsAfter(path[depth - 1]));
          if (!pick(choice)) throw new PrunedSchedule();
          path.push(choice);
        }
        depth++;
        const id = choice.ids[choice.taken] as number;
        const touches = choice.touches[choice.taken] as string;
        inherited = awakeAfter(choice.asleep, id, touches);
        schedule.push(id);
        const index = ready.findIndex((task) => task.id === id);
        invariant(index >= 0, 'explore: the model does not repeat itself; it depends on something outside');
        return index;
      },
    };
    try {
      attempt(policy);
      schedules++;
    } catch (error) {
      if (!(error instanceof PrunedSchedule)) throw new ScheduleError(schedule, error);
      pruned++;
    }
    if (schedules + pruned >= maxSchedules) return { schedules, pruned, complete: false };
    if (!backtrack()) return { schedules, pruned, complete: !bounded };
  }

  /** Takes the first task of `choice` that neither sleeps nor breaks the bound; false when there is none. */
  function pick(choice: Choice): boolean {
    for (let i = 0; i < choice.ids.length; i++) {
      const id = choice.ids[i] as number;
      if (choice.asleep.has(id)) continue;
      const preempts = choice.currentId !== null && choice.currentId !== id ? 1 : 0;
      if (choice.preemptions + preempts > maxPreemptions) {
        bounded = true;
        continue;
      }
      choice.taken = i;
      return true;
    }
    return false;
  }

  function backtrack(): boolean {
    for (let choice = path.at(-1); choice !== undefined; choice = path.at(-1)) {
      choice.asleep.set(choice.ids[choice.taken] as number, choice.touches[choice.taken] as string);
      if (pick(choice)) return true;
      path.pop();
    }
    return false;
  }
}

function newChoice(ready: readonly Task[], current: Task | null, asleep: Map<number, string>, preemptions: number): Choice {
  return { ids: ready.map((task) => task.id), touches: ready.map(touchesOf), asleep: new Map(asleep), taken: 0, preemptions, currentId: current !== null && ready[0] === current ? current.id : null };
}

/** Preemptions on the way to the choice that follows `choice`. */
function preemptionsAfter(choice: Choice | undefined): number {
  if (choice === undefined) return 0;
  return choice.preemptions + (choice.currentId !== null && choice.ids[choice.taken] !== choice.currentId ? 1 : 0);
}

/** What the next stretch of a task works on. */
function touchesOf(task: Task): string {
  return task.step === null ? task.startTouches : task.step.touches;
}

function awakeAfter(asleep: Map<number, string>, taken: number, touches: string): Map<number, string> {
  const still = new Map<number, string>();
  for (const [id, theirs] of asleep) if (id !== taken && !dependent(theirs, touches)) still.set(id, theirs);
  return still;
}

/** `touches` is a comma separated list; '*' depends on everything, '' on nothing. */
function dependent(a: string, b: string): boolean {
  if (a === '' || b === '') return false;
  if (a === '*' || b === '*' || a === b) return true;
  const theirs = b.split(',');
  return a.split(',').some((one) => theirs.includes(one));
}
