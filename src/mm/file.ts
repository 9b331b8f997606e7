/**
 * The calls on an open file (include/linux/fs.h: struct file_operations), as far as memory management and its users make them.
 *
 * Each room that has files serves them by one set of calls: DAX, the page cache, shmem, hugetlb, devices. What a file refuses is an
 * HmmError with the errno of the system call; lengths and offsets are bytes.
 */
import type { Mappable } from '../fs/index.ts';
import type { Sleepable } from '../sched/index.ts';
import type { Pfn } from '../units.ts';

export type FallocMode = 'alloc' | 'keep' | 'punch' | 'zero' | 'collapse' | 'insert' | 'unshare';

export interface FileStat {
  readonly size: number;
  /** of 512 bytes */
  readonly blocks: number;
  readonly dax: boolean;
}

/** One extent as FIEMAP tells of it. `delalloc`: it has no blocks yet, and `pfn` is the first of the device. */
export interface FileExtent {
  readonly index: number;
  readonly npages: number;
  readonly pfn: Pfn;
  readonly flags: readonly ('unwritten' | 'shared' | 'delalloc')[];
}

export interface FileCalls {
  /** read(2): bytes read into `target`, fewer at the end of the file */
  read(offset: number, target: Uint8Array): Sleepable<number>;
  /** write(2): bytes written, fewer where room ran out */
  write(offset: number, source: Uint8Array): Sleepable<number>;
  truncate(size: number): Sleepable<void>;
  fallocate(mode: FallocMode, offset: number, length: number): Sleepable<void>;
  /** FICLONE (`length` 0) and FICLONERANGE: bytes from `to` on share the blocks of those of `source` */
  clone?(source: Mappable, from: number, length: number, to: number): Sleepable<void>;
  /** fsync(2) and msync(2): pages `[index, end)` are durable */
  sync(index: number, end: number): Sleepable<void>;
  stat(): FileStat;
  /** null: the file system does not tell (EOPNOTSUPP) */
  extents(): readonly FileExtent[] | null;
}
