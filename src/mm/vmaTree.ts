/**
 * The areas of an address space in order of address (mm/mmap.c: find_vma, the maple tree of an mm).
 *
 * Areas are the caller's objects; their `start` and `end` (page numbers, [start, end)) belong to the tree while they
 * are in it and change only through `resize` and `replace`. They never overlap: what would make them overlap, or
 * names an area that is not there, is an InvariantError and changes nothing. Arguments that are no page numbers,
 * and empty ranges, throw RangeError. 65,530 areas are searched in 17 steps over packed numbers.
 */
import { InvariantError } from '../errno.ts';
import { checkCount, checkIndex, checkSpan, steps } from '../interval.ts';
import { IntervalList } from '../interval/list.ts';

/** What the tree needs of an area. */
export interface Area {
  start: number;
  end: number;
}

export class VmaTree<A extends Area> {
  readonly #list = new IntervalList<A>();

  get count(): number {
    return this.#list.count;
  }

  /** The first area that ends after `vpn` (it may begin after it too), or null: find_vma(). */
  find(vpn: number): A | null {
    checkIndex('VmaTree.find', 'vpn', vpn);
    return this.#list.find(vpn);
  }

  /** The area that holds `vpn`, or null: vma_lookup(). */
  at(vpn: number): A | null {
    checkIndex('VmaTree.at', 'vpn', vpn);
    return this.#list.seek(vpn) && this.#list.start <= vpn ? this.#list.value : null;
  }

  /** The last area that ends at or before `vpn`, or null: the one before find(vpn). */
  findPrev(vpn: number): A | null {
    checkIndex('VmaTree.findPrev', 'vpn', vpn);
    this.#list.seek(vpn);
    return this.#list.toPrev() ? this.#list.value : null;
  }

  first(): A | null {
    return this.#list.find(0);
  }

  last(): A | null {
    return this.findPrev(Number.MAX_SAFE_INTEGER);
  }

  /** The area after `area`, or null. Right after the search or step that gave `area` this costs no search. */
  next(area: A): A | null {
    this.#place('next', area);
    return this.#list.toNext() ? this.#list.value : null;
  }

  /** The area before `area`, or null. */
  prev(area: A): A | null {
    this.#place('prev', area);
    return this.#list.toPrev() ? this.#list.value : null;
  }

  /**
   * Calls `visit` with each area that shares a page with [start, end), in order. The visitor may remove, split or
   * resize what it is given, and change what lies before; areas that it adds further up are visited too.
   */
  intersecting(start: number, end: number, visit: (area: A) => void): void {
    checkSpan('VmaTree.intersecting', start, end);
    const list = this.#list;
    let from = start;
    while (list.seek(from) && list.start < end) {
      from = list.end;
      visit(list.value);
    }
  }

  /** Appends those areas to `into` and returns it: for callers that sleep between two of them. */
  collect(start: number, end: number, into: A[] = []): A[] {
    checkSpan('VmaTree.collect', start, end);
    const list = this.#list;
    for (let more = list.seek(start); more && list.start < end; more = list.toNext()) into.push(list.value);
    return into;
  }

  /** Does any area share a page with [start, end)? */
  intersects(start: number, end: number): boolean {
    checkSpan('VmaTree.intersects', start, end);
    return this.#list.seek(start) && this.#list.start < end;
  }

  /** Adds `area` by its bounds. */
  insert(area: A): void {
    checkSpan('VmaTree.insert', area.start, area.end);
    if (!this.#list.insert(area.start, area.end, area)) throw new InvariantError(`VmaTree.insert: [${area.start}, ${area.end}) overlaps an area`);
  }

  remove(area: A): void {
    this.#place('remove', area);
    this.#list.remove();
  }

  /** Moves the bounds of `area`, in the tree and in the object, as far as its neighbours leave room. */
  resize(area: A, start: number, end: number): void {
    checkSpan('VmaTree.resize', start, end);
    this.#place('resize', area);
    if (!this.#list.setBounds(start, end)) throw new InvariantError(`VmaTree.resize: [${start}, ${end}) overlaps an area`);
    area.start = start;
    area.end = end;
  }

  /** Puts `by` in the place of `area`, with bounds of its own as far as the neighbours leave room. */
  replace(area: A, by: A): void {
    checkSpan('VmaTree.replace', by.start, by.end);
    this.#place('replace', area);
    if (!this.#list.setBounds(by.start, by.end)) throw new InvariantError(`VmaTree.replace: [${by.start}, ${by.end}) overlaps an area`);
    this.#list.value = by;
  }

  /** Forgets all areas. */
  clear(): void {
    this.#list.clear();
  }

  /**
   * The highest a with low <= a, a + npages <= high, a = alignOffset (mod alignPages) and no area in [a, a + npages);
   * or -1: unmapped_area_topdown(), exact where the kernel asks for alignPages - 1 pages more.
   */
  findGapTopDown(npages: number, low: number, high: number, alignPages = 1, alignOffset = 0): number {
    checkGap('VmaTree.findGapTopDown', npages, low, high, alignPages, alignOffset);
    return this.#list.gapDown(npages, low, high, alignPages, alignOffset);
  }

  /** The lowest such a; or -1: unmapped_area(). */
  findGapBottomUp(npages: number, low: number, high: number, alignPages = 1, alignOffset = 0): number {
    checkGap('VmaTree.findGapBottomUp', npages, low, high, alignPages, alignOffset);
    return this.#list.gapUp(npages, low, high, alignPages, alignOffset);
  }

  /** All areas in order. As with intersecting(), the one just answered may be changed or removed. */
  [Symbol.iterator](): IterableIterator<A> {
    let from = 0;
    return steps(() => {
      if (!this.#list.seek(from)) return null;
      from = this.#list.end;
      return this.#list.value;
    });
  }

  /** Puts the cursor on `area`, where it mostly stands already. */
  #place(op: string, area: A): void {
    const list = this.#list;
    if (list.valid && list.value === area) return;
    if (!list.seek(area.start) || list.value !== area) throw new InvariantError(`VmaTree.${op}: [${area.start}, ${area.end}) is not in the tree`);
  }
}

function checkGap(op: string, npages: number, low: number, high: number, alignPages: number, alignOffset: number): void {
  checkCount(op, 'npages', npages);
  checkIndex(op, 'low', low);
  checkIndex(op, 'high', high);
  if (low >= high) throw new RangeError(`${op}: high ${high} is not above low ${low}`);
  checkCount(op, 'alignPages', alignPages);
  checkIndex(op, 'alignOffset', alignOffset);
  if (alignOffset >= alignPages) throw new RangeError(`${op}: alignOffset ${alignOffset} is not below alignPages ${alignPages}`);
}
