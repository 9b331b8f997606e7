/**
 * handle_mm_fault(): makes an address accessible, or says why not (mm/memory.c).
 *
 * Order: PUD, PMD, PTE; each size is tried only where nothing is mapped at it, and VM_FAULT_FALLBACK goes on with the next
 * smaller. A leaf that lacks write goes the write-protect way of its size. The caller holds mmap_lock for reading.
 * Rights of the VMA are the caller's to check: the fault handler does not (which is how the 2019 API could spin).
 */
import { LEVEL_PTE, LEVEL_PUD, PTE_ACCESSED, PTE_DIRTY, PTE_RW, PTE_SPECIAL } from '../abi.ts';
import { PAGE_ANON, PAGE_EXCLUSIVE, DEVICE_BASE_PFN } from '../page/index.ts';
import { HI_NX, framePfn, isPresent, isProtNone, isSpecial, isWritable } from '../pgtable/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { alignDown, pagesOfLevel, type Pfn, type Vpn } from '../units.ts';
import { vmaFlagsLo } from './insert.ts';
import { invalidateEnd, invalidateStart } from './mm.ts';
import {
  FAULT_FLAG_WRITE, VM_EXEC, VM_FAULT_DONE_COW, VM_FAULT_FALLBACK, VM_FAULT_NOPAGE, VM_FAULT_OOM, VM_FAULT_SIGBUS, VM_FAULT_SIGSEGV,
  VM_NOHUGEPAGE, type Vma, type Vmf,
} from './vma.ts';
import { dropHuge } from './zap.ts';

/** Faults `vpn` of `vma`. Returns VM_FAULT_ bits; without one of VM_FAULT_ERROR the access is to be tried again. */
export function* handleMmFault(vma: Vma, vpn: Vpn, flags: number): Sleepable<number> {
  const { mm } = vma;
  const { platform } = mm;
  platform.counts.faults++;
  if (platform.sched.concurrent) yield platform.sched.point(`fault ${mm.name}`, mm.touches);
  const pt = mm.pageTable;
  const vmf: Vmf = { vma, vpn, pgoff: vma.pgoffOf(vpn), flags, syncPfn: -1, syncLevel: 0 };
  const write = (flags & FAULT_FLAG_WRITE) !== 0;
  pt.look(vpn);
  let result = VM_FAULT_FALLBACK;
  for (let level = LEVEL_PUD; level > LEVEL_PTE && (result & VM_FAULT_FALLBACK) !== 0; level--) {
    if (pt.level > level || (pt.level === level && pt.none)) {
      if (vma.ops?.hugeFault === undefined || vma.has(VM_NOHUGEPAGE)) continue;
      result = yield* vma.ops.hugeFault(vmf, level);
      if ((result & VM_FAULT_FALLBACK) !== 0) pt.look(vpn);
    } else if (pt.level === level && isPresent(level, pt.lo)) {
      result = yield* faultHugeLeaf(vmf, level);
      if ((result & VM_FAULT_FALLBACK) !== 0) pt.look(vpn);
    }
  }
  if ((result & VM_FAULT_FALLBACK) !== 0) result = yield* handlePteFault(vmf, write);
  if (platform.bus.on) platform.bus.emit({ type: 'fault', mm: mm.id, vpn, write, result: faultName(result) });
  return result;
}

/** A huge leaf is there: mark it young, or take it the way of a write to a read-only one. */
function* faultHugeLeaf(vmf: Vmf, level: number): Sleepable<number> {
  const { vma } = vmf;
  const pt = vma.mm.pageTable;
  const write = (vmf.flags & FAULT_FLAG_WRITE) !== 0;
  if (!write || isWritable(pt.lo)) {
    pt.setRaw((pt.lo | PTE_ACCESSED | (write ? PTE_DIRTY : 0)) >>> 0, pt.hi);
    return 0;
  }
  if (vma.ops?.hugeFault !== undefined && (vma.isShared || vma.mm.platform.profile.privateWriteAsksHuge)) {
    const result = yield* vma.ops.hugeFault(vmf, level);
    if ((result & VM_FAULT_FALLBACK) === 0) return result;
  }
  const npages = pagesOfLevel(level);
  yield* dropHuge(vma, alignDown(vmf.vpn, npages), npages);
  return VM_FAULT_FALLBACK;
}

function* handlePteFault(vmf: Vmf, write: boolean): Sleepable<number> {
  const { vma } = vmf;
  const pt = vma.mm.pageTable;
  if (pt.level > LEVEL_PTE && !pt.none) return 0; // a huge leaf came meanwhile
  if (pt.none) return vma.ops === null ? anonymousFault(vmf, write) : yield* vma.ops.fault(vmf);
  if (isProtNone(pt.lo) && (vma.flags & 7) === 0) return VM_FAULT_SIGSEGV;
  if (write && !isWritable(pt.lo)) return yield* wpPage(vmf);
  pt.setRaw((pt.lo | PTE_ACCESSED | (write ? PTE_DIRTY : 0)) >>> 0, pt.hi);
  return 0;
}

/** do_anonymous_page(): the zero page for a read, a page of its own for a write. */
function anonymousFault(vmf: Vmf, write: boolean): number {
  const { vma } = vmf;
  const { platform } = vma.mm;
  if (!write && !vma.isShared) return mapZeroPage(vmf);
  const pfn = platform.ram.alloc();
  if (pfn < 0) return VM_FAULT_OOM;
  if (!mapAnonPage(vmf, pfn, true)) {
    platform.ram.put(pfn);
    return VM_FAULT_OOM;
  }
  return 0;
}

function mapZeroPage(vmf: Vmf): number {
  const { vma } = vmf;
  const pt = vma.mm.pageTable;
  if (!pt.slot(vmf.vpn, LEVEL_PTE)) return VM_FAULT_OOM;
  if (pt.level !== LEVEL_PTE || !pt.none) return VM_FAULT_NOPAGE;
  pt.set(vma.mm.platform.ram.zeroPfn, vmaFlagsLo(vma.flags, LEVEL_PTE, false) | PTE_SPECIAL, vma.has(VM_EXEC) ? 0 : HI_NX);
  return 0;
}

/** Installs an anonymous page at the pte of `vmf`, over none or over what it replaces. False when there is no table frame. */
function mapAnonPage(vmf: Vmf, pfn: Pfn, write: boolean): boolean {
  const { vma } = vmf;
  const { platform } = vma.mm;
  const pt = vma.mm.pageTable;
  if (!pt.slot(vmf.vpn, LEVEL_PTE)) return false;
  platform.records.setOwner(pfn, PAGE_ANON | PAGE_EXCLUSIVE, vma.mm.id, vmf.vpn);
  platform.records.addMappings(pfn, 1);
  vma.anon = true;
  pt.set(pfn, vmaFlagsLo(vma.flags, LEVEL_PTE, write), vma.has(VM_EXEC) ? 0 : HI_NX);
  if (platform.bus.on) platform.bus.emit({ type: 'entry', mm: vma.mm.id, vpn: vmf.vpn, level: LEVEL_PTE, pfn, write });
  return true;
}

/** Called by a file's fault handler for a private write: a page of the process's own with the bytes of `source` (null: zeroes). */
export function installCow(vmf: Vmf, source: Pfn | null): number {
  const { platform } = vmf.vma.mm;
  const pfn = platform.ram.alloc();
  if (pfn < 0) return VM_FAULT_OOM;
  if (source !== null && !platform.arena.content.copy(pfn * 4096, source * 4096, 4096)) {
    platform.ram.put(pfn);
    return VM_FAULT_OOM;
  }
  if (!mapAnonPage(vmf, pfn, true)) {
    platform.ram.put(pfn);
    return VM_FAULT_OOM;
  }
  return VM_FAULT_DONE_COW;
}

/** do_wp_page(): a write to a present, read-only pte. */
function* wpPage(vmf: Vmf): Sleepable<number> {
  const { vma } = vmf;
  const { platform } = vma.mm;
  const pt = vma.mm.pageTable;
  const pfn = framePfn(pt.lo, pt.hi);
  const normal = pfn < DEVICE_BASE_PFN && !platform.ram.isZero(pfn) && !isSpecial(pt.lo);
  if (vma.isShared) {
    if (!normal && vma.ops?.pfnMkwrite !== undefined) return yield* vma.ops.pfnMkwrite(vmf);
    if (vma.ops !== null && !normal) return VM_FAULT_SIGBUS;
    pt.setRaw((pt.lo | PTE_ACCESSED | PTE_DIRTY | PTE_RW) >>> 0, pt.hi);
    return 0;
  }
  if (normal && (platform.records.flags(pfn) & PAGE_EXCLUSIVE) !== 0) {
    pt.setRaw((pt.lo | PTE_ACCESSED | PTE_DIRTY | PTE_RW) >>> 0, pt.hi);
    return 0;
  }
  return yield* wpPageCopy(vmf, pfn, normal);
}

/** wp_page_copy(): the process gets a copy; CLEAR over the one page while the entry changes. */
function* wpPageCopy(vmf: Vmf, old: Pfn, normal: boolean): Sleepable<number> {
  const { vma } = vmf;
  const { platform } = vma.mm;
  const pt = vma.mm.pageTable;
  const copy = platform.ram.alloc();
  if (copy < 0) return VM_FAULT_OOM;
  if (!platform.ram.isZero(old) && !platform.arena.content.copy(copy * 4096, old * 4096, 4096)) {
    platform.ram.put(copy);
    return VM_FAULT_OOM;
  }
  const range = yield* invalidateStart(vma.mm, 'CLEAR', vmf.vpn, vmf.vpn + 1);
  if (platform.sched.concurrent) yield platform.sched.point('copy on write', vma.mm.touches);
  pt.look(vmf.vpn);
  const unchanged = pt.level === LEVEL_PTE && !pt.none && framePfn(pt.lo, pt.hi) === old;
  if (unchanged) {
    mapAnonPage(vmf, copy, true);
    if (normal) {
      platform.records.addMappings(old, -1);
      platform.ram.put(old);
    }
  } else platform.ram.put(copy);
  invalidateEnd(vma.mm, range);
  return unchanged ? VM_FAULT_DONE_COW : 0;
}

/** A fault's result for people. */
export function faultName(result: number): string {
  if ((result & VM_FAULT_OOM) !== 0) return 'OOM';
  if ((result & VM_FAULT_SIGBUS) !== 0) return 'SIGBUS';
  if ((result & VM_FAULT_SIGSEGV) !== 0) return 'SIGSEGV';
  if ((result & VM_FAULT_DONE_COW) !== 0) return 'copied';
  return 'ok';
}

