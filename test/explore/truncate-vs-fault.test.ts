/**
 * Truncate and punch against a device that is faulting, reading or writing the same page: every interleaving.
 *
 * After each schedule, and at every step of it outside an invalidation, no device entry may lead to a frame that the file no
 * longer has, and none may say more than the CPU page table.
 */
import { describe, expect, it } from 'vitest';
import { daxPunch, daxTruncate } from '../../dist/dax/index.js';
import { HmmError } from '../../dist/errno.js';
import { exploreSchedules, replayPolicy, ScheduleError, type Policy, type Sleepable } from '../../dist/sched/index.js';
import { daxWrite, openDaxFile } from '../../dist/dax/index.js';
import { DeviceMirror, attachLegacy, attachModern } from '../../dist/dmirror/index.js';
import { MachineCore } from '../../dist/machine.js';
import { mmap } from '../../dist/mm/index.js';
import { DEVICE_BASE_PFN } from '../../dist/page/index.js';
import { profileOf, type BugSwitch } from '../../dist/profile/index.js';

const MiB = 2 ** 20;

interface Model {
  readonly api: 'modern' | '2019';
  readonly file: 'truncate' | 'punch';
  readonly device: 'fault' | 'read' | 'write';
  readonly bug?: BugSwitch;
}

/** One machine, reset before each schedule; the final state of a schedule, in words. */
async function makeModel(model: Model): Promise<{ attempt: (policy: Policy) => void; finals: Map<string, number> }> {
  const core = await MachineCore.create({
    arena: { bytes: 32 * MiB }, profile: profileOf('v6.1'), bugs: model.bug === undefined ? [] : [model.bug], seed: 1n, ramPages: 1024, levels: 4,
  });
  const finals = new Map<string, number>();
  const attempt = (policy: Policy): void => {
    core.reset();
    const { sched } = core.platform;
    const fs = core.newFileSystem('pmem', 1024, 'ext4');
    const inode = fs.create('f', 1);
    sched.runToEnd('write', daxWrite(inode, 0, new Uint8Array(4096).fill(7)));
    const mm = core.newMm('p');
    const start = sched.runToEnd('mmap', mmap(mm, { npages: 1, prot: 3, shared: true, file: openDaxFile(inode, true), pgoff: 0, start: null, fixed: 'hint', sync: false, vmFlags: 0 }));
    const device = new DeviceMirror('gpu', mm);
    device.port = model.api === 'modern' ? attachModern(device) : attachLegacy(device);
    const bytes = new Uint8Array(1);
    let seen = 'nothing';
    const deviceTask = function* (): Sleepable<void> {
      try {
        if (model.device === 'fault') yield* device.fill(start, start + 1, true);
        else if (model.device === 'write') yield* device.write(start, 0, Uint8Array.of(9));
        else yield* device.read(start, 0, bytes);
        seen = model.device === 'read' ? `read ${bytes[0]}` : 'done';
      } catch (error) {
        if (!HmmError.is(error, 'EFAULT')) throw error;
        seen = 'EFAULT';
      }
    };
    const entryIsGood = (when: string): void => {
      if (mm.notifiers.active > 0) return;
      const pfn = device.translate(start, false);
      if (pfn < 0) return;
      if (pfn >= DEVICE_BASE_PFN && fs.allocator.isFree(pfn)) throw new Error(`${when}: the device still maps frame 0x${pfn.toString(16)}, which is free`);
      const cpu = mm.pageTable.translate(start, device.translate(start, true) >= 0 ? 1 : 0);
      if (cpu !== pfn) throw new Error(`${when}: the device maps frame 0x${pfn.toString(16)}, the CPU ${cpu < 0 ? 'nothing' : `0x${cpu.toString(16)}`}`);
    };
    sched.spawn('file', model.file === 'truncate' ? daxTruncate(inode, 0) : daxPunch(inode, 0, 4096));
    sched.spawn('device', deviceTask());
    let step = 0;
    sched.run({
      choose(ready, current) {
        entryIsGood(`step ${step++}`);
        return policy.choose(ready, current);
      },
    });
    entryIsGood('at the end');
    if (mm.notifiers.active !== 0) throw new Error('an invalidation was never ended');
    const outcome = `${seen}, ${device.translate(start, false) >= 0 ? 'mapped' : 'unmapped'}, ${inode.size} bytes, ${inode.extents.count} extents`;
    finals.set(outcome, (finals.get(outcome) ?? 0) + 1);
  };
  return { attempt, finals };
}

const APIS = ['modern', '2019'] as const;

describe.each(APIS)('on the %s API', (api) => {
  it.each([
    ['truncate', 'fault'], ['truncate', 'read'], ['truncate', 'write'], ['punch', 'fault'], ['punch', 'read'], ['punch', 'write'],
  ] as const)('%s against a device %s: every interleaving ends well', async (file, device) => {
    const { attempt, finals } = await makeModel({ api, file, device });
    const result = exploreSchedules(attempt);
    expect(result.complete).toBe(true);
    expect(result.schedules).toBeGreaterThan(5);
    // The device comes before, and sees the page; or after, and does not.
    if (file === 'truncate') expect([...finals.keys()].sort()).toEqual(device === 'read' ? ['EFAULT, unmapped, 0 bytes, 0 extents', 'read 7, unmapped, 0 bytes, 0 extents'] : ['EFAULT, unmapped, 0 bytes, 0 extents', 'done, unmapped, 0 bytes, 0 extents']);
    else expect([...finals.keys()].every((final) => !final.startsWith('EFAULT'))).toBe(true);
  }, 120_000);

  it('reduction reaches every final state that schedules of up to three preemptions reach, run one by one', async () => {
    const brute = await makeModel({ api, file: 'punch', device: 'read' });
    const reduced = await makeModel({ api, file: 'punch', device: 'read' });
    const bounded = exploreSchedules(brute.attempt, { maxPreemptions: 3 });
    const all = exploreSchedules(reduced.attempt);
    expect(bounded).toMatchObject({ complete: false, pruned: 0 });
    expect(all.complete).toBe(true);
    expect(bounded.schedules).toBeGreaterThan(all.schedules);
    expect([...reduced.finals.keys()].sort()).toEqual([...brute.finals.keys()].sort());
    expect(brute.finals.size).toBeGreaterThan(1);
  }, 120_000);

  it.each(['stale-pfn', 'skip-notifier'] as const)('finds a schedule for %s and replays it', async (bug) => {
    const { attempt } = await makeModel({ api, file: 'truncate', device: 'fault', bug });
    let found: unknown;
    try {
      exploreSchedules(attempt);
    } catch (error) {
      found = error;
    }
    expect(found).toBeInstanceOf(ScheduleError);
    const { schedule, message } = found as ScheduleError;
    expect(message).toMatch(/the device (still )?maps frame/);
    expect(() => attempt(replayPolicy(schedule))).toThrow(/the device (still )?maps frame/);
  });
});
