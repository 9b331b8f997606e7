/**
 * Entries without P that stand for a page which is elsewhere, or held back (include/linux/swapops.h, arch/x86/include/asm/pgtable_64.h).
 *
 *   63   59 58                                   9 8     0
 *   | type |        ~offset (50 bits)             |   0   |
 *
 * The offset is stored inverted (L1TF). For all kinds but SWAP it is the frame of the page; bits 0 to 8 are none of P, PSE and
 * PROTNONE, so that a walk takes such an entry for what it is: neither empty nor present.
 */
import { LEVEL_PMD } from '../abi.ts';
import { isNone, isPresent } from './entry.ts';

/** the first swap device; there are types for 23 */
export const SWP_SWAP = 0;
export const SWP_HWPOISON = 23;
export const SWP_MIGRATION_READ = 24;
export const SWP_MIGRATION_READ_EXCLUSIVE = 25;
export const SWP_MIGRATION_WRITE = 26;
export const SWP_DEVICE_WRITE = 27;
export const SWP_DEVICE_READ = 28;
export const SWP_EXCLUSIVE_WRITE = 29;
export const SWP_EXCLUSIVE_READ = 30;
export const SWP_PTE_MARKER = 31;

const OFFSET_BITS_ALL = 2 ** 50 - 1;
const LO_OFFSETS = 2 ** 23;
const TYPE_UNIT = 2 ** 27;

/** Is the entry neither empty nor present? Never true at the levels above PMD. */
export function isSwapEntry(level: number, lo: number, hi: number): boolean {
  return level <= LEVEL_PMD && !isNone(lo, hi) && !isPresent(level, lo);
}

export function swapLo(offset: number): number {
  return ((OFFSET_BITS_ALL - offset) % LO_OFFSETS) * 512;
}

export function swapHi(type: number, offset: number): number {
  return Math.floor((OFFSET_BITS_ALL - offset) / LO_OFFSETS) + type * TYPE_UNIT;
}

/** SWP_* of a swap entry. */
export function swapType(hi: number): number {
  return hi >>> 27;
}

/** The offset in a swap entry: for all kinds but SWP_SWAP and SWP_PTE_MARKER the frame of a page. */
export function swapOffset(lo: number, hi: number): number {
  return OFFSET_BITS_ALL - ((hi % TYPE_UNIT) * LO_OFFSETS + (lo >>> 9));
}

export function isMigrationType(type: number): boolean {
  return type >= SWP_MIGRATION_READ && type <= SWP_MIGRATION_WRITE;
}

export function isDevicePrivateType(type: number): boolean {
  return type === SWP_DEVICE_WRITE || type === SWP_DEVICE_READ;
}

export function isDeviceExclusiveType(type: number): boolean {
  return type === SWP_EXCLUSIVE_WRITE || type === SWP_EXCLUSIVE_READ;
}

/** Would the page be writable again, once it is back? */
export function isWritableType(type: number): boolean {
  return type === SWP_MIGRATION_WRITE || type === SWP_DEVICE_WRITE || type === SWP_EXCLUSIVE_WRITE;
}
