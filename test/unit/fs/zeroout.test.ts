/** Which blocks around a write ext4 zeroes and has written (recorded: dax-ext4-zeroout). */
import { describe, expect, test } from 'vitest';
import { ExtentMap, writtenAround } from '../../../dist/fs/index.js';

const MOST = 8;

/** Unwritten [16, 16 + npages) from frame 1000 on, and what `written` says before it. */
function around(npages: number, index: number, end: number, { size = 1000, written = 0, apart = 0 } = {}): [number, number] {
  const extents = new ExtentMap();
  if (written > 0) extents.insert(16 - written, 1000 - written - apart, written, 'mapped');
  extents.insert(16, 1000, npages, 'unwritten');
  const { index: from, end: to } = writtenAround(extents, index, end, size, MOST);
  return [from - 16, to - 16];
}

describe('a write into an unwritten extent', () => {
  test.each([
    ['of 7 pages: all of it', 7, 18, 19, 0, 7],
    ['of 8: what lies behind it', 8, 19, 20, 3, 8],
    ['of 9, with 6 from the write on: what lies behind it', 9, 19, 20, 3, 9],
    ['of 9, with 9 from the write on: the first page alone', 9, 16, 17, 0, 1],
    ['of many, near the start: what lies before it', 500, 19, 20, 0, 4],
    ['of many, its eighth page: that alone', 500, 23, 24, 7, 8],
    ['of many, in the middle: that alone', 500, 100, 101, 84, 85],
    ['of many, near the end: what lies behind it', 500, 510, 511, 494, 500],
    ['its last page: that alone', 7, 22, 23, 6, 7],
    ['all of it', 7, 16, 23, 0, 7],
  ])('%s', (_name, npages, index, end, from, to) => {
    expect(around(npages, index, end)).toEqual([from, to]);
  });

  test('that reaches beyond the end of the file: the write alone', () => {
    expect(around(7, 18, 19, { size: 20 })).toEqual([2, 3]);
    expect(around(7, 18, 19, { size: 23 })).toEqual([0, 7]);
  });

  test('that goes on a written one: the write alone, if the blocks go on too', () => {
    expect(around(7, 16, 17, { written: 4 })).toEqual([0, 1]);
    expect(around(7, 16, 17, { written: 4, apart: 3 })).toEqual([0, 7]);
    expect(around(7, 17, 18, { written: 4 })).toEqual([0, 7]);
  });
});
