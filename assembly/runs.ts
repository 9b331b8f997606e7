/**
 * Runs of entries within one table: count them, clear them, rewrite them. Nothing here knows what a run means.
 */
import {
  PAGE_SIZE, PTE_ACCESSED, PTE_DIRTY, PTE_PRESENT, REQ_AND, REQ_OR, REQ_OR_IF_DIRTY, REQUEST_STRIDE,
} from '../src/abi';
import { ACCESS_BITS, isNone } from './entry';

// The end of the scratch, of which template.ts has the beginning: constants, in memory so that they stay outside of loops.
const S_MASK = REQUEST_STRIDE - 24;
const S_MASK_2 = REQUEST_STRIDE - 16;
const S_MASK_3 = REQUEST_STRIDE - 8;
const S_MASK_4 = REQUEST_STRIDE - 48;
const S_MASK_5 = REQUEST_STRIDE - 56;

const A_ABOVE_P: i32 = 5;
const D_ABOVE_P: i32 = 6;

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
export function countEntries(req: u32, at: u32, count: u32): u32 {
  let none: u32 = 0;
  const end = at + (count << 3);
  if (ASC_FEATURE_SIMD) {
    store<u64>(req, ~(<u64>ACCESS_BITS), S_MASK);
    const notNone = v128.load_splat<u64>(req, S_MASK);
    let counts = i64x2.splat(0);
    for (; end - at >= 64; at += 64) {
      const low = i64x2.add(zeroLanes(v128.and(v128.load(at), notNone)), zeroLanes(v128.and(v128.load(at, 16), notNone)));
      const high = i64x2.add(zeroLanes(v128.and(v128.load(at, 32), notNone)), zeroLanes(v128.and(v128.load(at, 48), notNone)));
      counts = i64x2.add(counts, i64x2.add(low, high));
    }
    none = <u32>-(i64x2.extract_lane(counts, 0) + i64x2.extract_lane(counts, 1));
  }
  for (; at != end; at += 8) none += <u32>isNone(load<u64>(at));
  return count - none;
}

/** Rewrites present entries as `(entry & and) | or`, and `| orIfDirty` where it is dirty. Returns how many changed. */
export function rewriteRun(req: u32, at: u32, count: u32, and: u64, or: u64, orIfDirty: u64): u32 {
  let changed: u32 = 0;
  const end = at + (count << 3);
  if (ASC_FEATURE_SIMD) {
    changed = orIfDirty == 0 ? rewriteBlocks(req, at, end, false) : rewriteBlocks(req, at, end, true);
    at = end - ((end - at) & 63);
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

/**
 * rewriteRun over blocks of eight entries: `(entry & and) | or` differs from the entry in the bits of `(entry ^ or) & (or | ~and)`.
 * A block in which every entry is present and changes in one same bit is the common one, and needs no count. In any other each lane
 * is looked at, as everywhere where `orIfDirty` counts.
 */
@inline
function rewriteBlocks(req: u32, at: u32, end: u32, byDirty: bool): u32 {
  let changed: u32 = 0;
  const asked = load<u64>(req, REQ_OR);
  const or = asked & ~(<u64>PTE_PRESENT); // who changes has P
  const bits = (asked | ~load<u64>(req, REQ_AND)) & ~(asked & PTE_PRESENT);
  if (!byDirty && bits == 0) return 0;
  store<u64>(req, PTE_PRESENT, S_MASK);
  store<u64>(req, PTE_DIRTY, S_MASK_2);
  store<u64>(req, bits, S_MASK_3);
  store<u64>(req, PTE_PRESENT | (bits & (0 - bits)), S_MASK_4);
  store<u64>(req, or, S_MASK_5);
  const ors = v128.load_splat<u64>(req, S_MASK_5);
  const mask = v128.load_splat<u64>(req, S_MASK_3);
  const alike = v128.load_splat<u64>(req, S_MASK_4);
  const present = v128.load_splat<u64>(req, S_MASK);
  const dirty = v128.load_splat<u64>(req, S_MASK_2);
  const dirties = v128.load_splat<u64>(req, REQ_OR_IF_DIRTY);
  let counts = i64x2.splat(0); // minus the unchanged
  for (; end - at >= 64; at += 64) {
    const a = v128.load(at);
    const b = v128.load(at, 16);
    const c = v128.load(at, 32);
    const d = v128.load(at, 48);
    const flippedA = v128.xor(a, ors);
    const flippedB = v128.xor(b, ors);
    const flippedC = v128.xor(c, ors);
    const flippedD = v128.xor(d, ors);
    let flipA = v128.and(flippedA, mask);
    let flipB = v128.and(flippedB, mask);
    let flipC = v128.and(flippedC, mask);
    let flipD = v128.and(flippedD, mask);
    if (byDirty || v128.any_true(v128.andnot(alike, v128.and(v128.and(flippedA, flippedB), v128.and(flippedC, flippedD))))) {
      if (byDirty) {
        flipA = alsoDirty(a, flipA, dirty, dirties);
        flipB = alsoDirty(b, flipB, dirty, dirties);
        flipC = alsoDirty(c, flipC, dirty, dirties);
        flipD = alsoDirty(d, flipD, dirty, dirties);
      }
      flipA = v128.and(flipA, i64x2.eq(v128.and(a, present), present));
      flipB = v128.and(flipB, i64x2.eq(v128.and(b, present), present));
      flipC = v128.and(flipC, i64x2.eq(v128.and(c, present), present));
      flipD = v128.and(flipD, i64x2.eq(v128.and(d, present), present));
      if (!v128.any_true(v128.or(v128.or(flipA, flipB), v128.or(flipC, flipD)))) continue;
      counts = i64x2.add(counts, i64x2.add(i64x2.add(zeroLanes(flipA), zeroLanes(flipB)), i64x2.add(zeroLanes(flipC), zeroLanes(flipD))));
    }
    v128.store(at, v128.xor(a, flipA));
    v128.store(at, v128.xor(b, flipB), 16);
    v128.store(at, v128.xor(c, flipC), 32);
    v128.store(at, v128.xor(d, flipD), 48);
    changed += 8;
  }
  return changed + <u32>(i64x2.extract_lane(counts, 0) + i64x2.extract_lane(counts, 1));
}

/** Lanes that are zero, as minus one. */
@inline
function zeroLanes(bits: v128): v128 {
  return i64x2.eq(bits, i64x2.splat(0));
}

/** `flip` of two entries, and where one is dirty the bits of `dirties` that it will not have got otherwise. */
@inline
function alsoDirty(entry: v128, flip: v128, dirty: v128, dirties: v128): v128 {
  const extra = v128.and(i64x2.eq(v128.and(entry, dirty), dirty), dirties);
  // (next | extra) ^ entry, of next = entry ^ flip
  return v128.xor(v128.or(v128.xor(entry, flip), extra), entry);
}

/** What rewriteRun makes of one entry. */
@inline
export function rewritten(entry: u64, and: u64, or: u64, orIfDirty: u64): u64 {
  return entry & PTE_PRESENT ? (entry & and) | or | (entry & PTE_DIRTY ? orIfDirty : 0) : entry;
}

/** Sets A, and D where `dirty` is that bit, in the present ptes among `count` at `at`. Returns how many changed. */
export function markRun(req: u32, at: u32, count: u32, dirty: u64): u32 {
  let changed: u32 = 0;
  const end = at + (count << 3);
  if (ASC_FEATURE_SIMD) {
    store<u64>(req, PTE_ACCESSED, S_MASK);
    store<u64>(req, dirty, S_MASK_2);
    const accesseds = v128.load_splat<u64>(req, S_MASK);
    const dirties = v128.load_splat<u64>(req, S_MASK_2);
    for (; end - at >= 64; at += 64) {
      const a = unmarked(v128.load(at), accesseds, dirties);
      const b = unmarked(v128.load(at, 16), accesseds, dirties);
      const c = unmarked(v128.load(at, 32), accesseds, dirties);
      const d = unmarked(v128.load(at, 48), accesseds, dirties);
      if (!v128.any_true(v128.or(v128.or(a, b), v128.or(c, d)))) continue;
      changed += orPair(at, a) + orPair(at + 16, b) + orPair(at + 32, c) + orPair(at + 48, d);
    }
  }
  for (; at != end; at += 8) {
    const entry = load<u64>(at);
    if ((entry & PTE_PRESENT) == 0) continue;
    const marked = entry | PTE_ACCESSED | dirty;
    if (marked == entry) continue;
    store<u64>(at, marked);
    changed++;
  }
  return changed;
}

/** A and D that two entries lack, each where P is set. */
@inline
function unmarked(entry: v128, accesseds: v128, dirties: v128): v128 {
  const a = v128.and(i64x2.shl(entry, A_ABOVE_P), accesseds);
  const d = v128.and(i64x2.shl(entry, D_ABOVE_P), dirties);
  return v128.andnot(v128.or(a, d), entry);
}

/** Ors `bits` into two entries; returns how many of them got any. */
@inline
function orPair(at: u32, bits: v128): u32 {
  v128.store(at, v128.or(v128.load(at), bits));
  return popcnt(i64x2.bitmask(i64x2.ne(bits, i64x2.splat(0))));
}
