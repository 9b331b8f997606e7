/** What a file system remembers of holes limits how far a write into one gets. */
import { expect, test } from 'vitest';
import { ExtentMap, FILE_PAGES_MAX, forgetHoles, lookAtAllHoles, lookAtHole, type Inode } from '../../../dist/fs/index.js';

function file(profile: { punchForgetsHole: boolean }, xfs: object | null = null): Inode {
  return { extents: new ExtentMap(), fs: { xfs, platform: { profile } } } as unknown as Inode;
}

test('a known hole ends where blocks were taken away, until somebody looks there', () => {
  const inode = file({ punchForgetsHole: true });
  expect(lookAtHole(inode, 5)).toBe(FILE_PAGES_MAX);
  forgetHoles(inode, 8, 100);
  expect(lookAtHole(inode, 5)).toBe(8);
  expect(lookAtHole(inode, 200)).toBe(FILE_PAGES_MAX);
  lookAtHole(inode, 50);
  expect(lookAtHole(inode, 5)).toBe(FILE_PAGES_MAX);
});

test('who looks at the whole file knows all of its holes', () => {
  const inode = file({ punchForgetsHole: true });
  inode.extents.insert(10, 1000, 5, 'mapped');
  lookAtAllHoles(inode);
  expect(lookAtHole(inode, 0)).toBe(10);
  expect(lookAtHole(inode, 20)).toBe(FILE_PAGES_MAX);
});

test('nothing is remembered by XFS, nor where a punched hole is known at once', () => {
  for (const inode of [file({ punchForgetsHole: false }), file({ punchForgetsHole: true }, {})]) {
    lookAtHole(inode, 5);
    forgetHoles(inode, 8, 100);
    expect(lookAtHole(inode, 5)).toBe(FILE_PAGES_MAX);
  }
});
