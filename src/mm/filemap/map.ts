/**
 * Mapping pages of a page cache (mm/memory.c: do_fault and what it calls; mm/filemap.c: filemap_map_pages).
 *
 * A read fault first maps what is in the cache around it, up to 16 pages; where the page itself is not there it is brought in, and
 * mapped alone, or, if it is part of a 2 MiB folio that fits the area, with all of that. A write to a private mapping copies. A read
 * entry of a shared mapping has the right to write at once, unless the file wants to hear of the first write. Nothing here sleeps.
 */
import { LEVEL_PMD, LEVEL_PTE, PMD_PAGES, PTE_DIRTY, PTE_RW } from '../../abi.ts';
import { PAGE_POISONED } from '../../page/index.ts';
import { HI_NX } from '../../pgtable/index.ts';
import { alignDown, type Pfn, type Vpn } from '../../units.ts';
import { vmaFlagsLo } from '../insert.ts';
import { tellBreach } from '../mm.ts';
import { addPage } from '../thp/index.ts';
import { FAULT_FLAG_UNSHARE, FAULT_FLAG_WRITE, VM_EXEC, VM_FAULT_NOPAGE, VM_FAULT_OOM, VM_WRITE, type Vma, type Vmf } from '../vma.ts';
import type { Folio, PageCache } from './cache.ts';

/** fault_around_bytes */
const AROUND_PAGES = 16;

/** do_fault_around(): maps what of `[…]` around the fault is in the cache and below `endIndex`. True when the page itself is mapped now. */
export function mapAround(cache: PageCache, vmf: Vmf, endIndex: number, notifies: boolean): boolean {
  const { vma, vpn } = vmf;
  const pt = vma.mm.pageTable;
  const start = Math.max(alignDown(vpn, AROUND_PAGES), vma.start);
  const end = Math.min(start + AROUND_PAGES, vma.end, alignDown(vpn, PMD_PAGES) + PMD_PAGES);
  for (let at = start; at < end; at++) {
    const index = vma.pgoffOf(at);
    const folio = index < endIndex ? cache.get(index) : undefined;
    if (folio === undefined || folio.readahead || !folio.filled || isPoisoned(cache, folio, index) || lockedPage(cache, folio, index) >= 0) continue;
    if (mapWhole(vmf, folio, false, notifies)) return true;
    if (!pt.slot(at, LEVEL_PTE)) return false;
    if (pt.level !== LEVEL_PTE) return true; // a huge leaf is there
    if (pt.none) mapPage(vma, at, folio.pfn + (index - folio.index), false, notifies);
  }
  return pt.look(vpn) && pt.level === LEVEL_PTE;
}

function isPoisoned({ platform }: PageCache, folio: Folio, index: number): boolean {
  return (platform.records.flags(folio.pfn + (index - folio.index)) & PAGE_POISONED) !== 0;
}

/** The page of `folio` that somebody has locked, so that a fault of page `index` has to wait; or -1. */
export function lockedPage({ platform }: PageCache, folio: Folio, index: number): Pfn | -1 {
  const { pageLocks } = platform;
  const pfn = folio.pfn + (index - folio.index);
  if (pageLocks.isLocked(pfn)) return pfn;
  return pageLocks.isLocked(folio.pfn) ? folio.pfn : -1;
}

/** finish_fault(): the page of `folio`, or all of it by one leaf. */
export function mapFound(vmf: Vmf, folio: Folio, notifies: boolean): number {
  const { vma, vpn, pgoff } = vmf;
  const pt = vma.mm.pageTable;
  const write = (vmf.flags & FAULT_FLAG_WRITE) !== 0;
  if (mapWhole(vmf, folio, write, notifies)) return VM_FAULT_NOPAGE;
  if (!pt.slot(vpn, LEVEL_PTE)) return VM_FAULT_OOM;
  if (pt.level === LEVEL_PTE && pt.none) mapPage(vma, vpn, folio.pfn + (pgoff - folio.index), write, notifies);
  return VM_FAULT_NOPAGE;
}

/** do_set_pmd(): a 2 MiB folio by one leaf, where nothing is mapped in its 2 MiB and the area covers them. */
function mapWhole(vmf: Vmf, folio: Folio, write: boolean, notifies: boolean): boolean {
  const { vma, vpn, flags } = vmf;
  const base = alignDown(vpn, PMD_PAGES);
  if (folio.order !== 9 || base < vma.start || base + PMD_PAGES > vma.end || vma.pgoffOf(base) !== folio.index) return false;
  if ((flags & FAULT_FLAG_UNSHARE) !== 0 && !unshareMapsHuge(vma, vpn)) return false;
  const pt = vma.mm.pageTable;
  if (!pt.slot(vpn, LEVEL_PMD) || pt.level !== LEVEL_PMD || !pt.none) return false;
  addPage(vma.mm, LEVEL_PMD, folio.pfn);
  setEntry(vma, base, LEVEL_PMD, folio.pfn, write, notifies);
  return true;
}

/** The leaf was split for this fault, to copy one page of it: mapped whole again, there is nothing but to split it again. */
function unshareMapsHuge({ mm }: Vma, vpn: Vpn): boolean {
  if (!mm.platform.profile.unshareMapsHuge) return false;
  tellBreach(mm, 'bounded-retries', 'unshareMapsHuge', vpn, vpn + 1);
  return true;
}

/** Maps `pfn` at the pte found last. */
function mapPage(vma: Vma, vpn: Vpn, pfn: Pfn, write: boolean, notifies: boolean): void {
  addPage(vma.mm, LEVEL_PTE, pfn);
  setEntry(vma, vpn, LEVEL_PTE, pfn, write, notifies);
}

function setEntry(vma: Vma, vpn: Vpn, level: number, pfn: Pfn, write: boolean, notifies: boolean): void {
  const { bus } = vma.mm.platform;
  const free = vma.isShared && !notifies && vma.has(VM_WRITE) ? PTE_RW : 0;
  vma.mm.pageTable.set(pfn, vmaFlagsLo(vma.flags, level, write) | free, vma.has(VM_EXEC) ? 0 : HI_NX);
  if (bus.on) bus.emit({ type: 'entry', mm: vma.mm.id, vpn, level, pfn, write: write || free !== 0 });
}

/** The pte found last, of a shared mapping whose file has agreed, becomes writable. */
export function makeWritable(vma: Vma): void {
  const pt = vma.mm.pageTable;
  pt.setRaw((pt.lo | PTE_RW | PTE_DIRTY | 0x20) >>> 0, pt.hi);
}

/** Maps a 2 MiB folio of shmem by one leaf at `base` of an area that covers it, where nothing is mapped. */
export function installWhole(vma: Vma, base: Vpn, folio: Folio): void {
  const pt = vma.mm.pageTable;
  if (!pt.slot(base, LEVEL_PMD) || pt.level !== LEVEL_PMD || !pt.none) return;
  addPage(vma.mm, LEVEL_PMD, folio.pfn);
  setEntry(vma, base, LEVEL_PMD, folio.pfn, false, false);
}
