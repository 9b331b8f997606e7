/** fork and mremap against a device that mirrors the page: in every interleaving it has what the CPU has, and writes where its process does. */
import { describe, expect, test } from 'vitest';
import { DeviceMirror, attachModern } from '../../dist/dmirror/index.js';
import { HmmError } from '../../dist/errno.js';
import { MachineCore } from '../../dist/machine.js';
import { cpuLoad, cpuStore, mmap, mremap, type Mm } from '../../dist/mm/index.js';
import { profileOf, type BugSwitch } from '../../dist/profile/index.js';
import { ScheduleError, exploreSchedules, type ExploreResult, type Policy, type Sleepable } from '../../dist/sched/index.js';

const AT = 2 ** 20;
const TO = 2 ** 21;

type Change = 'fork' | 'mremap';

const machine = (bugs: readonly BugSwitch[] = []): Promise<MachineCore> =>
  MachineCore.create({ arena: { bytes: 16 * 2 ** 20 }, profile: profileOf('v6.1'), bugs, seed: 1n, ramPages: 64, levels: 4 });

/** One page of 2, which the device has `mapped` or not; both tasks under `policy`. What each process reads in the end, and what the device was told. */
function play(core: MachineCore, change: Change, mapped: boolean, policy: Policy): string {
  core.reset();
  const { sched } = core.platform;
  const run = <T>(body: Sleepable<T>): T => sched.runToEnd('scene', body);
  const mm = core.newMm('p');
  run(mmap(mm, { npages: 1, prot: 3, shared: false, file: null, pgoff: 0, start: AT, fixed: 'noreplace', sync: false, vmFlags: 0 }));
  run(cpuStore(mm, AT, 0, Uint8Array.of(2)));
  const device = new DeviceMirror('gpu', mm);
  device.port = attachModern(device);
  if (mapped) run(device.fill(AT, AT + 1, true));

  let child: Mm | null = null;
  let answer = 'ok';
  sched.spawn(change, (function* body(): Sleepable<void> {
    if (change === 'fork') child = yield* core.fork(mm, 'c');
    else yield* mremap(mm, { start: AT, oldPages: 1, newPages: 1, mayMove: true, to: TO, dontunmap: false });
  })());
  sched.spawn('device', (function* write(): Sleepable<void> {
    try {
      yield* device.write(AT, 0, Uint8Array.of(7));
    } catch (error) {
      if (!HmmError.is(error)) throw error;
      answer = error.code;
    }
  })());
  const check = (): void => {
    const pfn = device.translate(AT, false);
    if (pfn < 0 || mm.notifiers.active > 0) return;
    if (mm.pageTable.translate(AT, 0) !== pfn) throw new Error('the device has a page that the CPU has not');
    if (device.translate(AT, true) >= 0 && mm.pageTable.translate(AT, 1) !== pfn) throw new Error('the device may write where the CPU may not');
  };
  sched.run({
    choose(ready, current) {
      check();
      return policy.choose(ready, current);
    },
  });
  check();

  const byte = (of: Mm, vpn: number): number => {
    const target = new Uint8Array(1);
    run(cpuLoad(of, vpn, 0, target));
    return target[0] as number;
  };
  if (child === null) return `device ${answer}, moved ${byte(mm, TO)}`;
  const before = byte(child, AT);
  run(device.write(AT, 0, Uint8Array.of(9)));
  if (byte(child, AT) !== before || byte(mm, AT) !== 9) throw new Error('a write of the parent\'s device shows in the child');
  return `device ${answer}, child ${before}`;
}

function explored(core: MachineCore, change: Change, mapped: boolean): { result: ExploreResult; ends: string[] } {
  const ends = new Set<string>();
  const result = exploreSchedules((policy) => {
    ends.add(play(core, change, mapped, policy));
  });
  return { result, ends: [...ends].sort() };
}

describe.each<{ change: Change; ends: string[] }>([
  // The device's byte is there before the copy is taken, or it goes to the parent's own page.
  { change: 'fork', ends: ['device ok, child 2', 'device ok, child 7'] },
  { change: 'mremap', ends: ['device EFAULT, moved 2', 'device ok, moved 7'] },
])('$change against a device that writes', ({ change, ends }) => {
  test.each([true, false])('every interleaving keeps the device to what its process has (mapped before: %s)', async (mapped) => {
    const core = await machine();
    const all = explored(core, change, mapped);
    expect(all.ends).toEqual(ends);
    expect(all.result.complete).toBe(true);
    expect(all.result.schedules).toBeGreaterThan(10);
  }, 120_000);

  // A device that has the page is stopped before it can be late: only what it collects anew can be out of date.
  test.each([['stale-pfn', false], ['skip-notifier', true]] as const)('with bug %s a schedule is found', async (bug, mapped) => {
    const core = await machine([bug]);
    expect(() => explored(core, change, mapped)).toThrow(ScheduleError);
  }, 120_000);
});
