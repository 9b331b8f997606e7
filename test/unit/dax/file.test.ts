import type { Sleepable } from '../../../dist/sched/index.js';
import { afterEach, describe, expect, test } from 'vitest';
import fc from 'fast-check';
import { MAX_FILE_BYTES, daxAllocate, daxFsync, daxPunch, daxRead, daxTruncate, daxWrite, daxZeroRange } from '../../../dist/dax/index.js';
import { HmmError } from '../../../dist/errno.js';
import { FS_PROFILES, FileSystem, type FsName, type Inode } from '../../../dist/fs/index.js';
import { munmap } from '../../../dist/mm/index.js';
import { DEVICE_BASE_PFN } from '../../../dist/page/index.js';
import { checkPgmaps, makeMachine, type Rig } from '../../support/rig.ts';
import { fileState } from '../../support/roomState.ts';

afterEach(checkPgmaps);

const bytesOf = (rig: Rig, inode: Inode, offset: number, length: number): Uint8Array => {
  const bytes = new Uint8Array(length).fill(0xee);
  return bytes.subarray(0, rig.run(daxRead(inode, offset, bytes)));
};
const code = (body: () => unknown): string => {
  try {
    body();
    return 'ok';
  } catch (error) {
    return HmmError.is(error) ? error.code : String(error);
  }
};

/**
 * Without the blocks that ext4 makes written around a write: a page of zeroes that is mapped over one is not unmapped by write(2), in the
 * kernel neither (recorded: dax-ext4-zeroout-stale).
 */
function faithful(rig: Rig, fs: FsName): FileSystem {
  const pgmap = rig.platform.pgmaps.register('pmem', 'fs-dax', DEVICE_BASE_PFN, 8192);
  return new FileSystem(rig.platform, { ...FS_PROFILES[fs], zeroesAroundPages: 0 }, pgmap);
}

describe('a file', () => {
  test('is what an array of bytes is, through any writes, truncates, punches, zeroes, allocations, stores and fsyncs', async () => {
    const SIZE = 40 * 4096;
    const place = fc.tuple(fc.oneof(fc.nat(SIZE - 1), fc.constantFrom(0, 4096, 4095, 8192, 20000)), fc.oneof(fc.integer({ min: 1, max: 9000 }), fc.constantFrom(4096, 1, 40960)));
    const op = fc.record({ op: fc.constantFrom('write', 'write', 'store', 'truncate', 'punch', 'zero', 'allocate', 'fsync', 'read'), place, value: fc.integer({ min: 1, max: 255 }) });
    await fc.assert(
      fc.asyncProperty(fc.constantFrom<FsName>('ext4', 'xfs'), fc.constantFrom(undefined, 1 as const, 512 as const), fc.array(op, { maxLength: 40, size: 'max' }), async (fs, unit, ops) => {
        const rig = await makeMachine({ arenaBytes: 32 * 2 ** 20 });
        const inode = faithful(rig, fs).create('f', unit);
        const { freePages } = inode.fs.allocator;
        const a = rig.map(inode, { npages: 64, at: 2 ** 20 });
        let model = new Uint8Array(0);
        const resize = (size: number): void => {
          const next = new Uint8Array(size);
          next.set(model.subarray(0, size));
          model = next;
        };
        for (const { op: name, place: [at, length], value } of ops) {
          const end = Math.min(at + length, SIZE);
          const inside = Math.min(end, model.length);
          if (name === 'write') {
            expect(rig.run(daxWrite(inode, at, new Uint8Array(end - at).fill(value)))).toBe(end - at);
            if (end > model.length) resize(end);
            model.fill(value, at, end);
          } else if (name === 'store') {
            const page = Math.floor(at / 4096);
            if (page * 4096 >= model.length) continue;
            rig.touch(a + page, 'w', value);
            model[page * 4096] = value;
          } else if (name === 'truncate') {
            rig.run(daxTruncate(inode, at));
            resize(at);
          } else if (name === 'punch') {
            rig.run(daxPunch(inode, at, end - at));
            model.fill(0, Math.min(at, model.length), inside);
          } else if (name === 'zero') {
            rig.run(daxZeroRange(inode, at, end - at, value % 2 === 0));
            if (value % 2 === 1 && end > model.length) resize(end);
            model.fill(0, Math.min(at, model.length), Math.min(end, model.length));
          } else if (name === 'allocate') {
            rig.run(daxAllocate(inode, at, end - at, value % 2 === 0));
            if (value % 2 === 1 && end > model.length) resize(end);
          } else if (name === 'fsync') rig.run(daxFsync(inode));
          expect(inode.size).toBe(model.length);
          expect(Buffer.compare(bytesOf(rig, inode, 0, SIZE + 1), model), `${name} ${at} ${length}`).toBe(0);
          for (let page = 0; page * 4096 < model.length; page += 3) expect(rig.touch(a + page, 'r')).toBe(model[page * 4096]);
        }
        rig.run(munmap(rig.mm, a, 64));
        rig.run(daxTruncate(inode, 0));
        expect(inode.fs.freePages).toBe(freePages);
        if (unit === undefined) expect(inode.extents.count).toBe(0);
      }),
      { numRuns: 100 },
    );
  });

  test('a write whose new blocks lie in two pieces is seen through the zero pages that were mapped over both', async () => {
    const rig = await makeMachine();
    const fs = rig.fileSystem(8192, 'ext4');
    const rest = fs.create('rest', 1);
    fs.allocate(rest, 0, fs.freePages);
    fs.setSize(rest, 4096 * 4096);
    for (const page of [100, 200]) rig.run(daxPunch(rest, page * 4096, 5 * 4096));
    rig.run(daxFsync(rest));
    const inode = fs.create('f', 1);
    rig.run(daxTruncate(inode, 40960));
    const a = rig.map(inode, { npages: 64 });
    const touch = (): number[] => Array.from({ length: 10 }, (_, page) => rig.touch(a + page, 'r'));
    touch();
    rig.run(daxWrite(inode, 0, new Uint8Array(40960).fill(1)));
    expect(inode.extents.count, 'new blocks apart from each other').toBe(2);
    expect(touch()).toEqual(Array.from({ length: 10 }, () => 1));
  });

  test('read stops at the end, and reads zero where nothing was written', async () => {
    const rig = await makeMachine();
    const inode = rig.fileSystem().create('f', 1);
    rig.run(daxWrite(inode, 10000, Uint8Array.of(1, 2, 3)));
    expect(inode.size).toBe(10003);
    expect([...bytesOf(rig, inode, 9998, 100)]).toEqual([0, 0, 1, 2, 3]);
    expect(bytesOf(rig, inode, 20000, 10)).toHaveLength(0);
    expect(inode.extents.pages).toBe(1);
  });
});

describe('bad input', () => {
  const cases: readonly (readonly [string, string, (rig: Rig, inode: Inode) => unknown])[] = [
    ['truncate to less than nothing', 'EINVAL', (rig, inode) => rig.run(daxTruncate(inode, -1))],
    ['truncate to half a byte', 'EINVAL', (rig, inode) => rig.run(daxTruncate(inode, 0.5))],
    ['truncate to NaN', 'EINVAL', (rig, inode) => rig.run(daxTruncate(inode, NaN))],
    ['truncate beyond the largest file', 'EFBIG', (rig, inode) => rig.run(daxTruncate(inode, MAX_FILE_BYTES + 1))],
    ['write beyond the largest file', 'EFBIG', (rig, inode) => rig.run(daxWrite(inode, MAX_FILE_BYTES, Uint8Array.of(1)))],
    ['punch of nothing', 'EINVAL', (rig, inode) => rig.run(daxPunch(inode, 0, 0))],
    ['punch before the file', 'EINVAL', (rig, inode) => rig.run(daxPunch(inode, -4096, 4096))],
    ['fallocate beyond the largest file', 'EFBIG', (rig, inode) => rig.run(daxAllocate(inode, 4096, MAX_FILE_BYTES, false))],
    ['zero range of a fraction', 'EINVAL', (rig, inode) => rig.run(daxZeroRange(inode, 0.25, 4096, false))],
  ];
  test.each(cases)('%s: %s, and nothing has changed', async (_name, errno, act) => {
    const rig = await makeMachine();
    const inode = rig.file({ npages: 4 });
    const before = fileState(inode);
    expect(code(() => act(rig, inode))).toBe(errno);
    expect(fileState(inode)).toEqual(before);
    expect([inode.rwsem.held, inode.invalidateLock.held]).toEqual([null, null]);
  });

  test('EIO once the file system is shut down; once the device is gone no bytes, and no changes after a failed sync', async () => {
    const rig = await makeMachine();
    const inode = rig.file({ npages: 4 });
    const acts = [() => bytesOf(rig, inode, 0, 1), () => rig.run(daxWrite(inode, 0, Uint8Array.of(1))), () => rig.run(daxTruncate(inode, 0)), () => rig.run(daxPunch(inode, 0, 4096)), () => rig.run(daxFsync(inode)), () => rig.run(daxAllocate(inode, 0, 4096, true))];
    inode.fs.shutDown = true;
    expect(acts.map(code)).toEqual(acts.map(() => 'EIO'));
    inode.fs.shutDown = false;
    rig.run(rig.platform.pgmaps.drain(inode.fs.pgmap));
    expect(acts.map(code)).toEqual(['ENXIO', 'ENXIO', 'ok', 'ok', 'EIO', 'EROFS']);
    const a = rig.map(null, { npages: 1 });
    expect(rig.touch(a, 'r')).toBe(0);
  });
});

describe('a pinned page', () => {
  test('keeps truncate and punch waiting, without the invalidate_lock, until it is let go', async () => {
    for (const change of ['truncate', 'punch'] as const) {
      const rig = await makeMachine();
      const inode = rig.file({ npages: 8, extentPages: 1 });
      const a = rig.map(inode, { npages: 8, at: 2 ** 20 });
      rig.touch(a + 2, 'w');
      const pfn = inode.fs.iomap(inode, 2, 3).pfn + 2 - inode.fs.iomap(inode, 2, 3).start;
      const { sched, records } = rig.platform;
      records.addRefs(pfn, 1);
      const body = (): Sleepable<void> => (change === 'truncate' ? daxTruncate(inode, 0) : daxPunch(inode, 0, 8 * 4096));
      expect(() => rig.run(body())).toThrow(/would wait for ever\n {2}main waits for a pinned page of file0/);
      const log: string[] = [];
      sched.spawn('change', (function* run() {
        yield* body();
        log.push('changed');
      })());
      sched.spawn('holder', (function* hold() {
        yield* sched.sleep(50);
        expect(inode.invalidateLock.held).toBeNull();
        expect(inode.size).toBe(8 * 4096);
        rig.touch(a + 2, 'r'); // faults still succeed
        log.push('let go');
        records.addRefs(pfn, -1);
      })());
      sched.run({ choose: (ready) => ready.length - 1 });
      expect(log, change).toEqual(['let go', 'changed']);
      expect(inode.extents.pages).toBe(0);
    }
  });

  test.each(['v6.12', 'lab'])('%s: a file that nobody maps any more is looked through only by a kernel that does', async (profile) => {
    const rig = await makeMachine({ profile });
    const inode = rig.file({ npages: 8, extentPages: 1 });
    const a = rig.map(inode, { npages: 8, at: 2 ** 20 });
    rig.touch(a, 'r');
    rig.run(munmap(rig.mm, a, 8));
    const { pfn } = inode.fs.iomap(inode, 0, 1);
    const breaches: string[] = [];
    rig.platform.bus.observe((event) => {
      if (event.type === 'breach') breaches.push(event.field);
    });
    rig.platform.records.addRefs(pfn, 1);
    if (profile === 'lab') expect(() => rig.run(daxTruncate(inode, 0))).toThrow(/would wait for ever/);
    else rig.run(daxTruncate(inode, 0));
    expect(breaches).toEqual(profile === 'lab' ? [] : ['unmappedLayoutsPass']);
    expect(inode.extents.pages).toBe(profile === 'lab' ? 8 : 0);
    rig.platform.records.addRefs(pfn, -1);
  });
});
