/**
 * The range walk of every WASM build against a naive model: random tables, requests and encodings, resumed after every
 * stop until the range's end. A failing case prints its seed; `caseOf(seed)` makes it again.
 */
import { describe, expect, test } from 'vitest';
import {
  PGMAP_DYING, REQ_BUDGET, REQ_DEFAULT, REQ_DEVMAP_BIT, REQ_FLAGS_MASK, REQ_LEVELS, REQ_MODE, REQ_NONE_WORD, REQ_NPAGES, REQ_ORDER_SHIFT, REQ_OUT,
  REQ_PFN_SHIFT, REQ_PGMAP, REQ_REQ_FAULT, REQ_REQ_WRITE, REQ_ROOT, REQ_VALID_WORD, REQ_VPN, REQ_WRITE_WORD, REQ_ZERO_PFN, STOP_BUDGET, STOP_DONE,
  STOP_DONE_ALL, STOP_END, STOP_ENTRY, STOP_LAST, STOP_LEAVES, STOP_LEVEL, STOP_REASON, STOP_SLOT, STOP_STEPS, STOP_VPN, WALK_ACCESSED, WALK_FAULT,
  WALK_NO_FILL, WALK_PER_PAGE, WALK_PGMAP, WALK_STOP_AT_HOLES, WALK_ZERO_OK,
} from '../../../src/abi.ts';
import { Chance } from '../../support/chance.ts';
import { naiveWalk, type WalkAnswer, type WalkRequest } from '../../support/naiveWalk.ts';
import { buildSpace, randomSpace, type RandomSpace } from '../../support/randomSpace.ts';
import { BUILDS, BareArena } from '../../support/wasm.ts';

const CASES = 3200;
const CASES_A_TEST = 320;
const REASONS_SEEN = new Map<number, number>();

/** Encodings of drivers, of the modern API, and ones that nobody should choose. */
function encoding(c: Chance): Pick<WalkRequest, 'pfnShift' | 'orderShift' | 'valid' | 'write' | 'none' | 'reqFault' | 'reqWrite'> {
  const modern = { pfnShift: 0, orderShift: c.pick([53, 56]), valid: 1n << 63n, write: 1n << 62n, none: 0n, reqFault: 1n << 63n, reqWrite: 1n << 62n };
  const roll = c.below(6);
  if (roll < 2) return modern;
  if (roll === 2) {
    const pfnShift = c.pick([13, 14, 20, 24, 40]);
    return { ...modern, pfnShift, orderShift: 0, valid: 1n, write: 2n, none: 4n, reqFault: 1n, reqWrite: 2n };
  }
  if (roll === 3) {
    return { ...modern, valid: c.bits(64), write: c.bits(64), none: c.bits(64), reqFault: c.bits(64), reqWrite: c.bits(64), pfnShift: c.below(64) };
  }
  const pfnShift = c.below(13);
  const valid = c.oneIn(2) && pfnShift > 1 ? 1n : 1n << 61n;
  const write = c.oneIn(2) && pfnShift > 2 ? 4n : 1n << 60n;
  const none = c.pick([0n, 1n << 59n, c.bits(64)]);
  return { pfnShift, orderShift: 0, valid, write: c.oneIn(6) ? write | valid : write, none, reqFault: valid, reqWrite: write };
}

interface Case {
  space: RandomSpace;
  request: WalkRequest;
  words: bigint[];
  chance: Chance;
}

function caseOf(seed: number): Case {
  const c = new Chance(seed);
  const space = randomSpace(c);
  const e = encoding(c);
  const first = space.start + BigInt(c.pick([0, 0, c.below(512), c.below(3000)]));
  const vpn = first < space.naive.pages ? first : space.start;
  const npages = c.oneIn(200) ? 270_000 : 1 + c.below(c.pick([20, 600, 2600]));
  const asked = c.below(4);
  const preset = asked === 0 ? 0n : asked === 1 ? e.reqFault : asked === 2 ? e.reqFault | e.reqWrite : e.reqWrite;
  let mode = c.pick([0, WALK_FAULT, WALK_FAULT, WALK_FAULT | WALK_PER_PAGE, WALK_FAULT | WALK_PER_PAGE, WALK_PER_PAGE]);
  for (const [bit, odds] of [[WALK_PGMAP, 2], [WALK_ZERO_OK, 2], [WALK_NO_FILL, 8], [WALK_ACCESSED, 5], [WALK_STOP_AT_HOLES, 8]] as const) {
    if (c.oneIn(odds)) mode |= bit;
  }
  const request: WalkRequest = {
    ...e, vpn, npages, mode, preset: mode & WALK_PER_PAGE && c.oneIn(2) ? 0n : preset,
    budget: c.pick([0, 0, 0, 1, 17, 100, 600, 5000]), devmapBit: space.devmapBit,
    flagsMask: c.pick([0n, (1n << 64n) - 1n, e.reqFault | e.reqWrite, e.reqFault]),
    zeroPfn: space.zeroPfn, pgmap: space.pgmaps.length > 0 && c.oneIn(4) ? 1 + c.below(space.pgmaps.length) : 0,
  };
  if (request.budget !== 0 && npages > 3000) request.budget = 5000;
  const rare = c.pick([1, 4, 200, 5000]);
  const usual = c.pick([0n, e.reqFault, e.reqFault | e.reqWrite, e.reqWrite]);
  const words = Array.from({ length: npages }, () => (c.oneIn(rare) ? c.pick([0n, e.reqFault, e.reqFault | e.reqWrite, e.reqWrite, c.bits(64)]) : usual));
  return { space, request, words, chance: c };
}

class Side {
  readonly arena: BareArena;
  readonly root: number;
  readonly outAt: number;

  constructor(arena: BareArena, { space, request, words }: Case) {
    this.arena = arena;
    this.root = buildSpace(arena, space);
    this.outAt = arena.free + 8 * Number(request.vpn % 8n);
    words.forEach((word, i) => arena.set64(this.outAt + i * 8, word));
    const r = arena.req;
    for (const [field, value] of [
      [REQ_ROOT, this.root], [REQ_LEVELS, space.levels], [REQ_MODE, request.mode], [REQ_BUDGET, request.budget], [REQ_DEVMAP_BIT, request.devmapBit],
      [REQ_PFN_SHIFT, request.pfnShift], [REQ_ORDER_SHIFT, request.orderShift],
    ] as const) arena.set32(r + field, value);
    for (const [field, value] of [
      [REQ_VALID_WORD, request.valid], [REQ_WRITE_WORD, request.write], [REQ_NONE_WORD, request.none], [REQ_REQ_FAULT, request.reqFault],
      [REQ_REQ_WRITE, request.reqWrite], [REQ_FLAGS_MASK, request.flagsMask], [REQ_DEFAULT, request.preset],
    ] as const) arena.set64(r + field, value);
    arena.setF(r + REQ_ZERO_PFN, Number(request.zeroPfn));
  }

  walk(request: WalkRequest, skipped: number): WalkAnswer & { slotEntry: bigint } {
    const { arena } = this;
    const r = arena.req;
    arena.setF(r + REQ_VPN, Number(request.vpn));
    arena.set32(r + REQ_NPAGES, request.npages);
    arena.set32(r + REQ_OUT, this.outAt + skipped * 8);
    arena.set32(r + REQ_PGMAP, request.pgmap);
    const done = arena.wasm.walk(r) >>> 0;
    if (arena.get32(r + STOP_DONE) !== done) throw new Error(`returned ${done}, STOP_DONE ${arena.get32(r + STOP_DONE)}`);
    const slot = arena.get32(r + STOP_SLOT);
    return {
      reason: arena.get32(r + STOP_REASON), vpn: BigInt(arena.getF(r + STOP_VPN)), end: BigInt(arena.getF(r + STOP_END)),
      last: BigInt(arena.getF(r + STOP_LAST)),
      entry: arena.get64(r + STOP_ENTRY), level: arena.get32(r + STOP_LEVEL), done, steps: arena.get32(r + STOP_STEPS),
      leaves: [arena.get32(r + STOP_LEAVES), arena.get32(r + STOP_LEAVES + 4), arena.get32(r + STOP_LEAVES + 8)],
      pgmap: arena.get32(r + REQ_PGMAP), slotEntry: slot === 0 ? 0n : arena.get64(slot),
    };
  }

  checkWords(words: readonly bigint[], what: string): void {
    const base = this.outAt / 8;
    for (let i = 0; i < words.length; i++) {
      const word = this.arena.u64[base + i];
      if (word !== words[i]) expect(`${what}, word ${i}: ${word?.toString(16)}`).toBe(`${what}, word ${i}: ${words[i]?.toString(16)}`);
    }
  }

  checkEntries(space: RandomSpace, what: string): void {
    for (const { level, vpn } of space.entries) {
      const slot = this.arena.wasm.slot(this.root, space.levels, Number(vpn), level) >>> 0;
      const entry = this.arena.get64(slot - level);
      const wanted = space.naive.get(level, vpn);
      if (entry !== wanted) expect(`${what}, entry of ${vpn}: ${entry.toString(16)}`).toBe(`${what}, entry of ${vpn}: ${wanted.toString(16)}`);
    }
  }
}

function said(answer: WalkAnswer): string {
  const { reason, vpn, end, last, entry, level, done, steps, leaves, pgmap } = answer;
  return [reason, vpn, end, last, entry, level, done, steps, leaves, pgmap].join();
}

function runCase(seed: number, arenas: readonly BareArena[]): void {
  const it = caseOf(seed);
  const { space, words, chance } = it;
  const sides = arenas.map((arena) => new Side(arena, it));
  let request = it.request;
  const end = request.vpn + BigInt(request.npages);
  for (let leg = 0; leg < 4000; leg++) {
    const skipped = words.length - request.npages;
    const wanted = naiveWalk(space.naive, space.pgmaps, request, words, skipped);
    REASONS_SEEN.set(wanted.reason, (REASONS_SEEN.get(wanted.reason) ?? 0) + 1);
    for (const side of sides) {
      const { slotEntry, ...got } = side.walk(request, skipped);
      const what = `seed ${seed}, leg ${leg}, ${side.arena.build}`;
      if (said(got) !== said(wanted) || slotEntry !== wanted.entry) expect({ what, ...got, slotEntry }).toEqual({ what, ...wanted, slotEntry: wanted.entry });
    }
    if (wanted.reason === STOP_DONE_ALL) break;
    // Go on as TypeScript does: past the page or the chunk, holding what the walk holds or not, things changing meanwhile.
    let next = wanted.vpn;
    if (wanted.reason !== STOP_BUDGET) next = leg > 300 || chance.oneIn(2) ? wanted.end : wanted.vpn + 1n;
    if (next >= end) break;
    if (chance.oneIn(10) && space.pgmaps.length > 0) {
      chance.pick(space.pgmaps).state = PGMAP_DYING;
      for (const side of sides) side.arena.setPgmaps(space.pgmaps);
    }
    request = { ...request, vpn: next, npages: Number(end - next), pgmap: chance.oneIn(4) ? 0 : wanted.pgmap };
  }
  for (const side of sides) {
    side.checkWords(words, `seed ${seed}, ${side.arena.build}`);
    side.checkEntries(space, `seed ${seed}, ${side.arena.build}`);
  }
}

describe('every build walks as the naive model does', () => {
  const arenas = BUILDS.map((build) => new BareArena(build));
  const from = Number(process.env['WALK_SEED'] ?? 1);
  for (let first = from; first < from + CASES; first += CASES_A_TEST) {
    test(`seeds ${first} to ${first + CASES_A_TEST - 1}`, () => {
      for (let seed = first; seed < first + CASES_A_TEST; seed++) runCase(seed, arenas);
    });
  }

  test('the cases above met every reason to stop a hundred times', () => {
    for (let reason = STOP_DONE_ALL; reason <= STOP_BUDGET; reason++) expect(REASONS_SEEN.get(reason) ?? 0).toBeGreaterThan(100);
  });
});
