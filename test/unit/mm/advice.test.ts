/** madvise, mlock and populating, area by area (recorded: advice-kinds, advice-locked, advice-cuts, populate-maps, anon-free-pageout). */
import { afterEach, describe, expect, test } from 'vitest';
import { VM_DONTCOPY, VM_IO, VM_LOCKED, VM_MERGEABLE, VM_PFNMAP, VM_WIPEONFORK, madvise, madviseHuge, mlock, mmPopulate, mprotect, munlock, munmap, swapOut } from '../../../dist/mm/index.js';
import { HmmError } from '../../../dist/errno.js';
import { SWP_HWPOISON, swapHi, swapLo } from '../../../dist/pgtable/index.js';
import { listen } from '../../support/listener.ts';
import { checkPgmaps, makeMachine, type Rig } from '../../support/rig.ts';

afterEach(checkPgmaps);

const AT = 2 ** 20;

/** The errno that the call leaves with, or 'ok'. */
function answer(call: () => unknown): string {
  try {
    call();
    return 'ok';
  } catch (error) {
    if (!HmmError.is(error)) throw error;
    return error.code;
  }
}

function advise(rig: Rig, start: number, npages: number, advice: string): string {
  return answer(() => rig.run(madvise(rig.mm, start, npages, advice)));
}

function areas(rig: Rig): string[] {
  return Array.from(rig.mm.vmas, ({ start, end }) => `${start - AT}-${end - AT}`);
}

function mapped(rig: Rig, start: number, npages: number): string {
  return Array.from({ length: npages }, (_, i) => {
    const { level, lo } = rig.entry(start + i);
    return level > 1 || (lo & 1) === 0 ? '-' : (lo & 2) === 0 ? 'r' : 'w';
  }).join('');
}

describe('advice that a kernel refuses', () => {
  test.each([
    ['anonymous', 'remove', 'EINVAL'], ['anonymous', 'collapse', 'EINVAL'], ['anonymous', 'wipeonfork', 'ok'], ['anonymous', 'nonsense', 'EINVAL'],
    ['private file', 'free', 'EINVAL'], ['private file', 'remove', 'EACCES'], ['private file', 'wipeonfork', 'EINVAL'], ['private file', 'mergeable', 'ok'], ['private file', 'collapse', 'EINVAL'],
    ['shared file', 'free', 'EINVAL'], ['shared file', 'remove', 'ok'], ['shared file', 'cold', 'ok'], ['shared file', 'wipeonfork', 'EINVAL'], ['shared file', 'populate_write', 'ok'],
    ['device', 'remove', 'ENODEV'], ['device', 'dontfork', 'EINVAL'], ['device', 'cold', 'ok'], ['device', 'populate_read', 'ok'], ['device', 'mergeable', 'ok'],
    ['locked', 'dontneed', 'EINVAL'], ['locked', 'free', 'EINVAL'], ['locked', 'cold', 'EINVAL'], ['locked', 'pageout', 'EINVAL'], ['locked', 'willneed', 'ok'],
    ['pfn map', 'dontneed', 'EINVAL'], ['pfn map', 'cold', 'EINVAL'], ['pfn map', 'populate_read', 'EINVAL'], ['pfn map', 'dofork', 'EINVAL'], ['pfn map', 'dontfork', 'ok'],
    ['read only', 'populate_write', 'EINVAL'], ['read only', 'populate_read', 'ok'],
  ])('%s: %s is %s', async (kind, advice, expected) => {
    const rig = await makeMachine();
    const what = kind === 'device' ? rig.daxDevice(2048, 1) : kind.endsWith('file') ? rig.file({ npages: 1024 }) : null;
    const start = rig.map(what, { npages: 1024, at: AT, shared: kind !== 'private file' && what !== null, prot: kind === 'read only' ? 'r' : 'rw' });
    const vma = rig.mm.vmas.at(start);
    if (kind === 'locked') rig.run(mlock(rig.mm, start, 1024));
    if (kind === 'pfn map' && vma !== null) vma.flags |= VM_PFNMAP | VM_IO;
    expect(advise(rig, start + 256, 16, advice)).toBe(expected);
  });

  test('what v5.2 does not know', async () => {
    const rig = await makeMachine({ profile: 'v5.2' });
    const start = rig.map(null, { npages: 16, at: AT });
    for (const advice of ['cold', 'pageout', 'populate_read', 'populate_write', 'collapse']) expect(advise(rig, start, 16, advice), advice).toBe('EINVAL');
    expect(advise(rig, start, 16, 'free')).toBe('ok');
  });

  test('a gap is ENOMEM after the rest is done, but for populating on v6.12', async () => {
    for (const [profile, beyond] of [['v6.1', 'w'], ['v6.12', '-']] as const) {
      const rig = await makeMachine({ profile });
      rig.map(null, { npages: 12, at: AT });
      rig.run(munmap(rig.mm, AT + 4, 4));
      expect(advise(rig, AT, 12, 'populate_write')).toBe('ENOMEM');
      expect(mapped(rig, AT, 12)).toBe(`wwww----${beyond.repeat(4)}`);
      expect(advise(rig, AT, 12, 'dontneed')).toBe('ENOMEM');
      expect(mapped(rig, AT, 12)).toBe('-'.repeat(12));
    }
  });
});

describe('advice that changes flags', () => {
  test('cuts areas, and merges them when they are equal again', async () => {
    const rig = await makeMachine();
    rig.map(null, { npages: 16, at: AT });
    for (const [on, off, flag] of [['dontfork', 'dofork', VM_DONTCOPY], ['wipeonfork', 'keeponfork', VM_WIPEONFORK]] as const) {
      expect(advise(rig, AT + 4, 4, on)).toBe('ok');
      expect(areas(rig)).toEqual(['0-4', '4-8', '8-16']);
      expect(rig.mm.vmas.at(AT + 4)?.has(flag)).toBe(true);
      expect(advise(rig, AT + 4, 4, off)).toBe('ok');
      expect(areas(rig)).toEqual(['0-16']);
    }
    advise(rig, AT, 8, 'mergeable');
    expect(areas(rig)).toEqual(['0-8', '8-16']);
    expect(rig.mm.vmas.at(AT)?.has(VM_MERGEABLE)).toBe(true);
    advise(rig, AT, 16, 'mergeable');
    expect(areas(rig)).toEqual(['0-16']);
  });

  test('a cut through 2M tells CLEAR of them', async () => {
    const rig = await makeMachine();
    rig.map(null, { npages: 1024, at: AT });
    rig.run(madviseHuge(rig.mm, AT, 1024, true));
    rig.touch(AT, 'w');
    const { heard } = listen(rig.mm, AT, 1024);
    advise(rig, AT + 256, 1, 'nohugepage');
    expect(heard()).toEqual(['CLEAR 0-512']);
    advise(rig, AT + 512, 512, 'dontfork');
    expect(heard()).toEqual([]);
  });
});

describe('pages that are not wanted soon', () => {
  async function huge(profile = 'v6.1'): Promise<{ rig: Rig; heard: () => string[] }> {
    const rig = await makeMachine({ profile });
    rig.map(null, { npages: 1024, at: AT });
    rig.run(madviseHuge(rig.mm, AT, 1024, true));
    for (let i = 0; i < 1024; i++) rig.touch(AT + i, 'w', 7);
    return { rig, heard: listen(rig.mm, AT, 1024).heard };
  }

  test('COLD of a whole huge page leaves it, of a part splits it', async () => {
    const { rig, heard } = await huge();
    advise(rig, AT, 512, 'cold');
    expect(heard()).toEqual([]);
    expect(rig.entry(AT).level).toBe(1);
    advise(rig, AT + 512, 1, 'cold');
    expect(heard()).toEqual(['CLEAR 512-1024', 'CLEAR 512-1024']);
    expect(rig.entry(AT + 512).level).toBe(0);
    expect(rig.touch(AT + 1023, 'r')).toBe(7);
  });

  test('a split page may go page by page: its memory is free at once', async () => {
    const { rig } = await huge();
    const free = rig.platform.ram.freePages;
    advise(rig, AT, 1, 'cold');
    advise(rig, AT, 100, 'dontneed');
    expect(rig.platform.ram.freePages).toBe(free + 100);
  });

  test('PAGEOUT splits a huge page and cannot write it anywhere', async () => {
    const { rig, heard } = await huge();
    advise(rig, AT, 512, 'pageout');
    expect(heard()).toEqual(['CLEAR 0-512', 'CLEAR 0-512']);
    expect(mapped(rig, AT, 512)).toBe('w'.repeat(512));
    advise(rig, AT, 512, 'pageout');
    expect(heard()).toEqual([]);
  });

  test('what was freed lazily goes when it is paged out, unless it was written since', async () => {
    const { rig, heard } = await huge();
    advise(rig, AT, 8, 'free');
    expect(heard()).toEqual(['CLEAR 0-8', 'CLEAR 0-512', 'CLEAR 0-512']);
    rig.touch(AT + 2, 'w', 1);
    advise(rig, AT, 8, 'pageout');
    expect(mapped(rig, AT, 9)).toBe('--w-----w');
    advise(rig, AT + 512, 512, 'free');
    heard();
    advise(rig, AT + 512, 512, 'pageout');
    expect(heard()).toEqual(['CLEAR 512-1024', 'CLEAR 512-1024']);
    expect(rig.entry(AT + 512)).toMatchObject({ lo: 0 });
  });

  test('FREE takes the entries of pages in swap and of poison', async () => {
    const rig = await makeMachine();
    rig.map(null, { npages: 8, at: AT });
    for (let i = 0; i < 4; i++) rig.touch(AT + i, 'w', 5);
    rig.run(swapOut(rig.mm, AT, AT + 2));
    rig.setPte(AT + 5, swapLo(7), swapHi(SWP_HWPOISON, 7));
    advise(rig, AT, 8, 'free');
    expect(mapped(rig, AT, 8)).toBe('--ww----');
    expect([rig.entry(AT), rig.entry(AT + 5)]).toMatchObject([{ lo: 0, hi: 0 }, { lo: 0, hi: 0 }]);
  });

  test('all of a huge page that is mapped by parts: split again on v6.1 only', async () => {
    for (const [profile, events] of [['v6.1', ['CLEAR 0-512', 'CLEAR 0-512']], ['v6.12', []]] as const) {
      const { rig, heard } = await huge(profile);
      rig.run(mprotect(rig.mm, AT, 1, 1));
      rig.run(mprotect(rig.mm, AT, 1, 3));
      heard();
      advise(rig, AT, 512, 'cold');
      expect(heard(), profile).toEqual([...events]);
    }
  });

  test('on v6.12 the pages of zeroes of a split one become the page of zeroes, not where they are locked', async () => {
    const rig = await makeMachine({ profile: 'v6.12' });
    rig.map(null, { npages: 1024, at: AT });
    rig.run(madviseHuge(rig.mm, AT, 1024, true));
    rig.touch(AT + 3, 'w', 7);
    rig.touch(AT + 515, 'w', 7);
    advise(rig, AT + 8, 1, 'cold');
    expect(mapped(rig, AT, 6)).toBe('rrrwrr');
    rig.run(mlock(rig.mm, AT + 512, 512));
    rig.run(munlock(rig.mm, AT + 520, 504));
    advise(rig, AT + 520, 1, 'cold');
    expect(mapped(rig, AT + 512, 10)).toBe('wwwwwwwwrr');
  });

  test('a device leaf of 2M: cleared on v6.1, and nobody hears of it', async () => {
    for (const [profile, left] of [['v6.1', '-'], ['v6.12', 'w']] as const) {
      const rig = await makeMachine({ profile });
      rig.map(rig.file({ npages: 1024 }), { npages: 1024, at: AT });
      rig.touch(AT, 'w');
      const { heard } = listen(rig.mm, AT, 1024);
      advise(rig, AT + 3, 1, 'pageout');
      expect(heard()).toEqual([]);
      expect(mapped(rig, AT, 1), profile).toBe(left);
    }
  });

  test('a 1G leaf goes when a walk comes by, with CLEAR over it', async () => {
    const rig = await makeMachine();
    rig.map(rig.daxDevice(2 ** 18, 2), { npages: 2 ** 18, at: AT });
    rig.touch(AT, 'w');
    const { heard } = listen(rig.mm, AT, 2 ** 18);
    for (const advice of ['willneed', 'mergeable', 'normal', 'populate_write']) advise(rig, AT, 512, advice);
    expect(heard()).toEqual([]);
    advise(rig, AT + 512, 1, 'cold');
    expect(heard()).toEqual(['CLEAR 0-262144']);
    expect(rig.entry(AT).level).toBeGreaterThan(0);
  });
});

describe('MADV_COLLAPSE', () => {
  test('copies pages and holes into one huge page, with CLEAR', async () => {
    const rig = await makeMachine();
    rig.map(null, { npages: 1024, at: AT });
    rig.touch(AT + 7, 'w', 5);
    rig.touch(AT + 9, 'r');
    const free = rig.platform.ram.freePages;
    const { heard } = listen(rig.mm, AT, 1024);
    expect(advise(rig, AT, 512, 'collapse')).toBe('ok');
    expect(heard()).toEqual(['CLEAR 0-512']);
    expect(rig.entry(AT)).toMatchObject({ level: 1 });
    expect([rig.touch(AT + 7, 'r'), rig.touch(AT + 9, 'r')]).toEqual([5, 0]);
    expect(rig.platform.ram.freePages).toBe(free - 511);
    expect(advise(rig, AT, 512, 'collapse'), 'again').toBe('ok');
    expect(heard()).toEqual([]);
    expect(advise(rig, AT, 1024, 'collapse'), 'nothing in the second half').toBe('EINVAL');
    expect(advise(rig, AT, 100, 'collapse'), 'no 2M are meant').toBe('ok');
    expect(advise(rig, AT + 1, 100, 'collapse')).toBe('EINVAL');
  });

  test('not of pages that nobody may write to, nor of one that somebody holds', async () => {
    const rig = await makeMachine();
    rig.map(null, { npages: 1024, at: AT });
    rig.touch(AT, 'w', 5);
    rig.run(mprotect(rig.mm, AT, 512, 1));
    expect(advise(rig, AT, 512, 'collapse')).toBe('EINVAL');
    rig.run(mprotect(rig.mm, AT, 512, 3));
    const pfn = rig.mm.pageTable.translate(AT, 0);
    rig.platform.ram.get(pfn);
    expect(advise(rig, AT, 512, 'collapse')).toBe('EAGAIN');
    rig.platform.ram.put(pfn);
    expect(advise(rig, AT, 512, 'collapse')).toBe('ok');
  });

  test('shared memory becomes a folio of 2M: CLEAR of each mapped page, then of the 2M; who else maps it faults it', async () => {
    const rig = await makeMachine();
    rig.map(null, { npages: 1024, at: AT, shared: true });
    for (const at of [3, 4, 9]) rig.touch(AT + at, 'w', at);
    const { heard } = listen(rig.mm, AT, 1024);
    expect(advise(rig, AT, 512, 'collapse')).toBe('ok');
    expect(heard()).toEqual(['CLEAR 3-4', 'CLEAR 4-5', 'CLEAR 9-10', 'CLEAR 0-512']);
    expect(rig.entry(AT).level).toBe(1);
    expect([3, 4, 9, 10].map((at) => rig.touch(AT + at, 'r'))).toEqual([3, 4, 9, 0]);
    expect(advise(rig, AT, 512, 'collapse'), 'again').toBe('ok');
    expect(advise(rig, AT + 512, 512, 'collapse'), 'with no table there').toBe('EINVAL');
    heard();
    advise(rig, AT, 512, 'pageout');
    expect(heard(), 'it is split, and mapped no more').toEqual(['CLEAR 0-512', 'CLEAR 0-512']);
    expect(rig.touch(AT + 9, 'r')).toBe(9);
    expect(rig.entry(AT + 9).level).toBe(0);
    const pfn = rig.mm.pageTable.translate(AT + 9, 0);
    rig.platform.ram.get(pfn);
    expect(advise(rig, AT, 512, 'collapse'), 'somebody holds a page').toBe('EAGAIN');
    rig.platform.ram.put(pfn);
    const free = rig.platform.ram.freePages;
    rig.run(munmap(rig.mm, AT, 1024));
    expect(rig.platform.ram.freePages - free).toBe(1024);
  });

  test('pages that are elsewhere come back first; one that cannot be had is EINVAL', async () => {
    const rig = await makeMachine();
    rig.map(null, { npages: 1024, at: AT });
    for (const at of [0, 3, 512, 515]) rig.touch(AT + at, 'w', 5);
    rig.run(swapOut(rig.mm, AT + 3, AT + 4));
    expect(advise(rig, AT, 512, 'collapse')).toBe('ok');
    expect([rig.touch(AT + 3, 'r'), rig.entry(AT).level]).toEqual([5, 1]);
    rig.setPte(AT + 515, swapLo(7), swapHi(SWP_HWPOISON, 7));
    expect(advise(rig, AT + 512, 512, 'collapse')).toBe('EINVAL');
  });

  test('ENOMEM without a huge page', async () => {
    const rig = await makeMachine({ ramPages: 300 });
    rig.map(null, { npages: 512, at: AT });
    rig.touch(AT, 'w');
    expect(advise(rig, AT, 512, 'collapse')).toBe('ENOMEM');
    expect(rig.entry(AT).level).toBe(0);
  });
});

describe('locked and populated memory', () => {
  test('mlock marks and faults in: with write where that copies', async () => {
    const rig = await makeMachine();
    rig.map(null, { npages: 8, at: AT });
    rig.map(null, { npages: 8, at: AT + 16, prot: 'r' });
    rig.map(null, { npages: 8, at: AT + 32, shared: true });
    for (const at of [0, 16, 32]) expect(answer(() => rig.run(mlock(rig.mm, AT + at, 4)))).toBe('ok');
    expect([0, 16, 32].map((at) => mapped(rig, AT + at, 5))).toEqual(['wwww-', 'rrrr-', 'wwww-']);
    expect(areas(rig)).toEqual(['0-4', '4-8', '16-20', '20-24', '32-36', '36-40']);
    rig.run(mlock(rig.mm, AT + 4, 4));
    expect(areas(rig).slice(0, 1)).toEqual(['0-8']);
    rig.run(munlock(rig.mm, AT, 8));
    expect(rig.mm.vmas.at(AT)?.has(VM_LOCKED)).toBe(false);
  });

  test('a gap, or what nobody may access, is ENOMEM; what was marked before stays so', async () => {
    const rig = await makeMachine();
    rig.map(null, { npages: 4, at: AT });
    rig.map(null, { npages: 4, at: AT + 8, prot: '' });
    expect(answer(() => rig.run(mlock(rig.mm, AT, 12)))).toBe('ENOMEM');
    expect(rig.mm.vmas.at(AT)?.has(VM_LOCKED)).toBe(true);
    expect(mapped(rig, AT, 4)).toBe('----');
    expect(answer(() => rig.run(mlock(rig.mm, AT + 8, 4)))).toBe('ENOMEM');
    expect(rig.mm.vmas.at(AT + 8)?.has(VM_LOCKED)).toBe(true);
  });

  test('DAX is populated and never marked', async () => {
    const rig = await makeMachine();
    rig.map(rig.file({ npages: 512 }), { npages: 512, at: AT });
    rig.run(mlock(rig.mm, AT, 512));
    expect(rig.mm.vmas.at(AT)?.has(VM_LOCKED)).toBe(false);
    expect(rig.entry(AT)).toMatchObject({ level: 1 });
  });

  test('locked private pages that become writable are copied at once', async () => {
    const rig = await makeMachine();
    rig.map(null, { npages: 8, at: AT, prot: 'r' });
    rig.run(mlock(rig.mm, AT, 8));
    const { heard } = listen(rig.mm, AT, 8);
    rig.run(mprotect(rig.mm, AT, 2, 3));
    expect(mapped(rig, AT, 4)).toBe('wwrr');
    expect(heard()).toEqual(['PROTECTION_VMA 0-2', 'CLEAR 0-1', 'CLEAR 1-2']);
  });

  test('MAP_POPULATE goes on past what cannot be had', async () => {
    const rig = await makeMachine();
    rig.map(rig.file({ npages: 4, extentPages: 1 }), { npages: 8, at: AT });
    rig.map(null, { npages: 4, at: AT + 8 });
    expect(rig.run(mmPopulate(rig.mm, AT, AT + 12, true))).toBe(null);
    expect(mapped(rig, AT, 12)).toBe('rrrr----wwww');
    expect(rig.run(mmPopulate(rig.mm, AT, AT + 12, false))).toBe('EFAULT');
  });
});
