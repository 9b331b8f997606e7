import { afterEach, describe, expect, test } from 'vitest';
import { killDaxDevice } from '../../../dist/dax/index.js';
import { framePfn } from '../../../dist/pgtable/index.js';
import { checkPgmaps, makeMachine } from '../../support/rig.ts';

afterEach(checkPgmaps);

const GIB = 262144;

describe('a device DAX fault', () => {
  test.each([[0, 'r'], [0, 'w'], [1, 'r'], [1, 'w'], [2, 'r'], [2, 'w']] as const)('aligned to level %i (%s): a leaf of just that size, writable at once where the area is', async (level, how) => {
    const rig = await makeMachine();
    const npages = Math.max(1024, 512 ** level);
    const device = rig.daxDevice(2 * npages, level);
    const [a, r] = [rig.map(device, { npages, at: 4 * GIB }), rig.map(device, { npages, at: 8 * GIB, prot: 'r' })];
    const vpn = a + (level === 0 ? 3 : 511);
    rig.touch(vpn, how, 9);
    const { level: found, lo, hi } = rig.entry(vpn);
    expect(found).toBe(level);
    expect(framePfn(lo, hi)).toBe(device.pgmap.basePfn + (level === 0 ? 3 : 0));
    expect(lo & 2).toBe(2);
    expect((lo & 0x40) !== 0).toBe(how === 'w');
    expect(rig.touch(r + (vpn - a), 'r')).toBe(how === 'w' ? 9 : 0);
    expect(rig.entry(r + (vpn - a)).lo & 2).toBe(0);
    expect(() => rig.touch(r, 'w')).toThrow(/SIGSEGV ACCERR/);
  });

  test('NOHUGEPAGE on a device of large leaves: SIGBUS, it has no others', async () => {
    const rig = await makeMachine();
    const a = rig.map(rig.daxDevice(1024, 1), { npages: 1024, at: 4 * GIB, smallPages: true });
    expect(() => rig.touch(a, 'r')).toThrow(/SIGBUS/);
  });

  test('beyond the device: SIGBUS', async () => {
    const rig = await makeMachine();
    const a = rig.map(rig.daxDevice(1024, 1), { npages: 1024, at: 4 * GIB, pgoff: 512 });
    rig.touch(a, 'r');
    expect(() => rig.touch(a + 512, 'r')).toThrow(/SIGBUS ADRERR/);
  });

  test('an offset that is odd to the leaf is rounded down, as the entry has no bits for it (devdax-1g-basic 24)', async () => {
    const rig = await makeMachine();
    const device = rig.daxDevice(2 * GIB, 2);
    const a = rig.map(device, { npages: GIB, at: 4 * GIB, pgoff: GIB / 2 });
    rig.touch(a, 'w');
    const { level, lo, hi } = rig.entry(a);
    expect([level, framePfn(lo, hi)]).toEqual([2, device.pgmap.basePfn]);
  });
});

describe('taking a device away', () => {
  test('waits for every reference, and says who holds one', async () => {
    const rig = await makeMachine();
    const device = rig.daxDevice(1024, 1);
    const a = rig.map(device, { npages: 1024, at: 4 * GIB });
    rig.touch(a, 'w');
    expect(device.pgmap.tryGet('a test')).toBe(true);
    expect(() => rig.run(killDaxDevice(device))).toThrow(/would wait for ever/);
    expect([...device.pgmap.holders]).toEqual([['a test', 1]]);
    expect(device.pgmap.state).toBe('draining');
    expect(device.pgmap.tryGet('another')).toBe(false);
    rig.platform.pgmaps.put(device.pgmap, 'a test');
  });

  test('tasks that fault meanwhile come before or after it, never between', async () => {
    for (let seed = 0; seed < 40; seed++) {
      const rig = await makeMachine();
      const device = rig.daxDevice(1024, 1);
      const a = rig.map(device, { npages: 1024, at: 4 * GIB });
      const mirror = rig.device('modern');
      const { sched } = rig.platform;
      sched.spawn('kill', killDaxDevice(device));
      sched.spawn('fill', (function* fill() {
        try {
          yield* mirror.fill(a, a + 1024, true);
        } catch (error) {
          expect((error as Error).message).toMatch(/EFAULT/);
        }
      })());
      let turn = seed;
      sched.run({ choose: (ready) => (turn = (turn * 1103515245 + 12345) % 2 ** 31) % ready.length });
      expect(mirror.translate(a, false), `seed ${seed}`).toBe(-1);
      expect(rig.entry(a).lo, `seed ${seed}`).toBe(0);
    }
  });
});
