/**
 * x86-64 page-table entries, as two 32-bit halves `lo` and `hi` (abi.ts draws the bits). Predicates follow
 * arch/x86/include/asm/pgtable.h: present means P or PROTNONE for ptes and pmds, also PSE for pmds, P alone for puds.
 */
import {
  LEVEL_PMD, LEVEL_PTE, LEVEL_PUD, PTE_ACCESSED, PTE_DIRTY, PTE_PRESENT, PTE_PROTNONE, PTE_PSE, PTE_RW, PTE_SPECIAL, PTE_USER,
} from '../abi.ts';
import { pfnOfEntry, type Pfn } from '../units.ts';

/** NX in the high half */
export const HI_NX = 0x80000000;

/** The high half of a devmap entry under a profile whose bit is `devmapBit` (64: none). */
export function devmapHi(devmapBit: number): number {
  return devmapBit >= 64 ? 0 : 2 ** (devmapBit - 32);
}

/** Zero but for A and D, which some processors set on their own. */
export function isNone(lo: number, hi: number): boolean {
  return (lo & ~(PTE_ACCESSED | PTE_DIRTY)) === 0 && hi === 0;
}

export function isPresent(level: number, lo: number): boolean {
  if (level === LEVEL_PTE) return (lo & (PTE_PRESENT | PTE_PROTNONE)) !== 0;
  if (level === LEVEL_PMD) return (lo & (PTE_PRESENT | PTE_PROTNONE | PTE_PSE)) !== 0;
  return (lo & PTE_PRESENT) !== 0;
}

/** A leaf that the processor would use. */
export function isLeaf(level: number, lo: number): boolean {
  return (lo & PTE_PRESENT) !== 0 && (level === LEVEL_PTE || (level <= LEVEL_PUD && (lo & PTE_PSE) !== 0));
}

/** A leaf, whether or not the processor may use it: also one of PROT_NONE. */
export function isLeafEntry(level: number, lo: number): boolean {
  return level === LEVEL_PTE ? isPresent(level, lo) : level <= LEVEL_PUD && (lo & PTE_PSE) !== 0;
}

export function isProtNone(lo: number): boolean {
  return (lo & (PTE_PRESENT | PTE_PROTNONE)) === PTE_PROTNONE;
}

export function isWritable(lo: number): boolean {
  return (lo & PTE_RW) !== 0;
}

export function isDirty(lo: number): boolean {
  return (lo & PTE_DIRTY) !== 0;
}

export function isSpecial(lo: number): boolean {
  return (lo & PTE_SPECIAL) !== 0;
}

/**
 * The frame in a present entry. Entries without P store the field inverted (L1TF): the value is turned back here.
 * Large leaves keep only the bits of their size.
 */
export function framePfn(lo: number, hi: number): Pfn {
  return (lo & PTE_PRESENT) !== 0 ? pfnOfEntry(lo, hi) : pfnOfEntry(~lo >>> 0, ~hi >>> 0);
}

/** Low flag bits of a leaf at `level` for a VMA's rights; PROT_NONE has no P. */
export function leafFlags(level: number, readable: boolean, writable: boolean, dirty: boolean): number {
  const size = level === LEVEL_PTE ? 0 : PTE_PSE;
  if (!readable) return PTE_PROTNONE | PTE_ACCESSED | size | (dirty ? PTE_DIRTY : 0);
  return PTE_PRESENT | PTE_USER | PTE_ACCESSED | size | (writable ? PTE_RW : 0) | (dirty ? PTE_DIRTY : 0);
}

/** An entry for people: its bits by name. */
export function describeEntry(level: number, lo: number, hi: number, devmapBit: number): string {
  if (isNone(lo, hi)) return 'none';
  const names: string[] = [];
  const bits: readonly (readonly [number, string])[] = [
    [PTE_PRESENT, 'P'], [PTE_RW, 'RW'], [PTE_USER, 'U'], [PTE_ACCESSED, 'A'], [PTE_DIRTY, 'D'], [PTE_SPECIAL, 'SPECIAL'],
  ];
  for (const [bit, name] of bits) if ((lo & bit) !== 0) names.push(name);
  if (level > LEVEL_PTE && (lo & PTE_PSE) !== 0) names.push('PSE');
  if (isProtNone(lo)) names.push('PROTNONE');
  if (devmapHi(devmapBit) !== 0 && (hi & devmapHi(devmapBit)) !== 0) names.push('DEVMAP');
  if ((hi & HI_NX) !== 0) names.push('NX');
  return `pfn 0x${framePfn(lo, hi).toString(16)} ${names.join('|')}`;
}
