/** Cache lines: what a cut may leave of stores that were not flushed, or not fenced. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { Content } from '../../../dist/arena/index.js';
import { Persistence } from '../../../dist/persistence/index.js';
import { Random } from '../../../dist/sched/index.js';
import { makeMachine } from '../../support/rig.ts';

const BASE = 2 ** 40;
const END = BASE + 2 ** 20;

describe('cache lines', () => {
  let content: Content;
  let power: Persistence;
  beforeEach(async () => {
    const { core } = await makeMachine({ arenaBytes: 32 * 2 ** 20 });
    content = core.platform.arena.content;
    power = core.trackPersistence();
    power.cover(BASE, END);
  });

  const store = (at: number, byte: number, length = 8): boolean => content.write(BASE + at, new Uint8Array(length).fill(byte), 0, length);

  /** Byte `at` after a cut. */
  function left(at: number, lines: 'oldest' | 'newest' | 'random' = 'oldest', seed = 1n, since = 0): number {
    const line = power.cut(BASE, END, lines, new Random(seed), since).get(Math.floor((BASE + at) / 64));
    if (line !== undefined) return line[at % 64] as number;
    const byte = new Uint8Array(1);
    content.read(BASE + at, byte, 0, 1);
    return byte[0] as number;
  }

  it('a store may be lost until it is flushed and fenced', () => {
    store(0, 7);
    expect([left(0), left(0, 'newest')]).toEqual([0, 7]);
    power.flush(BASE, 1);
    expect(left(0)).toBe(0);
    power.fence();
    expect(left(0)).toBe(7);
    expect(power.volatileLines).toBe(0);
  });

  it('a flush is of whole lines, and of no other', () => {
    store(0, 7, 128);
    power.flush(BASE + 63, 1);
    power.fence();
    expect([left(0), left(64)]).toEqual([7, 0]);
    expect(power.volatileLines).toBe(1);
  });

  it('a store after the flush is not part of it', () => {
    store(0, 7);
    power.flush(BASE, 8);
    store(0, 8);
    power.fence();
    expect([left(0), left(0, 'newest')]).toEqual([7, 8]);
  });

  it('stores to a line arrive in order, 8 bytes whole', () => {
    for (const byte of [1, 2, 3]) store(0, byte);
    store(8, 9);
    const seen = new Set<string>();
    for (let seed = 1n; seed < 400n; seed++) {
      const words = Array.from({ length: 16 }, (_, i) => left(i, 'random', seed));
      expect(new Set(words.slice(0, 8)).size).toBe(1);
      expect(new Set(words.slice(8)).size).toBe(1);
      seen.add(`${words[0]} ${words[8]}`);
    }
    expect([...seen].toSorted()).toEqual(['0 0', '1 0', '2 0', '3 0', '3 9']);
  });

  it('lines are lost one apart from the other', () => {
    for (let line = 0; line < 8; line++) store(line * 64, 5);
    const seen = new Set<string>();
    for (let seed = 1n; seed < 200n; seed++) seen.add(Array.from({ length: 8 }, (_, line) => left(line * 64, 'random', seed)).join(''));
    expect(seen.size).toBeGreaterThan(20);
  });

  it('what was flushed before a journal record that survives was fenced with it', () => {
    store(0, 7);
    power.flush(BASE, 8);
    const record = power.tick();
    expect([left(0, 'oldest', 1n, record), left(0, 'oldest', 1n, 0)]).toEqual([7, 0]);
  });

  it('many stores keep the oldest, and forget in between', () => {
    store(0, 1);
    power.flush(BASE, 8);
    power.fence();
    for (let i = 0; i < 1000; i++) store((i % 4) * 8, 2 + (i % 200));
    expect([left(0), left(8)]).toEqual([1, 0]);
    power.flush(BASE, 64);
    power.fence();
    expect(left(24)).toBe(2 + (999 % 200));
  });

  it('memory that is not persistent is not looked at, nor any with eADR', async () => {
    content.write(END + 4096, new Uint8Array(8).fill(1), 0, 8);
    expect(power.volatileLines).toBe(0);
    const { core } = await makeMachine({ arenaBytes: 32 * 2 ** 20 });
    const durable = core.trackPersistence({ eadr: true });
    durable.cover(BASE, END);
    core.platform.arena.content.write(BASE, new Uint8Array(8).fill(1), 0, 8);
    expect(durable.volatileLines).toBe(0);
  });
});
