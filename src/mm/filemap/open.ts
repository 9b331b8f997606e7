/** How a file in the page cache is opened: the port that mm and its users see. */
import { mappedPieces, type Inode } from '../../fs/index.ts';
import type { FileCalls, FileExtent } from '../file.ts';
import type { MappedFile } from '../vma.ts';
import { cachedClone } from './clone.ts';
import { cachedFallocate } from './falloc.ts';
import { cachedVmOps } from './fault.ts';
import { inodeCacheOf, type InodeCache } from './inodeCache.ts';
import { cachedRead, cachedSync, cachedTruncate, cachedWrite, directRead, directWrite } from './io.ts';
import { Readahead } from './readahead.ts';

export interface OpenHow {
  readonly writable: boolean;
  /** O_DIRECT */
  readonly direct: boolean;
}

/** Opens an inode of a file system mounted without DAX. */
export function openCachedFile(inode: Inode, { writable, direct }: OpenHow): MappedFile {
  const file = inodeCacheOf(inode);
  const ra = new Readahead();
  return {
    inode,
    writable,
    vmOps: cachedVmOps(file, ra),
    vmFlags: 0,
    alignPages: 1,
    preferPages: 1,
    syncSupported: false,
    refuses: () => null,
    released: () => evictCached(inode),
    calls: calls(file, ra, direct),
  };
}

/** The pages and blocks of a deleted file go when nobody has it open or maps it any more. */
export function evictCached(inode: Inode): void {
  if (!inode.unlinked || inode.opens > 0 || inode.mappings.size > 0) return;
  const file = inodeCacheOf(inode);
  file.cache.drop();
  inode.fs.evictIfUnused(inode);
}

function calls(file: InodeCache, ra: Readahead, direct: boolean): FileCalls {
  const { inode } = file;
  return {
    read: (offset, target) => (direct ? directRead(file, offset, target) : cachedRead(file, ra, offset, target)),
    write: (offset, source) => (direct ? directWrite(file, offset, source) : cachedWrite(file, offset, source)),
    truncate: (size) => cachedTruncate(file, size),
    fallocate: (mode, offset, length) => cachedFallocate(file, mode, offset, length),
    sync: (index, end) => cachedSync(file, index, end),
    clone: (source, from, length, to) => cachedClone(file, source, from, length, to),
    stat: () => ({ size: inode.size, blocks: (inode.fs.allocatedPages(inode) + delayed(file).length) * 8, dax: false }),
    extents: () => extentsOf(file),
  };
}

/** Pages that are to get blocks when they are written back. */
function delayed({ cache, inode }: InodeCache): number[] {
  const pages: number[] = [];
  for (const folio of cache.folios(0, Infinity)) {
    for (let i = folio.index; folio.dirty && i < folio.index + 2 ** folio.order; i++) if (inode.fs.iomap(inode, i, i + 1).kind === 'hole') pages.push(i);
  }
  return pages;
}

function extentsOf(file: InodeCache): FileExtent[] {
  const { inode } = file;
  const extents: FileExtent[] = [...mappedPieces(inode)];
  for (const index of delayed(file)) {
    const last = extents.at(-1);
    if (last?.flags[0] === 'delalloc' && last.index + last.npages === index) extents[extents.length - 1] = { ...last, npages: last.npages + 1 };
    else extents.push({ index, npages: 1, pfn: inode.fs.pgmap.basePfn, flags: ['delalloc'] });
  }
  return extents.sort((a, b) => a.index - b.index);
}
