/**
 * A template: what the entries of a run have in common, so that vectors of them need one test.
 *
 * The subtract trick. Of an entry keep the flags that matter and the frame field; subtract the expected flags and the
 * window's base: a good entry leaves its distance from the base and nothing else, so one mask finds wrong flags and
 * frames outside the window at once, and a shift and an addition make the output word of it:
 *
 *     d = (entry & KEEP) - (flags + base);  bad if d & (~(2^k - 1) | 0xfff);  word = (d >> rsh) + C
 *
 * 2^k is a power of two within the dev_pagemap around the first entry (or all of memory). The mixed form does not expect
 * RW, so that it stays in d, and adds DELTA where RW is set; where the window [base, base + size) is no power of two it takes
 * all of it by the sign of `last - d`. In the sparse form lanes that are none have d = 0, and NONE_LESS_C makes REQ_NONE_WORD of C.
 *
 * All of it is kept in the request's scratch and loaded as splats before a loop: the loads stay outside of it, while
 * splats of scalars and constants sink into loops with several exits.
 */
import {
  LEVEL_PMD, LEVEL_PTE, LEVEL_PUD, PAGE_SHIFT, PAGE_SIZE, PGMAP_BASE, PGMAP_END, PTE_PFN_MASK, PTE_PRESENT, PTE_RW, PTE_SPECIAL, REQ_DEFAULT,
  REQ_DEVMAP_BIT, REQ_MODE, REQ_NONE_WORD, REQ_ORDER_SHIFT, REQ_PFN_SHIFT, REQ_PGMAP, REQ_SCRATCH, REQ_VALID_WORD, REQ_WRITE_WORD, REQ_ZERO_PFN,
  TABLE_SHIFT, WALK_ACCESSED, WALK_FAULT, WALK_PER_PAGE, WALK_PGMAP, WALK_ZERO_OK,
} from '../src/abi';
import { loadPage } from './answer';
import { ACCESS_BITS, firstFrame } from './entry';
import { pgmapAt, pgmapCovers, pgmapFor, pgmapIsLive } from './pgmap';
import { asksOf } from './words';

// Scratch, 8 bytes each: what the uniform loops need,
export const S_KEEP = REQ_SCRATCH;
export const S_FLAGS = S_KEEP + 8;
export const S_BAD = S_FLAGS + 8;
export const S_C = S_BAD + 8;
// the mixed loops,
export const S_MIX_FLAGS = S_C + 8;
export const S_MIX_LAST = S_MIX_FLAGS + 8;
export const S_MIX_C = S_MIX_LAST + 8;
export const S_DELTA = S_MIX_C + 8;
// and all loops: constants, in memory for the reason above
export const S_MIX_BAD = S_DELTA + 8;
export const S_RW = S_MIX_BAD + 8;
export const S_NOT_NONE = S_RW + 8;
export const S_NONE_LESS_C = S_NOT_NONE + 8;
export const S_DEVMAP = S_NONE_LESS_C + 8; // the devmap bit, or 0
// u32 from here on
export const S_TEMPLATE = S_DEVMAP + 8; // TEMPLATE_* bits, 0 = there is none
export const S_TEMPLATE_PGMAP = S_TEMPLATE + 4; // index + 1 of the pgmap it is limited to
export const S_ASKS = S_TEMPLATE_PGMAP + 4; // ASK_* bits of every page alike
export const S_KIND = S_ASKS + 4; // KIND_* bits
export const S_SPAN = S_KIND + 4; // entries to take by a mixed loop before the others are tried again
export const S_PGMAP = S_SPAN + 4; // index + 1 of the pgmap found last, which is where to look first

export const TEMPLATE_VALID: u32 = 1;
export const TEMPLATE_RW: u32 = 2;
/** mixed loops take any window: this one is no power of two */
export const TEMPLATE_ANYWHERE: u32 = 8;
/** there were holes among its entries */
export const TEMPLATE_SPARSE: u32 = 4;

/** words hold frame and flags apart, the frame at bit 12 or lower: templates can be used */
export const KIND_VECTORS: u32 = 1;
/** requests differ by page and matter */
export const KIND_PER_PAGE: u32 = 2;
/** flags of words never touch the frame's bits: words of neighbours differ by a constant */
export const KIND_DISJOINT: u32 = 4;

const SPAN_FIRST: u32 = 128;
export const SPAN_MIN: u32 = 16;
export const SPAN_MAX: u32 = 512;

const ALL_MEMORY: u64 = 1 << 52;
const SIGN: u64 = 1 << 63;

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
  store<u32>(req, 0, S_PGMAP);
  store<u32>(req, SPAN_FIRST, S_SPAN);
  store<u64>(req, PTE_RW, S_RW);
  store<u64>(req, ~(<u64>ACCESS_BITS), S_NOT_NONE);
}

/** Lets go of the pgmap held: at the end of a table or of a huge leaf, and before another is taken. */
export function putPgmap(req: u32): void {
  const held = load<u32>(req, REQ_PGMAP);
  if (held == 0) return;
  store<u32>(req, 0, REQ_PGMAP);
  // A dying one was good as long as it was held.
  if (!pgmapIsLive(held)) store<u32>(req, 0, S_TEMPLATE);
}

/** pgmapFor with what the walk remembers. */
@inline
export function findPgmap(req: u32, address: u64): u32 {
  const last = load<u32>(req, S_PGMAP);
  if (last != 0 && pgmapCovers(last, address) && (pgmapIsLive(last) || last == load<u32>(req, REQ_PGMAP))) return last;
  const found = pgmapFor(load<u32>(req, REQ_PGMAP), address);
  store<u32>(req, found, S_PGMAP);
  return found;
}

/**
 * Makes the template that fits the pte `entry`. False, and there is none, when the entry needs a look of its own: not
 * present, special, no frame of a live pgmap, or words that a template cannot make. Who asks for what is the caller's concern.
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
    pgmap = findPgmap(req, entry & PTE_PFN_MASK);
    if (pgmap == 0) return false;
    base = load<u64>(pgmapAt(pgmap), PGMAP_BASE);
    size = load<u64>(pgmapAt(pgmap), PGMAP_END) - base;
    if (((base | size) & (PAGE_SIZE - 1)) != 0) return false;
  }
  storeTemplate(req, entry, keep, base, size, delta);
  store<u32>(req, pgmap, S_TEMPLATE_PGMAP);
  store<u32>(req, TEMPLATE_VALID | (entry & PTE_RW ? TEMPLATE_RW : 0) | (popcnt(size) == 1 ? 0 : TEMPLATE_ANYWHERE), S_TEMPLATE);
  return true;
}

function storeTemplate(req: u32, entry: u64, keep: u64, base: u64, size: u64, delta: u64): void {
  const rsh = <u64>(PAGE_SHIFT - load<u32>(req, REQ_PFN_SHIFT));
  const valid = load<u64>(req, REQ_VALID_WORD);
  const flags = entry & keep & ~PTE_PFN_MASK;
  const address = entry & PTE_PFN_MASK;
  // The largest power of two within the window, from its start or up to its end, whichever has the entry.
  const window = <u64>1 << (63 - clz(size));
  const low = address - base < window ? base : base + size - window;
  store<u64>(req, keep, S_KEEP);
  store<u64>(req, flags + low, S_FLAGS);
  store<u64>(req, ~(window - 1) | (PAGE_SIZE - 1), S_BAD);
  store<u64>(req, (low >> rsh) + (valid | (entry & PTE_RW ? load<u64>(req, REQ_WRITE_WORD) : 0)), S_C);
  store<u64>(req, (flags & ~(<u64>PTE_RW)) + base, S_MIX_FLAGS);
  // The zero page is never writable, whatever its RW says.
  const mayDiffer: u64 = flags & PTE_SPECIAL ? 0 : PTE_RW;
  store<u64>(req, size - PAGE_SIZE + mayDiffer, S_MIX_LAST);
  store<u64>(req, (window == size ? ~(window - 1) : SIGN) | (PAGE_SIZE - 1 - mayDiffer), S_MIX_BAD);
  store<u64>(req, (base >> rsh) + valid, S_MIX_C);
  store<u64>(req, load<u64>(req, REQ_NONE_WORD) - ((base >> rsh) + valid), S_NONE_LESS_C);
  store<u64>(req, delta, S_DELTA);
}

/** Makes the template fit the present `entry`: as it is, by the other RW, or anew. False as makeTemplate. */
export function fitTemplate(req: u32, entry: u64): bool {
  const template = load<u32>(req, S_TEMPLATE);
  const d = (entry & load<u64>(req, S_KEEP)) - load<u64>(req, S_MIX_FLAGS);
  if (template == 0 || ((d | (load<u64>(req, S_MIX_LAST) - d)) & load<u64>(req, S_MIX_BAD)) != 0) return makeTemplate(req, entry);
  const rw = (entry & PTE_RW) != 0;
  if (rw == ((template & TEMPLATE_RW) != 0)) return true;
  const delta = load<u64>(req, S_DELTA);
  store<u32>(req, template ^ TEMPLATE_RW, S_TEMPLATE);
  store<u64>(req, load<u64>(req, S_FLAGS) + (rw ? <u64>PTE_RW : <u64>-PTE_RW), S_FLAGS);
  store<u64>(req, load<u64>(req, S_C) + (rw ? delta : 0 - delta), S_C);
  return true;
}
