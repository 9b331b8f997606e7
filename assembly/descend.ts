/**
 * The way down: pgd -> p4d -> pud -> pmd -> pte. A table's address is its arena offset, so no step needs translating.
 */
import { LEVEL_P4D, LEVEL_PGD, LEVEL_PMD, LEVEL_PTE, LEVEL_PUD, PUD_PAGES } from '../src/abi';
import { indexAt, isLeaf, isNonPresent, isNone, tableLimit, tableWithin } from './entry';

/** A slot is the arena offset of an entry with its level in the low three bits, which an offset does not use. */
@inline
export function slotOffset(slot: u32): u32 {
  return slot & ~7;
}

@inline
export function slotLevel(slot: u32): u32 {
  return slot & 7;
}

/**
 * Goes down to the entry of `vpn` at `level`, or to the one above it from which no table leads on: none, leaf, not
 * present or bad, which is the caller's to tell apart. Never fails.
 */
export function seek(root: u32, levels: u32, vpn: u64, level: u32): u32 {
  return seekWithin(root, levels, vpn, level, tableLimit());
}

/** seek to the pmd entry of `at` for loops over a range: beside `last`, the slot of the chunk before (0: none), when that was one of the same table. */
@inline
export function seekNext(root: u32, levels: u32, at: u64, last: u32): u32 {
  return last != 0 && (at & (PUD_PAGES - 1)) != 0 && slotLevel(last) == LEVEL_PMD ? last + 8 : seek(root, levels, at, LEVEL_PMD);
}

/** seek for loops that live on it: the tests of a constant level fold away, and the limit of tables is read once. */
@inline
export function seekWithin(root: u32, levels: u32, vpn: u64, level: u32, limit: u64): u32 {
  let table = root;
  // One level after the other, not a loop: shifts by constants.
  if (levels > <u32>LEVEL_PGD) {
    const slot = table + (indexAt(vpn, LEVEL_PGD) << 3);
    if (level == LEVEL_PGD) return slot | LEVEL_PGD;
    table = tableWithin(load<u64>(slot), limit);
    if (table == 0) return slot | LEVEL_PGD;
  }
  const p4d = table + (indexAt(vpn, LEVEL_P4D) << 3);
  if (level == LEVEL_P4D) return p4d | LEVEL_P4D;
  table = tableWithin(load<u64>(p4d), limit);
  if (table == 0) return p4d | LEVEL_P4D;
  const pud = table + (indexAt(vpn, LEVEL_PUD) << 3);
  if (level == LEVEL_PUD) return pud | LEVEL_PUD;
  table = tableWithin(load<u64>(pud), limit);
  if (table == 0) return pud | LEVEL_PUD;
  const pmd = table + (indexAt(vpn, LEVEL_PMD) << 3);
  if (level == LEVEL_PMD) return pmd | LEVEL_PMD;
  table = tableWithin(load<u64>(pmd), limit);
  return table == 0 ? pmd | LEVEL_PMD : table + (indexAt(vpn, LEVEL_PTE) << 3);
}

/** True when `entry`, found above the level that was sought, leads nowhere for a reason that no sound table has. */
@inline
export function isBad(entry: u64, level: u32): bool {
  return level != LEVEL_PTE && !isNone(entry) && !isLeaf(entry, level) && !isNonPresent(entry, level);
}

/** The entry where the walk to `vpn` ends, as offset | level; 0 when it ends at a bad entry. */
export function descend(root: u32, levels: u32, vpn: f64): u32 {
  const slot = seek(root, levels, <u64><i64>vpn, LEVEL_PTE);
  return isBad(load<u64>(slotOffset(slot)), slotLevel(slot)) ? 0 : slot;
}
