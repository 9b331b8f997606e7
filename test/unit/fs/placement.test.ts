/** Where new blocks go: the search in ext4's groups, and how XFS rounds a request to its hint. */
import { expect, test } from 'vitest';
import { BlockAllocator } from '../../../dist/fs/index.js';
import { searchGroups, type GroupSearch } from '../../../dist/fs/mballoc.js';
import { alignToHint } from '../../../dist/fs/placeXfs.js';

const BASE = 1_048_576;
const GROUP = 32768;

function search(allocator: BlockAllocator, wanted: Partial<GroupSearch>): { pfn: number; npages: number } | null {
  const run = searchGroups({ allocator, base: BASE, groups: 2, npages: 1, stripe: 512, goal: -1, group: 0, ...wanted });
  return run === null ? null : { pfn: run.pfn - BASE, npages: run.npages };
}

function device(...used: (readonly [first: number, end: number])[]): BlockAllocator {
  const allocator = new BlockAllocator(BASE, 2 * GROUP);
  for (const [first, end] of used) allocator.reserve(BASE + first, end - first);
  return allocator;
}

test('a goal that is free is taken, one that is in use is not', () => {
  expect(search(device(), { npages: 10, goal: BASE + 700 })).toEqual({ pfn: 700, npages: 10 });
  expect(search(device([690, 710]), { npages: 10, goal: BASE + 700 })?.pfn).not.toBe(700);
});

test('whole stripes lie on one, as far as its buddy goes', () => {
  expect(search(device([0, 5]), { npages: 1536 })).toEqual({ pfn: 512, npages: 512 });
  expect(search(device([0, 600]), { npages: 1536 })).toEqual({ pfn: 1024, npages: 1024 });
});

test('a power of two comes from the smallest free block of a group that is not the first', () => {
  const allocator = device([0, GROUP], [GROUP, GROUP + 8], [GROUP + 16, 2 * GROUP - 1024]);
  expect(search(allocator, { npages: 8, group: 1 })).toEqual({ pfn: GROUP + 8, npages: 8 });
});

test('where no group has as many, it is the longest run; where nothing is free, none', () => {
  expect(search(device([0, 100], [150, 2 * GROUP]), { npages: 300 })).toEqual({ pfn: 100, npages: 50 });
  expect(search(device([0, 2 * GROUP]), { npages: 1 })).toBeNull();
});

test('what was freed and not committed is in use', () => {
  const allocator = device([0, 2 * GROUP]);
  allocator.freeLater(BASE + 64, 64);
  expect(search(allocator, { npages: 64 })).toBeNull();
  allocator.settle();
  expect(search(allocator, { npages: 64 })).toEqual({ pfn: 64, npages: 64 });
});

test('a request is rounded to whole units of the hint, as far as neighbours leave room', () => {
  const alone = { prev: null, next: null };
  expect(alignToHint(768, 256, 512, alone)).toEqual({ index: 512, npages: 512 });
  expect(alignToHint(768, 1, 512, { prev: { block: 0, pfn: BASE, npages: 600 }, next: null })).toEqual({ index: 600, npages: 512 });
  expect(alignToHint(768, 1, 512, { prev: { block: 0, pfn: BASE, npages: 600 }, next: { block: 900, pfn: BASE + 5000, npages: 1 } })).toEqual({ index: 600, npages: 300 });
});
