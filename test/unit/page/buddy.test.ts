import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { InvariantError } from '../../../dist/errno.js';
import { Buddy, ORDER_MAX } from '../../../dist/page/buddy.js';

/** Every page one by one; blocks by first pfn. */
class NaiveBuddy {
  readonly blocks = new Map<number, number>();
  readonly base: number;
  readonly npages: number;
  readonly #free: Uint8Array;

  constructor(base: number, npages: number) {
    this.base = base;
    this.npages = npages;
    this.#free = new Uint8Array(npages).fill(1);
  }

  get freePages(): number {
    return this.#free.reduce((sum, page) => sum + page, 0);
  }

  /** The lowest aligned block of free pages. */
  alloc(order: number): number {
    const size = 2 ** order;
    for (let pfn = Math.ceil(this.base / size) * size; pfn + size <= this.base + this.npages; pfn += size) {
      if (!this.#free.subarray(pfn - this.base, pfn - this.base + size).every((page) => page === 1)) continue;
      this.#free.fill(0, pfn - this.base, pfn - this.base + size);
      this.blocks.set(pfn, order);
      return pfn;
    }
    return -1;
  }

  free(pfn: number, order: number): boolean {
    if (this.blocks.get(pfn) !== order) return false;
    this.blocks.delete(pfn);
    this.#free.fill(1, pfn - this.base, pfn - this.base + 2 ** order);
    return true;
  }

  split(pfn: number, order: number, to: number): boolean {
    if (this.blocks.get(pfn) !== order) return false;
    for (let i = 0; i < 2 ** order; i += 2 ** to) this.blocks.set(pfn + i, to);
    return true;
  }
}

const GIB = 262144;
const region = fc.oneof(
  fc.record({ base: fc.constantFrom(0, 512, 2 ** 20, 2 ** 32, 2 ** 36), npages: fc.integer({ min: 1, max: 3000 }) }),
  fc.record({ base: fc.integer({ min: GIB - 1500, max: GIB + 700 }), npages: fc.integer({ min: 1, max: 3000 }) }),
);
const op = fc.record({ kind: fc.constantFrom('alloc', 'alloc', 'alloc', 'free', 'free', 'free any', 'split'), order: fc.oneof(fc.constantFrom(0, 9), fc.nat(11)), pick: fc.nat(), to: fc.nat(11) });

describe('Buddy', () => {
  test('hands out the lowest aligned block, takes back what it handed out and nothing else', () => {
    fc.assert(
      fc.property(region, fc.array(op, { maxLength: 120, size: 'max' }), ({ base, npages }, ops) => {
        const buddy = new Buddy(base, npages);
        const naive = new NaiveBuddy(base, npages);
        for (const { kind, order, pick, to } of ops) {
          const blocks = [...naive.blocks];
          const [pfn, size] = blocks[pick % Math.max(1, blocks.length)] ?? [base, 0];
          if (kind === 'alloc') {
            expect(buddy.alloc(order)).toBe(naive.alloc(order));
          } else if (kind === 'split' && to <= size && blocks.length > 0) {
            naive.split(pfn, size, to);
            buddy.split(pfn, size, to);
          } else if (kind === 'free' && blocks.length > 0) {
            naive.free(pfn, size);
            buddy.free(pfn, size);
          } else if (kind === 'free any') {
            const at = base + (pick % npages);
            expect(buddy.isAllocated(at, order)).toBe(naive.blocks.get(at) === order);
            if (naive.free(at, order)) buddy.free(at, order);
            else expect(() => buddy.free(at, order)).toThrow(InvariantError);
          }
        }
        expect(buddy.freePages).toBe(naive.freePages);
        for (const [pfn, order] of naive.blocks) buddy.free(pfn, order);
        expect(buddy.freePages).toBe(npages);
        const fresh = new NaiveBuddy(base, npages);
        for (let order = 11; order >= 0; order--) expect(buddy.alloc(order)).toBe(fresh.alloc(order));
      }),
      { numRuns: 200 },
    );
  });

  test('splits and joins through all 18 orders', () => {
    const buddy = new Buddy(2 ** 20 + 1, 4 * GIB);
    for (let order = 0; order <= ORDER_MAX; order++) {
      const before = buddy.freePages;
      const pfn = buddy.alloc(order);
      expect(pfn % 2 ** order).toBe(0);
      expect(pfn).toBeGreaterThan(2 ** 20);
      for (let other = 0; other <= ORDER_MAX; other++) expect(buddy.isAllocated(pfn, other)).toBe(other === order);
      for (let to = 0; to <= order; to += 3) {
        buddy.split(pfn, order, to);
        for (let other = 0; other <= ORDER_MAX; other++) expect(buddy.isAllocated(pfn, other)).toBe(other === to);
        for (let page = pfn; page < pfn + 2 ** order; page += 2 ** to) buddy.free(page, to);
        expect(buddy.freePages).toBe(before);
        expect(buddy.alloc(order)).toBe(pfn);
      }
      buddy.free(pfn, order);
      expect(buddy.freePages).toBe(before);
    }
    // 4 GiB less a page at the start, plus a page at the end: three whole ones
    expect([buddy.alloc(18), buddy.alloc(18), buddy.alloc(18), buddy.alloc(18)]).toEqual([2 ** 20 + GIB, 2 ** 20 + 2 * GIB, 2 ** 20 + 3 * GIB, -1]);
    expect(buddy.freePages).toBe(GIB);
  });

  test('a piece of a block, a block too large and what lies outside cannot be freed', () => {
    const buddy = new Buddy(2 ** 20, 2 * GIB);
    const huge = buddy.alloc(9);
    const gib = buddy.alloc(18);
    const page = buddy.alloc(0);
    const { freePages } = buddy;
    for (const [pfn, order] of [[huge, 0], [huge, 8], [huge + 256, 8], [huge, 10], [gib, 0], [gib, 9], [gib, 17], [page, 1], [page + 1, 0], [huge + 1, 9], [2 ** 20 - 1, 0], [2 ** 20 + 2 * GIB, 0], [0, 18], [2 ** 39, 9]] as const) {
      expect(() => buddy.free(pfn, order), `pfn ${pfn} order ${order}`).toThrow(InvariantError);
      expect(() => buddy.split(pfn, order), `pfn ${pfn} order ${order}`).toThrow(InvariantError);
    }
    expect(buddy.freePages).toBe(freePages);
    buddy.free(huge, 9);
    expect(() => buddy.free(huge, 9)).toThrow(/no block of order 9 is allocated/);
    buddy.free(gib, 18);
    expect(() => buddy.free(gib, 18)).toThrow(InvariantError);
  });

  test('runs out at the last page and not before', () => {
    const buddy = new Buddy(GIB - 3, 8);
    expect(buddy.alloc(3)).toBe(-1);
    expect(Array.from({ length: 9 }, () => buddy.alloc(0))).toEqual([GIB - 3, GIB - 2, GIB - 1, GIB, GIB + 1, GIB + 2, GIB + 3, GIB + 4, -1]);
    expect(buddy.freePages).toBe(0);
    buddy.free(GIB + 1, 0);
    buddy.free(GIB, 0);
    expect(buddy.alloc(1)).toBe(GIB);
  });

  test('1 TiB is described where it is touched, and reset() is as just created', () => {
    const npages = 2 ** 28;
    const buddy = new Buddy(2 ** 20 + 1024, npages);
    const story = (): number[] => [0, 0, 9, 18, 3, 0].map((order) => buddy.alloc(order));
    const first = story();
    expect(first).toEqual([2 ** 20 + 1024, 2 ** 20 + 1025, 2 ** 20 + 1536, 2 ** 20 + GIB, 2 ** 20 + 1032, 2 ** 20 + 1026]);
    for (let i = 0; i < 1023; i++) buddy.alloc(18);
    expect(buddy.alloc(18)).toBe(-1);
    buddy.reset();
    expect(buddy.freePages).toBe(npages);
    expect(() => buddy.free(first[0]!, 0)).toThrow(InvariantError);
    expect(story()).toEqual(first);
    let gibs = 1;
    while (buddy.alloc(18) >= 0) gibs++;
    expect(gibs).toBe(1023);
  });

  test('arguments out of range are refused by name', () => {
    expect(() => new Buddy(-1, 5)).toThrow(/basePfn -1/);
    expect(() => new Buddy(0, 0)).toThrow(/npages 0/);
    expect(() => new Buddy(2 ** 40 - 1, 2)).toThrow(/npages 2/);
    const buddy = new Buddy(0, 16);
    expect(() => buddy.alloc(19)).toThrow(/order 19/);
    expect(() => buddy.alloc(0.5)).toThrow(RangeError);
    expect(() => buddy.free(1.5, 0)).toThrow(/pfn 1.5/);
    expect(() => buddy.free(0, -1)).toThrow(/order -1/);
    const pfn = buddy.alloc(2);
    expect(() => buddy.split(pfn, 2, 3)).toThrow(/to 3/);
    expect(buddy.freePages).toBe(12);
  });
});
