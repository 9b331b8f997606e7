/** Who hears of what: ranges and events by operation, as recorded on 6.1 and 6.12 (the scenario's name stands at each) or by the kernel's text. */
import { afterEach, describe, expect, test } from 'vitest';
import { daxFsync, daxPunch, daxTruncate, daxWrite, daxZeroRange, killDaxDevice, daxAllocate } from '../../../dist/dax/index.js';
import { exitMm, madviseDontneed, madviseHuge, mmap, mprotect, munmap } from '../../../dist/mm/index.js';
import { listen, type Listener } from '../../support/listener.ts';
import { checkPgmaps, makeMachine, type Rig } from '../../support/rig.ts';

afterEach(checkPgmaps);

interface Scene {
  readonly rig: Rig;
  readonly start: number;
  readonly heard: Listener['heard'];
  readonly inode: ReturnType<Rig['file']>;
}

/** 6M of a file in 2M extents, mapped shared at a GiB boundary, every page written to. */
async function mapped(options: { profile?: string; npages?: number; touch?: 'w' | 'r' | 'not'; fs?: 'ext4' | 'xfs' } = {}): Promise<Scene> {
  const { profile = 'v6.1', npages = 1536, touch = 'w', fs = 'ext4' } = options;
  const rig = await makeMachine({ profile });
  const inode = rig.fileSystem(65536, fs).create('f', 512);
  inode.fs.allocateWritten(inode, 0, npages);
  inode.fs.setSize(inode, npages * 4096);
  const start = rig.map(inode, { npages, at: 2 ** 20 });
  if (touch !== 'not') for (let i = 0; i < npages; i += 512) rig.touch(start + i, touch);
  const { heard } = listen(rig.mm, start, npages);
  return { rig, start, heard, inode };
}

describe('munmap', () => {
  test('UNMAP over what was asked, though more or less is mapped', async () => {
    const { rig, start, heard } = await mapped();
    rig.run(munmap(rig.mm, start + 512, 5000));
    expect(heard()).toEqual(['UNMAP 512-5512']);
    rig.run(munmap(rig.mm, start + 512, 5000));
    expect(heard(), 'nothing is mapped there').toEqual([]);
  });

  test('a cut through a 2M leaf: CLEAR of the whole leaf first (dax-xfs-munmap-part)', async () => {
    const { rig, start, heard } = await mapped();
    rig.run(munmap(rig.mm, start + 256, 1));
    expect(heard()).toEqual(['CLEAR 0-512', 'UNMAP 256-257']);
    expect(rig.entry(start).level).toBe(1);
    expect(rig.entry(start).lo).toBe(0);
    rig.run(munmap(rig.mm, start + 512, 512));
    expect(heard(), 'on the leaf\'s bounds').toEqual(['UNMAP 512-1024']);
  });

  test('the same where small pages or anonymous ones are: it is enough that there is a table (dax-ext4-two-vmas)', async () => {
    const rig = await makeMachine();
    const a = rig.map(null, { npages: 2048, at: 2 ** 20 });
    rig.touch(a + 700, 'w');
    const { heard } = listen(rig.mm, a, 2048);
    rig.run(munmap(rig.mm, a + 768, 1));
    expect(heard()).toEqual(['CLEAR 512-1024', 'UNMAP 768-769']);
    expect(rig.touch(a + 700, 'r'), 'and an anonymous page stays').toBe(1);
    rig.run(munmap(rig.mm, a + 770, 1));
    expect(heard(), 'no aligned 2M lies in the area any more').toEqual(['UNMAP 770-771']);
    const b = rig.map(null, { npages: 2048, at: 2 ** 22 });
    const far = listen(rig.mm, b, 2048);
    rig.run(munmap(rig.mm, b + 768, 1));
    expect(far.heard(), 'no table, no split').toEqual(['UNMAP 768-769']);
  });
});

describe('mprotect', () => {
  test('PROTECTION_VMA from the first populated place on: its pmd in 6.1, its pud in 6.12', async () => {
    for (const [profile, want] of [['v6.1', ['PROTECTION_VMA 512-1536']], ['v6.12', ['PROTECTION_VMA 0-1536']]] as const) {
      const { rig, start, heard } = await mapped({ profile, touch: 'not' });
      rig.run(mprotect(rig.mm, start, 1536, 1));
      expect(heard(), 'nothing populated in its 512 GiB').toEqual([]);
      rig.run(mprotect(rig.mm, start, 1536, 3));
      rig.touch(start + 1000, 'r');
      rig.run(mprotect(rig.mm, start, 1536, 1));
      expect(heard(), profile).toEqual(want);
    }
  });

  test('6.1 raises it for each GiB anew, 6.12 once', async () => {
    const GIB = 262144;
    for (const [profile, want] of [['v6.1', [`PROTECTION_VMA 512-${GIB}`, `PROTECTION_VMA ${2 * GIB}-${3 * GIB}`]], ['v6.12', [`PROTECTION_VMA 0-${4 * GIB}`]]] as const) {
      const rig = await makeMachine({ profile });
      const a = rig.map(null, { npages: 4 * GIB, at: 8 * GIB });
      rig.touch(a + 700, 'w');
      rig.touch(a + 2 * GIB + 300, 'w');
      const { heard } = listen(rig.mm, a, 4 * GIB);
      rig.run(mprotect(rig.mm, a, 4 * GIB, 1));
      expect(heard(), profile).toEqual(want);
    }
  });

  test('of a part of a 2M leaf: CLEAR of the leaf, which is gone; 6.1 has then nothing left to protect (dax-ext4-mprotect 22)', async () => {
    for (const [profile, want] of [['v6.1', ['CLEAR 0-512']], ['v6.12', ['CLEAR 0-512', 'PROTECTION_VMA 3-4']]] as const) {
      const { rig, start, heard } = await mapped({ profile });
      rig.run(mprotect(rig.mm, start + 3, 1, 1));
      // Two cuts, and only the first goes through an aligned 2M of one area.
      expect(heard(), profile).toEqual(want);
      expect(rig.entry(start).lo).toBe(0);
    }
  });

  test('giving write back: 6.1 leaves a 2M entry read only until it is written to, 6.12 does not when it is dirty (dax-ext4-mprotect 17)', async () => {
    for (const [profile, writable] of [['v6.1', false], ['v6.12', true]] as const) {
      const { rig, start } = await mapped({ profile });
      rig.run(mprotect(rig.mm, start, 512, 1));
      rig.run(mprotect(rig.mm, start, 512, 3));
      expect((rig.entry(start).lo & 2) !== 0, profile).toBe(writable);
      expect((rig.entry(start + 512).lo & 2) !== 0).toBe(true);
    }
  });

  test('device DAX gets it back at once, dirty or not; an own anonymous page when dirty, in 6.12 always (migr-prot 25)', async () => {
    for (const profile of ['v6.1', 'v6.12']) {
      const rig = await makeMachine({ profile });
      const a = rig.map(rig.daxDevice(1024, 1), { npages: 1024, at: 2 ** 20 });
      rig.touch(a, 'r');
      rig.run(mprotect(rig.mm, a, 512, 1));
      rig.run(mprotect(rig.mm, a, 512, 3));
      expect(rig.entry(a).lo & 2).toBe(2);
      const b = rig.map(null, { npages: 4, at: 2 ** 21 });
      rig.touch(b, 'w');
      rig.mm.pageTable.look(b);
      rig.mm.pageTable.setRaw(rig.mm.pageTable.lo - 0x40, rig.mm.pageTable.hi); // clean, as after a write to swap
      rig.run(mprotect(rig.mm, b, 4, 1));
      rig.run(mprotect(rig.mm, b, 4, 3));
      expect((rig.entry(b).lo & 2) !== 0).toBe(profile === 'v6.12');
    }
  });

  test('of a 1G leaf: 6.1 clears it and tells nobody, 6.12 changes it (devdax-1g-mprotect)', async () => {
    const GIB = 262144;
    for (const [profile, want, level] of [['v6.1', [], 2], ['v6.12', [`PROTECTION_VMA 0-${GIB}`], 2]] as const) {
      const rig = await makeMachine({ profile });
      const a = rig.map(rig.daxDevice(GIB, 2), { npages: GIB, at: 8 * GIB });
      rig.touch(a, 'w');
      const { heard } = listen(rig.mm, a, GIB);
      rig.run(mprotect(rig.mm, a, GIB, 1));
      expect(heard(), profile).toEqual(want);
      expect(rig.entry(a)).toMatchObject({ level, ...(profile === 'v6.1' ? { lo: 0 } : {}) });
    }
  });

  test('nothing where the rights stay', async () => {
    const { rig, start, heard } = await mapped();
    rig.run(mprotect(rig.mm, start, 1536, 3));
    rig.run(madviseHuge(rig.mm, start, 1536, false));
    expect(heard()).toEqual([]);
  });
});

describe('DONTNEED', () => {
  test('CLEAR of the range, of the whole of a leaf that it cuts, and for each area by itself', async () => {
    const { rig, start, heard } = await mapped();
    rig.run(madviseDontneed(rig.mm, start + 3, 4));
    expect(heard()).toEqual(['CLEAR 3-7', 'CLEAR 0-512']);
    rig.run(madviseDontneed(rig.mm, start + 3, 4));
    expect(heard(), 'also of nothing').toEqual(['CLEAR 3-7']);
    rig.run(mprotect(rig.mm, start + 1024, 512, 1));
    heard();
    rig.run(madviseDontneed(rig.mm, start + 512, 1024));
    expect(heard()).toEqual(['CLEAR 512-1024', 'CLEAR 1024-1536']);
  });
});

describe('faults', () => {
  test('a read or a write fault of a shared page tells nobody; the first write after a hole does (dax-ext4-hole-read)', async () => {
    const { rig, start, heard, inode } = await mapped({ touch: 'not', npages: 512 });
    rig.touch(start, 'r');
    rig.touch(start, 'w');
    expect(heard()).toEqual([]);
    inode.fs.setSize(inode, 1024 * 4096);
    const b = rig.map(inode, { npages: 1024, at: 2 ** 21 });
    const other = listen(rig.mm, b, 1024);
    rig.touch(b + 600, 'r');
    rig.touch(b + 700, 'w');
    expect(other.heard()).toEqual(['CLEAR 512-1024']);
  });

  test('a private write copies: CLEAR of the page; under a 2M leaf of the leaf, twice in 6.1 (dax-ext4-private 9)', async () => {
    for (const [profile, want] of [['v6.1', ['CLEAR 0-512', 'CLEAR 0-512']], ['v6.12', ['CLEAR 0-512']]] as const) {
      const { rig, inode } = await mapped({ profile });
      const b = rig.map(inode, { npages: 512, at: 2 ** 21, shared: false });
      const { heard } = listen(rig.mm, b, 512);
      rig.touch(b, 'r');
      rig.touch(b + 2, 'w');
      expect(heard(), profile).toEqual(want);
      rig.touch(b + 4, 'r');
      rig.touch(b + 4, 'w');
      expect(heard()).toEqual(['CLEAR 4-5']);
      rig.touch(b + 5, 'w');
      expect(heard(), 'a page that was not mapped').toEqual([]);
    }
  });
});

describe('the file', () => {
  test('truncate: CLEAR of the whole file, then twice from the new size on (dax-ext4-truncate)', async () => {
    const { rig, heard, inode } = await mapped();
    rig.run(daxTruncate(inode, 1024 * 4096));
    expect(heard()).toEqual(['CLEAR 0-1536', 'CLEAR 1024-1536', 'CLEAR 1024-1536']);
    rig.run(daxTruncate(inode, 6000));
    expect(heard()).toEqual(['CLEAR 0-1536', 'CLEAR 2-1536', 'CLEAR 2-1536']);
    rig.run(daxTruncate(inode, 1536 * 4096));
    expect(heard(), 'growing to where the mapping ends').toEqual(['CLEAR 0-1536']);
    rig.run(daxTruncate(inode, 1535 * 4096));
    heard();
    rig.run(daxTruncate(inode, 1535 * 4096));
    expect(heard(), 'as it was').toEqual(['CLEAR 0-1536', 'CLEAR 1535-1536', 'CLEAR 1535-1536']);
  });

  test('punch on ext4: dirty entries are written back first, but not in 6.12 (dax-ext4-punch)', async () => {
    for (const [profile, first] of [['v6.1', ['PROTECTION_PAGE 512-1024']], ['v6.12', []]] as const) {
      const { rig, heard, inode } = await mapped({ profile });
      rig.run(daxPunch(inode, 512 * 4096, 512 * 4096));
      expect(heard(), profile).toEqual([...first, 'CLEAR 0-1536', 'CLEAR 512-1024']);
      rig.run(daxPunch(inode, 5000, 100));
      expect(heard().filter((one) => one.startsWith('CLEAR')), 'no page lies in the range').toEqual(['CLEAR 0-1536']);
    }
  });

  test('punch on XFS: after the layout break, and over every page that is touched', async () => {
    const { rig, heard, inode } = await mapped({ fs: 'xfs', profile: 'v6.12' });
    rig.run(daxPunch(inode, 512 * 4096 + 5000, 4096));
    expect(heard()).toEqual(['CLEAR 0-1536', 'PROTECTION_PAGE 512-1024', 'CLEAR 513-515']);
  });

  test('zero range: no write-back on ext4 (dax-ext4-punch 22), one on XFS', async () => {
    const ext4 = await mapped();
    ext4.rig.run(daxZeroRange(ext4.inode, 1024 * 4096, 8192, false));
    expect(ext4.heard()).toEqual(['CLEAR 0-1536', 'CLEAR 1024-1026']);
    const xfs = await mapped({ fs: 'xfs' });
    xfs.rig.run(daxZeroRange(xfs.inode, 1024 * 4096, 8192, false));
    expect(xfs.heard()).toEqual(['CLEAR 0-1536', 'PROTECTION_PAGE 1024-1536', 'CLEAR 1024-1026']);
  });

  test('fallocate unmaps on XFS alone', async () => {
    for (const [fs, want] of [['ext4', []], ['xfs', ['CLEAR 0-1536']]] as const) {
      const { rig, heard, inode } = await mapped({ fs });
      rig.run(daxAllocate(inode, 0, 4096, false));
      expect(heard(), fs).toEqual(want);
    }
  });

  test('fsync: PROTECTION_PAGE over each dirty entry, in each mapping; then none until the next write (dax-ext4-fsync)', async () => {
    const { rig, start, heard, inode } = await mapped({ profile: 'v6.12', npages: 1024 });
    rig.run(daxFsync(inode));
    expect(heard()).toEqual(['PROTECTION_PAGE 0-512', 'PROTECTION_PAGE 512-1024']);
    rig.run(daxFsync(inode));
    expect(heard()).toEqual([]);
    rig.touch(start + 513, 'w');
    const part = rig.map(inode, { npages: 100, pgoff: 500, at: 2 ** 21 });
    rig.map(inode, { npages: 1024, shared: false });
    const other = listen(rig.mm, part, 100);
    rig.run(daxFsync(inode));
    expect(heard()).toEqual(['PROTECTION_PAGE 512-1024']);
    expect(other.heard(), 'the part that is mapped; private mappings are not asked').toEqual(['PROTECTION_PAGE 12-100']);
  });

  test('fsync of what was only read: in 6.1 as if it were written (read-fault-dirties)', async () => {
    for (const [profile, want] of [['v6.1', ['PROTECTION_PAGE 0-512']], ['v6.12', []]] as const) {
      const { rig, heard, inode } = await mapped({ profile, npages: 512, touch: 'r' });
      rig.run(daxFsync(inode));
      expect(heard(), profile).toEqual(want);
    }
  });

  test('write(2) into a hole: CLEAR of the pages; in 6.1 a 2M zero entry stays and goes with the next fault (dax-ext4-write-syscall)', async () => {
    for (const [profile, next] of [['v6.1', ['CLEAR 0-512']], ['v6.12', []]] as const) {
      const rig = await makeMachine({ profile });
      const inode = rig.file({ npages: 1024, hole: true });
      const a = rig.map(inode, { npages: 1024, at: 2 ** 20 });
      for (const i of [0, 512]) rig.touch(a + i, 'r');
      const { heard } = listen(rig.mm, a, 1024);
      rig.run(daxWrite(inode, 8192, new Uint8Array(4096).fill(3)));
      expect(heard(), profile).toEqual(['CLEAR 2-3', 'CLEAR 0-512']);
      expect(rig.touch(a + 2, 'r')).toBe(3);
      expect(heard(), profile).toEqual(next);
      rig.run(daxWrite(inode, 8192, new Uint8Array(4096).fill(4)));
      expect(heard(), 'over blocks that are there').toEqual([]);
    }
  });

  test('every process that maps the file hears, each of its own pages', async () => {
    const { rig, heard, inode } = await mapped();
    const other = rig.core.newMm('q');
    const b = rig.map(inode, { npages: 100, pgoff: 1000, mm: other, at: 2 ** 22 });
    const theirs = listen(other, b, 100);
    rig.run(daxTruncate(inode, 1050 * 4096));
    expect(heard()).toEqual(['CLEAR 0-1536', 'CLEAR 1050-1536', 'CLEAR 1050-1536']);
    expect(theirs.heard()).toEqual(['CLEAR 0-100', 'CLEAR 50-100', 'CLEAR 50-100']);
  });
});

describe('the end', () => {
  test('exit: RELEASE over everything, then UNMAP', async () => {
    const { rig, start, heard } = await mapped();
    rig.run(exitMm(rig.mm));
    const all = rig.mm.taskEndVpn + 1;
    expect(heard()).toEqual([`RELEASE ${-start}-${all - start}`, `UNMAP ${-start}-${all - 1 - start}`]);
    expect(() => rig.touch(start, 'r')).toThrow(/has exited/);
    expect(() => rig.run(munmap(rig.mm, start, 1))).toThrow(/has exited/);
    expect(() => rig.run(exitMm(rig.mm))).toThrow(/has exited/);
  });

  test('a device that goes: CLEAR of what maps it, no new faults, no new mappings (devdax-2m-unbind)', async () => {
    const rig = await makeMachine();
    const device = rig.daxDevice(1024, 1);
    const a = rig.map(device, { npages: 1024, at: 2 ** 20 });
    rig.touch(a, 'w');
    const { heard } = listen(rig.mm, a, 1024);
    rig.run(killDaxDevice(device));
    expect(heard()).toEqual(['CLEAR 0-1024']);
    expect(() => rig.touch(a, 'r')).toThrow(/SIGBUS ADRERR/);
    expect(() => rig.map(device, { npages: 512 })).toThrow(/ENXIO/);
    rig.run(munmap(rig.mm, a, 1024));
    expect(heard()).toEqual(['UNMAP 0-1024']);
  });

  test('MAP_FIXED over a mapping: UNMAP of the new one\'s pages', async () => {
    const { rig, start, heard } = await mapped();
    rig.run(mmap(rig.mm, { npages: 512, prot: 1, shared: false, file: null, pgoff: 0, start: start + 512, fixed: 'fixed', sync: false, vmFlags: 0 }));
    expect(heard()).toEqual(['UNMAP 512-1024']);
  });
});
