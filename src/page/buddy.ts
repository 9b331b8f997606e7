/**
 * The buddy allocator of page frames (mm/page_alloc.c): naturally aligned blocks of 2^order pages, order 0 to 18.
 *
 * Every allocation takes the block at the lowest address that fits, so the answer depends only on what is allocated,
 * never on how it came about. (The kernel hands out what was freed last; which frame comes next is not part of
 * its contract.)
 * RAM is described where it was touched: 1 GiB blocks have a tree of 512 2 MiB sections, sections one of 512 pages,
 * each 1 KiB and made at the first need; what has none is wholly free, or wholly one block. Over the 1 GiB blocks
 * stands one tree of 2 bytes each: 4 KiB for 1 TiB, all that is made up front.
 */
import { buildUp, fillFree, isBlock, leftmostFit, setNode, splitBlock } from '../arena/buddyTree.ts';
import { InvariantError } from '../errno.ts';
import { checkCount, checkIndex } from '../interval.ts';

/** 1 GiB */
export const ORDER_MAX = 18;
const SECTION_ORDER = 9;
const LEAVES = 512;
const GIB_PAGES = 262144;
/** pfns have 40 bits */
const PFN_LIMIT = 2 ** 40;
/** trees kept for reuse over a reset */
const SPARES_MAX = 256;

/** 1 GiB that was touched. */
interface Gib {
  readonly tree: Uint8Array;
  /** page trees by section, null where none was needed */
  readonly sections: (Uint8Array | null)[];
  /** sections that have one */
  readonly made: number[];
}

/** The first or the last 1 GiB as it is when all is free, less what lies outside: kept, so that a reset need not work it out again. */
interface Clipped {
  readonly g: number;
  readonly tree: Uint8Array;
  readonly sections: readonly (readonly [number, Uint8Array])[];
}

export class Buddy {
  readonly basePfn: number;
  readonly npages: number;
  #freePages = 0;
  /** basePfn lowered to 1 GiB: pages are counted from here, so that alignment is that of pfns */
  readonly #origin: number;
  readonly #top: Uint8Array;
  readonly #topHeight: number;
  /** the node of the first 1 GiB block */
  readonly #topLeaf: number;
  readonly #gibs: (Gib | null)[];
  readonly #made: number[] = [];
  readonly #clipped: Clipped[] = [];
  readonly #spareGibs: Gib[] = [];
  readonly #spareTrees: Uint8Array[] = [];

  /** Manages [basePfn, basePfn + npages), all of it free; neither needs any alignment. */
  constructor(basePfn: number, npages: number) {
    checkIndex('Buddy', 'basePfn', basePfn);
    checkCount('Buddy', 'npages', npages);
    if (basePfn + npages > PFN_LIMIT) throw new RangeError(`Buddy: npages ${npages} from pfn ${basePfn} end beyond pfn 2^40`);
    this.basePfn = basePfn;
    this.npages = npages;
    this.#origin = basePfn - (basePfn % GIB_PAGES);
    const ngibs = Math.ceil((basePfn + npages - this.#origin) / GIB_PAGES);
    this.#topHeight = 32 - Math.clz32(ngibs - 1);
    this.#topLeaf = 1 << this.#topHeight;
    this.#top = new Uint8Array(2 * this.#topLeaf);
    this.#gibs = new Array<Gib | null>(ngibs).fill(null);
    this.#top.fill(ORDER_MAX + 1, this.#topLeaf, this.#topLeaf + ngibs);
    this.#clip();
    buildUp(this.#top, this.#topHeight, ORDER_MAX);
    this.#freePages = npages;
  }

  get freePages(): number {
    return this.#freePages;
  }

  /** The first pfn of the lowest free block of 2^order pages, now allocated; -1 if there is none. */
  alloc(order: number): number {
    checkOrder('Buddy.alloc', 'order', order, ORDER_MAX);
    const need = order + 1;
    if (this.#top[1]! < need) return -1;
    this.#freePages -= 1 << order;
    const leaf = leftmostFit(this.#top, this.#topHeight, need);
    const g = leaf - this.#topLeaf;
    const gib = this.#gibs[g] ?? this.#makeGib(g);
    const first = this.#origin + g * GIB_PAGES;
    if (order === ORDER_MAX) {
      this.#setGib(g, 0);
      return first;
    }
    if (order >= SECTION_ORDER) {
      const depth = ORDER_MAX - order;
      const node = leftmostFit(gib.tree, depth, need);
      setNode(gib.tree, node, 0, order);
      this.#setGib(g, gib.tree[1]!);
      return first + (node - (1 << depth)) * (1 << order);
    }
    const s = leftmostFit(gib.tree, SECTION_ORDER, need) - LEAVES;
    const section = gib.sections[s] ?? this.#makeSection(gib, s);
    const depth = SECTION_ORDER - order;
    const node = leftmostFit(section, depth, need);
    this.#setSection(g, gib, s, node, 0, order);
    return first + s * LEAVES + (node - (1 << depth)) * (1 << order);
  }

  /** Frees a block as it was allocated (or split). InvariantError, and nothing changed, if there is no such block. */
  free(pfn: number, order: number): void {
    const g = this.#locate('Buddy.free', pfn, order);
    const page = pfn - this.#origin - g * GIB_PAGES;
    this.#freePages += 1 << order;
    const gib = this.#gibs[g]!;
    if (order === ORDER_MAX) {
      this.#setGib(g, ORDER_MAX + 1);
    } else if (order >= SECTION_ORDER) {
      setNode(gib.tree, nodeOf(page, order, ORDER_MAX), order + 1, order);
      this.#setGib(g, gib.tree[1]!);
    } else {
      this.#setSection(g, gib, page >>> SECTION_ORDER, nodeOf(page % LEAVES, order, SECTION_ORDER), order + 1, order);
    }
  }

  /** Is there an allocated block of this order at `pfn`? */
  isAllocated(pfn: number, order: number): boolean {
    checkIndex('Buddy.isAllocated', 'pfn', pfn);
    checkOrder('Buddy.isAllocated', 'order', order, ORDER_MAX);
    if (pfn % (1 << order) !== 0 || pfn < this.basePfn || pfn + (1 << order) > this.basePfn + this.npages) return false;
    const g = Math.floor((pfn - this.#origin) / GIB_PAGES);
    const gib = this.#gibs[g] ?? null;
    if (gib === null) return false;
    const page = pfn - this.#origin - g * GIB_PAGES;
    if (order === ORDER_MAX) return this.#top[this.#topLeaf + g] === 0 && gib.tree[1] === ORDER_MAX + 1;
    const section = gib.sections[page >>> SECTION_ORDER] ?? null;
    if (order > SECTION_ORDER) return isBlock(gib.tree, nodeOf(page, order, ORDER_MAX), order);
    if (order === SECTION_ORDER) return gib.tree[nodeOf(page, order, ORDER_MAX)] === 0 && (section === null || section[1] === SECTION_ORDER + 1);
    if (section === null) return false;
    const node = nodeOf(page % LEAVES, order, SECTION_ORDER);
    return order === 0 ? section[node] === 0 : isBlock(section, node, order);
  }

  /** Makes an allocated block blocks of order `to`, each to be freed alone: split_page(). As free() if there is no such block. */
  split(pfn: number, order: number, to = 0): void {
    checkOrder('Buddy.split', 'to', to, order);
    const g = this.#locate('Buddy.split', pfn, order);
    const page = pfn - this.#origin - g * GIB_PAGES;
    const gib = this.#gibs[g]!;
    if (order < SECTION_ORDER) {
      splitBlock(gib.sections[page >>> SECTION_ORDER]!, nodeOf(page % LEAVES, order, SECTION_ORDER), order - to);
      return;
    }
    const node = nodeOf(page, order, ORDER_MAX);
    if (order > to) gib.tree[node] = 0; // a whole GiB is marked in the top tree only
    splitBlock(gib.tree, node, order - Math.max(to, SECTION_ORDER));
    if (to >= SECTION_ORDER) return;
    for (let s = page >>> SECTION_ORDER; s < (page + (1 << order)) >>> SECTION_ORDER; s++) {
      const section = gib.sections[s] ?? this.#makeSection(gib, s);
      section[1] = 0;
      splitBlock(section, 1, SECTION_ORDER - to);
    }
  }

  /** Everything free again, as just created, at a cost in proportion to what was touched. */
  reset(): void {
    for (const g of this.#made) {
      const gib = this.#gibs[g]!;
      this.#gibs[g] = null;
      for (const s of gib.made) {
        if (this.#spareTrees.length < SPARES_MAX) this.#spareTrees.push(gib.sections[s]!);
        gib.sections[s] = null;
      }
      gib.made.length = 0;
      if (this.#spareGibs.length < SPARES_MAX) this.#spareGibs.push(gib);
      this.#setGib(g, ORDER_MAX + 1);
    }
    this.#made.length = 0;
    for (const { g, tree, sections } of this.#clipped) {
      const gib = this.#newGib(g);
      gib.tree.set(tree);
      for (const [s, section] of sections) this.#newSection(gib, s).set(section);
      this.#setGib(g, tree[1]!);
    }
    this.#freePages = this.npages;
  }

  /** Checks both arguments and returns the 1 GiB block in which the block stands. */
  #locate(op: string, pfn: number, order: number): number {
    checkIndex(op, 'pfn', pfn);
    checkOrder(op, 'order', order, ORDER_MAX);
    if (!this.isAllocated(pfn, order)) throw new InvariantError(`${op}: no block of order ${order} is allocated at pfn ${pfn}`);
    return Math.floor((pfn - this.#origin) / GIB_PAGES);
  }

  #setGib(g: number, value: number): void {
    setNode(this.#top, this.#topLeaf + g, value, ORDER_MAX);
  }

  #setSection(g: number, gib: Gib, s: number, node: number, value: number, order: number): void {
    const section = gib.sections[s]!;
    setNode(section, node, value, order);
    setNode(gib.tree, LEAVES + s, section[1]!, SECTION_ORDER);
    this.#setGib(g, gib.tree[1]!);
  }

  #makeGib(g: number): Gib {
    const gib = this.#newGib(g);
    fillFree(gib.tree, SECTION_ORDER, SECTION_ORDER);
    return gib;
  }

  #makeSection(gib: Gib, s: number): Uint8Array {
    const tree = this.#newSection(gib, s);
    fillFree(tree, SECTION_ORDER, 0);
    return tree;
  }

  /** Of any content. */
  #newGib(g: number): Gib {
    const gib = this.#spareGibs.pop() ?? { tree: new Uint8Array(2 * LEAVES), sections: new Array<Uint8Array | null>(LEAVES).fill(null), made: [] };
    this.#gibs[g] = gib;
    this.#made.push(g);
    return gib;
  }

  /** Of any content. */
  #newSection(gib: Gib, s: number): Uint8Array {
    const tree = this.#spareTrees.pop() ?? new Uint8Array(2 * LEAVES);
    gib.sections[s] = tree;
    gib.made.push(s);
    return tree;
  }

  /** Takes what lies outside [basePfn, basePfn + npages) out of the first and the last 1 GiB block. */
  #clip(): void {
    const first = this.basePfn - this.#origin;
    const end = first + this.npages;
    const last = this.#gibs.length - 1;
    if (first > 0 || end < GIB_PAGES) this.#clipGib(0, first, Math.min(end, GIB_PAGES));
    if (last > 0 && end < (last + 1) * GIB_PAGES) this.#clipGib(last, 0, end - last * GIB_PAGES);
  }

  /** Leaves [start, end) of the pages of 1 GiB block g. */
  #clipGib(g: number, start: number, end: number): void {
    const gib = this.#makeGib(g);
    for (let s = 0; s < LEAVES; s++) {
      const from = Math.max(0, start - s * LEAVES);
      const to = Math.min(LEAVES, end - s * LEAVES);
      if (from >= to) {
        gib.tree[LEAVES + s] = 0;
      } else if (to - from < LEAVES) {
        const section = this.#makeSection(gib, s);
        section.fill(0, LEAVES).fill(1, LEAVES + from, LEAVES + to);
        buildUp(section, SECTION_ORDER, 0);
        gib.tree[LEAVES + s] = section[1]!;
      }
    }
    buildUp(gib.tree, SECTION_ORDER, SECTION_ORDER);
    this.#setGib(g, gib.tree[1]!);
    this.#clipped.push({ g, tree: gib.tree.slice(), sections: gib.made.map((s) => [s, gib.sections[s]!.slice()] as const) });
  }
}

/** The node of order `order` that starts at `page` in a tree whose root has order `rootOrder`. */
function nodeOf(page: number, order: number, rootOrder: number): number {
  return (1 << (rootOrder - order)) + (page >>> order);
}

function checkOrder(op: string, name: string, order: number, max: number): void {
  if (!Number.isInteger(order) || order < 0 || order > max) throw new RangeError(`${op}: ${name} ${order} is not an integer from 0 to ${max}`);
}
