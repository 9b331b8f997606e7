/**
 * Write-back of DAX files (fs/dax.c: dax_writeback_mapping_range): every dirty entry is write-protected wherever it is mapped
 * (PROTECTION_PAGE over all of it), flushed, and clean. So each fsync costs one invalidation a mapping, and a device that wants
 * to write again has to fault again. Flushing is after write-protecting: a store in between is caught as a new fault.
 */
import type { Inode } from '../fs/index.ts';
import { mkcleanMapping } from '../mm/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { pagesOfLevel } from '../units.ts';
import { DAX_DIRTY, entriesOf, entryFlags, entryPfn } from './entries.ts';

/** Writes back the dirty entries that touch pages `[index, end)`, then commits the file's metadata. Returns entries written. */
export function* writebackRange(inode: Inode, index: number, end: number): Sleepable<number> {
  const written = yield* cleanRange(inode, index, end);
  inode.fs.commit(inode);
  return written;
}

/** filemap_write_and_wait_range(): the data alone. */
export function* cleanRange(inode: Inode, index: number, end: number): Sleepable<number> {
  const entries = entriesOf(inode);
  const { bus, bugs, persistence } = inode.fs.platform;
  const flushesFirst = bugs.has('flush-first-page');
  const dirty: { base: number; level: number }[] = [];
  entries.forEach(index, end, (base, level) => dirty.push({ base, level }), true);
  let written = 0;
  for (const { base, level } of dirty) {
    const before = entries.find(base);
    if (before === 0 || entries.level !== level || (entryFlags(before) & DAX_DIRTY) === 0) continue;
    const npages = pagesOfLevel(level);
    yield* mkcleanMapping(inode, base, npages);
    const after = entries.find(base);
    if (after !== 0 && (entryFlags(after) & DAX_DIRTY) !== 0) entries.set(base, level, after - DAX_DIRTY);
    if (persistence !== null && after !== 0 && !bugs.has('fsync-skips-flush')) persistence.flush(entryPfn(after) * 4096, (flushesFirst ? 1 : npages) * 4096);
    if (bus.on) bus.emit({ type: 'writeback', file: inode.name, index: base, npages: flushesFirst ? 1 : npages });
    written++;
  }
  return written;
}
