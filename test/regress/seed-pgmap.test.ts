/**
 * dev_pagemap references of a 2019 walk: where they are taken, put and (bug switches) not put. Every exit of the walk is here; the
 * ledger is at its base after each unless a switch says otherwise.
 */
import { afterEach, describe, expect, test } from 'vitest';
import { PTE_PRESENT, PTE_PSE, PTE_RW, PTE_SPECIAL, PTE_USER } from '../../dist/abi.js';
import { killDaxDevice } from '../../dist/dax/index.js';
import { Livelock } from '../../dist/errno.js';
import { hmmRangeFault2019 } from '../../dist/hmm/index.js';
import { unmapMappingRange } from '../../dist/mm/index.js';
import { exploreSchedules, type Sleepable } from '../../dist/sched/index.js';
import { VALID, WRITE, callPages, fault, letters, makeRange, snap } from '../support/probe2019.ts';
import { Rig, checkPgmaps, makeMachine, type RigOptions } from '../support/rig.ts';

afterEach(checkPgmaps);

const AT = 2 ** 20;
const POISON = { lo: 0, hi: 0xb8000000 };

interface Mapped {
  readonly rig: Rig;
  readonly a: number;
}

/** Eight 4K pages of device DAX, all present. */
async function devicePages(options: RigOptions): Promise<Mapped & { device: ReturnType<Rig['daxDevice']> }> {
  const rig = await makeMachine(options);
  const device = rig.daxDevice(512, 0);
  const a = rig.map(device, { npages: 8, at: AT });
  for (let i = 0; i < 8; i++) rig.touch(a + i, 'w');
  return { rig, a, device };
}

/** A raw entry of a device frame. */
function devmapPte(rig: Rig, pfn: number, flags = 0): [lo: number, hi: number] {
  return [(pfn % 2 ** 20) * 4096 + PTE_PRESENT + PTE_USER + PTE_RW + flags, Math.floor(pfn / 2 ** 20) + rig.platform.devmapHi];
}

describe('leak-pgmap-on-special', () => {
  const exits = [
    ['a special pte', 0x5000 + PTE_PRESENT + PTE_USER + PTE_SPECIAL, 0],
    ['a poisoned pte', POISON.lo, POISON.hi],
  ] as const;

  describe.each(exits)('after devmap pages, %s', (_name, lo, hi) => {
    test.each([['with the switch: one reference more for every walk', true], ['without: none', false]])('%s', async (_how, on) => {
      const { rig, a } = await devicePages(on ? { bugs: ['leak-pgmap-on-special'] } : {});
      rig.setPte(a + 4, lo, hi);
      for (let walks = 1; walks <= 3; walks++) {
        (walks % 2 === 0 ? snap : fault)(rig, a, 8);
        expect(rig.pgmapRefs()).toBe(on ? walks : 0);
      }
      expect(rig.platform.pgmaps.all[0]?.holders).toEqual(new Map(on ? [['hmm_vma_walk', 3]] : []));
      // A walk that has not held it yet leaks nothing.
      snap(rig, a + 4, 4);
      expect(rig.pgmapRefs()).toBe(on ? 3 : 0);
      rig.leaks = on ? 3 : 0;
    });
  });

  test.each([true, false])('the device cannot be unbound any more (switch %s)', async (on) => {
    const { rig, a, device } = await devicePages(on ? { bugs: ['leak-pgmap-on-special'] } : {});
    rig.setPte(a + 1, 0x5000 + PTE_PRESENT + PTE_SPECIAL, 0);
    snap(rig, a, 8);
    const unbind = (): void => rig.run(killDaxDevice(device));
    if (on) expect(unbind).toThrow(/EDEADLK/);
    else unbind();
    expect(device.pgmap.state).toBe(on ? 'draining' : 'dead');
    rig.leaks = on ? 1 : 0;
  });

  test('a file with a hole is enough in the era, where the page of zeroes is special', async () => {
    for (const [bugs, leaks] of [[['leak-pgmap-on-special', 'zero-page-special'], 1], [['zero-page-special'], 0], [['leak-pgmap-on-special'], 0]] as const) {
      const rig = await makeMachine({ bugs });
      const file = rig.file({ npages: 4 });
      file.fs.setSize(file, 8 * 4096);
      const a = rig.map(file, { npages: 8, at: AT });
      for (const i of [0, 5]) rig.touch(a + i, 'r');
      snap(rig, a, 8);
      expect(rig.pgmapRefs(), bugs.join()).toBe(leaks);
      rig.leaks = leaks;
    }
  });
});

describe('exits that put their reference, in the era too', () => {
  const eras: readonly (readonly [string, RigOptions])[] = [['v5.2', { profile: 'v5.2' }], ['as meant', {}]];

  test.each(eras)('a devmap page, then one of a pagemap that is dying (%s)', async (_era, options) => {
    const { rig, a } = await devicePages(options);
    const other = rig.daxDevice(512, 0, 'other');
    rig.setPte(a + 3, ...devmapPte(rig, other.pgmap.basePfn, PTE_SPECIAL));
    rig.platform.pgmaps.kill(other.pgmap);
    const call = snap(rig, a, 8);
    expect([call.result, letters(call.words)]).toEqual(options.profile === 'v5.2' ? [3, '3VW 1- 4?'] : ['EFAULT', '3VW 1E 4-']);
    expect(rig.pgmapRefs()).toBe(0);
  });

  test.each(eras)('pages of two pagemaps in turn (%s)', async (_era, options) => {
    const { rig, a } = await devicePages(options);
    const other = rig.daxDevice(512, 0, 'other');
    for (const i of [1, 4, 5, 7]) rig.setPte(a + i, ...devmapPte(rig, other.pgmap.basePfn + i, PTE_SPECIAL));
    expect(letters(snap(rig, a, 8).words)).toBe('8VW');
    expect(rig.pgmapRefs()).toBe(0);
  });

  test.each(eras)('a devmap page, then one that has to be faulted (%s)', async (_era, options) => {
    const { rig, a } = await devicePages(options);
    rig.setPte(a + 5, 0, 0);
    const held: number[] = [];
    rig.platform.bus.observe((event) => {
      if (event.type === 'fault') held.push(rig.pgmapRefs());
    });
    const call = fault(rig, a, 8, 'w');
    expect([call.result, letters(call.words)]).toEqual([8, '8VW']);
    expect(held.length).toBeGreaterThan(0);
    expect(new Set(held)).toEqual(new Set([0]));
  });

  test.each(eras)('devmap pages, then ordinary ones to the end of the table (%s)', async (_era, options) => {
    const rig = await makeMachine(options);
    const a = rig.map(rig.file({ npages: 8 }), { npages: 8, shared: false, at: AT });
    for (let i = 0; i < 8; i++) rig.touch(a + i, i < 4 ? 'r' : 'w');
    expect(letters(snap(rig, a, 8).words)).toBe('4V 4VW');
    expect(rig.pgmapRefs()).toBe(0);
  });

  test.each(eras)('a huge leaf whose pagemap ends inside it: the pages before are written, the rest is not (%s)', async (_era, options) => {
    const { rig, a } = await devicePages(options);
    const base = 2 ** 38;
    rig.platform.pgmaps.register('half', 'fs-dax', base, 256);
    const table = rig.mm.pageTable;
    const b = rig.map(null, { npages: 512, at: AT + 512 });
    expect(table.slot(b, 1)).toBe(true);
    table.setRaw(...devmapPte(rig, base, PTE_PSE));
    // Behind another area and a gap: the era counts to where the last area's walk ended.
    expect(snap(rig, a + 7, 505 + 512, {}, { once: true }).result).toBe(options.profile === 'v5.2' ? 505 : 'EFAULT');
    const only = snap(rig, b, 512, {}, { once: true });
    expect([only.result, letters(only.words)]).toEqual(options.profile === 'v5.2' ? [0, '256VW 256?'] : ['EFAULT', '256VW 1E 255-']);
    expect(rig.pgmapRefs()).toBe(0);
    table.slot(b, 1);
    table.setRaw(0, 0);
  });
});

describe('dying-pagemap-retries', () => {
  describe.each([0, 1, 2])('device DAX of level %i', (level) => {
    async function dying(on: boolean): Promise<Mapped & { device: ReturnType<Rig['daxDevice']>; npages: number }> {
      const rig = await makeMachine(on ? { bugs: ['dying-pagemap-retries'] } : {});
      const npages = 512 ** level;
      const device = rig.daxDevice(npages, level);
      const a = rig.map(device, { npages, at: AT });
      rig.touch(a, 'w');
      rig.platform.pgmaps.kill(device.pgmap);
      return { rig, a, device, npages: Math.min(npages, 1024) };
    }

    test('with the switch a fault spins for ever, and a snapshot is told to come again', async () => {
      const { rig, a, npages } = await dying(true);
      const spin = (): unknown => fault(rig, a, npages);
      expect(spin).toThrow(Livelock);
      expect(spin).toThrow(/hmm_range_fault at 0x100000000/);
      expect(rig.mm.mmapLock.held).toBeNull();
      expect(snap(rig, a, npages, {}, { once: true }).result).toBe('EBUSY');
    });

    test('with the switch it ends when somebody unmaps', async () => {
      const { rig, a, device, npages } = await dying(true);
      rig.platform.sched.spawn('unbind', (function* unbind(): Sleepable<void> {
        yield* rig.platform.sched.sleep(1_000_000);
        device.alive = false;
        yield* unmapMappingRange(device, 0, device.pgmap.npages, true);
      })());
      const call = fault(rig, a, npages, 'r', { once: true });
      expect([call.result, letters(call.words)]).toEqual(['EBUSY', `${npages}-`]);
      expect(fault(rig, a, npages).result).toBe('EFAULT');
    });

    test('with the switch every interleaving of a fault with kill and unmap comes to an end', { timeout: 60_000 }, async () => {
      const { core } = await makeMachine({ bugs: ['dying-pagemap-retries'], arenaBytes: 32 * 2 ** 20 });
      const answers = new Set<unknown>();
      const outcome = exploreSchedules((policy) => {
        core.reset();
        const rig = new Rig(core);
        const npages = 512 ** level;
        const device = rig.daxDevice(npages, level);
        const a = rig.map(device, { npages, at: AT });
        rig.touch(a, 'w');
        const { range, dispose } = makeRange(rig, a, 1, { defaultFlags: VALID });
        const { sched, pgmaps } = rig.platform;
        sched.spawn('fault', (function* walk(): Sleepable<void> {
          yield* rig.mm.mmapLock.read(sched);
          const { result, dropped } = yield* hmmRangeFault2019(range);
          answers.add(result);
          if (!dropped) rig.mm.mmapLock.readUnlock(sched);
        })());
        sched.spawn('unbind', (function* unbind(): Sleepable<void> {
          if (sched.concurrent) yield sched.point('kill', '*');
          pgmaps.kill(device.pgmap);
          device.alive = false;
          if (sched.concurrent) yield sched.point('unmap', '*');
          yield* unmapMappingRange(device, 0, npages, true);
        })());
        sched.run(policy);
        dispose();
        expect(rig.pgmapRefs()).toBe(0);
      });
      expect(outcome.complete).toBe(true);
      expect(answers).toEqual(new Set([1, 'EBUSY', 'EFAULT']));
    });

    test('without it the page cannot be had', async () => {
      const { rig, a, npages } = await dying(false);
      for (const call of [snap(rig, a, npages), fault(rig, a, npages, 'w')]) {
        expect([call.result, letters(call.words)]).toEqual(['EFAULT', npages === 1 ? '1E' : `1E ${npages - 1}-`]);
      }
    });
  });
});

describe('zero-page-special', () => {
  test.each([true, false])('untouched memory cannot be mirrored for reading (switch %s)', async (on) => {
    const rig = await makeMachine(on ? { bugs: ['zero-page-special'] } : {});
    const a = rig.map(null, { npages: 8, at: AT });
    const call = fault(rig, a, 8);
    expect([call.result, letters(call.words)]).toEqual(on ? ['EFAULT', '1S 7-'] : [8, '8V']);
    const device = rig.device('2019');
    const byte = Uint8Array.of(1);
    if (on) expect(() => rig.run(device.read(a, 0, byte))).toThrow(/EFAULT/);
    else {
      rig.run(device.read(a, 0, byte));
      expect(byte[0]).toBe(0);
    }
    expect(fault(rig, a, 8, 'w')).toMatchObject({ result: 8 });
  });

  test('a hole of 4K fails, one of 2M does not', async () => {
    const rig = await makeMachine({ bugs: ['zero-page-special'] });
    const small = rig.map(rig.file({ npages: 16, hole: true }), { npages: 16, at: AT });
    const large = rig.map(rig.file({ npages: 512, hole: true }), { npages: 512, at: AT + 512 });
    expect(fault(rig, small, 16).result).toBe('EFAULT');
    const call = fault(rig, large, 512);
    expect([call.result, letters(call.words)]).toEqual([512, '512V']);
  });

  test('requests of other pages are answered up to it', async () => {
    const rig = await makeMachine({ bugs: ['zero-page-special'] });
    const a = rig.map(null, { npages: 8, at: AT });
    for (const i of [0, 1]) rig.touch(a + i, 'w');
    rig.touch(a + 2, 'r');
    const call = callPages(rig, a, 8, { pfnFlagsMask: VALID | WRITE, requests: { 0: VALID } }, { fault: true });
    expect([call.result, letters(call.words)]).toEqual(['EFAULT', '2VW 1S 5-']);
  });
});
