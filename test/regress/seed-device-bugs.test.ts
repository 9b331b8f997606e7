/** The switches that break a mirror on purpose, on both APIs: each has a symptom that a check can catch, and none is there without it. */
import { afterEach, describe, expect, test } from 'vitest';
import { daxPunch, daxRead, daxTruncate } from '../../dist/dax/index.js';
import { HmmError } from '../../dist/errno.js';
import { madviseDontneed } from '../../dist/mm/index.js';
import type { BugSwitch } from '../../dist/profile/index.js';
import { ScheduleError, exploreSchedules, type ExploreResult, type Sleepable } from '../../dist/sched/index.js';
import { APIS, Rig, checkPgmaps, makeMachine, maps, stalePages, type Api } from '../support/rig.ts';

afterEach(checkPgmaps);

describe.each(APIS)('on the %s API', (api) => {
  test.each([true, false])('skip-notifier: entries outlive their pages (switch %s)', async (on) => {
    const rig = await makeMachine(on ? { bugs: ['skip-notifier'] } : {});
    const file = rig.file({ npages: 1024 });
    const a = rig.map(file, { npages: 1024 });
    const device = rig.device(api);
    rig.run(device.fill(a, a + 1024, true));
    rig.run(daxPunch(file, 0, 512 * 4096));
    rig.run(madviseDontneed(rig.mm, a + 512, 512));
    expect(device.stats.invalidations).toBeGreaterThan(1);
    expect(stalePages(device, a, a + 1024)).toHaveLength(on ? 1024 : 0);
  });

  test.each([true, false])('wrong-frame: the bytes of the next leaf (switch %s)', async (on) => {
    const rig = await makeMachine(on ? { bugs: ['wrong-frame'] } : {});
    const a = rig.map(rig.file({ npages: 1024 }), { npages: 1024 });
    const device = rig.device(api);
    const word = new Uint8Array(4);
    const firstWord = (): number => {
      rig.run(device.read(a, 0, word));
      return new DataView(word.buffer).getUint32(0, true);
    };
    expect(firstWord()).toBe(on ? 2 : 1);
    expect(stalePages(device, a, a + 1)).toHaveLength(on ? 1 : 0);
    rig.run(madviseDontneed(rig.mm, a, 1024));
    rig.run(device.fill(a, a + 1024, false));
    expect(firstWord()).toBe(on ? 513 : 1);
    expect(stalePages(device, a, a + 1024)).toHaveLength(on ? 512 : 0);
  });

  test.each([true, false])('lost-device-write: neither CPU nor file see it (switch %s)', async (on) => {
    const rig = await makeMachine(on ? { bugs: ['lost-device-write'] } : {});
    const file = rig.file({ npages: 4 });
    const a = rig.map(file, { npages: 4 });
    const device = rig.device(api);
    rig.run(device.write(a, 0, Uint8Array.of(77)));
    rig.run(device.atomicAdd(a + 1, 0, 70n));
    const bytes = new Uint8Array(4097);
    rig.run(daxRead(file, 0, bytes));
    expect([bytes[0], bytes[4096]]).toEqual(on ? [1, 2] : [77, 72]);
    expect(rig.touch(a, 'r')).toBe(on ? 1 : 77);
  });

  test('stale-pfn: some interleaving of a truncate leaves an entry behind', { timeout: 120_000 }, async () => {
    await expect(race(api, ['stale-pfn'])).rejects.toThrow(ScheduleError);
  });

  test('no interleaving does without the switch', { timeout: 120_000 }, async () => {
    expect((await race(api, [])).schedules).toBeGreaterThan(20);
  });

  test.each(['skip-notifier', 'stale-pfn', 'wrong-frame', 'lost-device-write'] as const)('%s is off unless it is asked for', async (bug) => {
    const rig = await makeMachine({ profile: 'v5.2' });
    expect(rig.platform.bugs.has(bug)).toBe(false);
    const a = rig.map(rig.file({ npages: 8 }), { npages: 8 });
    const device = rig.device(api);
    rig.run(device.write(a, 0, Uint8Array.of(5)));
    expect([rig.touch(a, 'r'), maps(device, a, true)]).toEqual([5, true]);
  });
});

/** A device that brings in a file's last page against a truncate that takes it. */
async function race(api: Api, bugs: readonly BugSwitch[]): Promise<ExploreResult> {
  const { core } = await makeMachine({ bugs, arenaBytes: 32 * 2 ** 20 });
  return exploreSchedules((policy) => {
    core.reset();
    const rig = new Rig(core);
    const file = rig.file({ npages: 2, fs: rig.fileSystem(2048) });
    const a = rig.map(file, { npages: 2, smallPages: true });
    rig.touch(a + 1, 'w');
    const device = rig.device(api);
    const { sched } = rig.platform;
    sched.spawn('device', orEfault(device.fill(a + 1, a + 2, true)));
    sched.spawn('truncate', daxTruncate(file, 4096));
    sched.run(policy);
    expect(stalePages(device, a, a + 2)).toEqual([]);
  }, { maxPreemptions: 3 });
}

/** A device access of a page that may be gone. */
function* orEfault(body: Sleepable<unknown>): Sleepable<void> {
  try {
    yield* body;
  } catch (error) {
    if (!HmmError.is(error, 'EFAULT')) throw error;
  }
}
