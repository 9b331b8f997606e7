/**
 * Buddy trees: which power-of-two blocks of 2^height units are free, one byte a node.
 *
 * ```
 *  node          1            order of the root: leafOrder + height
 *            2       3        a node's value is 0, or 1 + the order of the largest free block in it
 *          4   5   6   7      leaves; node n has the children 2n and 2n + 1
 * ```
 * A free node has its full value (1 + its own order), and so has all below it. A node handed out as a block is 0
 * while all below it stays full; a node whose pieces were handed out is 0 only when its children are. So the two
 * are told apart, and a block can only be freed as it was allocated. The free blocks of a tree depend on what is
 * allocated and on nothing else: coalescing needs no lists. Trees nest: a leaf may be the root of a finer tree.
 */

/** Every node free. */
export function fillFree(tree: Uint8Array, height: number, leafOrder: number): void {
  for (let depth = 0; depth <= height; depth++) tree.fill(leafOrder + height - depth + 1, 2 ** depth, 2 ** (depth + 1));
}

/** Recomputes all inner nodes from the leaves. */
export function buildUp(tree: Uint8Array, height: number, leafOrder: number): void {
  for (let depth = height - 1; depth >= 0; depth--) {
    for (let node = 2 ** depth; node < 2 ** (depth + 1); node++) tree[node] = joined(tree, node, leafOrder + height - depth);
  }
}

/** The leftmost node `depth` below the root in which `need` (1 + an order) is to be had. There is one: the root says so. */
export function leftmostFit(tree: Uint8Array, depth: number, need: number): number {
  let node = 1;
  for (let d = 0; d < depth; d++) {
    node = 2 * node;
    if (tree[node]! < need) node++;
  }
  return node;
}

/** The rightmost one. */
export function rightmostFit(tree: Uint8Array, depth: number, need: number): number {
  let node = 1;
  for (let d = 0; d < depth; d++) {
    node = 2 * node + 1;
    if (tree[node]! < need) node--;
  }
  return node;
}

/** Gives `node`, of order `order`, a value and brings those above it up to date. */
export function setNode(tree: Uint8Array, node: number, value: number, order: number): void {
  if (tree[node] === value) return;
  tree[node] = value;
  let above = node >>> 1;
  for (let k = order + 1; above > 0; k++) {
    const now = joined(tree, above, k);
    if (tree[above] === now) return;
    tree[above] = now;
    above >>>= 1;
  }
}

/** Was `node`, above the leaves and of order `order`, handed out as one block? */
export function isBlock(tree: Uint8Array, node: number, order: number): boolean {
  return tree[node] === 0 && tree[2 * node] === order;
}

/** Makes the block at `node` the blocks of `levels` further down, all handed out. */
export function splitBlock(tree: Uint8Array, node: number, levels: number): void {
  for (let d = 1; d <= levels; d++) tree.fill(0, node * 2 ** d, (node + 1) * 2 ** d);
}

/** The value of a node of order `order` by those of its children. */
function joined(tree: Uint8Array, node: number, order: number): number {
  const left = tree[2 * node]!;
  const right = tree[2 * node + 1]!;
  if (left === order && right === order) return order + 1;
  return left > right ? left : right;
}
