/** Pages that are mapped and yet have to be faulted: NUMA hints, swap entries with the page in the cache, pages on their way. */
import { afterEach, describe, expect, test } from 'vitest';
import { PTE_RW } from '../../../dist/abi.js';
import { changeProtNuma, forkMm, holdPages, madviseDontneed, madviseHuge, mprotect, munmap, releasePages, swapOut } from '../../../dist/mm/index.js';
import { runOn } from '../../../dist/sched/index.js';
import { listen } from '../../support/listener.ts';
import { checkPgmaps, makeMachine, type Rig } from '../../support/rig.ts';

afterEach(checkPgmaps);

const AT = 2 ** 20;

function pfnAt(rig: Rig, vpn: number, access = 0): number {
  return rig.mm.pageTable.translate(vpn, access);
}

function hugeArea(rig: Rig, npages = 1024): number {
  const a = rig.map(null, { npages, at: AT });
  rig.run(madviseHuge(rig.mm, a, npages, true));
  return a;
}

describe('a NUMA hint', () => {
  test('takes the page away from the processor until the next access, which finds it with its rights', async () => {
    const rig = await makeMachine();
    const a = rig.map(null, { npages: 8, at: AT });
    for (let i = 0; i < 6; i++) rig.touch(a + i, 'w', 7);
    const before = pfnAt(rig, a + 1, 1);
    expect(rig.run(changeProtNuma(rig.mm, a, a + 8))).toBe(6);
    expect(pfnAt(rig, a + 1)).toBeLessThan(0);
    expect(rig.run(changeProtNuma(rig.mm, a, a + 8))).toBe(0);
    expect(rig.touch(a + 1, 'r')).toBe(7);
    expect(pfnAt(rig, a + 1, 1)).toBe(before);
  });

  test('is of a whole huge page', async () => {
    const rig = await makeMachine();
    const a = hugeArea(rig);
    rig.touch(a, 'w', 3);
    expect(rig.run(changeProtNuma(rig.mm, a, a + 1024))).toBe(512);
    expect(pfnAt(rig, a + 5)).toBeLessThan(0);
    expect(rig.touch(a, 'r')).toBe(3);
    expect(rig.entry(a + 5)).toMatchObject({ level: 1 });
    expect(rig.entry(a + 5).lo & PTE_RW).toBe(PTE_RW);
  });

  test('of a part of a huge page splits that', async () => {
    const rig = await makeMachine();
    const a = hugeArea(rig);
    rig.touch(a, 'w', 3);
    expect(rig.run(changeProtNuma(rig.mm, a + 8, a + 12))).toBe(4);
    expect([pfnAt(rig, a + 7) >= 0, pfnAt(rig, a + 8) < 0, pfnAt(rig, a + 12) >= 0, rig.entry(a).level]).toEqual([true, true, true, 0]);
  });

  test('of a read-only page gives no right to write, and the rights of the area win', async () => {
    const rig = await makeMachine();
    const a = rig.map(null, { npages: 4, at: AT });
    rig.touch(a, 'w', 9);
    rig.run(changeProtNuma(rig.mm, a, a + 1));
    rig.run(mprotect(rig.mm, a, 4, 1));
    expect(rig.touch(a, 'r')).toBe(9);
    expect(() => rig.touch(a, 'w')).toThrow(/SIGSEGV/);
  });

  test('is not made of zeroes, DAX pages, or pages that a child shares', async () => {
    const rig = await makeMachine();
    const zero = rig.map(null, { npages: 1, at: AT });
    rig.touch(zero, 'r');
    const dax = rig.map(rig.file({ npages: 4 }), { npages: 4, smallPages: true });
    rig.touch(dax, 'w');
    const shared = rig.map(null, { npages: 1, at: AT + 1024 });
    rig.touch(shared, 'w');
    rig.run(forkMm(rig.mm, rig.core.newMm('child')));
    for (const at of [zero, dax, shared]) expect(rig.run(changeProtNuma(rig.mm, at, at + 1))).toBe(0);
  });

  test('needs an area that may be accessed', async () => {
    const rig = await makeMachine();
    const none = rig.map(null, { npages: 1, at: AT, prot: '-' });
    expect(() => rig.run(changeProtNuma(rig.mm, none, none + 1))).toThrow(/EINVAL/);
    expect(() => rig.run(changeProtNuma(rig.mm, none + 100, none + 101))).toThrow(/EINVAL/);
  });
});

describe('a swapped out page', () => {
  test('is found in the swap cache: read without the right to write, written to by who has it alone', async () => {
    const rig = await makeMachine();
    const a = rig.map(null, { npages: 2, at: AT });
    rig.touch(a, 'w', 5);
    rig.touch(a + 1, 'w', 6);
    const [first, second] = [pfnAt(rig, a), pfnAt(rig, a + 1)];
    rig.run(swapOut(rig.mm, a, a + 2));
    expect(pfnAt(rig, a)).toBeLessThan(0);
    expect(rig.touch(a, 'r')).toBe(5);
    expect([pfnAt(rig, a), pfnAt(rig, a, 1) < 0]).toEqual([first, true]);
    rig.touch(a, 'w', 8);
    expect(pfnAt(rig, a, 1)).toBe(first);
    rig.touch(a + 1, 'w', 7);
    expect(pfnAt(rig, a + 1, 1)).toBe(second);
  });

  test('tells each mapping CLEAR of one page', async () => {
    const rig = await makeMachine();
    const a = rig.map(null, { npages: 4, at: AT });
    for (let i = 0; i < 4; i++) rig.touch(a + i, 'w');
    const { heard } = listen(rig.mm, a, 4);
    rig.run(swapOut(rig.mm, a + 1, a + 3));
    expect(heard()).toEqual(['CLEAR 1-2', 'CLEAR 2-3']);
  });

  test('goes with its area, and with all who share it', async () => {
    const rig = await makeMachine();
    const free = rig.platform.ram.freePages;
    const a = rig.map(null, { npages: 8, at: AT });
    for (let i = 0; i < 8; i++) rig.touch(a + i, 'w');
    rig.run(swapOut(rig.mm, a, a + 8));
    expect(rig.platform.ram.freePages).toBe(free - 8);
    rig.run(madviseDontneed(rig.mm, a, 4));
    expect(rig.platform.ram.freePages).toBe(free - 4);
    const child = rig.core.newMm('child');
    rig.run(forkMm(rig.mm, child));
    rig.run(munmap(rig.mm, a, 8));
    expect(rig.platform.ram.freePages).toBe(free - 4);
    rig.touch(a + 6, 'w', 9, child);
    rig.run(munmap(child, a, 8));
    expect(rig.platform.ram.freePages).toBe(free);
  });

  test('of two processes is copied by the one that writes', async () => {
    const rig = await makeMachine();
    const a = rig.map(null, { npages: 1, at: AT });
    rig.touch(a, 'w', 4);
    const child = rig.core.newMm('child');
    rig.run(forkMm(rig.mm, child));
    rig.run(swapOut(rig.mm, a, a + 1));
    expect(child.pageTable.translate(a, 0)).toBeLessThan(0);
    rig.touch(a, 'w', 5, child);
    expect([rig.touch(a, 'r'), rig.touch(a, 'r', 0, child)]).toEqual([4, 5]);
  });
});

describe('a page on its way', () => {
  test.each([['4K', 0], ['2M', 1]] as const)('of %s is waited for, and is back as it was', async (_size, level) => {
    const rig = await makeMachine();
    const { sched } = rig.platform;
    const a = level === 1 ? hugeArea(rig) : rig.map(null, { npages: 1024, at: AT });
    rig.touch(a, 'w', 3);
    const pfn = pfnAt(rig, a);
    const held = rig.run(holdPages(rig.mm, a, a + 1));
    expect([held.length, pfnAt(rig, a) < 0]).toEqual([1, true]);
    sched.spawn('release', (function* release() {
      yield* sched.sleep(1e6);
      releasePages(rig.platform, held);
    })());
    rig.touch(a, 'w', 4);
    expect([sched.nowNs, pfnAt(rig, a, 1), rig.entry(a).level]).toEqual([1e6, pfn, level]);
    sched.run(runOn);
    rig.run(munmap(rig.mm, a, 1024));
  });

  test.each([['4K', false], ['2M', true]] as const)('of %s whose area goes meanwhile is free when it is let go', async (_size, huge) => {
    const rig = await makeMachine();
    const free = rig.platform.ram.freePages;
    const a = huge ? hugeArea(rig) : rig.map(null, { npages: 1024, at: AT });
    rig.touch(a, 'w');
    const held = rig.run(holdPages(rig.mm, a, a + 1));
    rig.run(munmap(rig.mm, a, 1024));
    expect(rig.platform.ram.freePages).toBe(free - (huge ? 512 : 1));
    releasePages(rig.platform, held);
    expect(rig.platform.ram.freePages).toBe(free);
  });

  test('that was made read only meanwhile comes back so', async () => {
    const rig = await makeMachine();
    const a = rig.map(null, { npages: 1, at: AT });
    rig.touch(a, 'w');
    const held = rig.run(holdPages(rig.mm, a, a + 1));
    rig.run(mprotect(rig.mm, a, 1, 1));
    releasePages(rig.platform, held);
    expect([pfnAt(rig, a) >= 0, pfnAt(rig, a, 1) < 0]).toEqual([true, true]);
  });
});
