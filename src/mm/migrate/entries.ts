/**
 * Migration entries: what stands in a page table while a page is on its way (include/linux/swapops.h, mm/migrate.c: remove_migration_pte,
 * mm/rmap.c: try_to_migrate_one).
 *
 * An entry remembers whether the page was writable, and whether the process had it to itself; above the frame, whether it was young
 * and dirty. It holds neither a reference nor a mapping of the page.
 */
import { LEVEL_PTE, PTE_ACCESSED, PTE_DIRTY, PTE_RW } from '../../abi.ts';
import { PAGE_ANON, PAGE_DIRTY, PAGE_EXCLUSIVE } from '../../page/index.ts';
import {
  HI_NX, SWP_DEVICE_READ, SWP_DEVICE_WRITE, SWP_MIGRATION_READ, SWP_MIGRATION_READ_EXCLUSIVE, SWP_MIGRATION_WRITE, framePfn, isDevicePrivateType, isDirty,
  isMigrationType, isPresent, isSpecial, isSwapEntry, isWritable, isWritableType, swapHi, swapLo, swapOffset, swapType,
} from '../../pgtable/index.ts';
import type { Pfn, Vpn } from '../../units.ts';
import { vmaFlagsLo } from '../insert.ts';
import { writeLeaf } from '../mprotect.ts';
import { VM_EXEC, type Vma } from '../vma.ts';

/** frames have 40 bits; the two above are the migration entry's own */
const YOUNG = 2 ** 40;
const DIRTY = 2 ** 41;

/** The frame that a migration, device-private or device-exclusive entry stands for. */
export function swapPfn(lo: number, hi: number): Pfn {
  return swapOffset(lo, hi) % YOUNG;
}

/** Is device memory of this frame out of the processor's reach? */
export function isDevicePrivate(vma: Vma, pfn: Pfn): boolean {
  return vma.mm.platform.pgmaps.find(pfn)?.type === 'private';
}

/** The frame that the pte found last maps, present or device-private, or -1. */
export function mappedPfn(lo: number, hi: number): Pfn {
  if (isPresent(LEVEL_PTE, lo)) return isSpecial(lo) ? -1 : framePfn(lo, hi);
  return isSwapEntry(LEVEL_PTE, lo, hi) && isDevicePrivateType(swapType(hi)) ? swapPfn(lo, hi) : -1;
}

/**
 * Puts a migration entry in the place of the pte found last, which maps `pfn`; the mapping and its reference are dropped. False,
 * and nothing has changed, where the page is the process's own and pinned: that would lose the pin. `bySubpage`: who asks works out
 * from the entry which page of a block it maps.
 */
export function toMigrationEntry(vma: Vma, pfn: Pfn, bySubpage = false): boolean {
  const { records, ram, bugs } = vma.mm.platform;
  const pt = vma.mm.pageTable;
  const { lo, hi } = pt;
  const present = isPresent(LEVEL_PTE, lo);
  const flags = records.flags(pfn);
  const exclusive = (flags & (PAGE_ANON | PAGE_EXCLUSIVE)) === (PAGE_ANON | PAGE_EXCLUSIVE);
  if (exclusive && records.pins(pfn) > 0) return false;
  const writable = present ? isWritable(lo) : isWritableType(swapType(hi));
  const type = writable ? SWP_MIGRATION_WRITE : exclusive ? SWP_MIGRATION_READ_EXCLUSIVE : SWP_MIGRATION_READ;
  const dirty = present && isDirty(lo);
  const offset = pfn + (present && (lo & PTE_ACCESSED) !== 0 ? YOUNG : 0) + (dirty ? DIRTY : 0);
  records.setFlags(pfn, (flags & ~PAGE_EXCLUSIVE) | (dirty ? PAGE_DIRTY : 0));
  vma.mm.mayHaveSwapEntries = true;
  pt.setRaw(swapLo(offset), swapHi(type, offset));
  // The frame that pte_pfn() finds in an entry that is not present is nobody's.
  if (present || !bySubpage || !bugs.has('unmap-bad-subpage')) records.addMappings(pfn, -1);
  ram.put(pfn);
  return true;
}

/** Is the pte found last a migration entry of `pfn`? */
export function isMigrationOf(lo: number, hi: number, pfn: Pfn): boolean {
  return isSwapEntry(LEVEL_PTE, lo, hi) && isMigrationType(swapType(hi)) && swapPfn(lo, hi) === pfn;
}

/** Maps `pfn`, with a reference and a mapping, where a migration entry was found last; with no more rights than the area has now. */
export function fromMigrationEntry(vma: Vma, pfn: Pfn): void {
  const { records } = vma.mm.platform;
  const pt = vma.mm.pageTable;
  const type = swapType(pt.hi);
  const above = Math.floor(swapOffset(pt.lo, pt.hi) / YOUNG);
  const flags = records.flags(pfn);
  const write = type === SWP_MIGRATION_WRITE && (vmaFlagsLo(vma.flags, LEVEL_PTE, true) & PTE_RW) !== 0;
  records.addRefs(pfn, 1);
  records.addMappings(pfn, 1);
  if ((flags & PAGE_ANON) !== 0 && type !== SWP_MIGRATION_READ) records.setFlags(pfn, flags | PAGE_EXCLUSIVE);
  if (isDevicePrivate(vma, pfn)) {
    pt.setRaw(swapLo(pfn), swapHi(write ? SWP_DEVICE_WRITE : SWP_DEVICE_READ, pfn));
    return;
  }
  const dirty = above >= 2 && (flags & PAGE_DIRTY) !== 0;
  mapPage(vma, pfn, write, dirty, above % 2 === 1);
}

/** Writes the pte found last: the page with the area's rights. */
export function mapPage(vma: Vma, pfn: Pfn, write: boolean, dirty: boolean, young: boolean): void {
  const plain = vmaFlagsLo(vma.flags, LEVEL_PTE, false) & ~PTE_ACCESSED;
  const lo = plain | (write ? PTE_RW : 0) | (dirty ? PTE_DIRTY : 0) | (young ? PTE_ACCESSED : 0);
  writeLeaf(vma.mm, pfn, lo, (vma.flags & VM_EXEC) !== 0 ? 0 : HI_NX);
}

/** The entry found for `vpn`, if it is a pte. */
export function lookPte(vma: Vma, vpn: Vpn): boolean {
  const pt = vma.mm.pageTable;
  pt.look(vpn);
  return pt.level === LEVEL_PTE && !pt.none;
}
