/**
 * What of a file system's metadata a power cut leaves: a prefix of its journal (fs/jbd2: one transaction after the other; fs/xfs: the log).
 *
 * A record is a file as one whole change leaves it: blocks given, taken, converted or moved, a size, a name. Records are written
 * down in order, by commits: those that calls ask for (fsync, a synchronous fault, blocks that are wanted again), and any number that
 * nobody asked for, in the background. So any prefix that has all that was asked for may be what is found after a cut. Each commit
 * fences what was flushed before it.
 */
import type { Persistence } from '../persistence/index.ts';
import type { Extent } from './extents.ts';
import type { FileSystem } from './fileSystem.ts';
import type { ExtentPages, Inode } from './inode.ts';

/** A file's metadata at one time. */
export interface InodeRecord {
  readonly id: number;
  readonly name: string;
  readonly size: number;
  readonly extents: readonly Extent[];
  /** fallocate(2) gave it blocks: those beyond its end stay */
  readonly preallocated: boolean;
  readonly reflinked: boolean;
  readonly extentPages: ExtentPages;
  readonly hinted: boolean;
  readonly unlinked: boolean;
}

export class Journal {
  readonly #persistence: Persistence;
  readonly #durable = new Map<number, InodeRecord>();
  #records: { readonly record: InodeRecord; readonly when: number }[] = [];

  /** `inodes` are durable as they are. */
  constructor(persistence: Persistence, inodes: Iterable<Inode>) {
    this.#persistence = persistence;
    for (const inode of inodes) this.#durable.set(inode.id, recordOf(inode));
  }

  /** Records that no commit has written for certain. */
  get pending(): number {
    return this.#records.length;
  }

  /** A change of this file's metadata is whole. */
  note(inode: Inode): void {
    this.#records.push({ record: recordOf(inode), when: this.#persistence.tick() });
  }

  /** All of it is durable. */
  commit(): void {
    if (this.#records.length === 0) return;
    this.#persistence.beforeCommit();
    for (const { record } of this.#records) this.#durable.set(record.id, record);
    this.#records = [];
  }

  /** The files as a cut leaves them when `pending` of the records not written for certain are, and the moment after which the last of these was made. */
  left(pending: number): { readonly files: readonly InodeRecord[]; readonly when: number } {
    const files = new Map(this.#durable);
    for (const { record } of this.#records.slice(0, pending)) files.set(record.id, record);
    return { files: [...files.values()], when: pending === 0 ? 0 : (this.#records[pending - 1]?.when ?? 0) };
  }
}

/** From now on it is kept what a power cut would leave of `fs`. What it has now is durable. */
export function startJournal(fs: FileSystem, persistence: Persistence): void {
  const { basePfn, npages } = fs.pgmap;
  persistence.cover(basePfn * 4096, (basePfn + npages) * 4096);
  fs.journal = new Journal(persistence, [...fs.inodes.values(), ...fs.orphans]);
  fs.allocator.onSettle = () => harden(fs);
}

/** What was flushed is fenced, then all of the journal written. */
export function harden(fs: FileSystem, isFenced = true): void {
  const { journal, platform } = fs;
  if (journal === null) return;
  if (isFenced) platform.persistence?.fence();
  journal.commit();
}

function recordOf({ id, name, size, extents, preallocated, reflinked, extentPages, hinted, unlinked }: Inode): InodeRecord {
  return { id, name, size, extents: [...extents], preallocated, reflinked, extentPages, hinted, unlinked };
}
