import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { InvariantError } from '../../../dist/errno.js';
import { VmaTree } from '../../../dist/mm/vmaTree.js';

interface Area {
  start: number;
  end: number;
}

const SPACE = 600;
const base = fc.constantFrom(0, 2 ** 31 - 300, 2 ** 32 - 300, 2 ** 36 - 301, 2 ** 45 - 1 - SPACE);
const op = fc.record({ kind: fc.constantFrom('insert', 'insert', 'insert', 'remove', 'resize', 'replace'), at: fc.nat(SPACE - 8), length: fc.integer({ min: 1, max: 8 }), pick: fc.nat() });

const disjoint = (areas: readonly Area[], start: number, end: number, except?: Area): boolean => areas.every((a) => a === except || a.end <= start || a.start >= end);

/** Every a that fits, by trying each. */
function fits(areas: readonly Area[], npages: number, low: number, high: number, align: number, offset: number): number[] {
  const found: number[] = [];
  for (let a = low; a + npages <= high; a++) if (BigInt(a) % BigInt(align) === BigInt(offset) && disjoint(areas, a, a + npages)) found.push(a);
  return found;
}

describe('VmaTree', () => {
  test('answers as a sorted list of disjoint areas does', () => {
    fc.assert(
      fc.property(base, fc.array(op, { maxLength: 300, size: 'max' }), fc.integer({ min: 1, max: 30 }), fc.constantFrom(1, 3, 8), (origin, ops, npages, align) => {
        const tree = new VmaTree<Area>();
        let areas: Area[] = [];
        for (const { kind, at, length, pick } of ops) {
          const start = origin + at;
          const end = start + length;
          const area = areas[pick % Math.max(1, areas.length)];
          if (kind === 'insert') {
            const added = { start, end };
            if (disjoint(areas, start, end)) {
              tree.insert(added);
              areas = [...areas, added].toSorted((a, b) => a.start - b.start);
            } else {
              expect(() => tree.insert(added)).toThrow(InvariantError);
            }
          } else if (area !== undefined && kind === 'remove') {
            tree.remove(area);
            areas = areas.filter((other) => other !== area);
          } else if (area !== undefined) {
            const k = areas.indexOf(area);
            const ok = (areas[k - 1]?.end ?? 0) <= start && (areas[k + 1]?.start ?? Infinity) >= end;
            const by = { start, end };
            const change = (): void => (kind === 'resize' ? tree.resize(area, start, end) : tree.replace(area, by));
            if (!ok) expect(change).toThrow(InvariantError);
            else change();
            if (ok && kind === 'resize') expect(area).toEqual(by);
            if (ok && kind === 'replace') areas[k] = by;
          }
        }
        expect(tree.count).toBe(areas.length);
        expect([...tree]).toEqual(areas);
        expect(tree.first()).toBe(areas[0] ?? null);
        expect(tree.last()).toBe(areas.at(-1) ?? null);
        for (let vpn = origin; vpn < origin + SPACE; vpn += 7) {
          expect(tree.find(vpn)).toBe(areas.find((a) => a.end > vpn) ?? null);
          expect(tree.findPrev(vpn)).toBe(areas.findLast((a) => a.end <= vpn) ?? null);
          expect(tree.at(vpn)).toBe(areas.find((a) => a.start <= vpn && a.end > vpn) ?? null);
          const hit = areas.filter((a) => a.start < vpn + npages && a.end > vpn);
          expect(tree.collect(vpn, vpn + npages)).toEqual(hit);
          expect(tree.intersects(vpn, vpn + npages)).toBe(hit.length > 0);
        }
        areas.forEach((area, k) => {
          expect(tree.next(area)).toBe(areas[k + 1] ?? null);
          expect(tree.prev(area)).toBe(areas[k - 1] ?? null);
        });
        const low = origin + 20;
        const high = origin + SPACE - 20;
        const all = fits(areas, npages, low, high, align, align - 1);
        expect(tree.findGapTopDown(npages, low, high, align, align - 1)).toBe(all.at(-1) ?? -1);
        expect(tree.findGapBottomUp(npages, low, high, align, align - 1)).toBe(all[0] ?? -1);
      }),
      { numRuns: 60 },
    );
  });

  test('a visitor may remove and split what it visits', () => {
    const tree = new VmaTree<Area>();
    for (let i = 0; i < 200; i++) tree.insert({ start: i * 10, end: i * 10 + 8 });
    const seen: number[] = [];
    tree.intersecting(105, 1903, (area) => {
      seen.push(area.start);
      if (area.start % 20 === 0) {
        tree.remove(area);
      } else {
        const { start } = area;
        tree.resize(area, start + 4, start + 8);
        tree.insert({ start, end: start + 4 });
      }
    });
    expect(seen).toEqual(Array.from({ length: 181 }, (_, i) => 100 + i * 10));
    expect(tree.count).toBe(200 - 91 + 90);
  });

  test('next() walks on from where a search ended, also over removed neighbours', () => {
    const tree = new VmaTree<Area>();
    for (let i = 0; i < 300; i++) tree.insert({ start: i * 2, end: i * 2 + 1 });
    let walked = 0;
    for (let area = tree.find(50); area !== null; area = tree.next(area)) {
      walked++;
      const after = tree.find(area.end);
      if (after !== null) tree.remove(after);
    }
    expect(walked).toBe(138);
    expect(tree.count).toBe(300 - 137);
  });

  test('gap searches at 2^45, for 2 MiB and 1 GiB alignment with the offset of a file page', () => {
    const tree = new VmaTree<Area>();
    const high = 2 ** 45 - 1;
    tree.insert({ start: high - 1000, end: high - 600 });
    expect(tree.findGapTopDown(512, 16, high, 512, 5)).toBe(Math.floor((high - 600 - 400 - 512 - 5) / 512) * 512 + 5);
    expect(tree.findGapTopDown(262144, 16, high, 262144, 0)).toBe(2 ** 45 - 2 * 262144);
    expect(tree.findGapBottomUp(262144, 16, high, 262144, 3)).toBe(262144 + 3);
    expect(tree.findGapBottomUp(600, high - 1600, high)).toBe(high - 1600);
    expect(tree.findGapBottomUp(601, high - 1600, high)).toBe(-1);
    expect(tree.findGapTopDown(2 ** 45, 0, high)).toBe(-1);
  });

  test('65,530 areas: inserted in any order, each found, and no room left where there is none', () => {
    const tree = new VmaTree<Area>();
    const n = 65_530;
    for (let i = 0; i < n; i++) {
      const k = (i * 40_503) % n; // coprime to n: a permutation
      tree.insert({ start: k * 4, end: k * 4 + 3 });
    }
    expect(tree.count).toBe(n);
    let k = 0;
    let inOrder = true;
    for (let area = tree.first(); area !== null; area = tree.next(area)) inOrder &&= area.start === 4 * k++;
    expect([k, inOrder]).toEqual([n, true]);
    for (let i = 0; i < n; i += 101) expect(tree.find(i * 4 + 3)?.start ?? n * 4).toBe((i + 1) * 4);
    expect(tree.findGapTopDown(2, 0, n * 4)).toBe(-1);
    expect(tree.findGapTopDown(1, 0, n * 4)).toBe(n * 4 - 1);
    tree.remove(tree.at(400)!);
    expect(tree.findGapTopDown(2, 0, n * 4)).toBe(399 + 5 - 2);
    expect(tree.findGapBottomUp(5, 0, n * 4)).toBe(399);
  });

  test('an area that is not there cannot be removed, resized or stepped from', () => {
    const tree = new VmaTree<Area>();
    const area = { start: 1, end: 5 };
    tree.insert(area);
    for (const stranger of [{ start: 1, end: 5 }, { start: 7, end: 9 }]) {
      expect(() => tree.remove(stranger)).toThrow(InvariantError);
      expect(() => tree.resize(stranger, 2, 3)).toThrow(InvariantError);
      expect(() => tree.replace(stranger, { start: 2, end: 3 })).toThrow(InvariantError);
      expect(() => tree.next(stranger)).toThrow(InvariantError);
    }
    tree.clear();
    expect(tree.count).toBe(0);
    expect(() => tree.remove(area)).toThrow(InvariantError);
  });

  test('arguments that are no pages are refused by name', () => {
    const tree = new VmaTree<Area>();
    expect(() => tree.find(-1)).toThrow(/vpn -1/);
    expect(() => tree.find(0.5)).toThrow(RangeError);
    expect(() => tree.insert({ start: 4, end: 4 })).toThrow(/end 4/);
    expect(() => tree.insert({ start: NaN, end: 4 })).toThrow(/start NaN/);
    expect(() => tree.intersecting(4, 3, () => {})).toThrow(RangeError);
    expect(() => tree.findGapTopDown(0, 0, 10)).toThrow(/npages 0/);
    expect(() => tree.findGapTopDown(1, 10, 10)).toThrow(/high 10/);
    expect(() => tree.findGapBottomUp(1, 0, 10, 0)).toThrow(/alignPages 0/);
    expect(() => tree.findGapBottomUp(1, 0, 10, 4, 4)).toThrow(/alignOffset 4/);
    expect(tree.count).toBe(0);
  });
});
