/**
 * From a file's pages to the areas that map them (mm/interval_tree.c, mm/memory.c: unmap_mapping_range).
 *
 * Each inode has an interval tree over file pages: finding the mappings of a range costs O(log n + those found), in the
 * order of file offset, then of mapping.
 */
import { PTE_DIRTY, PTE_RW } from '../abi.ts';
import type { Mappable } from '../fs/index.ts';
import type { UntoldBug } from '../profile/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { isDirty, isLeafEntry, isWritable } from '../pgtable/index.ts';
import { alignDown, pagesOfLevel, type Vpn } from '../units.ts';
import { holdAnonLinks, restoreAnonLinks } from './anonVma.ts';
import { invalidateEnd, invalidateStart, invalidateStartNow } from './mm.ts';
import type { MappedFile, Vma } from './vma.ts';
import { zapPageRangeNow, zapPageRangeSingle, zapTouches, zapsNow, type ZapOptions } from './zap.ts';

/** Takes the lock over who maps the file of an area that is to be changed, if it has one. */
export function* lockMappings(file: MappedFile | null): Sleepable<void> {
  if (file === null) return;
  const { lock, sched } = file.inode.mappings;
  if (!lock.tryWrite(sched)) yield* lock.write(sched);
}

export function unlockMappings(file: MappedFile | null): void {
  file?.inode.mappings.lock.writeUnlock(file.inode.mappings.sched);
}

/** Enters an area, of settled bounds, into its file's tree and those of its anon_vmas. Under lockMappings. */
export function linkVma(vma: Vma): void {
  restoreAnonLinks(vma);
  if (vma.file !== null) vma.mapping = vma.file.inode.mappings.insert(vma.pgoff, vma.pgoff + vma.npages, vma);
}

/** Takes it out of them: its bounds change, or it goes. */
export function unlinkVma(vma: Vma): void {
  holdAnonLinks(vma);
  if (vma.file === null || vma.mapping === null) return;
  vma.file.inode.mappings.remove(vma.mapping);
  vma.mapping = null;
}

/** Calls `visit` with each area that maps some of pages `[index, end)` of the file, and its part of them; none changes meanwhile. */
export function* eachMapping(inode: Mappable, index: number, end: number, visit: (vma: Vma, start: Vpn, end: Vpn) => Sleepable<void>): Sleepable<void> {
  const { mappings } = inode;
  const { lock, sched } = mappings;
  if (mappings.size === 0 && !sched.concurrent) return;
  if (!lock.tryRead(sched)) yield* lock.read(sched);
  try {
    for (const vma of mappings.collect(index, end) as Vma[]) {
      yield* visit(vma, firstMapped(vma, index), endMapped(vma, end));
    }
  } finally {
    lock.readUnlock(sched);
  }
}

/**
 * unmap_mapping_range(): drops what maps pages `[index, end)` of the file, everywhere, each area as an operation of its own.
 * `evenCows`: private copies too. `untold`: the bug switch by which nobody is told.
 */
export function* unmapMappingRange(inode: Mappable, index: number, end: number, evenCows: boolean, untold: UntoldBug | null = null): Sleepable<void> {
  const { mappings } = inode;
  const { lock, sched } = mappings;
  if (mappings.size === 0 && !sched.concurrent) return;
  // As eachMapping: a loop of its own, since a closure for each call costs more than all that it does.
  if (!lock.tryRead(sched)) yield* lock.read(sched);
  try {
    const vmas = mappings.collect(index, end) as Vma[];
    if (vmas.length === 0) return;
    const options: ZapOptions = { keepCows: !evenCows, untold };
    for (let i = 0; i < vmas.length; i++) {
      const vma = vmas[i] as Vma;
      yield* zapPageRangeSingle(vma, firstMapped(vma, index), endMapped(vma, end), options);
    }
  } finally {
    lock.readUnlock(sched);
  }
}

/** The same by plain functions, where nobody else can run and nothing has to wait; false: nothing was done. */
export function unmapMappingNow(inode: Mappable, index: number, end: number, evenCows: boolean, untold: UntoldBug | null = null): boolean {
  const { mappings } = inode;
  const { lock, sched } = mappings;
  if (sched.concurrent) return false;
  if (mappings.size === 0) return true;
  const vmas = mappings.collect(index, end) as Vma[];
  for (let i = 0; i < vmas.length; i++) if (!zapsNow(vmas[i] as Vma, firstMapped(vmas[i] as Vma, index), endMapped(vmas[i] as Vma, end))) return false;
  if (!lock.tryRead(sched)) return false;
  try {
    const options: ZapOptions = { keepCows: !evenCows, untold };
    for (let i = 0; i < vmas.length; i++) zapPageRangeNow(vmas[i] as Vma, firstMapped(vmas[i] as Vma, index), endMapped(vmas[i] as Vma, end), options);
  } finally {
    lock.readUnlock(sched);
  }
  return true;
}

/**
 * pfn_mkclean_range(): takes write and dirty from the shared leaves over pages `[index, index + npages)`, each area under its
 * own PROTECTION_PAGE. Private mappings have nothing to clean.
 */
export function* mkcleanMapping(inode: Mappable, index: number, npages: number): Sleepable<void> {
  const { mappings } = inode;
  const { lock, sched } = mappings;
  if (mappings.size === 0 && !sched.concurrent) return;
  if (!lock.tryRead(sched)) yield* lock.read(sched);
  try {
    const vmas = mappings.collect(index, index + npages) as Vma[];
    for (let i = 0; i < vmas.length; i++) {
      const vma = vmas[i] as Vma;
      if (vma.isShared) yield* mkclean(vma, firstMapped(vma, index), endMapped(vma, index + npages));
    }
  } finally {
    lock.readUnlock(sched);
  }
}

function* mkclean(vma: Vma, start: Vpn, end: Vpn): Sleepable<void> {
  const { mm } = vma;
  const { sched } = mm.platform;
  const range = mm.notifiers.startsNow
    ? invalidateStartNow(mm, 'PROTECTION_PAGE', start, end, null, 'writeback-untold')
    : yield* invalidateStart(mm, 'PROTECTION_PAGE', start, end, null, 'writeback-untold');
  if (sched.concurrent) yield sched.point('mkclean', zapTouches(vma));
  mkcleanArea(vma, start, end);
  invalidateEnd(vma.mm, range);
}

/** Where in the address space an area's part of file pages from `index` on begins, and where that of pages up to `end` ends. */
function firstMapped(vma: Vma, index: number): Vpn {
  return vma.start + (Math.max(index, vma.pgoff) - vma.pgoff);
}

function endMapped(vma: Vma, end: number): Vpn {
  return vma.start + (Math.min(end, vma.pgoff + vma.npages) - vma.pgoff);
}

function mkcleanArea(vma: Vma, start: Vpn, end: Vpn): void {
  const pt = vma.mm.pageTable;
  for (let vpn = pt.nextEntry(start, end, 0); vpn >= 0; ) {
    pt.look(vpn);
    if (isLeafEntry(pt.level, pt.lo) && (isDirty(pt.lo) || isWritable(pt.lo))) {
      pt.setRaw((pt.lo & ~(PTE_DIRTY | PTE_RW)) >>> 0, pt.hi);
    }
    const next = alignDown(vpn, pagesOfLevel(pt.level)) + pagesOfLevel(pt.level);
    vpn = next >= end ? -1 : pt.nextEntry(next, end, 0);
  }
}
