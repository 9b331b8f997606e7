/**
 * The scheduler: who runs, and what time it is.
 *
 * Three ways to drive one code base. *Run to end*: `runToEnd` carries one path through without a preemption;
 * where it must wait, spawned tasks run, then the clock moves, and where neither helps it throws EDEADLK with the
 * wait graph. *Cooperative*: `run(policy)` interleaves the spawned tasks; the policy picks at every preemption point.
 * *Explored*: the same with a policy that enumerates (explore.ts). Time is virtual, in nanoseconds, and moves only
 * when nobody can run.
 *
 * Concurrency: `concurrent` is true only while a policy drives more than one unfinished task. Paths look at it before
 * they yield a preemption point, so that a lone path pays one predictable branch.
 */
import { Deadlock, KernelCrash, invariant } from '../errno.ts';
import type { LockWatch } from './watch.ts';
import { Task, type Point, type Sleepable, type Step, type Wait } from './task.ts';

/** Picks who runs next: an index into `ready`, which is never empty. `current` stands first in it when it can go on. */
export interface Policy {
  choose(ready: readonly Task[], current: Task | null): number;
}

export class Scheduler {
  /** true while somebody else could run between two steps of the current task */
  concurrent = false;
  /** true while a policy says who runs: then a lock has no order of its own */
  driven = false;
  nowNs = 0;
  /** hears of every lock; null: nobody does */
  watch: LockWatch | null = null;
  #tasks: Task[] = [];
  #nextId = 1;
  readonly #main = new Task(0, 'main', (function* idle(): Sleepable<void> {})());
  #current: Task = this.#main;
  readonly #point: Point = { kind: 'point', label: '', touches: '', again: false };

  get current(): Task {
    return this.#current;
  }

  get tasks(): readonly Task[] {
    return this.#tasks;
  }

  /** A preemption point, to be yielded at once: `if (sched.concurrent) yield sched.point('truncate: free', 'inode')`. */
  point(label: string, touches: string, again = false): Step {
    // A task keeps the step it stands at, so concurrent ones need their own; a lone path never gets here.
    return this.concurrent ? { kind: 'point', label, touches, again } : this.#point;
  }

  /** Registers a task; it runs when `run` or a waiting `runToEnd` picks it. `touches`: what it works on up to its first point. */
  spawn(name: string, body: Sleepable<unknown>, touches = '*'): Task {
    const task = new Task(this.#nextId++, name, body, touches);
    this.#tasks.push(task);
    return task;
  }

  /** Carries `body` to its end and returns its value. Throws what it throws, or EDEADLK where it would wait for ever. */
  runToEnd<T>(op: string, body: Sleepable<T>): T {
    const wasConcurrent = this.concurrent;
    this.concurrent = false;
    try {
      let turn = body.next();
      while (!turn.done) {
        const step = turn.value;
        if (step.kind === 'wait' && !this.#waitFor(step)) {
          turn = body.throw(new Deadlock(op, this.#waitGraph(step)));
        } else {
          turn = body.next();
        }
      }
      return turn.value;
    } finally {
      this.concurrent = wasConcurrent;
    }
  }

  /**
   * Runs the spawned tasks until all have finished, and forgets them. The first error of a task is thrown after the
   * others have come to their end; tasks that can never go on are ended with EDEADLK.
   */
  run(policy: Policy): readonly Task[] {
    this.driven = true;
    try {
      return this.#run(policy);
    } finally {
      this.driven = false;
    }
  }

  #run(policy: Policy): readonly Task[] {
    let last: Task | null = null;
    for (;;) {
      const ready = this.#ready(last);
      if (ready.length === 0) {
        const stuck = this.#tasks.find((task) => !task.finished);
        if (stuck === undefined) break;
        if (this.#advanceClock()) continue;
        this.#endDeadlocked(stuck);
        continue;
      }
      const task: Task | undefined = ready[policy.choose(ready, last)];
      invariant(task !== undefined, 'policy chose a task that is not ready');
      this.#advance(task);
      last = task.finished ? null : task;
    }
    const finished = this.#tasks;
    this.#tasks = [];
    const failed = finished.find((task) => task.state === 'failed');
    if (failed !== undefined) throw failed.error;
    return finished;
  }

  /** Moves the clock. */
  advance(ns: number): void {
    this.nowNs += ns;
  }

  /** Sleeps for `ns` of virtual time. */
  *sleep(ns: number): Sleepable<void> {
    const deadlineNs = this.nowNs + ns;
    while (this.nowNs < deadlineNs) yield { kind: 'wait', what: `${ns} ns of sleep`, touches: '', ready: () => false, holder: () => null, deadlineNs };
  }

  /** Takes a spinlock. Held ones make a wait, or taking the same again, the crash that it is in a kernel. */
  spinLock(name: string): void {
    const held = this.#current.spinlocks;
    if (held.includes(name)) {
      this.watch?.spinsForever(name);
      throw new KernelCrash(`spinlock recursion on ${name}`);
    }
    if (this.watch !== null) {
      this.watch.asks(name);
      this.watch.has(name);
    }
    held.push(name);
  }

  spinUnlock(name: string): void {
    const held = this.#current.spinlocks;
    invariant(held.at(-1) === name, `spinlock ${name} released out of order`);
    held.pop();
    if (this.watch !== null) this.watch.gives(name);
  }

  /** Called where a path could sleep, whether or not it does this time. */
  mightSleep(what: string): void {
    if (this.watch !== null) this.watch.maySleep(what);
    const held = this.#current.spinlocks;
    if (held.length > 0) throw new KernelCrash(`${what} may sleep, with spinlock ${held.at(-1)} held`);
  }

  /** Forgets all tasks and sets the clock back. */
  reset(): void {
    this.#tasks = [];
    this.#nextId = 1;
    this.#current = this.#main;
    this.#main.spinlocks.length = 0;
    this.concurrent = false;
    this.nowNs = 0;
  }

  // ── inside ──

  #ready(current: Task | null): Task[] {
    const ready: Task[] = [];
    if (current !== null && this.#canRun(current)) ready.push(current);
    for (const task of this.#tasks) if (task !== current && this.#canRun(task)) ready.push(task);
    return ready;
  }

  #canRun(task: Task): boolean {
    if (task.finished) return false;
    const step = task.step;
    if (step === null || step.kind === 'point') return true;
    return step.ready() || step.deadlineNs <= this.nowNs;
  }

  /** One stretch of `task`, from where it stands to its next step. */
  #advance(task: Task, throwing?: unknown): void {
    const before = this.#current;
    const wasConcurrent = this.concurrent;
    this.#current = task;
    this.concurrent = this.#tasks.some((other) => other !== task && !other.finished);
    try {
      const turn = throwing === undefined ? task.body.next() : task.body.throw(throwing);
      task.step = turn.done ? null : turn.value;
      task.state = turn.done ? 'done' : turn.value.kind === 'wait' ? 'waiting' : 'ready';
      if (turn.done) task.result = turn.value;
    } catch (error) {
      task.step = null;
      task.state = 'failed';
      task.error = error;
    } finally {
      this.#current = before;
      this.concurrent = wasConcurrent;
    }
  }

  /** For a path that runs to its end: lets others run, then time pass, until `step` is ready. False when that will never be. */
  #waitFor(step: Wait): boolean {
    this.mightSleep(step.what);
    const from = this.nowNs;
    while (!step.ready() && step.deadlineNs > this.nowNs) {
      const task = this.#ready(null)[0];
      if (task !== undefined) this.#advance(task);
      else if (!this.#advanceClock(step.deadlineNs)) return false;
    }
    invariant(this.nowNs >= from, 'the clock went back');
    return true;
  }

  /** Moves the clock to the next deadline; false when there is none. */
  #advanceClock(alsoNs = Infinity): boolean {
    let next = alsoNs;
    for (const { step, finished } of this.#tasks) if (!finished && step?.kind === 'wait') next = Math.min(next, step.deadlineNs);
    if (next === Infinity) return false;
    this.nowNs = Math.max(this.nowNs, next);
    return true;
  }

  #endDeadlocked(task: Task): void {
    const step = task.step;
    if (step?.kind === 'wait' && step.due?.() === true) this.watch?.neverWoken(task.name, step.what);
    invariant(step?.kind === 'wait', `task ${task.name} can neither run nor waits`);
    this.#advance(task, new Deadlock(task.name, this.#waitGraph(null)));
  }

  #waitGraph(own: Wait | null): string[] {
    const lines = own === null ? [] : [line(this.#current.name, own)];
    for (const task of this.#tasks) if (!task.finished && task.step?.kind === 'wait') lines.push(line(task.name, task.step));
    return lines;

    function line(name: string, wait: Wait): string {
      const holder = wait.holder();
      return `${name} waits for ${wait.what}${holder === null ? '' : `, held by ${holder.name}`}`;
    }
  }
}
