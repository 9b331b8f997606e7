/**
 * Taking and filling entries of the DAX page cache (fs/dax.c: grab_mapping_entry, dax_insert_entry, put_unlocked_entry).
 *
 * An entry is locked while a fault works on it; whoever else wants it waits. Placeholders (EMPTY) stand from the first fault of
 * a page on, and stay where nothing came of it, or a private copy: a placeholder of 4K is as much in the way of a huge fault as
 * any entry of 4K.
 */
import { LEVEL_PTE } from '../abi.ts';
import type { Inode } from '../fs/index.ts';
import { unmapMappingNow, unmapMappingRange, type Mm } from '../mm/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { alignDown, pagesOfLevel, type Pfn } from '../units.ts';
import { DAX_DIRTY, DAX_EMPTY, DAX_LOCKED, DAX_ZERO, daxEntry, entryFlags, entryPfn, type DaxEntries } from './entries.ts';
import { tiePages, untiePages } from './ties.ts';

/**
 * For a page: waits for its entry to be free and locks it. A 2M placeholder or page of zeroes is taken apart: unmapped
 * everywhere, then removed. A real huge entry stays and is the page's entry too.
 */
export function* grabEntry(inode: Inode, entries: DaxEntries, index: number, mm: Mm): Sleepable<void> {
  yield* waitUnlocked(inode, entries, index, mm);
  let entry = entries.find(index);
  if (entry !== 0 && entries.level > LEVEL_PTE && hasFlag(entry, DAX_ZERO | DAX_EMPTY)) {
    const { level, base } = entries;
    if (hasFlag(entry, DAX_ZERO)) {
      entries.set(base, level, entry + DAX_LOCKED);
      yield* unmapOthers(inode, base, level, mm);
    }
    entries.remove(base, level);
    entry = entries.find(index);
  }
  if (entry === 0) entries.set(index, LEVEL_PTE, daxEntry(0, DAX_EMPTY | DAX_LOCKED));
  else entries.set(entries.base, entries.level, entry + DAX_LOCKED);
  inode.fs.platform.sched.watch?.has(lockName(inode));
}

/** The same for a huge one; false when smaller entries are in the way. */
export function* grabHugeEntry(inode: Inode, entries: DaxEntries, first: number, level: number, mm: Mm): Sleepable<boolean> {
  if (hasSmaller(inode, entries, first, level)) return false;
  yield* waitUnlocked(inode, entries, first, mm);
  if (hasSmaller(inode, entries, first, level)) return false;
  const entry = entries.find(first);
  if (entry === 0) entries.set(first, level, daxEntry(0, DAX_EMPTY | DAX_LOCKED));
  else if (entries.level < level) return false;
  else entries.set(entries.base, entries.level, entry + DAX_LOCKED);
  inode.fs.platform.sched.watch?.has(lockName(inode));
  return true;
}

/** Are smaller entries in the way of a huge one? Bug switch huge-over-small: nobody looks. */
export function hasSmaller(inode: Inode, entries: DaxEntries, first: number, level: number): boolean {
  return entries.hasSmaller(first, level) && !inode.fs.platform.bugs.has('huge-over-small');
}

/** Waits until nobody works on the entry of page `index`; a fault of `mm` goes on from there. */
export function* waitUnlocked(inode: Inode, entries: DaxEntries, index: number, mm: Mm): Sleepable<void> {
  const { sched } = inode.fs.platform;
  sched.watch?.asks(lockName(inode));
  if (sched.concurrent) yield sched.point('DAX entry', faultTouches(inode, mm));
  if (!hasFlag(entries.find(index), DAX_LOCKED)) return;
  yield* awaitFree(inode, entries, index);
}

/**
 * Waits for the entry of page `index` to be free. Bug switch dax-wakeup-missed: each who waits is woken on its own, the first by who unlocks; and
 * who then does not lock the entry (put_unlocked_entry) wakes nobody after him.
 */
export function* awaitFree(inode: Inode, entries: DaxEntries, index: number): Sleepable<void> {
  const { sched, bugs } = inode.fs.platform;
  sched.watch?.asks(lockName(inode));
  const free = (): boolean => !hasFlag(entries.find(index), DAX_LOCKED);
  if (!bugs.has('dax-wakeup-missed')) {
    yield* entries.changed.wait(sched, free);
    return;
  }
  while (!free()) {
    const sleeper = { index, woken: false };
    entries.sleepers.push(sleeper);
    yield { kind: 'wait', what: `${entries.changed.name} at page ${index}`, touches: '*', ready: () => sleeper.woken, holder: () => null, deadlineNs: Infinity, due: free };
  }
}

/** The fault that locked the entry is done with it. */
export function releaseEntry(inode: Inode, entries: DaxEntries, index: number): void {
  const entry = entries.find(index);
  inode.fs.platform.sched.watch?.gives(lockName(inode));
  if (!hasFlag(entry, DAX_LOCKED)) return;
  entries.set(entries.base, entries.level, entry - DAX_LOCKED);
  const { base, level } = entries;
  const at = entries.sleepers.length === 0 ? -1 : entries.sleepers.findIndex((one) => one.index >= base && one.index < base + pagesOfLevel(level));
  for (const sleeper of at < 0 ? [] : entries.sleepers.splice(at, 1)) sleeper.woken = true;
}

/** The locks of a file's entries, for who watches the order of locks. */
export function lockName({ name }: Inode): string {
  return `dax_entry ${name}`;
}

/**
 * dax_insert_entry(): the locked entry says from now on what stands there. Where real blocks replace the page of zeroes, or
 * where the blocks are `shared` with other files, everyone who maps the entry's pages is unmapped first.
 */
export function* insertEntry(inode: Inode, entries: DaxEntries, index: number, level: number, what: { pfn: Pfn; kind: number; dirty: boolean; shared: boolean }, mm: Mm): Sleepable<void> {
  const { pfn, kind, dirty, shared } = what;
  const old = entries.find(index);
  const { level: oldLevel, base } = entries;
  const wasZero = hasFlag(old, DAX_ZERO);
  if (shared || (wasZero && kind !== DAX_ZERO)) yield* unmapOthers(inode, base, oldLevel, mm);
  const kept = hasFlag(old, DAX_DIRTY) || dirty ? DAX_DIRTY : 0;
  if (inode.reflinked) tieEntry(inode, { old, oldLevel, replaced: shared && oldLevel !== level }, alignDown(index, pagesOfLevel(level)), level, what);
  if (shared && oldLevel !== level) entries.remove(base, oldLevel);
  if (shared || wasZero || hasFlag(old, DAX_EMPTY)) entries.set(alignDown(index, pagesOfLevel(level)), level, daxEntry(pfn, DAX_LOCKED | kind | kept));
  else entries.set(base, oldLevel, daxEntry(entryPfn(old), DAX_LOCKED | kept));
}

/** Where files share blocks: whom the pages of a new entry belong to from now on, and those of the old one no more. */
function tieEntry(inode: Inode, { old, oldLevel, replaced }: { old: number; oldLevel: number; replaced: boolean }, first: number, level: number, { pfn, kind, shared }: { pfn: Pfn; kind: number; shared: boolean }): void {
  const wasReal = !hasFlag(old, DAX_ZERO | DAX_EMPTY);
  if (wasReal && !shared) return;
  if (wasReal && !replaced) untiePages(inode, entryPfn(old), pagesOfLevel(oldLevel));
  if (kind !== DAX_ZERO) tiePages(inode, first, pfn, pagesOfLevel(level), shared);
}

/** Unmaps the locked entry's pages everywhere; the fault of `mm` goes on after it. */
function* unmapOthers(inode: Inode, base: number, level: number, mm: Mm): Sleepable<void> {
  const { sched } = inode.fs.platform;
  if (!unmapMappingNow(inode, base, base + pagesOfLevel(level), false, 'entry-change-untold')) yield* unmapMappingRange(inode, base, base + pagesOfLevel(level), false, 'entry-change-untold');
  if (sched.concurrent) yield sched.point('DAX entry: unmapped', faultTouches(inode, mm));
}

/** What a fault works on between its entry and its end. */
function faultTouches(inode: Inode, mm: Mm): string {
  return `${inode.touches},${mm.touches},ram,bytes`;
}

function hasFlag(entry: number, flags: number): boolean {
  return (entryFlags(entry) & flags) !== 0;
}
