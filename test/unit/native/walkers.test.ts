/** The C++ walkers and translators against the WASM ones, word for word: what a bench compares has to be the same work. */
import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import * as abi from '../../../src/abi.ts';
import type { WalkPeers } from '../../../dist/native/load.js';
import { Chance } from '../../support/chance.ts';
import { buildSpace, randomSpace } from '../../support/randomSpace.ts';
import { BareArena } from '../../support/wasm.ts';
import { addon, withAddon } from './addon.ts';

const { describe, it } = withAddon(import.meta.url);
const WALKS = abi.WALK_FAULT | abi.WALK_PER_PAGE | abi.WALK_PGMAP | abi.WALK_ZERO_OK | abi.WALK_STOP_AT_HOLES;

/** The modes each walker has; what is compared. */
const MODES: Record<keyof WalkPeers, number> = {
  plain: WALKS | abi.WALK_NO_FILL,
  autovec: WALKS | abi.WALK_NO_FILL,
  avx2: WALKS | abi.WALK_NO_FILL,
  avx2nt: WALKS,
  avx512: WALKS | abi.WALK_NO_FILL,
  hmm2019: WALKS,
  mainline: WALKS - abi.WALK_PGMAP,
};
const NAMES = Object.keys(MODES) as (keyof WalkPeers)[];
const REASONS = [abi.STOP_DONE_ALL, abi.STOP_HOLE, abi.STOP_NEEDS_FAULT, abi.STOP_NEEDS_WRITE, abi.STOP_SPECIAL, abi.STOP_NONPRESENT, abi.STOP_BAD];

/** What /proc/cpuinfo says of the instructions that a walker is compiled to. */
function cpuRuns(name: keyof WalkPeers): boolean {
  if (name === 'hmm2019' || name === 'mainline') return true;
  if (process.arch !== 'x64') return name === 'plain' || name === 'autovec';
  const flags = new Set(/^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]?.split(' '));
  const needed = ['avx2', 'bmi1', 'bmi2', 'fma', ...(name === 'avx512' ? ['avx512f', 'avx512bw', 'avx512cd', 'avx512dq', 'avx512vl'] : [])];
  return needed.every((flag) => flags.has(flag));
}

const arena = new BareArena('simd');
arena.set32(abi.HDR_MAGIC, abi.ARENA_MAGIC);
arena.set32(abi.HDR_ABI_VERSION, abi.ABI_VERSION);
const { req } = arena;
const OUT = arena.free + 4096;

function setFields(fields: Record<number, number>): void {
  for (const [field, value] of Object.entries(fields)) arena.set32(req + Number(field), value);
}

function setWords(fields: Record<number, bigint>): void {
  for (const [field, value] of Object.entries(fields)) arena.set64(req + Number(field), value);
}

/** A random space and a request over it that each walker with `modes` can take. */
function makeCase(chance: Chance, modes: number): void {
  const space = randomSpace(chance);
  const root = buildSpace(arena, space);
  arena.u8.fill(0, req, req + abi.REQUEST_STRIDE);
  const skip = BigInt(chance.pick([0, chance.below(512), chance.below(2000)]));
  const vpn = space.start + skip < space.end ? space.start + skip : space.start;
  const left = Number(space.end - vpn);
  const npages = Math.min(left, 1 + chance.below(chance.oneIn(30) ? 300_000 : chance.pick([20, 600, 2600])));
  let mode = 0;
  for (const [bit, odds] of [[abi.WALK_FAULT, 2], [abi.WALK_PER_PAGE, 2], [abi.WALK_PGMAP, 2], [abi.WALK_ZERO_OK, 2], [abi.WALK_NO_FILL, 8], [abi.WALK_STOP_AT_HOLES, 8]] as const) {
    if ((modes & bit) !== 0 && chance.oneIn(odds)) mode |= bit;
  }
  // Two ways to write a word: today's (frame at bit 0, flags on top, an order), and a driver's own (frame shifted, flags anywhere).
  const modern = chance.oneIn(2);
  const pfnShift = modern ? 0 : chance.pick([4, 8, 11, 12, 12, 14]);
  const [fault, write] = modern ? [1n << 63n, 1n << 62n] : chance.oneIn(8) ? [1n << 20n, 1n << 2n] : [1n, 2n];
  const ask = (): bigint => chance.pick([fault, fault | write, write]);
  setFields({
    [abi.REQ_NPAGES]: npages, [abi.REQ_ROOT]: root, [abi.REQ_LEVELS]: space.levels, [abi.REQ_OUT]: OUT + 8 * chance.below(8), [abi.REQ_MODE]: mode,
    [abi.REQ_DEVMAP_BIT]: space.devmapBit, [abi.REQ_PFN_SHIFT]: pfnShift, [abi.REQ_ORDER_SHIFT]: modern ? 56 : 0,
    [abi.REQ_PGMAP]: space.pgmaps.length > 0 && chance.oneIn(4) ? 1 + chance.below(space.pgmaps.length) : 0,
  });
  setWords({
    [abi.REQ_VALID_WORD]: fault, [abi.REQ_WRITE_WORD]: write, [abi.REQ_NONE_WORD]: chance.pick([0n, 0xfffn, 1n << 61n]), [abi.REQ_REQ_FAULT]: fault,
    [abi.REQ_REQ_WRITE]: write, [abi.REQ_FLAGS_MASK]: chance.oneIn(3) ? 0n : (1n << 64n) - 1n, [abi.REQ_DEFAULT]: chance.oneIn(2) ? 0n : ask(),
  });
  arena.setF(req + abi.REQ_VPN, Number(vpn));
  arena.setF(req + abi.REQ_ZERO_PFN, Number(space.zeroPfn));
  const rare = chance.pick([20, 300, 4000]);
  for (let i = 0; i < npages; i++) arena.set64(arena.get32(req + abi.REQ_OUT) + i * 8, (BigInt(i) << 24n) | (chance.oneIn(rare) ? ask() : 0n));
}

interface Outcome {
  answers: (number | bigint)[];
  /** the words, with some on either side */
  words: Uint8Array;
}

/** All that a walk leaves behind. */
function outcome(done: number): Outcome {
  const u32 = [abi.STOP_REASON, abi.STOP_LEVEL, abi.STOP_SLOT, abi.STOP_DONE, abi.REQ_PGMAP].map((field) => arena.get32(req + field));
  const u64 = [abi.STOP_VPN, abi.STOP_END, abi.STOP_ENTRY].map((field) => arena.get64(req + field));
  const first = arena.get32(req + abi.REQ_OUT);
  return { answers: [done, ...u32, ...u64], words: arena.u8.slice(first - 64, first + arena.get32(req + abi.REQ_NPAGES) * 8 + 64) };
}

/** Walks with WASM and with the peer from the same request on, up to 12 stops, leaving out the page of each; adds the reasons to `met`. */
function compare(name: keyof WalkPeers, met: Set<number>): void {
  for (let leg = 0; leg < 12; leg++) {
    const npages = arena.get32(req + abi.REQ_NPAGES);
    const out = arena.get32(req + abi.REQ_OUT);
    const block = arena.u8.slice(req, req + abi.REQUEST_STRIDE);
    const words = arena.u8.slice(out, out + npages * 8);
    const wanted = outcome(arena.wasm.walk(req) >>> 0);
    arena.u8.set(block, req);
    arena.u8.set(words, out);
    const got = outcome(addon().walks[name]!(arena.u8, req));
    expect(got.answers, `leg ${leg}`).toEqual(wanted.answers);
    if (Buffer.compare(got.words, wanted.words) !== 0) expect(new BigUint64Array(got.words.buffer), `leg ${leg}`).toEqual(new BigUint64Array(wanted.words.buffer));
    const done = arena.get32(req + abi.STOP_DONE);
    met.add(arena.get32(req + abi.STOP_REASON));
    if (done >= npages - 1) return;
    arena.setF(req + abi.REQ_VPN, arena.getF(req + abi.REQ_VPN) + done + 1);
    arena.set32(req + abi.REQ_NPAGES, npages - done - 1);
    arena.set32(req + abi.REQ_OUT, out + (done + 1) * 8);
  }
}

/** The request for words `frame << 12 | write 2 | valid 1`, or 0xfff for a hole, of pages [0, npages). */
function makeRequest(root: number, npages: number): void {
  arena.u8.fill(0, req, req + abi.REQUEST_STRIDE);
  setFields({ [abi.REQ_NPAGES]: npages, [abi.REQ_ROOT]: root, [abi.REQ_LEVELS]: 4, [abi.REQ_OUT]: OUT, [abi.REQ_PFN_SHIFT]: 12, [abi.REQ_DEVMAP_BIT]: 58 });
  setWords({ [abi.REQ_VALID_WORD]: 1n, [abi.REQ_WRITE_WORD]: 2n, [abi.REQ_NONE_WORD]: 0xfffn });
}

/** Pages [0, 512) on frames from 0x5000 on, then a read-only 2M leaf on frame 0x80000, then nothing; and the request for all three. */
function makeThree(): void {
  arena.reset();
  const root = arena.root();
  for (let i = 0n; i < 512n; i++) arena.setRaw(root, 4, i, abi.LEVEL_PTE, ((0x5000n + i) << 12n) | 7n);
  arena.setRaw(root, 4, 512n, abi.LEVEL_PMD, (0x80000n << 12n) | 0x85n);
  makeRequest(root, 1026);
}

describe('a walker', () => {
  for (const name of NAMES) {
    it(`${name} leaves the words and answers that WASM leaves, on 300 random spaces, from stop to stop`, () => {
      expect(addon().walks[name] !== null).toBe(cpuRuns(name));
      if (!cpuRuns(name)) return;
      const met = new Set<number>();
      for (let seed = 1; seed <= 300; seed++) {
        try {
          makeCase(new Chance(seed), MODES[name]);
          compare(name, met);
        } catch (error) {
          throw new Error(`${name}, seed ${seed}: ${(error as Error).message}`, { cause: error });
        }
      }
      for (const reason of MODES[name] & abi.WALK_PGMAP ? [...REASONS, abi.STOP_DYING] : REASONS) expect(met, 'reasons met').toContain(reason);
    }, 60_000);

    it(`${name} writes what one works out by hand for a table, a 2M leaf and a hole`, () => {
      makeThree();
      if (!cpuRuns(name)) return;
      expect(addon().walks[name]!(arena.u8, req)).toBe(1026);
      const words = arena.u64.subarray(OUT / 8, OUT / 8 + 1026);
      expect([words[0], words[511], words[512], words[1023]]).toEqual([(0x5000n << 12n) | 3n, (0x51ffn << 12n) | 3n, (0x80000n << 12n) | 1n, (0x801ffn << 12n) | 1n]);
      expect([...words.subarray(1024)]).toEqual([0xfffn, 0xfffn]);
    });
  }
});

describe('a request that a walker cannot take', () => {
  const cases: [string, keyof WalkPeers, RegExp, () => void][] = [
    ['a budget', 'plain', /a budget \(EOPNOTSUPP\)/, () => setFields({ [abi.REQ_BUDGET]: 1 })],
    ['marking what was accessed', 'plain', /walk mode 0x20 \(EOPNOTSUPP\)/, () => setFields({ [abi.REQ_MODE]: abi.WALK_ACCESSED })],
    ['pagemaps, of mainline', 'mainline', /walk mode 0x4 \(EOPNOTSUPP\)/, () => setFields({ [abi.REQ_MODE]: abi.WALK_PGMAP })],
    ['no fill, of hmm2019', 'hmm2019', /walk mode 0x10 \(EOPNOTSUPP\)/, () => setFields({ [abi.REQ_MODE]: abi.WALK_NO_FILL })],
    ['words past the memory', 'plain', /outside the memory/, () => setFields({ [abi.REQ_OUT]: arena.u8.length - 8 })],
    ['words off their alignment', 'plain', /not aligned \(EINVAL\)/, () => setFields({ [abi.REQ_OUT]: OUT + 4 })],
    ['a root that is no frame', 'plain', /root 0x\w+ is no table frame \(EINVAL\)/, () => setFields({ [abi.REQ_ROOT]: OUT })],
    ['three levels', 'plain', /levels 3 .*EINVAL/, () => setFields({ [abi.REQ_LEVELS]: 3 })],
    ['a range past the address space', 'plain', /leaves the address space/, () => arena.setF(req + abi.REQ_VPN, 2 ** 36 - 1)],
    ['a page number that is none', 'plain', /leaves the address space/, () => arena.setF(req + abi.REQ_VPN, Number.NaN)],
    ['a shift past the word', 'plain', /shift of more than 63/, () => setFields({ [abi.REQ_PFN_SHIFT]: 64 })],
    ['a pagemap that is none', 'plain', /REQ_PGMAP/, () => setFields({ [abi.REQ_PGMAP]: 5 })],
  ];
  for (const [name, walker, message, spoil] of cases) {
    it(`is refused: ${name}`, () => {
      makeThree();
      arena.u64.fill(1n, OUT / 8, OUT / 8 + 1026);
      spoil();
      expect(() => addon().walks[walker]!(arena.u8, req)).toThrow(message);
      expect(arena.u64.subarray(OUT / 8, OUT / 8 + 1026).every((word) => word === 1n)).toBe(true);
    });
  }

  it('is refused: memory that is no arena, or of another ABI', () => {
    makeThree();
    const { plain } = addon().walks;
    expect(() => plain!(new Uint8Array(1 << 20), req)).toThrow(/no arena \(EINVAL\)/);
    expect(() => plain!(new Uint8Array(100), req)).toThrow(/no arena \(EINVAL\)/);
    const copy = arena.u8.slice();
    copy[abi.HDR_ABI_VERSION] = 77;
    expect(() => plain!(copy, req)).toThrow(/ABI version 77, the addon \d+ \(EINVAL\)/);
  });

  it('is refused: an offset that is no request block, and arguments of the wrong type', () => {
    makeThree();
    const plain = addon().walks.plain!;
    for (const offset of [0, req + 8, abi.FRAMES, 2 ** 33, -1]) expect(() => plain(arena.u8, offset)).toThrow(RangeError);
    expect(() => plain(arena.u8, req, 0)).toThrow(RangeError);
    expect(() => plain(arena.u8, '1' as unknown as number)).toThrow(TypeError);
    expect(() => plain([] as unknown as Uint8Array, req)).toThrow(TypeError);
  });
});

describe('translate', () => {
  it('gives the frames and failures that WASM gives, one by one and in a batch, and marks the same entries', () => {
    const seen = new Set<number>();
    for (let seed = 1; seed <= 200; seed++) {
      const chance = new Chance(seed);
      const space = randomSpace(chance);
      const root = buildSpace(arena, space);
      const access = chance.below(4);
      const pages = Array.from({ length: 200 }, () => Number(space.start) + chance.below(Number(space.end - space.start)));
      const tables = arena.u8.slice(0, arena.free);
      const wanted = pages.map((page) => arena.wasm.translate(root, space.levels, page, access));
      const marked = arena.u8.slice(0, arena.free);
      arena.u8.set(tables);
      const translate = addon().translator!(arena.u8, root, space.levels, access);
      expect(pages.map((page) => translate(page)), `seed ${seed}`).toEqual(wanted);
      expect(Buffer.compare(arena.u8.subarray(0, arena.free), marked), `seed ${seed}: tables`).toBe(0);

      arena.u8.set(tables);
      setFields({ [abi.REQ_ROOT]: root, [abi.REQ_LEVELS]: space.levels, [abi.REQ_CAPACITY]: 200, [abi.REQ_IN]: OUT, [abi.REQ_OUT]: OUT + 4096, [abi.REQ_ACCESS]: access });
      arena.f64.set(pages, OUT / 8);
      expect(addon().translateBatch!(arena.u8, req)).toBe(wanted.filter((frame) => frame >= 0).length);
      expect([...arena.f64.subarray(OUT / 8 + 512, OUT / 8 + 712)], `seed ${seed}: batch`).toEqual(wanted);
      for (const frame of wanted) seen.add(Math.min(frame, 0));
    }
    for (const answer of [0, -abi.STOP_HOLE, -abi.STOP_NEEDS_WRITE, -abi.STOP_NONPRESENT, -abi.STOP_BAD]) expect(seen).toContain(answer);
  }, 60_000);

  it('follows tables that were made after the translator', () => {
    makeThree();
    const root = arena.get32(req + abi.REQ_ROOT);
    const translate = addon().translator!(arena.u8, root, 4, abi.ACCESS_READ);
    expect([translate(511), translate(513), translate(1024)]).toEqual([0x51ff, 0x80001, -abi.STOP_HOLE]);
    arena.setRaw(root, 4, 1024n, abi.LEVEL_PTE, (0x77n << 12n) | 5n);
    expect(translate(1024)).toBe(0x77);
    expect((translate as { memory?: Uint8Array }).memory).toBe(arena.u8);
  });

  it('wants an arena and a root', () => {
    expect(() => addon().translator!(new Uint8Array(1 << 20), abi.FRAMES, 4, 0)).toThrow(/no arena/);
    expect(() => addon().translator!(arena.u8, 0, 4, 0)).toThrow(/root 0x0/);
    expect(() => addon().translator!(arena.u8, abi.FRAMES, 6, 0)).toThrow(/levels 6/);
  });
});
