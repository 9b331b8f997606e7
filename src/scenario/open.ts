/**
 * Opening and closing files of the guest's places: `ext4:f` on a file system, `tmp:f` on tmpfs, `dev:dax2m` or `/dev/mem` a device.
 */
import { openDaxDevice, openDaxFile } from '../dax/index.ts';
import { HmmError } from '../errno.ts';
import type { ExtentPages, Inode } from '../fs/index.ts';
import { HugeFile, ShmemFile, devMem, devPages, devZero, evictCached, openCachedFile, openHugeFile, openShmem, type MappedFile } from '../mm/index.ts';
import type { HugePool } from '../page/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { Skip } from './operation.ts';
import type { OpenFile, Process } from './process.ts';

export interface OpenFlags {
  readonly readOnly: boolean;
  readonly truncate: boolean;
  readonly direct: boolean;
  /** what a new file on a file system asks for; undefined: nothing */
  readonly extentPages?: ExtentPages | undefined;
}

/** open(2). ENOENT; what truncating it refuses with. */
export function* openPath(process: Process, path: string, flags: OpenFlags): Sleepable<OpenFile> {
  const [place = '', name = ''] = path.startsWith('/dev/') ? ['dev', path.slice('/dev/'.length)] : path.split(':');
  if (place === 'dev') return openDevice(process, name, flags);
  if (place === 'tmp') return yield* openTmpfs(process, name, flags);
  const fs = process.guest.fileSystem(place);
  const made = !fs.inodes.has(name);
  const inode = made && !flags.readOnly ? fs.create(name, flags.extentPages) : fs.lookup(name);
  const file = openInode(inode, flags);
  if (flags.truncate && !made) yield* file.calls?.truncate(0) ?? [];
  inode.opens++;
  return { place, name, file, close: () => closeInode(inode), unlink: () => fs.unlink(inode) };
}

/** memfd_create(2); with a pool, of its huge pages. */
export function openMemfd(process: Process, name: string, pool: HugePool | null): OpenFile {
  if (pool !== null) return hugeFile(new HugeFile(process.guest.platform, `memfd:${name} (deleted)`, pool, 0), name);
  const shmem = new ShmemFile(process.guest.platform, { name: `memfd:${name} (deleted)`, size: 0, huge: false });
  return shmemFile(shmem, '', name, true, () => nameless(name));
}

function hugeFile(huge: HugeFile, name: string): OpenFile {
  huge.holders++;
  const close = (): void => {
    huge.holders--;
    huge.evict();
  };
  return { place: '', name, file: openHugeFile(huge, true), close, unlink: () => nameless(name) };
}

function openInode(inode: Inode, { readOnly, direct }: OpenFlags): MappedFile {
  return inode.fs.dax ? openDaxFile(inode, !readOnly) : openCachedFile(inode, { writable: !readOnly, direct });
}

function closeInode(inode: Inode): void {
  inode.opens--;
  inode.fs.closed(inode);
  if (inode.fs.dax) inode.fs.evictIfUnused(inode);
  else evictCached(inode);
}

const SPECIAL = { zero: devZero, mem: devMem, pages: devPages } as const;

function openDevice(process: Process, name: string, { readOnly }: OpenFlags): OpenFile {
  const special = name === 'zero' || name === 'mem' || name === 'pages';
  const file = special ? SPECIAL[name](process.guest.platform) : openDaxDevice(process.guest.daxDevice(name));
  return { place: special ? '' : name, name, file: readOnly ? { ...file, writable: false } : file, close: () => undefined, unlink: () => nameless(name) };
}

function* openTmpfs(process: Process, name: string, flags: OpenFlags): Sleepable<OpenFile> {
  const { tmpfs, platform } = process.guest;
  let shmem = tmpfs.get(name);
  if (shmem === undefined) {
    if (flags.readOnly) throw new HmmError('ENOENT', 'open', `no file ${name} in tmpfs`);
    shmem = new ShmemFile(platform, { name, size: 0, huge: true });
    shmem.holders++;
    tmpfs.set(name, shmem);
  }
  const found = shmem;
  const opened = shmemFile(found, 'tmp', name, !flags.readOnly, () => {
    if (tmpfs.get(name) !== found) nameless(name);
    tmpfs.delete(name);
    found.inode.name = `${name} (deleted)`;
    found.holders--;
    found.evict();
  });
  if (flags.truncate) yield* opened.file.calls?.truncate(0) ?? [];
  return opened;
}

function shmemFile(shmem: ShmemFile, place: string, name: string, writable: boolean, unlink: () => void): OpenFile {
  shmem.holders++;
  return {
    place,
    name,
    file: openShmem(shmem, writable),
    close() {
      shmem.holders--;
      shmem.evict();
    },
    unlink,
  };
}

function nameless(name: string): never {
  throw new HmmError('ENOENT', 'unlink', `${name} is gone`);
}

/** The open file, for a call that writes. EBADF. */
export function writableFile(process: Process, id: string, errno: 'EBADF' | 'EINVAL' = 'EBADF'): NonNullable<MappedFile['calls']> {
  const { file } = process.file(id);
  if (file.calls === undefined) throw new Skip(`${id} has no such calls`);
  if (!file.writable) throw new HmmError(errno, 'write', `${id} is open for reading alone`);
  return file.calls;
}
