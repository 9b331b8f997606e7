/**
 * What translating an address costs on a CPU with these TLBs and paging-structure caches: which of them answer, and how many
 * entries of page tables a walk reads.
 *
 * A lookup asks the L1 TLBs of its kind for every size of page, then the L2 TLB, then walks (Intel SDM vol. 3, 4.10): from the deepest
 * paging-structure cache that knows the address, or from the root. Entries of tables that a walk read are kept, leaves never; a store
 * through an entry whose page is not known to be dirty walks again. Replacement is least recently used everywhere. All state is one
 * block of the arena, laid out by src/costs; src/abi.ts draws it.
 */
import {
  CACHE_ENTRIES, CACHE_ENTRY_STRIDE, CACHE_ENTRY_USED, CACHE_HINTS, CACHE_SET_MASK, CACHE_STRUCTURE, CACHE_WAYS, COST_CACHES, COST_CACHE_COUNT,
  COST_CACHE_STRIDE, COST_CLASS, COST_CLOCK, COST_FAULTS, COST_FAULT_REFS, COST_FILLS, COST_FILLS_STRIDE, COST_HOST_LEVEL, COST_HOST_REFS, COST_KINDS, COST_L2_HITS,
  COST_LAST, COST_LAST_PAGE, COST_LAST_STRIDE, COST_LAST_WRITABLE, COST_LEVELS, COST_LOOKUPS, COST_MARK, COST_PCID, COST_PROBES, COST_PROBES_STRIDE, COST_REFS,
  COST_OUTCOME, COST_RECORD, COST_ROOT, COST_SKIPS, COST_STORE, COST_STRUCTURES, COST_WALKS, LEVEL_PTE, LEVEL_PUD, PTE_DIRTY, PTE_PRESENT, PTE_PSE, PTE_RW, STOP_BAD, STOP_HOLE,
  STOP_NEEDS_WRITE, STOP_NONPRESENT, TABLE_SHIFT, TAG_LEAF_SHIFT, TAG_LEVEL_SHIFT, TAG_PAGE_SHIFT, TAG_PCID_SHIFT, TAG_VALID, TAG_WRITABLE,
} from '../src/abi';
import { seekWithin, slotLevel, slotOffset } from './descend';
import { isNonPresent, isNone, tableLimit } from './entry';
import { mark } from './translate';

/** Bits of a tag that say nothing of what it is for. */
const NOTES: u64 = TAG_WRITABLE | (3 << TAG_LEAF_SHIFT);
const HASHES: u32 = 255;
const ALL_PCIDS: u32 = 0xffffffff;

@inline
function count(at: u32, by: u64): void {
  store<u64>(at, load<u64>(at) + by);
}

@inline
function keyOf(vpn: u64, level: u32, pcid: u32): u64 {
  return ((vpn >> (TABLE_SHIFT * level)) << TAG_PAGE_SHIFT) | (<u64>level << TAG_LEVEL_SHIFT) | (<u64>pcid << TAG_PCID_SHIFT) | TAG_VALID;
}

@inline
function hintOf(cache: u32, tag: u64): u32 {
  const page = <u32>(tag >> TAG_PAGE_SHIFT);
  return load<u32>(cache, CACHE_HINTS) + (((page ^ (page >> 8) ^ ((<u32>tag >> TAG_LEVEL_SHIFT) << 6)) & HASHES) << 1);
}

@inline
function setOf(cache: u32, tag: u64): u32 {
  const set = <u32>(tag >> TAG_PAGE_SHIFT) & load<u32>(cache, CACHE_SET_MASK);
  return load<u32>(cache, CACHE_ENTRIES) + set * load<u32>(cache, CACHE_WAYS) * CACHE_ENTRY_STRIDE;
}

/** Arena offset of the entry with `key`, 0 when there is none. */
function find(cache: u32, key: u64): u32 {
  const set = setOf(cache, key);
  const end = set + load<u32>(cache, CACHE_WAYS) * CACHE_ENTRY_STRIDE;
  if (load<u32>(cache, CACHE_HINTS) == 0) {
    for (let at = set; at < end; at += CACHE_ENTRY_STRIDE) if ((load<u64>(at) & ~NOTES) == key) return at;
    return 0;
  }
  const hint = hintOf(cache, key);
  if (load<u8>(hint) == 0) return 0;
  const guess = set + <u32>load<u8>(hint, 1) * CACHE_ENTRY_STRIDE;
  if ((load<u64>(guess) & ~NOTES) == key) return guess;
  for (let at = set; at < end; at += CACHE_ENTRY_STRIDE) {
    if ((load<u64>(at) & ~NOTES) != key) continue;
    store<u8>(hint, (at - set) / CACHE_ENTRY_STRIDE, 1);
    return at;
  }
  return 0;
}

/** Puts `tag` in: over its own old entry, into an empty one, or over the one used longest ago. */
function insert(state: u32, cache: u32, tag: u64): void {
  let place = find(cache, tag & ~NOTES);
  if (place == 0) {
    const set = setOf(cache, tag);
    const end = set + load<u32>(cache, CACHE_WAYS) * CACHE_ENTRY_STRIDE;
    let oldest = u64.MAX_VALUE;
    for (let at = set; at < end; at += CACHE_ENTRY_STRIDE) {
      const used = load<u64>(at, CACHE_ENTRY_USED);
      if (used < oldest) {
        oldest = used;
        place = at;
        if (used == 0) break;
      }
    }
    if (load<u32>(cache, CACHE_HINTS) != 0) {
      drop(cache, place);
      const hint = hintOf(cache, tag);
      store<u8>(hint, load<u8>(hint) + 1);
      store<u8>(hint, (place - set) / CACHE_ENTRY_STRIDE, 1);
    }
  }
  store<u64>(place, tag);
  use(state, place);
}

@inline
function use(state: u32, entry: u32): void {
  const now = load<u64>(state, COST_CLOCK) + 1;
  store<u64>(state, now, COST_CLOCK);
  store<u64>(entry, now, CACHE_ENTRY_USED);
}

/** Empties an entry. */
function drop(cache: u32, entry: u32): void {
  const tag = load<u64>(entry);
  if (tag == 0) return;
  if (load<u32>(cache, CACHE_HINTS) != 0) {
    const hint = hintOf(cache, tag);
    store<u8>(hint, load<u8>(hint) - 1);
  }
  store<u64>(entry, 0);
  store<u64>(entry, 0, CACHE_ENTRY_USED);
}

/** The entry of the TLBs of one stage (0: L1, 1: L2) that holds `vpn` for accesses of `kind`, used now; 0 when none does. */
@inline
function lookup(state: u32, kind: u32, stage: u32, vpn: u64, pcid: u32): u32 {
  let probe = state + COST_PROBES + (kind * 2 + stage) * COST_PROBES_STRIDE;
  const end = probe + 8 + load<u32>(probe) * 8;
  for (probe += 8; probe < end; probe += 8) {
    const entry = find(load<u32>(probe), keyOf(vpn, load<u32>(probe, 4), pcid));
    if (entry == 0) continue;
    use(state, entry);
    return entry;
  }
  return 0;
}

/** Fills the TLB of `stage` that takes pages of level `leaf` for `kind`, if there is one. True when there is. */
@inline
function fill(state: u32, kind: u32, stage: u32, vpn: u64, leaf: u32, pcid: u32, writable: u64): bool {
  const at = state + COST_FILLS + (kind * 2 + stage) * COST_FILLS_STRIDE + leaf * 8;
  const cache = load<u32>(at);
  if (cache == 0) return false;
  insert(state, cache, keyOf(vpn, load<u32>(at, 4), pcid) | (<u64>leaf << TAG_LEAF_SHIFT) | writable);
  return true;
}

/** Remembers the page used last by accesses of this class: the next one to it needs no looking up. */
@inline
function remember(state: u32, kind: u32, vpn: u64, inL1: bool, writable: u64): void {
  const last = load<u32>(state + COST_CLASS + (kind << 2));
  store<u64>(last, inL1 ? vpn + 1 : 0, COST_LAST_PAGE);
  store<u32>(last, writable != 0 ? 1 : 0, COST_LAST_WRITABLE);
}

/** One access that is not to the page used last. Returns 0 for an L1 hit, 1 for L2, references << 2 | 2 for a walk, -STOP_* for a fault. */
function access(state: u32, vpn: u64, kind: u32, limit: u64): i32 {
  const pcid = load<u32>(state, COST_PCID);
  const stores = kind == COST_STORE;
  let entry = lookup(state, kind, 0, vpn, pcid);
  if (entry != 0) {
    const tag = load<u64>(entry);
    if (!stores || (tag & TAG_WRITABLE) != 0) {
      remember(state, kind, vpn, true, tag & TAG_WRITABLE);
      return 0;
    }
    return walk(state, vpn, kind, limit, pcid);
  }
  entry = lookup(state, kind, 1, vpn, pcid);
  if (entry != 0) {
    const tag = load<u64>(entry);
    if (!stores || (tag & TAG_WRITABLE) != 0) {
      count(state + COST_L2_HITS, 1);
      const inL1 = fill(state, kind, 0, vpn, <u32>(tag >> TAG_LEAF_SHIFT) & 3, pcid, tag & TAG_WRITABLE);
      remember(state, kind, vpn, inL1, tag & TAG_WRITABLE);
      return 1;
    }
  }
  return walk(state, vpn, kind, limit, pcid);
}

function walk(state: u32, vpn: u64, kind: u32, limit: u64, pcid: u32): i32 {
  const levels = load<u32>(state, COST_LEVELS);
  const slot = seekWithin(load<u32>(state, COST_ROOT), levels, vpn, LEVEL_PTE, limit);
  const level = slotLevel(slot);
  const offset = slotOffset(slot);
  let entry = load<u64>(offset);
  const wanted: u64 = level == LEVEL_PTE ? PTE_PRESENT : PTE_PRESENT | PTE_PSE;
  if ((entry & wanted) != wanted || level > <u32>LEVEL_PUD) return fault(state, levels - level, isNone(entry) ? STOP_HOLE : isNonPresent(entry, level) ? STOP_NONPRESENT : STOP_BAD);
  const stores = kind == COST_STORE;
  if (stores && (entry & PTE_RW) == 0) return fault(state, levels - level, STOP_NEEDS_WRITE);
  const marks = load<u32>(state, COST_MARK) != 0;
  if (marks) {
    mark(offset, entry, stores);
    entry = load<u64>(offset);
  }
  const refs = references(state, vpn, levels, level, pcid);
  count(state + COST_WALKS + (level << 3), 1);
  count(state + COST_REFS, refs);
  const writable: u64 = (entry & PTE_RW) != 0 && (!marks || (entry & PTE_DIRTY) != 0) ? TAG_WRITABLE : 0;
  const hostLevel = load<u32>(state, COST_HOST_LEVEL);
  const leaf = level < hostLevel ? level : hostLevel;
  fill(state, kind, 1, vpn, leaf, pcid, writable);
  remember(state, kind, vpn, fill(state, kind, 0, vpn, leaf, pcid, writable), writable);
  return (refs << 2) | 2;
}

function fault(state: u32, refs: u32, reason: u32): i32 {
  count(state + COST_FAULTS, 1);
  count(state + COST_FAULT_REFS, refs);
  return -(<i32>reason);
}

/**
 * Entries read by a walk to a leaf at `level`, with what it leaves in the paging-structure caches. Nested, each table of the guest is
 * found through a walk of the host's, and so is the page in the end; a cached entry spares that of its table, too.
 */
function references(state: u32, vpn: u64, levels: u32, level: u32, pcid: u32): u32 {
  let from = level + 1;
  for (; from < levels; from++) {
    const cache = load<u32>(state + COST_STRUCTURES + (from << 2));
    if (cache == 0) continue;
    const entry = find(cache, keyOf(vpn, from, pcid));
    if (entry == 0) continue;
    use(state, entry);
    count(state + COST_SKIPS + ((from - 1) << 3), 1);
    break;
  }
  for (let above = from - 1; above > level; above--) {
    const cache = load<u32>(state + COST_STRUCTURES + (above << 2));
    if (cache != 0) insert(state, cache, keyOf(vpn, above, pcid));
  }
  const read = from - level;
  const host = load<u32>(state, COST_HOST_REFS);
  return host == 0 ? read : read * (host + 1) + (from == levels ? host : 0);
}

/** One access. Returns 0 for an L1 hit, 1 for L2, references << 2 | 2 for a walk; -STOP_* for a fault, which counts as no access. */
export function costAccess(state: u32, vpn: f64, kind: u32): i32 {
  store<u64>(state, (<u64><i64>vpn << 2) | kind, COST_RECORD);
  store<i32>(state, 0, COST_OUTCOME);
  costReplay(state, state + COST_RECORD, 1);
  return load<i32>(state, COST_OUTCOME);
}

/** `length` records from `records` on, one after the other. Returns how many were done; where one faults it ends before that, and COST_OUTCOME says why. */
export function costReplay(state: u32, records: u32, length: u32): u32 {
  const limit = tableLimit();
  for (let i: u32 = 0; i < length; i++) {
    const record = load<u64>(records + (i << 3));
    const kind = <u32>record & 3;
    const vpn = record >> 2;
    const last = load<u32>(state + COST_CLASS + (kind << 2));
    if (load<u64>(last, COST_LAST_PAGE) != vpn + 1 || (kind == COST_STORE && load<u32>(last, COST_LAST_WRITABLE) == 0)) {
      const outcome = access(state, vpn, kind, limit);
      store<i32>(state, outcome, COST_OUTCOME);
      if (outcome < 0) return i;
    }
    count(state + COST_LOOKUPS + (kind << 3), 1);
  }
  return length;
}

function forget(state: u32): void {
  memory.fill(state + COST_LAST, 0, COST_LAST_STRIDE * COST_KINDS);
}

/** INVLPG over [vpn, end): entries of the current PCID that reach into it, and all of its paging-structure entries. Returns TLB entries dropped. */
export function costInvalidate(state: u32, vpn: f64, end: f64): u32 {
  const first = <u64><i64>vpn;
  const after = <u64><i64>end;
  const pcid = load<u32>(state, COST_PCID);
  let dropped: u32 = 0;
  forget(state);
  const caches = state + COST_CACHES + load<u32>(state, COST_CACHE_COUNT) * COST_CACHE_STRIDE;
  for (let cache = state + COST_CACHES; cache < caches; cache += COST_CACHE_STRIDE) {
    const isStructure = load<u32>(cache, CACHE_STRUCTURE) != 0;
    const stop = entriesEnd(cache);
    for (let at = load<u32>(cache, CACHE_ENTRIES); at < stop; at += CACHE_ENTRY_STRIDE) {
      const tag = load<u64>(at);
      if (tag == 0 || (<u32>(tag >> TAG_PCID_SHIFT) & 4095) != pcid) continue;
      if (!isStructure) {
        const level = <u32>(tag >> TAG_LEVEL_SHIFT) & 3;
        const leaf = max(level, <u32>(tag >> TAG_LEAF_SHIFT) & 3);
        const start = ((tag >> TAG_PAGE_SHIFT) >> (TABLE_SHIFT * (leaf - level))) << (TABLE_SHIFT * leaf);
        if (start >= after || start + (<u64>1 << (TABLE_SHIFT * leaf)) <= first) continue;
        dropped++;
      }
      drop(cache, at);
    }
  }
  return dropped;
}

/** Drops what one PCID has, or with 0xffffffff everything. Returns TLB entries dropped. */
export function costFlush(state: u32, pcid: u32): u32 {
  let dropped: u32 = 0;
  forget(state);
  const caches = state + COST_CACHES + load<u32>(state, COST_CACHE_COUNT) * COST_CACHE_STRIDE;
  for (let cache = state + COST_CACHES; cache < caches; cache += COST_CACHE_STRIDE) {
    const isStructure = load<u32>(cache, CACHE_STRUCTURE) != 0;
    const stop = entriesEnd(cache);
    for (let at = load<u32>(cache, CACHE_ENTRIES); at < stop; at += CACHE_ENTRY_STRIDE) {
      const tag = load<u64>(at);
      if (tag == 0 || (pcid != ALL_PCIDS && (<u32>(tag >> TAG_PCID_SHIFT) & 4095) != pcid)) continue;
      if (!isStructure) dropped++;
      drop(cache, at);
    }
  }
  return dropped;
}

@inline
function entriesEnd(cache: u32): u32 {
  return load<u32>(cache, CACHE_ENTRIES) + (load<u32>(cache, CACHE_SET_MASK) + 1) * load<u32>(cache, CACHE_WAYS) * CACHE_ENTRY_STRIDE;
}
