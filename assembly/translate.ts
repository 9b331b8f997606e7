/**
 * One address to its frame, as a processor's walk would: for embedders' TLB misses and for looking around. With
 * ACCESS_MARK it leaves A (and D for a write) behind, without it nothing.
 *
 * A page number is a whole number below 2^52. Added to 2^52 it stands in the low bits of the sum, which is faster to take
 * apart than the processor's own conversion with its tests; of what is none, other bits of the sum differ.
 */
import {
  ACCESS_MARK, ACCESS_WRITE, LEVEL_P4D, LEVEL_PMD, LEVEL_PTE, LEVEL_PUD, PAGE_SHIFT, PAGE_SIZE, PTE_ACCESSED, PTE_DIRTY, PTE_PFN_MASK, PTE_PRESENT, PTE_PSE, PTE_RW,
  REQ_ACCESS, REQ_CAPACITY, REQ_IN, REQ_LEVELS, REQ_OUT, REQ_ROOT, STOP_BAD, STOP_HOLE, STOP_NEEDS_WRITE, STOP_NONPRESENT, TABLE_SHIFT,
} from '../src/abi';
import { seekWithin, slotLevel, slotOffset } from './descend';
import { indexAt, isNonPresent, isNone, pagesAt, tableLimit, tableWithin } from './entry';
import { tablesChanged } from './frames';

const WHOLE: f64 = 4503599627370496;
const WHOLE_BITS: u64 = 0x4330000000000000;
const PAGE_BITS = 52;
/** pages under a p4d entry, as a shift */
const P4D_SHIFT = TABLE_SHIFT * LEVEL_P4D;

/** The page number `vpn`; 2^52 or more when it is none. */
@inline
function pageNumber(vpn: f64): u64 {
  return reinterpret<u64>(vpn + WHOLE) ^ WHOLE_BITS;
}

/** The 4 KiB frame under `vpn`, or minus the STOP_* that says why there is none for this access (STOP_BAD: no page number). */
export function translate(root: u32, levels: u32, vpn: f64, access: u32): f64 {
  const page = pageNumber(vpn);
  if (page >> PAGE_BITS != 0) return -(<f64>STOP_BAD);
  const limit = tableLimit();
  const slot = seekWithin(root, levels, page, LEVEL_PUD, limit);
  if (slotLevel(slot) != LEVEL_PUD) return failure(load<u64>(slotOffset(slot)), slotLevel(slot));
  return below(slotOffset(slot), page, access, limit);
}

/** The frame of `vpn` under `entry`, a leaf or nothing of that kind. For constant levels. */
@inline
function frameOf(offset: u32, entry: u64, level: u32, vpn: u64, access: u32): f64 {
  const wanted: u64 = level == LEVEL_PTE ? PTE_PRESENT : PTE_PRESENT | PTE_PSE;
  if ((entry & wanted) != wanted) return failure(entry, level);
  if (access != 0) {
    const writes = (access & ACCESS_WRITE) != 0;
    if (writes && (entry & PTE_RW) == 0) return -(<f64>STOP_NEEDS_WRITE);
    if (access & ACCESS_MARK) mark(offset, entry, writes);
  }
  const within = pagesAt(level) - 1;
  return <f64><i64>(((entry & PTE_PFN_MASK) >> PAGE_SHIFT & ~within) | (vpn & within));
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

/**
 * translate() for REQ_CAPACITY page numbers at REQ_IN, answers to REQ_OUT (they may be the same place). Returns how many had a frame.
 *
 * As a processor does, it remembers where the way down led last: within 512 GiB the walk begins at the pud table. So an
 * answer may be as old as the call is, which matters only to those who walk beside an owner that changes tables.
 */
export function translateBatch(req: u32): u32 {
  const root = load<u32>(req, REQ_ROOT);
  const levels = load<u32>(req, REQ_LEVELS);
  const access = load<u32>(req, REQ_ACCESS);
  const count = load<u32>(req, REQ_CAPACITY);
  const limit = tableLimit();
  let from = load<u32>(req, REQ_IN);
  let to = load<u32>(req, REQ_OUT);
  let found: u32 = 0;
  // Under which p4d entry the pud table is; all ones is none.
  let top: u64 = ~0;
  let table: u32 = 0;
  for (const end = from + (count << 3); from != end; from += 8) {
    const vpn = pageNumber(load<f64>(from));
    if (vpn >> P4D_SHIFT != top) {
      const bad = vpn >> PAGE_BITS != 0;
      const slot = bad ? 0 : seekWithin(root, levels, vpn, LEVEL_PUD, limit);
      const level = slotLevel(slot);
      if (bad || level != LEVEL_PUD) {
        store<f64>(to, bad ? -(<f64>STOP_BAD) : failure(load<u64>(slotOffset(slot)), level));
        to += 8;
        continue;
      }
      top = vpn >> P4D_SHIFT;
      table = slot & ~(PAGE_SIZE - 1);
    }
    const frame = below(table + (indexAt(vpn, LEVEL_PUD) << 3), vpn, access, limit);
    store<f64>(to, frame);
    to += 8;
    found += <u32>(frame >= 0);
  }
  return found;
}

/** translate() from the pud entry at `pud` on. */
@inline
function below(pud: u32, vpn: u64, access: u32, limit: u64): f64 {
  const pudEntry = load<u64>(pud);
  const pmds = tableWithin(pudEntry, limit);
  if (pmds == 0) return frameOf(pud, pudEntry, LEVEL_PUD, vpn, access);
  const pmd = pmds + (indexAt(vpn, LEVEL_PMD) << 3);
  const pmdEntry = load<u64>(pmd);
  const ptes = tableWithin(pmdEntry, limit);
  if (ptes == 0) return frameOf(pmd, pmdEntry, LEVEL_PMD, vpn, access);
  const pte = ptes + (indexAt(vpn, LEVEL_PTE) << 3);
  return frameOf(pte, load<u64>(pte), LEVEL_PTE, vpn, access);
}
