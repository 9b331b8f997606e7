/**
 * The page cache of a file on a block device, mounted without DAX (fs/ext4/inode.c, fs/xfs/xfs_aops.c, fs/iomap/buffered-io.c).
 *
 * Blocks: ext4 takes them when a page is written back (until then the page is *delayed*); XFS, whose files have an extent size hint here,
 * takes whole units as unwritten blocks at the write, and makes them written when the folio has been written back.
 */
import { HmmError } from '../../errno.ts';
import type { Inode } from '../../fs/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import { alignDown, alignUp, pagesFor } from '../../units.ts';
import { mkcleanMapping } from '../rmap.ts';
import { PageCache, type Folio } from './cache.ts';
import type { CachedFile } from './cachedFile.ts';

export class InodeCache implements CachedFile {
  readonly inode: Inode;
  readonly cache: PageCache;
  /** bytes up to which what was written has reached the device (i_disk_size) */
  diskSize = 0;

  constructor(inode: Inode) {
    this.inode = inode;
    this.cache = new PageCache(inode.fs.platform, inode);
  }

  get size(): number {
    return this.inode.size;
  }

  get sizePages(): number {
    return pagesFor(this.inode.size);
  }

  get largeFolios(): boolean {
    return this.inode.fs.profile.largeFolios && this.cache.platform.profile.largeFolios;
  }

  get keepsDirtyWhole(): boolean {
    return true;
  }

  read(index: number, order: number): Folio | null {
    const folio = this.cache.add(index, order);
    if (folio === null) return null;
    const { fs } = this.inode;
    for (let i = 0; i < 2 ** order; i++) {
      const map = fs.iomap(this.inode, index + i, index + i + 1);
      if (map.kind !== 'mapped') continue;
      const from = (map.pfn + (index + i - map.start)) * 4096;
      if (!fs.platform.arena.content.copy((folio.pfn + i) * 4096, from, 4096)) {
        this.cache.remove(folio);
        return null;
      }
    }
    return folio;
  }

  /** Pages `[index, end)` are to be written to: what has to be known of their blocks before. ENOSPC. */
  prepareWrite(index: number, end: number): void {
    const { inode } = this;
    const { delayedBlocks, hintPages } = inode.fs.profile;
    if (delayedBlocks) {
      if (this.#needsBlock(index, end) && inode.fs.freePages === 0) throw new HmmError('ENOSPC', 'write', `${inode.fs.name} is full`);
      return;
    }
    // Whole units where there is room for them, from the first page without blocks on.
    for (let at = index; at < end; ) {
      const map = inode.fs.iomap(inode, at, end);
      if (map.kind === 'hole') inode.fs.allocate(inode, alignDown(at, hintPages), alignUp(end, hintPages) - alignDown(at, hintPages));
      at = map.kind === 'hole' ? end : map.start + map.npages;
    }
  }

  #needsBlock(index: number, end: number): boolean {
    for (let i = index; i < end; i++) if (this.inode.fs.iomap(this.inode, i, i + 1).kind === 'hole') return true;
    return false;
  }

  /** Writes dirty folios that touch bytes `[start, end)` back: no more write entries (PROTECTION_PAGE), then the blocks have the bytes. ENOSPC. */
  *writeBack(start: number, end: number): Sleepable<void> {
    for (const folio of this.cache.folios(Math.floor(start / 4096), Math.min(pagesFor(end), this.sizePages))) {
      if (!folio.dirty) continue;
      const npages = 2 ** folio.order;
      if (this.cache.isMapped(folio)) yield* mkcleanMapping(this.inode, folio.index, npages);
      this.#writeFolio(folio, Math.min(npages, this.sizePages - folio.index));
      folio.dirty = false;
    }
  }

  #writeFolio(folio: Folio, npages: number): void {
    const { content } = this.inode.fs.platform.arena;
    const tail = this.size - folio.index * 4096;
    if (tail < npages * 4096) content.zero(folio.pfn * 4096 + tail, npages * 4096 - tail);
    this.writeBlocks(folio.index, npages, (paddr, index) => content.copy(paddr, (folio.pfn + (index - folio.index)) * 4096, 4096));
    this.diskSize = Math.max(this.diskSize, Math.min(this.size, (folio.index + npages) * 4096));
  }

  /** Has `put` write each of pages `[index, index + npages)` to its block, which is another where files shared the one it had. ENOSPC, ENOMEM. */
  writeBlocks(index: number, npages: number, put: (paddr: number, index: number) => boolean): void {
    const { inode } = this;
    const { fs } = inode;
    const end = index + npages;
    if (!inode.reflinked) fs.allocateWritten(inode, index, npages);
    for (let at = index; at < end; ) {
      const map = inode.reflinked ? fs.writeMap(inode, at, end, end * 4096) : { ...fs.iomap(inode, at, end), source: null };
      const upTo = Math.min(map.start + map.npages, end);
      let done = true;
      for (let page = at; done && page < upTo; page++) done = put((map.pfn + (page - map.start)) * 4096, page);
      if (inode.reflinked) fs.finishWrite(inode, map, at, upTo, done);
      if (!done) throw new HmmError('ENOMEM', 'writeback', 'no room in the arena for the bytes');
      at = upTo;
    }
  }

  /** The folio of page `index`, as it is to be written: brought in, or new where there is none. ENOMEM. */
  folioFor(index: number, order: number): Folio {
    const folio = this.cache.get(index) ?? this.read(index, order);
    if (folio === null) throw new HmmError('ENOMEM', 'write', 'no memory for the page');
    return folio;
  }
}

/** The page cache of an inode, made when it is first needed. */
export function inodeCacheOf(inode: Inode): InodeCache {
  inode.pages ??= new InodeCache(inode);
  return inode.pages as InodeCache;
}
