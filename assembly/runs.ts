/**
 * Runs of entries within one table: count them, clear them, rewrite them. Nothing here knows what a run means.
 */
import { PAGE_SIZE, PTE_DIRTY, PTE_PRESENT } from '../src/abi';
import { isNone } from './entry';

/** True when no entry of the table has a bit set. */
export function isEmptyTable(table: u32): bool {
  return zeroPrefix(table, PAGE_SIZE >> 3) == PAGE_SIZE >> 3;
}

/** How many of `count` entries at `at`, from the first on, are zero. */
export function zeroPrefix(at: u32, count: u32): u32 {
  let i: u32 = 0;
  if (ASC_FEATURE_SIMD) {
    for (; i + 8 <= count; i += 8) {
      const low = v128.or(v128.load(at), v128.load(at, 16));
      if (v128.any_true(v128.or(low, v128.or(v128.load(at, 32), v128.load(at, 48))))) break;
      at += 64;
    }
  }
  for (; i < count && load<u64>(at) == 0; i++) at += 8;
  return i;
}

/** How many of `count` entries at `at` are not none. */
export function countEntries(at: u32, count: u32): u32 {
  let found: u32 = 0;
  for (const end = at + (count << 3); at != end; ) {
    if (ASC_FEATURE_SIMD && end - at >= 16) {
      const none = i64x2.eq(v128.andnot(v128.load(at), i64x2.splat(0x60)), i64x2.splat(0));
      found += 2 - popcnt(i64x2.bitmask(none));
      at += 16;
    } else {
      found += <u32>!isNone(load<u64>(at));
      at += 8;
    }
  }
  return found;
}

/** Rewrites present entries as `(entry & and) | or`, and `| orIfDirty` where it is dirty. Returns how many changed. */
export function rewriteRun(at: u32, count: u32, and: u64, or: u64, orIfDirty: u64): u32 {
  let changed: u32 = 0;
  const end = at + (count << 3);
  if (ASC_FEATURE_SIMD) {
    const ands = i64x2.splat(and);
    const ors = i64x2.splat(or);
    const dirties = i64x2.splat(orIfDirty);
    const present = i64x2.splat(PTE_PRESENT);
    const dirty = i64x2.splat(PTE_DIRTY);
    for (; end - at >= 16; at += 16) {
      const entry = v128.load(at);
      const extra = v128.and(i64x2.eq(v128.and(entry, dirty), dirty), dirties);
      const rewritten = v128.or(v128.or(v128.and(entry, ands), ors), extra);
      const next = v128.bitselect(rewritten, entry, i64x2.eq(v128.and(entry, present), present));
      const differs = i64x2.bitmask(i64x2.ne(next, entry));
      if (differs == 0) continue;
      v128.store(at, next);
      changed += popcnt(differs);
    }
  }
  for (; at != end; at += 8) {
    const entry = load<u64>(at);
    const next = rewritten(entry, and, or, orIfDirty);
    if (next == entry) continue;
    store<u64>(at, next);
    changed++;
  }
  return changed;
}

/** What rewriteRun makes of one entry. */
@inline
export function rewritten(entry: u64, and: u64, or: u64, orIfDirty: u64): u64 {
  return entry & PTE_PRESENT ? (entry & and) | or | (entry & PTE_DIRTY ? orIfDirty : 0) : entry;
}

