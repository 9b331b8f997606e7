import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { daxAllocate, daxFsync, daxPunch, daxTruncate, daxWrite, daxZeroRange } from '../../../dist/dax/index.js';
import type { FileSystem, FsName, Inode } from '../../../dist/fs/index.js';
import { HmmError } from '../../../dist/errno.js';
import { checkPgmaps, makeMachine, type Rig } from '../../support/rig.ts';

afterEach(checkPgmaps);

async function fresh(name: FsName, npages = 196608): Promise<{ rig: Rig; fs: FileSystem }> {
  const rig = await makeMachine();
  return { rig, fs: rig.fileSystem(npages, name) };
}

/** Frames relative to the first of the device. */
const frame = (inode: Inode, index: number): number => {
  const map = inode.fs.iomap(inode, index, index + 1);
  return map.kind === 'hole' ? -1 : map.pfn + (index - map.start) - inode.fs.pgmap.basePfn;
};
const congruent = (inode: Inode, index: number, by = 512): boolean => (frame(inode, index) - index) % by === 0;

describe('ext4', () => {
  test('fallocate: powers of two from the buddies, whole stripes one by one, the rest where it fits (dax-ext4-falloc, -misaligned)', async () => {
    const { rig, fs } = await fresh('ext4');
    const [six, eight, three] = ['six', 'eight', 'three'].map((name) => fs.create(name)) as [Inode, Inode, Inode];
    rig.run(daxAllocate(six, 0, 1536 * 4096, false));
    rig.run(daxAllocate(eight, 0, 2048 * 4096, false));
    rig.run(daxAllocate(three, 0, 768 * 4096, false));
    expect([...six.extents].map(({ npages }) => npages), 'a stripe, then 4M from another group').toEqual([512, 1024]);
    expect([congruent(six, 0), congruent(six, 512)]).toEqual([true, true]);
    expect([...eight.extents].map(({ npages }) => npages)).toEqual([2048]);
    expect(congruent(eight, 0, 2048)).toBe(true);
    expect([...three.extents].map(({ npages }) => npages)).toEqual([768]);
    expect(congruent(three, 0), 'cannot be mapped by 2M').toBe(false);
  });

  test('pages of a larger file that are written one by one, in any order, come to lie congruent (dax-ext4-write-syscall)', async () => {
    const { rig, fs } = await fresh('ext4');
    const inode = fs.create('f');
    rig.run(daxTruncate(inode, 1024 * 4096));
    for (const page of [2, 700, 3, 0, 511, 512, 1023]) rig.run(daxWrite(inode, page * 4096, Uint8Array.of(1)));
    for (const page of [2, 700, 3, 0, 511, 512, 1023]) expect(congruent(inode, page), `page ${page}`).toBe(true);
    expect(inode.extents.pages).toBe(7);
  });

  test('a window stays of the whole hole only: what fills a small one lies anywhere (dax-ext4-punch 20)', async () => {
    const { rig, fs } = await fresh('ext4');
    const inode = fs.create('f');
    rig.run(daxAllocate(inode, 0, 1536 * 4096, false));
    const was = frame(inode, 16);
    rig.run(daxPunch(inode, 16 * 4096, 8192));
    rig.run(daxWrite(inode, 16 * 4096, new Uint8Array(8192)));
    expect(congruent(inode, 16)).toBe(false);
    expect(frame(inode, 16), 'blocks just freed are not used before the commit').not.toBe(was);
    expect(frame(inode, 17)).toBe(frame(inode, 16) + 1);
  });

  test('small files share a stripe, in the order in which their pages come', async () => {
    const { rig, fs } = await fresh('ext4');
    const [f, g] = [fs.create('f'), fs.create('g')];
    rig.run(daxWrite(f, 2 * 4096, Uint8Array.of(1)));
    rig.run(daxWrite(g, 0, Uint8Array.of(1)));
    rig.run(daxWrite(f, 0, Uint8Array.of(1)));
    expect([frame(g, 0), frame(f, 0)]).toEqual([frame(f, 2) + 1, frame(f, 2) + 2]);
    expect(frame(f, 2) % 512).toBe(0);
  });

  test('ZERO_RANGE keeps the blocks', async () => {
    const { rig, fs } = await fresh('ext4');
    const inode = fs.create('f');
    rig.run(daxWrite(inode, 0, new Uint8Array(1024 * 4096).fill(1)));
    const before = [0, 511, 700].map((page) => frame(inode, page));
    rig.run(daxZeroRange(inode, 0, 1024 * 4096, false));
    expect([0, 511, 700].map((page) => frame(inode, page))).toEqual(before);
    expect([...inode.extents].every(({ state }) => state === 'unwritten')).toBe(true);
  });
});

describe('XFS', () => {
  test('what is a stripe long and beyond every extent is aligned, or goes on from the last one', async () => {
    const { rig, fs } = await fresh('xfs');
    const inode = fs.create('f');
    rig.run(daxAllocate(inode, 0, 1536 * 4096, false));
    expect([...inode.extents].map(({ npages }) => npages)).toEqual([1536]);
    expect(congruent(inode, 0)).toBe(true);
    rig.run(daxAllocate(inode, 1536 * 4096, 600 * 4096, false));
    expect([...inode.extents].map(({ npages }) => npages)).toEqual([2136]);
  });

  test('less is not, and follows its neighbour (dax-xfs-two-mappings 16)', async () => {
    const { rig, fs } = await fresh('xfs');
    const inode = fs.create('f');
    rig.run(daxTruncate(inode, 512 * 4096));
    for (const page of [2, 0, 1, 3, 4]) rig.run(daxWrite(inode, page * 4096, Uint8Array.of(1)));
    const first = frame(inode, 2);
    expect([0, 1, 2, 3, 4].map((page) => frame(inode, page) - first)).toEqual([1, 2, 0, 3, 4]);
    expect(congruent(inode, 2)).toBe(false);
  });

  test('ZERO_RANGE takes other blocks (dax-xfs-sticky-4k 19)', async () => {
    const { rig, fs } = await fresh('xfs');
    const inode = fs.create('f');
    rig.run(daxAllocate(inode, 0, 1024 * 4096, false));
    const was = frame(inode, 0);
    rig.run(daxZeroRange(inode, 0, 512 * 4096, false));
    expect([frame(inode, 0), frame(inode, 512)]).toEqual([was + 1024, was + 512]);
  });

  test('a write beyond the end of a file of a stripe takes a stripe (dax-xfs-write-syscall: 514 pages)', async () => {
    const { rig, fs } = await fresh('xfs');
    const inode = fs.create('f');
    rig.run(daxTruncate(inode, 1024 * 4096));
    rig.run(daxWrite(inode, 8192, Uint8Array.of(1)));
    rig.run(daxWrite(inode, 12288, Uint8Array.of(1)));
    rig.run(daxWrite(inode, 1024 * 4096, Uint8Array.of(1)));
    expect(inode.extents.pages).toBe(514);
  });
});

describe('a file with an extent size of its own', () => {
  test('2M and 1G: whole aligned units, a small write too; 4K: nothing that a 2M entry could map', async () => {
    for (const name of ['ext4', 'xfs'] as const) {
      const { rig, fs } = await fresh(name, 4 * 262144);
      const [small, two, giant] = [fs.create('4k', 1), fs.create('2m', 512), fs.create('1g', 262144)];
      for (const inode of [small, two, giant]) {
        rig.run(daxTruncate(inode, 262144 * 4096));
        rig.run(daxWrite(inode, 700 * 4096, new Uint8Array(4096)));
      }
      expect([small, two, giant].map(({ extents }) => extents.pages)).toEqual([1, 512, 262144]);
      expect([congruent(two, 700), congruent(giant, 700, 262144)]).toEqual([true, true]);
      const long = fs.create('long', 1);
      fs.allocateWritten(long, 0, 5000);
      for (let page = 0; page < 5000; page += 512) expect(congruent(long, page), `${name}: page ${page}`).toBe(false);
      rig.run(daxTruncate(long, 0));
    }
  });

  test('takes what there is where no unit is free', async () => {
    const { rig, fs } = await fresh('ext4', 2048);
    const filler = fs.create('filler', 1);
    fs.allocate(filler, 0, fs.allocator.freePages - 100);
    const inode = fs.create('f', 512);
    rig.run(daxTruncate(inode, 1024 * 4096));
    rig.run(daxWrite(inode, 0, new Uint8Array(4096).fill(1)));
    expect(inode.extents.pages).toBe(1);
  });
});

describe('blocks that are freed', () => {
  test('are free at once, used again after a commit, and before ENOSPC', async () => {
    const { rig, fs } = await fresh('ext4', 4096);
    const [f, g] = [fs.create('f', 512), fs.create('g', 512)];
    fs.allocateWritten(f, 0, 512);
    const was = frame(f, 0);
    const free = fs.allocator.freePages;
    rig.run(daxTruncate(f, 0));
    expect(fs.allocator.freePages).toBe(free + 512);
    expect(fs.allocator.isFree(fs.pgmap.basePfn + was, 512)).toBe(true);
    fs.allocateWritten(g, 0, 512);
    expect(frame(g, 0)).not.toBe(was);
    rig.run(daxFsync(g));
    fs.allocateWritten(g, 512, 512);
    expect(frame(g, 512)).toBe(was);
    rig.run(daxTruncate(g, 0));
    fs.allocate(f, 0, fs.allocator.freePages);
    expect(fs.allocator.freePages).toBe(0);
  });

  test('every block is in one file or free, whatever is done', async () => {
    const op = fc.record({ file: fc.nat(3), what: fc.constantFrom('write', 'write', 'allocate', 'punch', 'truncate', 'zero', 'fsync'), at: fc.nat(3000), npages: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constantFrom(512, 1024, 2048)) });
    await fc.assert(
      fc.asyncProperty(fc.constantFrom<FsName>('ext4', 'xfs'), fc.array(op, { maxLength: 40, size: 'max' }), async (name, ops) => {
        const { rig, fs } = await fresh(name, 9000);
        const files = [fs.create('a'), fs.create('b'), fs.create('c', 512), fs.create('d', 1)];
        for (const { file, what, at, npages } of ops) {
          const inode = files[file] as Inode;
          const before = [...inode.extents];
          try {
            if (what === 'write') fs.allocateWritten(inode, at, npages);
            else if (what === 'allocate') rig.run(daxAllocate(inode, at * 4096, npages * 4096, false));
            else if (what === 'punch') rig.run(daxPunch(inode, at * 4096, npages * 4096));
            else if (what === 'truncate') rig.run(daxTruncate(inode, at * 4096));
            else if (what === 'zero') rig.run(daxZeroRange(inode, at * 4096, npages * 4096, true));
            else rig.run(daxFsync(inode));
          } catch (error) {
            if (!HmmError.is(error, 'ENOSPC')) throw error;
            expect([...inode.extents]).toEqual(before);
          }
          const owned = new Set<number>();
          for (const one of files) {
            for (const { pfn, npages: length } of one.extents) {
              expect(fs.allocator.isFree(pfn, 1)).toBe(false);
              for (let i = 0; i < length; i++) owned.add(pfn + i);
            }
          }
          expect(owned.size).toBe(files.reduce((sum, one) => sum + one.extents.pages, 0));
          expect(owned.size + fs.allocator.freePages).toBe(fs.allocator.npages);
        }
      }),
      { numRuns: 60 },
    );
  });
});

describe('names', () => {
  test('create, look up, unlink; the blocks of a deleted file go with the last who uses it', async () => {
    const { rig, fs } = await fresh('ext4');
    const inode = fs.create('f', 1);
    expect(() => fs.create('f')).toThrow(/EEXIST/);
    expect(fs.lookup('f')).toBe(inode);
    expect(() => fs.lookup('g')).toThrow(/ENOENT/);
    fs.allocateWritten(inode, 0, 8);
    fs.setSize(inode, 8 * 4096);
    const a = rig.map(inode, { npages: 8 });
    rig.touch(a, 'w', 5);
    const evicted: string[] = [];
    fs.onEvict = ({ name }) => evicted.push(name);
    fs.unlink(inode);
    expect(() => fs.unlink(inode)).toThrow(/ENOENT/);
    expect(rig.touch(a, 'r')).toBe(5);
    expect(evicted).toEqual([]);
    const { munmap } = await import('../../../dist/mm/index.js');
    rig.run(munmap(rig.mm, a, 4));
    expect(inode.extents.pages).toBe(8);
    rig.run(munmap(rig.mm, a, 8));
    expect([inode.extents.pages, evicted, fs.allocator.freePages]).toEqual([0, ['f'], fs.allocator.npages]);
  });
});
