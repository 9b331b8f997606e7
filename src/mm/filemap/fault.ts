/**
 * Faults of files in the page cache (mm/filemap.c: filemap_fault; fs/ext4/inode.c: ext4_page_mkwrite; fs/xfs/xfs_file.c).
 *
 * A read fault that had to read, or to read ahead, lets go of mmap_lock where it may, and the access is tried again: only then does it
 * map what is around the page. Who may not let go (HMM) gets its one page.
 */
import { LEVEL_PTE } from '../../abi.ts';
import { HmmError } from '../../errno.ts';
import { PAGE_POISONED } from '../../page/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import { installCow } from '../fault.ts';
import {
  FAULT_FLAG_ALLOW_RETRY, FAULT_FLAG_WRITE, FAULT_SLEEPS, VM_FAULT_FALLBACK, VM_FAULT_HWPOISON, VM_FAULT_OOM, VM_FAULT_RETRY, VM_FAULT_SIGBUS, VM_HUGEPAGE,
  type VmOps, type Vmf,
} from '../vma.ts';
import type { Folio } from './cache.ts';
import type { InodeCache } from './inodeCache.ts';
import { lockedPage, makeWritable, mapAround, mapFound } from './map.ts';
import { mmapReadahead, mmapReadaheadMark, type Readahead } from './readahead.ts';

/** The handlers of a file's mappings. */
export function cachedVmOps(file: InodeCache, ra: Readahead): VmOps {
  return {
    name: 'filemap',
    dax: false,
    countsPages: true,
    quickFault: (vmf, level) => (level === LEVEL_PTE ? cachedFault(file, ra, vmf) : VM_FAULT_FALLBACK),
    *fault(vmf) {
      for (;;) {
        const result = yield* locked(file, () => cachedFault(file, ra, vmf));
        if (result !== FAULT_SLEEPS) return result;
        if (yield* waitForPage(file, vmf)) return VM_FAULT_RETRY;
      }
    },
    *pageMkwrite(vmf) {
      return yield* locked(file, () => mkwritePresent(file, vmf));
    },
  };
}

/** With the file's invalidate_lock, which keeps truncate and punch out. */
function* locked(file: InodeCache, body: () => number): Sleepable<number> {
  const { invalidateLock } = file.inode;
  const { sched } = file.cache.platform;
  if (!invalidateLock.tryRead(sched)) yield* invalidateLock.read(sched);
  try {
    if (sched.concurrent) yield sched.point('page cache fault', '*');
    return body();
  } finally {
    invalidateLock.readUnlock(sched);
  }
}

/** lock_page_maybe_drop_mmap(): waits until nobody has the page locked; true: mmap_lock was let go for that. */
function* waitForPage({ cache }: InodeCache, { vma, pgoff, flags }: Vmf): Sleepable<boolean> {
  const { sched, pageLocks } = cache.platform;
  const folio = cache.get(pgoff);
  const pfn = folio === undefined ? -1 : lockedPage(cache, folio, pgoff);
  const drops = pfn >= 0 && (flags & FAULT_FLAG_ALLOW_RETRY) !== 0;
  if (drops) vma.mm.mmapLock.readUnlock(sched);
  if (pfn >= 0) yield* pageLocks.waitUnlocked(sched, pfn);
  return drops;
}

/** do_fault() at an entry that is none. */
function cachedFault(file: InodeCache, ra: Readahead, vmf: Vmf): number {
  const write = (vmf.flags & FAULT_FLAG_WRITE) !== 0;
  if (!write && mapAround(file.cache, vmf, file.sizePages, true)) return 0;
  const found = findFolio(file, ra, vmf);
  if (typeof found === 'number') return found;
  if (!write) return mapFound(vmf, found, true);
  if (!vmf.vma.isShared) return installCow(vmf, found.pfn + (vmf.pgoff - found.index));
  const refused = mkwrite(file, found, vmf.pgoff);
  return refused !== 0 ? refused : mapFound(vmf, found, true);
}

/** filemap_fault(): the folio of the page, or VM_FAULT_ bits; FAULT_SLEEPS: it is locked. */
function findFolio(file: InodeCache, ra: Readahead, vmf: Vmf): Folio | number {
  const { cache } = file;
  const { pgoff } = vmf;
  if (pgoff >= file.sizePages) return VM_FAULT_SIGBUS;
  const mayDrop = (vmf.flags & FAULT_FLAG_ALLOW_RETRY) !== 0;
  const there = cache.get(pgoff);
  if (there !== undefined && lockedPage(cache, there, pgoff) >= 0) return FAULT_SLEEPS;
  if (there !== undefined) {
    if (mmapReadaheadMark(file, ra, there, pgoff) && mayDrop) return dropLock(vmf);
  } else mmapReadahead(file, ra, pgoff, vmf.vma.has(VM_HUGEPAGE));
  const folio = cache.get(pgoff) ?? file.read(pgoff, 0);
  if (folio === null) return VM_FAULT_OOM;
  if ((cache.platform.records.flags(folio.pfn + (pgoff - folio.index)) & PAGE_POISONED) !== 0) return VM_FAULT_HWPOISON;
  return there === undefined && mayDrop ? dropLock(vmf) : folio;
}

/** The fault has waited for the disk: mmap_lock is let go, and the access tried again. */
function dropLock({ vma }: Vmf): number {
  vma.mm.mmapLock.readUnlock(vma.mm.platform.sched);
  return VM_FAULT_RETRY;
}

/** The file hears of the first write to a page: it sees to blocks, and the folio is dirty. VM_FAULT_ bits, or 0. */
function mkwrite(file: InodeCache, folio: Folio, pgoff: number): number {
  try {
    file.prepareWrite(pgoff, pgoff + 1);
  } catch (error) {
    if (HmmError.is(error, 'ENOMEM')) return VM_FAULT_OOM;
    if (HmmError.is(error)) return VM_FAULT_SIGBUS;
    throw error;
  }
  folio.dirty = true;
  return 0;
}

/** do_page_mkwrite() for a read-only entry that is there. */
function mkwritePresent(file: InodeCache, vmf: Vmf): number {
  const { vma, vpn, pgoff } = vmf;
  const pt = vma.mm.pageTable;
  const folio = file.cache.get(pgoff);
  if (!pt.look(vpn) || pt.level !== LEVEL_PTE || folio === undefined) return 0;
  const refused = mkwrite(file, folio, pgoff);
  if (refused !== 0) return refused;
  pt.look(vpn);
  makeWritable(vma);
  return 0;
}
