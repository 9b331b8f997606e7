/**
 * fork: the child gets the parent's areas, and of the entries those that a fault could not make again (kernel/fork.c: dup_mmap,
 * mm/memory.c: copy_page_range, mm/huge_memory.c: copy_huge_pmd).
 *
 * Copied are areas with anonymous pages and areas of bare frames. All else, shared and DAX mappings above all, is faulted by the
 * child itself. Where writes will be copied both sides become read only, under one PROTECTION_PAGE over the parent's area.
 * A page that somebody has pinned stays the parent's, writable, and the child gets a copy at once.
 */
import { LEVEL_PMD, LEVEL_PTE, LEVEL_PUD, PMD_PAGES, PTE_ACCESSED, PTE_DIRTY, PTE_RW, PUD_PAGES } from '../abi.ts';
import { HmmError } from '../errno.ts';
import { PAGE_ANON, PAGE_EXCLUSIVE } from '../page/index.ts';
import { HI_NX, framePfn, isPresent, isSwapEntry } from '../pgtable/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { addrOf, alignDown, type Pfn, type Vpn } from '../units.ts';
import { forkAnonVma, ownPage } from './anonVma.ts';
import { copyNonPresent } from './forkEntry.ts';
import { copyHuge } from './hugetlb/fork.ts';
import { vmaFlagsLo } from './insert.ts';
import { exitMm, requireAlive } from './mmap.ts';
import { invalidateEnd, invalidateStart, type Mm } from './mm.ts';
import { writeLeaf } from './mprotect.ts';
import { linkVma, lockMappings, unlockMappings } from './rmap.ts';
import { addPage, isCounted } from './thp/index.ts';
import { VM_DONTCOPY, VM_EXEC, VM_HUGETLB, VM_LOCKED, VM_MIXEDMAP, VM_PFNMAP, VM_UFFD_MISSING, VM_WIPEONFORK, Vma } from './vma.ts';
import { splitHuge } from './zap.ts';

/** Fills `child`, a fresh space, from `mm`. ENOMEM: the child is gone again; what became read only in the parent stays so. */
export function* forkMm(mm: Mm, child: Mm): Sleepable<void> {
  const { sched, bus } = mm.platform;
  if (!mm.mmapLock.tryWrite(sched)) yield* mm.mmapLock.write(sched);
  try {
    requireAlive(mm, 'fork');
    for (let vma = mm.vmas.first(); vma !== null; vma = mm.vmas.next(vma)) {
      if (vma.has(VM_DONTCOPY)) continue;
      const copy = yield* copyVma(child, vma);
      if (!vma.has(VM_WIPEONFORK)) yield* copyEntries(copy, vma);
    }
    if (bus.on) bus.emit({ type: 'fork', mm: mm.id, child: child.id });
  } catch (error) {
    yield* exitMm(child);
    throw error;
  } finally {
    mm.mmapLock.writeUnlock(sched);
  }
}

function* copyVma(child: Mm, vma: Vma): Sleepable<Vma> {
  const copy = new Vma(child, vma.start, vma.end, vma.flags & ~(VM_LOCKED | VM_UFFD_MISSING), vma.file, vma.pgoff);
  if (!vma.has(VM_WIPEONFORK)) forkAnonVma(copy, vma);
  yield* lockMappings(copy.file);
  child.vmas.insert(copy);
  linkVma(copy);
  unlockMappings(copy.file);
  return copy;
}

/** copy_page_range() */
function* copyEntries(copy: Vma, vma: Vma): Sleepable<void> {
  const always = vma.has(VM_PFNMAP | VM_MIXEDMAP) || (vma.has(VM_HUGETLB) && vma.mm.platform.profile.forkCopiesHugetlb);
  if (vma.anonVma === null && !always) return;
  if (vma.has(VM_HUGETLB)) return yield* copyHuge(copy, vma);
  if (vma.has(VM_PFNMAP)) requireFrames(vma);
  const { mm } = vma;
  const { sched } = mm.platform;
  const range = vma.isCow ? yield* invalidateStart(mm, 'PROTECTION_PAGE', vma.start, vma.end, null, 'fork-untold') : null;
  if (sched.concurrent) yield sched.point(`fork ${mm.name}`, '*');
  try {
    const pt = mm.pageTable;
    // Tables are made where the parent has tables, whether or not anything is in them.
    for (let at = pt.nextEntry(vma.start, vma.end, LEVEL_PUD); at >= 0; ) {
      const end = Math.min(vma.end, alignDown(at, PUD_PAGES) + PUD_PAGES);
      pt.look(at);
      if (pt.level < LEVEL_PUD) yield* copyGib(copy, vma, at, end);
      at = end >= vma.end ? -1 : pt.nextEntry(end, vma.end, LEVEL_PUD);
    }
  } finally {
    invalidateEnd(mm, range);
  }
}

/** track_pfn_copy(): which frames an area of bare frames has is asked of its first entry; where that has been copied there is no answer. ENOMEM. */
function requireFrames(vma: Vma): void {
  const pt = vma.mm.pageTable;
  if (pt.look(vma.start) && isCounted(vma.mm, pt.level, pt.lo, pt.hi)) throw new HmmError('ENOMEM', 'fork', 'the first page of an area of bare frames is a copy', addrOf(vma.start));
}

/** copy_pmd_range(): `[start, end)` lies in one PMD table. */
function* copyGib(copy: Vma, vma: Vma, start: Vpn, end: Vpn): Sleepable<void> {
  const pt = vma.mm.pageTable;
  makeTables(copy, start, LEVEL_PMD);
  for (let at = pt.nextEntry(start, end, LEVEL_PMD); at >= 0; ) {
    const upTo = Math.min(end, alignDown(at, PMD_PAGES) + PMD_PAGES);
    pt.look(at);
    if (pt.level === LEVEL_PTE || !(yield* copyHugeLeaf(copy, vma, alignDown(at, PMD_PAGES)))) copyTable(copy, vma, at, upTo);
    at = upTo >= end ? -1 : pt.nextEntry(upTo, end, LEVEL_PMD);
  }
}

/** copy_huge_pmd() of the entry found last; false: it is a table now. A leaf of a file is left to the child's own fault. */
function* copyHugeLeaf(copy: Vma, vma: Vma, base: Vpn): Sleepable<boolean> {
  const { mm } = vma;
  const { ram, records } = mm.platform;
  const pt = mm.pageTable;
  if (vma.ops !== null || !isPresent(LEVEL_PMD, pt.lo)) return true;
  const pfn = framePfn(pt.lo, pt.hi);
  const counted = isCounted(mm, LEVEL_PMD, pt.lo, pt.hi);
  if (counted && isPinned(vma, pfn)) {
    yield* splitHuge(vma, base, PMD_PAGES);
    return false;
  }
  makeTables(copy, base, LEVEL_PMD);
  if (counted) {
    records.setFlags(ram.head(pfn), records.flags(ram.head(pfn)) & ~PAGE_EXCLUSIVE);
    addPage(copy.mm, LEVEL_PMD, pfn);
  }
  const { lo, hi } = pt;
  pt.setRaw((lo & ~PTE_RW) >>> 0, hi);
  copy.mm.pageTable.setRaw((lo & ~(PTE_RW | PTE_ACCESSED)) >>> 0, hi);
  return true;
}

/** copy_pte_range(): `[start, end)` lies in one table. */
function copyTable(copy: Vma, vma: Vma, start: Vpn, end: Vpn): void {
  const pt = vma.mm.pageTable;
  makeTables(copy, start, LEVEL_PTE);
  for (let vpn = pt.nextEntry(start, end, LEVEL_PTE); vpn >= 0; ) {
    pt.look(vpn);
    if (!isSwapEntry(LEVEL_PTE, pt.lo, pt.hi) || copyNonPresent(copy, vma, vpn)) copyPresent(copy, vma, vpn);
    vpn = vpn + 1 >= end ? -1 : pt.nextEntry(vpn + 1, end, LEVEL_PTE);
  }
}

/** copy_present_pte() of the entry found last */
function copyPresent(copy: Vma, vma: Vma, vpn: Vpn): void {
  const { mm } = vma;
  const pt = mm.pageTable;
  const { lo, hi } = pt;
  makeTables(copy, vpn, LEVEL_PTE);
  if (isCounted(mm, LEVEL_PTE, lo, hi)) {
    const pfn = framePfn(lo, hi);
    if (isPinned(vma, pfn)) {
      copyPinned(copy, pfn, vpn);
      return;
    }
    const { records } = mm.platform;
    if ((records.flags(pfn) & PAGE_EXCLUSIVE) !== 0) records.setFlags(pfn, records.flags(pfn) & ~PAGE_EXCLUSIVE);
    addPage(copy.mm, LEVEL_PTE, pfn);
  }
  const shown = vma.isCow ? lo & ~PTE_RW : lo;
  if (shown !== lo) pt.setRaw(shown >>> 0, hi);
  copy.mm.pageTable.setRaw((shown & ~(PTE_ACCESSED | (vma.isShared ? PTE_DIRTY : 0))) >>> 0, hi);
}

/** Is it an anonymous page of this process alone, that somebody has pinned (page_needs_cow_for_dma)? */
function isPinned(vma: Vma, pfn: Pfn): boolean {
  const { ram, records } = vma.mm.platform;
  if ((records.flags(pfn) & (PAGE_ANON | PAGE_EXCLUSIVE)) !== (PAGE_ANON | PAGE_EXCLUSIVE)) return false;
  return vma.isCow && records.pins(ram.head(pfn)) > 0;
}

/** copy_present_page(): what the pin sees has to stay the parent's, so the child's copy is made now. */
function copyPinned(copy: Vma, pfn: Pfn, vpn: Vpn): void {
  const { ram, records, arena } = copy.mm.platform;
  const own = ram.alloc();
  if (own < 0) throw noMemory('no page for the child', vpn);
  if (!arena.content.copy(own * 4096, pfn * 4096, 4096)) {
    ram.put(own);
    throw noMemory('no room in the arena for the bytes', vpn);
  }
  ownPage(copy, own, vpn);
  records.addMappings(own, 1);
  writeLeaf(copy.mm, own, vmaFlagsLo(copy.flags, LEVEL_PTE, true) | PTE_DIRTY, copy.has(VM_EXEC) ? 0 : HI_NX);
}

/** The child's entry at `level` for `vpn`, to be found next. */
function makeTables(copy: Vma, vpn: Vpn, level: number): void {
  if (!copy.mm.pageTable.slot(vpn, level)) throw noMemory('no table frame left in the arena', vpn);
}

function noMemory(what: string, vpn: Vpn): HmmError {
  return new HmmError('ENOMEM', 'fork', what, addrOf(vpn));
}
