import { describe, expect, it } from 'vitest';
import { ABI } from '../../support/abi.ts';
import { HmmError, InvariantError } from '../../../dist/errno.js';
import { makeMachine } from '../../support/rig.ts';

const BASE = 2 ** 28;

describe('a dev_pagemap', () => {
  it('goes from live to dead, and gives no reference once it is killed', async () => {
    const { platform, run } = await rigWithEvents();
    const { pgmaps } = platform;
    const map = pgmaps.register('pmem', 'fs-dax', BASE, 512);
    const states: string[] = [];
    platform.bus.observe((event) => event.type === 'pgmap' && states.push(event.state));
    expect(map.tryGet('gup')).toBe(true);
    pgmaps.kill(map);
    expect(map.tryGet('gup')).toBe(false);
    expect(pgmaps.get(BASE, 'walk')).toBe(null);
    expect(pgmaps.find(BASE)).toBe(map);
    map.put('gup');
    run(pgmaps.drain(map));
    expect(states).toEqual(['killed', 'draining', 'dead']);
    expect(pgmaps.find(BASE)).toBe(null);
    expect(() => pgmaps.kill(map)).toThrow(InvariantError);
  });

  it('waits in its drain until the last reference is put, however long', async () => {
    const { platform, run } = await rigWithEvents();
    const { pgmaps, sched } = platform;
    const map = pgmaps.register('pmem', 'fs-dax', BASE, 512);
    map.tryGet('rdma');
    sched.spawn('rdma', (function* () {
      yield* sched.sleep(3_600_000_000_000);
      map.put('rdma');
    })());
    run(pgmaps.drain(map));
    expect(map.state).toBe('dead');
    expect(sched.nowNs).toBe(3_600_000_000_000);
  });

  it('that is leaked never ends: EDEADLK names the wait, the ledger who holds it', async () => {
    const { platform, run } = await rigWithEvents();
    const map = platform.pgmaps.register('pmem', 'fs-dax', BASE, 512);
    map.tryGet('hmm walk');
    let thrown: unknown;
    try {
      run(platform.pgmaps.drain(map));
    } catch (error) {
      thrown = error;
    }
    expect(HmmError.is(thrown, 'EDEADLK')).toBe(true);
    expect(String(thrown)).toMatch(/main waits for dev_pagemap drain/);
    expect([...map.holders]).toEqual([['hmm walk', 1]]);
    expect(map.state).toBe('draining');
  });

  it('knows who puts what he does not hold', async () => {
    const { platform } = await rigWithEvents();
    const map = platform.pgmaps.register('pmem', 'fs-dax', BASE, 512);
    map.tryGet('gup');
    expect(() => map.put('walk')).toThrow(/pgmap pmem: walk puts a reference it does not hold/);
    map.put('gup');
    expect(() => map.put('gup')).toThrow(InvariantError);
    expect(map.refs).toBe(0);
  });
});

describe('all pagemaps of a machine', () => {
  it('are found by frame, and the walker sees the same table', async () => {
    const { platform } = await rigWithEvents();
    const { pgmaps, arena } = platform;
    const high = pgmaps.register('b', 'fs-dax', BASE + 4096, 1024);
    const low = pgmaps.register('a', 'device-dax', BASE, 512);
    expect([pgmaps.find(BASE), pgmaps.find(BASE + 511), pgmaps.find(BASE + 512), pgmaps.find(BASE + 4096), pgmaps.find(BASE + 5120)]).toEqual([low, low, null, high, null]);
    expect(arena.u32[ABI.HDR_PGMAP_COUNT >>> 2]).toBe(2);
    pgmaps.kill(low);
    const states = [0, 1].map((i) => arena.u32[(ABI.PGMAP_TABLE + i * ABI.PGMAP_STRIDE + ABI.PGMAP_STATE) >>> 2]);
    expect(states).toEqual([ABI.PGMAP_DYING, ABI.PGMAP_LIVE]);
  });

  it('never overlap: ENOMEM, with nothing changed', async () => {
    const { platform } = await rigWithEvents();
    const { pgmaps } = platform;
    pgmaps.register('a', 'fs-dax', BASE, 512);
    for (const [base, npages] of [[BASE, 1], [BASE + 511, 10], [BASE - 5, 6], [BASE - 5, 1000]] as const) {
      expect(() => pgmaps.register('b', 'fs-dax', base, npages)).toThrow(/ENOMEM/);
    }
    expect(pgmaps.all).toHaveLength(1);
    expect(() => pgmaps.register('b', 'fs-dax', BASE + 512, 1)).not.toThrow();
  });

  it('are at most 1,024', async () => {
    const { platform } = await rigWithEvents();
    for (let i = 0; i < 1024; i++) platform.pgmaps.register(`m${i}`, 'fs-dax', BASE + i * 16, 16);
    expect(() => platform.pgmaps.register('one more', 'fs-dax', BASE + 2 ** 20, 16)).toThrow(/more than 1024 pagemaps/);
  });
});

async function rigWithEvents() {
  const rig = await makeMachine({ arenaBytes: 16 * 2 ** 20 });
  return { platform: rig.platform, run: rig.run.bind(rig) };
}
