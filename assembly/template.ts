/**
 * A template: what the entries of a run have in common, so that vectors of them need one test.
 *
 * The subtract trick. Of an entry keep the flags that matter and the frame field; subtract the expected flags and the
 * window's base: a good entry leaves its distance from the base and nothing else, so one mask finds wrong flags and
 * frames outside the window at once, and a shift and an addition make the output word of it:
 *
 *     d = (entry & KEEP) - (flags + base);  bad if d & (~(2^k - 1) | 0xfff);  word = (d >> rsh) + C
 *
 * 2^k is a power of two within the dev_pagemap around the first entry (or all of memory). The mixed form leaves RW out
 * of the flags, takes any window [base, base + size) by the sign of `size - 1 - d`, and adds DELTA where RW is set.
 * Vectors are kept in the request's scratch and loaded back before a loop: the loads stay outside of it, while splats of
 * scalars sink into loops with several exits.
 */
import {
  LEVEL_PMD, LEVEL_PTE, LEVEL_PUD, PAGE_SHIFT, PAGE_SIZE, PGMAP_BASE, PGMAP_END, PTE_PFN_MASK, PTE_PRESENT, PTE_RW, PTE_SPECIAL, REQ_DEFAULT,
  REQ_DEVMAP_BIT, REQ_MODE, REQ_NONE_WORD, REQ_ORDER_SHIFT, REQ_PFN_SHIFT, REQ_PGMAP, REQ_SCRATCH, REQ_VALID_WORD, REQ_WRITE_WORD, REQ_ZERO_PFN,
  TABLE_SHIFT, WALK_ACCESSED, WALK_FAULT, WALK_PER_PAGE, WALK_PGMAP, WALK_ZERO_OK,
} from '../src/abi';
import { loadPage } from './answer';
import { firstFrame } from './entry';
import { pgmapAt, pgmapFor, pgmapIsLive } from './pgmap';
import { asksOf } from './words';

// Scratch: pairs of u64 of the uniform loops,
export const S_KEEP = REQ_SCRATCH;
export const S_FLAGS = REQ_SCRATCH + 16;
export const S_BAD = REQ_SCRATCH + 32;
export const S_C = REQ_SCRATCH + 48;
// of the mixed loops,
export const S_MIX_KEEP = REQ_SCRATCH + 64;
export const S_MIX_FLAGS = REQ_SCRATCH + 80;
export const S_MIX_LAST = REQ_SCRATCH + 96;
export const S_MIX_C = REQ_SCRATCH + 112;
export const S_DELTA = REQ_SCRATCH + 128;
export const S_NONE = REQ_SCRATCH + 144;
// and single values.
export const S_TEMPLATE = REQ_SCRATCH + 160; // u32: TEMPLATE_* bits, 0 = there is none
export const S_TEMPLATE_PGMAP = REQ_SCRATCH + 164; // u32: index + 1 of the pgmap it is limited to
export const S_ASKS = REQ_SCRATCH + 168; // u32: ASK_* bits of every page alike
export const S_KIND = REQ_SCRATCH + 172; // u32: KIND_* bits
export const S_DEVMAP = REQ_SCRATCH + 176; // u64: the devmap bit, or 0

export const TEMPLATE_VALID: u32 = 1;
export const TEMPLATE_RW: u32 = 2;

/** words hold frame and flags apart, the frame at bit 12 or lower: templates can be used */
export const KIND_VECTORS: u32 = 1;
/** requests differ by page and matter */
export const KIND_PER_PAGE: u32 = 2;
/** flags of words never touch the frame's bits: words of neighbours differ by a constant */
export const KIND_DISJOINT: u32 = 4;

const ALL_MEMORY: u64 = 1 << 52;

/** Reads the request once for the whole walk. */
export function prepare(req: u32): void {
  const mode = load<u32>(req, REQ_MODE);
  const shift = load<u32>(req, REQ_PFN_SHIFT);
  const devmapBit = load<u32>(req, REQ_DEVMAP_BIT);
  const orderShift = load<u32>(req, REQ_ORDER_SHIFT);
  const orders = orderShift == 0 ? 0 : <u64>(LEVEL_PMD * TABLE_SHIFT | LEVEL_PUD * TABLE_SHIFT) << orderShift;
  const flags = load<u64>(req, REQ_VALID_WORD) | load<u64>(req, REQ_WRITE_WORD) | orders;
  const asks = (mode & WALK_FAULT) == 0 ? 0 : asksOf(req, load<u64>(req, REQ_DEFAULT));
  let kind: u32 = 0;
  if ((mode & (WALK_FAULT | WALK_PER_PAGE)) == (WALK_FAULT | WALK_PER_PAGE)) kind |= KIND_PER_PAGE;
  if (shift < 64 && (flags & ((PTE_PFN_MASK >> PAGE_SHIFT) << shift)) == 0) {
    kind |= KIND_DISJOINT;
    // Marking D needs to know what each page asked for.
    if (shift <= <u32>PAGE_SHIFT && !((mode & WALK_ACCESSED) != 0 && (kind & KIND_PER_PAGE) != 0)) kind |= KIND_VECTORS;
  }
  store<u32>(req, asks, S_ASKS);
  store<u32>(req, kind, S_KIND);
  store<u64>(req, devmapBit < 64 ? <u64>1 << devmapBit : 0, S_DEVMAP);
  store<u32>(req, 0, S_TEMPLATE);
  store<u32>(req, 0, S_TEMPLATE_PGMAP);
  storePair(req + S_NONE, load<u64>(req, REQ_NONE_WORD));
}

@inline
function storePair(at: u32, value: u64): void {
  store<u64>(at, value);
  store<u64>(at, value, 8);
}

/** Lets go of the pgmap held: at the end of a table or of a huge leaf, and before another is taken. */
export function putPgmap(req: u32): void {
  const held = load<u32>(req, REQ_PGMAP);
  if (held == 0) return;
  store<u32>(req, 0, REQ_PGMAP);
  // A dying one was good as long as it was held.
  if (!pgmapIsLive(held)) store<u32>(req, 0, S_TEMPLATE);
}

/**
 * Makes the template of the present pte `entry`, for who asks neither more nor less. False when it needs a look of its
 * own: no frame of a live pgmap, special, or words that templates cannot make.
 */
export function makeTemplate(req: u32, entry: u64): bool {
  store<u32>(req, 0, S_TEMPLATE);
  if ((load<u32>(req, S_KIND) & KIND_VECTORS) == 0 || (entry & PTE_PRESENT) == 0) return false;
  const mode = load<u32>(req, REQ_MODE);
  const devmap = load<u64>(req, S_DEVMAP);
  let keep: u64 = PTE_PRESENT | PTE_RW | PTE_PFN_MASK | devmap;
  let delta = load<u64>(req, REQ_WRITE_WORD) & ~load<u64>(req, REQ_VALID_WORD);
  let base: u64 = 0;
  let size = ALL_MEMORY;
  let pgmap: u32 = 0;
  if ((entry & devmap) == 0) {
    keep |= PTE_SPECIAL;
    if (entry & PTE_SPECIAL) {
      const zero = loadPage(req + REQ_ZERO_PFN);
      if ((mode & WALK_ZERO_OK) == 0 || firstFrame(entry, LEVEL_PTE) != zero || (entry & PTE_RW) != 0) return false;
      base = zero << PAGE_SHIFT;
      size = PAGE_SIZE;
      delta = 0;
    }
  } else if (mode & WALK_PGMAP) {
    pgmap = pgmapFor(load<u32>(req, REQ_PGMAP), entry & PTE_PFN_MASK);
    if (pgmap == 0) return false;
    base = load<u64>(pgmapAt(pgmap), PGMAP_BASE);
    size = load<u64>(pgmapAt(pgmap), PGMAP_END) - base;
    if (((base | size) & (PAGE_SIZE - 1)) != 0) return false;
  }
  storeTemplate(req, entry, keep, base, size, delta);
  store<u32>(req, pgmap, S_TEMPLATE_PGMAP);
  store<u32>(req, TEMPLATE_VALID | (entry & PTE_RW ? TEMPLATE_RW : 0), S_TEMPLATE);
  return true;
}

function storeTemplate(req: u32, entry: u64, keep: u64, base: u64, size: u64, delta: u64): void {
  const rsh = <u64>(PAGE_SHIFT - load<u32>(req, REQ_PFN_SHIFT));
  const valid = load<u64>(req, REQ_VALID_WORD);
  const flags = entry & keep & ~PTE_PFN_MASK;
  // The largest power of two within the window, from its start or up to its end, whichever has the entry.
  const window = <u64>1 << (63 - clz(size));
  const low = (entry & PTE_PFN_MASK) - base < window ? base : base + size - window;
  storePair(req + S_KEEP, keep);
  storePair(req + S_FLAGS, flags + low);
  storePair(req + S_BAD, ~(window - 1) | (PAGE_SIZE - 1));
  storePair(req + S_C, (low >> rsh) + (valid | (entry & PTE_RW ? load<u64>(req, REQ_WRITE_WORD) : 0)));
  storePair(req + S_MIX_KEEP, keep & ~(<u64>PTE_RW));
  storePair(req + S_MIX_FLAGS, (flags & ~(<u64>PTE_RW)) + base);
  storePair(req + S_MIX_LAST, size - PAGE_SIZE);
  storePair(req + S_MIX_C, (base >> rsh) + valid);
  storePair(req + S_DELTA, delta);
}
