/**
 * Who maps a file: areas by page of it, and the lock over them (struct address_space: i_mmap, i_mmap_rwsem).
 *
 * Who goes from a file to its areas holds the lock for reading, notifier calls included, so that no area comes, goes or moves
 * its bounds meanwhile; who changes an area of the file holds it for writing. It nests inside mmap_lock and the file's locks.
 */
import { IntervalTree, type IntervalNode } from '../interval.ts';
import { RwLock, type Scheduler } from '../sched/index.ts';

export class Mappings {
  readonly sched: Scheduler;
  readonly lock: RwLock;
  readonly #tree = new IntervalTree<unknown>();

  /** `touches`: of the file, for preemption points. */
  constructor(sched: Scheduler, name: string, touches: string) {
    this.sched = sched;
    this.lock = new RwLock(`i_mmap_rwsem ${name}`, '*', touches);
  }

  get size(): number {
    return this.#tree.size;
  }

  insert(index: number, end: number, area: unknown): IntervalNode<unknown> {
    return this.#tree.insert(index, end, area);
  }

  remove(node: IntervalNode<unknown>): void {
    this.#tree.remove(node);
  }

  /** The areas that map some of pages `[index, end)`, by first page, then by age. */
  collect(index: number, end: number): unknown[] {
    return this.#tree.collect(index, end);
  }
}
