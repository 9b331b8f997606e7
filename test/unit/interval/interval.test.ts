import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { InvariantError } from '../../../dist/errno.js';
import { IntervalTree, type IntervalNode } from '../../../dist/interval.js';

/** The same as a list: by start, then by insertion. */
interface Entry {
  start: number;
  end: number;
  value: number;
  node: IntervalNode<number>;
}

const inOrder = (entries: readonly Entry[]): Entry[] => entries.toSorted((a, b) => a.start - b.start || a.value - b.value);
const hits = (entries: readonly Entry[], start: number, end: number): number[] => inOrder(entries).filter((e) => e.start < end && e.end > start).map((e) => e.value);
const visited = (tree: IntervalTree<number>, start: number, end: number): number[] => {
  const seen: number[] = [];
  tree.overlapping(start, end, (value) => seen.push(value));
  return seen;
};

const base = fc.constantFrom(0, 2 ** 31 - 100, 2 ** 32 - 100, 2 ** 36 - 101, 2 ** 45 - 300);
const op = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('insert' as const), at: fc.nat(200), length: fc.integer({ min: 1, max: 60 }) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('remove' as const), at: fc.nat(1000), length: fc.constant(0) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('query' as const), at: fc.nat(250), length: fc.integer({ min: 1, max: 80 }) }) },
);

describe('IntervalTree', () => {
  test('answers as a sorted list does, through any inserts and removes', () => {
    fc.assert(
      fc.property(base, fc.array(op, { maxLength: 250, size: 'max' }), (origin, ops) => {
        const tree = new IntervalTree<number>();
        const entries: Entry[] = [];
        let inserted = 0;
        for (const { kind, at, length } of ops) {
          const start = origin + at;
          const end = start + length;
          if (kind === 'insert') {
            const value = inserted++;
            entries.push({ start, end, value, node: tree.insert(start, end, value) });
          } else if (kind === 'remove' && entries.length > 0) {
            const [entry] = entries.splice(at % entries.length, 1);
            tree.remove(entry!.node);
          } else if (kind === 'query') {
            const expected = hits(entries, start, end);
            expect(visited(tree, start, end)).toEqual(expected);
            expect(tree.collect(start, end)).toEqual(expected);
            expect(tree.first(start, end)).toBe(expected[0] ?? null);
          }
          expect(tree.size).toBe(entries.length);
        }
        expect([...tree].map((node) => [node.start, node.end, node.value])).toEqual(inOrder(entries).map((e) => [e.start, e.end, e.value]));
      }),
      { numRuns: 300 },
    );
  });

  test('keeps equal starts in the order of insertion, whatever was removed between', () => {
    const tree = new IntervalTree<string>();
    tree.insert(5, 9, 'a');
    const b = tree.insert(5, 7, 'b');
    tree.insert(5, 20, 'c');
    tree.remove(b);
    tree.insert(5, 6, 'd');
    expect(tree.collect(5, 6)).toEqual(['a', 'c', 'd']);
    expect(tree.first(8, 9)).toBe('a');
  });

  test('touching is not overlapping', () => {
    const tree = new IntervalTree<string>();
    tree.insert(10, 20, 'x');
    expect(tree.first(5, 10)).toBeNull();
    expect(tree.first(20, 25)).toBeNull();
    expect(tree.first(19, 20)).toBe('x');
    expect(tree.first(9, 11)).toBe('x');
  });

  test('a visitor may remove what it visits, and what it removes ahead is not visited', () => {
    const tree = new IntervalTree<number>();
    const nodes = Array.from({ length: 10 }, (_, i) => tree.insert(i, i + 20, i));
    const seen: number[] = [];
    tree.overlapping(12, 13, (value) => {
      seen.push(value);
      tree.remove(nodes[value]!);
      if (value === 3) {
        tree.remove(nodes[5]!);
        tree.insert(4, 30, 99); // not there at the call
      }
    });
    expect(seen).toEqual([0, 1, 2, 3, 4, 6, 7, 8, 9]);
    expect(tree.collect(0, 100)).toEqual([99]);
  });

  test('a visitor may ask the tree again, and an exception leaves it in order', () => {
    const tree = new IntervalTree<number>();
    for (let i = 0; i < 5; i++) tree.insert(i * 10, i * 10 + 15, i);
    const pairs: [number, number][] = [];
    tree.overlapping(0, 100, (outer) => tree.overlapping(outer * 10 + 10, outer * 10 + 11, (inner) => pairs.push([outer, inner])));
    expect(pairs).toEqual([[0, 0], [0, 1], [1, 1], [1, 2], [2, 2], [2, 3], [3, 3], [3, 4], [4, 4]]);
    expect(() => tree.overlapping(0, 100, () => { throw new Error('stop'); })).toThrow('stop');
    expect(visited(tree, 0, 100)).toEqual([0, 1, 2, 3, 4]);
  });

  test('the node an iteration answered may be removed before the next', () => {
    const tree = new IntervalTree<number>();
    for (let i = 0; i < 20; i++) tree.insert(i % 7, (i % 7) + 1, i);
    for (const node of tree) if (node.value % 3 !== 0) tree.remove(node);
    expect([...tree].map((node) => node.value)).toEqual([0, 15, 9, 3, 18, 12, 6]);
  });

  test('removing twice, from another tree or after clear() is a broken invariant', () => {
    const tree = new IntervalTree<number>();
    const node = tree.insert(1, 2, 0);
    expect(() => new IntervalTree<number>().remove(node)).toThrow(InvariantError);
    tree.remove(node);
    expect(() => tree.remove(node)).toThrow(InvariantError);
    const old = tree.insert(3, 4, 1);
    tree.clear();
    expect(tree.size).toBe(0);
    expect(tree.first(0, 10)).toBeNull();
    expect(() => tree.remove(old)).toThrow(InvariantError);
  });

  test('arguments that are no range are refused by name, and change nothing', () => {
    const tree = new IntervalTree<number>();
    expect(() => tree.insert(-1, 5, 0)).toThrow(/start -1/);
    expect(() => tree.insert(1.5, 5, 0)).toThrow(RangeError);
    expect(() => tree.insert(0, Infinity, 0)).toThrow(/end Infinity/);
    expect(() => tree.insert(5, 5, 0)).toThrow(/end 5 is not above start 5/);
    expect(() => tree.overlapping(6, 5, () => {})).toThrow(RangeError);
    expect(() => tree.first(NaN, 5)).toThrow(/start NaN/);
    expect(() => tree.collect(0, 2 ** 53)).toThrow(/end/);
    expect(tree.size).toBe(0);
  });

  test('stays shallow when inserted in order: 100,000 in sorted order, each found', () => {
    const tree = new IntervalTree<number>();
    const n = 100_000;
    for (let i = 0; i < n; i++) tree.insert(i * 2, i * 2 + 1, i);
    let depth = 0;
    for (const node of tree) {
      let d = 0;
      for (let at: IntervalNode<number> | null = node; at !== null; at = at.parent) d++;
      depth = Math.max(depth, d);
    }
    expect(depth).toBeLessThan(4 * Math.log2(n));
    for (let i = 0; i < n; i += 997) expect(tree.first(i * 2, i * 2 + 2)).toBe(i);
  });
});
