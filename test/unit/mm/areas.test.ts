import { afterEach, describe, expect, test } from 'vitest';
import { openDaxDevice, openDaxFile } from '../../../dist/dax/index.js';
import { HmmError, type ErrnoCode } from '../../../dist/errno.js';
import {
  MAP_WINDOW_VPN, MAX_MAP_COUNT, MIN_VPN, VM_LOCKED, VM_PFNMAP, madviseDontneed, madviseHuge, mmap, mprotect, munmap, type MappedFile, type MmapRequest,
} from '../../../dist/mm/index.js';
import { checkPgmaps, makeMachine, type Rig } from '../../support/rig.ts';
import { areasOf } from '../../support/roomState.ts';

afterEach(checkPgmaps);

const AT = 2 ** 20;
const anon = (changes: Partial<MmapRequest> = {}): MmapRequest => ({
  npages: 4, prot: 3, shared: false, file: null, pgoff: 0, start: AT, fixed: 'noreplace', sync: false, vmFlags: 0, ...changes,
});

/** Areas as 'start+npages rights', relative to AT. */
const layout = (rig: Rig): string[] => areasOf(rig.mm).map(({ start, end, flags }) => `${start - AT}+${end - start} ${flags % 8}`);

function refusal(body: () => unknown): ErrnoCode | string {
  try {
    body();
  } catch (error) {
    return HmmError.is(error) ? error.code : `${(error as Error).name}`;
  }
  return 'none';
}

describe('merging', () => {
  test('neighbours with equal rights are one area: before, after, and both', async () => {
    const rig = await makeMachine();
    rig.run(mmap(rig.mm, anon()));
    rig.run(mmap(rig.mm, anon({ start: AT + 8 })));
    expect(layout(rig)).toEqual(['0+4 3', '8+4 3']);
    rig.run(mmap(rig.mm, anon({ start: AT + 4 })));
    expect(layout(rig)).toEqual(['0+12 3']);
    rig.run(mmap(rig.mm, anon({ start: AT - 2, npages: 2 })));
    expect(layout(rig)).toEqual(['-2+14 3']);
  });

  test('not with other rights, another file, another page of it, or other advice', async () => {
    const rig = await makeMachine();
    const [f, g] = [openDaxFile(rig.file({ npages: 64 }), true), openDaxFile(rig.file({ npages: 64 }), true)];
    const map = (start: number, file: MappedFile | null, pgoff: number, changes: Partial<MmapRequest> = {}): void =>
      void rig.run(mmap(rig.mm, anon({ start: AT + start, file, pgoff, shared: file !== null, ...changes })));
    map(0, f, 0);
    map(4, g, 4);
    map(8, g, 9);
    map(12, g, 13);
    map(16, g, 17, { prot: 1 });
    map(20, g, 21, { prot: 1, shared: false });
    map(24, null, 0);
    expect(layout(rig)).toEqual(['0+4 3', '4+4 3', '8+8 3', '16+4 1', '20+4 1', '24+4 3']);
    rig.run(madviseHuge(rig.mm, AT + 12, 2, false));
    expect(layout(rig)).toEqual(['0+4 3', '4+4 3', '8+4 3', '12+2 3', '14+2 3', '16+4 1', '20+4 1', '24+4 3']);
  });

  test('two openings of one file do merge; the rights to write do not have to be asked of the file again', async () => {
    const rig = await makeMachine();
    const inode = rig.file({ npages: 8 });
    for (const [start, pgoff] of [[0, 0], [4, 4]] as const) rig.run(mmap(rig.mm, anon({ start: AT + start, file: openDaxFile(inode, true), pgoff, shared: true })));
    expect(layout(rig)).toEqual(['0+8 3']);
  });

  test('areas whose pages were anonymous apart stay apart', async () => {
    const rig = await makeMachine();
    rig.run(mmap(rig.mm, anon()));
    rig.run(mmap(rig.mm, anon({ start: AT + 8 })));
    rig.touch(AT, 'w');
    rig.touch(AT + 8, 'w');
    rig.run(mmap(rig.mm, anon({ start: AT + 4 })));
    expect(layout(rig)).toEqual(['0+8 3', '8+4 3']);
    // A page of a neighbour that could be one with it but for its rights belongs with that one's pages.
    rig.run(mprotect(rig.mm, AT + 4, 4, 1));
    rig.run(mmap(rig.mm, anon({ start: AT + 12 })));
    rig.touch(AT + 12, 'w');
    expect(layout(rig)).toEqual(['0+4 3', '4+4 1', '8+8 3']);
    rig.run(mprotect(rig.mm, AT + 4, 4, 3));
    expect(layout(rig)).toEqual(['0+8 3', '8+8 3']);
  });

  test('two shared anonymous mappings are two files', async () => {
    const rig = await makeMachine();
    rig.run(mmap(rig.mm, anon({ shared: true })));
    rig.run(mmap(rig.mm, anon({ shared: true, start: AT + 4 })));
    expect(layout(rig)).toEqual(['0+4 3', '4+4 3']);
    rig.run(mprotect(rig.mm, AT + 1, 2, 1));
    rig.run(mprotect(rig.mm, AT + 1, 2, 3));
    expect(layout(rig)).toEqual(['0+4 3', '4+4 3']);
  });
});

describe('splitting', () => {
  test('mprotect of the middle makes three areas, and one again', async () => {
    const rig = await makeMachine();
    rig.run(mmap(rig.mm, anon({ npages: 9 })));
    rig.run(mprotect(rig.mm, AT + 3, 3, 1));
    expect(layout(rig)).toEqual(['0+3 3', '3+3 1', '6+3 3']);
    rig.run(mprotect(rig.mm, AT + 3, 3, 3));
    expect(layout(rig)).toEqual(['0+9 3']);
  });

  test('munmap of the middle, of the ends, of what is not there', async () => {
    const rig = await makeMachine();
    rig.run(mmap(rig.mm, anon({ npages: 10 })));
    rig.run(munmap(rig.mm, AT + 4, 2));
    rig.run(munmap(rig.mm, AT - 5, 6));
    rig.run(munmap(rig.mm, AT + 9, 100));
    expect(layout(rig)).toEqual(['1+3 3', '6+3 3']);
    rig.run(munmap(rig.mm, AT + 4, 2));
    rig.run(munmap(rig.mm, AT, 100));
    expect(layout(rig)).toEqual([]);
  });

  test('MAP_FIXED replaces what is there', async () => {
    const rig = await makeMachine();
    rig.run(mmap(rig.mm, anon({ npages: 10 })));
    rig.touch(AT + 3, 'w', 9);
    rig.run(mmap(rig.mm, anon({ start: AT + 2, npages: 3, prot: 1, fixed: 'fixed' })));
    expect(layout(rig)).toEqual(['0+2 3', '2+3 1', '5+5 3']);
    expect(rig.touch(AT + 3, 'r')).toBe(0);
  });

  test('a file keeps its pages through cuts', async () => {
    const rig = await makeMachine();
    const a = rig.map(rig.file({ npages: 64 }), { npages: 32, pgoff: 16, at: AT, smallPages: true });
    rig.run(munmap(rig.mm, a + 3, 1));
    rig.run(mprotect(rig.mm, a + 10, 5, 1));
    for (const i of [0, 2, 4, 9, 10, 14, 15, 31]) expect(rig.touch(a + i, 'r'), `page ${i}`).toBe(16 + i + 1);
  });

  test('device DAX is cut on its alignment alone; a first cut stays when the second is refused', async () => {
    const rig = await makeMachine();
    rig.run(mmap(rig.mm, anon({ npages: 2048, file: openDaxDevice(rig.daxDevice(4096, 1)), shared: true })));
    expect(refusal(() => rig.run(munmap(rig.mm, AT + 100, 412)))).toBe('EINVAL');
    expect(refusal(() => rig.run(mprotect(rig.mm, AT + 1, 1, 1)))).toBe('EINVAL');
    expect(layout(rig)).toEqual(['0+2048 3']);
    expect(refusal(() => rig.run(mprotect(rig.mm, AT + 1024, 1, 1)))).toBe('EINVAL'); // devdax-2m-change 12
    expect(layout(rig)).toEqual(['0+1024 3', '1024+1024 3']);
    expect(refusal(() => rig.run(munmap(rig.mm, AT + 1536, 1)))).toBe('EINVAL'); // devdax-2m-change 15
    expect(layout(rig)).toEqual(['0+1024 3', '1024+512 3', '1536+512 3']);
    rig.run(munmap(rig.mm, AT + 512, 512));
    expect(layout(rig)).toEqual(['0+512 3', '1024+512 3', '1536+512 3']);
  });
});

describe('65,530 areas', () => {
  test('fit; one more is ENOMEM, whether it comes from mmap, mprotect or a hole; ends may be cut off, bounds moved', async () => {
    const rig = await makeMachine({ profile: 'v6.12' });
    const { mm } = rig;
    for (let i = 0; i < MAX_MAP_COUNT; i++) rig.run(mmap(mm, anon({ start: AT + i * 8, npages: 6, prot: i % 2 === 0 ? 3 : 1 })));
    expect(mm.vmas.count).toBe(MAX_MAP_COUNT);
    const before = areasOf(mm);
    expect(refusal(() => rig.run(mmap(mm, anon({ start: AT - 100 }))))).toBe('ENOMEM');
    expect(refusal(() => rig.run(mprotect(mm, AT + 8, 3, 3)))).toBe('ENOMEM');
    expect(refusal(() => rig.run(mprotect(mm, AT + 11, 3, 3)))).toBe('ENOMEM');
    expect(refusal(() => rig.run(munmap(mm, AT + 2, 2)))).toBe('ENOMEM');
    expect(refusal(() => rig.run(madviseHuge(mm, AT + 2, 2, false)))).toBe('EAGAIN');
    expect(areasOf(mm)).toEqual(before);
    rig.run(munmap(mm, AT + 4, 4));
    rig.run(mprotect(mm, AT, 4, 1));
    expect(mm.vmas.count).toBe(MAX_MAP_COUNT);
    rig.run(munmap(mm, AT + 8 * 77, 6));
    rig.run(mmap(mm, anon({ start: AT + 8 * 77 + 1, npages: 4, prot: 5 })));
    expect(mm.vmas.count).toBe(MAX_MAP_COUNT);
    rig.run(munmap(mm, AT + 8 * 99, 6));
    // A neighbour takes a part over, which is no longer accounted for: no further area.
    rig.run(munmap(mm, AT + 8 * 500, 6));
    rig.run(mmap(mm, anon({ start: AT + 8 * 499 + 6, npages: 10, prot: 3 })));
    expect(mm.vmas.count).toBe(MAX_MAP_COUNT - 1);
    rig.run(mmap(mm, anon({ start: AT - 100 })));
    expect(mm.vmas.count).toBe(MAX_MAP_COUNT);
    rig.run(mprotect(mm, AT + 8 * 499 + 6, 3, 1));
    expect(mm.vmas.count).toBe(MAX_MAP_COUNT);
    for (const i of [0, 1, 1000, 33333, 65529]) expect(mm.vmas.at(AT + i * 8 + 1)?.start).toBe(AT + i * 8);
    expect(rig.touch(AT + 8 * 65528, 'w', 5)).toBe(5);
  });
});

describe('where a mapping goes', () => {
  test('a free hint is taken, one that is not is passed over; 0 is none, low ones are raised', async () => {
    const rig = await makeMachine();
    const at = (start: number | null, npages = 4): number => rig.run(mmap(rig.mm, anon({ start, npages, fixed: 'hint' })));
    expect(at(AT)).toBe(AT);
    expect(at(AT + 2)).toBeGreaterThan(2 ** 33);
    expect(at(AT + 4)).toBe(AT + 4);
    expect(at(3)).toBe(MIN_VPN);
    expect(at(0)).toBeGreaterThan(2 ** 33);
    expect(at(MAP_WINDOW_VPN - 1)).toBeLessThan(2 ** 35 - 100);
  });

  test('without one the highest gap that fits, first fit from the top', async () => {
    const rig = await makeMachine();
    const at = (npages: number): number => rig.run(mmap(rig.mm, anon({ start: null, npages, fixed: 'hint', prot: npages % 2 === 0 ? 3 : 1 })));
    const [a, b, c] = [at(10), at(11), at(12)];
    expect([b, c]).toEqual([a - 11, a - 23]);
    rig.run(munmap(rig.mm, b, 11));
    expect(at(13)).toBe(c - 13);
    expect(at(4)).toBe(b + 7);
  });

  test('a DAX file lies congruent to its pages where a huge leaf fits in, device DAX on its alignment', async () => {
    const rig = await makeMachine();
    const inode = rig.file({ npages: 2048 });
    rig.map(null, { npages: 3 });
    expect(rig.map(inode, { npages: 1024 }) % 512).toBe(0);
    expect(rig.map(inode, { npages: 1024, pgoff: 5 }) % 512).toBe(5);
    const small = rig.map(inode, { npages: 511 });
    expect(rig.mm.vmas.at(small)?.end).toBe(rig.mm.vmas.next(rig.mm.vmas.at(small)!)?.start);
    // 600 pages from page 5 on hold no aligned 2M.
    expect(rig.map(inode, { npages: 600, pgoff: 5 }) % 512).not.toBe(5);
    expect(rig.map(rig.daxDevice(1024, 1), { npages: 1024 }) % 512).toBe(0);
  });

  test('with LA57 addresses beyond 47 bits are for who asks for them', async () => {
    const rig = await makeMachine({ levels: 5 });
    const high = 2 ** 40 + 5;
    expect(rig.run(mmap(rig.mm, anon({ start: null, fixed: 'hint' })))).toBeLessThan(2 ** 35);
    expect(rig.run(mmap(rig.mm, anon({ start: high, fixed: 'hint' })))).toBe(high);
    expect(rig.run(mmap(rig.mm, anon({ start: high + 2, fixed: 'hint' })))).toBeGreaterThan(2 ** 40);
    expect(rig.run(mmap(rig.mm, anon({ start: 2 ** 44 - 8, npages: 7 })))).toBe(2 ** 44 - 8);
    expect(rig.touch(high, 'w', 3)).toBe(3);
    expect(rig.touch(2 ** 44 - 3, 'w', 4)).toBe(4);
    const four = await makeMachine();
    expect(refusal(() => four.run(mmap(four.mm, anon({ start: high }))))).toBe('ENOMEM');
  });
});

describe('bad input', () => {
  const cases: readonly (readonly [string, ErrnoCode, (rig: Rig) => unknown])[] = [
    ['mmap of nothing', 'EINVAL', (rig) => rig.run(mmap(rig.mm, anon({ npages: 0 })))],
    ['mmap larger than the space', 'ENOMEM', (rig) => rig.run(mmap(rig.mm, anon({ npages: 2 ** 35 })))],
    ['a fixed mapping at no address', 'EINVAL', (rig) => rig.run(mmap(rig.mm, anon({ start: null, fixed: 'fixed' })))],
    ['a fixed mapping below the lowest address', 'EPERM', (rig) => rig.run(mmap(rig.mm, anon({ start: 15, fixed: 'fixed' })))],
    ['a fixed mapping over the end', 'ENOMEM', (rig) => rig.run(mmap(rig.mm, anon({ start: 2 ** 35 - 4, fixed: 'fixed' })))],
    ['an offset that wraps', 'EOVERFLOW', (rig) => rig.run(mmap(rig.mm, anon({ file: openDaxFile(rig.file({ npages: 1 }), true), pgoff: 2 ** 52 - 2 })))],
    ['noreplace over an area', 'EEXIST', (rig) => rig.run(mmap(rig.mm, anon({ start: AT + 3 })))],
    ['write to a shared mapping of a file opened for reading', 'EACCES', (rig) => rig.run(mmap(rig.mm, anon({ start: AT + 9, shared: true, file: openDaxFile(rig.file({ npages: 1 }), false) })))],
    ['MAP_SYNC of memory that is no DAX file', 'EOPNOTSUPP', (rig) => rig.run(mmap(rig.mm, anon({ start: AT + 9, sync: true })))],
    ['device DAX, private', 'EINVAL', (rig) => rig.run(mmap(rig.mm, anon({ npages: 512, start: 2 ** 21, file: openDaxDevice(rig.daxDevice(512, 1)) })))],
    ['device DAX, start not on the alignment', 'EINVAL', (rig) => rig.run(mmap(rig.mm, anon({ npages: 512, start: 2 ** 21 + 1, shared: true, file: openDaxDevice(rig.daxDevice(512, 1)) })))],
    ['device DAX, length not on the alignment', 'EINVAL', (rig) => rig.run(mmap(rig.mm, anon({ npages: 511, start: 2 ** 21, shared: true, file: openDaxDevice(rig.daxDevice(512, 1)) })))],
    ['munmap of nothing', 'EINVAL', (rig) => rig.run(munmap(rig.mm, AT, 0))],
    ['munmap over the end', 'EINVAL', (rig) => rig.run(munmap(rig.mm, 2 ** 35 - 3, 4))],
    ['mprotect of a gap', 'ENOMEM', (rig) => rig.run(mprotect(rig.mm, AT + 4, 4, 1))],
    ['mprotect of the last page and a gap', 'ENOMEM', (rig) => rig.run(mprotect(rig.mm, AT + 4, 1, 1))],
    ['mprotect over the end', 'ENOMEM', (rig) => rig.run(mprotect(rig.mm, 2 ** 35 - 3, 4, 1))],
    ['madvise of a gap', 'ENOMEM', (rig) => rig.run(madviseDontneed(rig.mm, AT + 4, 1))],
  ];

  test.each(cases)('%s: %s, and nothing has changed', async (_name, errno, act) => {
    const rig = await makeMachine();
    rig.run(mmap(rig.mm, anon()));
    const before = areasOf(rig.mm);
    expect(refusal(() => act(rig))).toBe(errno);
    expect(areasOf(rig.mm)).toEqual(before);
    expect(rig.mm.mmapLock.held).toBeNull();
    rig.run(munmap(rig.mm, AT, 4));
  });

  test('mprotect does what stands below a gap; madvise what is around it', async () => {
    const rig = await makeMachine();
    rig.run(mmap(rig.mm, anon()));
    rig.run(mmap(rig.mm, anon({ start: AT + 6 })));
    for (const i of [2, 7]) rig.touch(AT + i, 'w', 9);
    expect(refusal(() => rig.run(madviseDontneed(rig.mm, AT + 1, 8)))).toBe('ENOMEM');
    expect([rig.touch(AT + 2, 'r'), rig.touch(AT + 7, 'r')]).toEqual([0, 0]);
    expect(refusal(() => rig.run(mprotect(rig.mm, AT + 2, 8, 1)))).toBe('ENOMEM');
    expect(layout(rig)).toEqual(['0+2 3', '2+2 1', '6+4 3']);
  });

  test('a mapping of a file opened for reading may not become writable, but for a private one', async () => {
    const rig = await makeMachine();
    const file = openDaxFile(rig.file({ npages: 4 }), false);
    rig.run(mmap(rig.mm, anon({ shared: true, file, prot: 1 })));
    rig.run(mmap(rig.mm, anon({ start: AT + 8, file, prot: 1 })));
    expect(refusal(() => rig.run(mprotect(rig.mm, AT, 4, 3)))).toBe('EACCES');
    rig.run(mprotect(rig.mm, AT + 8, 4, 3));
    expect(layout(rig)).toEqual(['0+4 1', '8+4 3']);
  });

  test('DONTNEED of locked and of device memory is EINVAL', async () => {
    const rig = await makeMachine();
    for (const [i, vmFlags] of [VM_LOCKED, VM_PFNMAP].entries()) {
      const start = rig.run(mmap(rig.mm, anon({ start: AT + i * 8, vmFlags })));
      expect(refusal(() => rig.run(madviseDontneed(rig.mm, start, 4)))).toBe('EINVAL');
    }
  });
});

describe('an area that has been writable', () => {
  test.each([
    ['v6.1', ['0+4 1', '4+4 1', '8+4 1']],
    ['v6.12', ['0+12 1']],
  ])('is accounted for: %s makes it one again with what never was, or not', async (profile, areas) => {
    const rig = await makeMachine({ profile });
    rig.run(mmap(rig.mm, anon({ start: AT, npages: 12, prot: 1 })));
    rig.run(mprotect(rig.mm, AT + 4, 4, 3));
    rig.run(mprotect(rig.mm, AT + 4, 4, 1));
    expect(layout(rig)).toEqual(areas);
  });
});
