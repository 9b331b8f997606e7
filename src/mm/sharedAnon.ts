/**
 * Shared anonymous memory (mm/shmem.c: shmem_zero_setup): a file without a name behind the mapping, which has the pages.
 *
 * So its pages outlive their entries: MADV_DONTNEED only unmaps them. They go when the last area that maps them does. A read
 * fault finds or makes the page too, and maps it with all the rights of the area.
 */
import { LEVEL_PTE, PTE_RW } from '../abi.ts';
import { Mappings, type Mappable } from '../fs/index.ts';
import type { Platform } from '../memremap/index.ts';
import { PAGE_CACHE } from '../page/index.ts';
import { HI_NX } from '../pgtable/index.ts';
import type { Pfn } from '../units.ts';
import { vmaFlagsLo } from './insert.ts';
import { addPage } from './thp/index.ts';
import { FAULT_FLAG_WRITE, VM_EXEC, VM_FAULT_FALLBACK, VM_FAULT_NOPAGE, VM_FAULT_OOM, VM_WRITE, type MappedFile, type Vmf } from './vma.ts';

/** The pages of one such file, by page of it. */
type Pages = Map<number, Pfn>;

/** What a shared anonymous mapping maps. */
export function newSharedAnon(platform: Platform): MappedFile {
  const inode: Mappable = { name: 'zero (deleted)', mappings: new Mappings(platform.sched, 'shared anonymous memory', '*') };
  const pages: Pages = new Map();
  return {
    inode,
    writable: true,
    vmOps: {
      name: 'shmem',
      dax: false,
      countsPages: true,
      quickFault: (vmf, level) => (level === LEVEL_PTE ? sharedFault(platform, pages, vmf) : VM_FAULT_FALLBACK),
      *fault(vmf) {
        return sharedFault(platform, pages, vmf);
      },
    },
    vmFlags: 0,
    alignPages: 1,
    preferPages: 1,
    syncSupported: false,
    refuses: () => null,
    released() {
      for (const pfn of pages.values()) platform.ram.put(pfn);
      pages.clear();
    },
  };
}

/** shmem_fault(), and mapping what it found. */
function sharedFault(platform: Platform, pages: Pages, vmf: Vmf): number {
  const { vma, vpn, pgoff } = vmf;
  const { ram, records, bus } = platform;
  const pt = vma.mm.pageTable;
  const there = pages.get(pgoff);
  const pfn = there ?? ram.alloc();
  if (pfn < 0) return VM_FAULT_OOM;
  if (!pt.slot(vpn, LEVEL_PTE)) {
    if (there === undefined) ram.put(pfn);
    return VM_FAULT_OOM;
  }
  if (there === undefined) {
    records.setOwner(pfn, PAGE_CACHE, 0, pgoff);
    pages.set(pgoff, pfn);
  }
  if (!pt.none) return VM_FAULT_NOPAGE;
  const write = (vmf.flags & FAULT_FLAG_WRITE) !== 0;
  addPage(vma.mm, LEVEL_PTE, pfn);
  pt.set(pfn, vmaFlagsLo(vma.flags, LEVEL_PTE, write) | (vma.has(VM_WRITE) ? PTE_RW : 0), vma.has(VM_EXEC) ? 0 : HI_NX);
  if (bus.on) bus.emit({ type: 'entry', mm: vma.mm.id, vpn, level: LEVEL_PTE, pfn, write: vma.has(VM_WRITE) });
  return VM_FAULT_NOPAGE;
}
