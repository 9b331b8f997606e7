/**
 * fork of entries that map no page just now (mm/memory.c: copy_nonpresent_pte). Both sides get what the parent has, without the right
 * to write where writes will be copied. Pages that a device holds exclusively come back first, and are copied as present ones.
 */
import { LEVEL_PTE } from '../abi.ts';
import { HmmError } from '../errno.ts';
import {
  SWP_DEVICE_READ, SWP_HWPOISON, SWP_MIGRATION_READ, SWP_PTE_MARKER, isDeviceExclusiveType, isDevicePrivateType, isMigrationType, swapHi, swapLo, swapOffset,
  swapType,
} from '../pgtable/index.ts';
import { PAGE_EXCLUSIVE } from '../page/index.ts';
import { addrOf, type Vpn } from '../units.ts';
import { swapPfn } from './migrate/entries.ts';
import { restoreExclusive } from './migrate/swapFault.ts';
import type { Vma } from './vma.ts';

/** Copies the parent's entry found last; true: it has become a present one, to be copied as such. ENOMEM. */
export function copyNonPresent(copy: Vma, vma: Vma, vpn: Vpn): boolean {
  const pt = vma.mm.pageTable;
  const { records } = vma.mm.platform;
  const type = swapType(pt.hi);
  if (type === SWP_PTE_MARKER) return false;
  const offset = swapOffset(pt.lo, pt.hi);
  if (type < SWP_HWPOISON) vma.mm.platform.swapCache.duplicate(offset);
  if (isDeviceExclusiveType(type)) {
    restoreExclusive(vma, swapPfn(pt.lo, pt.hi));
    pt.look(vpn);
    return true;
  }
  if (isMigrationType(type) && vma.isCow) pt.setRaw(swapLo(offset), swapHi(SWP_MIGRATION_READ, offset));
  copy.mm.mayHaveSwapEntries = true;
  if (isDevicePrivateType(type)) {
    records.addRefs(offset, 1);
    records.addMappings(offset, 1);
    records.setFlags(offset, records.flags(offset) & ~PAGE_EXCLUSIVE);
    if (vma.isCow) pt.setRaw(swapLo(offset), swapHi(SWP_DEVICE_READ, offset));
  }
  pt.look(vpn);
  const { lo, hi } = pt;
  if (!copy.mm.pageTable.slot(vpn, LEVEL_PTE)) throw new HmmError('ENOMEM', 'fork', 'no table frame left in the arena', addrOf(vpn));
  copy.mm.pageTable.setRaw(lo, hi);
  return false;
}
