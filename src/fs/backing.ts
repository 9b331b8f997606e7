/**
 * Linear backing: the pages of a file as arena bytes in a row, so that a real file can be read, or mapped, straight into them.
 */
import { CHUNK_SIZE, SECTION_SIZE } from '../abi.ts';
import { HmmError } from '../errno.ts';
import { alignDown, alignUp, pagesFor } from '../units.ts';
import type { Inode } from './inode.ts';

/** Where the bytes of a file's first pages lie. */
export interface Backing {
  /** arena offset of the file's first byte, on a page */
  readonly offset: number;
  /** bytes, whole pages */
  readonly length: number;
  /** gives the arena bytes back: the pages read zeroes afterwards */
  release(): void;
}

/**
 * Puts the first `length` bytes of a file, which must be written blocks in a row, on arena bytes in a row, all zero but for
 * what neighbours in the same 64 KiB already had. Throws ENOMEM where the arena has no such run, EINVAL where the blocks are not in a row.
 */
export function backLinear(inode: Inode, length: number): Backing {
  const npages = pagesFor(length);
  const map = inode.fs.iomap(inode, 0, npages);
  if (map.kind !== 'mapped' || map.npages < npages) throw new HmmError('EINVAL', 'pmem', `${inode.name} is not one extent of ${npages} written pages`);
  const { arena } = inode.fs.platform;
  const paddr = map.pfn * 4096;
  const skew = paddr % SECTION_SIZE;
  const runBytes = alignUp(skew + npages * 4096, SECTION_SIZE);
  const run = arena.runAlloc(runBytes, true);
  if (run === 0) throw new HmmError('ENOMEM', 'pmem', `no room in the arena for ${length} bytes of ${inode.name}`);
  const from = alignDown(paddr, CHUNK_SIZE);
  const to = alignUp(paddr + npages * 4096, CHUNK_SIZE);
  const at = run + alignDown(skew, CHUNK_SIZE);
  arena.content.read(from, arena.u8, at, paddr - from);
  arena.content.read(paddr + npages * 4096, arena.u8, run + skew + npages * 4096, to - paddr - npages * 4096);
  if (!arena.content.attach(from, at, to - from)) {
    arena.content.detach(from, to - from);
    arena.runFree(run, runBytes);
    throw new HmmError('ENOMEM', 'pmem', 'no table frame left for the content directory');
  }
  let live = true;
  return {
    offset: run + skew,
    length: npages * 4096,
    release() {
      if (!live) return;
      live = false;
      arena.content.detach(from, to - from);
      arena.runFree(run, runBytes);
    },
  };
}
