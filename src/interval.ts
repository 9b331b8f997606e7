/**
 * Intervals that may overlap: [start, end) of numbers, each with a payload, as an inode keeps its mappings (`i_mmap`)
 * and an address space its interval notifiers.
 *
 * The tree is a treap in order of start; equal starts stay in insertion order. Each node knows the greatest end
 * below it, so that a query enters only subtrees that reach into it: O(log n + answers). Priorities come from a
 * counter, never from chance: the same calls build the same tree. Disjoint intervals have `interval/list.ts`.
 *
 * Numbers are safe integers from 0; arguments that are not, and empty ranges, throw RangeError.
 */
import { InvariantError } from './errno.ts';

/** Throws RangeError unless `value` is an integer in [0, 2^53). */
export function checkIndex(op: string, name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${op}: ${name} ${value} is not an integer from 0`);
}

/** Throws RangeError unless `value` is an integer in [1, 2^53). */
export function checkCount(op: string, name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 1) throw new RangeError(`${op}: ${name} ${value} is not an integer from 1`);
}

/** Throws RangeError unless [start, end) is a range of integers from 0 with something in it. */
export function checkSpan(op: string, start: number, end: number): void {
  checkIndex(op, 'start', start);
  checkIndex(op, 'end', end);
  if (start >= end) throw new RangeError(`${op}: end ${end} is not above start ${start}`);
}

/** An iterator over what `advance` answers, up to its first null. */
export function steps<T>(advance: () => T | null): IterableIterator<T> {
  const iterator: IterableIterator<T> = {
    next() {
      const value = advance();
      return value === null ? { done: true, value: undefined } : { done: false, value };
    },
    [Symbol.iterator]: () => iterator,
  };
  return iterator;
}

/** What `insert` hands out and `remove` takes back. The upper three fields are the caller's to read, the rest is the tree's. */
export class IntervalNode<T> {
  readonly start: number;
  readonly end: number;
  readonly value: T;
  /** the tree's token while the node is in it */
  owner: object | null;
  readonly priority: number;
  maxEnd: number;
  left: IntervalNode<T> | null = null;
  right: IntervalNode<T> | null = null;
  parent: IntervalNode<T> | null = null;

  constructor(start: number, end: number, value: T, priority: number, owner: object) {
    this.start = start;
    this.end = end;
    this.value = value;
    this.priority = priority;
    this.owner = owner;
    this.maxEnd = end;
  }
}

export class IntervalTree<T> {
  #root: IntervalNode<T> | null = null;
  #size = 0;
  #seed = 1;
  /** replaced by clear(), which so disowns every node at once */
  #token: object = {};
  /** visits in progress, the innermost on top */
  readonly #visits: (IntervalNode<T> | null)[] = [];
  #top = 0;

  get size(): number {
    return this.#size;
  }

  /** Adds [start, end) and returns its handle. The same interval may be in the tree more than once. */
  insert(start: number, end: number, value: T): IntervalNode<T> {
    checkSpan('IntervalTree.insert', start, end);
    const node = new IntervalNode(start, end, value, this.#nextPriority(), this.#token);
    this.#size++;
    let at = this.#root;
    if (at === null) {
      this.#root = node;
      return node;
    }
    for (;;) {
      if (at.maxEnd < end) at.maxEnd = end;
      const below: IntervalNode<T> | null = start < at.start ? at.left : at.right;
      if (below === null) break;
      at = below;
    }
    node.parent = at;
    if (start < at.start) at.left = node;
    else at.right = node;
    while (node.parent !== null && node.parent.priority < node.priority) this.#rotateUp(node);
    return node;
  }

  /** Takes `node` out. InvariantError if it is not in this tree (any more). */
  remove(node: IntervalNode<T>): void {
    if (node.owner !== this.#token) throw new InvariantError(`IntervalTree.remove: [${node.start}, ${node.end}) is not in the tree`);
    while (node.left !== null && node.right !== null) {
      this.#rotateUp(node.left.priority > node.right.priority ? node.left : node.right);
    }
    this.#replace(node, node.left ?? node.right);
    let above = node.parent;
    while (above !== null) {
      const maxEnd = greatestEnd(above);
      if (maxEnd === above.maxEnd) break;
      above.maxEnd = maxEnd;
      above = above.parent;
    }
    node.owner = null;
    node.left = node.right = node.parent = null;
    this.#size--;
  }

  /** Forgets everything, at once; the handles are void. A cleared tree behaves as a new one. */
  clear(): void {
    this.#root = null;
    this.#size = 0;
    this.#seed = 1;
    this.#token = {};
  }

  /** The value of the first interval (by start, then by insertion) that shares a number with [start, end), or null. */
  first(start: number, end: number): T | null {
    checkSpan('IntervalTree.first', start, end);
    const node = this.#firstIn(start, end);
    return node === null ? null : node.value;
  }

  /**
   * Calls `visit` with the value of each interval that shares a number with [start, end), by start, then by insertion.
   * What was in the tree at the call is visited, less what a visit before it removed: visitors may change the
   * tree, and may ask it again.
   */
  overlapping(start: number, end: number, visit: (value: T) => void): void {
    checkSpan('IntervalTree.overlapping', start, end);
    const base = this.#top;
    for (let node = this.#firstIn(start, end); node !== null; node = nextOverlap(node, start, end)) this.#visits[this.#top++] = node;
    const top = this.#top;
    try {
      for (let i = base; i < top; i++) {
        const node = this.#visits[i]!;
        if (node.owner === this.#token) visit(node.value);
      }
    } finally {
      for (let i = base; i < top; i++) this.#visits[i] = null;
      this.#top = base;
    }
  }

  /** Appends to `into` what overlapping() would visit, for callers that sleep between two of them; returns `into`. */
  collect(start: number, end: number, into: T[] = []): T[] {
    checkSpan('IntervalTree.collect', start, end);
    for (let node = this.#firstIn(start, end); node !== null; node = nextOverlap(node, start, end)) into.push(node.value);
    return into;
  }

  /** All nodes in order. The node just answered may be removed before the next is asked for; no other may. */
  [Symbol.iterator](): IterableIterator<IntervalNode<T>> {
    let following = this.#root === null ? null : leftmost(this.#root);
    return steps(() => {
      const node = following;
      if (node !== null) following = successor(node);
      return node;
    });
  }

  #firstIn(start: number, end: number): IntervalNode<T> | null {
    return this.#root === null || this.#root.maxEnd <= start ? null : firstOverlap(this.#root, start, end);
  }

  /** A fixed sequence (xorshift) of 32-bit numbers without short repeats. */
  #nextPriority(): number {
    let x = this.#seed;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#seed = x;
    return x;
  }

  /** Puts `by` where `node` hangs. */
  #replace(node: IntervalNode<T>, by: IntervalNode<T> | null): void {
    const above = node.parent;
    if (by !== null) by.parent = above;
    if (above === null) this.#root = by;
    else if (above.left === node) above.left = by;
    else above.right = by;
  }

  /** Swaps `node` with its parent, keeping the order. */
  #rotateUp(node: IntervalNode<T>): void {
    const above = node.parent!;
    const inner = above.left === node ? node.right : node.left;
    this.#replace(above, node);
    if (above.left === node) {
      above.left = inner;
      node.right = above;
    } else {
      above.right = inner;
      node.left = above;
    }
    if (inner !== null) inner.parent = above;
    above.parent = node;
    node.maxEnd = above.maxEnd;
    above.maxEnd = greatestEnd(above);
  }
}

function greatestEnd<T>(node: IntervalNode<T>): number {
  let end = node.end;
  if (node.left !== null && node.left.maxEnd > end) end = node.left.maxEnd;
  if (node.right !== null && node.right.maxEnd > end) end = node.right.maxEnd;
  return end;
}

function leftmost<T>(node: IntervalNode<T>): IntervalNode<T> {
  while (node.left !== null) node = node.left;
  return node;
}

/** The nearest node above `node` that comes after its whole subtree, or null. */
function ancestorAfter<T>(node: IntervalNode<T>): IntervalNode<T> | null {
  let below = node;
  let above = node.parent;
  while (above !== null && above.right === below) {
    below = above;
    above = above.parent;
  }
  return above;
}

function successor<T>(node: IntervalNode<T>): IntervalNode<T> | null {
  return node.right !== null ? leftmost(node.right) : ancestorAfter(node);
}

/**
 * The first node of `subtree` that overlaps [start, end), or null. `subtree.maxEnd` is above `start`.
 * A left side that reaches beyond `start` decides: either its reaching node overlaps, or it, and so all that follow it, start too late.
 */
function firstOverlap<T>(subtree: IntervalNode<T>, start: number, end: number): IntervalNode<T> | null {
  let node = subtree;
  for (;;) {
    if (node.left !== null && node.left.maxEnd > start) {
      node = node.left;
      continue;
    }
    if (node.start >= end) return null;
    if (node.end > start) return node;
    if (node.right === null || node.right.maxEnd <= start) return null;
    node = node.right;
  }
}

/** The node after `node` that overlaps [start, end), or null. */
function nextOverlap<T>(node: IntervalNode<T>, start: number, end: number): IntervalNode<T> | null {
  let at = node;
  for (;;) {
    if (at.right !== null && at.right.maxEnd > start) return firstOverlap(at.right, start, end);
    const above = ancestorAfter(at);
    if (above === null || above.start >= end) return null;
    if (above.end > start) return above;
    at = above;
  }
}
