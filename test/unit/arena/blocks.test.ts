import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Blocks, Sections, type SectionPort } from '../../../dist/arena/blocks.js';
import { InvariantError } from '../../../dist/errno.js';

const MiB = 2 ** 20;
const SECTION = 2 * MiB;
const UNIT = 64;

const roundUp = (bytes: number): number => {
  let size = UNIT;
  while (size < bytes) size *= 2;
  return size;
};

/** Every 64 bytes one by one, in an arena of a few sections. A section is taken by its first block and given back with its last. */
class NaiveBlocks {
  readonly blocks = new Map<number, number>();
  readonly runs = new Map<number, number>();
  readonly #used: Uint8Array;
  readonly #floor: number;

  constructor(limit: number, floor: number) {
    this.#used = new Uint8Array(limit / UNIT);
    this.#floor = Math.ceil(floor / SECTION) * SECTION;
  }

  get usedBytes(): number {
    return [...this.blocks.values()].reduce((sum, size) => sum + size, 0) + [...this.runs.values()].reduce((sum, n) => sum + n * SECTION, 0);
  }

  #inSections(): Set<number> {
    return new Set([...this.blocks.keys()].map((offset) => Math.floor(offset / SECTION)));
  }

  #isFree(offset: number, bytes: number): boolean {
    return this.#used.subarray(offset / UNIT, (offset + bytes) / UNIT).every((unit) => unit === 0);
  }

  #highest(size: number, allowed: (offset: number) => boolean): number {
    for (let offset = this.#used.length * UNIT - size; offset >= this.#floor; offset -= size) {
      if (offset % size === 0 && allowed(offset) && this.#isFree(offset, size)) return offset;
    }
    return 0;
  }

  alloc(bytes: number): number {
    const size = roundUp(bytes);
    const cut = this.#inSections();
    const within = this.#highest(size, (offset) => cut.has(Math.floor(offset / SECTION)));
    // else the highest section that is all free, and the top of that
    const section = within === 0 ? this.takeRun(1) : 0;
    const offset = within !== 0 ? within : section !== 0 ? section + SECTION - size : 0;
    if (section !== 0) this.#used.fill(0, section / UNIT, (section + SECTION) / UNIT);
    if (offset === 0) return 0;
    this.#used.fill(1, offset / UNIT, (offset + size) / UNIT);
    this.blocks.set(offset, size);
    return offset;
  }

  takeRun(n: number): number {
    const cut = this.#inSections();
    for (let offset = this.#used.length * UNIT - n * SECTION; offset >= this.#floor; offset -= SECTION) {
      const sections = Array.from({ length: n }, (_, i) => offset / SECTION + i);
      if (sections.some((s) => cut.has(s)) || !this.#isFree(offset, n * SECTION)) continue;
      this.#used.fill(1, offset / UNIT, offset / UNIT + (n * SECTION) / UNIT);
      return offset;
    }
    return 0;
  }

  free(offset: number, bytes: number): boolean {
    const size = roundUp(bytes);
    if (this.blocks.get(offset) !== size) return false;
    this.blocks.delete(offset);
    this.#used.fill(0, offset / UNIT, (offset + size) / UNIT);
    return true;
  }

  freeRun(offset: number): void {
    const n = this.runs.get(offset)!;
    this.runs.delete(offset);
    this.#used.fill(0, offset / UNIT, offset / UNIT + (n * SECTION) / UNIT);
  }
}

const size = fc.oneof(fc.constantFrom(1, 64, 65, 2048, 4096, 4097, 65536, MiB, SECTION), fc.nat(20).map((k) => 2 ** k + 1));
const op = fc.record({ kind: fc.constantFrom('alloc', 'alloc', 'alloc', 'free', 'free', 'wrong', 'run', 'freeRun'), bytes: size, pick: fc.nat(), n: fc.integer({ min: 1, max: 3 }) });

describe('Blocks over Sections', () => {
  test('hands out the highest aligned room, takes back what it handed out and nothing else', () => {
    fc.assert(
      fc.property(fc.array(op, { maxLength: 100, size: 'max' }), (ops) => {
        const limit = 8 * SECTION;
        const floor = 300_000;
        const sections = new Sections({ limit: limit + 5, floor: () => floor });
        const blocks = new Blocks(sections);
        const naive = new NaiveBlocks(limit, floor);
        for (const { kind, bytes, pick, n } of ops) {
          const list = [...naive.blocks];
          const [offset, length] = list[pick % Math.max(1, list.length)] ?? [0, 0];
          const runs = [...naive.runs.keys()];
          if (kind === 'alloc') {
            expect(blocks.alloc(bytes)).toBe(naive.alloc(bytes));
          } else if (kind === 'free' && offset !== 0) {
            naive.free(offset, length);
            blocks.free(offset, length);
          } else if (kind === 'wrong') {
            const at = offset + (pick % 3) * UNIT;
            if (naive.free(at, bytes)) blocks.free(at, bytes);
            else expect(() => blocks.free(at, bytes)).toThrow(InvariantError);
          } else if (kind === 'run') {
            const at = naive.takeRun(n);
            if (at !== 0) naive.runs.set(at, n);
            expect(blocks.allocRun(n)).toBe(at);
          } else if (kind === 'freeRun' && runs.length > 0) {
            const at = runs[pick % runs.length]!;
            const count = naive.runs.get(at)!;
            expect(() => blocks.freeRun(at, count + 1)).toThrow(InvariantError);
            naive.freeRun(at);
            blocks.freeRun(at, count);
          }
          expect(blocks.usedBytes).toBe(naive.usedBytes);
        }
        const cut = new Set([...naive.blocks.keys()].map((at) => Math.floor(at / SECTION)));
        expect(sections.usedSections).toBe(cut.size + [...naive.runs.values()].reduce((sum, k) => sum + k, 0));
        const lowest = Math.min(limit, ...[...cut].map((s) => s * SECTION), ...naive.runs.keys());
        expect(sections.bottom).toBe(lowest);
        if (ops.length % 2 === 0) {
          blocks.reset();
        } else {
          for (const [at, length] of naive.blocks) blocks.free(at, length);
          for (const [at, length] of naive.runs) blocks.freeRun(at, length);
        }
        expect([blocks.usedBytes, sections.usedSections, sections.bottom]).toEqual([0, 0, limit]);
      }),
      { numRuns: 60 },
    );
  });

  test('fills an arena of 16 MiB to the last block, and empties it', () => {
    const blocks = new Blocks(new Sections({ limit: 16 * MiB, floor: () => 200_000 }));
    const offsets: number[] = [];
    for (let offset = blocks.alloc(4096); offset !== 0; offset = blocks.alloc(4096)) offsets.push(offset);
    expect(offsets.length).toBe(7 * 512);
    expect(Math.min(...offsets)).toBe(SECTION);
    expect(blocks.alloc(64)).toBe(0);
    expect(blocks.allocRun(1)).toBe(0);
    for (const offset of offsets) blocks.free(offset, 4096);
    expect(blocks.usedBytes).toBe(0);
    expect(blocks.allocRun(7)).toBe(SECTION);
  });

  test('after reset() the story repeats', () => {
    const blocks = new Blocks(new Sections({ limit: 4096 * MiB - SECTION, floor: () => 200_000 }));
    const story = (): number[] => [64, 5000, 64, SECTION, 64].map((bytes) => blocks.alloc(bytes)).concat(blocks.allocRun(3), blocks.alloc(MiB));
    const first = story();
    blocks.reset();
    expect(story()).toEqual(first);
    expect(first[0]).toBe(4096 * MiB - SECTION - 64);
  });

  test('a block is not a run and a run no block', () => {
    const blocks = new Blocks(new Sections({ limit: 16 * MiB, floor: () => 0 }));
    const block = blocks.alloc(SECTION);
    const run = blocks.allocRun(1);
    expect(() => blocks.freeRun(block, 1)).toThrow(InvariantError);
    expect(() => blocks.free(run, SECTION)).toThrow(InvariantError);
    blocks.free(block, SECTION);
    expect(() => blocks.free(block, SECTION)).toThrow(InvariantError);
    blocks.freeRun(run, 1);
    expect(() => blocks.freeRun(run, 1)).toThrow(InvariantError);
  });

  test('what was handed out in pieces is not freed as a whole, nor the other way round', () => {
    const blocks = new Blocks(new Sections({ limit: 16 * MiB, floor: () => 0 }));
    for (const [whole, piece] of [[128, 64], [4096, 64], [8192, 4096], [SECTION, 4096], [SECTION, MiB]] as const) {
      blocks.reset();
      const offsets = Array.from({ length: whole / piece }, () => blocks.alloc(piece));
      const first = Math.min(...offsets);
      expect(first % whole).toBe(0);
      expect(() => blocks.free(first, whole), `${whole} in pieces of ${piece}`).toThrow(InvariantError);
      for (const offset of offsets) blocks.free(offset, piece);
      const block = blocks.alloc(whole);
      expect(block).toBe(first);
      expect(() => blocks.free(first, piece)).toThrow(InvariantError);
      expect(blocks.usedBytes).toBe(whole);
    }
  });

  test('a port that has nothing left changes nothing', () => {
    let left = 1;
    const port: SectionPort = { takeSections: (n) => (n <= left ? (left -= n, SECTION) : 0), giveSections: (_, n) => { left += n; } };
    const blocks = new Blocks(port);
    expect(blocks.allocRun(2)).toBe(0);
    const offset = blocks.alloc(MiB + 1);
    expect(offset).toBe(SECTION);
    expect(blocks.alloc(64)).toBe(0);
    expect(blocks.usedBytes).toBe(SECTION);
    blocks.free(offset, SECTION);
    expect(left).toBe(1);
  });
});

describe('Sections', () => {
  test('meets the frames that grow towards it, and tells its lower edge', () => {
    let frames = 1;
    const edges: number[] = [];
    const sections = new Sections({ limit: 6 * SECTION, floor: () => frames, onBottom: (offset) => edges.push(offset / SECTION) });
    expect(sections.takeSections(2)).toBe(4 * SECTION);
    expect(sections.takeSections(1)).toBe(3 * SECTION);
    sections.giveSections(4 * SECTION, 2); // not at the edge
    expect(sections.bottom).toBe(3 * SECTION);
    frames = 2 * SECTION + 1;
    expect(sections.takeSections(3)).toBe(0);
    expect(sections.takeSections(1)).toBe(5 * SECTION); // the freed run first
    sections.giveSections(3 * SECTION, 1); // joins [4, 5), which was free: both are the frames' again
    expect(sections.bottom).toBe(5 * SECTION);
    expect(sections.takeSections(2)).toBe(3 * SECTION);
    frames = 0;
    sections.reset();
    expect(sections.usedSections).toBe(0);
    expect(sections.takeSections(5)).toBe(SECTION); // offset 0 is nobody's
    expect(edges).toEqual([4, 3, 5, 3, 6, 1]);
  });

  test('what was not taken cannot be given', () => {
    const sections = new Sections({ limit: 16 * MiB, floor: () => 0 });
    const offset = sections.takeSections(2);
    expect(() => sections.giveSections(offset, 3)).toThrow(InvariantError);
    expect(() => sections.giveSections(offset - SECTION, 2)).toThrow(InvariantError);
    expect(() => sections.giveSections(offset + 4096, 1)).toThrow(InvariantError);
    expect(sections.usedSections).toBe(2);
    sections.giveSections(offset + SECTION, 1);
    sections.giveSections(offset, 1);
    expect(() => sections.giveSections(offset, 1)).toThrow(InvariantError);
  });
});

test('arguments out of range are refused by name', () => {
  expect(() => new Sections({ limit: 4097 * MiB, floor: () => 0 })).toThrow(/limit/);
  expect(() => new Sections({ limit: 16 * MiB, floor: () => 0, flor: 1 } as never)).toThrow(/unknown option 'flor'/);
  const sections = new Sections({ limit: 16 * MiB, floor: () => 0 });
  const blocks = new Blocks(sections);
  expect(() => sections.takeSections(0)).toThrow(/n 0/);
  expect(() => sections.giveSections(-1, 1)).toThrow(/offset -1/);
  expect(() => blocks.alloc(0)).toThrow(/bytes 0/);
  expect(() => blocks.alloc(SECTION + 1)).toThrow(/bytes 2097153/);
  expect(() => blocks.alloc(64.5)).toThrow(RangeError);
  expect(() => blocks.free(-64, 64)).toThrow(/offset -64/);
  expect(() => blocks.allocRun(-1)).toThrow(/nsections -1/);
  expect(blocks.usedBytes + sections.usedSections).toBe(0);
});
