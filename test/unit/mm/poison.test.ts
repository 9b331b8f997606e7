/** Memory that fails: who is told, who is unmapped, what the next touch finds. */
import { afterEach, describe, expect, test } from 'vitest';
import { FaultSignal } from '../../../dist/errno.js';
import { madvise, madviseInject, mmap, newHugeAnon, openCachedFile, pinUserPages, specialMapping, unpinUserPages, type Injected } from '../../../dist/mm/index.js';
import { checkPgmaps, makeMachine, type Rig } from '../../support/rig.ts';

afterEach(checkPgmaps);

function fail(rig: Rig, vpn: number, npages = 1, how: 'hwpoison' | 'softoffline' = 'hwpoison'): Injected {
  return rig.run(madviseInject(rig.mm, vpn, npages, how));
}

describe('anonymous memory', () => {
  test('a failed page is gone for good: touching it is a signal, its neighbours stand', async () => {
    const rig = await makeMachine();
    const at = rig.map(null, { npages: 4 });
    for (let i = 0; i < 4; i++) rig.touch(at + i, 'w', i);
    expect(fail(rig, at + 1)).toEqual({ err: null, signal: null });
    expect(() => rig.touch(at + 1, 'r')).toThrow(expect.objectContaining({ name: 'FaultSignal', reason: 'MCEERR_AR', lsb: 12 }) as FaultSignal);
    expect(rig.touch(at + 2, 'r')).toBe(2);
  });

  test('it cannot fail twice, and is never given out again', async () => {
    const rig = await makeMachine();
    const at = rig.map(null, { npages: 4 });
    rig.touch(at, 'w');
    const free = rig.platform.ram.freePages;
    fail(rig, at);
    expect(fail(rig, at).err).toBe('EFAULT');
    expect(rig.platform.ram.freePages).toBe(free);
  });

  test('6.12 signals at once', async () => {
    const rig = await makeMachine({ profile: 'v6.12' });
    const at = rig.map(null, { npages: 4 });
    rig.touch(at + 1, 'w');
    expect(fail(rig, at + 1).signal).toEqual({ vpn: at + 1, lsb: 12 });
  });

  test('soft offline moves the bytes to another page, which is mapped with the same rights', async () => {
    const rig = await makeMachine();
    const at = rig.map(null, { npages: 4 });
    rig.touch(at, 'w', 7);
    const before = rig.mm.pageTable.translate(at, 1);
    expect(fail(rig, at, 1, 'softoffline').err).toBeNull();
    expect(rig.mm.pageTable.translate(at, 1)).not.toBe(before);
    expect(rig.mm.pageTable.translate(at, 1)).toBeGreaterThan(0);
    expect(rig.touch(at, 'r')).toBe(7);
  });

  test('soft offline of a pinned page, and of zeroes, is refused', async () => {
    const rig = await makeMachine();
    const at = rig.map(null, { npages: 4 });
    rig.touch(at, 'w', 7);
    rig.touch(at + 1, 'r');
    const { pfns } = rig.run(pinUserPages(rig.mm, at, 1, { write: true, longterm: false }));
    expect(fail(rig, at, 1, 'softoffline').err).toBe('EBUSY');
    expect(fail(rig, at + 1, 1, 'softoffline').err).toBe('EIO');
    unpinUserPages(rig.mm, pfns);
    expect(fail(rig, at, 1, 'softoffline').err).toBeNull();
  });
});

describe('DAX', () => {
  test('the whole leaf is unmapped, the process is told of the page, and the next touch maps it again', async () => {
    const rig = await makeMachine();
    const at = rig.map(rig.file({ npages: 1024 }), { npages: 1024, at: 2 ** 20 });
    rig.touch(at, 'w', 3);
    rig.touch(at + 512, 'w', 4);
    expect(fail(rig, at + 5)).toEqual({ err: null, signal: { vpn: at + 5, lsb: 21 } });
    expect(rig.mm.pageTable.look(at)).toBe(false);
    expect(rig.mm.pageTable.look(at + 512)).toBe(true);
    expect(rig.touch(at, 'r')).toBe(3);
  });

  test('of a compound device page the first page fails', async () => {
    const rig = await makeMachine();
    const at = rig.map(rig.daxDevice(1024, 1), { npages: 1024, at: 2 ** 20 });
    rig.touch(at + 600, 'w');
    expect(fail(rig, at + 700).signal).toEqual({ vpn: at + 512, lsb: 21 });
  });

  test('private copies stay', async () => {
    const rig = await makeMachine();
    const file = rig.file({ npages: 4 });
    const shared = rig.map(file, { npages: 4 });
    const own = rig.map(file, { npages: 4, shared: false });
    rig.touch(own, 'w', 9);
    fail(rig, shared);
    expect(rig.mm.pageTable.look(own)).toBe(true);
    expect(rig.touch(own, 'r')).toBe(9);
  });

  test('v5.2 unmaps as many pages more as lie before it', async () => {
    for (const [profile, pages] of [['v6.1', 1], ['v5.2', 6]] as const) {
      const rig = await makeMachine({ profile });
      const at = rig.map(rig.daxDevice(1024, 0), { npages: 16 });
      for (let i = 0; i < 16; i++) rig.touch(at + i, 'w');
      fail(rig, at + 5);
      const gone = Array.from({ length: 16 }, (_, i) => i).filter((i) => !rig.mm.pageTable.look(at + i));
      expect(gone, profile).toEqual(Array.from({ length: pages }, (_, i) => 5 + i));
    }
  });

  test('soft offline is refused', async () => {
    const rig = await makeMachine();
    const at = rig.map(rig.file({ npages: 4 }), { npages: 4 });
    expect(fail(rig, at, 1, 'softoffline').err).toBe('EIO');
  });
});

describe('pages of files in the page cache', () => {
  test('shared memory keeps a failed page: it is a signal also after the entries are gone', async () => {
    const rig = await makeMachine();
    const at = rig.map(null, { npages: 4, shared: true });
    rig.touch(at, 'w', 5);
    fail(rig, at);
    expect(() => rig.touch(at, 'r')).toThrow(expect.objectContaining({ reason: 'MCEERR_AR' }) as FaultSignal);
    rig.run(madvise(rig.mm, at, 4, 'dontneed'));
    expect(() => rig.touch(at, 'r')).toThrow(expect.objectContaining({ reason: 'MCEERR_AR' }) as FaultSignal);
  });

  test('soft offline leaves the bytes of shared memory where the file finds them', async () => {
    const rig = await makeMachine();
    const at = rig.map(null, { npages: 4, shared: true });
    rig.touch(at, 'w', 5);
    expect(fail(rig, at, 1, 'softoffline').err).toBeNull();
    rig.run(madvise(rig.mm, at, 4, 'dontneed'));
    expect(rig.touch(at, 'r')).toBe(5);
  });

  test('of a file on a disk a clean page is read again, a written one is lost, and fsync says so once', async () => {
    const rig = await makeMachine();
    const inode = rig.fileSystem(4096).create('f');
    const file = openCachedFile(inode, { writable: true, direct: false });
    rig.run(file.calls!.write(0, new Uint8Array(4 * 4096).fill(7)));
    rig.run(file.calls!.sync(0, 4));
    const at = rig.map(file, { npages: 4 });
    for (let i = 0; i < 4; i++) rig.touch(at + i, 'r');
    fail(rig, at);
    expect(rig.touch(at, 'r')).toBe(7);
    rig.touch(at + 1, 'w', 9);
    fail(rig, at + 1);
    expect(() => rig.touch(at + 1, 'r')).toThrow(expect.objectContaining({ reason: 'MCEERR_AR' }) as FaultSignal);
    expect(() => rig.run(file.calls!.sync(0, 4))).toThrow(expect.objectContaining({ code: 'EIO' }) as Error);
    rig.run(file.calls!.sync(0, 4));
  });
});

test('the page of zeroes cannot fail, and is known to have been asked to', async () => {
  const rig = await makeMachine();
  const at = rig.map(null, { npages: 4 });
  expect(fail(rig, at).err).toBe('EBUSY');
  expect(fail(rig, at + 1).err).toBe('EHWPOISON');
  expect(rig.touch(at, 'r')).toBe(0);
});

describe('hugetlb', () => {
  function hugeArea(rig: Rig, shared: boolean): number {
    const file = newHugeAnon(rig.platform, rig.platform.hugePools.huge2m, 1024);
    return rig.map(file, { npages: 1024, shared, at: 2 ** 20 });
  }

  test('a page fails as a whole, and is known by its size', async () => {
    const rig = await makeMachine({ ramPages: 65536, hugePages: [8, 0] });
    const at = hugeArea(rig, false);
    rig.touch(at, 'w');
    rig.touch(at + 512, 'w', 6);
    fail(rig, at + 7);
    expect(() => rig.touch(at + 100, 'r')).toThrow(expect.objectContaining({ reason: 'MCEERR_AR', lsb: 21 }) as FaultSignal);
    expect(rig.touch(at + 512, 'r')).toBe(6);
  });

  test('soft offline takes another page of the pool for it', async () => {
    const rig = await makeMachine({ ramPages: 65536, hugePages: [8, 0] });
    const at = hugeArea(rig, true);
    rig.touch(at, 'w', 6);
    const before = rig.mm.pageTable.translate(at, 0);
    const { free } = rig.platform.hugePools.huge2m;
    expect(fail(rig, at, 1, 'softoffline').err).toBeNull();
    expect(rig.mm.pageTable.translate(at, 0)).not.toBe(before);
    expect(rig.touch(at, 'r')).toBe(6);
    expect(rig.platform.hugePools.huge2m.free).toBe(free - 1);
  });
});

test("the kernel's own page, as [vdso] has, cannot be taken out of use: it stays mapped, and is known to have failed", async () => {
  const rig = await makeMachine();
  const { mm, platform } = rig;
  const file = specialMapping(platform, '[vdso]', 2);
  const at = rig.run(mmap(mm, { npages: 2, prot: 5, shared: false, file, pgoff: 0, start: 2 ** 20, fixed: 'noreplace', sync: false, vmFlags: 0 }));
  expect(fail(rig, at)).toEqual({ err: 'EBUSY', signal: null });
  expect(fail(rig, at).err).toBe('EHWPOISON');
  expect(rig.touch(at, 'r'), 'the E of ELF is at 1, and 0x7f before it').toBe(0x7f);
});
