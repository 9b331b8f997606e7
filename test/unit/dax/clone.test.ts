import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { daxAllocate, daxClone, daxCollapse, daxInsert, daxPunch, daxRead, daxTruncate, daxUnshare, daxWrite, daxZeroRange } from '../../../dist/dax/index.js';
import { HmmError } from '../../../dist/errno.js';
import type { Inode } from '../../../dist/fs/index.js';
import { munmap } from '../../../dist/mm/index.js';
import { checkPgmaps, makeMachine, type Rig } from '../../support/rig.ts';

afterEach(checkPgmaps);

const PAGE = 4096;

async function files(profile = 'v6.12'): Promise<{ rig: Rig; f: Inode; g: Inode }> {
  const rig = await makeMachine({ profile, arenaBytes: 64 * 2 ** 20 });
  const fs = rig.fileSystem(16384, 'xfs');
  return { rig, f: fs.create('f'), g: fs.create('g') };
}

function errno(body: () => unknown): string {
  try {
    body();
  } catch (error) {
    if (HmmError.is(error)) return error.code;
    throw error;
  }
  return 'ok';
}

const contents = (rig: Rig, inode: Inode): Uint8Array => {
  const bytes = new Uint8Array(inode.size);
  rig.run(daxRead(inode, 0, bytes));
  return bytes;
};

const all = { from: 0, length: 0, to: 0 };

describe('files that share blocks', () => {
  test('each has its own bytes, whatever is done to either, and blocks go back when nobody has them', async () => {
    const SIZE = 24 * PAGE;
    const op = fc.record({
      file: fc.boolean(),
      op: fc.constantFrom('write', 'write', 'store', 'clone', 'clone', 'truncate', 'punch', 'zero', 'unshare', 'allocate', 'collapse', 'insert'),
      at: fc.nat(SIZE - 1),
      length: fc.integer({ min: 1, max: 20000 }),
      value: fc.integer({ min: 1, max: 255 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(op, { maxLength: 16, size: 'max' }), async (ops) => {
        const { rig, f, g } = await files();
        const { freePages } = f.fs.allocator;
        const at = new Map([[f, rig.map(f, { npages: 64 })], [g, rig.map(g, { npages: 64 })]]);
        const model = new Map<Inode, number[]>([[f, []], [g, []]]);
        const grow = (bytes: number[], size: number): void => {
          while (bytes.length < size) bytes.push(0);
        };
        for (const { file, op: name, at: offset, length, value } of ops) {
          const [inode, other] = file ? [f, g] : [g, f];
          const bytes = model.get(inode)!;
          const page = Math.floor(offset / PAGE);
          if (name === 'write') {
            rig.run(daxWrite(inode, offset, new Uint8Array(length).fill(value)));
            grow(bytes, offset + length);
            bytes.fill(value, offset, offset + length);
          } else if (name === 'store') {
            if (offset >= bytes.length) continue;
            rig.touch(at.get(inode)! + page, 'w', value);
            bytes[page * PAGE] = value;
          } else if (name === 'clone') {
            const from = model.get(other)!;
            if (from.length % PAGE !== 0 && from.length < bytes.length) continue;
            rig.run(daxClone(other, inode, all));
            grow(bytes, from.length);
            bytes.splice(0, from.length, ...from);
          } else if (name === 'truncate') {
            rig.run(daxTruncate(inode, offset));
            bytes.length = Math.min(bytes.length, offset);
            grow(bytes, offset);
          } else if (name === 'punch') {
            rig.run(daxPunch(inode, offset, length));
            bytes.fill(0, Math.min(offset, bytes.length), Math.min(offset + length, bytes.length));
          } else if (name === 'zero') {
            rig.run(daxZeroRange(inode, offset, length, true));
            bytes.fill(0, Math.min(offset, bytes.length), Math.min(offset + length, bytes.length));
          } else if (name === 'unshare') {
            rig.run(daxUnshare(inode, offset, length));
            grow(bytes, offset + length);
          } else if (name === 'allocate') rig.run(daxAllocate(inode, offset, length, true));
          else if (name === 'collapse') {
            if ((page + 2) * PAGE >= bytes.length) continue;
            rig.run(daxCollapse(inode, page * PAGE, 2 * PAGE));
            bytes.splice(page * PAGE, 2 * PAGE);
          } else if (page * PAGE < bytes.length && bytes.length < 2 * SIZE) {
            rig.run(daxInsert(inode, page * PAGE, PAGE));
            bytes.splice(page * PAGE, 0, ...new Array<number>(PAGE).fill(0));
          }
          for (const one of [f, g]) {
            const want = model.get(one)!;
            expect(one.size, `${name} ${offset} ${length}: size`).toBe(want.length);
            expect(Buffer.compare(contents(rig, one), Uint8Array.from(want)), `${name} ${offset} ${length}`).toBe(0);
            for (let i = 0; i * PAGE < want.length && i < 64; i += 5) expect(rig.touch(at.get(one)! + i, 'r'), `${name}: page ${i}`).toBe(want[i * PAGE]);
          }
        }
        for (const [inode, vpn] of at) {
          rig.run(munmap(rig.mm, vpn, 64));
          rig.run(daxTruncate(inode, 0));
        }
        expect(f.fs.freePages).toBe(freePages);
      }),
      { numRuns: 20 },
    );
  });

  test('a write in place of 2M goes to a 2M of its own; the other file keeps its frames', async () => {
    const { rig, f, g } = await files('v6.1');
    rig.run(daxWrite(f, 0, new Uint8Array(2 ** 21).fill(9)));
    rig.run(daxClone(f, g, all));
    const [a, b] = [rig.map(f, { npages: 512, at: 2 ** 20 }), rig.map(g, { npages: 512, at: 2 ** 21 })];
    rig.touch(a, 'r');
    rig.touch(b, 'r');
    const before = rig.entry(a);
    expect(rig.entry(b)).toEqual(before);
    rig.touch(b + 7, 'w', 5);
    expect(rig.entry(a)).toEqual(before);
    expect([rig.entry(b).level, rig.entry(b).lo === before.lo]).toEqual([1, false]);
    expect([rig.touch(a + 7, 'r'), rig.touch(b + 7, 'r'), rig.touch(b + 8, 'r')]).toEqual([9, 5, 9]);
  });

  test('v6.1: write(2) to a shared block leaves a mapping of it as it was; v6.12 unmaps it', async () => {
    for (const [profile, seen] of [['v6.1', 9], ['v6.12', 5]] as const) {
      const { rig, f, g } = await files(profile);
      rig.run(daxWrite(f, 0, new Uint8Array(4 * PAGE).fill(9)));
      rig.run(daxClone(f, g, all));
      const b = rig.map(g, { npages: 4 });
      rig.touch(b + 1, 'r');
      rig.run(daxWrite(g, PAGE, new Uint8Array(PAGE).fill(5)));
      expect([rig.touch(b + 1, 'r'), contents(rig, g)[PAGE]], profile).toEqual([seen, 5]);
    }
  });

  test('a write that begins in blocks of its own and goes on into shared ones of the same extent copies those', async () => {
    const { rig, f, g } = await files();
    rig.run(daxWrite(f, 0, new Uint8Array(8 * PAGE).fill(1)));
    rig.run(daxClone(f, g, { from: 4 * PAGE, length: 4 * PAGE, to: 0 }));
    expect(f.extents.count).toBe(1);
    expect(rig.run(daxWrite(f, 2 * PAGE, new Uint8Array(4 * PAGE).fill(9)))).toBe(4 * PAGE);
    const first = (inode: Inode): number[] => Array.from({ length: inode.size / PAGE }, (_, page) => contents(rig, inode)[page * PAGE] as number);
    expect([first(f), first(g)]).toEqual([[1, 1, 9, 9, 9, 9, 1, 1], [1, 1, 1, 1]]);
  });

  test('refusals leave both as they were', async () => {
    const { rig, f, g } = await files();
    rig.run(daxWrite(f, 0, new Uint8Array(3 * PAGE + 100).fill(1)));
    rig.run(daxWrite(g, 0, new Uint8Array(8 * PAGE).fill(2)));
    const clone = (from: number, length: number, to: number, dest = g): string => errno(() => rig.run(daxClone(f, dest, { from, length, to })));
    expect([clone(1, PAGE, 0), clone(0, PAGE, 1), clone(0, 100, 0), clone(0, 5 * PAGE, 0), clone(4 * PAGE, PAGE, 0)]).toEqual(['EINVAL', 'EINVAL', 'EINVAL', 'EINVAL', 'EINVAL']);
    expect([clone(0, 0, 0), clone(0, 0, 6 * PAGE), clone(0, 2 * PAGE, PAGE, f)]).toEqual(['EINVAL', 'ok', 'EINVAL']);
    expect([contents(rig, g)[0], contents(rig, g)[6 * PAGE], g.size]).toEqual([2, 1, 9 * PAGE + 100]);
    const far = rig.fileSystem(8192, 'ext4', 'far').create('h');
    expect(errno(() => rig.run(daxClone(f, far, all)))).toBe('EXDEV');
    const plain = rig.fileSystem(8192, 'xfsn', 'plain');
    expect(errno(() => rig.run(daxClone(plain.create('i'), plain.create('j'), all)))).toBe('EOPNOTSUPP');
  });
});
