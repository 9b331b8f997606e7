/**
 * Entries that change in place: zap, protect, split, and the harvest of A and D (mm/memory.c: zap_pte_range,
 * mm/mprotect.c: change_pte_range). A range that cuts a huge leaf stops there before anything of it has changed.
 */
import {
  COLLECT_ENTRY, COLLECT_LEVEL, COLLECT_STRIDE, COLLECT_VPN, LEVEL_PMD, LEVEL_PTE, LEVEL_PUD, PAGE_SHIFT, PTE_PFN_MASK, PTE_PRESENT, PTE_PROTNONE,
  PTE_PSE, REQ_AND, REQ_CAPACITY, REQ_LEVELS, REQ_MODE, REQ_NPAGES, REQ_OR, REQ_OR_IF_DIRTY, REQ_OUT, REQ_ROOT, REQ_SCRATCH, REQ_VPN, STOP_BAD, STOP_CHANGED,
  STOP_DONE_ALL, STOP_FREED, STOP_FULL, STOP_HOLE, STOP_NO_MEMORY, STOP_PARTIAL, TABLE_ENTRIES, WALK_COLLECT, WALK_FREE_TABLES,
} from '../src/abi';
import { begin, loadPage, stop, storePage } from './answer';
import { isBad, seek, seekNext, slotLevel, slotOffset } from './descend';
import { TABLE_FLAGS, indexAt, isLeaf, isNone, pagesAt, spanEnd, tableOf } from './entry';
import { frameAllocRaw, frameFree, tablesChanged } from './frames';
import { countEntries, rewriteRun, rewritten, zeroPrefix } from './runs';
import { SWEEP_EMPTY, freeEmpty } from './tables';
import { fillSequence } from './words';

const S_PRESENT = REQ_SCRATCH; // a constant, in memory so that it stays outside of the loop

@inline
function addTo(req: u32, field: u32, count: u32): void {
  store<u32>(req + field, load<u32>(req + field) + count);
}

/** Counts `count` entries written, in the answer and in the arena. */
@inline
function changed(req: u32, count: u32): void {
  addTo(req, STOP_CHANGED, count);
  tablesChanged(count);
}

/** True when the range `[first, end)` does not cover the whole entry over `at` at `level`. */
@inline
function cuts(first: u64, end: u64, at: u64, level: u32): bool {
  return (at & ~(pagesAt(level) - 1)) < first || spanEnd(at, level) > end;
}

/**
 * Clears everything in the range, not-present entries too. With WALK_COLLECT each goes to REQ_OUT first, until
 * REQ_CAPACITY records are full; with WALK_FREE_TABLES tables left empty are freed. STOP_CHANGED: entries cleared.
 * Returns pages covered.
 */
export function zap(req: u32): u32 {
  begin(req);
  const root = load<u32>(req, REQ_ROOT);
  const levels = load<u32>(req, REQ_LEVELS);
  const mode = load<u32>(req, REQ_MODE);
  const first = loadPage(req + REQ_VPN);
  const end = first + load<u32>(req, REQ_NPAGES);
  let at = first;
  let reason: u32 = STOP_DONE_ALL;
  let found: u32 = 0;
  while (at < end) {
    if (at >= pagesAt(levels)) {
      reason = STOP_BAD;
      found = 0;
      break;
    }
    found = seekNext(root, levels, at, found);
    const offset = slotOffset(found);
    const level = slotLevel(found);
    const entry = load<u64>(offset);
    const chunkEnd = min(spanEnd(at, level), end);
    const table = level == LEVEL_PMD ? tableOf(entry) : 0;
    if (table != 0) {
      const done = zapTable(req, mode, offset, table, at, <u32>(chunkEnd - at));
      at += done;
      if (at < chunkEnd) {
        reason = STOP_FULL;
        found = table + (indexAt(at, LEVEL_PTE) << 3);
        break;
      }
    } else {
      reason = zapEntry(req, mode, found, entry, at, cuts(first, end, at, level));
      if (reason != 0) break;
      at = chunkEnd;
    }
  }
  const stopEnd = reason == STOP_DONE_ALL || found == 0 ? end : min(spanEnd(at, slotLevel(found)), end);
  const done = stop(req, reason, at, stopEnd, reason == STOP_DONE_ALL ? 0 : found);
  if (mode & WALK_FREE_TABLES) addTo(req, STOP_FREED, freeEmpty(root, levels, first, at, SWEEP_EMPTY));
  return done;
}

/** Zaps one entry without a pte table. STOP_* when it cannot. */
function zapEntry(req: u32, mode: u32, found: u32, entry: u64, at: u64, cut: bool): u32 {
  const level = slotLevel(found);
  if (isNone(entry)) {
    if (entry != 0) store<u64>(slotOffset(found), 0);
    return 0;
  }
  if (isBad(entry, level)) return STOP_BAD;
  if (cut) return STOP_PARTIAL;
  if ((mode & WALK_COLLECT) != 0 && !collect(req, at, entry, level)) return STOP_FULL;
  store<u64>(slotOffset(found), 0);
  changed(req, 1);
  return 0;
}

/** Zaps `count` ptes from `at` on in the table that the pmd entry at `pmd` points to. Returns how many; fewer when the records are full. */
function zapTable(req: u32, mode: u32, pmd: u32, table: u32, at: u64, count: u32): u32 {
  const from = table + (indexAt(at, LEVEL_PTE) << 3);
  if (mode & WALK_COLLECT) return collectRun(req, from, at, count);
  changed(req, countEntries(req, from, count));
  if (count == TABLE_ENTRIES && (mode & WALK_FREE_TABLES) != 0) {
    // A freed frame is zeroed when it is handed out again.
    store<u64>(pmd, 0);
    tablesChanged(1);
    frameFree(table);
    addTo(req, STOP_FREED, 1);
  } else {
    memory.fill(from, 0, count << 3);
  }
  return count;
}

function collectRun(req: u32, from: u32, at: u64, count: u32): u32 {
  let i: u32 = 0;
  while (true) {
    i += zeroPrefix(from + (i << 3), count - i);
    if (i == count) return count;
    const entry = load<u64>(from + (i << 3));
    if (!isNone(entry)) {
      if (!collect(req, at + i, entry, LEVEL_PTE)) return i;
      changed(req, 1);
    }
    store<u64>(from + (i << 3), 0);
    i++;
  }
}

/** Appends a record; false when there is no room. */
function collect(req: u32, vpn: u64, entry: u64, level: u32): bool {
  const records = load<u32>(req, STOP_CHANGED);
  if (records >= load<u32>(req, REQ_CAPACITY)) return false;
  const record = load<u32>(req, REQ_OUT) + records * COLLECT_STRIDE;
  storePage(record + COLLECT_VPN, vpn);
  store<u64>(record, entry, COLLECT_ENTRY);
  store<u32>(record, level, COLLECT_LEVEL);
  return true;
}

/**
 * Rewrites present leaves in the range as `(entry & AND) | OR`, and `| OR_IF_DIRTY` where they are dirty. STOP_CHANGED:
 * entries whose value changed. Returns pages covered.
 */
export function protect(req: u32): u32 {
  begin(req);
  const root = load<u32>(req, REQ_ROOT);
  const levels = load<u32>(req, REQ_LEVELS);
  const and = load<u64>(req, REQ_AND);
  const or = load<u64>(req, REQ_OR);
  const orIfDirty = load<u64>(req, REQ_OR_IF_DIRTY);
  const first = loadPage(req + REQ_VPN);
  const end = first + load<u32>(req, REQ_NPAGES);
  let at = first;
  let found: u32 = 0;
  while (at < end) {
    if (at >= pagesAt(levels)) return stop(req, STOP_BAD, at, end, 0);
    found = seekNext(root, levels, at, found);
    const offset = slotOffset(found);
    const level = slotLevel(found);
    const entry = load<u64>(offset);
    const chunkEnd = min(spanEnd(at, level), end);
    const table = level == LEVEL_PMD ? tableOf(entry) : 0;
    if (table != 0) {
      changed(req, rewriteRun(req, table + (indexAt(at, LEVEL_PTE) << 3), <u32>(chunkEnd - at), and, or, orIfDirty));
    } else if (isBad(entry, level)) {
      return stop(req, STOP_BAD, at, chunkEnd, found);
    } else if (isLeaf(entry, level)) {
      if (cuts(first, end, at, level)) return stop(req, STOP_PARTIAL, at, chunkEnd, found);
      const next = rewritten(entry, and, or, orIfDirty);
      if (next != entry) {
        store<u64>(offset, next);
        changed(req, 1);
      }
    }
    at = chunkEnd;
  }
  return stop(req, STOP_DONE_ALL, at, at, 0);
}

/**
 * Replaces the leaf over `vpn` at `level` (pmd or pud) by a table of 512 leaves one level lower with its flags; a leaf of
 * PROT_NONE too. Returns 0, STOP_HOLE when there is no such leaf, or STOP_NO_MEMORY: then nothing changed.
 */
export function split(root: u32, levels: u32, vpn: f64, level: u32): u32 {
  const found = seek(root, levels, <u64><i64>vpn, level);
  const entry = load<u64>(slotOffset(found));
  if (slotLevel(found) != level || (level != LEVEL_PMD && level != LEVEL_PUD)) return STOP_HOLE;
  if ((entry & PTE_PSE) == 0 || (entry & (PTE_PRESENT | PTE_PROTNONE)) == 0) return STOP_HOLE;
  return splitEntry(slotOffset(found), entry, level) ? 0 : STOP_NO_MEMORY;
}

/** Splits the leaf `entry` at `offset`; false when there is no frame for the table. */
export function splitEntry(offset: u32, entry: u64, level: u32): bool {
  const table = frameAllocRaw();
  if (table == 0) return false;
  const step = pagesAt(level - 1) << PAGE_SHIFT;
  // The frame field of an entry without P is stored inverted: it counts down.
  const present = (entry & PTE_PRESENT) != 0;
  const low = pagesAt(level) * (1 << PAGE_SHIFT) - 1;
  const frames = (present ? entry : ~entry) & PTE_PFN_MASK & ~low;
  const flags = entry & ~PTE_PFN_MASK & ~(level == LEVEL_PMD ? <u64>PTE_PSE : 0);
  if (present) fillSequence(table, TABLE_ENTRIES, frames | flags, step);
  else fillSequence(table, TABLE_ENTRIES, (~frames & PTE_PFN_MASK) | flags, 0 - step);
  store<u64>(offset, <u64>table | TABLE_FLAGS);
  tablesChanged(TABLE_ENTRIES + 1);
  return true;
}

/**
 * Reads and clears A and/or D (REQ_OR) of present leaves in the range, into one bit for each 4 KiB page at REQ_OUT (page i
 * is bit i & 7 of byte i >> 3; the last byte is written whole). A huge leaf answers for all its pages in the range.
 * STOP_CHANGED: leaves cleared. Returns pages covered.
 */
export function harvest(req: u32): u32 {
  begin(req);
  const root = load<u32>(req, REQ_ROOT);
  const levels = load<u32>(req, REQ_LEVELS);
  const mask = load<u64>(req, REQ_OR);
  const bitmap = load<u32>(req, REQ_OUT);
  const npages = load<u32>(req, REQ_NPAGES);
  const first = loadPage(req + REQ_VPN);
  const end = first + npages;
  let found: u32 = 0;
  let at = first;
  memory.fill(bitmap, 0, (npages >> 3) + <u32>((npages & 7) != 0));
  while (at < end) {
    if (at >= pagesAt(levels)) return stop(req, STOP_BAD, at, end, 0);
    found = seekNext(root, levels, at, found);
    const offset = slotOffset(found);
    const level = slotLevel(found);
    const entry = load<u64>(offset);
    const chunkEnd = min(spanEnd(at, level), end);
    const table = level == LEVEL_PMD ? tableOf(entry) : 0;
    const count = <u32>(chunkEnd - at);
    const bit = <u32>(at - first);
    if (table != 0) {
      changed(req, harvestRun(req, table + (indexAt(at, LEVEL_PTE) << 3), count, mask, bitmap, bit));
    } else if (isBad(entry, level)) {
      return stop(req, STOP_BAD, at, chunkEnd, found);
    } else if (isLeaf(entry, level) && (entry & mask) != 0) {
      setBits(bitmap, bit, count);
      store<u64>(offset, entry & ~mask);
      changed(req, 1);
    }
    at = chunkEnd;
  }
  return stop(req, STOP_DONE_ALL, at, at, 0);
}

/** harvest for `count` ptes at `from`, the first of which is bit `bit`. Returns how many were cleared. */
function harvestRun(req: u32, from: u32, count: u32, mask: u64, bitmap: u32, bit: u32): u32 {
  let cleared: u32 = 0;
  const end = bit + count;
  if (ASC_FEATURE_SIMD) {
    // One bit is found with P by one comparison.
    cleared = popcnt(mask) == 1 ? harvestBlocks(req, from, end, bitmap, bit, true) : harvestBlocks(req, from, end, bitmap, bit, false);
    const blocks = (end - bit) & ~15;
    bit += blocks;
    from += blocks << 3;
  }
  for (; bit != end; bit++) {
    const entry = load<u64>(from);
    if ((entry & PTE_PRESENT) != 0 && (entry & mask) != 0) {
      store<u64>(from, entry & ~mask);
      orBits(bitmap, bit, 1);
      cleared++;
    }
    from += 8;
  }
  return cleared;
}

/** The same over blocks of sixteen. */
@inline
function harvestBlocks(req: u32, from: u32, end: u32, bitmap: u32, bit: u32, single: bool): u32 {
  let cleared: u32 = 0;
  store<u64>(req, single ? PTE_PRESENT | load<u64>(req, REQ_OR) : PTE_PRESENT, S_PRESENT);
  const masks = v128.load_splat<u64>(req, REQ_OR);
  const present = v128.load_splat<u64>(req, S_PRESENT);
  const whole = (bit & 7) == 0;
  for (; end - bit >= 16; bit += 16) {
    const a = hits(v128.load(from), masks, present, single);
    const b = hits(v128.load(from, 16), masks, present, single);
    const c = hits(v128.load(from, 32), masks, present, single);
    const d = hits(v128.load(from, 48), masks, present, single);
    const e = hits(v128.load(from, 64), masks, present, single);
    const f = hits(v128.load(from, 80), masks, present, single);
    const g = hits(v128.load(from, 96), masks, present, single);
    const h = hits(v128.load(from, 112), masks, present, single);
    // A lane of ones or zeros becomes a byte, a bit at last.
    const low = i16x8.narrow_i32x4_s(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d));
    const high = i16x8.narrow_i32x4_s(i16x8.narrow_i32x4_s(e, f), i16x8.narrow_i32x4_s(g, h));
    const bits = <u32>i8x16.bitmask(i8x16.narrow_i16x8_s(low, high));
    if (bits != 0) {
      v128.store(from, v128.andnot(v128.load(from), v128.and(a, masks)));
      v128.store(from, v128.andnot(v128.load(from, 16), v128.and(b, masks)), 16);
      v128.store(from, v128.andnot(v128.load(from, 32), v128.and(c, masks)), 32);
      v128.store(from, v128.andnot(v128.load(from, 48), v128.and(d, masks)), 48);
      v128.store(from, v128.andnot(v128.load(from, 64), v128.and(e, masks)), 64);
      v128.store(from, v128.andnot(v128.load(from, 80), v128.and(f, masks)), 80);
      v128.store(from, v128.andnot(v128.load(from, 96), v128.and(g, masks)), 96);
      v128.store(from, v128.andnot(v128.load(from, 112), v128.and(h, masks)), 112);
      cleared += popcnt(bits);
      if (whole) {
        store<u16>(bitmap + (bit >> 3), bits);
      } else {
        orBits(bitmap, bit, bits & 255);
        orBits(bitmap, bit + 8, bits >> 8);
      }
    }
    from += 128;
  }
  return cleared;
}

/** Lanes that are present and have a bit of the mask, as ones. Of a `single` bit, `present` has both. */
@inline
function hits(entry: v128, masks: v128, present: v128, single: bool): v128 {
  const isPresent = i64x2.eq(v128.and(entry, present), present);
  return single ? isPresent : v128.andnot(isPresent, i64x2.eq(v128.and(entry, masks), i64x2.splat(0)));
}

/** Ors up to eight `bits` into the bitmap from bit `bit` on; bytes without a bit are not touched. */
@inline
function orBits(bitmap: u32, bit: u32, bits: u32): void {
  const at = bitmap + (bit >> 3);
  const shifted = bits << (bit & 7);
  store<u8>(at, load<u8>(at) | <u8>shifted);
  if (shifted > 255) store<u8>(at, load<u8>(at, 1) | <u8>(shifted >> 8), 1);
}

/** Sets `count` bits from `bit` on. */
function setBits(bitmap: u32, bit: u32, count: u32): void {
  while (count != 0 && (bit & 7) != 0) {
    orBits(bitmap, bit++, 1);
    count--;
  }
  memory.fill(bitmap + (bit >> 3), 0xff, count >> 3);
  bit += count & ~7;
  for (count &= 7; count != 0; count--) orBits(bitmap, bit++, 1);
}
