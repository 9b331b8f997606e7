/** The device on both APIs: what it reads, writes and adds, how often it faults, and what an invalidation leaves it. */
import { afterEach, describe, expect, test } from 'vitest';
import { daxFsync, daxPunch, daxRead, daxTruncate } from '../../../dist/dax/index.js';
import { HmmError } from '../../../dist/errno.js';
import { cpuLoad, cpuStore, exitMm, madviseDontneed, mprotect, munmap, type NotifierRange } from '../../../dist/mm/index.js';
import { exploreSchedules, randomPolicy, runOn, type Sleepable } from '../../../dist/sched/index.js';
import { APIS, Rig, checkPgmaps, makeMachine, maps, stalePages } from '../../support/rig.ts';

afterEach(checkPgmaps);

const GIB = 2 ** 18;

describe.each(APIS)('on the %s API', (api) => {
  describe('accesses', () => {
    test('reads and writes are the file\'s bytes, across pages and leaves of several sizes', async () => {
      const rig = await makeMachine();
      const file = rig.file({ npages: 1024 });
      const a = rig.map(file, { npages: 1024 });
      rig.run(munmap(rig.mm, a, 1));
      rig.map(file, { npages: 1, at: a });
      const device = rig.device(api);
      const bytes = Uint8Array.from({ length: 3 * 4096 + 100 }, (_, i) => i * 7);
      rig.run(device.write(a + 510, 4000, bytes));
      const got = new Uint8Array(bytes.length);
      rig.run(cpuLoad(rig.mm, a + 510, 4000, got));
      expect(got).toEqual(bytes);
      rig.run(daxRead(file, 510 * 4096 + 4000, got.fill(0)));
      expect(got).toEqual(bytes);
      rig.run(cpuStore(rig.mm, a, 5, Uint8Array.of(1, 2, 3)));
      const three = new Uint8Array(3);
      rig.run(device.read(a, 5, three));
      expect(three).toEqual(Uint8Array.of(1, 2, 3));
      expect(stalePages(device, a, a + 1024)).toEqual([]);
    });

    test('a clean pass over unmapped memory faults once, a second one not at all', async () => {
      const rig = await makeMachine();
      const a = rig.map(rig.file({ npages: 1024 }), { npages: 1024 });
      const device = rig.device(api);
      const all = new Uint8Array(1024 * 4096);
      rig.run(device.read(a, 0, all));
      rig.run(device.read(a, 0, all));
      expect(device.stats).toMatchObject({ reads: 2, faults: 1, retries: 0, leaves: [0, 2, 0] });
      expect(device.countLeaves()).toEqual([0, 2, 0]);
    });

    test.each([[0, 1], [1, 512], [2, GIB]])('device DAX in leaves of level %i', async (level, npages) => {
      const rig = await makeMachine();
      const a = rig.map(rig.daxDevice(npages, level), { npages });
      const device = rig.device(api);
      rig.run(device.write(a, 8, Uint8Array.of(42)));
      rig.run(device.fill(a, a + npages, true));
      const leaves = [0, 0, 0];
      leaves[level] = 1;
      expect(device.countLeaves()).toEqual(leaves);
      const byte = new Uint8Array(1);
      rig.run(cpuLoad(rig.mm, a, 8, byte));
      expect(byte[0]).toBe(42);
      expect(maps(device, a + npages - 1, true)).toBe(true);
    });

    test('atomic add answers what was there, wraps at 64 bits, and is seen by the CPU', async () => {
      const rig = await makeMachine();
      const a = rig.map(null, { npages: 2 });
      const device = rig.device(api);
      expect(rig.run(device.atomicAdd(a, 8, 5n))).toBe(0n);
      expect(rig.run(device.atomicAdd(a, 8, (1n << 64n) - 1n))).toBe(5n);
      expect(rig.run(device.atomicAdd(a, 8, -4n))).toBe(4n);
      const bytes = new Uint8Array(8);
      rig.run(cpuLoad(rig.mm, a, 8, bytes));
      expect(new DataView(bytes.buffer).getBigUint64(0, true)).toBe(0n);
    });

    test('adds of several devices and tasks all count', async () => {
      const rig = await makeMachine();
      const a = rig.map(rig.file({ npages: 4 }), { npages: 4 });
      const { sched } = rig.platform;
      for (const name of ['one', 'two', 'three']) {
        const device = rig.device(api, { name });
        sched.spawn(name, (function* adds(): Sleepable<void> {
          for (let i = 0; i < 20; i++) yield* device.atomicAdd(a + (i % 4), 16, 1n);
        })());
      }
      sched.run(randomPolicy(7n));
      const bytes = new Uint8Array(8);
      let sum = 0n;
      for (let page = 0; page < 4; page++) {
        rig.run(cpuLoad(rig.mm, a + page, 16, bytes));
        sum += new DataView(bytes.buffer).getBigUint64(0, true);
      }
      expect(sum).toBe(60n);
    });
  });

  describe('what it may not do', () => {
    const one = new Uint8Array(1);

    test('EFAULT where nothing is mapped, past the end of the file, without read access', async () => {
      const rig = await makeMachine();
      const a = rig.map(rig.file({ npages: 2 }), { npages: 4, at: 2 ** 20 });
      const device = rig.device(api);
      expect(() => rig.run(device.read(a + 4, 0, one))).toThrow(/EFAULT/);
      expect(() => rig.run(device.read(a + 2, 0, one))).toThrow(/EFAULT/);
      rig.run(device.read(a + 1, 0, one));
      rig.run(mprotect(rig.mm, a, 4, 0));
      expect(() => rig.run(device.read(a + 1, 0, one))).toThrow(api === 'modern' ? /EFAULT/ : /EPERM/);
      expect(rig.mm.mmapLock.held).toBeNull();
    });

    test('EPERM for a write to a read-only area, which it may read', async () => {
      const rig = await makeMachine();
      const a = rig.map(rig.file({ npages: 4 }), { npages: 4, prot: 'r' });
      const device = rig.device(api);
      expect(() => rig.run(device.write(a, 0, one))).toThrow(/EPERM/);
      rig.run(device.read(a, 0, one));
      expect([maps(device, a), maps(device, a, true)]).toEqual([true, false]);
      expect(rig.mm.mmapLock.held).toBeNull();
    });

    test('EBUSY where a range does not settle within a second of virtual time', async () => {
      const rig = await makeMachine();
      const a = rig.map(null, { npages: 4 });
      const device = rig.device(api);
      rig.run(device.fill(a, a + 4, true));
      rig.run(madviseDontneed(rig.mm, a, 1));
      const { sched } = rig.platform;
      const range: NotifierRange = { event: 'CLEAR', start: a, end: a + 1, blockable: true, owner: null };
      rig.run(rig.mm.notifiers.start(range));
      sched.spawn('end', (function* end(): Sleepable<void> {
        yield* sched.sleep(1_500_000_000);
        rig.mm.notifiers.end(range);
      })());
      // The modern API's read_begin has no time-out of its own: the device looks at the clock when it is back.
      if (api === '2019') expect(() => rig.run(device.read(a, 0, one))).toThrow(/EBUSY/);
      else rig.run(device.read(a, 0, one));
      sched.run(runOn);
      rig.run(device.read(a, 0, one));
    });

    test('EFAULT and no entry left when the process has exited; closing afterwards is fine', async () => {
      const rig = await makeMachine();
      const a = rig.map(rig.file({ npages: 1024 }), { npages: 1024 });
      const device = rig.device(api);
      rig.run(device.fill(a, a + 1024, true));
      rig.run(exitMm(rig.mm));
      expect(device.attached).toBe(false);
      expect(device.countLeaves()).toEqual([0, 0, 0]);
      expect(() => rig.run(device.read(a, 0, one))).toThrow(/EFAULT/);
      rig.run(device.close());
      rig.run(device.close());
      expect(rig.mm.notifiers.heard).toBe(false);
    });

    test('ENOMEM when no table frame is left, with nothing of the call in its table, and it goes on when there is', async () => {
      const rig = await makeMachine();
      const a = rig.map(rig.file({ npages: 64 }), { npages: 64, smallPages: true });
      for (let i = 0; i < 64; i++) rig.touch(a + i, 'w');
      const device = rig.device(api);
      let failures = 0;
      for (let n = 1; n < 12; n++) {
        rig.platform.arena.failAfter(n);
        try {
          rig.run(device.fill(a, a + 64, true));
          rig.platform.arena.failAfter(0);
          break;
        } catch (error) {
          rig.platform.arena.failAfter(0);
          expect(HmmError.is(error, 'ENOMEM')).toBe(true);
          expect(device.countLeaves()).toEqual([0, 0, 0]);
          failures++;
        }
      }
      expect(failures).toBeGreaterThan(1);
      rig.run(device.fill(a, a + 64, true));
      expect(device.countLeaves()).toEqual([64, 0, 0]);
      expect(rig.mm.mmapLock.held).toBeNull();
    });
  });

  describe('an invalidation', () => {
    test('takes what it names, whole leaves that it cuts, and nothing else', async () => {
      const rig = await makeMachine();
      const file = rig.file({ npages: 1536 });
      const a = rig.map(file, { npages: 1536, at: 2 ** 20 });
      const seen: string[] = [];
      const device = rig.device(api, { hooks: { onInvalidate: ({ start, end }) => seen.push(`${start - a}-${end - a}`), onFill: (start, npages) => seen.push(`+${start - a},${npages}`) } });
      rig.run(device.fill(a, a + 1536, true));
      rig.run(munmap(rig.mm, a + 600, 8));
      expect([maps(device, a + 511), maps(device, a + 512), maps(device, a + 1024)]).toEqual([true, false, true]);
      // The leaf that is cut goes with an invalidation of its own.
      expect(seen).toEqual(['+0,1536', '512-1024', '600-608']);
      expect(stalePages(device, a, a + 1536)).toEqual([]);
    });

    test('of write-back takes the right to write', async () => {
      const rig = await makeMachine();
      const file = rig.file({ npages: 512 });
      const a = rig.map(file, { npages: 512 });
      const device = rig.device(api);
      rig.run(device.write(a, 0, Uint8Array.of(1)));
      expect(maps(device, a, true)).toBe(true);
      rig.run(daxFsync(file));
      expect(maps(device, a, true)).toBe(false);
      rig.run(device.write(a, 0, Uint8Array.of(2)));
      expect(stalePages(device, a, a + 512)).toEqual([]);
    });

    test('of a hole punched leaves zeroes to read', async () => {
      const rig = await makeMachine();
      const file = rig.file({ npages: 8 });
      const a = rig.map(file, { npages: 8 });
      const device = rig.device(api);
      const page = new Uint8Array(4096);
      rig.run(device.read(a + 3, 0, page));
      expect(page[0]).toBe(4);
      rig.run(daxPunch(file, 3 * 4096, 4096));
      rig.run(device.read(a + 3, 0, page));
      expect(page.every((byte) => byte === 0)).toBe(true);
      rig.run(device.read(a + 4, 0, page));
      expect(page[0]).toBe(5);
      rig.run(device.write(a + 3, 0, Uint8Array.of(9)));
      rig.run(cpuLoad(rig.mm, a + 3, 0, page));
      expect(page[0]).toBe(9);
    });

    test('reaches every device of the space, and none of another', async () => {
      const rig = await makeMachine();
      const file = rig.file({ npages: 512 });
      const a = rig.map(file, { npages: 512 });
      const other = rig.core.newMm('q');
      const b = rig.map(file, { npages: 512, mm: other });
      const devices = [rig.device(api, { name: 'one' }), rig.device(api, { name: 'two' })];
      const stranger = rig.device(api, { name: 'stranger', mm: other });
      for (const device of devices) rig.run(device.fill(a, a + 512, false));
      rig.run(stranger.fill(b, b + 512, false));
      rig.run(madviseDontneed(rig.mm, a, 512));
      expect(devices.map((device) => [maps(device, a), device.stats.invalidations])).toEqual([[false, 1], [false, 1]]);
      expect([maps(stranger, b), stranger.stats.invalidations]).toEqual([true, 0]);
      rig.run(daxTruncate(file, 0));
      expect(maps(stranger, b)).toBe(false);
    });

    test('is not heard any more after the device was closed', async () => {
      const rig = await makeMachine();
      const a = rig.map(rig.file({ npages: 8 }), { npages: 8 });
      rig.touch(a, 'r');
      const before = rig.platform.arena.usage;
      const device = rig.device(api);
      rig.run(device.fill(a, a + 1, false));
      rig.run(device.close());
      expect(rig.platform.arena.usage).toEqual(before);
      rig.run(munmap(rig.mm, a, 8));
      expect(device.stats.invalidations).toBe(0);
      expect(rig.mm.notifiers.heard).toBe(false);
      expect(() => rig.run(device.read(a, 0, new Uint8Array(1)))).toThrow(/EFAULT/);
    });
  });

  test('truncate against a device read and a device write, in every interleaving: no entry outlives its page', { timeout: 120_000 }, async () => {
    const { core } = await makeMachine({ arenaBytes: 32 * 2 ** 20 });
    const outcome = exploreSchedules((policy) => {
      core.reset();
      const rig = new Rig(core);
      const file = rig.file({ npages: 2, fs: rig.fileSystem(2048) });
      const a = rig.map(file, { npages: 2, smallPages: true });
      const device = rig.device(api);
      rig.run(device.fill(a, a + 1, false));
      const { sched } = rig.platform;
      const byte = new Uint8Array(1);
      sched.spawn('truncate', daxTruncate(file, 4096));
      sched.spawn('device', orFault(device.write(a + 1, 0, Uint8Array.of(7))));
      sched.run(policy);
      expect(stalePages(device, a, a + 2)).toEqual([]);
      expect(maps(device, a + 1)).toBe(false);
      rig.run(device.read(a, 0, byte));
      expect(byte[0]).toBe(1);
    }, { maxPreemptions: 4 });
    expect(outcome.schedules).toBeGreaterThan(10);
  });

  test('random schedules of a device and a busy process: never an entry that the CPU does not have', async () => {
    for (let seed = 1n; seed <= 20n; seed++) {
      const rig = await makeMachine({ arenaBytes: 32 * 2 ** 20 });
      const file = rig.file({ npages: 600, fs: rig.fileSystem(4096) });
      const a = rig.map(file, { npages: 600, at: 2 ** 20 });
      const device = rig.device(api);
      const { sched } = rig.platform;
      sched.spawn('device', (function* device1(): Sleepable<void> {
        for (let i = 0; i < 12; i++) yield* orFault(i % 3 === 0 ? device.write(a + i * 47, 0, Uint8Array.of(i)) : device.read(a + i * 47, 0, new Uint8Array(9000)));
      })());
      sched.spawn('process', (function* process(): Sleepable<void> {
        yield* daxFsync(file);
        yield* madviseDontneed(rig.mm, a, 64);
        yield* daxPunch(file, 100 * 4096, 40 * 4096);
        yield* mprotect(rig.mm, a, 300, 1);
        yield* daxTruncate(file, 400 * 4096);
        yield* munmap(rig.mm, a + 20, 100);
      })());
      sched.run(randomPolicy(seed));
      expect(stalePages(device, a, a + 600), `seed ${seed}`).toEqual([]);
    }
  });
});

describe('both APIs on one space', () => {
  test('devices of either see what the other writes, and hear the same invalidations', async () => {
    const rig = await makeMachine();
    const file = rig.file({ npages: 1024 });
    const a = rig.map(file, { npages: 1024 });
    const [modern, legacy] = [rig.device('modern'), rig.device('2019')];
    rig.run(modern.write(a + 7, 3, Uint8Array.of(1, 2, 3)));
    const got = new Uint8Array(3);
    rig.run(legacy.read(a + 7, 3, got));
    expect(got).toEqual(Uint8Array.of(1, 2, 3));
    for (const device of [modern, legacy]) rig.run(device.fill(a, a + 1024, true));
    for (let i = 0; i < 1024; i++) expect(legacy.translate(a + i, true)).toBe(modern.translate(a + i, true));
    expect(legacy.countLeaves()).toEqual(modern.countLeaves());
    rig.run(daxFsync(file));
    rig.run(daxPunch(file, 0, 2 ** 20));
    rig.run(mprotect(rig.mm, a, 100, 1));
    expect(legacy.stats.invalidations).toBe(modern.stats.invalidations);
    expect(legacy.countLeaves()).toEqual(modern.countLeaves());
  });
});

/** A device access that may find nothing there any more. */
function* orFault(body: Sleepable<unknown>): Sleepable<void> {
  try {
    yield* body;
  } catch (error) {
    if (!HmmError.is(error, 'EFAULT') && !HmmError.is(error, 'EPERM')) throw error;
  }
}
