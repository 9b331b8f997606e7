/**
 * One address to its frame, as a processor's walk would: for embedders' TLB misses and for looking around. With
 * ACCESS_MARK it leaves A (and D for a write) behind, without it nothing.
 */
import {
  ACCESS_MARK, ACCESS_WRITE, LEVEL_PMD, LEVEL_PTE, LEVEL_PUD, PAGE_SHIFT, PMD_PAGES, PTE_ACCESSED, PTE_DIRTY, PTE_PFN_MASK, PTE_PRESENT, PTE_PSE, PTE_RW,
  PUD_PAGES, REQ_ACCESS, REQ_CAPACITY, REQ_IN, REQ_LEVELS, REQ_OUT, REQ_ROOT, STOP_BAD, STOP_HOLE, STOP_NEEDS_WRITE, STOP_NONPRESENT,
} from '../src/abi';
import { seekWithin, slotLevel, slotOffset } from './descend';
import { isNonPresent, isNone, tableLimit } from './entry';
import { tablesChanged } from './frames';

/** The 4 KiB frame under `vpn`, or minus the STOP_* that says why there is none for this access. */
export function translate(root: u32, levels: u32, vpn: f64, access: u32): f64 {
  return resolve(root, levels, <u64><i64>vpn, access, tableLimit());
}

@inline
function resolve(root: u32, levels: u32, vpn: u64, access: u32, limit: u64): f64 {
  const slot = seekWithin(root, levels, vpn, LEVEL_PTE, limit);
  const level = slotLevel(slot);
  const offset = slotOffset(slot);
  const entry = load<u64>(offset);
  // pages of a leaf at this level, less one; a constant each is faster than a shift by the level
  const within: u64 = level == LEVEL_PTE ? 0 : level == LEVEL_PMD ? PMD_PAGES - 1 : PUD_PAGES - 1;
  const wanted: u64 = level == LEVEL_PTE ? PTE_PRESENT : PTE_PRESENT | PTE_PSE;
  if ((entry & wanted) != wanted || level > <u32>LEVEL_PUD) return failure(entry, level);
  if (access != 0) {
    const writes = (access & ACCESS_WRITE) != 0;
    if (writes && (entry & PTE_RW) == 0) return -(<f64>STOP_NEEDS_WRITE);
    if (access & ACCESS_MARK) mark(offset, entry, writes);
  }
  return <f64><i64>((((entry & PTE_PFN_MASK) >> PAGE_SHIFT) & ~within) | (vpn & within));
}

function failure(entry: u64, level: u32): f64 {
  if (isNone(entry)) return -(<f64>STOP_HOLE);
  return isNonPresent(entry, level) ? -(<f64>STOP_NONPRESENT) : -(<f64>STOP_BAD);
}

/** Sets A, and D for a write, in the entry at `offset`. */
export function mark(offset: u32, entry: u64, writes: bool): void {
  const marked = entry | PTE_ACCESSED | (writes ? <u64>PTE_DIRTY : 0);
  if (marked == entry) return;
  store<u64>(offset, marked);
  tablesChanged(1);
}

/** translate() for REQ_CAPACITY page numbers at REQ_IN, answers to REQ_OUT (they may be the same place). Returns how many had a frame. */
export function translateBatch(req: u32): u32 {
  const root = load<u32>(req, REQ_ROOT);
  const levels = load<u32>(req, REQ_LEVELS);
  const access = load<u32>(req, REQ_ACCESS);
  const count = load<u32>(req, REQ_CAPACITY);
  const limit = tableLimit();
  let from = load<u32>(req, REQ_IN);
  let to = load<u32>(req, REQ_OUT);
  let found: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const frame = resolve(root, levels, <u64><i64>load<f64>(from), access, limit);
    store<f64>(to, frame);
    found += <u32>(frame >= 0);
    from += 8;
    to += 8;
  }
  return found;
}
