/**
 * The pools of huge pages, one a size (mm/hugetlb.c: struct hstate). Pages are taken from RAM when they are first used.
 *
 * `reserved`: pages that areas and files have been promised and have not used yet; they are of `free`. Who has no promise gets a page
 * only where more are free than are promised.
 */
import { LEVEL_PMD, LEVEL_PUD } from '../abi.ts';
import { invariant } from '../errno.ts';
import { pagesOfLevel, type Pfn } from '../units.ts';
import type { Ram } from './ram.ts';
import { PAGE_HUGETLB, type PageRecords } from './records.ts';

export class HugePool {
  /** LEVEL_PMD or LEVEL_PUD */
  readonly level: number;
  readonly total: number;
  free: number;
  reserved = 0;
  readonly #ram: Ram;
  /** pools are filled when the machine boots, before anybody else has RAM: so lies the first page; the others are taken when they are needed */
  #first: Pfn | -1 = -1;
  readonly #records: PageRecords;

  constructor(ram: Ram, records: PageRecords, level: number, total: number) {
    this.#ram = ram;
    this.#records = records;
    this.level = level;
    this.total = total;
    this.free = total;
    this.reset();
  }

  get npages(): number {
    return pagesOfLevel(this.level);
  }

  /** Promises `count` more pages. False, and nothing promised, where not so many are left. */
  reserve(count: number): boolean {
    if (this.reserved + count > this.free) return false;
    this.reserved += count;
    return true;
  }

  unreserve(count: number): void {
    this.reserved -= count;
    invariant(this.reserved >= 0, 'more huge pages given back than were promised');
  }

  /** A page of zeroes with one reference; `promised`: one of those reserved. -1 where none is to be had. */
  alloc(promised: boolean): Pfn {
    if (this.free === 0 || (!promised && this.free <= this.reserved)) return -1;
    const pfn = this.#first >= 0 ? this.#first : this.#take();
    if (pfn < 0) return -1;
    if (this.#first >= 0) this.#records.watch?.changed(pfn, 1, 1); // it was taken from RAM before anybody looked
    this.#first = -1;
    this.#records.setFlags(pfn, PAGE_HUGETLB);
    this.free--;
    if (promised) this.unreserve(1);
    return pfn;
  }

  reset(): void {
    this.free = this.total;
    this.reserved = 0;
    this.#first = this.total > 0 && this.level === LEVEL_PMD ? this.#take() : -1;
  }

  #take(): Pfn | -1 {
    return this.#ram.alloc(this.level === LEVEL_PMD ? 9 : 18);
  }
}

export class HugePools {
  readonly huge2m: HugePool;
  readonly huge1g: HugePool;

  /** `counts`: pages of 2 MiB and of 1 GiB. */
  constructor(ram: Ram, records: PageRecords, counts: readonly [number, number]) {
    this.huge2m = new HugePool(ram, records, LEVEL_PMD, counts[0]);
    this.huge1g = new HugePool(ram, records, LEVEL_PUD, counts[1]);
    ram.freeHugePage = (order) => {
      (order === 9 ? this.huge2m : this.huge1g).free++;
    };
  }

  reset(): void {
    this.huge2m.reset();
    this.huge1g.reset();
  }
}
