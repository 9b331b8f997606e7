/**
 * What happens to entries that are neither empty nor present when a range is dropped or its rights change (mm/memory.c:
 * zap_pte_range, mm/mprotect.c: change_pte_range).
 */
import {
  SWP_DEVICE_READ, SWP_DEVICE_WRITE, SWP_EXCLUSIVE_READ, SWP_EXCLUSIVE_WRITE, SWP_HWPOISON, SWP_MIGRATION_READ, SWP_MIGRATION_READ_EXCLUSIVE, SWP_MIGRATION_WRITE,
  isDeviceExclusiveType, isDevicePrivateType, isMigrationType, swapHi, swapOffset, swapType,
} from '../../pgtable/index.ts';
import { PAGE_ANON } from '../../page/index.ts';
import type { Mm } from '../mm.ts';
import { swapPfn } from './entries.ts';

/** Drops the pte found last; false where it is to stay: of an anonymous page (or with none, as poison) where `keepCopies`. */
export function zapSwapEntry(mm: Mm, keepCopies: boolean): boolean {
  const { ram, records, swapCache, ledger } = mm.platform;
  const pt = mm.pageTable;
  const type = swapType(pt.hi);
  if (type < SWP_HWPOISON) {
    if (keepCopies) return false;
    swapCache.free(swapOffset(pt.lo, pt.hi));
    pt.setRaw(0, 0);
    return true;
  }
  const pfn = swapPfn(pt.lo, pt.hi);
  const held = isDevicePrivateType(type) || isDeviceExclusiveType(type);
  if (keepCopies && (!(held || isMigrationType(type)) || (records.flags(pfn) & PAGE_ANON) !== 0)) return false;
  pt.setRaw(0, 0);
  if (isDevicePrivateType(type)) records.addMappings(pfn, -1);
  if (isDeviceExclusiveType(type)) ledger?.put(ram.head(pfn), 1);
  if (held) ram.put(pfn);
  return true;
}

/** After a change of rights, whatever it was, the pte found last is not writable when it comes back. */
export function protectSwapEntry(mm: Mm): void {
  const pt = mm.pageTable;
  const offset = swapOffset(pt.lo, pt.hi);
  const anon = (): boolean => (mm.platform.records.flags(swapPfn(pt.lo, pt.hi)) & PAGE_ANON) !== 0;
  const to = readOnlyType(swapType(pt.hi), anon);
  if (to !== null) pt.setRaw(pt.lo, swapHi(to, offset));
}

function readOnlyType(type: number, anon: () => boolean): number | null {
  switch (type) {
    case SWP_MIGRATION_WRITE:
      return anon() ? SWP_MIGRATION_READ_EXCLUSIVE : SWP_MIGRATION_READ;
    case SWP_DEVICE_WRITE:
      return SWP_DEVICE_READ;
    case SWP_EXCLUSIVE_WRITE:
      return SWP_EXCLUSIVE_READ;
    default:
      return null;
  }
}
