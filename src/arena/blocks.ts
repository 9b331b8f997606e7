/**
 * The upper end of the arena: 2 MiB sections taken from the top downwards, and power-of-two blocks inside them.
 *
 * `Sections` shares the arena with the table frames that grow up from the bottom: it takes the highest 2 MiB that
 * are free and stay clear of `floor()`; what is given back at the lower edge is room for frames again.
 * `Blocks` cuts sections into naturally aligned blocks of 64 B to 2 MiB, always at the highest address that fits, so
 * that the lower sections empty first and go back. Both know only offsets: no byte of the arena is read or written.
 * Freeing what is not allocated, twice, or with another size is an InvariantError and changes nothing.
 */
import { PAGE_SHIFT, SECTION_SHIFT, SECTION_SIZE } from '../abi.ts';
import { checkOptions, InvariantError } from '../errno.ts';
import { checkCount, checkIndex } from '../interval.ts';
import { IntervalSet } from '../interval/set.ts';
import { fillFree, isBlock, rightmostFit, setNode } from './buddyTree.ts';

/** 4 GiB, in sections; tables over all of them have this many leaves. */
const SECTIONS_MAX = 2048;
const SECTIONS_HEIGHT = 11;

const BLOCK_SHIFT = 6;
/** orders count from 64 B: a 4 KiB page is 6, a section 15 */
const PAGE_ORDER = PAGE_SHIFT - BLOCK_SHIFT;
const SECTION_ORDER = SECTION_SHIFT - BLOCK_SHIFT;
const PAGES_HEIGHT = SECTION_ORDER - PAGE_ORDER;
const PAGES = 1 << PAGES_HEIGHT;
/** 64 B units of a page */
const UNITS = 1 << PAGE_ORDER;
const SPARES_MAX = 64;

/** Where blocks get their memory from. Offsets are multiples of 2 MiB, and never 0. */
export interface SectionPort {
  /** Arena offset of `n` sections in a row, or 0. */
  takeSections(n: number): number;
  giveSections(offset: number, n: number): void;
}

export interface SectionsOptions {
  /** end of the arena in bytes, lowered to 2 MiB */
  readonly limit: number;
  /** the end of the table frames, as it is now */
  readonly floor: () => number;
  /** hears of the new lower edge whenever it moves: frames must end below */
  readonly onBottom?: (offset: number) => void;
}

export class Sections implements SectionPort {
  readonly #limit: number;
  readonly #floor: () => number;
  readonly #onBottom: ((offset: number) => void) | null;
  /** sections in use, by number */
  readonly #used = new IntervalSet();
  #usedCount = 0;
  #bottom: number;

  constructor(options: SectionsOptions) {
    checkOptions('Sections', options, ['limit', 'floor', 'onBottom']);
    checkIndex('Sections', 'limit', options.limit);
    if (options.limit > SECTIONS_MAX * SECTION_SIZE) throw new RangeError(`Sections: limit ${options.limit} is above 4 GiB`);
    this.#limit = Math.floor(options.limit / SECTION_SIZE);
    this.#bottom = this.#limit;
    this.#floor = options.floor;
    this.#onBottom = options.onBottom ?? null;
  }

  /** The lowest byte in use (the limit if there is none): frames may grow up to here. */
  get bottom(): number {
    return this.#bottom * SECTION_SIZE;
  }

  get usedSections(): number {
    return this.#usedCount;
  }

  /** The highest `n` free sections in a row: from runs given back, else from below what is in use. 0 if there are none. */
  takeSections(n: number): number {
    checkCount('Sections.takeSections', 'n', n);
    const low = Math.max(1, Math.ceil(this.#floor() / SECTION_SIZE));
    if (low >= this.#limit) return 0;
    const section = this.#used.gapDown(n, low, this.#limit, 1);
    if (section < 0) return 0;
    this.#used.add(section, section + n);
    this.#usedCount += n;
    this.#moveBottom();
    return section * SECTION_SIZE;
  }

  giveSections(offset: number, n: number): void {
    checkIndex('Sections.giveSections', 'offset', offset);
    checkCount('Sections.giveSections', 'n', n);
    const section = offset / SECTION_SIZE;
    if (offset % SECTION_SIZE !== 0 || !this.#used.remove(section, section + n)) {
      throw new InvariantError(`Sections.giveSections: ${n} sections at ${offset} are not all taken`);
    }
    this.#usedCount -= n;
    this.#moveBottom();
  }

  /** Nothing taken, as just created. */
  reset(): void {
    this.#used.clear();
    this.#usedCount = 0;
    this.#moveBottom();
  }

  #moveBottom(): void {
    const bottom = this.#used.first(this.#limit);
    if (bottom === this.#bottom) return;
    this.#bottom = bottom;
    this.#onBottom?.(bottom * SECTION_SIZE);
  }
}

/** A section that is cut up. */
interface Section {
  offset: number;
  /** over its 4 KiB pages */
  readonly tree: Uint8Array;
  /** trees over the 64 B units of pages that are cut up themselves */
  readonly pages: Map<number, Uint8Array>;
}

export class Blocks {
  readonly #port: SectionPort;
  readonly #sections = new Map<number, Section>();
  /** over all sections of an arena: what is to be had in those that are ours */
  readonly #top = new Uint8Array(2 * SECTIONS_MAX);
  readonly #runs = new Map<number, number>();
  #usedBytes = 0;
  // wholly free, kept for reuse
  readonly #spareSections: Section[] = [];
  readonly #sparePages: Uint8Array[] = [];
  /** what trees of both kinds are then */
  readonly #wholeSection = wholeTree(PAGES_HEIGHT, PAGE_ORDER);
  readonly #wholePage = wholeTree(PAGE_ORDER, 0);

  constructor(port: SectionPort) {
    this.#port = port;
  }

  /** Bytes handed out, rounded up as they were. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** The offset of a block of `bytes` (1 to 2 MiB) rounded up to a power of two from 64, aligned to that; 0 when there is no room. */
  alloc(bytes: number): number {
    const order = orderOf('Blocks.alloc', bytes);
    const need = order + 1;
    if (this.#top[1]! < need && !this.#addSection()) return 0;
    this.#usedBytes += 1 << (order + BLOCK_SHIFT);
    const s = rightmostFit(this.#top, SECTIONS_HEIGHT, need) - SECTIONS_MAX;
    const section = this.#sections.get(s)!;
    if (order === SECTION_ORDER) {
      this.#setTop(s, 0);
      return section.offset;
    }
    if (order >= PAGE_ORDER) {
      const depth = SECTION_ORDER - order;
      const node = rightmostFit(section.tree, depth, need);
      setNode(section.tree, node, 0, order);
      this.#setTop(s, section.tree[1]!);
      return section.offset + (node - (1 << depth)) * (1 << (order + BLOCK_SHIFT));
    }
    const page = rightmostFit(section.tree, PAGES_HEIGHT, need) - PAGES;
    const units = section.pages.get(page) ?? this.#cutPage(section, page);
    const depth = PAGE_ORDER - order;
    const node = rightmostFit(units, depth, need);
    setNode(units, node, 0, order);
    setNode(section.tree, PAGES + page, units[1]!, PAGE_ORDER);
    this.#setTop(s, section.tree[1]!);
    return section.offset + page * (1 << PAGE_SHIFT) + (node - (1 << depth)) * (1 << (order + BLOCK_SHIFT));
  }

  /** Frees a block; `bytes` rounds up to the size it was allocated with. A section that is free again goes back at once. */
  free(offset: number, bytes: number): void {
    checkIndex('Blocks.free', 'offset', offset);
    const order = orderOf('Blocks.free', bytes);
    const s = Math.floor(offset / SECTION_SIZE);
    const section = this.#sections.get(s);
    const within = offset % SECTION_SIZE;
    if (section === undefined || offset % (1 << (order + BLOCK_SHIFT)) !== 0 || !this.#isAllocated(section, s, within, order)) {
      throw new InvariantError(`Blocks.free: no block of ${1 << (order + BLOCK_SHIFT)} bytes is allocated at ${offset}`);
    }
    this.#usedBytes -= 1 << (order + BLOCK_SHIFT);
    if (order < PAGE_ORDER) {
      const page = within >>> PAGE_SHIFT;
      const units = section.pages.get(page)!;
      setNode(units, nodeOf((within >>> BLOCK_SHIFT) % UNITS, order, PAGE_ORDER), order + 1, order);
      setNode(section.tree, PAGES + page, units[1]!, PAGE_ORDER);
      if (units[1] === PAGE_ORDER + 1) this.#mendPage(section, page, units);
    } else if (order < SECTION_ORDER) {
      setNode(section.tree, nodeOf(within >>> BLOCK_SHIFT, order, SECTION_ORDER), order + 1, order);
    }
    if (section.tree[1] === SECTION_ORDER + 1) this.#dropSection(section, s);
    else this.#setTop(s, section.tree[1]!);
  }

  /** The offset of `nsections` whole sections in a row, or 0. */
  allocRun(nsections: number): number {
    checkCount('Blocks.allocRun', 'nsections', nsections);
    const offset = this.#port.takeSections(nsections);
    if (offset === 0) return 0;
    this.#runs.set(offset, nsections);
    this.#usedBytes += nsections * SECTION_SIZE;
    return offset;
  }

  freeRun(offset: number, nsections: number): void {
    checkIndex('Blocks.freeRun', 'offset', offset);
    checkCount('Blocks.freeRun', 'nsections', nsections);
    if (this.#runs.get(offset) !== nsections) throw new InvariantError(`Blocks.freeRun: no run of ${nsections} sections is allocated at ${offset}`);
    this.#runs.delete(offset);
    this.#usedBytes -= nsections * SECTION_SIZE;
    this.#port.giveSections(offset, nsections);
  }

  /** Gives everything back to the port; as just created. */
  reset(): void {
    for (const [s, section] of this.#sections) {
      for (const [page, units] of section.pages) {
        units.set(this.#wholePage);
        this.#mendPage(section, page, units);
      }
      section.tree.set(this.#wholeSection);
      this.#dropSection(section, s);
    }
    for (const [offset, nsections] of this.#runs) this.#port.giveSections(offset, nsections);
    this.#runs.clear();
    this.#usedBytes = 0;
  }

  #isAllocated(section: Section, s: number, within: number, order: number): boolean {
    if (order === SECTION_ORDER) return this.#top[SECTIONS_MAX + s] === 0 && section.tree[1] === SECTION_ORDER + 1;
    const page = within >>> PAGE_SHIFT;
    const units = section.pages.get(page);
    if (order > PAGE_ORDER) return isBlock(section.tree, nodeOf(within >>> BLOCK_SHIFT, order, SECTION_ORDER), order);
    if (order === PAGE_ORDER) return units === undefined && section.tree[PAGES + page] === 0;
    if (units === undefined) return false;
    const node = nodeOf((within >>> BLOCK_SHIFT) % UNITS, order, PAGE_ORDER);
    return order === 0 ? units[node] === 0 : isBlock(units, node, order);
  }

  #setTop(s: number, value: number): void {
    setNode(this.#top, SECTIONS_MAX + s, value, SECTION_ORDER);
  }

  #addSection(): boolean {
    const offset = this.#port.takeSections(1);
    if (offset === 0) return false;
    const section = this.#spareSections.pop() ?? { offset, tree: this.#wholeSection.slice(), pages: new Map<number, Uint8Array>() };
    const s = offset / SECTION_SIZE;
    section.offset = offset;
    this.#sections.set(s, section);
    this.#setTop(s, SECTION_ORDER + 1);
    return true;
  }

  #dropSection(section: Section, s: number): void {
    this.#sections.delete(s);
    this.#setTop(s, 0);
    if (section.tree[1] === SECTION_ORDER + 1 && this.#spareSections.length < SPARES_MAX) this.#spareSections.push(section);
    this.#port.giveSections(section.offset, 1);
  }

  #cutPage(section: Section, page: number): Uint8Array {
    const units = this.#sparePages.pop() ?? this.#wholePage.slice();
    section.pages.set(page, units);
    return units;
  }

  /** Drops the tree of a page, which is kept for the next if all of it is free. */
  #mendPage(section: Section, page: number, units: Uint8Array): void {
    section.pages.delete(page);
    if (units[1] === PAGE_ORDER + 1 && this.#sparePages.length < SPARES_MAX) this.#sparePages.push(units);
  }
}

function wholeTree(height: number, leafOrder: number): Uint8Array {
  const tree = new Uint8Array(2 ** (height + 1));
  fillFree(tree, height, leafOrder);
  return tree;
}

/** The node of order `order` that starts at `unit` in a tree whose root has order `rootOrder`. */
function nodeOf(unit: number, order: number, rootOrder: number): number {
  return (1 << (rootOrder - order)) + (unit >>> order);
}

/** The order of the smallest block that holds `bytes`. */
function orderOf(op: string, bytes: number): number {
  if (!Number.isInteger(bytes) || bytes < 1 || bytes > SECTION_SIZE) throw new RangeError(`${op}: bytes ${bytes} is not an integer from 1 to ${SECTION_SIZE}`);
  return Math.max(0, 32 - Math.clz32(bytes - 1) - BLOCK_SHIFT);
}
