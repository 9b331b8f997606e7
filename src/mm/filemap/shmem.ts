/**
 * Files in memory alone: tmpfs, memfd, shared anonymous memory, /dev/zero shared (mm/shmem.c).
 *
 * A page is made at the first touch, by a read too, and a read entry of a shared mapping has all the rights of the area. Where the
 * mount allows it (`huge`: huge=advise) an area that asked for huge pages gets 2 MiB of the file at once, if none of them is there.
 */
import { LEVEL_PTE, PMD_PAGES } from '../../abi.ts';
import { HmmError } from '../../errno.ts';
import { Mappings, type Mappable } from '../../fs/index.ts';
import type { Platform } from '../../memremap/index.ts';
import { PAGE_POISONED } from '../../page/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import { alignDown, pagesFor } from '../../units.ts';
import { installCow } from '../fault.ts';
import type { FallocMode, FileCalls } from '../file.ts';
import { unmapMappingRange } from '../rmap.ts';
import {
  FAULT_FLAG_WRITE, FAULT_SLEEPS, VM_FAULT_FALLBACK, VM_FAULT_HWPOISON, VM_FAULT_OOM, VM_FAULT_SIGBUS, VM_HUGEPAGE, VM_NOHUGEPAGE, type MappedFile, type VmOps, type Vmf,
} from '../vma.ts';
import { PageCache, type Folio } from './cache.ts';
import type { CachedFile } from './cachedFile.ts';
import { collapseShmem } from './collapse.ts';
import { lockedPage, mapAround, mapFound } from './map.ts';
import { CACHE_PAGES_MAX, truncatePages } from './truncate.ts';

export interface ShmemOptions {
  /** what /proc/PID/maps calls it */
  readonly name: string;
  /** bytes */
  readonly size: number;
  /** mounted with huge=advise */
  readonly huge: boolean;
}

export class ShmemFile implements CachedFile {
  readonly inode: Mappable & { name: string };
  readonly cache: PageCache;
  readonly huge: boolean;
  readonly largeFolios = false;
  readonly keepsDirtyWhole = false;
  size: number;
  /** open files; the name of a tmpfs file counts as one */
  holders = 0;
  readonly vmOps: VmOps;

  constructor(platform: Platform, { name, size, huge }: ShmemOptions) {
    this.inode = { name, mappings: new Mappings(platform.sched, `shmem ${name}`, '*') };
    this.cache = new PageCache(platform, this.inode, true);
    this.size = size;
    this.huge = huge;
    this.vmOps = shmemVmOps(this);
  }

  get sizePages(): number {
    return pagesFor(this.size);
  }

  read(index: number, order: number): Folio | null {
    return this.cache.add(index, order);
  }

  /** Its pages go when nobody has it any more. */
  evict(): void {
    if (this.holders === 0 && this.inode.mappings.size === 0) this.cache.drop();
  }
}

/** What a shared anonymous mapping of `npages` maps. */
export function newSharedAnon(platform: Platform, npages: number): MappedFile {
  return openShmem(new ShmemFile(platform, { name: 'zero (deleted)', size: npages * 4096, huge: false }), true);
}

export function openShmem(file: ShmemFile, writable: boolean): MappedFile {
  return {
    inode: file.inode,
    writable,
    vmOps: file.vmOps,
    vmFlags: 0,
    alignPages: 1,
    preferPages: 1,
    syncSupported: false,
    refuses: () => null,
    released: () => file.evict(),
    calls: shmemCalls(file),
  };
}

function shmemVmOps(file: ShmemFile): VmOps {
  return {
    name: 'shmem',
    dax: false,
    countsPages: true,
    swapBacked: true,
    collapse: (vma, base) => collapseShmem(file, vma, base),
    quickFault: (vmf, level) => (level === LEVEL_PTE ? shmemFault(file, vmf) : VM_FAULT_FALLBACK),
    *fault(vmf) {
      const { sched, pageLocks } = file.cache.platform;
      for (;;) {
        const result = shmemFault(file, vmf);
        if (result !== FAULT_SLEEPS) return result;
        const folio = file.cache.get(vmf.pgoff);
        if (folio !== undefined) yield* pageLocks.waitUnlocked(sched, lockedPage(file.cache, folio, vmf.pgoff));
      }
    },
  };
}

/** shmem_fault(), and mapping what it found. */
function shmemFault(file: ShmemFile, vmf: Vmf): number {
  const write = (vmf.flags & FAULT_FLAG_WRITE) !== 0;
  const { cache } = file;
  if (!write && mapAround(cache, vmf, file.sizePages, false)) return 0;
  if (vmf.pgoff >= file.sizePages) return VM_FAULT_SIGBUS;
  const there = cache.get(vmf.pgoff);
  if (there !== undefined && lockedPage(cache, there, vmf.pgoff) >= 0) return FAULT_SLEEPS;
  const folio = there ?? newHuge(file, vmf) ?? file.read(vmf.pgoff, 0);
  if (folio === null) return VM_FAULT_OOM;
  folio.filled = true;
  const pfn = folio.pfn + (vmf.pgoff - folio.index);
  if ((cache.platform.records.flags(pfn) & PAGE_POISONED) !== 0) return VM_FAULT_HWPOISON;
  return write && !vmf.vma.isShared ? installCow(vmf, pfn) : mapFound(vmf, folio, false);
}

/** 2 MiB at once, for an area that asked for them, where the file has none of their pages. */
function newHuge(file: ShmemFile, { vma, pgoff }: Vmf): Folio | null {
  if (!file.huge || !vma.has(VM_HUGEPAGE) || vma.has(VM_NOHUGEPAGE)) return null;
  const first = alignDown(pgoff, PMD_PAGES);
  for (let i = 0; i < PMD_PAGES; i++) if (file.cache.get(first + i) !== undefined) return null;
  return file.read(first, 9);
}

function shmemCalls(file: ShmemFile): FileCalls {
  return {
    read: (offset, target) => shmemRead(file, offset, target),
    write: (offset, source) => shmemWrite(file, offset, source),
    truncate: (size) => shmemTruncate(file, size),
    fallocate: (mode, offset, length) => shmemFallocate(file, mode, offset, length),
    *sync() {
      // nothing is kept anywhere else
    },
    stat: () => ({ size: file.size, blocks: file.cache.pages * 8, dax: false }),
    extents: () => null,
  };
}

function* shmemRead(file: ShmemFile, offset: number, target: Uint8Array): Sleepable<number> {
  const length = Math.max(0, Math.min(target.length, file.size - offset));
  for (let done = 0; done < length; ) {
    const index = Math.floor((offset + done) / 4096);
    const within = offset + done - index * 4096;
    const n = Math.min(length - done, 4096 - within);
    const folio = file.cache.get(index);
    if (folio !== undefined) requireSound(file, folio, index);
    if (folio === undefined) target.fill(0, done, done + n);
    else file.cache.platform.arena.content.read((folio.pfn + (index - folio.index)) * 4096 + within, target, done, n);
    done += n;
  }
  return length;
}

/** EIO for a page that has failed. */
function requireSound({ cache, inode }: ShmemFile, folio: Folio, index: number): void {
  const pfn = folio.pfn + (index - folio.index);
  if ((cache.platform.records.flags(pfn) & PAGE_POISONED) !== 0) throw new HmmError('EIO', 'read', `page ${index} of ${inode.name} has failed`);
}

function* shmemWrite(file: ShmemFile, offset: number, source: Uint8Array): Sleepable<number> {
  const { content } = file.cache.platform.arena;
  for (let done = 0; done < source.length; ) {
    const index = Math.floor((offset + done) / 4096);
    const within = offset + done - index * 4096;
    const n = Math.min(source.length - done, 4096 - within);
    const folio = file.cache.get(index) ?? file.read(index, 0);
    if (folio !== null) requireSound(file, folio, index);
    if (folio === null || !content.write((folio.pfn + (index - folio.index)) * 4096 + within, source, done, n)) {
      if (done > 0) return done;
      throw new HmmError('ENOSPC', 'write', `no memory for ${file.inode.name}`);
    }
    folio.filled = true;
    done += n;
    file.size = Math.max(file.size, offset + done);
  }
  return source.length;
}

/** shmem_setattr(): what maps pages beyond the new end goes only where there were pages between the two ends. */
function* shmemTruncate(file: ShmemFile, size: number): Sleepable<void> {
  if (!Number.isSafeInteger(size) || size < 0) throw new HmmError('EINVAL', 'truncate', `size ${size} is not a whole number of bytes`);
  const before = file.size;
  file.size = size;
  if (size > before) return;
  const keep = pagesFor(size);
  const unmaps = before > keep * 4096;
  if (unmaps) yield* unmapMappingRange(file.inode, keep, CACHE_PAGES_MAX, true, 'cache-truncate-untold');
  yield* truncatePages(file, size, CACHE_PAGES_MAX * 4096);
  if (unmaps) yield* unmapMappingRange(file.inode, keep, CACHE_PAGES_MAX, true, 'cache-truncate-untold');
}

/** shmem_fallocate(): pages ahead of time, and holes. EOPNOTSUPP for all else. */
function* shmemFallocate(file: ShmemFile, mode: FallocMode, offset: number, length: number): Sleepable<void> {
  if (length <= 0 || offset < 0) throw new HmmError('EINVAL', 'fallocate', `offset ${offset} and length ${length}`);
  const end = offset + length;
  if (mode === 'punch') {
    const first = pagesFor(offset);
    const last = Math.floor(end / 4096);
    if (last > first) yield* unmapMappingRange(file.inode, first, last, false);
    yield* truncatePages(file, offset, end);
    return;
  }
  if (mode !== 'alloc' && mode !== 'keep') throw new HmmError('EOPNOTSUPP', 'fallocate', `shmem does not ${mode}`);
  for (let i = Math.floor(offset / 4096); i < pagesFor(end); i++) {
    const there = file.cache.get(i);
    const folio = there ?? file.read(i, 0);
    if (folio === null) throw new HmmError('ENOSPC', 'fallocate', `no memory for ${file.inode.name}`);
    folio.filled = there !== undefined; // the second time it is filled
  }
  if (mode === 'alloc') file.size = Math.max(file.size, end);
}
