/**
 * Finding free blocks in ext4's block groups (fs/ext4/mballoc.c: ext4_mb_regular_allocator, v6.1), by what a buddy bitmap of each
 * would say: a power of two from the buddies, whole stripes at a stripe, else the best of what is free.
 *
 * Blocks are pfns. What was freed and not yet committed is in use.
 */
import type { BlockAllocator, Run } from './allocator.ts';

/** Groups of 32768 blocks, from the device's first page on. */
export const GROUP_PAGES = 32768;
const BUDDY_MAX = 2 ** 13;
/** so many groups share their tables; the first of them is not for the buddies of files */
const FLEX_GROUPS = 16;
const SCAN_MIN = 10;
const SCAN_MAX = 200;

export interface GroupSearch {
  readonly allocator: BlockAllocator;
  /** the device's first page, and how many groups it has */
  readonly base: number;
  readonly groups: number;
  readonly npages: number;
  readonly stripe: number;
  /** try here first; -1 for nowhere */
  readonly goal: number;
  /** the group to begin with */
  readonly group: number;
}

interface Group {
  readonly first: number;
  readonly free: number;
  readonly runs: readonly Run[];
}

/** The best there is for `npages`: as many, or fewer where no group has them; null where nothing is free. */
export function searchGroups(search: GroupSearch): Run | null {
  const { npages, groups, goal, stripe } = search;
  if (goal >= 0) {
    const length = findExtent(search.allocator, search.base, goal, npages);
    if (length >= npages && (npages !== stripe || goal % stripe === 0)) return { pfn: goal, npages };
  }
  const isBuddy = npages > 1 && npages <= BUDDY_MAX && Number.isInteger(Math.log2(npages));
  const best = new Best(search);
  for (let level = isBuddy ? 0 : 1; level < 4 && !best.done; level++) {
    for (let i = 0; i < groups && !best.done; i++) {
      const number = (search.group + i) % groups;
      const group = groupOf(search, number);
      if (group.free === 0) continue;
      if (level === 0) {
        if (number % FLEX_GROUPS === 0 || group.free < npages) continue;
        const run = byBuddy(search, group);
        if (run !== null) return run;
      } else if (level > 1 ? level === 3 || group.free >= npages : Math.floor(group.free / group.runs.length) >= npages) {
        const run = level === 1 && npages % stripe === 0 ? byStripe(search, group) : best.scan(group);
        if (run !== null) return run;
      }
    }
  }
  return best.found === null ? null : { pfn: best.found.pfn, npages: Math.min(npages, best.found.npages) };
}

/** The best free run so far (ext4_mb_measure_extent, ext4_mb_check_limits). */
class Best {
  found: Run | null = null;
  /** enough has been looked at */
  done = false;
  readonly #search: GroupSearch;
  #seen = 0;

  constructor(search: GroupSearch) {
    this.#search = search;
  }

  /** ext4_mb_complex_scan_group(). */
  scan(group: Group): Run | null {
    const { allocator, base, npages } = this.#search;
    let inGroup = false;
    for (const run of group.runs) {
      for (let at = run.pfn; at < run.pfn + run.npages; ) {
        const length = findExtent(allocator, base, at, npages);
        this.#seen++;
        if (length === npages) return { pfn: at, npages };
        const { found } = this;
        const better = found === null || (found.npages < npages ? length > found.npages : length > npages && length < found.npages);
        if (better) {
          this.found = { pfn: at, npages: length };
          inGroup = true;
        }
        if (this.#seen > SCAN_MAX) {
          this.done = true;
          return null;
        }
        if (found !== null && this.#seen > SCAN_MIN && inGroup && (this.found as Run).npages >= npages) return { pfn: (this.found as Run).pfn, npages };
        at += length;
      }
    }
    return inGroup && (this.found as Run).npages >= npages ? { pfn: (this.found as Run).pfn, npages } : null;
  }
}

function groupOf({ allocator, base }: GroupSearch, number: number): Group {
  const first = base + number * GROUP_PAGES;
  const runs: Run[] = [];
  let free = 0;
  allocator.forEachFree(first, first + GROUP_PAGES, false, (pfn, npages) => {
    runs.push({ pfn, npages });
    free += npages;
  });
  return { first, free, runs };
}

/** ext4_mb_simple_scan_group(): the lowest buddy of the smallest order that will do. */
function byBuddy({ npages, base }: GroupSearch, { runs }: Group): Run | null {
  let best = -1;
  let bestSize = Infinity;
  for (const run of runs) {
    for (let at = run.pfn; at < run.pfn + run.npages; ) {
      const size = buddyAt(run, at, base);
      if (size >= npages && size < bestSize) {
        best = at;
        bestSize = size;
      }
      at += size;
    }
  }
  return best < 0 ? null : { pfn: best, npages };
}

/** ext4_mb_scan_aligned(): the first free stripe, and what follows it of the request in its buddy. */
function byStripe({ allocator, base, npages, stripe }: GroupSearch, { first, runs }: Group): Run | null {
  for (const run of runs) {
    for (let at = first + Math.ceil((run.pfn - first) / stripe) * stripe; at < run.pfn + run.npages; at += stripe) {
      const length = findExtent(allocator, base, at, stripe);
      if (length >= stripe) return { pfn: at, npages: Math.min(length, npages) };
    }
  }
  return null;
}

/** mb_find_extent(): free blocks from `at` on, buddy by buddy until there are `needed`; 0 where it is in use. */
function findExtent(allocator: BlockAllocator, base: number, at: number, needed: number): number {
  if (at < allocator.basePfn || at >= allocator.basePfn + allocator.npages) return 0;
  const free = allocator.freeRunAt(at);
  if (free === null) return 0;
  const groupEnd = base + (Math.floor((at - base) / GROUP_PAGES) + 1) * GROUP_PAGES;
  const groupFirst = groupEnd - GROUP_PAGES;
  const start = Math.max(free.pfn, groupFirst);
  const run = { pfn: start, npages: Math.min(free.pfn + free.npages, groupEnd) - start };
  let size = buddyAt(run, at, base);
  let length = size - ((at - base) % size);
  while (length < needed && at + length < run.pfn + run.npages) {
    size = buddyAt(run, at + length, base);
    length += size;
  }
  return length;
}

/** Blocks of the buddy in the free run that holds block `at`. */
function buddyAt({ pfn, npages }: Run, at: number, base: number): number {
  const end = pfn + npages;
  let size = 1;
  for (let twice = 2; twice <= BUDDY_MAX; twice *= 2) {
    const first = at - ((at - base) % twice);
    if (first < pfn || first + twice > end) break;
    size = twice;
  }
  return size;
}
