/** Invalidations that may not block, and a 2019 mirror or its lock that would have to wait. */
import { afterEach, describe, expect, test } from 'vitest';
import { hmmMirrorRegister, hmmMirrorUnregister, hmmRangeWaitUntilValid, type Hmm2019, type HmmMirror } from '../../dist/hmm/index.js';
import type { NotifierRange } from '../../dist/mm/index.js';
import { callRange, makeRange } from '../support/probe2019.ts';
import { checkPgmaps, makeMachine, maps, type Rig } from '../support/rig.ts';

afterEach(checkPgmaps);

function startNonblocking(rig: Rig, start: number, end: number): { heard: boolean; range: NotifierRange } {
  const range: NotifierRange = { event: 'CLEAR', start, end, blockable: false, owner: null };
  return { heard: rig.run(rig.mm.notifiers.start(range)), range };
}

/** A mirror that would have to wait. */
function busyMirror(rig: Rig, calls: string[], name = 'busy'): HmmMirror {
  return hmmMirrorRegister(rig.mm, name, {
    *syncCpuDevicePagetables({ blockable }) {
      calls.push(name);
      return blockable;
    },
  }) as HmmMirror;
}

describe('mirror-eagain-lost', () => {
  test.each([true, false])('a mirror answers -EAGAIN: what the core hears (switch %s)', async (on) => {
    const rig = await makeMachine(on ? { bugs: ['mirror-eagain-lost'] } : {});
    const calls: string[] = [];
    const first = busyMirror(rig, calls, 'first');
    const second = busyMirror(rig, calls, 'second');
    const { range, dispose } = makeRange(rig, 16, 16);
    const { heard, range: update } = startNonblocking(rig, 16, 20);
    expect(heard).toBe(on);
    // Those after the one that refused are not called either way.
    expect(calls).toEqual(['first']);
    const hmm = range.hmm as Hmm2019;
    expect(hmm.notifiers).toBe(on ? 1 : 0);
    if (on) rig.mm.notifiers.end(update);
    expect(hmm.notifiers).toBe(0);
    expect(rig.run(hmmRangeWaitUntilValid(range))).toBe(true);
    dispose();
    rig.run(hmmMirrorUnregister(first));
    rig.run(hmmMirrorUnregister(second));
  });

  test('the start that failed is over: ranges are valid again at once where the core makes them so', async () => {
    const rig = await makeMachine({ bugs: ['valid-aba'] });
    const mirror = busyMirror(rig, []);
    const { range, dispose } = makeRange(rig, 16, 16);
    expect(startNonblocking(rig, 16, 20).heard).toBe(false);
    expect(range.valid).toBe(true);
    dispose();
    rig.run(hmmMirrorUnregister(mirror));
  });

  test.each([true, false])('a device whose lock is taken keeps entries that the core believes gone (switch %s)', async (on) => {
    const rig = await makeMachine(on ? { bugs: ['mirror-eagain-lost'] } : {});
    const a = rig.map(null, { npages: 4 });
    const device = rig.device('2019');
    rig.run(device.fill(a, a + 4, true));
    rig.run(device.lock.write(rig.platform.sched));
    const { heard, range } = startNonblocking(rig, a, a + 4);
    device.lock.writeUnlock(rig.platform.sched);
    // Told "yes", the core takes the pages; told "no", it leaves them.
    expect(heard).toBe(on);
    expect(maps(device, a)).toBe(true);
    if (heard) rig.mm.notifiers.end(range);
  });
});

describe('nonblock-count-leak', () => {
  test.each([true, false])('with mirrors_sem taken the start fails: the count afterwards (switch %s)', async (on) => {
    const rig = await makeMachine(on ? { bugs: ['nonblock-count-leak'] } : {});
    const { sched } = rig.platform;
    const { range, dispose } = makeRange(rig, 16, 16);
    const hmm = range.hmm as Hmm2019;
    rig.run(hmm.mirrorsSem.write(sched));
    expect(startNonblocking(rig, 16, 17).heard).toBe(false);
    hmm.mirrorsSem.writeUnlock(sched);
    expect(hmm.notifiers).toBe(on ? 1 : 0);
    // Nobody ends what did not start.
    expect(rig.run(hmmRangeWaitUntilValid(range))).toBe(!on);
    expect(callRange(rig, range).result).toBe(on ? 'EBUSY' : 'EFAULT');
    dispose();
    const { range: later, dispose: disposeLater } = makeRange(rig, 16, 16);
    expect(rig.run(hmmRangeWaitUntilValid(later))).toBe(!on || later.hmm !== hmm);
    disposeLater();
  });

  test.each([true, false])('with hmm->lock taken nothing has happened yet (switch %s)', async (on) => {
    const rig = await makeMachine(on ? { bugs: ['nonblock-count-leak'] } : {});
    const { sched } = rig.platform;
    const { range, dispose } = makeRange(rig, 16, 16);
    const hmm = range.hmm as Hmm2019;
    rig.run(hmm.lock.write(sched));
    expect(startNonblocking(rig, 16, 17).heard).toBe(false);
    hmm.lock.writeUnlock(sched);
    expect([hmm.notifiers, range.valid]).toEqual([0, true]);
    dispose();
  });

  test.each([true, false])('another listener refuses after the mirror has heard: it hears the end (switch %s)', async (on) => {
    const rig = await makeMachine(on ? { bugs: ['nonblock-count-leak'] } : {});
    const { range, dispose } = makeRange(rig, 16, 16);
    rig.mm.notifiers.register({ name: 'other', *start() { return false; } });
    expect(startNonblocking(rig, 16, 17).heard).toBe(false);
    expect((range.hmm as Hmm2019).notifiers).toBe(0);
    expect(rig.run(hmmRangeWaitUntilValid(range))).toBe(true);
    dispose();
  });
});
