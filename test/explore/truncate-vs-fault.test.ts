import { describe, expect, test } from 'vitest';
import { MachineCore } from '../../dist/machine.js';
import { profileOf, type BugSwitch } from '../../dist/profile/index.js';
import { ScheduleError, exploreSchedules, replayPolicy, type ExploreOptions, type ExploreResult } from '../../dist/sched/index.js';
import { MirrorScene, type DeviceAct, type FileChange, type Outcome } from '../support/mirrorScene.ts';

const machine = (bugs: readonly BugSwitch[] = []): Promise<MachineCore> =>
  MachineCore.create({ arena: { bytes: 16 * 2 ** 20 }, profile: profileOf('v6.1'), bugs, seed: 1n, ramPages: 64, levels: 4 });

/** Explores, and gathers what the schedules came to: the outcome less `seen`, and all that tasks saw. */
function explored(core: MachineCore, change: FileChange, act: DeviceAct, options: ExploreOptions = {}): { result: ExploreResult; ends: string[]; seen: Set<string> } {
  const ends = new Set<string>();
  const seen = new Set<string>();
  const result = exploreSchedules((policy) => {
    const outcome: Outcome = new MirrorScene(core).play(change, act, policy);
    ends.add(`device ${outcome.device}, size ${outcome.size}, blocks ${outcome.blocks}, byte ${outcome.byte}`);
    seen.add(outcome.seen);
  }, options);
  return { result, ends: [...ends].sort(), seen };
}

const RACES: readonly { change: FileChange; act: DeviceAct; ends: string[] }[] = [
  { change: 'truncate', act: 'fault', ends: ['device EFAULT, size 0, blocks 0, byte SIGBUS', 'device ok, size 0, blocks 0, byte SIGBUS'] },
  { change: 'truncate', act: 'write', ends: ['device EFAULT, size 0, blocks 0, byte SIGBUS', 'device ok, size 0, blocks 0, byte SIGBUS'] },
  // After the punch the device faults a zero page, or with a write a new block.
  { change: 'punch', act: 'fault', ends: ['device ok, size 4096, blocks 0, byte 0'] },
  { change: 'punch', act: 'write', ends: ['device ok, size 4096, blocks 0, byte 0', 'device ok, size 4096, blocks 1, byte 7'] },
];

describe.each(RACES)('$change against a device $act', ({ change, act, ends }) => {
  test('in every interleaving the device never reaches a freed block nor keeps what the CPU has lost', async () => {
    const core = await machine();
    const all = explored(core, change, act);
    expect(all.result.complete).toBe(true);
    expect(all.ends).toEqual(ends);
    expect(all.result.schedules).toBeGreaterThan(1000);

    // The reduction loses nothing: of all schedules with up to two preemptions none shows a task anything new.
    const few = explored(core, change, act, { reduce: false, maxPreemptions: 2 });
    expect(few.result).toMatchObject({ pruned: 0, complete: false });
    expect(few.result.schedules).toBeGreaterThan(100);
    expect(few.seen.size).toBeGreaterThanOrEqual(3);
    expect([...few.seen].filter((one) => !all.seen.has(one))).toEqual([]);
  }, 120_000);

  test.each(['stale-pfn', 'skip-notifier'] as const)('with bug %s a schedule is found, and replays', async (bug) => {
    const core = await machine([bug]);
    let found: unknown = null;
    try {
      explored(core, change, act);
    } catch (error) {
      found = error;
    }
    expect(found).toBeInstanceOf(ScheduleError);
    const { schedule, cause } = found as ScheduleError;
    expect((cause as Error).message).toMatch(/freed block|the CPU has not/);
    const again = (): Outcome => new MirrorScene(core).play(change, act, replayPolicy(schedule));
    expect(again).toThrow((cause as Error).message);
    expect(again).toThrow((cause as Error).message);
    // The same schedule does no harm where the bug is not.
    expect(() => new MirrorScene(core).check()).not.toThrow();
  });
});
