/** What a 2019 walk makes of pages that are elsewhere: swapped out, on their way, with the switches of its defects on and off. */
import { afterEach, describe, expect, test } from 'vitest';
import { holdPages, madviseHuge, releasePages, swapOut } from '../../dist/mm/index.js';
import { runOn } from '../../dist/sched/index.js';
import { fault, letters, snap } from '../support/probe2019.ts';
import { checkPgmaps, makeMachine } from '../support/rig.ts';

afterEach(checkPgmaps);

const AT = 2 ** 20;

describe('swap-never-faulted', () => {
  test.each([[true, 0, '1VW 2- 5VW'], [false, 2, '8VW']] as const)('swapped out pages that are asked for (switch %s)', async (on, faults, words) => {
    const rig = await makeMachine(on ? { bugs: ['swap-never-faulted'] } : {});
    const a = rig.map(null, { npages: 8, at: AT });
    for (let i = 0; i < 8; i++) rig.touch(a + i, 'w');
    rig.run(swapOut(rig.mm, a + 1, a + 3));
    const looked = snap(rig, a, 8);
    expect([looked.result, letters(looked.words)]).toEqual([8, '1VW 2- 5VW']);
    const call = fault(rig, a, 8, 'w');
    expect([call.result, call.faults, letters(call.words)]).toEqual([8, faults, words]);
  });

  test.each([[true, 0, '2VW 1- 1VW'], [false, 5e8, '4VW']] as const)('a page on its way that is asked for (switch %s)', async (on, waited, words) => {
    const rig = await makeMachine(on ? { bugs: ['swap-never-faulted'] } : {});
    const { sched } = rig.platform;
    const a = rig.map(null, { npages: 4, at: AT });
    for (let i = 0; i < 4; i++) rig.touch(a + i, 'w');
    const held = rig.run(holdPages(rig.mm, a + 2, a + 3));
    sched.spawn('release', (function* release() {
      yield* sched.sleep(5e8);
      releasePages(rig.platform, held);
    })());
    const call = fault(rig, a, 4, 'w');
    expect([call.result, sched.nowNs, letters(call.words)]).toEqual([4, waited, words]);
    sched.run(runOn);
  });
});

describe('migrating-pmd-untouched', () => {
  test.each([[true, 0, '512?'], [false, 512, '512-']] as const)('a 2M page on its way, looked at (switch %s)', async (on, count, words) => {
    const rig = await makeMachine(on ? { bugs: ['migrating-pmd-untouched', 'count-stops-at-hole'] } : {});
    const a = rig.map(null, { npages: 512, at: AT });
    rig.run(madviseHuge(rig.mm, a, 512, true));
    rig.touch(a, 'w');
    const held = rig.run(holdPages(rig.mm, a, a + 1));
    const call = snap(rig, a, 512);
    expect([call.result, letters(call.words)]).toEqual([count, words]);
    releasePages(rig.platform, held);
    expect(letters(snap(rig, a, 512).words)).toBe('512VW');
  });

  test('asked for, it is waited for with mmap_lock held', async () => {
    const rig = await makeMachine({ profile: 'v5.2' });
    const { sched } = rig.platform;
    const a = rig.map(null, { npages: 1024, at: AT });
    rig.run(madviseHuge(rig.mm, a, 1024, true));
    rig.touch(a, 'w');
    rig.touch(a + 512, 'w');
    const held = rig.run(holdPages(rig.mm, a + 512, a + 513));
    let locked: unknown = null;
    sched.spawn('release', (function* release() {
      yield* sched.sleep(5e8);
      locked = rig.mm.mmapLock.held;
      releasePages(rig.platform, held);
    })());
    const call = fault(rig, a, 1024, 'w');
    expect([call.result, call.faults, locked, letters(call.words)]).toEqual([1024, 0, 'read', '1024VW']);
    sched.run(runOn);
  });
});
