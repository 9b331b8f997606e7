/**
 * What is freed and not yet committed in an XFS allocation group, as a red-black tree by place (fs/xfs/xfs_extent_busy.c).
 *
 * The shape counts: who looks for room in a free run meets the runs in it from the root down, and what is met first decides which
 * side of it is taken. So it is balanced after each run that is added, in the order in which they were freed (lib/rbtree.c); a
 * commit takes all of them out at once.
 */
import { Beside } from '../beside.ts';
import type { Run } from './allocator.ts';

/** A busy run: blocks `[start, end)`, from the device's first one. */
export interface BusyNode {
  readonly start: number;
  readonly end: number;
  readonly left: BusyNode | null;
  readonly right: BusyNode | null;
}

class Node implements BusyNode {
  readonly start: number;
  readonly end: number;
  left: Node | null = null;
  right: Node | null = null;
  parent: Node | null;
  isRed = true;

  constructor(start: number, end: number, parent: Node | null) {
    this.start = start;
    this.end = end;
    this.parent = parent;
  }
}

class BusyTree {
  root: Node | null = null;

  insert(start: number, end: number): void {
    let parent: Node | null = null;
    for (let at = this.root; at !== null; at = start < at.start ? at.left : at.right) parent = at;
    const node = new Node(start, end, parent);
    if (parent === null) this.root = node;
    else if (start < parent.start) parent.left = node;
    else parent.right = node;
    this.#balance(node);
  }

  /** No red node has a red parent, and the root is black. */
  #balance(added: Node): void {
    let node = added;
    for (let parent = node.parent; parent !== null && parent.isRed; parent = node.parent) {
      const grand = parent.parent as Node;
      const onLeft = parent === grand.left;
      const uncle = onLeft ? grand.right : grand.left;
      if (uncle !== null && uncle.isRed) {
        parent.isRed = uncle.isRed = false;
        grand.isRed = true;
        node = grand;
        continue;
      }
      if (node === (onLeft ? parent.right : parent.left)) {
        this.#rotate(parent, onLeft);
        [node, parent] = [parent, node];
      }
      parent.isRed = false;
      grand.isRed = true;
      this.#rotate(grand, !onLeft);
    }
    (this.root as Node).isRed = false;
  }

  /** The child takes the node's place, and the node becomes its child on that side. */
  #rotate(node: Node, toLeft: boolean): void {
    const child = (toLeft ? node.right : node.left) as Node;
    const between = toLeft ? child.left : child.right;
    if (toLeft) [node.right, child.left] = [between, node];
    else [node.left, child.right] = [between, node];
    if (between !== null) between.parent = node;
    child.parent = node.parent;
    if (node.parent === null) this.root = child;
    else if (node.parent.left === node) node.parent.left = child;
    else node.parent.right = child;
    node.parent = child;
  }
}

/** the trees of a list of busy runs, which only grows, and how many of it are in them */
const grown = new Beside<readonly Run[], { count: number; readonly groups: Map<number, BusyTree> }>();

/** The root of what of `busy` lies in a group; null where nothing does. */
export function busyOf(busy: readonly Run[], group: number, groupPages: number, basePfn: number): BusyNode | null {
  let trees = grown.get(busy);
  if (trees === undefined) grown.set(busy, (trees = { count: 0, groups: new Map() }));
  for (; trees.count < busy.length; trees.count++) {
    const { pfn, npages } = busy[trees.count] as Run;
    const start = pfn - basePfn;
    const of = Math.floor(start / groupPages);
    let tree = trees.groups.get(of);
    if (tree === undefined) trees.groups.set(of, (tree = new BusyTree()));
    tree.insert(start, start + npages);
  }
  return trees.groups.get(group)?.root ?? null;
}
