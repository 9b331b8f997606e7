/** What the thread that brought DAX to HMM claimed, put to both APIs. */
import { afterEach, describe, expect, test } from 'vitest';
import { exitMm, mprotect, munmap } from '../../../dist/mm/index.js';
import { daxFsync, daxPunch, daxTruncate } from '../../../dist/dax/index.js';
import { VALID, callPages, fault, frameOf, letters, snap } from '../../support/probe2019.ts';
import { APIS, checkPgmaps, makeMachine, maps, type Rig } from '../../support/rig.ts';

afterEach(checkPgmaps);

/** References of every page of a file, pins too. */
function references(rig: Rig, first: number, npages: number): number[] {
  const { records } = rig.platform;
  return Array.from({ length: npages }, (_, i) => records.refs(first + i) + records.pins(first + i));
}

describe('HMM takes no page reference', () => {
  test.each(APIS)('of a DAX page, through walk, mirror and access (%s)', async (api) => {
    const rig = await makeMachine();
    const file = rig.file({ npages: 1024 });
    const a = rig.map(file, { npages: 1024 });
    const first = frameOf(fault(rig, a, 1024, 'w').words[0] as bigint);
    const before = references(rig, first, 1024);
    expect(new Set(before)).toEqual(new Set([1]));
    const device = rig.device(api);
    const bytes = new Uint8Array(1024 * 4096);
    rig.run(device.read(a, 0, bytes));
    rig.run(device.write(a, 0, bytes));
    expect(references(rig, first, 1024)).toEqual(before);
    expect(rig.pgmapRefs()).toBe(0);
    // So truncate has nobody to wait for.
    const stepsBefore = rig.platform.sched.nowNs;
    rig.run(daxTruncate(file, 0));
    expect(rig.platform.sched.nowNs).toBe(stepsBefore);
    expect(maps(device, a, false)).toBe(false);
  });

  test.each(APIS)('of an anonymous page (%s)', async (api) => {
    const rig = await makeMachine();
    const a = rig.map(null, { npages: 4 });
    for (let i = 0; i < 4; i++) rig.touch(a + i, 'w');
    const pfn = frameOf(snap(rig, a, 4).words[0] as bigint);
    const before = rig.platform.records.refs(pfn);
    const device = rig.device(api);
    rig.run(device.write(a, 0, Uint8Array.of(9)));
    expect(rig.platform.records.refs(pfn)).toBe(before);
    const free = rig.platform.ram.freePages;
    rig.run(munmap(rig.mm, a, 4));
    expect(rig.platform.ram.freePages).toBe(free + 4);
  });
});

describe('MAP_SYNC has no bearing on HMM', () => {
  test.each(APIS)('the same words, leaves and invalidations with it and without (%s)', async (api) => {
    const outcomes = [false, true].map(async (sync) => {
      const rig = await makeMachine({ arenaBytes: 128 * 2 ** 20 });
      const file = rig.file({ npages: 1024 });
      rig.run(daxFsync(file));
      const a = rig.map(file, { npages: 1024, sync, at: 2 ** 20 });
      const device = rig.device(api);
      rig.run(device.write(a, 0, Uint8Array.of(1)));
      rig.run(device.fill(a, a + 1024, false));
      const words = letters(snap(rig, a, 1024).words);
      rig.run(daxFsync(file));
      rig.run(daxPunch(file, 0, 4096));
      rig.run(munmap(rig.mm, a, 1024));
      return { words, stats: { ...device.stats } };
    });
    const [without, withIt] = await Promise.all(outcomes);
    expect(withIt).toEqual(without);
  });

  test.each(APIS)('a device write makes the metadata durable before the entry is writable, as a store would (%s)', async (api) => {
    const rig = await makeMachine();
    const file = rig.file({ npages: 512, hole: true });
    const a = rig.map(file, { npages: 512, sync: true, smallPages: true });
    const device = rig.device(api);
    expect(file.metadataDirty).toBe(true);
    rig.run(device.write(a, 0, Uint8Array.of(1)));
    expect(file.metadataDirty).toBe(false);
  });
});

describe('DAX never migrates to device memory', () => {
  test.each(APIS)('the device works on the file\'s own blocks, whatever it does to them (%s)', async (api) => {
    const rig = await makeMachine();
    const file = rig.file({ npages: 1024 });
    const a = rig.map(file, { npages: 1024 });
    const device = rig.device(api);
    rig.run(device.write(a, 100, Uint8Array.of(1, 2, 3)));
    rig.run(device.atomicAdd(a + 600, 8, 5n));
    rig.run(device.fill(a, a + 1024, true));
    const { pgmap } = file.fs;
    for (let i = 0; i < 1024; i += 37) {
      const map = file.fs.iomap(file, i, 1024);
      expect(device.table.translate(a + i, 0)).toBe(map.pfn + (i - map.start));
      expect(rig.platform.pgmaps.find(device.table.translate(a + i, 0))).toBe(pgmap);
    }
    expect(rig.platform.pgmaps.all.map((map) => map.type)).toEqual(['fs-dax']);
  });

  test('there is no device memory that a page of it could be in: no word ever says DEVICE_PRIVATE', async () => {
    const rig = await makeMachine();
    const file = rig.file({ npages: 1024 });
    const a = rig.map(file, { npages: 1024 });
    rig.touch(a, 'w');
    for (const call of [snap(rig, a, 1024), fault(rig, a, 1024, 'w'), callPages(rig, a, 1024, { defaultFlags: VALID | 4n }, { fault: true })]) {
      expect(letters(call.words)).not.toContain('P');
    }
  });
});

describe('only the CPU page table matters', () => {
  test.each(APIS)('what the CPU may not do there, the device may not either; what it may, the device learns from the table (%s)', async (api) => {
    const rig = await makeMachine();
    const file = rig.file({ npages: 1024 });
    const a = rig.map(file, { npages: 1024 });
    const device = rig.device(api);
    rig.run(device.fill(a, a + 1024, true));
    expect([maps(device, a, true), maps(device, a + 1023, true)]).toEqual([true, true]);
    rig.run(mprotect(rig.mm, a, 512, 1));
    expect([maps(device, a, false), maps(device, a + 512, true)]).toEqual([false, true]);
    expect(() => rig.run(device.write(a, 0, Uint8Array.of(1)))).toThrow(/EPERM/);
    rig.run(device.fill(a, a + 512, false));
    expect([maps(device, a, false), maps(device, a, true)]).toEqual([true, false]);
    rig.run(munmap(rig.mm, a + 512, 512));
    expect(() => rig.run(device.read(a + 512, 0, new Uint8Array(1)))).toThrow(/EFAULT/);
    rig.run(exitMm(rig.mm));
    expect(device.attached).toBe(false);
    expect(maps(device, a, false)).toBe(false);
  });

  test.each(APIS)('a change of the file that no mapping shows is none to the device (%s)', async (api) => {
    const rig = await makeMachine();
    const file = rig.file({ npages: 1024 });
    const a = rig.map(file, { npages: 512 });
    const device = rig.device(api);
    rig.run(device.fill(a, a + 512, false));
    const { invalidations } = device.stats;
    const other = rig.core.newMm('q');
    const b = rig.map(file, { npages: 512, pgoff: 512, mm: other });
    rig.touch(b, 'w', 1, other);
    rig.run(munmap(other, b, 512));
    expect(device.stats.invalidations).toBe(invalidations);
    expect(maps(device, a, false)).toBe(true);
  });

  test.each(APIS)('page frames and rights are those of the table, leaf by leaf (%s)', async (api) => {
    const rig = await makeMachine();
    const file = rig.file({ npages: 1024 });
    const a = rig.map(file, { npages: 1024 });
    rig.touch(a, 'w');
    rig.touch(a + 512, 'r');
    const device = rig.device(api);
    rig.run(device.fill(a, a + 1024, false));
    for (let i = 0; i < 1024; i++) {
      for (const access of [0, 1]) {
        const cpu = rig.mm.pageTable.translate(a + i, access);
        expect(device.table.translate(a + i, access) >= 0 ? device.table.translate(a + i, access) : -1).toBe(cpu >= 0 ? cpu : -1);
      }
    }
  });
});

describe('before and after the seed patch (profile field daxMirror)', () => {
  test('refused: EINVAL and all SPECIAL for a DAX area, before its rights are looked at; anonymous memory is mirrored', async () => {
    const rig = await makeMachine({ changes: { daxMirror: 'refused' } });
    const file = rig.file({ npages: 8 });
    const at = 2 ** 20;
    const anon = rig.map(null, { npages: 4, at });
    const a = rig.map(file, { npages: 8, at: at + 4 });
    for (let i = 0; i < 4; i++) rig.touch(anon + i, 'w');
    rig.touch(a, 'w');
    for (const call of [snap(rig, a, 8), fault(rig, a, 8, 'r'), fault(rig, a, 8, 'w')]) {
      expect(call.result).toBe('EINVAL');
      expect(call.faults).toBe(0);
      expect(letters(call.words)).toBe('8S');
    }
    expect(fault(rig, anon, 4, 'w').result).toBe(4);
    const across = fault(rig, anon, 12, 'r');
    expect([across.result, letters(across.words)]).toEqual(['EINVAL', '12S']);
    rig.run(mprotect(rig.mm, a, 8, 0));
    expect(snap(rig, a, 8).result).toBe('EINVAL');
    expect(() => rig.run(rig.device('2019').read(a, 0, new Uint8Array(1)))).toThrow(/EINVAL/);
  });

  test('refused: device DAX too, of any page size', async () => {
    const rig = await makeMachine({ changes: { daxMirror: 'refused' } });
    for (const level of [0, 1, 2]) {
      const npages = 512 ** level;
      const a = rig.map(rig.daxDevice(npages, level, `dax${level}`), { npages });
      rig.touch(a, 'w');
      const call = fault(rig, a, 1, 'r');
      expect([call.result, letters(call.words)]).toEqual(['EINVAL', '1S']);
    }
  });

  test('mirrored: the words of the same areas are their frames', async () => {
    const rig = await makeMachine({ changes: { daxMirror: 'mirrored' } });
    const file = rig.file({ npages: 8 });
    const a = rig.map(file, { npages: 8 });
    const call = fault(rig, a, 8, 'w');
    expect([call.result, letters(call.words)]).toEqual([8, '8VW']);
    for (const level of [0, 1, 2]) {
      const npages = 512 ** level;
      const b = rig.map(rig.daxDevice(npages, level, `dax${level}`), { npages });
      expect(letters(fault(rig, b, 1, 'w').words)).toBe('1VW');
    }
  });

  test('the modern API has no such refusal', async () => {
    const rig = await makeMachine({ changes: { daxMirror: 'refused' } });
    const a = rig.map(rig.file({ npages: 8 }), { npages: 8 });
    const byte = new Uint8Array(1);
    rig.run(rig.device('modern').read(a, 0, byte));
    expect(byte[0]).toBe(1);
  });
});
