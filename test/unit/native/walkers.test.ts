/** The C++ walkers and translators against the WASM ones, word for word: what a bench compares has to be the same work. */
import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import * as abi from '../../../dist/abi.js';
import type { WalkPeers } from '../../../dist/native/load.js';
import { addon, withAddon } from './addon.ts';
import { Random, Space, fillRequest, fillSpace } from './space.ts';

const { describe, it } = withAddon(import.meta.url);
const OUT = 8 << 20; // above every table of a case
const REQUEST = abi.REQUESTS + abi.REQUEST_STRIDE;
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
const ANSWERS = [abi.STOP_VPN, abi.STOP_END, abi.STOP_ENTRY] as const;
const ANSWERS_U32 = [abi.STOP_REASON, abi.STOP_LEVEL, abi.STOP_SLOT, abi.STOP_DONE, abi.REQ_PGMAP] as const;

interface Wasm {
  walk(request: number): number;
  translate(root: number, levels: number, vpn: number, access: number): number;
  translateBatch(request: number): number;
}

const module = new WebAssembly.Module(readFileSync(new URL('../../../dist/wasm/walk.simd.wasm', import.meta.url)));
const memory = new WebAssembly.Memory({ initial: 256, maximum: 65536 });
const wasm = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as Wasm;

/** All that a walk leaves behind, as text. */
function outcome(space: Space, done: number, npages: number): string {
  const at = (field: number): string => space.view.getBigUint64(REQUEST + field, true).toString(16);
  const u32 = (field: number): number => space.view.getUint32(REQUEST + field, true);
  return [done, ...ANSWERS_U32.map(u32), ...ANSWERS.map(at), ...space.words.subarray(OUT / 8 - 8, OUT / 8 + npages + 8)].join(' ');
}

/** Walks with both from the same request until the end or `rounds` stops, skipping the page of each stop. Returns the reasons met. */
function compare(space: Space, name: keyof WalkPeers, rounds: number): Set<number> {
  const peer = addon().walks[name]!;
  const met = new Set<number>();
  for (let round = 0; round < rounds; round++) {
    const npages = space.view.getUint32(REQUEST + abi.REQ_NPAGES, true);
    const block = space.bytes.slice(REQUEST, REQUEST + abi.REQUEST_STRIDE);
    const words = space.bytes.slice(OUT - 64, OUT + npages * 8 + 64);
    const expected = outcome(space, wasm.walk(REQUEST), npages);
    space.bytes.set(block, REQUEST);
    space.bytes.set(words, OUT - 64);
    expect(outcome(space, peer(space.bytes, REQUEST), npages)).toBe(expected);
    const done = space.view.getUint32(REQUEST + abi.STOP_DONE, true);
    met.add(space.view.getUint32(REQUEST + abi.STOP_REASON, true));
    if (done >= npages - 1) break;
    space.view.setFloat64(REQUEST + abi.REQ_VPN, space.view.getFloat64(REQUEST + abi.STOP_VPN, true) + 1, true);
    space.u32(REQUEST + abi.REQ_NPAGES, npages - done - 1);
    space.bytes.copyWithin(OUT, OUT + (done + 1) * 8, OUT + npages * 8);
  }
  return met;
}

function each(name: keyof WalkPeers, seeds: number): Set<number> {
  const met = new Set<number>();
  for (let seed = 1; seed <= seeds; seed++) {
    const random = new Random(seed * 7919);
    const space = new Space(memory, random.pick([4, 4, 5]));
    const range = fillSpace(space, random);
    space.bytes.fill(0xc3, OUT - 64, OUT + range.npages * 8 + 64);
    fillRequest(space, REQUEST, range, OUT, MODES[name], random);
    try {
      for (const reason of compare(space, name, 12)) met.add(reason);
    } catch (error) {
      throw new Error(`${name}, seed ${seed}: ${(error as Error).message}`, { cause: error });
    }
  }
  return met;
}

describe('a walker', () => {
  for (const name of NAMES) {
    it(`${name} leaves the words and answers that WASM leaves, on 300 random spaces, from stop to stop`, () => {
      if (addon().walks[name] === null) return expect(['avx512', 'avx2', 'avx2nt', 'plain', 'autovec']).toContain(name); // this CPU has no such vectors
      const met = each(name, 300);
      const all = [abi.STOP_DONE_ALL, abi.STOP_HOLE, abi.STOP_NEEDS_FAULT, abi.STOP_NEEDS_WRITE, abi.STOP_SPECIAL, abi.STOP_NONPRESENT, abi.STOP_BAD];
      for (const reason of MODES[name] & abi.WALK_PGMAP ? [...all, abi.STOP_DYING] : all) expect(met, `stop ${reason} was met`).toContain(reason);
    }, 60_000);
  }

  it('repeats the walk `times` times to the same answer', () => {
    const space = denseSpace();
    expect(addon().walks.plain!(space.bytes, REQUEST, 5)).toBe(1024);
    expect(space.words[OUT / 8 + 1023]).toBe(((0x5000n + 1023n) << 12n) | 3n);
  });

  it('writes what one works out by hand for a table, a 2M leaf and a hole', () => {
    for (const name of NAMES) {
      const space = denseSpace();
      space.set(512n, abi.LEVEL_PMD, (0x80000n << 12n) | 0x85n);
      space.set(1024n, abi.LEVEL_PTE, 0n);
      space.u32(REQUEST + abi.REQ_NPAGES, 1026);
      const peer = addon().walks[name];
      if (peer === null) continue;
      expect([name, peer(space.bytes, REQUEST)]).toEqual([name, 1026]);
      expect([...space.words.subarray(OUT / 8 + 510, OUT / 8 + 514)]).toEqual([0x51fen << 12n | 3n, 0x51ffn << 12n | 3n, 0x80000n << 12n | 1n, 0x80001n << 12n | 1n]);
      expect([...space.words.subarray(OUT / 8 + 1023, OUT / 8 + 1026)]).toEqual([0x801ffn << 12n | 1n, 0xfffn, 0xfffn]);
    }
  });
});

/** Pages [0, 1024) to frames from 0x5000 on, and the request for them in the encoding pfn << 12 | write 2 | valid 1. */
function denseSpace(): Space {
  const space = new Space(memory, 4);
  for (let i = 0n; i < 1024n; i++) space.set(i, abi.LEVEL_PTE, ((0x5000n + i) << 12n) | 7n);
  space.bytes.fill(0, REQUEST, REQUEST + abi.REQUEST_STRIDE);
  const fields: [number, number][] = [[abi.REQ_NPAGES, 1024], [abi.REQ_ROOT, space.root], [abi.REQ_LEVELS, 4], [abi.REQ_OUT, OUT], [abi.REQ_PFN_SHIFT, 12], [abi.REQ_DEVMAP_BIT, 58]];
  for (const [field, value] of fields) space.u32(REQUEST + field, value);
  space.view.setBigUint64(REQUEST + abi.REQ_VALID_WORD, 1n, true);
  space.view.setBigUint64(REQUEST + abi.REQ_WRITE_WORD, 2n, true);
  space.view.setBigUint64(REQUEST + abi.REQ_NONE_WORD, 0xfffn, true);
  return space;
}

describe('a request that a walker cannot take', () => {
  const cases: [string, string, RegExp, (space: Space) => void][] = [
    ['a budget', 'plain', /a budget \(EOPNOTSUPP\)/, (space) => space.u32(REQUEST + abi.REQ_BUDGET, 1)],
    ['marking what was accessed', 'avx2', /EOPNOTSUPP/, (space) => space.u32(REQUEST + abi.REQ_MODE, abi.WALK_ACCESSED)],
    ['pagemaps, of mainline', 'mainline', /EOPNOTSUPP/, (space) => space.u32(REQUEST + abi.REQ_MODE, abi.WALK_PGMAP)],
    ['words past the memory', 'plain', /outside the memory/, (space) => space.u32(REQUEST + abi.REQ_OUT, space.bytes.length - 8)],
    ['words off their alignment', 'plain', /EINVAL/, (space) => space.u32(REQUEST + abi.REQ_OUT, OUT + 4)],
    ['a root that is no frame', 'plain', /root .* \(EINVAL\)/, (space) => space.u32(REQUEST + abi.REQ_ROOT, OUT)],
    ['three levels', 'plain', /levels 3 .*EINVAL/, (space) => space.u32(REQUEST + abi.REQ_LEVELS, 3)],
    ['a range past the address space', 'plain', /leaves the address space/, (space) => space.view.setFloat64(REQUEST + abi.REQ_VPN, 2 ** 36 - 1, true)],
    ['a page number that is none', 'plain', /leaves the address space/, (space) => space.view.setFloat64(REQUEST + abi.REQ_VPN, Number.NaN, true)],
    ['an arena of another ABI', 'plain', /ABI version 77/, (space) => space.u32(abi.HDR_ABI_VERSION, 77)],
    ['memory that is no arena', 'plain', /no arena/, (space) => space.u32(abi.HDR_MAGIC, 0)],
    ['a pagemap that is none', 'plain', /REQ_PGMAP/, (space) => space.u32(REQUEST + abi.REQ_PGMAP, 5)],
  ];
  for (const [name, walker, message, spoil] of cases) {
    it(`is refused: ${name}`, () => {
      const space = denseSpace();
      space.words.fill(1n, OUT / 8, OUT / 8 + 1024);
      spoil(space);
      expect(() => addon().walks[walker as 'plain']!(space.bytes, REQUEST)).toThrow(message);
      expect(space.words.subarray(OUT / 8, OUT / 8 + 1024).every((word) => word === 1n)).toBe(true);
    });
  }

  it('is refused: an offset that is no request block, and arguments of the wrong type', () => {
    const space = denseSpace();
    const plain = addon().walks.plain!;
    for (const offset of [0, REQUEST + 8, abi.FRAMES, 2 ** 33, -1]) expect(() => plain(space.bytes, offset)).toThrow(RangeError);
    expect(() => plain(space.bytes, REQUEST, 0)).toThrow(RangeError);
    expect(() => plain(space.bytes, '1' as unknown as number)).toThrow(TypeError);
    expect(() => plain([] as unknown as Uint8Array, REQUEST)).toThrow(TypeError);
  });
});

describe('translate', () => {
  it('gives the frames and failures that WASM gives, one by one and in a batch, and marks the same entries', () => {
    const seen = new Set<number>();
    for (let seed = 1; seed <= 150; seed++) {
      const random = new Random(seed * 104_729);
      const space = new Space(memory, random.pick([4, 5]));
      const { vpn, npages } = fillSpace(space, random);
      const access = random.below(4);
      const pages = Array.from({ length: 200 }, () => Number(vpn) + random.below(npages));
      const tables = space.bytes.slice(0, OUT);
      const expected = pages.map((page) => wasm.translate(space.root, space.levels, page, access));
      const marked = space.bytes.slice(0, OUT);
      space.bytes.set(tables);
      const translate = addon().translator!(space.bytes, space.root, space.levels, access);
      expect(pages.map((page) => translate(page)), `seed ${seed}`).toEqual(expected);
      expect(Buffer.compare(space.bytes.subarray(0, OUT), marked), `seed ${seed}: tables`).toBe(0);

      space.bytes.set(tables);
      const fields: [number, number][] = [[abi.REQ_ROOT, space.root], [abi.REQ_LEVELS, space.levels], [abi.REQ_CAPACITY, 200], [abi.REQ_IN, OUT], [abi.REQ_OUT, OUT + 4096], [abi.REQ_ACCESS, access]];
      for (const [field, value] of fields) space.u32(REQUEST + field, value);
      const batch = new Float64Array(space.memory.buffer, OUT, 200);
      batch.set(pages);
      expect(addon().translateBatch!(space.bytes, REQUEST)).toBe(expected.filter((frame) => frame >= 0).length);
      expect([...new Float64Array(space.memory.buffer, OUT + 4096, 200)], `seed ${seed}: batch`).toEqual(expected);
      for (const frame of expected) seen.add(Math.min(frame, 0));
    }
    for (const reason of [0, -abi.STOP_HOLE, -abi.STOP_NEEDS_WRITE, -abi.STOP_NONPRESENT, -abi.STOP_BAD]) expect(seen).toContain(reason === 0 ? 0 : reason);
  }, 60_000);

  it('keeps the memory of a translator that is still held', () => {
    const space = denseSpace();
    expect((addon().translator!(space.bytes, space.root, 4, abi.ACCESS_READ) as { memory?: Uint8Array }).memory).toBe(space.bytes);
  });

  it('wants an arena and a root', () => {
    const space = denseSpace();
    expect(() => addon().translator!(new Uint8Array(1 << 20), space.root, 4, 0)).toThrow(/no arena/);
    expect(() => addon().translator!(space.bytes, 0, 4, 0)).toThrow(/root 0x0/);
  });
});
