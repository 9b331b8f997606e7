/**
 * Copies of blocks that files share (fs/dax.c: dax_iomap_cow_copy, dax_iomap_copy_around). Plain functions: bytes only.
 */
import type { Inode, Iomap } from '../fs/index.ts';
import type { Pfn } from '../units.ts';

/**
 * Frames `[pfn, pfn + npages)` get the bytes that the file has from page `index` on, as `source` says where they are. A hole gives
 * zeroes, or where the kernel forgets that, nothing. False where the arena has no room for the bytes.
 */
export function copyBlocks(inode: Inode, source: Iomap, pfn: Pfn, index: number, npages: number): boolean {
  const { arena, profile } = inode.fs.platform;
  if (source.kind === 'mapped') return arena.content.copy(pfn * 4096, (source.pfn + (index - source.start)) * 4096, npages * 4096);
  if (profile.copyOfHoleZeroed) arena.content.zero(pfn * 4096, npages * 4096);
  return true;
}
