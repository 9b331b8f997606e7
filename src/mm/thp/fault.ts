/**
 * Faults of anonymous memory at 2 MiB (mm/huge_memory.c: do_huge_pmd_anonymous_page, do_huge_pmd_wp_page). THP is in `madvise`
 * mode: only areas that asked for it (VM_HUGEPAGE) get huge pages, and khugepaged makes none.
 *
 * Nothing here sleeps or tells anyone: the splitting of a leaf that falls back is the caller's.
 */
import { LEVEL_PMD, PMD_PAGES, PTE_ACCESSED, PTE_DIRTY, PTE_RW } from '../../abi.ts';
import { PAGE_EXCLUSIVE } from '../../page/index.ts';
import { HI_NX, framePfn } from '../../pgtable/index.ts';
import { alignDown, type Pfn, type Vpn } from '../../units.ts';
import { movePage, ownPage } from '../anonVma.ts';
import { vmaFlagsLo } from '../insert.ts';
import type { Mm } from '../mm.ts';
import { FAULT_FLAG_WRITE, VM_EXEC, VM_FAULT_FALLBACK, VM_FAULT_OOM, VM_HUGEPAGE, VM_NOHUGEPAGE, VM_WRITE, type Vma, type Vmf } from '../vma.ts';

/** May the 2 MiB around `vpn` be one page? hugepage_vma_check() and transhuge_vma_suitable() of an anonymous area. */
export function fitsHugePage(vma: Vma, vpn: Vpn): boolean {
  if (!vma.has(VM_HUGEPAGE) || vma.has(VM_NOHUGEPAGE)) return false;
  const base = alignDown(vpn, PMD_PAGES);
  return base >= vma.start && base + PMD_PAGES <= vma.end;
}

/**
 * At a pmd that is none, where fitsHugePage: the huge page of zeroes for a read, a huge page for a write; FALLBACK where there is
 * none to be had. The caller has prepared the anon_vma, for a read too.
 */
export function hugeAnonymousFault(vmf: Vmf): number {
  const { vma } = vmf;
  const { ram, records, bus } = vma.mm.platform;
  const pt = vma.mm.pageTable;
  const base = alignDown(vmf.vpn, PMD_PAGES);
  const write = (vmf.flags & FAULT_FLAG_WRITE) !== 0;
  const pfn = write ? ram.alloc(9) : ram.hugeZeroPfn;
  if (pfn < 0) return VM_FAULT_FALLBACK;
  if (!pt.slot(vmf.vpn, LEVEL_PMD)) {
    if (write) ram.put(pfn);
    return VM_FAULT_OOM;
  }
  if (write) {
    ownPage(vma, pfn, base);
    records.addWholeMappings(pfn, 1);
  }
  pt.set(pfn, vmaFlagsLo(vma.flags, LEVEL_PMD, write), vma.has(VM_EXEC) ? 0 : HI_NX);
  if (bus.on) bus.emit({ type: 'entry', mm: vma.mm.id, vpn: base, level: LEVEL_PMD, pfn, write });
  return 0;
}

/**
 * A write to the read-only huge leaf found last: it becomes writable where the page is this process's alone, or nobody else has
 * it any more. FALLBACK: shared, or zeroes: it is to be split, and the page copied.
 */
export function reuseHugePage(vmf: Vmf): number {
  const { vma } = vmf;
  const { ram, records, profile } = vma.mm.platform;
  const pt = vma.mm.pageTable;
  const pfn = framePfn(pt.lo, pt.hi);
  if (ram.isZero(pfn)) return VM_FAULT_FALLBACK;
  const flags = records.flags(pfn);
  if ((flags & PAGE_EXCLUSIVE) === 0) {
    if ((profile.cowCountsMappings ? mostMappings(vma.mm, pfn) : ram.refs(pfn)) > 1) return VM_FAULT_FALLBACK;
    movePage(vma, pfn);
  }
  const write = (vmf.flags & FAULT_FLAG_WRITE) !== 0; // else who holds it for reading is content
  if (write) pt.setRaw((pt.lo | PTE_ACCESSED | PTE_DIRTY | (vma.has(VM_WRITE) ? PTE_RW : 0)) >>> 0, pt.hi);
  return 0;
}

/** page_trans_huge_mapcount(): how often a page is mapped; of a block, the page of it that is mapped most. */
export function mostMappings(mm: Mm, pfn: Pfn): number {
  const { ram, records } = mm.platform;
  const head = ram.head(pfn);
  const npages = 2 ** ram.order(head);
  if (npages === 1) return records.mappings(pfn);
  let most = 0;
  for (let i = 0; i < npages; i++) most = Math.max(most, records.mappings(head + i));
  return most + records.wholeMappings(head);
}
