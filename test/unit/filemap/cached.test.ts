import { afterEach, describe, expect, test } from 'vitest';
import fc from 'fast-check';
import { FaultSignal } from '../../../dist/errno.js';
import { FILE_PAGES_MAX, type FsName } from '../../../dist/fs/index.js';
import { ShmemFile, munmap, openCachedFile, openShmem, type FileCalls, type MappedFile } from '../../../dist/mm/index.js';
import { checkPgmaps, makeMachine, type Rig } from '../../support/rig.ts';

afterEach(checkPgmaps);

type Kind = 'ext4' | 'xfs' | 'shmem';

/** A new file, open for everything, and once more past the cache where that can be. */
function open(rig: Rig, kind: Kind): { file: MappedFile; calls: FileCalls; direct: FileCalls | null } {
  if (kind === 'shmem') {
    const file = openShmem(new ShmemFile(rig.platform, { name: 'f', size: 0, huge: false }), true);
    return { file, calls: file.calls as FileCalls, direct: null };
  }
  const inode = rig.core.newFileSystem(kind, 8192, kind as FsName, false).create('f');
  const file = openCachedFile(inode, { writable: true, direct: false });
  return { file, calls: file.calls as FileCalls, direct: openCachedFile(inode, { writable: true, direct: true }).calls as FileCalls };
}

function bytesOf(rig: Rig, calls: FileCalls, length: number): Uint8Array {
  const bytes = new Uint8Array(length).fill(0xee);
  return bytes.subarray(0, rig.run(calls.read(0, bytes)));
}

const signal = (body: () => unknown): string => {
  try {
    body();
    return 'ok';
  } catch (error) {
    return FaultSignal.is(error) && 'signal' in error ? String(error.signal) : String(error);
  }
};

/** Which of `npages` pages from `start` on are mapped. */
const mapped = (rig: Rig, start: number, npages: number): number[] =>
  Array.from({ length: npages }, (_, i) => i).filter((i) => rig.mm.pageTable.look(start + i));

describe('a file in the page cache', () => {
  test('is what an array of bytes is, through any calls and stores; so is what the device has after fsync', async () => {
    const SIZE = 40 * 4096;
    const place = fc.tuple(fc.oneof(fc.nat(SIZE - 1), fc.constantFrom(0, 4096, 4095, 8192, 20000)), fc.oneof(fc.integer({ min: 1, max: 9000 }), fc.constantFrom(4096, 1, 40960)));
    const op = fc.record({ op: fc.constantFrom('write', 'write', 'store', 'truncate', 'punch', 'alloc', 'sync'), place, value: fc.integer({ min: 1, max: 255 }) });
    await fc.assert(
      fc.asyncProperty(fc.constantFrom<Kind>('ext4', 'xfs', 'shmem'), fc.constantFrom('v6.1', 'v6.12'), fc.array(op, { maxLength: 30, size: 'max' }), async (kind, profile, ops) => {
        const rig = await makeMachine({ arenaBytes: 32 * 2 ** 20, profile });
        const free = rig.platform.ram.freePages;
        const { file, calls, direct } = open(rig, kind);
        const a = rig.map(file, { npages: 64, at: 2 ** 20 });
        let model = new Uint8Array(0);
        const resize = (size: number): void => {
          const next = new Uint8Array(size);
          next.set(model.subarray(0, size));
          model = next;
        };
        for (const { op: name, place: [at, length], value } of ops) {
          const end = Math.min(at + length, SIZE);
          if (name === 'write') {
            expect(rig.run(calls.write(at, new Uint8Array(end - at).fill(value)))).toBe(end - at);
            if (end > model.length) resize(end);
            model.fill(value, at, end);
          } else if (name === 'store') {
            const page = Math.floor(at / 4096);
            if (page * 4096 >= model.length) continue;
            rig.touch(a + page, 'w', value);
            model[page * 4096] = value;
          } else if (name === 'truncate') {
            rig.run(calls.truncate(at));
            resize(at);
          } else if (name === 'punch') {
            rig.run(calls.fallocate('punch', at, end - at));
            model.fill(0, Math.min(at, model.length), Math.min(end, model.length));
          } else if (name === 'alloc') {
            rig.run(calls.fallocate('alloc', at, end - at));
            if (end > model.length) resize(end);
          } else rig.run(calls.sync(0, FILE_PAGES_MAX));
          expect(calls.stat().size).toBe(model.length);
          expect(Buffer.compare(bytesOf(rig, calls, SIZE + 1), model), `${kind} ${name} ${at} ${length}`).toBe(0);
          for (let page = 0; page * 4096 < model.length; page += 3) expect(rig.touch(a + page, 'r')).toBe(model[page * 4096]);
        }
        if (direct !== null) expect(Buffer.compare(bytesOf(rig, direct, 64 * 4096), model), 'past the cache').toBe(0);
        rig.run(munmap(rig.mm, a, 64));
        rig.run(calls.truncate(0));
        expect(rig.platform.ram.freePages, 'no page is left').toBe(free);
      }),
      { numRuns: 60 },
    );
  });

  test.each<Kind>(['ext4', 'xfs', 'shmem'])('%s: a read fault maps what is there of the 16 pages around it, a write fault its own', async (kind) => {
    const rig = await makeMachine();
    const { file, calls } = open(rig, kind);
    rig.run(calls.write(0, new Uint8Array(40 * 4096).fill(1)));
    const a = rig.map(file, { npages: 64, at: 2 ** 20 });
    rig.touch(a + 20, 'r');
    expect(mapped(rig, a, 64)).toEqual(Array.from({ length: 16 }, (_, i) => 16 + i));
    rig.touch(a + 3, 'w');
    expect(mapped(rig, a, 16)).toEqual([3]);
    rig.touch(a + 33, 'r');
    expect(mapped(rig, a + 32, 32)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  });

  test('who may not let go of mmap_lock gets the page alone that had to be read', async () => {
    const rig = await makeMachine();
    const { file, calls } = open(rig, 'ext4');
    rig.run(calls.truncate(64 * 4096));
    const a = rig.map(file, { npages: 64, at: 2 ** 20 });
    const device = rig.device('modern');
    const bytes = new Uint8Array(1);
    rig.run(device.read(a, 0, bytes));
    expect(mapped(rig, a, 64)).toEqual([0]);
    rig.touch(a + 1, 'r'); // its neighbours have been read in meanwhile
    expect(mapped(rig, a, 64)).toEqual(Array.from({ length: 16 }, (_, i) => i));
  });

  test.each<Kind>(['ext4', 'xfs'])('%s: a read of a shared mapping gives no right to write, and fsync takes it away again', async (kind) => {
    const rig = await makeMachine();
    const { file, calls } = open(rig, kind);
    rig.run(calls.write(0, new Uint8Array(8192)));
    const a = rig.map(file, { npages: 2 });
    const writable = (): boolean => (rig.entry(a).lo & 2) !== 0;
    rig.touch(a, 'r');
    expect(writable()).toBe(false);
    rig.touch(a, 'w');
    expect(writable()).toBe(true);
    rig.run(calls.sync(0, 2));
    expect(writable()).toBe(false);
    expect(rig.touch(a, 'r')).toBe(1);
  });

  test('of shmem a read gives all the rights of the area', async () => {
    const rig = await makeMachine();
    const { file, calls } = open(rig, 'shmem');
    rig.run(calls.truncate(4096));
    const a = rig.map(file, { npages: 1 });
    rig.touch(a, 'r');
    expect(rig.entry(a).lo & 2).toBe(2);
  });

  test.each<Kind>(['ext4', 'xfs', 'shmem'])('%s: truncate takes private copies, punch leaves them', async (kind) => {
    const rig = await makeMachine();
    const { file, calls } = open(rig, kind);
    rig.run(calls.write(0, new Uint8Array(8 * 4096).fill(5)));
    const p = rig.map(file, { npages: 8, shared: false });
    rig.touch(p + 1, 'w', 7);
    rig.touch(p + 6, 'w', 8);
    rig.touch(p + 2, 'r');
    rig.run(calls.fallocate('punch', 0, 4 * 4096));
    expect([rig.touch(p + 1, 'r'), rig.touch(p + 2, 'r')]).toEqual([7, 0]);
    rig.run(calls.truncate(4 * 4096));
    expect(signal(() => rig.touch(p + 6, 'r'))).toBe('SIGBUS');
    rig.run(calls.truncate(8 * 4096));
    expect(rig.touch(p + 6, 'r')).toBe(0);
  });

  test('a direct write leaves none of its range in the cache or mapped, and what was dirty in it is not lost', async () => {
    const rig = await makeMachine();
    const { file, calls, direct } = open(rig, 'ext4');
    rig.run(calls.write(0, new Uint8Array(8 * 4096).fill(1)));
    const a = rig.map(file, { npages: 8 });
    rig.touch(a + 2, 'w', 9);
    rig.touch(a + 5, 'w', 9);
    rig.run((direct as FileCalls).write(2 * 4096 + 512, new Uint8Array(1024).fill(3)));
    expect(mapped(rig, a, 8)).not.toContain(2);
    expect(mapped(rig, a, 8)).toContain(5);
    expect([rig.touch(a + 2, 'r'), rig.touch(a + 5, 'r')]).toEqual([9, 9]);
  });
});

describe('large folios', () => {
  test('a write of 4 MiB to XFS maps as 2 MiB where the kernel makes folios so large, and a truncate splits', async () => {
    for (const [profile, level] of [['v6.1', 0], ['v6.12', 1]] as const) {
      const rig = await makeMachine({ profile });
      const { file, calls } = open(rig, 'xfs');
      rig.run(calls.write(0, new Uint8Array(4 * 2 ** 20).fill(1)));
      const a = rig.map(file, { npages: 1024, at: 2 ** 20 });
      rig.touch(a + 700, 'r');
      expect(rig.entry(a + 700).level, profile).toBe(level);
      rig.run(calls.sync(0, 1024));
      rig.run(calls.truncate(600 * 4096));
      expect(rig.touch(a + 599, 'r')).toBe(1);
      expect(rig.entry(a + 599).level).toBe(0);
      expect(signal(() => rig.touch(a + 600, 'r'))).toBe('SIGBUS');
    }
  });
});
