/** Anonymous memory in huge pages: who gets them, what cuts them, who may write (recorded: anon-thp-2m, anon-thp-zero). */
import { afterEach, describe, expect, test } from 'vitest';
import { madviseDontneed, madviseHuge, mprotect, munmap } from '../../../dist/mm/index.js';
import { listen } from '../../support/listener.ts';
import { checkPgmaps, makeMachine, type Rig } from '../../support/rig.ts';

afterEach(checkPgmaps);

interface Scene {
  readonly rig: Rig;
  readonly start: number;
  readonly free: number;
}

/** `npages` from a GiB boundary, `skew` pages on, that asked for huge pages. */
async function scene(npages = 1024, skew = 0): Promise<Scene> {
  const rig = await makeMachine();
  const free = rig.platform.ram.freePages;
  const start = rig.map(null, { npages, at: 2 ** 20 + skew });
  rig.run(madviseHuge(rig.mm, start, npages, true));
  return { rig, start, free };
}

const levels = (rig: Rig, vpns: readonly number[]): number[] => vpns.map((vpn) => rig.entry(vpn).level);
const writable = (rig: Rig, vpn: number): boolean => (rig.entry(vpn).lo & 2) !== 0;

describe('the first touch', () => {
  test('a write makes a huge page, a read maps the huge page of zeroes', async () => {
    const { rig, start, free } = await scene();
    rig.touch(start + 5, 'w');
    expect(rig.touch(start + 700, 'r')).toBe(0);
    expect(levels(rig, [start, start + 512])).toEqual([1, 1]);
    expect([writable(rig, start), writable(rig, start + 512)]).toEqual([true, false]);
    expect(rig.platform.ram.freePages).toBe(free - 512);
    expect(rig.mm.pageTable.translate(start + 512, 0)).toBe(rig.platform.ram.hugeZeroPfn);
  });

  test('only where 2M of the area lie around it', async () => {
    const { rig, start } = await scene(1024, 3);
    for (const at of [0, 508, 509, 1020, 1021, 1023]) rig.touch(start + at, 'w');
    expect(levels(rig, [0, 508, 509, 1020, 1021].map((at) => start + at))).toEqual([0, 0, 1, 1, 0]);
  });

  test('4K in an area that did not ask, or asked not to', async () => {
    const rig = await makeMachine();
    const start = rig.map(null, { npages: 512, at: 2 ** 20 });
    rig.touch(start, 'w');
    expect(rig.entry(start).level).toBe(0);
    rig.run(munmap(rig.mm, start, 512));
    rig.map(null, { npages: 512, at: 2 ** 20 });
    rig.run(madviseHuge(rig.mm, start, 512, true));
    rig.run(madviseHuge(rig.mm, start, 512, false));
    rig.touch(start, 'w');
    expect(rig.entry(start).level).toBe(0);
  });

  test('4K where there is no block of 2M left', async () => {
    const rig = await makeMachine({ ramPages: 800 });
    const start = rig.map(null, { npages: 1024, at: 2 ** 20 });
    rig.run(madviseHuge(rig.mm, start, 1024, true));
    rig.touch(start, 'w');
    rig.touch(start + 512, 'w');
    expect(levels(rig, [start, start + 512])).toEqual([1, 0]);
  });
});

describe('a write to the huge page of zeroes', () => {
  test('splits it with CLEAR of the 2M and copies the one page with CLEAR of it; the others stay zeroes', async () => {
    const { rig, start, free } = await scene();
    rig.touch(start, 'r');
    const { heard } = listen(rig.mm, start, 1024);
    rig.touch(start + 16, 'w');
    expect(heard()).toEqual(['CLEAR 0-512', 'CLEAR 16-17']);
    expect(rig.platform.ram.freePages).toBe(free - 1);
    expect(levels(rig, [start, start + 16])).toEqual([0, 0]);
    expect([writable(rig, start), writable(rig, start + 16)]).toEqual([false, true]);
    expect(rig.mm.pageTable.translate(start + 511, 0)).toBe(rig.platform.ram.zeroPfn);
  });
});

describe('what cuts a huge page', () => {
  test('mprotect: CLEAR of the 2M, then its own; the pages and their bytes stay', async () => {
    const { rig, start, free } = await scene();
    rig.touch(start + 2, 'w', 9);
    const first = rig.mm.pageTable.translate(start, 0);
    const { heard } = listen(rig.mm, start, 1024);
    rig.run(mprotect(rig.mm, start + 2, 1, 1));
    expect(heard()).toEqual(['CLEAR 0-512', 'PROTECTION_VMA 2-3']);
    expect([writable(rig, start + 1), writable(rig, start + 2), writable(rig, start + 3)]).toEqual([true, false, true]);
    expect(rig.touch(start + 2, 'r')).toBe(9);
    expect(rig.mm.pageTable.translate(start + 511, 0)).toBe(first + 511);
    expect(rig.platform.ram.freePages).toBe(free - 512);
    rig.run(mprotect(rig.mm, start + 2, 1, 3));
    rig.touch(start + 2, 'w', 8);
    expect(rig.mm.pageTable.translate(start + 2, 0), 'and the page is still its own').toBe(first + 2);
  });

  test('DONTNEED of a page: its own CLEAR, then that of the 2M; memory goes when the last page has', async () => {
    const { rig, start, free } = await scene(512);
    rig.touch(start, 'w');
    const { heard } = listen(rig.mm, start, 512);
    rig.run(madviseDontneed(rig.mm, start, 1));
    expect(heard()).toEqual(['CLEAR 0-1', 'CLEAR 0-512']);
    expect(rig.platform.ram.freePages, 'one block of memory while any page is mapped').toBe(free - 512);
    rig.run(madviseDontneed(rig.mm, start, 511));
    expect(rig.platform.ram.freePages).toBe(free - 512);
    rig.run(madviseDontneed(rig.mm, start + 511, 1));
    expect(rig.platform.ram.freePages).toBe(free);
  });

  test('munmap of a part; munmap of all of it cuts nothing', async () => {
    const { rig, start, free } = await scene(1024);
    rig.touch(start, 'w');
    rig.touch(start + 512, 'w');
    const { heard } = listen(rig.mm, start, 1024);
    rig.run(munmap(rig.mm, start + 256, 512));
    expect(heard()).toEqual(['CLEAR 0-512', 'CLEAR 512-1024', 'UNMAP 256-768']);
    expect(levels(rig, [start, start + 1023])).toEqual([0, 0]);
    rig.run(munmap(rig.mm, start, 1024));
    expect(rig.platform.ram.freePages).toBe(free);
  });

  test('PROT_NONE and back', async () => {
    const { rig, start } = await scene(512);
    rig.touch(start + 3, 'w', 5);
    rig.run(mprotect(rig.mm, start, 512, 0));
    rig.run(mprotect(rig.mm, start + 1, 1, 1));
    rig.run(mprotect(rig.mm, start, 512, 3));
    expect(rig.touch(start + 3, 'r')).toBe(5);
    rig.touch(start + 4, 'w', 6);
    expect(rig.touch(start + 4, 'r')).toBe(6);
  });
});
