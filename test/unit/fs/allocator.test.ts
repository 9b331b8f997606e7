import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { InvariantError } from '../../../dist/errno.js';
import { BlockAllocator, type Run } from '../../../dist/fs/allocator.js';

const SPACE = 4000;

/** A byte a page, and the rules of alloc() spelled out by search. */
class NaiveAllocator {
  readonly used = new Uint8Array(SPACE);
  readonly base: number;

  constructor(base: number) {
    this.base = base;
  }

  isFree(pfn: number, npages: number): boolean {
    return this.used.subarray(pfn - this.base, pfn - this.base + npages).every((page) => page === 0);
  }

  /** Lowest aligned run from `from` on. */
  #fit(npages: number, from: number, align: number): number {
    for (let pfn = Math.ceil(from / align) * align; pfn + npages <= this.base + SPACE; pfn += align) if (this.isFree(pfn, npages)) return pfn;
    return -1;
  }

  #take(runs: Run[], pfn: number, npages: number): void {
    this.used.fill(1, pfn - this.base, pfn - this.base + npages);
    const last = runs.at(-1);
    if (last !== undefined && last.pfn + last.npages === pfn) runs[runs.length - 1] = { pfn: last.pfn, npages: last.npages + npages };
    else runs.push({ pfn, npages });
  }

  alloc(npages: number, align: number, goal: number, contiguous: boolean): Run[] | null {
    if (this.used.filter((page) => page === 0).length < npages) return null;
    const runs: Run[] = [];
    const one = this.#fit(npages, goal, align);
    const pfn = one >= 0 ? one : this.#fit(npages, this.base, align);
    if (pfn >= 0) this.#take(runs, pfn, npages);
    if (pfn >= 0) return runs;
    if (contiguous) return null;
    let left = npages;
    for (const unit of align > 1 ? [align, 1] : [1]) {
      for (const from of [goal, this.base]) {
        for (let at = this.#fit(unit, from, unit); at >= 0 && left >= unit; at = this.#fit(unit, at + unit, unit)) {
          this.#take(runs, at, unit);
          left -= unit;
        }
      }
    }
    return runs;
  }
}

const op = fc.record({
  kind: fc.constantFrom('alloc', 'alloc', 'free', 'free', 'free any', 'reserve'),
  npages: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 1500 })),
  align: fc.constantFrom(1 as const, 1 as const, 512 as const),
  goal: fc.option(fc.nat(SPACE), { nil: undefined }),
  contiguous: fc.boolean(),
  at: fc.nat(SPACE - 1),
  pick: fc.nat(),
});

describe('BlockAllocator', () => {
  test('chooses as its rules say, and counts right', () => {
    fc.assert(
      fc.property(fc.constantFrom(0, 100, 2 ** 28, 2 ** 32 - 1000, 2 ** 36 - 1), fc.array(op, { maxLength: 80, size: 'max' }), (base, ops) => {
        const allocator = new BlockAllocator(base, SPACE);
        const naive = new NaiveAllocator(base);
        let runs: Run[] = [];
        for (const { kind, npages, align, goal, contiguous, at, pick } of ops) {
          const pfn = base + at;
          const run = runs[pick % Math.max(1, runs.length)];
          const inside = Math.min(npages, SPACE - at);
          if (kind === 'alloc') {
            const expected = naive.alloc(npages, align, base + (goal ?? 0), contiguous);
            expect(allocator.alloc(npages, goal === undefined ? { align, contiguous } : { align, contiguous, goal: base + goal })).toEqual(expected);
            runs = runs.concat(expected ?? []);
          } else if (kind === 'free' && run !== undefined) {
            allocator.free(run.pfn, run.npages);
            naive.used.fill(0, run.pfn - base, run.pfn - base + run.npages);
            runs = runs.filter((other) => other !== run);
          } else if (kind === 'reserve') {
            const ok = naive.isFree(pfn, inside);
            expect(allocator.reserve(pfn, inside)).toBe(ok);
            if (ok) {
              naive.used.fill(1, at, at + inside);
              runs.push({ pfn, npages: inside });
            }
          } else if (kind === 'free any' && naive.used.subarray(at, at + inside).some((page) => page === 0)) {
            expect(() => allocator.free(pfn, inside)).toThrow(InvariantError);
          }
          expect(allocator.isFree(pfn, inside)).toBe(naive.isFree(pfn, inside));
        }
        expect(allocator.freePages).toBe(naive.used.filter((page) => page === 0).length);
        const free: Run[] = [];
        naive.used.forEach((page, i) => {
          const last = free.at(-1);
          if (page !== 0) return;
          if (last !== undefined && last.pfn + last.npages === base + i) free[free.length - 1] = { pfn: last.pfn, npages: last.npages + 1 };
          else free.push({ pfn: base + i, npages: 1 });
        });
        expect([...allocator]).toEqual(free);
        for (let i = 0; i < SPACE; i += 111) expect(allocator.freeRunAt(base + i)).toEqual(free.find((f) => f.pfn <= base + i && f.pfn + f.npages > base + i) ?? null);
        for (const { pfn, npages } of runs) allocator.free(pfn, npages);
        expect([...allocator]).toEqual([{ pfn: base, npages: SPACE }]);
      }),
      { numRuns: 40 },
    );
  });

  test('goes on after the goal, then starts over', () => {
    const allocator = new BlockAllocator(1000, 100);
    expect(allocator.alloc(10, { goal: 1050 })).toEqual([{ pfn: 1050, npages: 10 }]);
    expect(allocator.alloc(10, { goal: 1055 })).toEqual([{ pfn: 1060, npages: 10 }]);
    expect(allocator.alloc(45, { goal: 1055 })).toEqual([{ pfn: 1000, npages: 45 }]);
    expect(allocator.alloc(32, { goal: 1055, contiguous: true })).toBeNull();
    expect(allocator.alloc(32, { goal: 1055 })).toEqual([{ pfn: 1070, npages: 30 }, { pfn: 1045, npages: 2 }]);
    expect(allocator.alloc(4)).toBeNull();
    expect(allocator.freePages).toBe(3);
    expect(allocator.alloc(1, { goal: 1100 })).toEqual([{ pfn: 1047, npages: 1 }]);
  });

  test('aligns to 2 MiB and 1 GiB, and lets go of alignment only when there is no other way', () => {
    const allocator = new BlockAllocator(2 ** 28 + 7, 3 * 262144);
    expect(allocator.alloc(262144, { align: 262144 })).toEqual([{ pfn: 2 ** 28 + 262144, npages: 262144 }]);
    expect(allocator.alloc(262144, { align: 262144, contiguous: true })).toEqual([{ pfn: 2 ** 28 + 2 * 262144, npages: 262144 }]);
    expect(allocator.alloc(262144, { align: 262144, contiguous: true })).toBeNull();
    expect(allocator.alloc(1, { align: 512 })).toEqual([{ pfn: 2 ** 28 + 512, npages: 1 }]);
    // two aligned 2 MiB in a row are one run
    expect(allocator.alloc(1024, { align: 512 })).toEqual([{ pfn: 2 ** 28 + 1024, npages: 1024 }]);
    const small = new BlockAllocator(512, 2048);
    small.reserve(1100, 1);
    small.reserve(2000, 1);
    // no 1400 in a row: the aligned 2 MiB there are, then the rest by address
    expect(small.alloc(1400, { align: 512 })).toEqual([{ pfn: 512, npages: 512 }, { pfn: 2048, npages: 512 }, { pfn: 1024, npages: 76 }, { pfn: 1101, npages: 300 }]);
  });

  test('frees any part of what was taken, and nothing twice', () => {
    const allocator = new BlockAllocator(0, 100);
    allocator.alloc(50);
    allocator.free(10, 20);
    expect(() => allocator.free(5, 10)).toThrow(InvariantError);
    expect(() => allocator.free(29, 2)).toThrow(InvariantError);
    expect(() => allocator.free(10, 1)).toThrow(/free already/);
    expect(() => allocator.free(49, 2)).toThrow(InvariantError);
    expect(allocator.freePages).toBe(70);
    expect([...allocator]).toEqual([{ pfn: 10, npages: 20 }, { pfn: 50, npages: 50 }]);
    allocator.reset();
    expect([...allocator]).toEqual([{ pfn: 0, npages: 100 }]);
    expect(allocator.freePages).toBe(100);
  });

  test('arguments out of range are refused by name, and change nothing', () => {
    expect(() => new BlockAllocator(-1, 5)).toThrow(/basePfn -1/);
    expect(() => new BlockAllocator(0, 0)).toThrow(/npages 0/);
    const allocator = new BlockAllocator(1000, 100);
    expect(() => allocator.alloc(0)).toThrow(/npages 0/);
    expect(() => allocator.alloc(1, { align: 3 as never })).toThrow(/align 3/);
    expect(() => allocator.alloc(1, { goal: 999 })).toThrow(/goal 999/);
    expect(() => allocator.alloc(1, { goal: 1101 })).toThrow(/goal 1101/);
    expect(() => allocator.alloc(1, { contigous: true } as never)).toThrow(/unknown option 'contigous'/);
    expect(() => allocator.free(999, 2)).toThrow(/pfn 999/);
    expect(() => allocator.free(1099, 2)).toThrow(RangeError);
    expect(() => allocator.reserve(1000.5, 1)).toThrow(/pfn 1000.5/);
    expect(() => allocator.isFree(1000, 0)).toThrow(/npages 0/);
    expect(allocator.freePages).toBe(100);
  });
});
