/**
 * Mappings of no file system: [vvar] and [vdso] (mm/mmap.c: special mappings), /dev/mem and /dev/zero (drivers/char/mem.c).
 *
 * [vvar] and /dev/mem are bare frames (VM_PFNMAP): HMM and GUP see nothing of them, the CPU does. [vdso] has ordinary pages, which a
 * write would copy. None of them is cut or merged. A private mapping of /dev/zero is anonymous memory, a shared one a file of
 * its own in memory.
 */
import { LEVEL_PTE, PTE_RW, PTE_SPECIAL } from '../abi.ts';
import { HmmError } from '../errno.ts';
import { Mappings, type Mappable } from '../fs/index.ts';
import type { Platform } from '../memremap/index.ts';
import { RAM_BASE_PFN } from '../page/index.ts';
import { HI_NX } from '../pgtable/index.ts';
import type { Pfn } from '../units.ts';
import { installCow } from './fault.ts';
import { ShmemFile, newSharedAnon, openShmem } from './filemap/shmem.ts';
import { vmaFlagsLo } from './insert.ts';
import { addPage } from './thp/index.ts';
import {
  FAULT_FLAG_WRITE, VM_DONTEXPAND, VM_EXEC, VM_FAULT_FALLBACK, VM_FAULT_NOPAGE, VM_FAULT_OOM, VM_FAULT_SIGBUS, VM_IO, VM_MAYEXEC, VM_MAYWRITE, VM_MIXEDMAP, VM_PFNMAP, VM_WRITE,
  type MappedFile, type Vma, type VmOps, type Vmf,
} from './vma.ts';

/** The first MiB of memory, which /dev/mem shows: frames that belong to nobody else. */
const LOW_PAGES = 256;
const LOW_PFN: Pfn = RAM_BASE_PFN + LOW_PAGES;
/** 64 MiB */
const DEV_PAGES_BYTES = 2 ** 26;
/** what the video BIOS begins with */
const ROM_PAGE = 0xc0;
/** what a program begins with, the one that the kernel maps too */
const ELF = Uint8Array.of(0x7f, 0x45, 0x4c, 0x46);
const ROM_SIGNATURE = Uint8Array.of(0x55, 0xaa);

/** A special mapping of `npages`: bare frames, or pages of the kernel's own. */
export function specialMapping(platform: Platform, name: '[vvar]' | '[vdso]', npages: number): MappedFile {
  const bare = name === '[vvar]';
  const pages = Array.from({ length: npages }, () => platform.ram.alloc());
  for (const pfn of pages) platform.ledger?.took(pfn, 1, name);
  platform.ledger?.handed(pages);
  if (!bare) platform.arena.content.write((pages[0] as Pfn) * 4096, ELF, 0, ELF.length);
  const file = special(platform, name, {
    vmFlags: VM_DONTEXPAND | (bare ? VM_IO | VM_PFNMAP : 0),
    maySplit: false,
    fault: (vmf) => {
      const pfn = pages[vmf.pgoff] ?? -1;
      return pfn < 0 ? VM_FAULT_SIGBUS : bare ? mapFrame(vmf.vma, vmf.vpn, pfn) : mapKernelPage(vmf, pfn);
    },
  });
  return {
    ...file,
    attach(vma) {
      if (bare) vma.flags &= ~(VM_MAYWRITE | VM_MAYEXEC);
    },
  };
}

/** /dev/mem: its frames are mapped with the area. EPERM for what is not in the first MiB. */
export function devMem(platform: Platform): MappedFile {
  platform.arena.content.write((LOW_PFN + ROM_PAGE) * 4096, ROM_SIGNATURE, 0, ROM_SIGNATURE.length);
  const file = special(platform, 'mem', { vmFlags: VM_IO | VM_PFNMAP | VM_DONTEXPAND, maySplit: true, fault: () => VM_FAULT_SIGBUS });
  return {
    ...file,
    refuses: (_shared, _start, npages, pgoff) => (pgoff + npages > LOW_PAGES ? 'EPERM' : null),
    mapped(vma) {
      for (let vpn = vma.start; vpn < vma.end; vpn++) {
        if (mapFrame(vma, vpn, LOW_PFN + vma.pgoffOf(vpn)) === VM_FAULT_OOM) throw new HmmError('ENOMEM', 'mmap', 'no table frame left in the arena');
      }
    },
  };
}

/** A driver that maps pages of its own (VM_MIXEDMAP), kept in memory as drivers of graphics cards keep theirs. No kernel has it by that name. */
export function devPages(platform: Platform): MappedFile {
  const pages = new ShmemFile(platform, { name: 'pages', size: DEV_PAGES_BYTES, huge: false });
  pages.holders++;
  const file = openShmem(pages, true);
  return { ...file, vmFlags: file.vmFlags | VM_MIXEDMAP };
}

/** /dev/zero */
export function devZero(platform: Platform): MappedFile {
  const inode: Mappable = { name: 'zero', mappings: new Mappings(platform.sched, '/dev/zero', '*') };
  return {
    inode,
    writable: true,
    vmOps: null,
    vmFlags: 0,
    alignPages: 1,
    preferPages: 1,
    syncSupported: false,
    refuses: () => null,
    instead: (shared, npages) => (shared ? newSharedAnon(platform, npages) : null),
    calls: {
      *read(_offset, target) {
        target.fill(0);
        return target.length;
      },
      *write(_offset, source) {
        return source.length;
      },
      *truncate() {
        throw new HmmError('EINVAL', 'truncate', 'a device has no size');
      },
      *fallocate() {
        throw new HmmError('ENODEV', 'fallocate', 'a device has no blocks');
      },
      *sync() {
        throw new HmmError('EINVAL', 'fsync', 'a device keeps nothing');
      },
      stat: () => ({ size: 0, blocks: 0, dax: false }),
      extents: () => null,
    },
  };
}

interface SpecialKind {
  readonly vmFlags: number;
  readonly maySplit: boolean;
  fault(vmf: Vmf): number;
}

function special(platform: Platform, name: string, kind: SpecialKind): MappedFile {
  const ops: VmOps = {
    name,
    dax: false,
    countsPages: true,
    quickFault: (vmf, level) => (level === LEVEL_PTE ? kind.fault(vmf) : VM_FAULT_FALLBACK),
    *fault(vmf) {
      return kind.fault(vmf);
    },
    maySplit: () => kind.maySplit,
  };
  return {
    inode: { name, mappings: new Mappings(platform.sched, name, '*') },
    writable: true,
    vmOps: ops,
    vmFlags: kind.vmFlags,
    alignPages: 1,
    preferPages: 1,
    syncSupported: false,
    refuses: () => null,
  };
}

/** vmf_insert_pfn(), remap_pfn_range(): a frame without a page. */
function mapFrame(vma: Vma, vpn: number, pfn: Pfn): number {
  const pt = vma.mm.pageTable;
  if (!pt.slot(vpn, LEVEL_PTE)) return VM_FAULT_OOM;
  const rights = vma.isShared && vma.has(VM_WRITE) ? PTE_RW : 0;
  if (pt.none) pt.set(pfn, vmaFlagsLo(vma.flags, LEVEL_PTE, false) | rights | PTE_SPECIAL, vma.has(VM_EXEC) ? 0 : HI_NX);
  return VM_FAULT_NOPAGE;
}

function mapKernelPage(vmf: Vmf, pfn: Pfn): number {
  const { vma } = vmf;
  const pt = vma.mm.pageTable;
  if ((vmf.flags & FAULT_FLAG_WRITE) !== 0) return installCow(vmf, pfn);
  if (!pt.slot(vmf.vpn, LEVEL_PTE)) return VM_FAULT_OOM;
  if (!pt.none) return VM_FAULT_NOPAGE;
  addPage(vma.mm, LEVEL_PTE, pfn);
  pt.set(pfn, vmaFlagsLo(vma.flags, LEVEL_PTE, false), vma.has(VM_EXEC) ? 0 : HI_NX);
  return VM_FAULT_NOPAGE;
}
