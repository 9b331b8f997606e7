/**
 * What a walk says where it stops, one rule a test: the cases that drivers and both HMM APIs lean on.
 */
import { describe, expect, test } from 'vitest';
import {
  DEVMAP_BIT_NONE, HDR_TABLES_CHANGED, LEVEL_PMD, LEVEL_PTE, LEVEL_PUD, PGMAP_DYING, PGMAP_LIVE, REQ_ACCESS, REQ_BUDGET, REQ_CAPACITY, REQ_DEFAULT, REQ_DEVMAP_BIT,
  REQ_FLAGS_MASK, REQ_IN, REQ_LEVELS, REQ_MODE, REQ_NONE_WORD, REQ_NPAGES, REQ_ORDER_SHIFT, REQ_OUT, REQ_PFN_SHIFT, REQ_PGMAP, REQ_REQ_FAULT, REQ_REQ_WRITE,
  REQ_ROOT, REQ_VALID_WORD, REQ_VPN, REQ_WRITE_WORD, REQ_ZERO_PFN, STOP_BAD, STOP_BUDGET, STOP_DONE_ALL, STOP_DYING, STOP_END, STOP_ENTRY, STOP_HOLE,
  STOP_LAST, STOP_LEVEL, STOP_NEEDS_FAULT, STOP_NEEDS_WRITE, STOP_NONPRESENT, STOP_REASON, STOP_SLOT, STOP_SPECIAL, STOP_STEPS, STOP_VPN,
  WALK_ACCESSED, WALK_FAULT, WALK_NO_FILL, WALK_PER_PAGE, WALK_PGMAP, WALK_STOP_AT_HOLES, WALK_ZERO_OK,
} from '../../../src/abi.ts';
import { A, D, P, PROTNONE, PSE, RW, SPECIAL } from '../../support/naiveSpace.ts';
import { BUILDS, BareArena } from '../../support/wasm.ts';

const VALID = 1n << 63n;
const WRITE = 1n << 62n;
const DEVMAP = 1n << 58n;
const TIB = 1n << 40n;

interface WalkOptions {
  mode?: number;
  preset?: bigint;
  budget?: number;
  pgmap?: number;
  devmapBit?: number;
  words?: readonly bigint[];
}

/** An address space of four levels in an arena of its own, walked in the modern encoding. */
class Space {
  readonly arena: BareArena;
  readonly root: number;

  constructor(build: (typeof BUILDS)[number]) {
    this.arena = new BareArena(build);
    this.root = this.arena.root();
  }

  set(vpn: number, level: number, entry: bigint): this {
    this.arena.setRaw(this.root, 4, BigInt(vpn), level, entry);
    return this;
  }

  /** `count` ptes for frames in a row. */
  ptes(vpn: number, count: number, pfn: bigint, flags: bigint): this {
    for (let i = 0; i < count; i++) this.set(vpn + i, LEVEL_PTE, ((pfn + BigInt(i)) << 12n) | flags);
    return this;
  }

  entry(vpn: number): bigint {
    const slot = this.arena.wasm.descend(this.root, 4, vpn) >>> 0;
    return this.arena.get64(slot - (slot & 7));
  }

  walk(vpn: number, npages: number, { mode = 0, preset = 0n, budget = 0, pgmap = 0, devmapBit = 58, words = [] }: WalkOptions = {}) {
    const { arena } = this;
    const r = arena.req;
    arena.setF(r + REQ_VPN, vpn);
    arena.setF(r + REQ_ZERO_PFN, 77);
    for (const [field, value] of [
      [REQ_NPAGES, npages], [REQ_ROOT, this.root], [REQ_LEVELS, 4], [REQ_OUT, arena.free], [REQ_MODE, mode], [REQ_BUDGET, budget], [REQ_DEVMAP_BIT, devmapBit],
      [REQ_PFN_SHIFT, 0], [REQ_ORDER_SHIFT, 56], [REQ_PGMAP, pgmap],
    ] as const) arena.set32(r + field, value);
    for (const [field, value] of [
      [REQ_VALID_WORD, VALID], [REQ_WRITE_WORD, WRITE], [REQ_NONE_WORD, 0n], [REQ_REQ_FAULT, VALID], [REQ_REQ_WRITE, WRITE], [REQ_FLAGS_MASK, VALID | WRITE],
      [REQ_DEFAULT, preset],
    ] as const) arena.set64(r + field, value);
    for (let i = 0; i < npages; i++) arena.set64(arena.free + i * 8, words[i] ?? 0n);
    const done = arena.wasm.walk(r) >>> 0;
    return {
      done, reason: arena.get32(r + STOP_REASON), vpn: arena.getF(r + STOP_VPN), end: arena.getF(r + STOP_END), last: arena.getF(r + STOP_LAST),
      level: arena.get32(r + STOP_LEVEL), entry: arena.get64(r + STOP_ENTRY), slot: arena.get32(r + STOP_SLOT), pgmap: arena.get32(r + REQ_PGMAP),
      steps: arena.get32(r + STOP_STEPS),
    };
  }

  /** translateBatch() of `vpns`: their frames, or -STOP_*; held against the count it returns. */
  batch(vpns: readonly number[], access: number): number[] {
    const { arena } = this;
    const r = arena.req;
    for (const [field, value] of [
      [REQ_ROOT, this.root], [REQ_LEVELS, 4], [REQ_ACCESS, access], [REQ_CAPACITY, vpns.length], [REQ_IN, arena.free], [REQ_OUT, arena.free],
    ] as const) arena.set32(r + field, value);
    vpns.forEach((vpn, i) => arena.setF(arena.free + i * 8, vpn));
    const found = arena.wasm.translateBatch(r) >>> 0;
    const answers = vpns.map((_, i) => arena.getF(arena.free + i * 8));
    expect(found).toBe(answers.filter((answer) => answer >= 0).length);
    return answers;
  }

  word(i: number): bigint {
    return this.arena.get64(this.arena.free + i * 8);
  }
}

describe.each(BUILDS)('%s: a walk', (build) => {
  test('answers frame, rights and order of each leaf size', () => {
    const s = new Space(build).set(5, LEVEL_PTE, (9n << 12n) | P | RW).set(512, LEVEL_PMD, (1024n << 12n) | P | PSE);
    s.set(262144, LEVEL_PUD, (524288n << 12n) | P | PSE | RW);
    expect(s.walk(5, 1).reason).toBe(STOP_DONE_ALL);
    expect(s.word(0)).toBe(9n | VALID | WRITE);
    s.walk(514, 2);
    expect([s.word(0), s.word(1)]).toEqual([1026n | VALID | (9n << 56n), 1027n | VALID | (9n << 56n)]);
    s.walk(262144 + 1000, 1);
    expect(s.word(0)).toBe(525288n | VALID | WRITE | (18n << 56n));
  });

  test('counts a hole at the end of the range only when it stands in a pte table', () => {
    const s = new Space(build).ptes(0, 512, 100n, P | RW).set(1024, LEVEL_PTE, P | (1n << 12n));
    expect(s.walk(0, 1024)).toMatchObject({ reason: STOP_DONE_ALL, done: 1024, last: 512 });
    expect(s.walk(0, 2048)).toMatchObject({ reason: STOP_DONE_ALL, last: 1536 });
    expect(s.walk(512, 512)).toMatchObject({ reason: STOP_DONE_ALL, last: 512 });
  });

  test('one page that asks makes a whole hole above pte level ask, from its first page on', () => {
    const s = new Space(build).set(0, LEVEL_PTE, P);
    const words = Array.from({ length: 600 }, (_, i) => (i === 590 ? VALID : 0n));
    expect(s.walk(1, 600, { mode: WALK_FAULT | WALK_PER_PAGE, words })).toMatchObject({ reason: STOP_NEEDS_FAULT, vpn: 512, end: 601, level: LEVEL_PMD });
    expect(s.word(590)).toBe(VALID);
    words[590] = 0n;
    words[300] = VALID;
    expect(s.walk(1, 600, { mode: WALK_FAULT | WALK_PER_PAGE, words })).toMatchObject({ reason: STOP_NEEDS_FAULT, vpn: 301, end: 302, level: LEVEL_PTE });
  });

  test('asking for write without asking for the page asks for nothing', () => {
    const s = new Space(build).ptes(0, 40, 100n, P);
    expect(s.walk(0, 40, { mode: WALK_FAULT, preset: WRITE }).reason).toBe(STOP_DONE_ALL);
    expect(s.walk(0, 40, { mode: WALK_FAULT, preset: VALID }).reason).toBe(STOP_DONE_ALL);
    expect(s.walk(0, 40, { mode: WALK_FAULT, preset: VALID | WRITE })).toMatchObject({ reason: STOP_NEEDS_WRITE, vpn: 0 });
    const words = Array.from({ length: 40 }, (_, i) => (i === 33 ? VALID | WRITE : i === 20 ? WRITE : VALID));
    expect(s.walk(0, 40, { mode: WALK_FAULT | WALK_PER_PAGE, words })).toMatchObject({ reason: STOP_NEEDS_WRITE, vpn: 33, end: 34 });
    expect(s.walk(0, 40, { mode: WALK_PER_PAGE, words }).reason).toBe(STOP_DONE_ALL);
  });

  test('stops at every hole when told to, and says where', () => {
    const s = new Space(build).ptes(0, 3, 100n, P);
    expect(s.walk(0, 8, { mode: WALK_STOP_AT_HOLES })).toMatchObject({ reason: STOP_HOLE, vpn: 3, end: 4, level: LEVEL_PTE, done: 3 });
    expect(s.walk(600, 8, { mode: WALK_STOP_AT_HOLES })).toMatchObject({ reason: STOP_HOLE, vpn: 600, end: 608, level: LEVEL_PMD });
    expect(s.walk(2 ** 30, 8, { mode: WALK_STOP_AT_HOLES })).toMatchObject({ reason: STOP_HOLE, end: 2 ** 30 + 8, level: 3, slot: s.root + 8 * 8 });
  });

  test('A or D alone are none; P clear and anything else is not present', () => {
    const s = new Space(build).set(0, LEVEL_PTE, A).set(1, LEVEL_PTE, D | A).set(2, LEVEL_PTE, PROTNONE | A).set(512, LEVEL_PMD, PROTNONE | PSE);
    expect(s.walk(0, 8)).toMatchObject({ reason: STOP_NONPRESENT, vpn: 2, entry: PROTNONE | A, level: LEVEL_PTE });
    expect(s.walk(3, 600)).toMatchObject({ reason: STOP_NONPRESENT, vpn: 512, end: 603, level: LEVEL_PMD });
  });

  test('an entry that is no table and no leaf is bad', () => {
    const s = new Space(build).set(512, LEVEL_PMD, P | (1n << 45n)).set(2 ** 27, 3, P | PSE);
    expect(s.walk(512, 1)).toMatchObject({ reason: STOP_BAD, level: LEVEL_PMD, vpn: 512 });
    expect(s.walk(2 ** 27 + 5, 1)).toMatchObject({ reason: STOP_BAD, level: 3 });
    for (const vpn of [512, 2 ** 27 + 5]) expect([s.arena.wasm.translate(s.root, 4, vpn, 0), s.arena.wasm.descend(s.root, 4, vpn)]).toEqual([-STOP_BAD, 0]);
    expect(s.walk(2 ** 36 - 2, 5)).toMatchObject({ reason: STOP_BAD, vpn: 2 ** 36, done: 2, slot: 0 });
  });

  test('a huge leaf is one even where its frame lies among the tables', () => {
    const s = new Space(build);
    while (s.arena.wasm.frameAlloc() < 4096 * 600);
    s.set(512, LEVEL_PMD, (512n << 12n) | P | PSE);
    expect(s.walk(512, 1).reason).toBe(STOP_DONE_ALL);
    expect(s.word(0)).toBe(512n | VALID | (9n << 56n));
    expect(s.arena.wasm.translate(s.root, 4, 515, 0)).toBe(515);
  });

  test('stops at the one read-only page that is asked for write, and at the one hole that is asked for, among hundreds that are not', () => {
    const pages = Array.from({ length: 512 }, (_, i) => i);
    const isHole = (i: number): boolean => i % 5 === 4;
    const isWritable = (i: number): boolean => i % 3 !== 0;
    const s = new Space(build);
    for (const i of pages) if (!isHole(i)) s.set(i, LEVEL_PTE, (BigInt(1000 + i) << 12n) | P | (isWritable(i) ? RW : 0n));
    const asked = pages.map((i) => (isHole(i) ? 0n : isWritable(i) ? VALID | WRITE : VALID));
    const want = pages.map((i) => (isHole(i) ? 0n : BigInt(1000 + i) | VALID | (isWritable(i) ? WRITE : 0n)));
    const mode = WALK_FAULT | WALK_PER_PAGE;
    expect(s.walk(0, 512, { mode, words: asked })).toMatchObject({ reason: STOP_DONE_ALL, done: 512 });
    expect(pages.map((i) => s.word(i))).toEqual(want);
    for (const [at, word, reason] of [[303, VALID | WRITE, STOP_NEEDS_WRITE], [304, VALID, STOP_NEEDS_FAULT]] as const) {
      expect(s.walk(0, 512, { mode, words: asked.with(at, word) })).toMatchObject({ reason, vpn: at, done: at });
      expect(pages.slice(0, at).map((i) => s.word(i))).toEqual(want.slice(0, at));
      expect(s.word(at)).toBe(word);
    }
  });

  test('takes frames of a window that is no power of two, read-only ones among writable', () => {
    const s = new Space(build);
    s.arena.setPgmaps([{ base: TIB, end: TIB + 48n * 4096n, state: PGMAP_LIVE }]);
    for (let i = 0; i < 96; i++) s.set(i, LEVEL_PTE, (((TIB >> 12n) + BigInt((i * 7) % 48)) << 12n) | P | DEVMAP | (i % 3 === 0 ? 0n : RW));
    expect(s.walk(0, 96, { mode: WALK_PGMAP })).toMatchObject({ reason: STOP_DONE_ALL, done: 96 });
    for (let i = 0; i < 96; i++) expect(s.word(i)).toBe(((TIB >> 12n) + BigInt((i * 7) % 48)) | VALID | (i % 3 === 0 ? 0n : WRITE));
    s.set(70, LEVEL_PTE, TIB + 48n * 4096n + (P | DEVMAP));
    expect(s.walk(0, 96, { mode: WALK_PGMAP })).toMatchObject({ reason: STOP_DYING, vpn: 70, done: 70 });
  });

  test('a batch answers as single calls do, from one GiB to the next and back', () => {
    const s = new Space(build).ptes(0, 600, 7n, P).set(2 ** 18, LEVEL_PMD, (1024n << 12n) | P | PSE).set(2 ** 19, LEVEL_PUD, (2n ** 20n << 12n) | P | PSE | RW);
    s.set(3 * 2 ** 18, LEVEL_PUD, PROTNONE | PSE).set(5 * 2 ** 27, 3, P | PSE);
    const vpns = [5, 599, 2 ** 18 + 9, 2 ** 19 + 77, 2 ** 19 + 300, 2 ** 18 + 512, 6, 601, 3 * 2 ** 18, 5 * 2 ** 27, 2 ** 30, 511, 2 ** 35];
    for (const access of [0, 1]) {
      const batch = s.batch(vpns, access);
      expect(batch).toEqual(vpns.map((vpn) => s.arena.wasm.translate(s.root, 4, vpn, access)));
      if (access === 0) expect(batch).toEqual([12, 606, 1033, 2 ** 20 + 77, 2 ** 20 + 300, -STOP_HOLE, 13, -STOP_HOLE, -STOP_NONPRESENT, -STOP_BAD, -STOP_HOLE, 518, -STOP_HOLE]);
    }
  });

  test('what is no page number is bad, and those beside it are not', () => {
    const s = new Space(build).ptes(0, 8, 7n, P);
    const none = [-1, 2 ** 52, 2 ** 53 + 2, Infinity, -Infinity, NaN];
    for (const vpn of none) expect(s.arena.wasm.translate(s.root, 4, vpn, 0)).toBe(-STOP_BAD);
    expect(s.batch([1, ...none, 2], 0)).toEqual([8, ...none.map(() => -STOP_BAD), 9]);
  });

  test('a special entry stops it, unless devmap or an allowed zero page', () => {
    const s = new Space(build).ptes(0, 2, 77n, P | SPECIAL).set(2, LEVEL_PTE, (79n << 12n) | P | SPECIAL | DEVMAP);
    expect(s.walk(0, 1)).toMatchObject({ reason: STOP_SPECIAL, vpn: 0 });
    expect(s.walk(0, 2, { mode: WALK_ZERO_OK })).toMatchObject({ reason: STOP_SPECIAL, vpn: 1 });
    expect(s.word(0)).toBe(77n | VALID);
    expect(s.walk(2, 1).reason).toBe(STOP_DONE_ALL);
    expect(s.walk(2, 1, { devmapBit: DEVMAP_BIT_NONE }).reason).toBe(STOP_SPECIAL);
    expect(s.walk(0, 1, { mode: WALK_ZERO_OK | WALK_FAULT, preset: VALID | WRITE })).toMatchObject({ reason: STOP_NEEDS_WRITE, vpn: 0 });
  });

  test('the zero page is read only whatever its RW says, in runs too', () => {
    const zero = (77n << 12n) | P | SPECIAL;
    const s = new Space(build);
    for (let i = 0; i < 64; i++) s.set(i, LEVEL_PTE, zero | (i >= 20 && i < 40 ? RW : 0n));
    expect(s.walk(0, 64, { mode: WALK_ZERO_OK }).reason).toBe(STOP_DONE_ALL);
    for (let i = 0; i < 64; i++) expect(s.word(i)).toBe(77n | VALID);
    const words = Array.from({ length: 64 }, (_, i) => (i === 30 ? VALID | WRITE : VALID));
    expect(s.walk(0, 64, { mode: WALK_ZERO_OK | WALK_FAULT | WALK_PER_PAGE, words })).toMatchObject({ reason: STOP_NEEDS_WRITE, vpn: 30 });
  });

  test('takes one pgmap reference at a time, and puts it at the end of each table', () => {
    const s = new Space(build).ptes(0, 20, TIB >> 12n, P | DEVMAP).ptes(20, 20, (TIB >> 12n) + 1000n, P | DEVMAP).set(41, LEVEL_PTE, PROTNONE);
    s.arena.setPgmaps([{ base: TIB, end: TIB + 4096n * 20n, state: PGMAP_LIVE }, { base: TIB + 4096n * 1000n, end: TIB + 4096n * 1020n, state: PGMAP_LIVE }]);
    expect(s.walk(0, 20, { mode: WALK_PGMAP }).pgmap).toBe(0);
    expect(s.walk(0, 512, { mode: WALK_PGMAP })).toMatchObject({ reason: STOP_NONPRESENT, vpn: 41, pgmap: 2 });
    expect(s.walk(0, 512, { mode: WALK_PGMAP, budget: 10 })).toMatchObject({ reason: STOP_BUDGET, vpn: 10, pgmap: 1 });
  });

  test('holes take no pgmap reference, also after a table of devmap pages', () => {
    const s = new Space(build).ptes(0, 512, TIB >> 12n, P | DEVMAP).set(100, LEVEL_PTE, 0n).set(512 + 14, LEVEL_PTE, PROTNONE);
    s.arena.setPgmaps([{ base: TIB, end: TIB + 4096n * 512n, state: PGMAP_LIVE }]);
    for (let holes = 1; holes < 15; holes++) {
      s.set(512 + holes, LEVEL_PTE, PROTNONE);
      expect(s.walk(0, 1024, { mode: WALK_PGMAP })).toMatchObject({ reason: STOP_NONPRESENT, vpn: 512 + holes, pgmap: 0 });
      s.set(512 + holes, LEVEL_PTE, 0n);
    }
  });

  test('who holds a dying pgmap keeps it to the end of the table, and is refused in the next', () => {
    const s = new Space(build).ptes(0, 1024, TIB >> 12n, P | DEVMAP);
    s.arena.setPgmaps([{ base: TIB, end: TIB + 4096n * 1024n, state: PGMAP_DYING }]);
    expect(s.walk(0, 1024, { mode: WALK_PGMAP })).toMatchObject({ reason: STOP_DYING, vpn: 0, pgmap: 0 });
    expect(s.walk(3, 1021, { mode: WALK_PGMAP, pgmap: 1 })).toMatchObject({ reason: STOP_DYING, vpn: 512, done: 509, pgmap: 0 });
    expect(s.walk(0, 1024).reason).toBe(STOP_DONE_ALL);
  });

  test('a huge leaf over two pgmaps stops at the first page of the dying one, with the pages before written', () => {
    const s = new Space(build).set(512, LEVEL_PMD, TIB | P | PSE | DEVMAP);
    s.arena.setPgmaps([{ base: TIB, end: TIB + 4096n * 100n, state: PGMAP_LIVE }, { base: TIB + 4096n * 100n, end: TIB + 4096n * 512n, state: PGMAP_DYING }]);
    expect(s.walk(512, 512, { mode: WALK_PGMAP })).toMatchObject({ reason: STOP_DYING, vpn: 612, done: 100, pgmap: 0, last: 512, level: LEVEL_PMD });
    expect([s.word(99), s.word(100)]).toEqual([(TIB >> 12n) + 99n | VALID | (9n << 56n), 0n]);
  });

  test('a budget is exact: ptes one by one, a huge leaf or a hole as one', () => {
    const s = new Space(build).ptes(0, 512, 100n, P).set(512, LEVEL_PMD, P | PSE);
    expect(s.walk(0, 2048, { budget: 37 })).toMatchObject({ reason: STOP_BUDGET, vpn: 37, done: 37, steps: 37, last: 37 });
    expect(s.walk(0, 2048, { budget: 513 })).toMatchObject({ reason: STOP_BUDGET, vpn: 1024, steps: 513 });
    expect(s.walk(0, 2048, { budget: 515 })).toMatchObject({ reason: STOP_DONE_ALL, vpn: 2048, steps: 515 });
  });

  test('without side effects it changes nothing, with them A, and D where write was asked for and allowed', () => {
    const s = new Space(build).ptes(0, 20, 100n, P | RW).set(512, LEVEL_PMD, P | PSE | RW);
    const before = s.arena.get32(HDR_TABLES_CHANGED);
    s.walk(0, 1024, { mode: WALK_FAULT | WALK_NO_FILL, preset: 0n });
    expect([s.entry(0) & (A | D), s.entry(512) & (A | D), s.arena.get32(HDR_TABLES_CHANGED)]).toEqual([0n, 0n, before]);
    s.walk(0, 10, { mode: WALK_ACCESSED });
    expect([s.entry(9) & (A | D), s.entry(10) & (A | D), s.arena.get32(HDR_TABLES_CHANGED)]).toEqual([A, 0n, before + 10]);
    s.walk(0, 20, { mode: WALK_ACCESSED | WALK_FAULT, preset: VALID | WRITE });
    s.walk(512, 2, { mode: WALK_ACCESSED | WALK_FAULT, preset: VALID | WRITE });
    expect([s.entry(19) & (A | D), s.entry(512) & (A | D), s.arena.get32(HDR_TABLES_CHANGED)]).toEqual([A | D, A | D, before + 31]);
  });

  test('WALK_NO_FILL looks and writes no word', () => {
    const s = new Space(build).ptes(0, 512, 100n, P).set(512, LEVEL_PMD, P | PSE);
    const words = Array.from({ length: 1600 }, () => 42n);
    expect(s.walk(0, 1600, { mode: WALK_NO_FILL, words })).toMatchObject({ reason: STOP_DONE_ALL, done: 1600 });
    expect([s.word(0), s.word(600), s.word(1599)]).toEqual([42n, 42n, 42n]);
  });
});
