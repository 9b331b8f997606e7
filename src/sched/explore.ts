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
import { checkOptions, invariant } from '../errno.ts';
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

/** Thrown through a schedule that need not go on. */
const PRUNED = Symbol('pruned');

/** Where an exploration stands: the choices that the next schedule begins with, by task id. What was before is done. */
export type Position = readonly number[];

/**
 * An exploration, a schedule at a time, so that it can be stopped and taken up again: `from` is where another one stood.
 * Positions are good for the same model and the same options only.
 */
export class Exploration {
  schedules = 0;
  pruned = 0;
  /** the last schedule, as far as it went */
  schedule: number[] = [];
  #bounded = false;
  #over = false;
  readonly #path: Choice[] = [];
  readonly #maxPreemptions: number;
  readonly #reduce: boolean;
  /** what is left to be taken of where it is to begin */
  #from: Position;

  constructor({ maxPreemptions = Infinity, reduce = maxPreemptions === Infinity }: ExploreOptions = {}, from: Position = []) {
    if (reduce && maxPreemptions !== Infinity) throw new RangeError('explore: reduction is sound only without maxPreemptions');
    this.#maxPreemptions = maxPreemptions;
    this.#reduce = reduce;
    this.#from = from;
  }

  get over(): boolean {
    return this.#over;
  }

  /** True once every schedule, up to equivalence, has been run since the beginning. */
  get complete(): boolean {
    return this.#over && !this.#bounded;
  }

  get position(): Position {
    return this.#path.map((choice) => choice.ids[choice.taken] as number);
  }

  /** Runs one schedule; false: it was the last. Throws ScheduleError with what `attempt` throws. */
  next(attempt: (policy: Policy) => unknown): boolean {
    try {
      attempt(this.#policy());
      this.schedules++;
    } catch (error) {
      if (error !== PRUNED) throw new ScheduleError(this.schedule, error);
      this.pruned++;
    }
    this.#from = [];
    this.#over = !this.#backtrack();
    return !this.#over;
  }

  #policy(): Policy {
    let depth = 0;
    let inherited = new Map<number, string>();
    const schedule: number[] = [];
    this.schedule = schedule;
    return {
      choose: (ready: readonly Task[], current: Task | null): number => {
        let choice = this.#path[depth];
        if (choice === undefined) {
          choice = newChoice(ready, current, this.#reduce ? inherited : new Map(), preemptionsAfter(this.#path[depth - 1]));
          if (!this.#pick(choice)) throw PRUNED;
          if (depth < this.#from.length) this.#skipTo(choice, this.#from[depth] as number);
          this.#path.push(choice);
        }
        depth++;
        const id = choice.ids[choice.taken] as number;
        const touches = choice.touches[choice.taken] as string;
        if (this.#reduce) inherited = awakeAfter(choice.asleep, id, touches);
        schedule.push(id);
        const index = ready.findIndex((task) => task.id === id);
        invariant(index >= 0, 'explore: the model does not repeat itself; it depends on something outside');
        return index;
      },
    };
  }

  /** What comes before task `id` at `choice` is done. */
  #skipTo(choice: Choice, id: number): void {
    while (choice.ids[choice.taken] !== id) {
      choice.asleep.set(choice.ids[choice.taken] as number, choice.touches[choice.taken] as string);
      if (!this.#pick(choice)) throw new RangeError(`explore: task ${id} is none that could go on there; the position is of another model or bound`);
    }
  }

  /** Takes the first task of `choice` that neither sleeps nor breaks the bound; false when there is none. */
  #pick(choice: Choice): boolean {
    for (let i = 0; i < choice.ids.length; i++) {
      const id = choice.ids[i] as number;
      if (choice.asleep.has(id)) continue;
      const preempts = choice.currentId !== null && choice.currentId !== id ? 1 : 0;
      if (choice.preemptions + preempts > this.#maxPreemptions) {
        this.#bounded = true;
        continue;
      }
      choice.taken = i;
      return true;
    }
    return false;
  }

  #backtrack(): boolean {
    for (let choice = this.#path.at(-1); choice !== undefined; choice = this.#path.at(-1)) {
      choice.asleep.set(choice.ids[choice.taken] as number, choice.touches[choice.taken] as string);
      if (this.#pick(choice)) return true;
      this.#path.pop();
    }
    return false;
  }
}

/**
 * Runs `attempt` once a schedule. It must bring the model to the same start each time, spawn its tasks on the
 * scheduler and call `run` with the policy it is given, then check; what it throws ends the exploration as ScheduleError.
 */
export function exploreSchedules(attempt: (policy: Policy) => Scheduler | void, options: ExploreOptions = {}): ExploreResult {
  if (typeof attempt !== 'function') throw new TypeError(`exploreSchedules: attempt must be a function, not ${typeof attempt}`);
  checkOptions('exploreSchedules', options, ['maxPreemptions', 'maxSchedules', 'reduce']);
  const { maxSchedules = 10_000_000, maxPreemptions = 0 } = options;
  if (!(maxPreemptions >= 0)) throw new RangeError(`exploreSchedules: maxPreemptions ${maxPreemptions} is less than none`);
  const exploration = new Exploration(options);
  while (exploration.next(attempt) && exploration.schedules + exploration.pruned < maxSchedules);
  const { schedules, pruned, complete } = exploration;
  return { schedules, pruned, complete };
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
export function touchesOf(task: Task): string {
  return task.step === null ? task.startTouches : task.step.touches;
}

/** Those of `asleep` that a step of `taken` does not wake. */
export function awakeAfter(asleep: ReadonlyMap<number, string>, taken: number, touches: string): Map<number, string> {
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
