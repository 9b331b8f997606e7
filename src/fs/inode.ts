/**
 * Inodes: size, extents, locks and who maps them. What a room above keeps of a file (the DAX page cache) hangs on `pages`.
 */
import type { ExtentMap } from './extents.ts';
import type { Mappings } from './mappings.ts';
import type { RwLock } from '../sched/index.ts';
import type { FileSystem } from './fileSystem.ts';
import type { PlaceMemory } from './place.ts';

export type ExtentPages = 1 | 512 | 262144;

/** Something that areas map: a file, or a character device. */
export interface Mappable {
  readonly name: string;
  /** what preemption points that work on it touch ('*' without) */
  readonly touches?: string;
  readonly mappings: Mappings;
}

export interface Inode extends Mappable {
  readonly id: number;
  readonly touches: string;
  readonly fs: FileSystem;
  /** bytes */
  size: number;
  readonly extents: ExtentMap;
  /** blocks set aside for copies of shared ones (reflink.ts) */
  readonly copies: ExtentMap;
  /** it shares blocks with other files, or did: a write has to look */
  reflinked: boolean;
  /** fallocate(2) gave it blocks: what lies beyond its end stays when it is closed */
  preallocated: boolean;
  /** pages to which this file's allocations are aligned: 1, 512 or 262144 */
  readonly extentPages: ExtentPages;
  /** the file asked for `extentPages` itself and has them; else the file system places its blocks as its kernel's does */
  readonly hinted: boolean;
  /** what the allocator remembers of it */
  readonly placed: PlaceMemory;
  /** i_rwsem: writes, truncate */
  readonly rwsem: RwLock;
  /** mapping->invalidate_lock (XFS: MMAPLOCK): faults for reading, what takes blocks away for writing */
  readonly invalidateLock: RwLock;
  /** the page cache, owned by the room that serves the file's faults */
  pages: object | null;
  /** metadata that a crash would lose: set by allocation and size changes, cleared by a journal commit */
  metadataDirty: boolean;
  unlinked: boolean;
  /** open files and mappings' files */
  opens: number;
}

/** Pages that hold the file's bytes. */
export function sizePages(inode: Inode): number {
  return Math.ceil(inode.size / 4096);
}
