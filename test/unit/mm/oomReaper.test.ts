/**
 * The OOM reaper and mirrors. No kernel was recorded for it; the rules are those of mm.md (events table, "OOM reaper": UNMAP,
 * non-blockable, per anonymous or private area; -EAGAIN: the area is skipped and tried again) and of its notifier contract ("Core never calls end afterwards").
 */
import { describe, expect, test } from 'vitest';
import { oomReap, type NotifierRange } from '../../../dist/mm/index.js';
import { makeMachine, maps } from '../../support/rig.ts';

describe('oom_reap_task', () => {
  test('takes anonymous and private memory, under UNMAP that may not block, and leaves shared files', async () => {
    const rig = await makeMachine();
    const file = rig.file({ npages: 512 });
    const anon = rig.map(null, { npages: 8 });
    const shared = rig.map(file, { npages: 512 });
    rig.touch(anon, 'w');
    rig.touch(shared, 'w');
    const device = rig.device('modern');
    rig.run(device.fill(anon, anon + 1, true));
    rig.run(device.fill(shared, shared + 1, true));
    const heard: NotifierRange[] = [];
    rig.mm.notifiers.insert('listener', anon, anon + 8, function* log(range) {
      heard.push(range);
      return true;
    });
    expect(rig.run(oomReap(rig.mm))).toEqual({ reaped: 1, refused: 0, attempts: 1 });
    expect(heard.map(({ event, blockable }) => [event, blockable])).toEqual([['UNMAP', false]]);
    expect([maps(device, anon), maps(device, shared)]).toEqual([false, true]);
  });

  test('what it took is gone: a later access is SIGBUS, and a mirror gets EFAULT', async () => {
    const rig = await makeMachine();
    const anon = rig.map(null, { npages: 8 });
    rig.touch(anon, 'w');
    rig.run(oomReap(rig.mm));
    expect(() => rig.touch(anon, 'r')).toThrow(/SIGBUS/);
    expect(() => rig.touch(anon + 1, 'w')).toThrow(/SIGBUS/);
    const device = rig.device('modern');
    expect(() => rig.run(device.fill(anon, anon + 1, false))).toThrow(expect.objectContaining({ code: 'EFAULT' }));
  });

  test('an area that a mirror keeps is tried again, and every start that a classic listener heard has its end', async () => {
    const rig = await makeMachine();
    const anon = rig.map(null, { npages: 8 });
    rig.touch(anon, 'w');
    let [starts, ends] = [0, 0];
    rig.mm.notifiers.register({
      name: 'busy',
      *start() {
        starts++;
        return starts > 3;
      },
      end: () => ends++,
    });
    expect(rig.run(oomReap(rig.mm))).toEqual({ reaped: 1, refused: 0, attempts: 4 });
    expect([starts, ends]).toEqual([4, 4]);
    expect(rig.platform.sched.nowNs).toBe(300_000_000);
    expect(rig.mm.notifiers.active).toBe(0);
  });

  test('a mirror that never lets go is given up', async () => {
    const rig = await makeMachine();
    const anon = rig.map(null, { npages: 8 });
    rig.touch(anon, 'w');
    rig.mm.notifiers.insert('stubborn', anon, anon + 8, function* refuse() {
      return false;
    });
    expect(rig.run(oomReap(rig.mm))).toEqual({ reaped: 0, refused: 1, attempts: 10 });
    expect(rig.touch(anon, 'r')).toBe(1);
    expect(rig.mm.notifiers.active).toBe(0);
  });

  test('a device that holds its lock refuses, and is right again afterwards', async () => {
    const rig = await makeMachine();
    const anon = rig.map(null, { npages: 8 });
    rig.touch(anon, 'w');
    const device = rig.device('modern');
    rig.run(device.fill(anon, anon + 1, true));
    const { sched } = rig.platform;
    // A thread of the driver that has the lock for a quarter of a second.
    const driver = sched.spawn('driver', (function* hold() {
      yield* device.lock.write(sched);
      yield* sched.sleep(250_000_000);
      device.lock.writeUnlock(sched);
    })());
    rig.run(sched.sleep(1));
    expect(device.lock.held).toBe('write');
    expect(rig.run(oomReap(rig.mm))).toEqual({ reaped: 1, refused: 0, attempts: 4 });
    expect([driver.finished, maps(device, anon)]).toEqual([true, false]);
  });
});
