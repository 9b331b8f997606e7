/** hmm_mirror and struct hmm of the 2019 API, with none of its defects: who hears what, and for how long. */
import { afterEach, describe, expect, test } from 'vitest';
import { InvariantError } from '../../../dist/errno.js';
import { getHmm, hmmMirrorRegister, hmmMirrorUnregister, hmmRangeRegister, hmmRangeWaitUntilValid, type HmmMirror, type HmmMirrorOps, type HmmUpdate } from '../../../dist/hmm/index.js';
import { exitMm, madviseDontneed, munmap, type NotifierRange } from '../../../dist/mm/index.js';
import { runOn } from '../../../dist/sched/index.js';
import { callRange, makeRange } from '../../support/probe2019.ts';
import { checkPgmaps, makeMachine, type Rig } from '../../support/rig.ts';

afterEach(checkPgmaps);

interface Heard {
  readonly updates: HmmUpdate[];
  released: number;
}

function listen(rig: Rig, name: string, ops: Partial<HmmMirrorOps> = {}): { mirror: HmmMirror; heard: Heard } {
  const heard: Heard = { updates: [], released: 0 };
  const mirror = hmmMirrorRegister(rig.mm, name, {
    *syncCpuDevicePagetables(update) {
      heard.updates.push(update);
      return true;
    },
    *release() {
      heard.released++;
    },
    ...ops,
  });
  if (typeof mirror === 'string') throw new Error(mirror);
  return { mirror, heard };
}

describe('hmm_mirror_register', () => {
  test('answers EINVAL without a space, without ops, and for a process that has exited', async () => {
    const rig = await makeMachine();
    const ops: HmmMirrorOps = { *syncCpuDevicePagetables() { return true; } };
    expect(hmmMirrorRegister(null, 'm', ops)).toBe('EINVAL');
    expect(hmmMirrorRegister(rig.mm, 'm', null)).toBe('EINVAL');
    rig.run(exitMm(rig.mm));
    expect(hmmMirrorRegister(rig.mm, 'm', ops)).toBe('EINVAL');
  });

  test('makes one struct hmm a space, gone with its last user', async () => {
    const rig = await makeMachine();
    expect(rig.mm.notifiers.heard).toBe(false);
    const a = listen(rig, 'a').mirror;
    const b = listen(rig, 'b').mirror;
    const other = hmmMirrorRegister(rig.core.newMm('q'), 'c', a.ops) as HmmMirror;
    expect(a.hmm).toBe(b.hmm);
    expect(other.hmm).not.toBe(a.hmm);
    rig.run(hmmMirrorUnregister(a));
    expect(rig.mm.notifiers.heard).toBe(true);
    rig.run(hmmMirrorUnregister(b));
    expect(rig.mm.notifiers.heard).toBe(false);
    expect(b.hmm).toBeNull();
    rig.run(hmmMirrorUnregister(b));
    expect(getHmm(rig.mm)).not.toBe(other.hmm);
  });
});

describe('a mirror', () => {
  test('hears every invalidation of its space, and only of that, with bounds and no reason', async () => {
    const rig = await makeMachine();
    const { mirror, heard } = listen(rig, 'm');
    const a = rig.map(null, { npages: 16 });
    const other = rig.core.newMm('q');
    const b = rig.map(null, { npages: 16, mm: other });
    rig.touch(a, 'w');
    rig.touch(b, 'w', 1, other);
    heard.updates.length = 0;
    rig.run(madviseDontneed(rig.mm, a, 4));
    rig.run(madviseDontneed(other, b, 4));
    expect(heard.updates).toEqual([{ start: a, end: a + 4, event: 'INVALIDATE', blockable: true }]);
    rig.run(hmmMirrorUnregister(mirror));
    rig.run(munmap(rig.mm, a, 16));
    expect(heard.updates).toHaveLength(1);
  });

  test('is called while the pages are still mapped, and after ranges have stopped being valid', async () => {
    const rig = await makeMachine();
    const a = rig.map(null, { npages: 4 });
    rig.touch(a, 'w');
    const { range, dispose } = makeRange(rig, a, 4);
    const seen: [mapped: boolean, valid: boolean][] = [];
    const { mirror } = listen(rig, 'm', {
      *syncCpuDevicePagetables() {
        seen.push([rig.mm.pageTable.look(a), range.valid]);
        return true;
      },
    });
    rig.run(munmap(rig.mm, a, 4));
    expect(seen).toEqual([[true, false]]);
    dispose();
    rig.run(hmmMirrorUnregister(mirror));
  });

  test('that refuses an invalidation which may block breaks the model', async () => {
    const rig = await makeMachine();
    const a = rig.map(null, { npages: 1 });
    rig.touch(a, 'w');
    listen(rig, 'm', { *syncCpuDevicePagetables() { return false; } });
    expect(() => rig.run(munmap(rig.mm, a, 1))).toThrow(InvariantError);
  });

  test('is released once when the process exits, and ranges are dead from then on', async () => {
    const rig = await makeMachine();
    const a = rig.map(null, { npages: 4 });
    rig.touch(a, 'w');
    const { range, dispose } = makeRange(rig, a, 4);
    const { mirror, heard } = listen(rig, 'm');
    const self: { mirror?: HmmMirror } = {};
    const second = listen(rig, 'unregisters itself', { *release() { yield* hmmMirrorUnregister(self.mirror as HmmMirror); } });
    self.mirror = second.mirror;
    rig.run(exitMm(rig.mm));
    expect(heard.released).toBe(1);
    expect(range.valid).toBe(false);
    expect(second.mirror.hmm).toBeNull();
    const spare = makeRangeRecord(range);
    expect(hmmRangeRegister(spare, rig.mm, a, a + 4)).toBe('EFAULT');
    expect(callRange(rig, range, { fault: true })).toEqual({ result: 'EFAULT', dropped: false });
    expect(callRange(rig, range)).toEqual({ result: 'EFAULT', dropped: false });
    dispose();
    rig.run(hmmMirrorUnregister(mirror));
  });

  test('is not called any more once unregistering has returned, though a callback was under way', async () => {
    const rig = await makeMachine();
    const { sched } = rig.platform;
    const a = rig.map(null, { npages: 1 });
    rig.touch(a, 'w');
    let inside = false;
    const { mirror } = listen(rig, 'slow', {
      *syncCpuDevicePagetables() {
        inside = true;
        yield* sched.sleep(1000);
        inside = false;
        return true;
      },
    });
    const log: string[] = [];
    sched.spawn('munmap', munmap(rig.mm, a, 1));
    sched.spawn('unregister', (function* unregister() {
      while (!inside) yield sched.point('until the callback runs', '*');
      yield* hmmMirrorUnregister(mirror);
      log.push(inside ? 'too early' : 'after the callback');
    })());
    let turn = 0;
    sched.run({ choose: (ready) => turn++ % ready.length });
    expect(log).toEqual(['after the callback']);
  });

  test('the first of a space, registered during an invalidation, lets no range be valid before its end', async () => {
    const rig = await makeMachine();
    const update: NotifierRange = { event: 'CLEAR', start: 16, end: 32, blockable: true, owner: null };
    rig.run(rig.mm.notifiers.start(update));
    const { mirror } = listen(rig, 'late');
    const { range, dispose } = makeRange(rig, 16, 4);
    expect(range.valid).toBe(false);
    expect(rig.run(hmmRangeWaitUntilValid(range, 1))).toBe(false);
    const nested: NotifierRange = { ...update, start: 0, end: 8 };
    rig.run(rig.mm.notifiers.start(nested));
    rig.mm.notifiers.end(nested);
    expect(rig.run(hmmRangeWaitUntilValid(range, 1))).toBe(false);
    rig.mm.notifiers.end(update);
    expect(rig.run(hmmRangeWaitUntilValid(range, 1))).toBe(true);
    dispose();
    rig.run(hmmMirrorUnregister(mirror));
  });

  test('registered during an invalidation leaves ranges over it invalid until the end', async () => {
    const rig = await makeMachine();
    const { sched } = rig.platform;
    const a = rig.map(null, { npages: 8 });
    rig.touch(a, 'w');
    listen(rig, 'first', { *syncCpuDevicePagetables() { yield* sched.sleep(1000); return true; } });
    const seen: boolean[] = [];
    sched.spawn('dontneed', madviseDontneed(rig.mm, a, 4));
    sched.spawn('register', (function* register() {
      yield* sched.sleep(500);
      const over = makeRange(rig, a, 4);
      const beside = makeRange(rig, a + 4, 4);
      seen.push(over.range.valid, beside.range.valid);
      over.dispose();
      beside.dispose();
    })());
    sched.run(runOn);
    expect(seen).toEqual([false, true]);
  });
});

function makeRangeRecord<T extends object>(range: T): T {
  return { ...range, hmm: null };
}
