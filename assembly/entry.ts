/**
 * One x86-64 entry: what it says, and how far it reaches (abi.ts draws the bits; arch/x86/include/asm/pgtable.h).
 *
 * None means zero but for A and D, which some processors set on their own. Present means P alone: PROT_NONE and swap
 * entries are "not present" here, their owner knows what they are. Frame fields of such entries are stored inverted.
 */
import {
  FRAMES, HDR_FRAME_NEXT, LEVEL_PUD, PAGE_SHIFT, PTE_ACCESSED, PTE_DIRTY, PTE_PFN_MASK, PTE_PRESENT, PTE_PSE, PTE_RW, PTE_USER, TABLE_ENTRIES,
  TABLE_SHIFT,
} from '../src/abi';

/** Flags of an entry that points to a table, as the kernel's _PAGE_TABLE: rights are decided in the leaf alone. */
export const TABLE_FLAGS = PTE_PRESENT | PTE_RW | PTE_USER | PTE_ACCESSED | PTE_DIRTY;
export const ACCESS_BITS = PTE_ACCESSED | PTE_DIRTY;

@inline
export function isNone(entry: u64): bool {
  return (entry & ~(<u64>ACCESS_BITS)) == 0;
}

/** True for a leaf that the processor would use. */
@inline
export function isLeaf(entry: u64, level: u32): bool {
  if (level == 0) return (entry & PTE_PRESENT) != 0;
  return level <= <u32>LEVEL_PUD && (entry & (PTE_PRESENT | PTE_PSE)) == (PTE_PRESENT | PTE_PSE);
}

/** Neither present nor none, at a level where a leaf could stand. */
@inline
export function isNonPresent(entry: u64, level: u32): bool {
  return level <= <u32>LEVEL_PUD && (entry & PTE_PRESENT) == 0 && !isNone(entry);
}

/** Table frames handed out so far: what tells a table from a wild pointer. */
@inline
export function tableLimit(): u64 {
  return <u64>((load<u32>(HDR_FRAME_NEXT) - FRAMES) >> PAGE_SHIFT);
}

/**
 * Arena offset of the table that `entry` (above pte level) points to; 0 unless it is a plausible one: P, no PSE, and one
 * of the first `limit` frames. A difference with low bits left over is too large once these are on top.
 */
@inline
export function tableWithin(entry: u64, limit: u64): u32 {
  const d = (entry & (PTE_PFN_MASK | PTE_PSE | PTE_PRESENT)) - (FRAMES | PTE_PRESENT);
  return rotr(d, PAGE_SHIFT) < limit ? <u32>d + FRAMES : 0;
}

@inline
export function tableOf(entry: u64): u32 {
  return tableWithin(entry, tableLimit());
}

/** 4 KiB pages under one entry at `level`. */
@inline
export function pagesAt(level: u32): u64 {
  return <u64>1 << (TABLE_SHIFT * level);
}

/** First frame of the leaf `entry` at `level`: low bits that a large leaf has no room for (PAT) do not count. */
@inline
export function firstFrame(entry: u64, level: u32): u64 {
  return ((entry & PTE_PFN_MASK) >> PAGE_SHIFT) & ~(pagesAt(level) - 1);
}

/** First page after the span of the entry that maps `vpn` at `level`. */
@inline
export function spanEnd(vpn: u64, level: u32): u64 {
  const pages = pagesAt(level);
  return (vpn & ~(pages - 1)) + pages;
}

/** Place of `vpn`'s entry in its table at `level`. */
@inline
export function indexAt(vpn: u64, level: u32): u32 {
  return <u32>(vpn >> (TABLE_SHIFT * level)) & (TABLE_ENTRIES - 1);
}
