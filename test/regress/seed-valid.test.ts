/** `range->valid` of the 2019 API: which invalidations take it away, and when it comes back. */
import { afterEach, describe, expect, test } from 'vitest';
import { daxTruncate } from '../../dist/dax/index.js';
import { hmmRangeWaitUntilValid } from '../../dist/hmm/index.js';
import { madviseDontneed, type NotifierRange } from '../../dist/mm/index.js';
import { ScheduleError, exploreSchedules, type ExploreResult, type Sleepable } from '../../dist/sched/index.js';
import { HmmError } from '../../dist/errno.js';
import type { BugSwitch } from '../../dist/profile/index.js';
import { VALID, WRITE, callRange, makeRange } from '../support/probe2019.ts';
import { Rig, checkPgmaps, makeMachine, stalePages } from '../support/rig.ts';

afterEach(checkPgmaps);

function open(rig: Rig, start: number, end: number): { end: () => void } {
  const range: NotifierRange = { event: 'CLEAR', start, end, blockable: true, owner: null };
  rig.run(rig.mm.notifiers.start(range));
  return { end: () => rig.mm.notifiers.end(range) };
}

describe('valid-aba', () => {
  test.each([true, false])('the driver\'s check after everything was zapped (switch %s)', async (on) => {
    const rig = await makeMachine(on ? { bugs: ['valid-aba'] } : {});
    const a = rig.map(null, { npages: 4 });
    const { range, dispose } = makeRange(rig, a, 4, { defaultFlags: VALID | WRITE });
    expect(callRange(rig, range, { fault: true }).result).toBe(4);
    const frame = range.words[0];
    rig.run(madviseDontneed(rig.mm, a, 4));
    rig.touch(a, 'w');
    // Here the driver takes its lock and asks.
    expect(range.valid).toBe(on);
    if (on) expect(range.words[0]).toBe(frame);
    else {
      expect(rig.run(hmmRangeWaitUntilValid(range))).toBe(true);
      expect(callRange(rig, range).result).toBe(4);
    }
    dispose();
  });

  /** A device read of a file's last page against a truncate that takes it, every way they can interleave. */
  async function race(bugs: readonly BugSwitch[]): Promise<ExploreResult> {
    const { core } = await makeMachine({ bugs, arenaBytes: 32 * 2 ** 20 });
    return exploreSchedules((policy) => {
      core.reset();
      const rig = new Rig(core);
      const file = rig.file({ npages: 2, fs: rig.fileSystem(2048) });
      const a = rig.map(file, { npages: 2, smallPages: true });
      rig.touch(a + 1, 'w');
      const device = rig.device('2019');
      const { sched } = rig.platform;
      sched.spawn('device', orEfault(device.fill(a + 1, a + 2, true)));
      sched.spawn('truncate', daxTruncate(file, 4096));
      sched.run(policy);
      expect(stalePages(device, a, a + 2)).toEqual([]);
    }, { maxPreemptions: 3 });
  }

  test('with the switch a device comes to hold a page that was truncated', { timeout: 120_000 }, async () => {
    await expect(race(['valid-aba'])).rejects.toThrow(ScheduleError);
  });

  test('without it no interleaving leaves such an entry', { timeout: 120_000 }, async () => {
    const { schedules } = await race([]);
    expect(schedules).toBeGreaterThan(20);
  });
});

describe('valid-per-mm', () => {
  test.each([true, false])('a long invalidation elsewhere keeps a range from being valid again (switch %s)', async (on) => {
    const rig = await makeMachine(on ? { bugs: ['valid-per-mm'] } : {});
    const { range, dispose } = makeRange(rig, 16, 16);
    const long = open(rig, 4096, 8192);
    expect(range.valid).toBe(true);
    const late = makeRange(rig, 64, 16);
    expect(late.range.valid).toBe(!on);
    open(rig, 16, 17).end();
    expect(rig.run(hmmRangeWaitUntilValid(range, 10))).toBe(!on);
    long.end();
    expect(rig.run(hmmRangeWaitUntilValid(range, 10))).toBe(true);
    dispose();
    late.dispose();
  });
});

describe('overlap-inclusive', () => {
  test.each([true, false])('an update that ends where the range starts (switch %s)', async (on) => {
    const rig = await makeMachine(on ? { bugs: ['overlap-inclusive'] } : {});
    const { range, dispose } = makeRange(rig, 16, 16);
    const below = open(rig, 0, 16);
    expect(range.valid).toBe(!on);
    below.end();
    expect(rig.run(hmmRangeWaitUntilValid(range))).toBe(true);
    const above = open(rig, 32, 48);
    expect(range.valid).toBe(true);
    above.end();
    dispose();
  });
});

/** A device access of a page that may be gone. */
function* orEfault(body: Sleepable<unknown>): Sleepable<void> {
  try {
    yield* body;
  } catch (error) {
    if (!HmmError.is(error, 'EFAULT')) throw error;
  }
}

describe('invalid-range-eagain', () => {
  test.each([true, false])('a range that is not valid: what a snapshot and a fault answer, and who has mmap_lock (switch %s)', async (on) => {
    const rig = await makeMachine(on ? { bugs: ['invalid-range-eagain'] } : {});
    const a = rig.map(null, { npages: 4 });
    const { range, dispose } = makeRange(rig, a, 4, { defaultFlags: VALID | WRITE });
    const flight = open(rig, a, a + 1);
    expect(callRange(rig, range)).toEqual({ result: on ? 'EAGAIN' : 'EBUSY', dropped: false });
    expect(callRange(rig, range, { fault: true })).toEqual({ result: on ? 'EAGAIN' : 'EBUSY', dropped: on });
    flight.end();
    dispose();
  });
});
