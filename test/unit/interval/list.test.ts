import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { IntervalList } from '../../../dist/interval/list.js';
import { IntervalSet } from '../../../dist/interval/set.js';

interface Item {
  start: number;
  end: number;
  value: number;
}

const SPACE = 1200;
const base = fc.constantFrom(0, 1, 2 ** 31 - 100, 2 ** 32 - 600, 2 ** 36 - 1, 2 ** 45 - SPACE);

/** Which of the SPACE numbers from `origin` are taken. */
function taken(items: readonly Item[], origin: number): Uint8Array {
  const map = new Uint8Array(SPACE);
  for (const { start, end } of items) map.fill(1, start - origin, end - origin);
  return map;
}

/** By looking at every page: all a with room for `npages`, in order. */
function fits(map: Uint8Array, origin: number, npages: number, low: number, high: number, align: number, offset: number): number[] {
  const found: number[] = [];
  let free = 0;
  for (let page = 0; page < SPACE; page++) {
    free = map[page] === 0 && origin + page >= low && origin + page < high ? free + 1 : 0;
    const a = origin + page - npages + 1;
    if (free >= npages && BigInt(a) % BigInt(align) === BigInt(offset)) found.push(a);
  }
  return found;
}

const op = fc.record({ kind: fc.nat(99), at: fc.nat(SPACE - 8), length: fc.integer({ min: 1, max: 4 }), pick: fc.nat() });
const gap = fc.record({ npages: fc.integer({ min: 1, max: 40 }), low: fc.nat(SPACE - 1), span: fc.integer({ min: 1, max: SPACE }), align: fc.constantFrom(1, 1, 2, 7, 16), offset: fc.nat(15) });

describe('IntervalList', () => {
  test('is a sorted array with a cursor, through any inserts, removes and moved bounds', () => {
    fc.assert(
      fc.property(base, fc.integer({ min: 20, max: 90 }), fc.array(op, { maxLength: 700, minLength: 100, size: 'max' }), fc.array(gap, { minLength: 5, maxLength: 10 }), (origin, inserts, ops, gaps) => {
        const list = new IntervalList<number>();
        let items: Item[] = [];
        ops.forEach(({ kind, at, length, pick }, value) => {
          const start = origin + at;
          const end = start + length;
          if (kind < inserts || items.length === 0) {
            const free = items.every((item) => item.end <= start || item.start >= end);
            expect(list.insert(start, end, value)).toBe(free);
            if (free) items = [...items, { start, end, value }].toSorted((a, b) => a.start - b.start);
            else expect(list.value).toBe(items.find((item) => item.end > start)!.value);
            return;
          }
          const k = pick % items.length;
          const item = items[k]!;
          expect(list.seek(item.start)).toBe(true);
          expect([list.start, list.end, list.value]).toEqual([item.start, item.end, item.value]);
          if (kind % 4 === 0) {
            const ok = (items[k - 1]?.end ?? 0) <= start && (items[k + 1]?.start ?? Infinity) >= end;
            expect(list.setBounds(start, end)).toBe(ok);
            if (ok) items[k] = { start, end, value: item.value };
          } else {
            list.remove();
            items.splice(k, 1);
            expect(list.valid ? list.value : null).toBe(items[k]?.value ?? null);
          }
        });
        expect(list.count).toBe(items.length);
        for (let page = origin; page < origin + SPACE; page += 7) {
          const expected = items.findIndex((item) => item.end > page);
          expect(list.seek(page)).toBe(expected >= 0);
          if (expected >= 0) expect(list.value).toBe(items[expected]!.value);
          expect(list.toPrev()).toBe(expected !== 0 && items.length > 0);
          if (expected !== 0 && items.length > 0) expect(list.value).toBe(items.at(expected < 0 ? -1 : expected - 1)!.value);
        }
        const seen: number[] = [];
        for (let more = list.seek(0); more; more = list.toNext()) seen.push(list.value);
        expect(seen).toEqual(items.map((item) => item.value));
        const map = taken(items, origin);
        for (const { npages, low, span, align, offset } of gaps) {
          const from = origin + low;
          const to = Math.min(from + span, origin + SPACE);
          const all = fits(map, origin, npages, from, to, align, offset % align);
          expect(list.gapUp(npages, from, to, align, offset % align)).toBe(all[0] ?? -1);
          expect(list.gapDown(npages, from, to, align, offset % align)).toBe(all.at(-1) ?? -1);
        }
      }),
      { numRuns: 60 },
    );
  });

  test('finds gaps right when searches and changes take turns, while it fills and while it empties', () => {
    const turn = fc.record({ npages: fc.integer({ min: 1, max: 6 }), wide: fc.integer({ min: 7, max: 60 }), up: fc.boolean(), pick: fc.nat(), remove: fc.nat(9) });
    fc.assert(
      fc.property(fc.array(turn, { minLength: 300, maxLength: 600, size: 'max' }), (turns) => {
        const list = new IntervalList<null>();
        const items: Item[] = [];
        const find = (npages: number, up: boolean): number => {
          const all = fits(taken(items, 0), 0, npages, 0, SPACE, 1, 0);
          const at = up ? list.gapUp(npages, 0, SPACE, 1, 0) : list.gapDown(npages, 0, SPACE, 1, 0);
          expect(at).toBe((up ? all[0] : all.at(-1)) ?? -1);
          return at;
        };
        turns.forEach(({ npages, wide, up, pick, remove }, i) => {
          const emptying = 2 * i > turns.length;
          for (let k = emptying ? 3 : Number(remove < 2); k > 0 && items.length > 0; k--) {
            const [item] = items.splice((pick + k) % items.length, 1);
            list.seek(item!.start);
            list.remove();
          }
          find(wide, !up);
          const at = find(npages, up);
          if (at < 0) return;
          expect(list.insert(at, at + npages, null)).toBe(true);
          items.push({ start: at, end: at + npages, value: 0 });
        });
      }),
      { numRuns: 20 },
    );
  });

  test('knows the room that a moved bound leaves before the next interval, in its slot and across two', () => {
    const list = new IntervalList<number>();
    for (let i = 0; i < 200; i++) list.insert(i * 10, i * 10 + 10, i);
    for (let i = 0; i < 199; i++) {
      list.seek(i * 10);
      expect(list.setBounds(i * 10, i * 10 + 4)).toBe(true);
      expect(list.gapUp(6, 0, 2000, 1, 0)).toBe(i * 10 + 4);
      expect(list.gapDown(6, 0, 2000, 1, 0)).toBe(i * 10 + 4);
      list.seek(i * 10);
      expect(list.setBounds(i * 10, i * 10 + 10)).toBe(true);
      expect(list.gapUp(1, 0, 2000, 1, 0)).toBe(-1);
      expect(list.gapDown(1, 0, 2000, 1, 0)).toBe(-1);
    }
  });

  test('empties from either end and from the middle, and fills again', () => {
    for (const pick of [() => 0, (n: number) => n - 1, (n: number) => n >>> 1, (n: number) => (n * 7919) % n]) {
      const list = new IntervalList<number>();
      for (let round = 0; round < 2; round++) {
        let left = Array.from({ length: 1000 }, (_, i) => i);
        for (const i of left) expect(list.insert(i * 3, i * 3 + 2, i)).toBe(true);
        while (left.length > 0) {
          const k = pick(left.length);
          list.seek(left[k]! * 3);
          expect(list.value).toBe(left[k]);
          list.remove();
          left = left.toSpliced(k, 1);
          expect(list.valid ? list.value : null).toBe(left[k] ?? null);
        }
        expect(list.count).toBe(0);
        expect(list.seek(0)).toBe(false);
      }
    }
  });
});

describe('IntervalSet', () => {
  test('is a set of integers, and keeps as few runs as there are', () => {
    const step = fc.record({ add: fc.boolean(), at: fc.nat(SPACE - 40), length: fc.integer({ min: 1, max: 30 }) });
    fc.assert(
      fc.property(base, fc.array(step, { maxLength: 300, size: 'max' }), (origin, stepsTaken) => {
        const set = new IntervalSet();
        const map = new Uint8Array(SPACE + 1);
        for (const { add, at, length } of stepsTaken) {
          const part = map.subarray(at, at + length);
          const ok = part.every((page) => page === (add ? 0 : 1));
          expect(set.isFree(origin + at, origin + at + length)).toBe(part.every((page) => page === 0));
          expect(add ? set.add(origin + at, origin + at + length) : set.remove(origin + at, origin + at + length)).toBe(ok);
          if (ok) part.fill(add ? 1 : 0);
        }
        let runs = 0;
        for (let page = 0; page < SPACE; page++) {
          if (map[page] === 1 && map[page - 1] !== 1) runs++;
          if (map[page] === map[page - 1] && page % 16 !== 0) continue; // asked at every edge, and here and there
          expect(set.has(origin + page)).toBe(map[page] === 1);
          const after = map.findIndex((other, i) => i > page && other !== map[page]);
          expect(set.boundaryAfter(origin + page, origin + SPACE)).toBe(after < 0 ? origin + SPACE : origin + after);
          const before = map.subarray(0, page).findLastIndex((other) => other !== map[page]);
          expect(set.boundaryBefore(origin + page, origin)).toBe(origin + before + 1);
        }
        expect(set.count).toBe(runs);
        expect(set.first(-1)).toBe(map.indexOf(1) < 0 ? -1 : origin + map.indexOf(1));
      }),
      { numRuns: 30 },
    );
  });
});
