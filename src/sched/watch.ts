/** One that watches locks: told by every lock of a machine while there is one (`Scheduler.watch`). */
export interface LockWatch {
  /** the current task wants it, and will wait where it has to */
  asks(name: string): void;
  /** the current task has it */
  has(name: string): void;
  gives(name: string): void;
  /** the current task is at a place at which it could sleep */
  maySleep(what: string): void;
  /** the current task wants a spinlock that it holds */
  spinsForever(name: string): void;
  /** `task` waits for `what`, which has come; nobody has woken it, and nobody will */
  neverWoken(task: string, what: string): void;
}
