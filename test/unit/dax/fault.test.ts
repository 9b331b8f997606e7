import { afterEach, describe, expect, test } from 'vitest';
import { daxAllocate, daxFsync, daxPunch, daxRead, daxTruncate, daxWrite, entriesOf, entryFlags, DAX_DIRTY, DAX_ZERO } from '../../../dist/dax/index.js';
import type { Inode } from '../../../dist/fs/index.js';
import { exitMm, madviseDontneed, madviseHuge, mprotect, munmap } from '../../../dist/mm/index.js';
import { framePfn } from '../../../dist/pgtable/index.js';
import { listen } from '../../support/listener.ts';
import { checkPgmaps, makeMachine, type Rig } from '../../support/rig.ts';

afterEach(checkPgmaps);

const AT = 2 ** 20;
const GIB = 262144;

/** A file of written blocks in aligned units. */
function blocks(rig: Rig, npages: number, extentPages: 1 | 512 | 262144 = 512): Inode {
  const fs = rig.fileSystem(npages > 32768 ? 4 * GIB : 65536);
  const inode = fs.create('f', extentPages);
  fs.allocateWritten(inode, 0, npages);
  fs.setSize(inode, npages * 4096);
  return inode;
}

const leaf = (rig: Rig, vpn: number): { level: number; pfn: number; writable: boolean; dirty: boolean; special: boolean; devmap: boolean } => {
  const { level, lo, hi } = rig.entry(vpn);
  const devmapBit = rig.platform.profile.devmapBit;
  return { level, pfn: framePfn(lo, hi), writable: (lo & 2) !== 0, dirty: (lo & 0x40) !== 0, special: (lo & 0x200) !== 0, devmap: Math.floor(hi / 2 ** (devmapBit - 32)) % 2 === 1 };
};

/** Entries of the file's page cache: 'first page/level flags'. */
function entries(inode: Inode): string[] {
  const found: string[] = [];
  entriesOf(inode).forEach(0, 2 ** 52, (base, level, entry) => found.push(`${base}/${level}${(entryFlags(entry) & DAX_ZERO) !== 0 ? ' zero' : ''}${(entryFlags(entry) & DAX_DIRTY) !== 0 ? ' dirty' : ''}`));
  return found;
}

describe('what a fault maps', () => {
  test('a read: the block, read only; then a write: the same entry, writable and dirty', async () => {
    for (const [profile, extentPages, level] of [['v6.1', 1, 0], ['v6.1', 512, 1], ['v6.12', 512, 1], ['lab', GIB, 2]] as const) {
      const rig = await makeMachine({ profile });
      const inode = blocks(rig, extentPages === GIB ? GIB : 1024, extentPages);
      const a = rig.map(inode, { npages: extentPages === GIB ? GIB : 1024, at: GIB });
      const { pfn } = inode.fs.iomap(inode, 0, 1);
      rig.touch(a + 3, 'r');
      const first = level === 0 ? a + 3 : a;
      const here = { level, pfn: level === 0 ? pfn + 3 : pfn, special: level === 0, devmap: true };
      expect(leaf(rig, first), profile).toEqual({ ...here, writable: false, dirty: false });
      rig.touch(a + 3, 'w');
      expect(leaf(rig, first)).toEqual({ ...here, writable: true, dirty: true });
      expect(rig.platform.records.refs(pfn), 'a mapping takes no reference').toBe(1);
      expect(rig.platform.records.mappings(pfn)).toBe(0);
    }
  });

  test('a hole that is read: the page of zeroes, special when small, no devmap; then blocks where it is written to', async () => {
    for (const [npages, level] of [[64, 0], [1024, 1]] as const) {
      const rig = await makeMachine({ profile: 'v6.12' });
      const inode = rig.fileSystem().create('f', npages === 64 ? 1 : 512);
      inode.fs.setSize(inode, npages * 4096);
      const a = rig.map(inode, { npages, at: AT });
      rig.touch(a + 3, 'r');
      const first = level === 0 ? a + 3 : a;
      expect(leaf(rig, first)).toEqual({ level, pfn: level === 0 ? rig.platform.ram.zeroPfn : rig.platform.ram.hugeZeroPfn, writable: false, dirty: false, special: level === 0, devmap: false });
      expect(entries(inode)).toEqual([level === 0 ? '3/0 zero' : '0/1 zero']);
      expect(inode.extents.pages).toBe(0);
      rig.touch(a + 3, 'w', 9);
      expect(leaf(rig, first)).toMatchObject({ level, writable: true, dirty: true, devmap: true });
      expect(entries(inode)).toEqual([level === 0 ? '3/0 dirty' : '0/1 dirty']);
      expect(inode.extents.pages).toBe(level === 0 ? 1 : 512);
      expect(rig.touch(a + (level === 0 ? 3 : 4), 'r')).toBe(level === 0 ? 9 : 0);
    }
  });

  test('unwritten blocks read zero, whatever lay there before; a write makes them written', async () => {
    const rig = await makeMachine();
    const old = rig.file({ npages: 1024 });
    rig.run(daxTruncate(old, 0));
    rig.run(daxFsync(old)); // the blocks may be used again
    const inode = old.fs.create('new', 512);
    rig.run(daxAllocate(inode, 0, 1024 * 4096, false));
    const a = rig.map(inode, { npages: 1024, at: AT });
    expect(rig.touch(a + 5, 'r')).toBe(0);
    expect(leaf(rig, a).pfn).toBe(rig.platform.ram.hugeZeroPfn);
    rig.touch(a + 5, 'w', 7);
    expect([rig.touch(a + 5, 'r'), rig.touch(a + 6, 'r'), rig.touch(a + 511, 'r')]).toEqual([7, 0, 0]);
    expect([...inode.extents].map(({ block, npages, state }) => `${block}+${npages} ${state}`)).toEqual(['0+512 mapped', '512+512 unwritten']);
  });

  test('beyond the end of the file: SIGBUS, on the page that holds the end not', async () => {
    const rig = await makeMachine();
    const inode = blocks(rig, 1024);
    inode.fs.setSize(inode, 5 * 4096 + 1);
    const a = rig.map(inode, { npages: 1024, at: AT });
    expect(rig.touch(a + 5, 'r')).toBe(0);
    for (const how of ['r', 'w'] as const) {
      expect(() => rig.touch(a + 6, how)).toThrow(/SIGBUS ADRERR/);
      expect(() => rig.touch(a + 700, how)).toThrow(/SIGBUS ADRERR/);
    }
    rig.run(munmap(rig.mm, a, 5));
    expect(rig.mm.pageTable.nextEntry(a + 512, a + 1024, 1), 'no table was left for what failed').toBe(-1);
  });
});

describe('2M falls back to 4K', () => {
  const level = (rig: Rig, vpn: number): number => rig.entry(vpn).level;

  test('where file page and address are not congruent', async () => {
    const rig = await makeMachine();
    const inode = blocks(rig, 2048);
    const a = rig.map(inode, { npages: 1024, at: AT + 1 });
    const b = rig.map(inode, { npages: 1024, at: AT + 4096, pgoff: 1 });
    const c = rig.map(inode, { npages: 1024, at: AT + 8193, pgoff: 513 });
    const d = rig.map(inode, { npages: 1024, at: AT + 16384 });
    for (const vpn of [a + 600, b + 600, c + 600, d + 600]) rig.touch(vpn, 'r');
    expect([level(rig, a + 600), level(rig, b + 600)]).toEqual([0, 0]);
    expect(level(rig, c + 600), 'congruent, and no small entries there').toBe(1);
    expect(level(rig, d + 600), 'congruent, but the entries are small by now').toBe(0);
  });

  test('where the 2M does not lie in the area', async () => {
    const rig = await makeMachine();
    const inode = blocks(rig, 2048);
    const a = rig.map(inode, { npages: 600, at: AT });
    rig.touch(a, 'r');
    rig.touch(a + 590, 'r');
    expect([level(rig, a), level(rig, a + 590)]).toEqual([1, 0]);
  });

  test('where its last page is not in the file', async () => {
    const rig = await makeMachine();
    const inode = blocks(rig, 1024);
    inode.fs.setSize(inode, 1023 * 4096);
    const a = rig.map(inode, { npages: 1024, at: AT });
    rig.touch(a + 600, 'r');
    rig.touch(a, 'r');
    expect([level(rig, a), level(rig, a + 600)]).toEqual([1, 0]);
    inode.fs.setSize(inode, 1023 * 4096 + 1);
    const b = rig.map(inode, { npages: 1024, at: AT + 4096 });
    rig.touch(b + 600, 'r');
    expect(level(rig, b + 600), 'but a small entry is there now').toBe(0);
  });

  test('where blocks are not contiguous, not aligned, or partly missing', async () => {
    const rig = await makeMachine();
    const fs = rig.fileSystem();
    const odd = fs.create('odd', 1);
    fs.allocateWritten(odd, 0, 1024);
    fs.setSize(odd, 1024 * 4096);
    const a = rig.map(odd, { npages: 1024, at: AT });
    rig.touch(a, 'r');
    expect(level(rig, a)).toBe(0);
    const holey = fs.create('holey', 512);
    fs.allocateWritten(holey, 0, 1024);
    fs.setSize(holey, 1024 * 4096);
    rig.run(daxPunch(holey, 600 * 4096, 4096));
    const b = rig.map(holey, { npages: 1024, at: AT + 4096 });
    rig.touch(b + 512, 'w');
    rig.touch(b + 600, 'r');
    expect([level(rig, b + 512), level(rig, b + 600)]).toEqual([0, 0]);
    expect(holey.extents.pages, 'a write beside a hole fills nothing').toBe(1023);
  });

  test('a write fault of 2M takes blocks for the hole that its first page is in, and no further', async () => {
    const rig = await makeMachine();
    const fs = rig.fileSystem();
    const inode = fs.create('f');
    fs.setSize(inode, 1024 * 4096);
    fs.allocateWritten(inode, 500, 1);
    const a = rig.map(inode, { npages: 1024, at: AT });
    rig.touch(a + 3, 'w');
    expect(level(rig, a + 3)).toBe(0);
    expect(inode.extents.pages).toBe(501);
    const b = rig.map(inode, { npages: 1024, at: AT + 4096 });
    fs.allocateWritten(inode, 512, 1);
    rig.touch(b + 800, 'w');
    expect(inode.extents.pages, 'its first page is no hole').toBe(503);
  });

  test('for a private write, with NOHUGEPAGE, and while a table of small pages is there', async () => {
    const rig = await makeMachine();
    const inode = blocks(rig, 2048);
    const a = rig.map(inode, { npages: 512, at: AT, shared: false });
    rig.touch(a + 3, 'w');
    expect(level(rig, a + 3)).toBe(0);
    const b = rig.map(inode, { npages: 512, at: AT + 4096, pgoff: 512, smallPages: true });
    rig.touch(b, 'r');
    expect(level(rig, b)).toBe(0);
    rig.run(daxFsync(inode));
    const c = rig.map(inode, { npages: 512, at: AT + 8192, pgoff: 1024 });
    rig.run(madviseHuge(rig.mm, c, 512, false));
    rig.touch(c, 'r');
    rig.run(madviseHuge(rig.mm, c, 512, true));
    rig.touch(c + 1, 'r');
    expect(level(rig, c + 1)).toBe(0);
    rig.run(madviseDontneed(rig.mm, c, 512));
    rig.touch(c, 'r');
    expect(level(rig, c), 'small entries are never made one').toBe(0);
  });

  test('small entries stay through DONTNEED, fsync and munmap, and go when their blocks are punched or truncated (dax-ext4-sticky-4k)', async () => {
    const rig = await makeMachine();
    const inode = blocks(rig, 1024);
    const skewed = rig.map(inode, { npages: 512, at: AT + 4097 });
    rig.touch(skewed + 8, 'w');
    const a = rig.map(inode, { npages: 1024, at: AT });
    const levels = (): number[] => {
      rig.run(madviseDontneed(rig.mm, a, 1024));
      rig.run(munmap(rig.mm, a, 1024));
      rig.map(inode, { npages: 1024, at: AT });
      for (const i of [0, 512]) rig.touch(a + i, 'w');
      return [level(rig, a), level(rig, a + 512)];
    };
    expect(levels()).toEqual([0, 1]);
    rig.run(daxFsync(inode));
    rig.run(munmap(rig.mm, skewed, 512));
    expect(levels()).toEqual([0, 1]);
    rig.run(daxTruncate(inode, 0));
    rig.run(daxTruncate(inode, 1024 * 4096));
    expect(levels()).toEqual([1, 1]);
  });

  test('a 4K fault inside a 2M entry maps its page of it, and dirties all of the entry', async () => {
    const rig = await makeMachine({ profile: 'v6.12' });
    const inode = blocks(rig, 512);
    const a = rig.map(inode, { npages: 512, at: AT });
    rig.touch(a, 'r');
    expect(entries(inode)).toEqual(['0/1']);
    const b = rig.map(inode, { npages: 512, at: AT + 4097 });
    rig.touch(b + 7, 'w');
    expect(level(rig, b + 7)).toBe(0);
    expect(leaf(rig, b + 7).pfn).toBe(leaf(rig, a).pfn + 7);
    expect(entries(inode)).toEqual(['0/1 dirty']);
  });
});

describe('the 1G leaf of the lab', () => {
  test('only there, only for files that ask for such extents, and with the same reasons to fall back', async () => {
    for (const [profile, extentPages, npages, want] of [['lab', GIB, GIB, 2], ['v6.12', GIB, GIB, 1], ['lab', 512, GIB, 1], ['lab', GIB, GIB - 1, 1]] as const) {
      const rig = await makeMachine({ profile });
      const inode = blocks(rig, GIB, extentPages);
      const a = rig.map(inode, { npages, at: GIB });
      rig.touch(a + 70000, 'w');
      expect(rig.entry(a + 70000).level, `${profile}, extents of ${extentPages}, ${npages} mapped`).toBe(want);
    }
  });

  test('a part that goes takes the whole leaf with it, with a CLEAR of its own', async () => {
    const rig = await makeMachine({ profile: 'lab' });
    const inode = blocks(rig, GIB, GIB);
    const a = rig.map(inode, { npages: GIB, at: GIB });
    rig.touch(a, 'w', 5);
    const { heard } = listen(rig.mm, a, GIB);
    rig.run(mprotect(rig.mm, a + 1024, 512, 1));
    expect(heard()).toContain(`CLEAR 0-${GIB}`);
    expect(rig.touch(a, 'r')).toBe(5);
    expect(rig.entry(a).level).toBe(1);
  });
});

describe('private mappings', () => {
  test('a write copies the page, of a block or of a hole; the file does not see it', async () => {
    const rig = await makeMachine();
    const inode = rig.file({ npages: 16, extentPages: 1 });
    rig.run(daxPunch(inode, 3 * 4096, 4096));
    const a = rig.map(inode, { npages: 16, at: AT, shared: false });
    for (const i of [2, 3]) {
      if (i === 2) rig.touch(a + i, 'r');
      rig.touch(a + i, 'w', 200);
      expect(rig.touch(a + i, 'r')).toBe(200);
      expect(leaf(rig, a + i).pfn).toBeLessThan(2 ** 28);
    }
    const bytes = new Uint8Array(4096 * 4);
    rig.run(daxRead(inode, 0, bytes));
    expect([bytes[2 * 4096], bytes[3 * 4096]]).toEqual([3, 0]);
    expect(inode.extents.pages).toBe(15);
  });

  test('copies survive a punch, not a truncate; DONTNEED brings the file back', async () => {
    const rig = await makeMachine();
    const inode = rig.file({ npages: 16, extentPages: 1 });
    const a = rig.map(inode, { npages: 16, at: AT, shared: false });
    for (const i of [2, 8]) rig.touch(a + i, 'w', 200);
    rig.run(daxPunch(inode, 0, 16 * 4096));
    expect([rig.touch(a + 2, 'r'), rig.touch(a + 3, 'r')]).toEqual([200, 0]);
    rig.run(daxTruncate(inode, 5 * 4096));
    expect(rig.touch(a + 2, 'r')).toBe(200);
    expect(() => rig.touch(a + 8, 'r')).toThrow(/SIGBUS/);
    rig.run(madviseDontneed(rig.mm, a, 16));
    expect(rig.touch(a + 2, 'r')).toBe(0);
    rig.run(exitMm(rig.mm));
    expect(rig.platform.ram.freePages).toBe(rig.platform.ram.npages);
  });

  test('write(2) is seen where there is no copy', async () => {
    const rig = await makeMachine();
    const inode = rig.file({ npages: 16, extentPages: 1 });
    const a = rig.map(inode, { npages: 16, at: AT, shared: false });
    rig.touch(a + 1, 'r');
    rig.touch(a + 2, 'w', 200);
    rig.run(daxWrite(inode, 4096, new Uint8Array(8192).fill(77)));
    expect([rig.touch(a + 1, 'r'), rig.touch(a + 2, 'r')]).toEqual([77, 200]);
  });
});

describe('MAP_SYNC', () => {
  test('no writable entry before the metadata is durable; a write fault makes it so', async () => {
    const rig = await makeMachine({ profile: 'v6.12' });
    const inode = blocks(rig, 1024);
    expect(inode.metadataDirty).toBe(true);
    const a = rig.map(inode, { npages: 1024, at: AT, sync: true });
    const log: string[] = [];
    rig.platform.bus.observe((event) => {
      if (event.type === 'entry') log.push(`${event.write ? 'writable' : 'read only'}, metadata ${inode.metadataDirty ? 'dirty' : 'durable'}`);
    });
    rig.touch(a, 'r');
    expect(log).toEqual(['read only, metadata dirty']);
    rig.touch(a, 'w');
    expect(log).toEqual(['read only, metadata dirty', 'writable, metadata durable']);
    expect(entries(inode)).toEqual(['0/1 dirty']);
    rig.touch(a + 512, 'w');
    expect(log[2], 'nothing to sync any more').toBe('writable, metadata durable');
  });

  test('a plain mapping beside it does not sync; a hole that is allocated makes the metadata dirty again', async () => {
    const rig = await makeMachine({ profile: 'v6.12' });
    const inode = blocks(rig, 512);
    inode.fs.setSize(inode, 1024 * 4096);
    const plain = rig.map(inode, { npages: 1024, at: AT });
    rig.touch(plain, 'w');
    expect(inode.metadataDirty).toBe(true);
    const sync = rig.map(inode, { npages: 1024, at: AT + 4096, sync: true });
    rig.touch(sync, 'w');
    expect(inode.metadataDirty).toBe(false);
    rig.touch(plain + 600, 'w');
    expect(inode.metadataDirty).toBe(true);
    rig.touch(sync + 600, 'r');
    expect(inode.metadataDirty).toBe(true);
    rig.touch(sync + 601, 'w');
    expect(inode.metadataDirty).toBe(false);
  });

  test('its write-back takes write from others: in 6.1 also for what was only read (dax-ext4-sync 9)', async () => {
    for (const [profile, want] of [['v6.1', ['PROTECTION_PAGE 0-512']], ['v6.12', []]] as const) {
      const rig = await makeMachine({ profile });
      const inode = blocks(rig, 512);
      const a = rig.map(inode, { npages: 512, at: AT, sync: true });
      rig.touch(a, 'r');
      const { heard } = listen(rig.mm, a, 512);
      rig.touch(a, 'w');
      expect(heard(), profile).toEqual(want);
    }
  });
});

describe('no room', () => {
  test('a write fault that finds no block: SIGBUS, and nothing has changed (dax-ext4-no-space)', async () => {
    const rig = await makeMachine();
    const fs = rig.fileSystem(4096);
    const inode = fs.create('f');
    fs.setSize(inode, 1024 * 4096);
    const rest = fs.create('rest', 1);
    fs.allocate(rest, 0, fs.freePages);
    const a = rig.map(inode, { npages: 1024, at: AT });
    rig.touch(a, 'r');
    const { heard } = listen(rig.mm, a, 1024);
    const before = entries(inode);
    expect(() => rig.touch(a, 'w')).toThrow(/SIGBUS ADRERR/);
    expect(() => rig.touch(a + 600, 'w')).toThrow(/SIGBUS ADRERR/);
    expect([inode.extents.count, fs.freePages]).toEqual([0, 0]);
    expect(before).toEqual(['0/1 zero dirty']);
    expect(rig.touch(a, 'r')).toBe(0);
    // The 2M page of zeroes went on the way to 4K.
    expect(heard().every((one) => one.startsWith('CLEAR 0-512'))).toBe(true);
    rig.run(daxTruncate(rest, 0));
    rig.touch(a, 'w', 4);
    expect(rig.touch(a, 'r')).toBe(4);
  });
});
