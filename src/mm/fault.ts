/**
 * handle_mm_fault(): makes an address accessible, or says why not (mm/memory.c).
 *
 * Order: PUD, PMD, PTE; each size is tried only where nothing is mapped at it, and VM_FAULT_FALLBACK goes on with the next
 * smaller. A leaf that lacks write goes the write-protect way of its size. The caller holds mmap_lock for reading.
 * Rights of the VMA are the caller's to check: the fault handler does not (which is how the 2019 API could spin).
 *
 * Two ways with one outcome. `quickMmFault` is a plain function for what is common and touches nobody else: it answers
 * FAULT_SLEEPS where the fault would have to wait, be preempted or tell a mirror. `handleMmFault` can do everything. An empty
 * generator, made and run to its end by `yield*`, costs about 40 ns on the machine this was measured on; a DAX fault by the long way
 * goes through six, which is more than all that it does besides.
 */
import { LEVEL_PMD, LEVEL_PTE, LEVEL_PUD, PTE_ACCESSED, PTE_DIRTY, PTE_RW, PTE_SPECIAL } from '../abi.ts';
import { PAGE_ANON, PAGE_EXCLUSIVE, DEVICE_BASE_PFN } from '../page/index.ts';
import { HI_NX, framePfn, isLeafEntry, isPresent, isProtNone, isSpecial, isSwapEntry, isWritable, type PageTable } from '../pgtable/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { alignDown, pagesOfLevel, type Pfn, type Vpn } from '../units.ts';
import { movePage, ownPage, prepareAnonVma } from './anonVma.ts';
import { vmaFlagsLo } from './insert.ts';
import { waitForUser } from './userWait.ts';
import { invalidateEnd, invalidateStart } from './mm.ts';
import { numaFault } from './numa.ts';
import {
  FAULT_FLAG_ALLOW_RETRY, FAULT_FLAG_UNSHARE, FAULT_FLAG_WRITE, FAULT_SLEEPS, VM_ACCESS, VM_EXEC, VM_FAULT_DONE_COW, VM_FAULT_FALLBACK, VM_FAULT_MAJOR, VM_FAULT_NOPAGE, VM_FAULT_OOM, VM_FAULT_RETRY,
  VM_FAULT_SIGBUS, VM_FAULT_SIGSEGV, VM_NOHUGEPAGE, VM_UFFD_MISSING, VM_WRITE, type Vma, type VmOps, type Vmf,
} from './vma.ts';
import { swapFault } from './migrate/swapFault.ts';
import { copyHugePage, dropPage, fitsHugePage, hugeAnonymousFault, mostMappings, reuseHugePage } from './thp/index.ts';
import { splitHuge, zapTouches } from './zap.ts';

/** Faults `vpn` of `vma`. Returns VM_FAULT_ bits; without one of VM_FAULT_ERROR the access is to be tried again. */
export function* handleMmFault(vma: Vma, vpn: Vpn, flags: number): Sleepable<number> {
  const { mm } = vma;
  const { sched } = mm.platform;
  if (sched.concurrent) yield sched.point(`fault ${mm.name}`, vma.ops !== null && vma.isShared ? mm.touches : `${mm.touches},ram,bytes`);
  else {
    const quick = quickMmFault(vma, vpn, flags);
    if (quick !== FAULT_SLEEPS) return quick;
  }
  if ((mm.unstable || vma.has(VM_UFFD_MISSING)) && !vma.isShared && !mm.pageTable.look(vpn) && mm.pageTable.none) {
    const handled = vma.has(VM_UFFD_MISSING) && !mm.unstable && (flags & FAULT_FLAG_ALLOW_RETRY) !== 0;
    if (!handled) return VM_FAULT_SIGBUS; // the OOM reaper may have had it; or the lock may not be dropped for the handler
    yield* waitForUser(mm, vpn, (flags & FAULT_FLAG_WRITE) !== 0);
    return VM_FAULT_RETRY;
  }
  if (vma.ops?.faultWhole !== undefined) {
    const whole = yield* vma.ops.faultWhole(vma, vpn, flags);
    told(vma, vpn, flags, whole);
    return whole;
  }
  const vmf: Vmf = { vma, vpn, pgoff: vma.pgoffOf(vpn), flags, syncPfn: -1, syncLevel: 0 };
  let result = VM_FAULT_FALLBACK;
  for (let level = LEVEL_PUD; level > LEVEL_PTE && (result & VM_FAULT_FALLBACK) !== 0; level--) {
    // The tables down to this level stay, whatever comes of the fault, as they do in a kernel.
    if (!mm.pageTable.slot(vpn, level)) result = VM_FAULT_OOM;
    else result = yield* faultAtLevel(vmf, level);
  }
  if ((result & VM_FAULT_FALLBACK) !== 0) result = yield* handlePteFault(vmf);
  told(vma, vpn, flags, result);
  return result;
}

/** The same where nothing has to wait and nobody has to be told; else FAULT_SLEEPS, and nothing has changed. Only while `concurrent` is false. */
export function quickMmFault(vma: Vma, vpn: Vpn, flags: number): number {
  const pt = vma.mm.pageTable;
  pt.look(vpn);
  if (pt.level >= LEVEL_PUD) return FAULT_SLEEPS; // tables are missing, or a 1G leaf: once in a GiB
  const vmf: Vmf = { vma, vpn, pgoff: vma.pgoffOf(vpn), flags, syncPfn: -1, syncLevel: 0 };
  const result = pt.none ? quickAbsent(vmf, pt.level) : quickPresent(vmf, pt);
  if (result !== FAULT_SLEEPS) told(vma, vpn, flags, result);
  return result;
}

function quickAbsent(vmf: Vmf, level: number): number {
  const { vma } = vmf;
  if (vma.mm.unstable || vma.has(VM_UFFD_MISSING)) return FAULT_SLEEPS;
  const { ops } = vma;
  if (ops === null) {
    const result = level === LEVEL_PMD && fitsHugePage(vma, vmf.vpn) ? anonymousHugeFault(vmf) : VM_FAULT_FALLBACK;
    return result === VM_FAULT_FALLBACK ? anonymousFault(vmf, (vmf.flags & FAULT_FLAG_WRITE) !== 0) : result;
  }
  if (level === LEVEL_PMD && ops.hugeFault !== undefined && !vma.has(VM_NOHUGEPAGE)) {
    const result = ops.quickFault(vmf, LEVEL_PMD);
    if (result !== VM_FAULT_FALLBACK) return result;
  }
  prepareCopy(vmf);
  return ops.quickFault(vmf, LEVEL_PTE);
}

/** do_cow_fault(): a write to a private mapping makes the area one with pages of its own, even if it then finds no page to copy. */
function prepareCopy({ vma, flags }: Vmf): void {
  if ((flags & FAULT_FLAG_WRITE) !== 0 && !vma.isShared) prepareAnonVma(vma);
}

function quickPresent(vmf: Vmf, pt: PageTable): number {
  const { level, lo } = pt;
  const write = (vmf.flags & FAULT_FLAG_WRITE) !== 0;
  if (!isPresent(level, lo) || isProtNone(lo)) return FAULT_SLEEPS;
  if ((!write && (vmf.flags & FAULT_FLAG_UNSHARE) === 0) || isWritable(lo)) {
    markUsed(pt, write);
    return 0;
  }
  const { vma } = vmf;
  if (!write || vma.ops === null || !vma.ops.dax || !vma.isShared || !vma.has(VM_WRITE)) return FAULT_SLEEPS;
  const result = vma.ops.quickFault(vmf, level);
  return result === VM_FAULT_FALLBACK ? FAULT_SLEEPS : result;
}

/** The leaf found last is young, and dirty after a write; `also` is set too. */
function markUsed(pt: PageTable, write: boolean, also = 0): void {
  pt.setRaw((pt.lo | PTE_ACCESSED | (write ? PTE_DIRTY : 0) | also) >>> 0, pt.hi);
}

function told(vma: Vma, vpn: Vpn, flags: number, result: number): void {
  const { counts, bus } = vma.mm.platform;
  counts.faults++;
  if ((result & VM_FAULT_MAJOR) !== 0) counts.faultsMajor++;
  if (bus.on) bus.emit({ type: 'fault', mm: vma.mm.id, vpn, write: (flags & FAULT_FLAG_WRITE) !== 0, result: faultName(result) });
}

/** One huge size: asks the driver where nothing is mapped, sees to the leaf that is, falls back where a table is. */
function* faultAtLevel(vmf: Vmf, level: number): Sleepable<number> {
  const { vma } = vmf;
  const pt = vma.mm.pageTable;
  if (pt.level !== level) return VM_FAULT_FALLBACK; // a leaf above has come: handlePteFault sees it
  if (pt.none) {
    if (vma.ops === null) return level === LEVEL_PMD && fitsHugePage(vma, vmf.vpn) ? anonymousHugeFault(vmf) : VM_FAULT_FALLBACK;
    if (vma.ops.hugeFault === undefined || vma.has(VM_NOHUGEPAGE)) return VM_FAULT_FALLBACK;
    return yield* vma.ops.hugeFault(vmf, level);
  }
  if (isSwapEntry(level, pt.lo, pt.hi)) return yield* swapFault(vmf);
  return isPresent(level, pt.lo) && isLeafEntry(level, pt.lo) ? yield* faultHugeLeaf(vmf, level) : VM_FAULT_FALLBACK;
}

/** A huge leaf is there: mark it young, or take it the way of a write to a read-only one. */
function* faultHugeLeaf(vmf: Vmf, level: number): Sleepable<number> {
  const { vma } = vmf;
  const pt = vma.mm.pageTable;
  const write = (vmf.flags & FAULT_FLAG_WRITE) !== 0;
  const changes = (vmf.flags & (FAULT_FLAG_WRITE | FAULT_FLAG_UNSHARE)) !== 0;
  if (isProtNone(pt.lo) && (vma.flags & VM_ACCESS) !== 0) return numaFault(vmf);
  if (!changes || isWritable(pt.lo)) {
    markUsed(pt, write);
    return 0;
  }
  if (vma.ops === null) {
    let result = reuseHugePage(vmf);
    if (result === VM_FAULT_FALLBACK && vma.mm.platform.profile.cowCopiesHugePages) result = yield* copyHugePage(vmf);
    if (result !== VM_FAULT_FALLBACK) return result;
  } else if (vma.ops.hugeFault !== undefined && (vma.isShared || vma.mm.platform.profile.privateWriteAsksHuge)) {
    const result = yield* vma.ops.hugeFault(vmf, level);
    if ((result & VM_FAULT_FALLBACK) === 0) return result;
  }
  const npages = pagesOfLevel(level);
  if (level === LEVEL_PUD && vma.mm.platform.bugs.has('pud-not-split')) return VM_FAULT_FALLBACK;
  yield* splitHuge(vma, alignDown(vmf.vpn, npages), npages);
  return VM_FAULT_FALLBACK;
}

function* handlePteFault(vmf: Vmf): Sleepable<number> {
  const { vma } = vmf;
  const pt = vma.mm.pageTable;
  const write = (vmf.flags & FAULT_FLAG_WRITE) !== 0;
  pt.look(vmf.vpn);
  if (pt.level > LEVEL_PTE && !pt.none) return 0; // a huge leaf came meanwhile
  if (pt.none && vma.ops === null) return anonymousFault(vmf, write);
  if (pt.none) {
    prepareCopy(vmf);
    return yield* (vma.ops as VmOps).fault(vmf);
  }
  if (isSwapEntry(LEVEL_PTE, pt.lo, pt.hi)) return yield* swapFault(vmf);
  if (isProtNone(pt.lo)) return (vma.flags & VM_ACCESS) === 0 ? VM_FAULT_SIGSEGV : numaFault(vmf);
  if (!isWritable(pt.lo) && (vmf.flags & (FAULT_FLAG_WRITE | FAULT_FLAG_UNSHARE)) !== 0) return yield* wpPage(vmf);
  markUsed(pt, write);
  return 0;
}

function anonymousHugeFault(vmf: Vmf): number {
  prepareAnonVma(vmf.vma); // for a read too, unlike one at 4K
  return hugeAnonymousFault(vmf);
}

/** do_anonymous_page(): the zero page for a read, a page of its own for a write. */
function anonymousFault(vmf: Vmf, write: boolean): number {
  const { vma } = vmf;
  const { ram } = vma.mm.platform;
  const pt = vma.mm.pageTable;
  if (!write) {
    if (!pt.slot(vmf.vpn, LEVEL_PTE)) return VM_FAULT_OOM;
    pt.set(ram.zeroPfn, vmaFlagsLo(vma.flags, LEVEL_PTE, false) | PTE_SPECIAL, vma.has(VM_EXEC) ? 0 : HI_NX);
    return 0;
  }
  const pfn = ram.alloc();
  if (pfn < 0) return VM_FAULT_OOM;
  if (!pt.slot(vmf.vpn, LEVEL_PTE)) {
    ram.put(pfn);
    return VM_FAULT_OOM;
  }
  mapAnonPage(vmf, pfn);
  return 0;
}

/** Maps `pfn`, writable unless told, at the pte found last, over none or over what it replaces. */
export function mapAnonPage(vmf: Vmf, pfn: Pfn, write = true): void {
  const { vma } = vmf;
  const { records, bus } = vma.mm.platform;
  prepareAnonVma(vma);
  ownPage(vma, pfn, vmf.vpn);
  records.addMappings(pfn, 1);
  vma.mm.pageTable.set(pfn, vmaFlagsLo(vma.flags, LEVEL_PTE, write), vma.has(VM_EXEC) ? 0 : HI_NX);
  if (bus.on) bus.emit({ type: 'entry', mm: vma.mm.id, vpn: vmf.vpn, level: LEVEL_PTE, pfn, write });
}

/** Called by a file's fault handler for a private write: a page of the process's own with the bytes of `source` (null: zeroes). */
export function installCow(vmf: Vmf, source: Pfn | null): number {
  const { ram, arena } = vmf.vma.mm.platform;
  const pt = vmf.vma.mm.pageTable;
  const pfn = ram.alloc();
  if (pfn < 0) return VM_FAULT_OOM;
  if ((source !== null && !arena.content.copy(pfn * 4096, source * 4096, 4096)) || !pt.slot(vmf.vpn, LEVEL_PTE)) {
    ram.put(pfn);
    return VM_FAULT_OOM;
  }
  if (pt.level !== LEVEL_PTE || !pt.none) {
    ram.put(pfn); // somebody was faster
    return VM_FAULT_NOPAGE;
  }
  mapAnonPage(vmf, pfn);
  return VM_FAULT_DONE_COW;
}

/**
 * do_wp_page(): a write to a present, read-only pte. Who asks for a write where the area has no VM_WRITE (the 2019 API did) gets
 * what a private area gets, and no right to write.
 */
function* wpPage(vmf: Vmf): Sleepable<number> {
  const { vma } = vmf;
  const { platform } = vma.mm;
  const pt = vma.mm.pageTable;
  const pfn = framePfn(pt.lo, pt.hi);
  const normal = pfn < DEVICE_BASE_PFN && !platform.ram.isZero(pfn) && !isSpecial(pt.lo);
  if ((vmf.flags & FAULT_FLAG_WRITE) === 0) return yield* unsharePage(vmf, pfn, normal);
  if (vma.isShared && vma.has(VM_WRITE)) {
    if (!normal && vma.ops?.pfnMkwrite !== undefined) return yield* vma.ops.pfnMkwrite(vmf);
    if (normal && vma.ops?.pageMkwrite !== undefined) return yield* vma.ops.pageMkwrite(vmf);
    markUsed(pt, true, PTE_RW);
    return 0;
  }
  if (normal && reusable(vma, pfn)) {
    markUsed(pt, true, vma.has(VM_WRITE) ? PTE_RW : 0);
    return 0;
  }
  return yield* wpPageCopy(vmf, pfn, normal);
}

/** FAULT_FLAG_UNSHARE: who is to hold the page for reading gets one that no write copies from under it; it stays read only. */
function* unsharePage(vmf: Vmf, pfn: Pfn, normal: boolean): Sleepable<number> {
  const { platform } = vmf.vma.mm;
  const anon = normal && (platform.ram.flags(pfn) & PAGE_ANON) !== 0;
  if (anon ? reusable(vmf.vma, pfn) : !platform.profile.longtermReadCopies) return 0;
  return yield* wpPageCopy(vmf, pfn, normal);
}

/** Is an anonymous page this process's alone? Where nobody else has it any more it becomes that. */
function reusable(vma: Vma, pfn: Pfn): boolean {
  const { ram, records, profile } = vma.mm.platform;
  const flags = records.flags(pfn);
  if ((flags & PAGE_EXCLUSIVE) !== 0) return true;
  if ((flags & PAGE_ANON) === 0 || (profile.cowCountsMappings ? mostMappings(vma.mm, pfn) : ram.refs(pfn)) > 1) return false;
  if (!profile.reusesPartOfHuge && ram.order(pfn) > 0) return false;
  movePage(vma, pfn);
  return true;
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
  const range = yield* invalidateStart(vma.mm, 'CLEAR', vmf.vpn, vmf.vpn + 1, null, 'cow-untold');
  if (platform.sched.concurrent) yield platform.sched.point('copy on write', zapTouches(vma));
  pt.look(vmf.vpn);
  const unchanged = pt.level === LEVEL_PTE && !pt.none && framePfn(pt.lo, pt.hi) === old;
  if (unchanged) {
    mapAnonPage(vmf, copy, (vmf.flags & FAULT_FLAG_WRITE) !== 0);
    if (normal) dropPage(vma.mm, LEVEL_PTE, old);
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

