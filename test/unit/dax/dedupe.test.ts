/** FIDEDUPERANGE on DAX files: blocks are shared where bytes are the same, and nothing changes where they are not. */
import { expect, test } from 'vitest';
import { daxClone, daxDedupe, daxRead, daxWrite } from '../../../dist/dax/index.js';
import { MachineCore } from '../../../dist/machine.js';
import { profileOf } from '../../../dist/profile/index.js';
import type { Inode } from '../../../dist/fs/index.js';

const PAGE = 4096;
const core = await MachineCore.create({ arena: { bytes: 64 * 2 ** 20 }, profile: profileOf('v6.12'), bugs: [], seed: 1n, ramPages: 1024, levels: 4 });

function file(bytes: Uint8Array, kind: 'xfs' | 'ext4' = 'xfs'): { inode: Inode; run: <T>(body: Parameters<typeof core.platform.sched.runToEnd<T>>[1]) => T } {
  core.reset();
  const inode = core.newFileSystem('pmem0', 4096, kind).create('f');
  inode.opens++;
  const run = <T,>(body: Parameters<typeof core.platform.sched.runToEnd<T>>[1]): T => core.platform.sched.runToEnd('test', body);
  run(daxWrite(inode, 0, bytes));
  return { inode, run };
}

const pages = (...fills: number[]): Uint8Array => new Uint8Array(fills.flatMap((fill) => Array.from({ length: PAGE }, () => fill)));
const frameAt = (inode: Inode, index: number): number => {
  const map = inode.fs.iomap(inode, index, index + 1);
  return map.pfn + (index - map.start);
};

test('pages with the same bytes have the same blocks afterwards, which a write parts again', () => {
  const { inode, run } = file(pages(1, 2, 1, 3));
  expect(frameAt(inode, 0)).not.toBe(frameAt(inode, 2));
  expect(run(daxDedupe(inode, inode, { from: 0, length: PAGE, to: 2 * PAGE }))).toBe(true);
  expect(frameAt(inode, 2)).toBe(frameAt(inode, 0));
  run(daxWrite(inode, 2 * PAGE, pages(9)));
  const bytes = new Uint8Array(4 * PAGE);
  run(daxRead(inode, 0, bytes));
  expect(bytes).toEqual(pages(1, 2, 9, 3));
});

test('pages that differ in one byte stay as they are', () => {
  const bytes = pages(1, 1);
  bytes[2 * PAGE - 1] = 2;
  const { inode, run } = file(bytes);
  const before = [frameAt(inode, 0), frameAt(inode, 1)];
  expect(run(daxDedupe(inode, inode, { from: 0, length: PAGE, to: PAGE }))).toBe(false);
  expect([frameAt(inode, 0), frameAt(inode, 1)]).toEqual(before);
});

test('what is the same already stays shared; the size never changes', () => {
  const { inode, run } = file(pages(5, 6));
  run(daxClone(inode, inode, { from: 0, length: PAGE, to: 2 * PAGE }));
  expect(run(daxDedupe(inode, inode, { from: 0, length: PAGE, to: 2 * PAGE }))).toBe(true);
  expect([frameAt(inode, 2), inode.size]).toEqual([frameAt(inode, 0), 3 * PAGE]);
});

test.each([
  ['an offset inside a page', { from: 1, length: PAGE, to: PAGE }],
  ['a range beyond the end', { from: 0, length: PAGE, to: 2 * PAGE }],
  ['ranges that overlap', { from: 0, length: 2 * PAGE, to: 0 }],
])('%s is EINVAL, and nothing changes', (_what, range) => {
  const { inode, run } = file(pages(1, 1));
  const before = [frameAt(inode, 0), frameAt(inode, 1)];
  expect(() => run(daxDedupe(inode, inode, range))).toThrow(/EINVAL/);
  expect([frameAt(inode, 0), frameAt(inode, 1)]).toEqual(before);
});

test('a file system whose files share no blocks refuses', () => {
  const { inode, run } = file(pages(1, 1), 'ext4');
  expect(() => run(daxDedupe(inode, inode, { from: 0, length: PAGE, to: PAGE }))).toThrow(/EINVAL/);
});
