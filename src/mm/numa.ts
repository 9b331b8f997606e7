/**
 * NUMA hints (mm/mempolicy.c: change_prot_numa, mm/memory.c: do_numa_page): entries made PROT_NONE in an area that may be accessed,
 * so that the next access tells who uses the page. There is one node here: the access finds the page where it belongs.
 *
 * A hint keeps the entry's right to write, so that the fault can give it back. Not hinted: entries that are hints already, what is no
 * ordinary page by ptes (zeroes, DAX), pages of a private area that others map too, dirty pages of a file.
 */
import { LEVEL_PMD, LEVEL_PTE, PTE_ACCESSED, PTE_PRESENT, PTE_PROTNONE, PUD_PAGES } from '../abi.ts';
import { HmmError } from '../errno.ts';
import { PAGE_CACHE, PAGE_DIRTY, DEVICE_BASE_PFN } from '../page/index.ts';
import { framePfn, isLeafEntry, isPresent, isProtNone, isSpecial, type PageTable } from '../pgtable/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { addrOf, alignDown, pagesOfLevel, type Vpn } from '../units.ts';
import { invalidateEnd, invalidateStart, type Mm } from './mm.ts';
import { VM_ACCESS, type Vma, type Vmf } from './vma.ts';
import { splitHugeEdges } from './zap.ts';

/** Hints in `[start, end)`; returns the pages under them. EINVAL: a part that is not mapped, or may not be accessed. */
export function* changeProtNuma(mm: Mm, start: Vpn, end: Vpn): Sleepable<number> {
  const { sched } = mm.platform;
  if (!mm.mmapLock.tryRead(sched)) yield* mm.mmapLock.read(sched);
  try {
    let changed = 0;
    for (let at = start; at < end; ) {
      const vma = mm.vmas.at(at);
      if (vma === null || (vma.flags & VM_ACCESS) === 0) throw new HmmError('EINVAL', 'change_prot_numa', 'not mapped for access', addrOf(at));
      const upTo = Math.min(end, vma.end, alignDown(at, PUD_PAGES) + PUD_PAGES);
      changed += yield* hintStretch(vma, at, upTo);
      at = upTo;
    }
    return changed;
  } finally {
    mm.mmapLock.readUnlock(sched);
  }
}

/** Within one pmd table: the event is raised from the first populated entry on, as mprotect's. */
function* hintStretch(vma: Vma, start: Vpn, end: Vpn): Sleepable<number> {
  const { mm } = vma;
  const { sched } = mm.platform;
  const first = mm.pageTable.nextEntry(start, end, LEVEL_PMD);
  if (first < 0) return 0;
  const range = yield* invalidateStart(mm, 'PROTECTION_VMA', first, end, null, 'numa-untold');
  if (sched.concurrent) yield sched.point('change_prot_numa', '*');
  let split = true;
  while (split) split = yield* splitHugeEdges(vma, first, end); // what the range has a part of
  const pt = mm.pageTable;
  let changed = 0;
  for (let vpn = pt.nextEntry(first, end, LEVEL_PTE); vpn >= 0; ) {
    pt.look(vpn);
    const npages = pagesOfLevel(pt.level);
    const next = alignDown(vpn, npages) + npages;
    if (mayHint(vma, pt)) {
      pt.setRaw(((~pt.lo & 0xfffff000) | (pt.lo & 0xffe) | PTE_PROTNONE) >>> 0, ((~pt.hi & 0xfffff) | (pt.hi & 0xfff00000)) >>> 0);
      changed += npages;
      mm.mayHaveSwapEntries = true;
    }
    vpn = next >= end ? -1 : pt.nextEntry(next, end, LEVEL_PTE);
  }
  invalidateEnd(mm, range);
  return changed;
}

/** May the entry found last become a hint? */
function mayHint(vma: Vma, pt: PageTable): boolean {
  const { level, lo, hi } = pt;
  const { ram } = vma.mm.platform;
  if (level > LEVEL_PMD || !isPresent(level, lo) || !isLeafEntry(level, lo) || isProtNone(lo)) return false;
  const pfn = framePfn(lo, hi);
  if (level === LEVEL_PMD) return !ram.isZero(pfn);
  if (isSpecial(lo) || pfn >= DEVICE_BASE_PFN || ram.isZero(pfn)) return false;
  if (vma.isCow && ram.mappings(pfn) !== 1) return false;
  return (ram.flags(pfn) & (PAGE_CACHE | PAGE_DIRTY)) !== (PAGE_CACHE | PAGE_DIRTY);
}

/** do_numa_page(), do_huge_pmd_numa_page(): the hint found last is an entry as before. The access is to be tried again. */
export function numaFault({ vma }: Vmf): number {
  const pt = vma.mm.pageTable;
  const lo = (~pt.lo & 0xfffff000) | (pt.lo & 0xffe & ~PTE_PROTNONE) | PTE_PRESENT | PTE_ACCESSED;
  pt.setRaw(lo >>> 0, ((~pt.hi & 0xfffff) | (pt.hi & 0xfff00000)) >>> 0);
  return 0;
}
