/** Pages held for who accesses them beside the page table: what is counted, what is refused, who waits. */
import { afterEach, describe, expect, test } from 'vitest';
import { daxTruncate } from '../../../dist/dax/index.js';
import { KernelCrash } from '../../../dist/errno.js';
import { countedPage, maybePinned, mprotect, munmap, pinUserPages, unpinUserPages } from '../../../dist/mm/index.js';
import { checkPgmaps, makeMachine, type Rig } from '../../support/rig.ts';

afterEach(checkPgmaps);

function pin(rig: Rig, start: number, npages: number, { write = false, longterm = false } = {}): { err: string | null; pfns: readonly number[] } {
  return rig.run(pinUserPages(rig.mm, start, npages, { write, longterm }));
}

describe('what a pin counts', () => {
  test('1024 references for a page by itself, taken back by unpin', async () => {
    const rig = await makeMachine();
    const at = rig.map(null, { npages: 4 });
    rig.touch(at, 'w');
    const { pfns } = pin(rig, at, 1, { write: true });
    expect(rig.platform.ram.refs(pfns[0] as number)).toBe(1025);
    expect(maybePinned(rig.platform, pfns[0] as number)).toBe(true);
    unpinUserPages(rig.mm, pfns);
    expect(rig.platform.ram.refs(pfns[0] as number)).toBe(1);
    expect(maybePinned(rig.platform, pfns[0] as number)).toBe(false);
  });

  test('one reference of the head for each page of a compound one', async () => {
    const rig = await makeMachine();
    const at = rig.map(rig.daxDevice(1024, 1), { npages: 512 });
    const { pfns } = pin(rig, at + 8, 4, { write: true, longterm: true });
    const head = countedPage(rig.platform, pfns[0] as number);
    expect(head).toBe((pfns[0] as number) - 8);
    expect(rig.platform.records.refs(head)).toBe(5);
    expect(maybePinned(rig.platform, head + 100)).toBe(true);
    unpinUserPages(rig.mm, pfns);
    expect(rig.platform.records.refs(head)).toBe(1);
  });

  test('a plain reference where there are no pins yet', async () => {
    const rig = await makeMachine({ profile: 'v5.2' });
    const at = rig.map(rig.daxDevice(1024, 1), { npages: 512 });
    const { pfns } = pin(rig, at + 8, 1, { write: true });
    expect(rig.platform.records.refs(pfns[0] as number)).toBe(2);
    expect(maybePinned(rig.platform, pfns[0] as number)).toBe(false);
    unpinUserPages(rig.mm, pfns);
  });

  test('the page outlives its mapping', async () => {
    const rig = await makeMachine();
    const at = rig.map(null, { npages: 4 });
    rig.touch(at, 'w', 9);
    const free = rig.platform.ram.freePages;
    const { pfns } = pin(rig, at, 1);
    rig.run(munmap(rig.mm, at, 4));
    expect(rig.platform.ram.freePages).toBe(free);
    unpinUserPages(rig.mm, pfns);
    expect(rig.platform.ram.freePages).toBe(free + 1);
  });
});

describe('what a pin is refused', () => {
  test('where nothing is mapped; what lies before it is the answer', async () => {
    const rig = await makeMachine();
    const at = rig.map(null, { npages: 4 });
    expect(pin(rig, at + 4, 2)).toEqual({ err: 'EFAULT', pfns: [] });
    const { err, pfns } = pin(rig, at + 2, 4, { write: true });
    expect([err, pfns.length]).toEqual([null, 2]);
    unpinUserPages(rig.mm, pfns);
  });

  test('writing where the area may not be written to, also when its pages are there', async () => {
    const rig = await makeMachine();
    const at = rig.map(null, { npages: 4 });
    rig.touch(at, 'w');
    rig.run(mprotect(rig.mm, at, 4, 1));
    expect(pin(rig, at, 1, { write: true }).err).toBe('EFAULT');
    expect(pin(rig, at, 1).pfns).toHaveLength(1);
  });

  test('a long pin of a DAX file, before or after its pages were faulted in', async () => {
    for (const [profile, mapped] of [['v6.1', false], ['v6.12', false], ['v5.2', true]] as const) {
      const rig = await makeMachine({ profile });
      const at = rig.map(rig.file({ npages: 4 }), { npages: 4 });
      expect(pin(rig, at, 2, { longterm: true })).toEqual({ err: 'EOPNOTSUPP', pfns: [] });
      expect(rig.mm.pageTable.look(at), profile).toBe(mapped);
    }
  });

  test('a copy of a private DAX page can be pinned for long once it is there', async () => {
    const rig = await makeMachine();
    const at = rig.map(rig.file({ npages: 4 }), { npages: 4, shared: false });
    rig.touch(at, 'w');
    expect(pin(rig, at, 1, { write: true, longterm: true }).pfns).toHaveLength(1);
    expect(pin(rig, at, 2, { write: true, longterm: true }).pfns).toHaveLength(1);
    expect(pin(rig, at + 1, 1, { write: true, longterm: true }).err).toBe('EOPNOTSUPP');
  });
});

describe('who waits for a pin', () => {
  test('truncate of a mapped DAX file; its size is unchanged until then', async () => {
    const rig = await makeMachine();
    const file = rig.file({ npages: 4 });
    const at = rig.map(file, { npages: 4 });
    const { pfns } = pin(rig, at, 1, { write: true });
    const { sched } = rig.platform;
    const task = sched.spawn('truncate', daxTruncate(file, 0));
    rig.run(sched.sleep(1e9));
    expect([task.finished, file.size]).toEqual([false, 4 * 4096]);
    unpinUserPages(rig.mm, pfns);
    rig.run(sched.sleep(1e9));
    expect([task.finished, file.size]).toEqual([true, 0]);
  });

  test('nobody, of those who take a device away: the struct page is gone when the pin comes back', async () => {
    const rig = await makeMachine();
    const device = rig.daxDevice(1024, 0);
    const { pfns } = pin(rig, rig.map(device, { npages: 4 }), 1, { write: true });
    rig.run(rig.core.unbind(device));
    expect(() => unpinUserPages(rig.mm, pfns)).toThrow(KernelCrash);
  });

  test('in v5.2 who takes a device away', async () => {
    const rig = await makeMachine({ profile: 'v5.2' });
    const device = rig.daxDevice(1024, 0);
    const { pfns } = pin(rig, rig.map(device, { npages: 4 }), 1, { write: true });
    const { sched } = rig.platform;
    const task = sched.spawn('unbind', rig.core.unbind(device));
    rig.run(sched.sleep(1e9));
    expect(task.finished).toBe(false);
    unpinUserPages(rig.mm, pfns);
    rig.run(sched.sleep(1e9));
    expect(task.finished).toBe(true);
  });
});
