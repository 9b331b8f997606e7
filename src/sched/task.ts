/**
 * Tasks and steps: "may sleep" made visible.
 *
 * A kernel path that could sleep, wait or be preempted is a generator returning `Sleepable<T>`; `yield*`
 * marks the call that may sleep. What it yields are steps: preemption points and waits. Code between two
 * steps is atomic: nobody else runs.
 */

export type Sleepable<T> = Generator<Step, T, void>;

/**
 * A preemption point: the task goes on when the scheduler picks it. `touches` names what all of its next stretch of code works on,
 * up to the next step, in whichever function that is: a comma separated list, '*' for anything, '' for nothing shared. Exploration
 * relies on it (explore.ts). The names: `mm N` page table, `areas N` areas and mmap_lock of a process (who changes them says '*');
 * `notifier N` its invalidations in flight and its listeners, `sub N NAME` the sequence of one; `fs NAME` all files of a file system
 * and their locks; `device NAME` table and lock of a device; `bytes` contents; `ram` pages.
 */
export interface Point {
  readonly kind: 'point';
  label: string;
  touches: string;
  /** it has gone round and comes to try again: a fair scheduler lets whoever else can go on do so first */
  again?: boolean;
}

/** The task cannot go on until `ready()`, or until the clock reaches `deadlineNs`. */
export interface Wait {
  readonly kind: 'wait';
  /** what it waits for, for the wait graph */
  readonly what: string;
  /** as a point's */
  readonly touches: string;
  readonly ready: () => boolean;
  readonly holder: () => Task | null;
  readonly deadlineNs: number;
  /** where `ready` is that somebody has woken it: what it waits for is so */
  readonly due?: () => boolean;
}

export type Step = Point | Wait;

export type TaskState = 'ready' | 'waiting' | 'done' | 'failed';

/** One flow of control of the modelled kernel. Made by `Scheduler.spawn`. */
export class Task {
  readonly id: number;
  readonly name: string;
  readonly body: Sleepable<unknown>;
  state: TaskState = 'ready';
  /** the step at which it stands; null before its first and after its last */
  step: Step | null = null;
  /** what its first stretch touches, as a point would say */
  readonly startTouches: string;
  /** spinlocks held, innermost last: while there is one, nothing may sleep */
  readonly spinlocks: string[] = [];
  result: unknown;
  error: unknown;

  constructor(id: number, name: string, body: Sleepable<unknown>, startTouches = '*') {
    this.startTouches = startTouches;
    this.id = id;
    this.name = name;
    this.body = body;
  }

  get finished(): boolean {
    return this.state === 'done' || this.state === 'failed';
  }
}
