/** hugetlb areas under the 2019 walk: empty entries, ranges whose words stand for huge pages. */
import { afterEach, describe, expect, test } from 'vitest';
import { VM_NORESERVE, VM_READ, VM_WRITE, mmap, newHugeAnon } from '../../dist/mm/index.js';
import { fault, letters, snap } from '../support/probe2019.ts';
import { checkPgmaps, makeMachine, type Rig } from '../support/rig.ts';

afterEach(checkPgmaps);

const AT = 2 ** 20;
const HUGE = { pageShift: 21 };

/** Private hugetlb memory, of which nothing is promised. */
function hugeArea(rig: Rig, npages: number): number {
  const file = newHugeAnon(rig.platform, rig.platform.hugePools.huge2m, npages);
  return rig.run(mmap(rig.mm, { npages, prot: VM_READ | VM_WRITE, shared: false, file, pgoff: 0, start: AT, fixed: 'noreplace', sync: false, vmFlags: VM_NORESERVE }));
}

describe('hugetlb-empty-valid', () => {
  test.each([[true, '512V 512VW 512V'], [false, '512- 512VW 512-']] as const)('empty entries beside a used one (switch %s)', async (on, words) => {
    const rig = await makeMachine({ hugePages: [8, 0], bugs: on ? ['hugetlb-empty-valid'] : [] });
    const a = hugeArea(rig, 1536);
    const before = snap(rig, a, 1536);
    expect([before.result, letters(before.words)], 'without a table for the entries it is a hole').toEqual([1536, '1536-']);
    rig.touch(a + 512, 'w');
    const call = snap(rig, a, 1536);
    expect([call.result, letters(call.words)]).toEqual([1536, words]);
    const part = snap(rig, a + 100, 300);
    expect(letters(part.words)).toBe(on ? '300V' : '300-');
  });

  test('asked for, they are faulted, and the calls counted by 4K page', async () => {
    const rig = await makeMachine({ profile: 'v5.2', hugePages: [4, 0] });
    const a = hugeArea(rig, 1024);
    const call = fault(rig, a, 1024);
    expect([call.result, call.faults, letters(call.words)]).toEqual([1024, 1024, '1024V']);
  });
});

describe('page-shift-mixed', () => {
  test.each([[true, '2V 1E 1021? 1024-'], [false, '2V 2- 2044?']] as const)('a range in huge pages fails at the third of four (switch %s)', async (on, words) => {
    const rig = await makeMachine({ hugePages: [2, 0], bugs: on ? ['page-shift-mixed', 'fault-wipes-marker'] : ['fault-wipes-marker'] });
    const a = hugeArea(rig, 2048);
    const call = fault(rig, a, 2048, 'r', {}, HUGE);
    expect(call.result).toBe('EFAULT');
    expect(letters(call.words)).toBe(words);
  });

  test('a range in huge pages has a word for each; the count is of 4K pages', async () => {
    const rig = await makeMachine({ profile: 'v5.2', hugePages: [4, 0] });
    const a = hugeArea(rig, 2048);
    const call = fault(rig, a, 2048, 'w', {}, HUGE);
    expect([call.result, call.faults, letters(call.words)]).toEqual([2048, 4, '4VW 2044?']);
  });

  test('huge pages are asked for where there are such, or 4K: EINVAL else', async () => {
    const rig = await makeMachine({ profile: 'v5.2', hugePages: [4, 0] });
    const a = hugeArea(rig, 1024);
    const plain = rig.map(null, { npages: 1024, at: AT + 2 ** 19 });
    expect(snap(rig, plain, 512, HUGE).result).toBe('EINVAL');
    expect(snap(rig, a, 512, { pageShift: 20 }).result).toBe('EINVAL');
    expect(snap(rig, a, 512, HUGE).result).toBe(0);
  });
});
