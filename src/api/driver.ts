/** How facade objects run the machine's generators, and know that it was reset under them. */
import { HmmError } from '../errno.ts';
import type { MachineCore } from '../machine.ts';
import type { Sleepable } from '../sched/index.ts';

export class Driver {
  readonly core: MachineCore;
  #live = true;
  /** what has to be undone before the arena is used anew: real files mapped over it */
  readonly cleanups = new Set<() => void>();

  constructor(core: MachineCore) {
    this.core = core;
  }

  /** False once the machine was reset or disposed: everything made before is dead. */
  get live(): boolean {
    return this.#live;
  }

  /** The machine is reset or disposed. */
  end(): void {
    for (const cleanup of this.cleanups) cleanup();
    this.cleanups.clear();
    this.#live = false;
  }

  /** Throws ENXIO when the machine is no longer the one that the caller knew. */
  check(op: string): void {
    if (!this.#live) throw new HmmError('ENXIO', op, 'the machine was reset or disposed since this object was made');
  }

  /** Runs a path to its end. */
  run<T>(op: string, body: Sleepable<T>): T {
    this.check(op);
    return this.core.platform.sched.runToEnd(op, body);
  }
}
