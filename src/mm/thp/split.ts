/**
 * A huge leaf becomes ptes, or goes (mm/huge_memory.c: __split_huge_pmd_locked, __split_huge_pud_locked). Within an
 * invalidation that the caller has open.
 *
 * Anonymous: the same pages by 512 ptes of the same rights; the page of zeroes likewise, 4K of zeroes each. Of a file or a
 * device: the leaf goes, and the next touch faults. A 1G leaf always goes. That it was written to is known of the block then,
 * no more of its entries.
 *
 * The pages of a transparent huge page stay one block, mapped by parts; `Ram.split` is what takes the block apart.
 */
import { LEVEL_PMD, LEVEL_PTE, LEVEL_PUD, PMD_PAGES, PTE_DIRTY, PTE_RW, PTE_SPECIAL } from '../../abi.ts';
import { HmmError } from '../../errno.ts';
import { DEVICE_BASE_PFN, PAGE_EXCLUSIVE } from '../../page/index.ts';
import { framePfn, isLeafEntry, isPresent, isSpecial } from '../../pgtable/index.ts';
import { addrOf, type Pfn, type Vpn } from '../../units.ts';
import type { Mm } from '../mm.ts';
import { writeLeaf } from '../mprotect.ts';
import type { Vma } from '../vma.ts';

/** Splits or drops the huge leaf that begins at `base`, if there is one of `level`; true when there was. ENOMEM without a frame for the table. */
export function splitHugeLeaf(vma: Vma, base: Vpn, level: number): boolean {
  const { mm } = vma;
  const pt = mm.pageTable;
  pt.look(base);
  if (pt.level !== level || !isLeafEntry(level, pt.lo)) return false;
  const { lo, hi } = pt;
  if (level === LEVEL_PUD || vma.ops !== null) {
    pt.setRaw(0, 0);
    if (isCounted(mm, level, lo, hi)) dropPage(mm, level, framePfn(lo, hi));
    return true;
  }
  const zero = mm.platform.ram.isZero(framePfn(lo, hi));
  pt.setRaw((lo & ~PTE_DIRTY) >>> 0, hi);
  if (!pt.split(base, LEVEL_PMD)) throw new HmmError('ENOMEM', 'split_huge_pmd', 'no table frame left in the arena', addrOf(base));
  if (zero) mapZeroes(mm, base);
  else mapByParts(mm, framePfn(lo, hi));
  return true;
}

/** Every pte of the new table is to be the page of zeroes, read only. */
function mapZeroes(mm: Mm, base: Vpn): void {
  const pt = mm.pageTable;
  for (let i = 0; i < PMD_PAGES; i++) {
    pt.look(base + i);
    writeLeaf(mm, mm.platform.ram.zeroPfn, ((pt.lo & 0xfff & ~(PTE_RW | PTE_DIRTY)) | PTE_SPECIAL) >>> 0, (pt.hi & 0xfff00000) >>> 0);
  }
}

/** One mapping of the whole block has become one of each page. What was true of the block is now true of each. */
function mapByParts(mm: Mm, head: Pfn): void {
  const { records } = mm.platform;
  const flags = records.flags(head);
  records.addWholeMappings(head, -1);
  records.addRefs(head, PMD_PAGES - 1);
  for (let i = 0; i < PMD_PAGES; i++) {
    records.addMappings(head + i, 1);
    if (i > 0) records.setFlags(head + i, records.flags(head + i) | flags);
  }
}

/** Does the leaf map an ordinary page, whose mappings count? */
export function isCounted(mm: Mm, level: number, lo: number, hi: number): boolean {
  if (!isPresent(level, lo) || (level === LEVEL_PTE && isSpecial(lo))) return false;
  const pfn = framePfn(lo, hi);
  return pfn < DEVICE_BASE_PFN && !mm.platform.ram.isZero(pfn);
}

/** A page, or a block mapped whole by a leaf of `level`, gains a mapping and the reference that this holds. */
export function addPage(mm: Mm, level: number, pfn: Pfn): void {
  const { ram, records } = mm.platform;
  if (level === LEVEL_PTE) records.addMappings(pfn, 1);
  else records.addWholeMappings(pfn, 1);
  ram.get(pfn);
}

/** A page, or a block mapped whole by a leaf of `level`, loses a mapping and the reference that this held. */
export function dropPage(mm: Mm, level: number, pfn: Pfn): void {
  const { ram, records } = mm.platform;
  if (level === LEVEL_PTE) records.addMappings(pfn, -1);
  else records.addWholeMappings(pfn, -1);
  ram.put(pfn);
}

/** Does the page behind a leaf belong to this process alone? */
export function isExclusive(mm: Mm, pfn: Pfn): boolean {
  return pfn < DEVICE_BASE_PFN && (mm.platform.records.flags(pfn) & PAGE_EXCLUSIVE) !== 0;
}
