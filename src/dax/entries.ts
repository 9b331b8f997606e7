/**
 * The DAX page cache: one entry for each 4K, 2M (or, in the lab, 1G) of a file that was ever faulted (fs/dax.c).
 *
 * An entry is `frame * 64 + flags`, a plain number. ZERO: the shared page of zeroes stands for a hole. EMPTY: a placeholder
 * while its first fault is under way. LOCKED: somebody works on it. DIRTY: written to since the last write-back.
 * Kept in one node for each 2 MiB of the file, so that a fault costs one map look-up.
 */
import { PMD_PAGES, PUD_PAGES } from '../abi.ts';
import type { Inode } from '../fs/index.ts';
import { WaitQueue } from '../sched/index.ts';
import { alignDown, pagesOfLevel, type Pfn } from '../units.ts';
import { untiePages } from './ties.ts';

export const DAX_LOCKED = 1;
export const DAX_ZERO = 4;
export const DAX_EMPTY = 8;
export const DAX_DIRTY = 16;
const FLAGS = 64;

export function daxEntry(pfn: Pfn, flags: number): number {
  return pfn * FLAGS + flags;
}

export function entryPfn(entry: number): Pfn {
  return Math.floor(entry / FLAGS);
}

export function entryFlags(entry: number): number {
  return entry - Math.floor(entry / FLAGS) * FLAGS;
}

interface Node {
  /** the entry for all 2 MiB, or 0 */
  huge: number;
  /** entries of 4K, made at the first */
  small: Float64Array | null;
  count: number;
  /** entries of 4K are in `[low, high)` of it, if anywhere */
  low: number;
  high: number;
  /** it may hold dirty entries, and is in the set of those */
  dirty: boolean;
}

export interface Sleeper {
  readonly index: number;
  woken: boolean;
}

export class DaxEntries {
  /** where those wait who want a locked entry */
  readonly changed: WaitQueue;
  /** bug switch dax-wakeup-missed: those who wait each for a wake-up of its own, longest first */
  readonly sleepers: Sleeper[] = [];
  /** what `find` found: level and first page of the entry */
  level = 0;
  base = 0;
  readonly #nodes = new Map<number, Node>();
  readonly #giant = new Map<number, number>();
  /** numbers of nodes (and, negative less one, of 1G entries) that may hold dirty entries */
  readonly #dirty = new Set<number>();
  /** the node asked for last: faults come in order */
  #lastNumber = -1;
  #lastNode: Node | undefined = undefined;
  /** entries, all 0, of a node that went: files are truncated and faulted again */
  #spare: Float64Array | null = null;

  readonly #inode: Inode;

  constructor(inode: Inode) {
    this.#inode = inode;
    this.changed = new WaitQueue(`DAX entry of ${inode.name}`, '*');
  }

  /** Has the file no entry at all? */
  get empty(): boolean {
    return this.#nodes.size === 0 && this.#giant.size === 0;
  }

  /** The entry that covers page `index`, or 0; its place in `level` and `base`. */
  find(index: number): number {
    if (this.#giant.size > 0) {
      const giant = this.#giant.get(Math.floor(index / PUD_PAGES));
      if (giant !== undefined) {
        this.level = 2;
        this.base = alignDown(index, PUD_PAGES);
        return giant;
      }
    }
    const number = Math.floor(index / PMD_PAGES);
    const node = this.#node(number);
    this.level = 0;
    this.base = index;
    if (node === undefined) return 0;
    if (node.huge !== 0) {
      this.level = 1;
      this.base = number * PMD_PAGES;
      return node.huge;
    }
    return node.small === null ? 0 : (node.small[index - number * PMD_PAGES] as number);
  }

  /** Is there any entry smaller than `level` in its span around `index`? */
  hasSmaller(index: number, level: number): boolean {
    const first = Math.floor(alignDown(index, pagesOfLevel(level)) / PMD_PAGES);
    if (level === 1) return (this.#node(first)?.count ?? 0) > 0;
    for (let number = first; number < first + PUD_PAGES / PMD_PAGES; number++) if (this.#nodes.has(number)) return true;
    return false;
  }

  set(index: number, level: number, entry: number): void {
    const dirty = (entryFlags(entry) & DAX_DIRTY) !== 0;
    if (level === 2) {
      const number = Math.floor(index / PUD_PAGES);
      this.#giant.set(number, entry);
      if (dirty) this.#dirty.add(-1 - number);
      return;
    }
    const number = Math.floor(index / PMD_PAGES);
    let node = this.#node(number);
    if (node === undefined) {
      node = { huge: 0, small: null, count: 0, low: PMD_PAGES, high: 0, dirty: false };
      this.#nodes.set(number, node);
      this.#lastNode = node;
    }
    if (level === 1) node.huge = entry;
    else {
      if (node.small === null) {
        node.small = this.#spare ?? new Float64Array(PMD_PAGES);
        this.#spare = null;
      }
      const at = index - number * PMD_PAGES;
      if (node.small[at] === 0) {
        node.count++;
        if (at < node.low) node.low = at;
        if (at >= node.high) node.high = at + 1;
      }
      node.small[at] = entry;
    }
    if (dirty && !node.dirty) {
      node.dirty = true;
      this.#dirty.add(number);
    }
  }

  remove(index: number, level: number): void {
    if (level === 2) {
      this.#giant.delete(Math.floor(index / PUD_PAGES));
      return;
    }
    const number = Math.floor(index / PMD_PAGES);
    const node = this.#node(number);
    if (node === undefined) return;
    if (this.#inode.reflinked) this.#untie(level === 1 ? node.huge : (node.small?.[index - number * PMD_PAGES] ?? 0), level);
    if (level === 1) node.huge = 0;
    else if (node.small !== null && node.small[index - number * PMD_PAGES] !== 0) {
      node.small[index - number * PMD_PAGES] = 0;
      node.count--;
    }
    if (node.huge === 0 && node.count === 0) {
      this.#nodes.delete(number);
      this.#dirty.delete(number);
      this.#lastNumber = -1;
      this.#spare = node.small;
      node.small = null;
    }
  }

  /** Removes every entry that `[index, end)` touches; entries that reach beyond it go too, as their blocks do not all stay. */
  removeRange(index: number, end: number): void {
    this.forEach(index, end, (base, level) => this.remove(base, level));
  }

  /** Visits the entries that touch `[index, end)`, ascending; `onlyDirty` those that are dirty. The visitor may change them. */
  forEach(index: number, end: number, visit: (base: number, level: number, entry: number) => void, onlyDirty = false): void {
    if (onlyDirty ? this.#dirty.size === 0 : this.empty) return;
    if (this.#giant.size === 0 && this.#nodes.size === 1) {
      // the file is small, or this part of it is all that was ever faulted
      for (const number of this.#nodes.keys()) if (overlaps(number, index, end)) this.#visitNode(number, index, end, visit, onlyDirty);
      return;
    }
    const keys = onlyDirty ? [...this.#dirty] : [...this.#nodes.keys(), ...[...this.#giant.keys()].map((number) => -1 - number)];
    const inRange = keys.filter((key) => overlaps(key, index, end)).sort((a, b) => firstPage(a) - firstPage(b));
    for (const key of inRange) {
      if (key < 0) this.#visitGiant(-1 - key, visit, onlyDirty);
      else this.#visitNode(key, index, end, visit, onlyDirty);
    }
  }

  /** Its pages are no longer this file's. */
  #untie(entry: number, level: number): void {
    if (entry !== 0 && (entryFlags(entry) & (DAX_ZERO | DAX_EMPTY)) === 0) untiePages(this.#inode, entryPfn(entry), pagesOfLevel(level));
  }

  #node(number: number): Node | undefined {
    if (number !== this.#lastNumber) {
      this.#lastNumber = number;
      this.#lastNode = this.#nodes.get(number);
    }
    return this.#lastNode;
  }

  #visitGiant(number: number, visit: (base: number, level: number, entry: number) => void, onlyDirty: boolean): void {
    const entry = this.#giant.get(number);
    const dirty = entry !== undefined && (entryFlags(entry) & DAX_DIRTY) !== 0;
    if (entry !== undefined && (dirty || !onlyDirty)) visit(number * PUD_PAGES, 2, entry);
    const after = this.#giant.get(number);
    if (after === undefined || (entryFlags(after) & DAX_DIRTY) === 0) this.#dirty.delete(-1 - number);
  }

  #visitNode(number: number, index: number, end: number, visit: (base: number, level: number, entry: number) => void, onlyDirty: boolean): void {
    const node = this.#nodes.get(number);
    let stillDirty = false;
    const first = number * PMD_PAGES;
    if (node !== undefined && node.huge !== 0) {
      if (!onlyDirty || (entryFlags(node.huge) & DAX_DIRTY) !== 0) visit(first, 1, node.huge);
      stillDirty = (entryFlags(node.huge) & DAX_DIRTY) !== 0;
    } else if (node?.small) {
      const { small, high } = node;
      for (let i = node.low; i < high; i++) {
        const entry = small[i] as number;
        if (entry === 0) continue;
        const inside = first + i >= index && first + i < end;
        if (inside && (!onlyDirty || (entryFlags(entry) & DAX_DIRTY) !== 0)) visit(first + i, 0, entry);
        if ((entryFlags(small[i] as number) & DAX_DIRTY) !== 0) stillDirty = true;
      }
    }
    if (stillDirty) return;
    this.#dirty.delete(number);
    if (node !== undefined) node.dirty = false;
  }
}

function firstPage(key: number): number {
  return key < 0 ? (-1 - key) * PUD_PAGES : key * PMD_PAGES;
}

function overlaps(key: number, index: number, end: number): boolean {
  const first = firstPage(key);
  return first < end && first + (key < 0 ? PUD_PAGES : PMD_PAGES) > index;
}

/** The entries of a DAX file, made at the first fault. */
export function entriesOf(inode: Inode): DaxEntries {
  inode.pages ??= new DaxEntries(inode);
  return inode.pages as DaxEntries;
}
