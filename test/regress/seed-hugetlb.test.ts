/** hugetlb areas under the 2019 walk: empty entries, ranges whose words stand for huge pages. The area is a file of a few huge pages. */
import { afterEach, describe, expect, test } from 'vitest';
import { Mappings } from '../../dist/fs/index.js';
import { VM_HUGETLB, munmap, type MappedFile } from '../../dist/mm/index.js';
import { fault, letters, snap } from '../support/probe2019.ts';
import { checkPgmaps, makeMachine, type Rig } from '../support/rig.ts';

afterEach(checkPgmaps);

const AT = 2 ** 20;
const HUGE = { pageShift: 21 };

/** `npages` of hugetlb memory, with a pool of `pool` huge pages behind. */
function hugeArea(rig: Rig, npages: number, pool: number): number {
  const { ram, records, sched } = rig.platform;
  let left = pool;
  const file: MappedFile = {
    inode: { name: 'hugetlb', mappings: new Mappings(sched, 'hugetlb', '*') }, writable: true, vmFlags: VM_HUGETLB, alignPages: 512, preferPages: 512, syncSupported: false,
    refuses: () => null,
    vmOps: {
      name: 'hugetlb',
      dax: false,
      countsPages: true,
      quickFault: () => -1,
      *fault() {
        return 0x2; // SIGBUS
      },
      *hugeFault({ vma, vpn }, level) {
        if (level !== 1 || left === 0) return 0x800; // not at this size
        left--;
        const pfn = ram.alloc(9);
        records.addWholeMappings(pfn, 1);
        vma.mm.pageTable.slot(vpn, 1);
        vma.mm.pageTable.set(pfn, 0xe7, 0);
        return 0;
      },
    },
  };
  return rig.map(file, { npages, at: AT, shared: true });
}

describe('hugetlb-empty-valid', () => {
  test.each([[true, '512V 512VW 512V'], [false, '512- 512VW 512-']] as const)('empty entries beside a used one (switch %s)', async (on, words) => {
    const rig = await makeMachine(on ? { bugs: ['hugetlb-empty-valid'] } : {});
    const a = hugeArea(rig, 1536, 8);
    const before = snap(rig, a, 1536);
    expect([before.result, letters(before.words)], 'without a table for the entries it is a hole').toEqual([1536, '1536-']);
    rig.touch(a + 512, 'w');
    const call = snap(rig, a, 1536);
    expect([call.result, letters(call.words)]).toEqual([1536, words]);
    const part = snap(rig, a + 100, 300);
    expect(letters(part.words)).toBe(on ? '300V' : '300-');
    rig.run(munmap(rig.mm, a, 1536));
  });

  test('asked for, they are faulted, and the calls counted by 4K page', async () => {
    const rig = await makeMachine({ profile: 'v5.2' });
    const a = hugeArea(rig, 1024, 8);
    const call = fault(rig, a, 1024);
    expect([call.result, call.faults, letters(call.words)]).toEqual([1024, 1024, '1024VW']);
    rig.run(munmap(rig.mm, a, 1024));
  });
});

describe('page-shift-mixed', () => {
  test.each([[true, '2VW 1E 1021? 1024-'], [false, '2VW 2- 2044?']] as const)('a range in huge pages fails at the third of four (switch %s)', async (on, words) => {
    const rig = await makeMachine({ bugs: on ? ['page-shift-mixed', 'fault-wipes-marker'] : ['fault-wipes-marker'] });
    const a = hugeArea(rig, 2048, 2);
    const call = fault(rig, a, 2048, 'r', {}, HUGE);
    expect(call.result).toBe('EFAULT');
    expect(letters(call.words)).toBe(words);
    rig.run(munmap(rig.mm, a, 2048));
  });

  test('a range in huge pages has a word for each; the count is of 4K pages', async () => {
    const rig = await makeMachine({ profile: 'v5.2' });
    const a = hugeArea(rig, 2048, 4);
    const call = fault(rig, a, 2048, 'w', {}, HUGE);
    expect([call.result, call.faults, letters(call.words)]).toEqual([2048, 4, '4VW 2044?']);
    rig.run(munmap(rig.mm, a, 2048));
  });

  test('huge pages are asked for where there are such, or 4K: EINVAL else', async () => {
    const rig = await makeMachine({ profile: 'v5.2' });
    const a = hugeArea(rig, 1024, 4);
    const plain = rig.map(null, { npages: 1024, at: AT + 2 ** 19 });
    expect(snap(rig, plain, 512, HUGE).result).toBe('EINVAL');
    expect(snap(rig, a, 512, { pageShift: 20 }).result).toBe('EINVAL');
    expect(snap(rig, a, 512, HUGE).result).toBe(0);
    rig.run(munmap(rig.mm, a, 1024));
  });
});
