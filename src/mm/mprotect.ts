/**
 * Changing the rights of entries (mm/mprotect.c: change_protection).
 *
 * The event PROTECTION_VMA is raised only once something populated is met, and only from there on; at which level it looks
 * differs between kernels (`profile.mprotectEventLevel`). A 1G leaf is changed in place or, by kernels that do not know it
 * there, cleared without telling anyone (`profile.mprotectPud`).
 */
import { LEVEL_PMD, LEVEL_PUD, PTE_DIRTY, PTE_PRESENT, PTE_PROTNONE, PTE_RW, PTE_USER } from '../abi.ts';
import { DEVICE_BASE_PFN, PAGE_EXCLUSIVE } from '../page/index.ts';
import { HI_NX, framePfn } from '../pgtable/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { alignDown, pagesOfLevel, type Vpn } from '../units.ts';
import { invalidateEnd, invalidateStart, type Mm } from './mm.ts';
import { VM_EXEC, VM_READ, VM_WRITE, type Vma } from './vma.ts';
import { dropHuge } from './zap.ts';

/** Pages under one top-level entry: events are raised for each such stretch apart. */
const P4D_SPAN = 2 ** 27;

/** Applies `vma`'s flags to its entries in `[start, end)`. */
export function* protectRange(vma: Vma, start: Vpn, end: Vpn, oldFlags: number, flags: number): Sleepable<void> {
  if (((oldFlags ^ flags) & (VM_READ | VM_WRITE | VM_EXEC)) === 0) return;
  for (let at = start; at < end; ) {
    const upTo = Math.min(end, alignDown(at, P4D_SPAN) + P4D_SPAN);
    yield* protectStretch(vma, at, upTo, flags);
    at = upTo;
  }
}

function* protectStretch(vma: Vma, start: Vpn, end: Vpn, flags: number): Sleepable<void> {
  const { mm } = vma;
  const { profile, sched } = mm.platform;
  if (profile.mprotectPud === 'cleared') clearBadPuds(mm, start, end);
  const first = firstPopulated(mm, start, end, profile.mprotectEventLevel === 'pmd' ? LEVEL_PMD : LEVEL_PUD);
  if (first < 0) return;
  const range = yield* invalidateStart(mm, 'PROTECTION_VMA', first, end);
  if (sched.concurrent) yield sched.point('mprotect', mm.touches);
  yield* dropCutLeaves(vma, start, end);
  rewriteEach(mm, start, end, flags, vma.isShared);
  invalidateEnd(mm, range);
}

/** change_pud_range() of kernels without PUD support: a 1G leaf is a "bad pud", cleared with no event. */
function clearBadPuds(mm: Mm, start: Vpn, end: Vpn): void {
  const pt = mm.pageTable;
  for (let vpn = alignDown(start, pagesOfLevel(LEVEL_PUD)); vpn < end; vpn += pagesOfLevel(LEVEL_PUD)) {
    pt.look(vpn);
    if (pt.level === LEVEL_PUD && !pt.none && (pt.lo & PTE_PRESENT) !== 0) pt.setRaw(0, 0);
  }
}

/** Where the first entry of `level` stands that has something under it: the start of its span, not before `start`. */
function firstPopulated(mm: Mm, start: Vpn, end: Vpn, level: number): Vpn | -1 {
  return mm.pageTable.nextEntry(start, end, level);
}

/** A huge leaf of which only a part changes rights is dropped (a DAX one; the next touch faults again). */
function* dropCutLeaves(vma: Vma, start: Vpn, end: Vpn): Sleepable<void> {
  for (const edge of [start, end]) {
    const pt = vma.mm.pageTable;
    pt.look(edge);
    if (pt.none || pt.level === 0 || pt.level > LEVEL_PUD) continue;
    const npages = pagesOfLevel(pt.level);
    const base = alignDown(edge, npages);
    if (base < start ? base + npages > start : edge === end && base < end) yield* dropHuge(vma, base, npages);
  }
}

/** Every leaf by itself, with rights as the VMA's. Write comes back at once only where nothing has to be told of it. */
function rewriteEach(mm: Mm, start: Vpn, end: Vpn, flags: number, shared: boolean): void {
  const pt = mm.pageTable;
  for (let vpn = pt.nextEntry(start, end, 0); vpn >= 0; ) {
    pt.look(vpn);
    const { level, lo, hi } = pt;
    const next = alignDown(vpn, pagesOfLevel(level)) + pagesOfLevel(level);
    const pfn = framePfn(lo, hi);
    const rights = rightsOf(mm, level, lo, pfn, flags, shared);
    const kept = lo & ~(PTE_PRESENT | PTE_RW | PTE_USER | PTE_PROTNONE) & 0xfff;
    const hiFlags = keepHi(hi, (lo & PTE_PRESENT) === 0, (flags & VM_EXEC) !== 0);
    writeLeaf(mm, pfn, kept | rights, hiFlags);
    if (next >= end) break;
    vpn = pt.nextEntry(next, end, 0);
  }
}

function rightsOf(mm: Mm, level: number, lo: number, pfn: number, flags: number, shared: boolean): number {
  if ((flags & (VM_READ | VM_WRITE | VM_EXEC)) === 0) return PTE_PROTNONE;
  let rights = PTE_PRESENT | PTE_USER;
  if ((flags & VM_WRITE) === 0) return rights;
  if ((lo & PTE_RW) !== 0) return rights | PTE_RW;
  const { profile, records } = mm.platform;
  const dirty = (lo & PTE_DIRTY) !== 0;
  if (shared) {
    if (dirty && (level === 0 || profile.mprotectPmdWritable)) rights |= PTE_RW;
  } else if (pfn < DEVICE_BASE_PFN && (records.flags(pfn) & PAGE_EXCLUSIVE) !== 0 && dirty) rights |= PTE_RW;
  return rights;
}

function keepHi(hi: number, inverted: boolean, executable: boolean): number {
  const plain = inverted ? ((hi & 0xfff00000) | (~hi & 0x000fffff)) >>> 0 : hi;
  return ((plain & 0x7ff00000) >>> 0) + (executable ? 0 : HI_NX);
}

/** Writes the entry found last; without P its frame is stored inverted. */
function writeLeaf(mm: Mm, pfn: number, flagsLo: number, flagsHi: number): void {
  const pt = mm.pageTable;
  if ((flagsLo & PTE_PRESENT) !== 0) {
    pt.set(pfn, flagsLo, flagsHi);
    return;
  }
  const lo = (pfn % 2 ** 20) * 4096;
  const hi = Math.floor(pfn / 2 ** 20);
  pt.setRaw(((~lo & 0xfffff000) | flagsLo) >>> 0, ((~hi & 0xfffff) | flagsHi) >>> 0);
}
