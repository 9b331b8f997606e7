/**
 * Faults of huge pages (mm/hugetlb.c: hugetlb_fault, hugetlb_no_page, hugetlb_wp).
 *
 * A private write takes a page that nobody else maps as its own, else it copies. Where the pool is empty, who holds the promises takes the
 * page from those who share it by fork: they are unmapped, and what they fault from then on is refused. Nothing falls back to less.
 */
import { PTE_ACCESSED, PTE_DIRTY, PTE_RW } from '../../abi.ts';
import { PAGE_ANON, PAGE_CACHE, PAGE_EXCLUSIVE, PAGE_HUGETLB, PAGE_POISONED } from '../../page/index.ts';
import { HI_NX, framePfn, isLeafEntry, isProtNone, isWritable } from '../../pgtable/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import { alignDown, type Pfn, type Vpn } from '../../units.ts';
import { ownPage, prepareAnonVma } from '../anonVma.ts';
import { vmaFlagsLo } from '../insert.ts';
import { invalidateEnd, invalidateStart } from '../mm.ts';
import { eachMapping } from '../rmap.ts';
import { addPage, dropPage } from '../thp/index.ts';
import { FAULT_FLAG_UNSHARE, FAULT_FLAG_WRITE, VM_EXEC, VM_FAULT_HWPOISON, VM_FAULT_OOM, VM_FAULT_SIGBUS, VM_MAYSHARE, VM_WRITE, type Vma } from '../vma.ts';
import type { HugeFile, HugePromises } from './file.ts';
import { unmapHuge } from './unmap.ts';

/** handle_mm_fault() of an area of huge pages. Concurrency: the caller does not hold the file's vmaLock. */
export function* hugetlbFault(file: HugeFile, vma: Vma, vpn: Vpn, flags: number): Sleepable<number> {
  const { sched } = file.platform;
  if (!file.vmaLock.tryRead(sched)) yield* file.vmaLock.read(sched);
  try {
    return yield* faultLocked(file, vma, vpn, flags);
  } finally {
    file.vmaLock.readUnlock(sched);
  }
}

function* faultLocked(file: HugeFile, vma: Vma, vpn: Vpn, flags: number): Sleepable<number> {
  const { level, npages } = file.pool;
  const base = alignDown(vpn, npages);
  const write = (flags & FAULT_FLAG_WRITE) !== 0;
  const pt = vma.mm.pageTable;
  if (!pt.slot(base, level)) return VM_FAULT_OOM;
  if (pt.none) {
    const result = noPage(file, vma, base);
    if (result !== 0 || !write || vma.isShared) return result;
  } else if (!isLeafEntry(level, pt.lo)) return VM_FAULT_HWPOISON;
  pt.look(base);
  const unshare = (flags & FAULT_FLAG_UNSHARE) !== 0;
  if ((write || unshare) && !isWritable(pt.lo) && !isProtNone(pt.lo)) return yield* writeProtected(file, vma, base, unshare);
  pt.setRaw((pt.lo | PTE_ACCESSED | (write ? PTE_DIRTY : 0)) >>> 0, pt.hi);
  return 0;
}

/** hugetlb_no_page(): the file's page, or a new one; mapped with the rights of a shared area, or read only. */
function noPage(file: HugeFile, vma: Vma, base: Vpn): number {
  if ((vma.privateData as HugePromises | null)?.robbed === true) return VM_FAULT_SIGBUS;
  const index = file.indexOf(vma, base);
  let pfn = file.pages.get(index) ?? -1;
  if (pfn >= 0 && (vma.mm.platform.records.flags(pfn) & PAGE_POISONED) !== 0) return VM_FAULT_HWPOISON;
  if (pfn < 0) {
    if (index >= file.size / file.unit) return VM_FAULT_SIGBUS;
    pfn = file.allocFor(vma, index, false);
    if (pfn < 0) return VM_FAULT_SIGBUS;
    if (vma.has(VM_MAYSHARE)) {
      file.insert(index, pfn);
      addPage(vma.mm, file.pool.level, pfn);
    } else {
      own(vma, pfn, base);
      vma.mm.platform.records.addWholeMappings(pfn, 1); // its first reference is the mapping's
    }
  } else addPage(vma.mm, file.pool.level, pfn);
  setLeaf(file, vma, base, pfn, vma.isShared && vma.has(VM_WRITE));
  return 0;
}

/** An anonymous page of the area's own. */
function own(vma: Vma, pfn: Pfn, base: Vpn): void {
  const { records } = vma.mm.platform;
  prepareAnonVma(vma);
  ownPage(vma, pfn, base);
  records.setFlags(pfn, records.flags(pfn) | PAGE_HUGETLB);
}

function setLeaf(file: HugeFile, vma: Vma, base: Vpn, pfn: Pfn, write: boolean): void {
  const { level } = file.pool;
  const pt = vma.mm.pageTable;
  const { bus } = vma.mm.platform;
  pt.slot(base, level);
  pt.set(pfn, vmaFlagsLo(vma.flags, level, write), vma.has(VM_EXEC) ? 0 : HI_NX);
  if (bus.on) bus.emit({ type: 'entry', mm: vma.mm.id, vpn: base, level, pfn, write });
}

/** hugetlb_wp(): a write to the read-only leaf at `base`; `unshare`: the page is only to become the area's alone, and stays read only. */
function* writeProtected(file: HugeFile, vma: Vma, base: Vpn, unshare: boolean): Sleepable<number> {
  const { records, ram, arena } = vma.mm.platform;
  const { level, npages } = file.pool;
  const pt = vma.mm.pageTable;
  pt.look(base);
  const old = framePfn(pt.lo, pt.hi);
  const flags = records.flags(old);
  if (unshare && vma.has(VM_MAYSHARE)) return 0;
  // Who asks for a write where the area has none (the 2019 API did) gets the right with the page.
  if (vma.has(VM_MAYSHARE) || ((flags & PAGE_ANON) !== 0 && ram.mappings(old) === 1)) {
    if ((flags & PAGE_ANON) !== 0) records.setFlags(old, flags | PAGE_EXCLUSIVE);
    if (!unshare) pt.setRaw((pt.lo | PTE_ACCESSED | PTE_DIRTY | PTE_RW) >>> 0, pt.hi);
    return 0;
  }
  const index = file.indexOf(vma, base);
  const owns = ((vma.privateData as HugePromises | null)?.used ?? null) !== null;
  const isFiles = (flags & PAGE_CACHE) !== 0;
  const copy = file.allocFor(vma, index, owns && !isFiles);
  if (copy < 0) {
    if (!owns || isFiles) return VM_FAULT_SIGBUS;
    yield* takeFromOthers(file, vma, base, old);
    return 0; // the access is tried again, and finds the page its own
  }
  if (!arena.content.copy(copy * 4096, old * 4096, npages * 4096)) {
    ram.put(copy);
    return VM_FAULT_OOM;
  }
  const range = yield* invalidateStart(vma.mm, 'CLEAR', base, base + npages, null, 'hugetlb-cow-untold');
  pt.look(base);
  if (pt.level === level && !pt.none && framePfn(pt.lo, pt.hi) === old) {
    own(vma, copy, base);
    records.addWholeMappings(copy, 1);
    pt.set(copy, unshare ? vmaFlagsLo(vma.flags, level, false) : vmaFlagsLo(vma.flags, level, true) | PTE_RW, vma.has(VM_EXEC) ? 0 : HI_NX);
    dropPage(vma.mm, level, old);
  } else ram.put(copy);
  if (range !== null) invalidateEnd(vma.mm, range);
  return 0;
}

/** unmap_ref_private(): other private areas without promises lose the page. */
function* takeFromOthers(file: HugeFile, vma: Vma, base: Vpn, pfn: Pfn): Sleepable<void> {
  const first = vma.pgoffOf(base);
  yield* eachMapping(file.inode, first, first + file.pool.npages, function* rob(other, from, to): Sleepable<void> {
    const promises = other.privateData as HugePromises | null;
    if (other === vma || other.has(VM_MAYSHARE) || (promises !== null && promises.used !== null)) return;
    yield* unmapHuge(other, from, to, 'alone', pfn);
  });
}
