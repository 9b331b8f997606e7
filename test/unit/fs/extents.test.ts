import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { InvariantError } from '../../../dist/errno.js';
import { ExtentMap, FILE_PAGES_MAX, type Extent, type ExtentState } from '../../../dist/fs/extents.js';

const SPACE = 300;

interface Page {
  pfn: number;
  state: ExtentState;
}

/** One entry a file page; extents are what a reader of the pages would write down. */
class NaiveFile {
  pages = new Map<number, Page>();

  extents(start = 0, end = Infinity): Extent[] {
    const out: Extent[] = [];
    for (const [block, page] of [...this.pages].toSorted((a, b) => a[0] - b[0])) {
      if (block < start || block >= end) continue;
      const last = out.at(-1);
      if (last !== undefined && last.block + last.npages === block && last.pfn + last.npages === page.pfn && last.state === page.state) {
        out[out.length - 1] = { ...last, npages: last.npages + 1 };
      } else {
        out.push({ block, pfn: page.pfn, npages: 1, state: page.state });
      }
    }
    return out;
  }

  isHole(start: number, npages: number): boolean {
    for (let i = start; i < start + npages; i++) if (this.pages.has(i)) return false;
    return true;
  }

  shift(from: number, by: number): void {
    this.pages = new Map([...this.pages].map(([block, page]) => [block >= from ? block + by : block, page]));
  }

  change(start: number, npages: number, change: Partial<Page>): number {
    let changed = 0;
    for (let i = start; i < start + npages; i++) {
      const page = this.pages.get(i);
      if (page === undefined) continue;
      const to = { ...page, ...change };
      if (to.state !== page.state) changed++;
      this.pages.set(i, to);
    }
    return changed;
  }
}

const kinds = ['insert', 'insert', 'insert', 'append', 'punch', 'convert', 'truncate', 'left', 'right'] as const;
const op = fc.record({
  kind: fc.constantFrom(...kinds),
  at: fc.nat(SPACE),
  npages: fc.integer({ min: 1, max: 25 }),
  pfn: fc.constantFrom(0, 1000, 2 ** 28, 2 ** 32 - 40),
  state: fc.constantFrom<ExtentState>('mapped', 'unwritten'),
});

describe('ExtentMap', () => {
  test('says of every page what a table of pages says, in as few extents as there are', () => {
    fc.assert(
      fc.property(fc.constantFrom(0, 2 ** 31 - 150, 2 ** 36 - 1, 2 ** 45), fc.array(op, { maxLength: 120, size: 'max' }), (origin, ops) => {
        const map = new ExtentMap();
        const file = new NaiveFile();
        for (const { kind, at, npages, pfn, state } of ops) {
          const start = origin + at;
          if (kind === 'insert' || kind === 'append') {
            // device pages in the order of the file, so that neighbours often continue each other
            const first = kind === 'append' ? pfn + at : pfn + 7 * at;
            if (file.isHole(start, npages)) {
              for (let i = 0; i < npages; i++) file.pages.set(start + i, { pfn: first + i, state });
              expect(map.insert(start, first, npages, state)).toEqual(file.extents().find((e) => e.block + e.npages > start));
            } else {
              expect(() => map.insert(start, first, npages, state)).toThrow(InvariantError);
            }
          } else if (kind === 'punch' || kind === 'truncate') {
            const end = kind === 'punch' ? start + npages : Infinity;
            expect(kind === 'punch' ? map.punch(start, npages) : map.truncate(start)).toEqual(file.extents(start, end));
            for (const block of file.pages.keys()) if (block >= start && block < end) file.pages.delete(block);
          } else if (kind === 'convert') {
            expect(map.convert(start, npages, state)).toBe(file.change(start, npages, { state }));
          } else if (kind === 'left') {
            const from = start + npages;
            if (file.isHole(start, npages)) {
              map.shiftLeft(from, npages);
              file.shift(from, -npages);
            } else {
              expect(() => map.shiftLeft(from, npages)).toThrow(InvariantError);
            }
          } else {
            map.shiftRight(start, npages);
            file.shift(start, npages);
          }
          const extents = file.extents();
          expect([...map]).toEqual(extents);
          expect([map.count, map.pages]).toEqual([extents.length, file.pages.size]);
        }
        const extents = file.extents();
        for (let index = origin; index < origin + SPACE; index += 3) {
          const end = index + 50;
          const extent = extents.find((e) => e.block <= index && e.block + e.npages > index);
          const before = extents.findLast((e) => e.block + e.npages <= index);
          const after = extents.find((e) => e.block > index);
          const start = before === undefined ? 0 : before.block + before.npages;
          expect(map.lookup(index, end)).toEqual(extent ?? { hole: true, start, npages: Math.min(end, after?.block ?? Infinity) - start });
          expect(map.next(index)).toEqual(extents.find((e) => e.block + e.npages > index) ?? null);
          const seen: Extent[] = [];
          map.overlapping(index, end, (e) => seen.push(e));
          expect(seen).toEqual(extents.filter((e) => e.block < end && e.block + e.npages > index));
        }
      }),
      { numRuns: 60 },
    );
  });

  test('an extent that was answered stays what it was', () => {
    const map = new ExtentMap();
    const extent = map.insert(10, 500, 10, 'unwritten');
    const copy = { ...extent };
    map.convert(12, 2, 'mapped');
    map.punch(15, 1);
    map.insert(20, 510, 5, 'unwritten');
    expect(extent).toEqual(copy);
    expect([...map]).toEqual([
      { block: 10, pfn: 500, npages: 2, state: 'unwritten' },
      { block: 12, pfn: 502, npages: 2, state: 'mapped' },
      { block: 14, pfn: 504, npages: 1, state: 'unwritten' },
      { block: 16, pfn: 506, npages: 9, state: 'unwritten' },
    ]);
  });

  test('collapse and insert of a range undo each other', () => {
    const map = new ExtentMap();
    map.insert(0, 1000, 40, 'mapped');
    map.shiftRight(10, 512);
    expect([...map].map((e) => [e.block, e.pfn, e.npages])).toEqual([[0, 1000, 10], [522, 1010, 30]]);
    map.shiftLeft(522, 512);
    expect([...map].map((e) => [e.block, e.pfn, e.npages])).toEqual([[0, 1000, 40]]);
    const removed = map.punch(5, 10);
    map.shiftLeft(15, 10);
    expect(removed.map((e) => [e.block, e.pfn, e.npages])).toEqual([[5, 1005, 10]]);
    expect([...map].map((e) => [e.block, e.pfn, e.npages])).toEqual([[0, 1000, 5], [5, 1015, 25]]);
  });

  test('a visitor may punch what it visits', () => {
    const map = new ExtentMap();
    for (let i = 0; i < 100; i++) map.insert(i * 3, i * 10, 2, 'mapped');
    let seen = 0;
    map.overlapping(31, 250, (extent) => {
      seen++;
      map.punch(extent.block, extent.npages);
    });
    expect(seen).toBe(74);
    expect(map.count).toBe(26);
    let walked = 0;
    for (let e = map.next(0); e !== null; e = map.next(e.block + e.npages)) walked++;
    expect(walked).toBe(26);
  });

  test('100,000 extents in any order, each found; all converted, moved and freed', () => {
    const map = new ExtentMap();
    const n = 100_000;
    for (let i = 0; i < n; i++) {
      const k = (i * 70_001) % n; // coprime to n: a permutation
      map.insert(k * 3, 2 ** 28 + k * 5, 2, 'unwritten');
    }
    expect([map.count, map.pages]).toEqual([n, 2 * n]);
    for (let k = 0; k < n; k += 37) {
      expect(map.lookup(k * 3 + 1)).toEqual({ block: k * 3, pfn: 2 ** 28 + k * 5, npages: 2, state: 'unwritten' });
      expect(map.lookup(k * 3 + 2, n * 3)).toEqual({ hole: true, start: k * 3 + 2, npages: 1 });
    }
    expect(map.convert(1, 3 * n, 'mapped')).toBe(2 * n - 1);
    map.shiftRight(1, 10);
    expect(map.count).toBe(n + 1);
    expect(map.truncate(0).length).toBe(n + 1);
    expect([map.count, map.pages]).toEqual([0, 0]);
  });

  test('arguments out of range are refused by name, and change nothing', () => {
    const map = new ExtentMap();
    map.insert(FILE_PAGES_MAX - 4, 0, 2, 'mapped');
    expect(() => map.insert(-1, 0, 1, 'mapped')).toThrow(/index -1/);
    expect(() => map.insert(0, 0.5, 1, 'mapped')).toThrow(/pfn 0.5/);
    expect(() => map.insert(0, 0, 0, 'mapped')).toThrow(/npages 0/);
    expect(() => map.insert(FILE_PAGES_MAX - 1, 0, 2, 'mapped')).toThrow(/npages 2/);
    expect(() => map.insert(0, 0, 1, 'written' as never)).toThrow(/state written/);
    expect(() => map.convert(0, 1, 'hole' as never)).toThrow(/state hole/);
    expect(() => map.punch(0, -1)).toThrow(/npages -1/);
    expect(() => map.truncate(NaN)).toThrow(/from NaN/);
    expect(() => map.lookup(5, 5)).toThrow(/end 5/);
    expect(() => map.shiftLeft(3, 4)).toThrow(/npages 4/);
    expect(() => map.shiftRight(0, 3)).toThrow(/npages 3/);
    expect([...map].map((e) => e.block)).toEqual([FILE_PAGES_MAX - 4]);
    map.shiftRight(0, 2);
    expect([...map].map((e) => e.block)).toEqual([FILE_PAGES_MAX - 2]);
  });
});
