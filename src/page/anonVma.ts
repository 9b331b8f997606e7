/**
 * From anonymous pages to the areas that may map them (include/linux/rmap.h: struct anon_vma).
 *
 * A page names its anon_vma by number (`PageRecords.owner`) and its place in it (`PageRecords.index`); the anon_vma has the areas
 * of every process that may map the page, over the pages that they span. An entry here means that an area may map the
 * page, never that it does: a page table says that.
 */
import { IntervalTree } from '../interval.ts';

export class AnonVma {
  /** from 1 */
  readonly id: number;
  /** what maps its pages, by place; the areas are mm's */
  readonly areas = new IntervalTree<unknown>();

  constructor(id: number) {
    this.id = id;
  }
}

export class AnonVmas {
  #all = new Map<number, AnonVma>();
  #next = 1;

  create(): AnonVma {
    const anonVma = new AnonVma(this.#next);
    this.#next++;
    this.#all.set(anonVma.id, anonVma);
    return anonVma;
  }

  get(id: number): AnonVma | undefined {
    return this.#all.get(id);
  }

  /** The last area has gone from it: so has every mapping of its pages. */
  drop(anonVma: AnonVma): void {
    this.#all.delete(anonVma.id);
  }

  /** How many there are. */
  get count(): number {
    return this.#all.size;
  }

  /** A new map: a cleared one would lead from its old table to the new, and hold what is in there for as long as the old one lives. */
  reset(): void {
    this.#all = new Map();
    this.#next = 1;
  }
}
