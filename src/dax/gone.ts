/**
 * What a file answers whose device has been taken away (remove.ts), or whose file system has stopped.
 *
 * The file system goes on from what it has in memory: holes and unwritten blocks read as zeroes, sizes and blocks change. Only
 * where bytes are wanted does it find that there are none (ENXIO), and where new blocks would have to be zeroed (EIO). The first
 * sync fails, and the file system with it: ext4 gives its journal up and changes nothing any more (EROFS), XFS shuts down (EIO, for
 * all there is). Looking for pinned pages of what was mapped follows struct pages that are no more, and crashes.
 */
import { HmmError, KernelCrash } from '../errno.ts';
import type { Inode } from '../fs/index.ts';

/** EIO where the file system is shut down. */
export function requireUp(inode: Inode, op: string): void {
  if (inode.fs.shutDown) throw new HmmError('EIO', op, `${inode.fs.name} is shut down`);
}

/** For who asks what is known of the file. EIO where a shutdown silences that too. */
export function requireAnswers(inode: Inode, op: string): void {
  if (inode.fs.profile.failsBy === 'shutdown') requireUp(inode, op);
}

/** For whoever is about to change size or blocks. EIO, EROFS. */
export function requireChangeable(inode: Inode, op: string): void {
  inode.fs.requireChangeable(op);
}

/** Bytes of blocks are wanted. ENXIO where they cannot be reached. */
export function requireBlocks(inode: Inode, op: string): void {
  if (inode.fs.gone) throw new HmmError('ENXIO', op, `the device of ${inode.fs.name} is gone`);
}

/** write(2) to blocks of that kind. ENXIO; EIO, EROFS where they would have to be made first. */
export function requireWritable(inode: Inode, kind: 'hole' | 'unwritten' | 'mapped'): void {
  const { fs } = inode;
  if (!fs.gone) return;
  if (kind === 'mapped') requireBlocks(inode, 'write');
  fs.requireChangeable('write');
  throw new HmmError('EIO', 'write', `no block of ${fs.name} can be zeroed`);
}

/** A sync that cannot reach the device stops the file system. EIO. */
export function requireSync(inode: Inode): void {
  const { fs } = inode;
  requireUp(inode, 'fsync');
  if (!fs.gone) return;
  fs.fail();
  throw new HmmError('EIO', 'fsync', `the device of ${fs.name} is gone`);
}

/** Struct pages of the file's blocks are to be looked at. KernelCrash where they are gone. */
export function requirePages(inode: Inode): void {
  if (inode.fs.gone) throw new KernelCrash('dax_layout_busy_page: page fault, the struct pages went with their device');
}
