/**
 * Copy on write of a huge page as one (mm/huge_memory.c: do_huge_pmd_wp_page, up to 5.7). Later kernels split the leaf, and copy the
 * one 4K page that is written to.
 */
import { LEVEL_PMD, PMD_PAGES } from '../../abi.ts';
import { HI_NX, framePfn, isLeafEntry } from '../../pgtable/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import { alignDown } from '../../units.ts';
import { ownPage } from '../anonVma.ts';
import { vmaFlagsLo } from '../insert.ts';
import { invalidateEnd, invalidateStart } from '../mm.ts';
import { VM_EXEC, VM_FAULT_DONE_COW, VM_FAULT_FALLBACK, type Vmf } from '../vma.ts';
import { dropPage } from './split.ts';

/** A write to the read-only huge leaf found last, which others have too, or which is the page of zeroes: CLEAR over it. FALLBACK where memory ran out. */
export function* copyHugePage(vmf: Vmf): Sleepable<number> {
  const { mm } = vmf.vma;
  const { ram, records, arena, sched } = mm.platform;
  const pt = mm.pageTable;
  const base = alignDown(vmf.vpn, PMD_PAGES);
  const old = framePfn(pt.lo, pt.hi);
  const copy = ram.alloc(9);
  if (copy < 0) return VM_FAULT_FALLBACK;
  if (!ram.isZero(old) && !arena.content.copy(copy * 4096, old * 4096, PMD_PAGES * 4096)) {
    ram.put(copy);
    return VM_FAULT_FALLBACK;
  }
  const range = yield* invalidateStart(mm, 'CLEAR', base, base + PMD_PAGES);
  if (sched.concurrent) yield sched.point('copy huge page on write', '*');
  pt.look(base);
  const unchanged = pt.level === LEVEL_PMD && isLeafEntry(LEVEL_PMD, pt.lo) && framePfn(pt.lo, pt.hi) === old;
  if (unchanged) {
    ownPage(vmf.vma, copy, base);
    records.addWholeMappings(copy, 1);
    pt.set(copy, vmaFlagsLo(vmf.vma.flags, LEVEL_PMD, true), vmf.vma.has(VM_EXEC) ? 0 : HI_NX);
    if (!ram.isZero(old)) dropPage(mm, LEVEL_PMD, old);
  } else ram.put(copy);
  invalidateEnd(mm, range);
  return unchanged ? VM_FAULT_DONE_COW : 0;
}
