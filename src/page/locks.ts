/**
 * Page locks (mm/filemap.c: folio_lock, folio_trylock, folio_unlock): who holds one may move the page's contents and entries.
 *
 * A migration holds the locks of its pages from setup to finalize; who meets a migration entry waits for the page to be unlocked.
 */
import { invariant } from '../errno.ts';
import { WaitQueue, type Scheduler, type Sleepable } from '../sched/index.ts';
import { hex, type Pfn } from '../units.ts';

/** One that watches the locks of pages, for the tasks that are at work meanwhile. */
export interface PageLockWatch {
  /** the current task waits until the page is unlocked */
  asksPage(pfn: Pfn): void;
  hasPage(pfn: Pfn): void;
  /** whoever has it */
  givesPage(pfn: Pfn): void;
}

export class PageLocks {
  /** told of each lock while there is one */
  watch: PageLockWatch | null = null;
  readonly #locked = new Set<Pfn>();
  readonly #queue = new WaitQueue('page lock', '*');

  isLocked(pfn: Pfn): boolean {
    return this.#locked.has(pfn);
  }

  /** Takes the lock if it is free. */
  tryLock(pfn: Pfn): boolean {
    if (this.#locked.has(pfn)) return false;
    this.#locked.add(pfn);
    if (this.watch !== null) this.watch.hasPage(pfn);
    return true;
  }

  *lock(sched: Scheduler, pfn: Pfn): Sleepable<void> {
    sched.mightSleep('page lock');
    this.watch?.asksPage(pfn);
    while (!this.tryLock(pfn)) yield* this.waitUnlocked(sched, pfn);
  }

  unlock(pfn: Pfn): void {
    invariant(this.#locked.delete(pfn), `page ${hex(pfn)} is unlocked, and was not locked`);
    if (this.watch !== null) this.watch.givesPage(pfn);
  }

  /** Who locked the page goes on without it: it stays locked, by nobody who could wait for anything. */
  leave(pfn: Pfn): void {
    this.watch?.givesPage(pfn);
  }

  /** Returns at a time at which nobody holds the lock. */
  *waitUnlocked(sched: Scheduler, pfn: Pfn): Sleepable<void> {
    this.watch?.asksPage(pfn);
    if (this.#locked.has(pfn) || sched.concurrent) yield* this.#queue.wait(sched, () => !this.#locked.has(pfn));
  }

  reset(): void {
    this.#locked.clear();
  }
}
