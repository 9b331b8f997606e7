/**
 * Locks and wait queues. Taking one may sleep; giving one back does not.
 *
 * Each has a plain `try…` for the common case (nobody else can run, and it is free), so that a hot path creates no
 * generator: `if (!lock.tryRead(sched)) yield* lock.read(sched);`
 * Where others can run, asking for a lock is one step: the task is ready at it while the lock is to be had, so that a schedule
 * has no attempts in it that change nothing.
 */
import { invariant } from '../errno.ts';
import type { Scheduler } from './scheduler.ts';
import type { Sleepable, Task } from './task.ts';

/**
 * A reader-writer semaphore, as mmap_lock or i_rwsem. Not recursive. Who comes after a writer that waits waits behind it, readers too;
 * but where a policy drives the tasks, the schedule alone says who goes first.
 */
export class RwLock {
  readonly name: string;
  /** what the code that runs once it has the lock works on, up to its next preemption point: a reader, a writer */
  readonly readTouches: string;
  readonly writeTouches: string;
  #writer: Task | null = null;
  readonly #readers: Task[] = [];
  /** writers that wait */
  #waiting: readonly object[] = [];

  constructor(name: string, writeTouches = name, readTouches = writeTouches) {
    this.name = name;
    this.writeTouches = writeTouches;
    this.readTouches = readTouches;
  }

  get held(): 'read' | 'write' | null {
    return this.#writer !== null ? 'write' : this.#readers.length > 0 ? 'read' : null;
  }

  /** Would `tryWrite` get it now, if nobody else could run? */
  get isFree(): boolean {
    return this.#writer === null && this.#readers.length === 0 && this.#waiting.length === 0;
  }

  /** Takes it for reading if that takes neither a wait nor a preemption point. */
  tryRead(sched: Scheduler): boolean {
    if (sched.concurrent || this.#writer !== null || this.#waiting.length > 0) return false;
    if (sched.watch !== null) this.#tellTaken(sched);
    this.#readers.push(sched.current);
    return true;
  }

  tryWrite(sched: Scheduler): boolean {
    if (sched.concurrent || this.#writer !== null || this.#readers.length > 0 || this.#waiting.length > 0) return false;
    if (sched.watch !== null) this.#tellTaken(sched);
    this.#writer = sched.current;
    return true;
  }

  /** Takes it for reading, or answers false at once where that means to wait: a kernel trylock. */
  readNow(sched: Scheduler): boolean {
    if (this.#writer !== null) return false;
    sched.watch?.has(this.name);
    this.#readers.push(sched.current);
    return true;
  }

  /** `touches`: where this caller goes on with less than the lock's own. */
  *read(sched: Scheduler, touches = this.readTouches): Sleepable<void> {
    sched.watch?.asks(this.name);
    sched.mightSleep(this.name);
    const before = sched.driven ? [] : this.#waiting;
    const ready = (): boolean => this.#writer === null && !before.some((writer) => this.#waiting.includes(writer));
    for (let asks = sched.concurrent; asks || !ready(); asks = false) {
      yield { kind: 'wait', what: `${this.name} (read)`, touches, ready, holder: () => this.#writer ?? this.#readers[0] ?? null, deadlineNs: Infinity };
    }
    sched.watch?.has(this.name);
    this.#readers.push(sched.current);
  }

  *write(sched: Scheduler, touches = this.writeTouches): Sleepable<void> {
    sched.watch?.asks(this.name);
    sched.mightSleep(this.name);
    const ticket = {};
    const before = sched.driven ? [] : this.#waiting;
    const ready = (): boolean => this.#writer === null && this.#readers.length === 0 && !before.some((writer) => this.#waiting.includes(writer));
    try {
      for (let asks = sched.concurrent; asks || !ready(); asks = false) {
        if (!sched.driven && !ready() && !this.#waiting.includes(ticket)) this.#waiting = [...this.#waiting, ticket];
        yield { kind: 'wait', what: `${this.name} (write)`, touches, ready, holder: () => this.#writer ?? this.#readers[0] ?? null, deadlineNs: Infinity };
      }
    } finally {
      if (this.#waiting.length > 0) this.#waiting = this.#waiting.filter((one) => one !== ticket);
    }
    sched.watch?.has(this.name);
    this.#writer = sched.current;
  }

  readUnlock(sched: Scheduler): void {
    const i = this.#readers.indexOf(sched.current);
    if (i < 0) sched.watch?.gives(this.name);
    invariant(i >= 0, `${this.name}: read unlock by ${sched.current.name}, who does not hold it`);
    this.#readers.splice(i, 1);
    if (sched.watch !== null) sched.watch.gives(this.name);
  }

  writeUnlock(sched: Scheduler): void {
    invariant(this.#writer === sched.current, `${this.name}: write unlock by ${sched.current.name}, who does not hold it`);
    this.#writer = null;
    if (sched.watch !== null) sched.watch.gives(this.name);
  }

  #tellTaken(sched: Scheduler): void {
    const { watch } = sched;
    if (watch === null) return;
    watch.maySleep(this.name);
    watch.asks(this.name);
    watch.has(this.name);
  }
}

/** A place to wait until a condition holds. Nobody is woken: the condition itself is asked. */
export class WaitQueue {
  readonly name: string;
  /** what `ready` looks at, and the code after it works on */
  readonly touches: string;

  constructor(name: string, touches = name) {
    this.name = name;
    this.touches = touches;
  }

  /** Waits until `ready()`; false when `timeoutNs` of virtual time went by first. */
  *wait(sched: Scheduler, ready: () => boolean, timeoutNs = Infinity): Sleepable<boolean> {
    sched.mightSleep(this.name);
    const deadlineNs = sched.nowNs + timeoutNs;
    for (let asks = sched.concurrent; asks || !ready(); asks = false) {
      if (!asks && sched.nowNs >= deadlineNs) return false;
      yield { kind: 'wait', what: this.name, touches: this.touches, ready, holder: () => null, deadlineNs };
    }
    return true;
  }
}
