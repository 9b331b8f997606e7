/**
 * Table calls of every WASM build against a naive model: sequences of random operations on one space, the whole space
 * compared as they go, no frame lost at the end. A failing sequence prints its seed.
 */
import { describe, expect, test } from 'vitest';
import { ACCESS_MARK, ACCESS_READ, ACCESS_WRITE, FRAMES, HDR_FAIL_AFTER, HDR_FRAMES_USED, STOP_NO_MEMORY } from '../../../src/abi.ts';
import { Chance } from '../../support/chance.ts';
import { A, D, NaiveSpace, P, PROTNONE, PSE, RW, SPECIAL, pagesOf } from '../../support/naiveSpace.ts';
import { NaiveTables, type InstallWords, type Record } from '../../support/naiveTables.ts';
import { TableSide } from '../../support/tableSide.ts';
import { BUILDS, BareArena } from '../../support/wasm.ts';

const SEQUENCES = 360;
const SEQUENCES_A_TEST = 60;
const OPERATIONS = 24;
const PMD = 512n;
const PUD = 262144n;
const ALL = 2n ** 64n - 1n;

/** A space under test and its model, and what a sequence draws from. */
class Sequence {
  readonly c: Chance;
  readonly levels: number;
  readonly model: NaiveTables;
  readonly sides: readonly TableSide[];
  readonly base: bigint;
  readonly log: string[] = [];
  readonly seed: number;

  constructor(seed: number, arenas: readonly BareArena[]) {
    this.seed = seed;
    this.c = new Chance(seed);
    this.levels = this.c.pick([4, 4, 5]);
    this.model = new NaiveTables(new NaiveSpace(this.levels));
    this.sides = arenas.map((arena) => new TableSide(arena, this.levels));
    const top = pagesOf(this.levels);
    this.base = this.c.pick([0n, 2n ** 31n - 2n * PMD, 2n ** 32n - PMD, PUD - 3n * PMD, top - 5n * PMD, top - PUD - PMD, pagesOf(3) - 2n * PMD, PUD]);
  }

  /** A page of the neighbourhood: 6 times 2 MiB, now and then 1 GiB further. */
  page(align: bigint): bigint {
    const offset = BigInt(this.c.below(6 * 512));
    const far = this.c.oneIn(8) ? PUD : 0n;
    const vpn = this.base + offset + far;
    return (vpn < this.model.space.pages - 1600n ? vpn : this.base) / align * align;
  }

  count(vpn: bigint): number {
    const npages = 1 + this.c.below(this.c.pick([4, 40, 512, 1500]));
    const left = Number(this.model.space.pages - vpn);
    const whole = this.c.oneIn(3) ? Math.ceil(npages / 512) * 512 : npages;
    return Math.min(whole, left);
  }

  /** Runs the same on the model and on each build; answers must be equal. */
  both<T>(name: string, onModel: (model: NaiveTables) => T, onSide: (side: TableSide) => T): T {
    this.log.push(name);
    const wanted = onModel(this.model);
    for (const side of this.sides) {
      const got = onSide(side);
      expect({ where: this.where(side), got }).toEqual({ where: this.where(side), got: wanted });
    }
    return wanted;
  }

  where(side: TableSide): string {
    return `seed ${this.seed}, ${side.arena.build}, after ${this.log.slice(-3).join('; ')}`;
  }

  compareSpaces(): void {
    for (const side of this.sides) {
      const { entries, tables } = side.dump();
      const where = this.where(side);
      const { space } = this.model;
      expect(`${where}: ${tables} tables`).toBe(`${where}: ${space.tableCount} tables`);
      expect(side.arena.wasm.tableCount(side.root, this.levels)).toBe(tables + 1);
      expect(`${where}: ${entries.reduce((sum, { size }) => sum + size, 0)} entries`).toBe(`${where}: ${space.entryCount} entries`);
      space.entries.forEach((map, level) => {
        for (const [place, wanted] of map) {
          const entry = entries[level]?.get(place);
          const at = `${where}: ${place} at ${level} is`;
          if (entry !== wanted) expect(`${at} ${entry?.toString(16)}`).toBe(`${at} ${wanted.toString(16)}`);
        }
      });
    }
  }

  failAfter(n: number): void {
    this.model.failAfter = n;
    for (const side of this.sides) side.arena.set32(HDR_FAIL_AFTER, n);
  }
}

/** Flags of a present leaf. */
function flags(c: Chance): bigint {
  const some = ([bit, odds]: readonly [bigint, number]): bigint => (c.oneIn(odds) ? bit : 0n);
  return ([[RW, 2], [A, 2], [D, 3], [1n << 63n, 4], [SPECIAL, 6]] as const).map(some).reduce((all, bit) => all | bit, P);
}

function mapOne(s: Sequence): void {
  const { c } = s;
  const level = c.pick([0, 0, 0, 1, 1, 2]);
  const align = c.oneIn(30) ? 1n : pagesOf(level);
  const vpn = s.page(align);
  const pages = Number(pagesOf(level));
  const room = Number(s.model.space.pages - vpn);
  const npages = level === 0 ? s.count(vpn) : Math.min(pages * (1 + c.below(3)), level === 2 ? pages : 3 * pages, Math.floor(room / pages) * pages);
  if (npages === 0) return;
  const pfn = c.bits(c.pick([20, 39])) / align * align;
  const flag = flags(c);
  s.both(`map ${vpn} ${npages} at ${level}`, (m) => m.map(vpn, pfn, npages, level, flag), (side) => side.map(vpn, pfn, npages, level, flag));
}

/** Any entry, sound or not, written by hand. */
function setOne(s: Sequence): void {
  const { c } = s;
  const level = c.pick([0, 0, 1, 1, 2]);
  const vpn = s.page(pagesOf(level));
  const found = s.model.space.find(vpn);
  if (found.level < level || (found.level > level && found.kind !== 'none')) return;
  const huge = level > 0 ? PSE : 0n;
  const protNone = PROTNONE | huge | (~(c.bits(27) << 12n) & 0x000ffffffffff000n);
  const entry = c.pick([0n, A, D, protNone, (c.bits(38) << 12n) | flags(c) | huge, level > 0 && c.oneIn(4) ? P | (1n << 45n) : A | D]);
  s.both(`set ${vpn} at ${level} to ${entry.toString(16)}`, (m) => (m.makeTables(vpn, level), m.space.set(level, vpn, entry), level), (side) => {
    const slot = side.arena.wasm.slot(side.root, s.levels, Number(vpn), level) >>> 0;
    side.arena.wasm.setRaw(slot - (slot & 7), Number(entry & 0xffffffffn), Number(entry >> 32n));
    return slot & 7;
  });
}

function zapOne(s: Sequence): void {
  const vpn = s.page(s.c.pick([1n, PMD]));
  const npages = s.c.oneIn(6) ? Math.min(Number(PUD) * 2, Number(s.model.space.pages - vpn)) : s.count(vpn);
  const capacity = s.c.oneIn(2) ? null : s.c.pick([1, 30, 100_000]);
  const free = s.c.oneIn(2);
  const run = (on: { zap: NaiveTables['zap'] }): unknown => {
    const records: Record[] = [];
    return { ...on.zap(vpn, npages, capacity, free, records), records };
  };
  s.both(`zap ${vpn} ${npages} ${capacity} ${free}`, run, run);
}

function protectOne(s: Sequence): void {
  const vpn = s.page(s.c.pick([1n, PMD]));
  const npages = s.count(vpn);
  const [and, or, orIfDirty] = s.c.pick([
    [ALL & ~RW, 0n, 0n], [ALL, RW, 0n], [ALL & ~(RW | D), 0n, 1n << 11n], [ALL & ~P, PROTNONE, 0n], [ALL, 0n, RW], [ALL, 1n << 63n, 1n << 58n],
    [ALL, P, 0n], [ALL & ~P, P | RW, 0n], [ALL & ~(P | RW), A | D, 0n], [0n, P | A, 0n],
  ] as const);
  s.both(`protect ${vpn} ${npages}`, (m) => m.protect(vpn, npages, and, or, orIfDirty), (side) => side.protect(vpn, npages, and, or, orIfDirty));
}

function splitOne(s: Sequence): void {
  const vpn = s.page(1n);
  const found = s.model.space.find(vpn);
  const level = found.level > 0 && s.c.oneIn(2) ? found.level : s.c.pick([1, 2]);
  s.both(`split ${vpn} at ${level}`, (m) => m.split(vpn, level), (side) => side.arena.wasm.split(side.root, s.levels, Number(vpn), level));
}

function harvestOne(s: Sequence): void {
  const vpn = s.page(s.c.pick([1n, 8n, PMD]));
  const npages = s.count(vpn);
  const mask = s.c.pick([A, D, A | D]);
  s.both(`harvest ${vpn} ${npages}`, (m) => m.harvest(vpn, npages, mask), (side) => side.harvest(vpn, npages, mask));
}

/** Words of a walk over aligned, misaligned, broken and mixed runs. */
function installWords(c: Chance, vpn: bigint, npages: number, gig: boolean): InstallWords {
  const shift = c.pick([0, 2, 12, 20]);
  const [valid, write] = c.pick([[1n << 63n, 1n << 62n], [1n << 63n, 1n << 62n], [1n << 61n, 0n], [3n << 61n, 1n << 60n]] as const);
  const none = c.pick([0n, 1n << 59n, valid]);
  const field = ((1n << 38n) - 1n) << BigInt(shift);
  const words: bigint[] = [];
  let pfn = 0n;
  let writable = false;
  let skip = false;
  const breaks = gig ? 600_000 : c.pick([3, 50, 700, 100_000]);
  for (let i = 0; i < npages; i++) {
    if (i === 0 || c.oneIn(breaks)) {
      const aligned = (c.bits(18) << 18n) + ((vpn + BigInt(i)) % c.pick([PMD, PUD]));
      pfn = c.oneIn(3) ? (gig ? aligned + PMD : c.bits(30)) : aligned;
      writable = c.oneIn(2);
      skip = c.oneIn(5);
    }
    const word = (pfn << BigInt(shift)) | valid | (writable ? write : 0n) | (c.oneIn(4) ? 1n << 58n : 0n);
    words.push(skip ? c.pick([none, 0n, write, pfn << BigInt(shift)]) : word);
    pfn++;
  }
  // Also a none word that looks like any other.
  return { words, shift, mask: field, valid, write, none: c.oneIn(5) ? c.pick(words) : none, flags: c.pick([0n, A, 1n << 2n]) };
}

function installOne(s: Sequence): void {
  const { c } = s;
  const gig = c.oneIn(40);
  const vpn = s.page(gig ? PUD : c.pick([1n, PMD, PMD]));
  const room = Number(s.model.space.pages - vpn);
  const npages = gig ? Math.min(room, Number(PUD) + c.below(600)) : Math.min(s.count(vpn), room);
  const w = installWords(c, vpn, npages, gig);
  s.both(`install ${vpn} ${npages}`, (m) => m.install(vpn, w), (side) => side.install(vpn, w));
  if (!c.oneIn(3)) return;
  // A part again: where what is there says the same, huge leaves included, nothing changes. Less readily so without write.
  const skip = c.oneIn(2) ? 0 : c.below(npages);
  const part = { ...w, words: w.words.slice(skip, skip + 1 + c.below(c.pick([5, 600, 3000]))), write: c.oneIn(4) ? 0n : w.write };
  s.both(`install ${vpn}+${skip} again`, (m) => m.install(vpn + BigInt(skip), part), (side) => side.install(vpn + BigInt(skip), part));
}

function freeSome(s: Sequence): void {
  const vpn = s.page(1n);
  const npages = s.count(vpn);
  s.both(`freeTables ${vpn} ${npages}`, (m) => m.freeTables(vpn, npages), (side) => side.arena.wasm.freeTables(side.root, s.levels, Number(vpn), npages));
}

function lookAround(s: Sequence): void {
  const { c } = s;
  const vpns = Array.from({ length: 40 }, () => s.page(1n));
  const access = c.pick([ACCESS_READ, ACCESS_WRITE, ACCESS_MARK, ACCESS_MARK | ACCESS_WRITE]);
  s.both(`translate ${access}`, (m) => vpns.map((vpn) => m.translate(vpn, access)), (side) => side.translate(vpns, access));
  const [vpn, level] = [s.page(1n), c.below(s.levels)];
  const end = c.oneIn(2) ? vpn + BigInt(s.count(vpn)) : s.model.space.pages;
  s.both(`nextEntry ${vpn} ${end} ${level}`, (m) => m.nextEntry(vpn, end, level), ({ arena, root }) => {
    return BigInt(arena.wasm.nextEntry(root, s.levels, Number(vpn), Number(end), level));
  });
  s.both(`descend ${vpn}`, (m) => {
    const found = m.space.find(vpn);
    return found.kind === 'bad' ? null : { level: found.level, entry: found.entry };
  }, (side) => {
    const slot = side.arena.wasm.descend(side.root, s.levels, Number(vpn)) >>> 0;
    return slot === 0 ? null : { level: slot & 7, entry: side.arena.get64(slot - (slot & 7)) };
  });
}

const OPERATION = [mapOne, mapOne, mapOne, mapOne, setOne, zapOne, zapOne, protectOne, splitOne, harvestOne, installOne, installOne, freeSome, lookAround];

function runSequence(seed: number, arenas: readonly BareArena[]): void {
  const s = new Sequence(seed, arenas);
  const used = arenas.map((arena) => arena.get32(HDR_FRAMES_USED));
  for (let n = 0; n < OPERATIONS; n++) {
    const operation = s.c.pick(OPERATION);
    if (operation !== setOne && s.c.oneIn(6)) s.failAfter(1 + s.c.below(4));
    operation(s);
    for (const side of s.sides) expect(`${s.where(side)}: ${side.arena.get32(HDR_FAIL_AFTER)}`).toBe(`${s.where(side)}: ${s.model.failAfter}`);
    s.failAfter(0);
    if (n % 4 === 3) s.compareSpaces();
  }
  for (const [i, side] of s.sides.entries()) {
    expect(side.arena.get32(HDR_FRAMES_USED)).toBe(s.model.space.tableCount + 1);
    expect(side.arena.wasm.freeSpace(side.root, s.levels)).toBe(s.model.space.tableCount + 1);
    expect(side.arena.get32(HDR_FRAMES_USED)).toBe((used[i] as number) - 1);
  }
}

describe('every build keeps tables as the naive model does', () => {
  const arenas = BUILDS.map((build) => new BareArena(build));
  const from = Number(process.env['TABLES_SEED'] ?? 1);
  for (let first = from; first < from + SEQUENCES; first += SEQUENCES_A_TEST) {
    test(`seeds ${first} to ${first + SEQUENCES_A_TEST - 1}`, () => {
      for (let seed = first; seed < first + SEQUENCES_A_TEST; seed++) runSequence(seed, arenas);
    });
  }
});

describe.each(BUILDS)('%s: frames', (build) => {
  test('a call that runs out of frames gives back those it took', () => {
    const arena = new BareArena(build);
    const root = arena.root();
    for (let failAt = 1; failAt <= 3; failAt++) {
      arena.set32(HDR_FAIL_AFTER, failAt);
      expect(arena.wasm.slot(root, 4, 12345, 0)).toBe(0);
      expect(arena.get32(HDR_FAIL_AFTER)).toBe(0);
      expect(arena.get32(HDR_FRAMES_USED)).toBe(1);
      expect(arena.wasm.tableCount(root, 4)).toBe(1);
    }
    expect(arena.wasm.slot(root, 4, 12345, 0) & 7).toBe(0);
    expect(arena.get32(HDR_FRAMES_USED)).toBe(4);
  });

  test('frames end at the limit, come zeroed, and are used again', () => {
    const arena = new BareArena(build, { tableBytes: 256 * 1024 });
    const frames: number[] = [];
    for (let frame = arena.wasm.frameAlloc(); frame !== 0; frame = arena.wasm.frameAlloc()) {
      frames.push(frame);
      expect(arena.u8.subarray(frame, frame + 4096).every((byte) => byte === 0)).toBe(true);
      arena.u8.fill(0xff, frame, frame + 4096);
    }
    expect(frames).toHaveLength((256 * 1024 - FRAMES) / 4096);
    for (const frame of frames) arena.wasm.frameFree(frame);
    expect(arena.get32(HDR_FRAMES_USED)).toBe(0);
    const again = arena.wasm.frameAlloc();
    expect(frames).toContain(again);
    expect(arena.u8.subarray(again, again + 4096).every((byte) => byte === 0)).toBe(true);
    expect(new TableSide(new BareArena(build, { tableBytes: 139264 }), 4).map(0n, 1n, 1, 0, 1n).reason).toBe(STOP_NO_MEMORY);
  });
});
