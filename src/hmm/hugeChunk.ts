/**
 * What a range walk finds of a huge page of a pool (mm/hmm.c: hmm_vma_walk_hugetlb_entry, mm/pagewalk.c: walk_hugetlb_range).
 *
 * Where there is a page table for it the word has the page's order even if nothing is mapped, and then the number of the page within its
 * huge page stands where the frame would. Without one it is a hole like others.
 */
import type { Mm } from '../mm/index.ts';
import { framePfn, isPresent, isProtNone, isWritable } from '../pgtable/index.ts';
import { alignDown, type Vpn } from '../units.ts';

export interface HugeChunk {
  /** where the part of this huge page ends that the walk is over */
  readonly end: Vpn;
  /** there is a page table: only the first page's request counts */
  readonly table: boolean;
  readonly valid: boolean;
  readonly write: boolean;
  /** frame, or what stands for one, of the first page; the others count on */
  readonly frame: number;
}

export function hugeChunk(mm: Mm, page: { readonly level: number; readonly npages: number }, at: Vpn, end: Vpn): HugeChunk {
  const base = alignDown(at, page.npages);
  const pt = mm.pageTable;
  pt.look(base);
  const chunk = { end: Math.min(end, base + page.npages), frame: 0, valid: false, write: false };
  if (pt.level !== page.level) return { ...chunk, table: false };
  if (pt.none) return { ...chunk, table: true, frame: at - base };
  const valid = isPresent(pt.level, pt.lo) && !isProtNone(pt.lo);
  return { ...chunk, table: true, valid, write: valid && isWritable(pt.lo), frame: framePfn(pt.lo, pt.hi) + (at - base) };
}
