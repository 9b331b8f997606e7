/**
 * Putting entries of device frames into a page table (mm/memory.c: vmf_insert_mixed and its _mkwrite form,
 * mm/huge_memory.c: vmf_insert_pfn_pmd, _pud).
 *
 * Where something is mapped already: a read leaves it; a write with the same frame makes it young, dirty and writable in
 * place; with another frame it leaves it, and the access is tried again. Atomic; the answer is VM_FAULT_NOPAGE or _OOM.
 */
import { LEVEL_PTE, PTE_ACCESSED, PTE_DIRTY, PTE_PRESENT, PTE_PROTNONE, PTE_PSE, PTE_RW, PTE_SPECIAL, PTE_USER } from '../abi.ts';
import { HI_NX, framePfn, isPresent } from '../pgtable/index.ts';
import { alignDown, pagesOfLevel, type Pfn } from '../units.ts';
import { VM_ACCESS, VM_EXEC, VM_FAULT_NOPAGE, VM_FAULT_OOM, VM_WRITE, type Vma, type Vmf } from './vma.ts';

/**
 * Maps the leaf at `level` around `vmf` to `pfn` (the frame of its first page). `write`: at once writable and dirty;
 * `notify` false: also a read gets all the rights of the area (device DAX; a file system wants to hear of the first write).
 */
export function insertDevicePfn(vmf: Vmf, level: number, pfn: Pfn, write: boolean, notify = true): number {
  const { platform } = vmf.vma.mm;
  const kindLo = (level === LEVEL_PTE ? PTE_SPECIAL : 0) | (!notify && vmf.vma.has(VM_WRITE) ? PTE_RW : 0);
  return insertLeaf(vmf, level, pfn, write, kindLo, platform.devmapHi);
}

/** Maps the shared page of zeroes, read only: 4K special, 2M plain. */
export function insertZeroPage(vmf: Vmf, level: number): number {
  const { ram } = vmf.vma.mm.platform;
  return insertLeaf(vmf, level, level === LEVEL_PTE ? ram.zeroPfn : ram.hugeZeroPfn, false, level === LEVEL_PTE ? PTE_SPECIAL : 0, 0);
}

function insertLeaf(vmf: Vmf, level: number, pfn: Pfn, write: boolean, kindLo: number, kindHi: number): number {
  const { vma } = vmf;
  const pt = vma.mm.pageTable;
  const { bus } = vma.mm.platform;
  if (!pt.slot(vmf.vpn, level)) return VM_FAULT_OOM;
  if (pt.level !== level) return VM_FAULT_NOPAGE; // a larger leaf has come: the access is tried again
  if (!pt.none && !overwrites(vma, level)) {
    if (!write || !isPresent(level, pt.lo) || framePfn(pt.lo, pt.hi) !== pfn) return VM_FAULT_NOPAGE;
    pt.setRaw((pt.lo | PTE_ACCESSED | PTE_DIRTY | (vma.has(VM_WRITE) ? PTE_RW : 0)) >>> 0, pt.hi);
  } else {
    pt.set(pfn, vmaFlagsLo(vma.flags, level, write) | kindLo, kindHi + (vma.has(VM_EXEC) ? 0 : HI_NX));
  }
  if (bus.on) bus.emit({ type: 'entry', mm: vma.mm.id, vpn: alignDown(vmf.vpn, pagesOfLevel(level)), level, pfn, write });
  return VM_FAULT_NOPAGE;
}

/** Bug switch insert-overwrites. */
function overwrites(vma: Vma, level: number): boolean {
  return level > LEVEL_PTE && vma.mm.platform.bugs.has('insert-overwrites');
}

/** Low bits of a leaf for a VMA with these flags; `write`: writable (where the VMA allows it) and dirty. */
export function vmaFlagsLo(vmFlags: number, level: number, write: boolean): number {
  const size = level === LEVEL_PTE ? 0 : PTE_PSE;
  if ((vmFlags & VM_ACCESS) === 0) return PTE_PROTNONE | PTE_ACCESSED | size;
  const writable = write && (vmFlags & VM_WRITE) !== 0;
  return PTE_PRESENT | PTE_USER | PTE_ACCESSED | size | (writable ? PTE_RW | PTE_DIRTY : 0);
}
