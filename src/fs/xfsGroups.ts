/**
 * Finding free blocks in XFS's allocation groups (fs/xfs/libxfs/xfs_alloc.c, v6.1). Blocks are pages from the device's first one.
 *
 * What was freed and not yet committed is busy: it counts, but nobody gets it before the log is flushed, which is done where
 * there is nothing else.
 */
import { alignUp } from '../units.ts';
import { busyOf, type BusyNode } from './busyTree.ts';
import type { FileSystem } from './fileSystem.ts';
import type { XfsGeometry } from './xfsGeometry.ts';

export interface GroupRequest {
  /** look near this block */
  readonly goal: number;
  /** at most so many */
  readonly npages: number;
  /** a shorter answer is a multiple of so many, plus `mod` */
  readonly unit: number;
  readonly mod: number;
  readonly stripe: number;
  /** 'stripe': aligned to one; 'exact': at the goal, else aligned; none */
  readonly align: 'none' | 'stripe' | 'exact';
}

interface Free {
  readonly start: number;
  readonly npages: number;
}

/** a record of free space; `busy`: what is busy in its group */
interface FreeRecord extends Free {
  readonly busy: BusyNode | null;
}

interface Search extends GroupRequest {
  readonly min: number;
  readonly max: number;
  readonly alignment: number;
  readonly slop: number;
}

/** Takes one run, or answers null where there is none. */
export function allocateInGroups(fs: FileSystem, geometry: XfsGeometry, request: GroupRequest): Free | null {
  const groups = new Groups(fs, geometry);
  const { goal, npages, stripe, align } = request;
  const max = Math.min(npages, geometry.groupPages);
  const longest = groups.longest(goal, max);
  const least = longest < 1 ? 1 : Math.min(longest, max);
  const plain: Search = { ...request, min: least, max, alignment: 1, slop: 0 };
  let found: Free | null = null;
  if (align === 'exact') {
    const laterMin = longest > stripe && longest <= max ? longest - stripe : least;
    found = groups.exact({ ...plain, slop: Math.max(0, laterMin + stripe - least - 1) }) ?? groups.anywhere({ ...plain, min: laterMin, alignment: stripe });
  } else if (align === 'stripe') {
    found = groups.anywhere({ ...plain, min: longest > stripe && longest <= max + stripe ? longest - stripe : least, alignment: stripe });
  }
  found ??= groups.anywhere(plain) ?? groups.anywhere({ ...plain, min: 1 }) ?? groups.bySize({ ...plain, min: 1 });
  if (found !== null) fs.allocator.reserve(fs.pgmap.basePfn + found.start, found.npages);
  return found;
}

class Groups {
  readonly #fs: FileSystem;
  readonly #geometry: XfsGeometry;

  constructor(fs: FileSystem, geometry: XfsGeometry) {
    this.#fs = fs;
    this.#geometry = geometry;
  }

  /** The longest run that there is, from the goal's group on until one is as long as `enough`. */
  longest(goal: number, enough: number): number {
    let best = 0;
    for (const group of this.#fromGoal(goal)) {
      if (best >= enough) break;
      best = Math.max(best, this.#space(group).longest);
    }
    return best;
  }

  /** XFS_ALLOCTYPE_THIS_BNO. */
  exact(search: Search): Free | null {
    const group = Math.floor(search.goal / this.#geometry.groupPages);
    const max = this.#room(group, search);
    if (max === 0) return null;
    const record = this.#free(group).find(({ start, npages }) => start <= search.goal && search.goal < start + npages);
    if (record === undefined) return null;
    const free = trimBusy(record, search);
    if (free.start > search.goal || free.start + free.npages <= search.goal) return null;
    const npages = fixedLength(search, Math.min(max, free.start + free.npages - search.goal));
    return npages < search.min ? null : { start: search.goal, npages };
  }

  /** XFS_ALLOCTYPE_START_BNO: near the goal in its group, and by size in the others. */
  anywhere(search: Search): Free | null {
    let first = true;
    for (const group of this.#fromGoal(search.goal)) {
      const max = this.#room(group, search);
      if (max > 0) {
        const found = this.#settling(() => (first ? near(this.#free(group), { ...search, max }) : smallest(this.#free(group), { ...search, max })));
        if (found !== null) return found;
        return null;
      }
      first = false;
    }
    return null;
  }

  /** XFS_ALLOCTYPE_FIRST_AG. */
  bySize(search: Search): Free | null {
    for (let group = 0; group < this.#geometry.groupCount; group++) {
      const max = this.#room(group, search);
      if (max > 0) return this.#settling(() => smallest(this.#free(group), { ...search, max }));
    }
    return null;
  }

  /** Where nothing was found and something is busy, the log is flushed, and it is tried again. */
  #settling(find: () => Free | null): Free | null {
    const found = find();
    if (found !== null || this.#fs.allocator.asidePages === 0) return found;
    this.#fs.allocator.settle();
    return find();
  }

  *#fromGoal(goal: number): Generator<number> {
    const { groupPages, groupCount } = this.#geometry;
    const first = Math.floor(goal / groupPages) % groupCount;
    for (let i = 0; i < groupCount; i++) yield (first + i) % groupCount;
  }

  /** xfs_alloc_space_available(): the most pages that the group can give, 0 where not what is wanted at least. */
  #room(group: number, { min, max, alignment, slop }: Search): number {
    const { free, longest } = this.#space(group);
    const least = min + alignment - 1 + slop;
    const available = free - (this.#geometry.reserved[group] as number) - 1;
    return longest < least || available < least ? 0 : Math.min(max, available);
  }

  /** Free pages of a group, busy ones too, and the longest run of them that leaves what is reserved. */
  #space(group: number): { free: number; longest: number } {
    const { groupPages, reserved } = this.#geometry;
    const base = this.#fs.pgmap.basePfn + group * groupPages;
    let [free, longest, end, length] = [0, 0, -1, 0];
    this.#fs.allocator.forEachFree(base, base + groupPages, true, (pfn, npages) => {
      length = pfn === end ? length + npages : npages;
      end = pfn + npages;
      free += npages;
      longest = Math.max(longest, length);
    });
    const short = Math.max(0, (reserved[group] as number) - (free - longest));
    return { free, longest: longest > short ? longest - short : free > 0 ? 1 : 0 };
  }

  /** The free runs of a group, busy or not, by length, then by place, each with what of it is busy. */
  #free(group: number): FreeRecord[] {
    const { groupPages } = this.#geometry;
    const { basePfn } = this.#fs.pgmap;
    const first = basePfn + group * groupPages;
    const busy = busyOf(this.#fs.allocator.busy, group, groupPages, basePfn);
    const free: { start: number; npages: number; busy: BusyNode | null }[] = [];
    this.#fs.allocator.forEachFree(first, first + groupPages, true, (pfn, npages) => {
      const last = free.at(-1);
      if (last !== undefined && last.start + last.npages === pfn - basePfn) last.npages += npages;
      else free.push({ start: pfn - basePfn, npages, busy });
    });
    return free.sort((a, b) => a.npages - b.npages || a.start - b.start);
  }
}

/** xfs_alloc_ag_vextent_near(): the longest answer, and of those the one nearest to the goal. */
function near(free: readonly FreeRecord[], search: Search): Free | null {
  const { min, max, alignment, goal } = search;
  const large = free.findIndex(({ npages }) => npages >= max);
  let best: Free | null = null;
  let bestFar = Infinity;
  for (let i = large < 0 || alignment > 1 ? free.findIndex(({ npages }) => npages >= min) : large; i >= 0 && i < free.length; i++) {
    const record = aligned(free[i] as FreeRecord, search);
    if (record.npages < min) continue;
    const npages = fixedLength(search, Math.min(record.npages, max));
    if (npages < (best?.npages ?? 0)) continue;
    const start = nearest(record, goal, npages, alignment);
    if (start < 0) continue;
    const far = Math.abs(start - goal);
    if (far > bestFar) continue;
    best = { start, npages };
    bestFar = far;
    if (far === 0 && npages === max) break;
  }
  return best;
}

/** xfs_alloc_ag_vextent_size(): the shortest run that is long enough; else the longest. */
function smallest(free: readonly FreeRecord[], search: Search): Free | null {
  const { min, max, alignment } = search;
  for (const record of free) {
    if (record.npages < max + alignment - 1) continue;
    const fit = aligned(record, search);
    if (fit.npages >= max) return { start: fit.start, npages: max };
  }
  let best: Free | null = null;
  for (let i = free.length - 1; i >= 0; i--) {
    const record = free[i] as FreeRecord;
    if (best !== null && record.npages < best.npages) break;
    const fit = aligned(record, search);
    if (best === null || Math.min(max, fit.npages) > best.npages) best = { start: fit.start, npages: Math.min(max, fit.npages) };
    if (best.npages === max) break;
  }
  if (best === null || best.npages < min) return null;
  return { start: best.start, npages: fixedLength(search, best.npages) };
}

/** xfs_extent_busy_trim(): the part of a free run that nothing busy is in: its left, its right where that is much longer, or none. Who is looked at first decides, so it goes down the tree. */
function trimBusy({ start, npages, busy }: FreeRecord, { min, max }: Search): Free {
  let [low, high] = [start, start + npages];
  for (let node = busy; node !== null && high - low >= min; ) {
    const [from, to] = [node.start, node.end];
    if (high <= from) node = node.left;
    else if (low >= to) node = node.right;
    else {
      const [left, right] = [from - low, high - to];
      if (left <= 0 && right <= 0) return { start: low, npages: 0 };
      if (left <= 0) low = to;
      else if (right <= 0 || left >= max) high = from;
      else if (right >= 4 * max) low = to;
      else if (left >= min) high = from;
      else if (right >= min) low = to;
      else return { start: low, npages: 0 };
    }
  }
  return { start: low, npages: high - low };
}

function aligned(whole: FreeRecord, search: Search): Free {
  const { alignment, min } = search;
  const record = whole.busy === null ? whole : trimBusy(whole, search);
  if (alignment === 1 || record.npages < min) return record;
  const start = alignUp(record.start, alignment);
  return { start, npages: Math.max(0, record.start + record.npages - start) };
}

/** xfs_alloc_fix_len(): whole units where it is not all that was asked for. */
function fixedLength({ unit, mod, max, min }: Search, npages: number): number {
  if (unit <= 1 || npages < mod || npages === max || (mod === 0 && npages < unit)) return npages;
  const over = npages % unit;
  if (over === mod) return npages;
  const fixed = over > mod ? npages - (over - mod) : npages - unit + (mod - over);
  return fixed < min ? npages : fixed;
}

/** xfs_alloc_compute_diff(), for data: where in a free run `npages` lie best; -1 nowhere. */
function nearest({ start, npages: length }: Free, goal: number, npages: number, alignment: number): number {
  const end = start + length;
  const goalEnd = goal + npages;
  const up = (block: number): number => (alignment > 1 ? alignUp(block, alignment) : block);
  if (start >= goal || end < goalEnd) return up(start) >= end ? -1 : up(start);
  if (alignment === 1) return goal;
  const high = up(goal) >= end ? -1 : up(goal);
  const low = up(goal) - alignment < start ? -1 : up(goal) - alignment;
  if (high < 0 || low < 0) return high < 0 ? low : high;
  const highLength = Math.min(npages, end - high);
  const lowLength = Math.min(npages, end - low);
  if (highLength !== lowLength) return highLength < lowLength ? low : high;
  return Math.abs(high - goal) > Math.abs(low - goal) ? low : high;
}
