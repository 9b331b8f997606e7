/** DaxFile: an open file of a DAX file system. */
import { daxAllocate, daxFsync, daxPunch, daxRead, daxTruncate, daxWrite, openDaxFile } from '../dax/index.ts';
import { HmmError } from '../errno.ts';
import type { Inode } from '../fs/index.ts';
import type { MappedFile } from '../mm/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { checkBytes, checkData } from './checks.ts';
import type { Driver } from './driver.ts';
import { sharedHostOf } from './hostBacking.ts';

/** One extent of a file. */
export interface ExtentInfo {
  /** bytes from the start of the file */
  readonly offset: number;
  readonly length: number;
  /** frame of its first page */
  readonly pfn: bigint;
  /** unwritten: has blocks, reads zeroes */
  readonly state: 'mapped' | 'unwritten';
}

/**
 * A file on persistent memory. Every method runs to its end (it may have to wait for pinned pages: EDEADLK where that would
 * be for ever); `task` has the same as generators, for `Machine.spawn`.
 */
export class DaxFile implements Disposable {
  readonly name: string;
  readonly writable: boolean;
  readonly #driver: Driver;
  readonly #inode: Inode;
  readonly #mapped: MappedFile;
  #closed = false;

  /** @internal made by `Pmem` */
  constructor(driver: Driver, inode: Inode, writable: boolean) {
    this.name = inode.name;
    this.writable = writable;
    this.#driver = driver;
    this.#inode = inode;
    this.#mapped = openDaxFile(inode, writable);
    inode.opens++;
  }

  /** Bytes. */
  get size(): number {
    return this.#inode.size;
  }

  /** What a task can `yield*`: the same operations, preempted where a kernel's would be. */
  readonly task = {
    read: (offset: number, target: Uint8Array): Sleepable<number> => daxRead(this.#open('read'), offset, target),
    write: (offset: number, source: Uint8Array): Sleepable<number> => daxWrite(this.#forWriting('write'), offset, source),
    truncate: (size: number): Sleepable<void> => this.#apart(daxTruncate(this.#forWriting('truncate'), size)),
    punch: (offset: number, length: number): Sleepable<void> => this.#apart(daxPunch(this.#forWriting('punch'), offset, length)),
    allocate: (offset: number, length: number, keepSize = false): Sleepable<void> => daxAllocate(this.#forWriting('fallocate'), offset, length, keepSize),
    fsync: (): Sleepable<void> => this.#synced(daxFsync(this.#open('fsync'))),
  };

  /** pread(2): up to `length` bytes from `offset` on; fewer at the end of the file. Throws EIO, ENXIO, EBADF. */
  read(offset: number, length: number): Uint8Array {
    checkBytes('read', 'offset', offset);
    const target = new Uint8Array(checkBytes('read', 'length', length));
    return target.subarray(0, this.#driver.run('read', this.task.read(offset, target)));
  }

  /** pwrite(2). Allocates where there are holes. Throws ENOSPC, EFBIG, EIO, ENXIO, EBADF. */
  write(offset: number, bytes: Uint8Array): number {
    checkBytes('write', 'offset', offset);
    return this.#driver.run('write', this.task.write(offset, checkData('write', 'bytes', bytes)));
  }

  /** ftruncate(2): unmaps, frees, zeroes the rest of the last page. Throws EINVAL, EFBIG, EIO, EBADF, EDEADLK. */
  truncate(size: number): void {
    checkBytes('truncate', 'size', size);
    this.#driver.run('truncate', this.task.truncate(size));
  }

  /** fallocate(2) with PUNCH_HOLE. Throws EINVAL, EIO, EBADF, EDEADLK. */
  punch(offset: number, length: number): void {
    this.#driver.run('punch', this.task.punch(checkBytes('punch', 'offset', offset), checkBytes('punch', 'length', length)));
  }

  /** fallocate(2): unwritten blocks for the range. Throws ENOSPC, EFBIG, EINVAL, EBADF. */
  allocate(offset: number, length: number, options: { keepSize?: boolean } = {}): void {
    checkBytes('fallocate', 'offset', offset);
    checkBytes('fallocate', 'length', length);
    this.#driver.run('fallocate', this.task.allocate(offset, length, options.keepSize ?? false));
  }

  /** fsync(2): what was written is durable; mirrors lose the right to write until they fault again. Throws EIO, ENXIO, EBADF. */
  fsync(): void {
    this.#driver.run('fsync', this.task.fsync());
  }

  /** Where the file lies, in order. */
  extents(): ExtentInfo[] {
    return Array.from(this.#inode.extents, (extent) => ({
      offset: extent.block * 4096,
      length: extent.npages * 4096,
      pfn: BigInt(extent.pfn),
      state: extent.state,
    }));
  }

  /** Takes the name away; the blocks go with the last open file. */
  unlink(): void {
    this.#inode.fs.unlink(this.#open('unlink'));
  }

  /** Closes the file; mappings of it stay. Closing twice is no error. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const inode = this.#inode;
    inode.opens--;
    if (!this.#driver.live || !inode.unlinked || inode.opens > 0 || inode.mappings.size > 0) return;
    sharedHostOf(inode)?.part();
    inode.fs.freeBlocks(inode, 0, Number.MAX_SAFE_INTEGER);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** @internal the port that mmap takes */
  mappedFile(): MappedFile {
    this.#open('mmap');
    return this.#mapped;
  }

  /** @internal */
  get inode(): Inode {
    return this.#inode;
  }

  /** What frees blocks works on the simulated file alone. */
  *#apart(body: Sleepable<void>): Sleepable<void> {
    sharedHostOf(this.#inode)?.part();
    yield* body;
  }

  *#synced(body: Sleepable<void>): Sleepable<void> {
    yield* body;
    sharedHostOf(this.#inode)?.sync();
  }

  #open(op: string): Inode {
    this.#driver.check(op);
    if (this.#closed) throw new HmmError('EBADF', op, `${this.name} is closed`);
    return this.#inode;
  }

  #forWriting(op: string): Inode {
    const inode = this.#open(op);
    if (!this.writable) throw new HmmError('EBADF', op, `${this.name} is not open for writing`);
    return inode;
  }
}
