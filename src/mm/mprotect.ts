/**
 * Changing the rights of entries (mm/mprotect.c: change_protection).
 *
 * The event PROTECTION_VMA is raised only once something populated is met, and only from there on; at which level it looks
 * differs between kernels (`profile.mprotectEventLevel`). A 1G leaf is changed in place or, by kernels that do not know it
 * there, cleared without telling anyone (`profile.mprotectPud`).
 */
import { LEVEL_PMD, LEVEL_PTE, LEVEL_PUD, PTE_DIRTY, PTE_PRESENT, PTE_PROTNONE, PTE_RW, PTE_USER, PUD_PAGES } from '../abi.ts';
import { HI_NX, framePfn, isLeafEntry, isSwapEntry } from '../pgtable/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { alignDown, pagesOfLevel, type Vpn } from '../units.ts';
import { protectSwapEntry } from './migrate/swapEntries.ts';
import { invalidateEnd, invalidateStart, tellBreach, type Mm } from './mm.ts';
import { VM_ACCESS, VM_EXEC, VM_HUGETLB, VM_WRITE, type Vma } from './vma.ts';
import { isExclusive } from './thp/index.ts';
import { splitHugeEdges } from './zap.ts';

/** Applies `vma`'s flags to its entries in `[start, end)`. */
export function* protectRange(vma: Vma, start: Vpn, end: Vpn, oldFlags: number, flags: number): Sleepable<void> {
  if (((oldFlags ^ flags) & VM_ACCESS) === 0) return;
  if (vma.has(VM_HUGETLB)) return yield* protectHuge(vma, start, end, flags);
  // The event is raised by the loop over one table of the level that looks: anew for each GiB, or each 512 GiB.
  const span = PUD_PAGES * (vma.mm.platform.profile.mprotectEventLevel === 'pmd' ? 1 : 512);
  for (let at = start; at < end; ) {
    const upTo = Math.min(end, alignDown(at, span) + span);
    yield* protectStretch(vma, at, upTo, oldFlags, flags);
    at = upTo;
  }
}

/** hugetlb_change_protection(): the event is raised whatever is mapped. */
function* protectHuge(vma: Vma, start: Vpn, end: Vpn, flags: number): Sleepable<void> {
  const range = yield* invalidateStart(vma.mm, 'PROTECTION_VMA', start, end, null, 'mprotect-untold');
  rewriteEach(vma, start, end, flags);
  invalidateEnd(vma.mm, range);
}

function* protectStretch(vma: Vma, start: Vpn, end: Vpn, oldFlags: number, flags: number): Sleepable<void> {
  const { mm } = vma;
  const { profile, sched, bugs } = mm.platform;
  if (profile.mprotectPud === 'cleared') clearBadPuds(mm, start, end);
  const first = mm.pageTable.nextEntry(start, end, profile.mprotectEventLevel === 'pmd' ? LEVEL_PMD : LEVEL_PUD);
  if (first < 0) return;
  const range = bugs.has('end-without-start')
    ? ({ event: 'PROTECTION_VMA', start: first, end, blockable: true, owner: null } as const)
    : yield* invalidateStart(mm, 'PROTECTION_VMA', first, end, null, 'mprotect-untold');
  if (sched.concurrent) yield sched.point('mprotect', '*');
  let dropped = true;
  while (dropped) dropped = yield* splitHugeEdges(vma, start, end);
  if ((oldFlags ^ flags) === VM_WRITE && (flags & VM_WRITE) === 0 && (flags & VM_ACCESS) !== 0 && !mm.mayHaveSwapEntries) mm.pageTable.protect(start, end - start, PTE_RW, 0);
  else rewriteEach(vma, start, end, flags);
  invalidateEnd(mm, range);
}

/** change_pud_range() of kernels without PUD support: a 1G leaf is a "bad pud", cleared with no event. */
function clearBadPuds(mm: Mm, start: Vpn, end: Vpn): void {
  const pt = mm.pageTable;
  for (let vpn = alignDown(start, PUD_PAGES); vpn < end; vpn += PUD_PAGES) {
    pt.look(vpn);
    if (pt.level !== LEVEL_PUD || pt.none || (pt.lo & PTE_PRESENT) === 0) continue;
    tellBreach(mm, 'told-before-taken', 'mprotectPud', vpn, vpn + PUD_PAGES);
    pt.setRaw(0, 0);
  }
}

/** Every leaf by itself, with rights as the VMA's. Write comes back at once only where nothing has to be told of it. */
function rewriteEach(vma: Vma, start: Vpn, end: Vpn, flags: number): void {
  const pt = vma.mm.pageTable;
  for (let vpn = pt.nextEntry(start, end, 0); vpn >= 0; ) {
    pt.look(vpn);
    const { level, lo, hi } = pt;
    const next = alignDown(vpn, pagesOfLevel(level)) + pagesOfLevel(level);
    if (isSwapEntry(level, lo, hi)) protectSwapEntry(vma.mm);
    else if (isLeafEntry(level, lo)) {
      const pfn = framePfn(lo, hi);
      const rights = rightsOf(vma, level, lo, pfn, flags);
      const kept = lo & ~(PTE_PRESENT | PTE_RW | PTE_USER | PTE_PROTNONE) & 0xfff;
      writeLeaf(vma.mm, pfn, kept | rights, keepHi(hi, (lo & PTE_PRESENT) === 0, (flags & VM_EXEC) !== 0));
    }
    vpn = next >= end ? -1 : pt.nextEntry(next, end, 0);
  }
}

/**
 * P and RW of a leaf under `flags`. Who wants to hear of the first write (a DAX file) or has to copy gets write back only
 * for what was written before: can_change_pte_writable().
 */
function rightsOf(vma: Vma, level: number, lo: number, pfn: number, flags: number): number {
  if ((flags & VM_ACCESS) === 0) return PTE_PROTNONE;
  const rights = PTE_PRESENT | PTE_USER;
  if ((flags & VM_WRITE) === 0) return rights;
  if (vma.has(VM_HUGETLB)) return vma.isShared ? rights | PTE_RW : rights;
  if ((lo & PTE_RW) !== 0) return rights | PTE_RW;
  const { profile } = vma.mm.platform;
  const dirty = (lo & PTE_DIRTY) !== 0;
  if (vma.isShared) {
    const asked = vma.ops?.pfnMkwrite !== undefined || vma.ops?.pageMkwrite !== undefined;
    return !asked || (dirty && (level === LEVEL_PTE || profile.mprotectPmdWritable)) ? rights | PTE_RW : rights;
  }
  const own = isExclusive(vma.mm, pfn);
  if (!own || (level !== LEVEL_PTE && !profile.mprotectPmdWritable)) return rights;
  return profile.mprotectAnonWritable === 'always' || (profile.mprotectAnonWritable === 'dirty' && dirty) ? rights | PTE_RW : rights;
}

function keepHi(hi: number, inverted: boolean, executable: boolean): number {
  const plain = inverted ? ((hi & 0xfff00000) | (~hi & 0x000fffff)) >>> 0 : hi;
  return ((plain & 0x7ff00000) >>> 0) + (executable ? 0 : HI_NX);
}

/** Writes the entry found last; without P its frame is stored inverted. */
export function writeLeaf(mm: Mm, pfn: number, flagsLo: number, flagsHi: number): void {
  const pt = mm.pageTable;
  if ((flagsLo & PTE_PRESENT) !== 0) {
    pt.set(pfn, flagsLo, flagsHi);
    return;
  }
  const lo = (pfn % 2 ** 20) * 4096;
  const hi = Math.floor(pfn / 2 ** 20);
  pt.setRaw(((~lo & 0xfffff000) | flagsLo) >>> 0, ((~hi & 0xfffff) | flagsHi) >>> 0);
}
