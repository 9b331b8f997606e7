/**
 * Page-table entries to output words: one table's worth, up to the first entry that stops the walk.
 *
 * `lookAtEach` is the meaning, entry by entry (mm/hmm.c: hmm_vma_handle_pte). `fillTable` is the same, faster: it runs
 * the loops of cores.ts over what is alike and hands everything else, every stop included, to `lookAtEach`.
 */
import {
  LEVEL_PTE, PAGE_SHIFT, PTE_ACCESSED, PTE_DIRTY, PTE_PFN_MASK, PTE_PRESENT, PTE_RW, PTE_SPECIAL, REQ_DEFAULT, REQ_FLAGS_MASK, REQ_MODE,
  REQ_NONE_WORD, REQ_PFN_SHIFT, REQ_PGMAP, REQ_VALID_WORD, REQ_WRITE_WORD, REQ_ZERO_PFN, STOP_DYING, STOP_HOLE, STOP_LEAVES, STOP_NEEDS_FAULT,
  STOP_NEEDS_WRITE, STOP_NONPRESENT, STOP_REASON, STOP_SPECIAL, WALK_ACCESSED, WALK_NO_FILL, WALK_PGMAP, WALK_STOP_AT_HOLES, WALK_ZERO_OK,
} from '../src/abi';
import { countLeaves, loadPage } from './answer';
import { holesRun, mixedRun, sparseRun, uniformRun } from './cores';
import { firstFrame, isNone } from './entry';
import { tablesChanged } from './frames';
import { markRun } from './runs';
import {
  KIND_PER_PAGE, KIND_VECTORS, SPAN_MAX, SPAN_MIN, S_ASKS, S_DEVMAP, S_KIND, S_SPAN, S_TEMPLATE, S_TEMPLATE_PGMAP, TEMPLATE_ANYWHERE, TEMPLATE_SPARSE,
  findPgmap, fitTemplate, putPgmap,
} from './template';
import { mark } from './translate';
import { ASK_FAULT, ASK_WRITE, asksOf, metPrefix } from './words';

/** Entries to look at one by one before vectors are tried again; grows while they keep failing. */
const FEW: u32 = 8;
const MANY: u32 = 128;

/** A run of so many is worth the loop made for it. */
const LONG: u32 = 64;

/** Fills `count` words at `to` from the ptes at `from`. Returns how many; fewer only with the reason in STOP_REASON. */
export function fillTable(req: u32, from: u32, to: u32, count: u32): u32 {
  const done = count >= FEW && (load<u32>(req, S_KIND) & KIND_VECTORS) != 0 ? fillRuns(req, from, to, count) : lookAtEach(req, from, to, count);
  if (load<u32>(req, REQ_MODE) & WALK_ACCESSED) {
    // Where every page asks for write, none but writable entries were passed. What single pages ask, lookAtEach has seen to.
    const writes = (load<u32>(req, S_ASKS) & ASK_WRITE) != 0;
    tablesChanged(markRun(req, from, done, writes ? <u64>PTE_DIRTY : 0));
  }
  return done;
}

function fillRuns(req: u32, from: u32, to: u32, count: u32): u32 {
  const mode = load<u32>(req, REQ_MODE);
  const fills = (mode & WALK_NO_FILL) == 0;
  const perPage = (load<u32>(req, S_KIND) & KIND_PER_PAGE) != 0;
  const asks = load<u32>(req, S_ASKS);
  const rsh = PAGE_SHIFT - load<u32>(req, REQ_PFN_SHIFT);
  // Up to here no read-only entry is asked for write, and no hole for its page: they pass. With requests by page, as far as was looked.
  let quietWrite: u32 = perPage || (asks & ASK_WRITE) != 0 ? 0 : count;
  let quietFault: u32 = perPage || (asks & ASK_FAULT) != 0 || (mode & WALK_STOP_AT_HOLES) != 0 ? 0 : count;
  const holesPass = (mode & WALK_STOP_AT_HOLES) == 0;
  let few = FEW;
  let i: u32 = 0;
  while (i < count) {
    const entry = load<u64>(from + (i << 3));
    let alike: u32 = 0;
    if (isNone(entry)) {
      if (perPage && holesPass && quietFault <= i) quietFault = i + metPrefix(req, from + (i << 3), to + (i << 3), count - i, ASK_FAULT);
      if (quietFault > i) alike = holesRun(req, from + (i << 3), to + (i << 3), quietFault - i, fills);
    } else if (fitTemplate(req, entry)) {
      const rw = (entry & PTE_RW) != 0;
      if (perPage && !rw && quietWrite <= i) quietWrite = i + metPrefix(req, from + (i << 3), to + (i << 3), count - i, ASK_WRITE);
      const end = rw ? count : quietWrite;
      if (end > i) alike = takeUniform(req, from + (i << 3), to + (i << 3), end - i, rsh, fills);
    }
    i += alike;
    if (alike >= LONG) shrinkSpan(req);
    if (i == count) break;
    // Neither alike nor empty: take both as they come, for longer each time.
    if (load<u32>(req, S_TEMPLATE) != 0) {
      const at = i << 3;
      if (perPage && quietWrite <= i) quietWrite = i + metPrefix(req, from + at, to + at, count - i, ASK_WRITE);
      let mixed: u32 = 0;
      // Who asks for holes is looked at once there are any.
      if (quietWrite > i && (quietFault > i || (load<u32>(req, S_TEMPLATE) & TEMPLATE_SPARSE) == 0)) {
        const holes = quietFault > i;
        mixed = takeMixed(req, from + at, to + at, (holes ? min(quietWrite, quietFault) : quietWrite) - i, alike == 0, rsh, fills, holes);
      }
      if (mixed == 0 && perPage && holesPass && quietFault <= i && quietWrite > i) {
        quietFault = i + metPrefix(req, from + at, to + at, count - i, ASK_FAULT);
        if (quietFault > i) mixed = takeMixed(req, from + at, to + at, min(quietWrite, quietFault) - i, alike == 0, rsh, fills, true);
      }
      i += mixed;
      if (mixed != 0) {
        few = FEW;
        continue;
      }
    }
    const upTo = min(few, count - i);
    const done = lookAtEach(req, from + (i << 3), to + (i << 3), upTo);
    i += done;
    if (done < upTo) break;
    if (few < MANY) few <<= 1;
  }
  return i;
}

/** The uniform loop over up to `count` entries. */
@inline
function takeUniform(req: u32, from: u32, to: u32, count: u32, rsh: u32, fills: bool): u32 {
  const done = uniformRun(req, from, to, count, rsh, fills);
  if (done != 0) {
    takePgmap(req);
    countLeaves(req, LEVEL_PTE, done);
  }
  return done;
}

/** A mixed loop over up to `count` entries, but no more than the span, which grows while nothing else gets anywhere (`again`). */
@inline
function takeMixed(req: u32, from: u32, to: u32, count: u32, again: bool, rsh: u32, fills: bool, holes: bool): u32 {
  const template = load<u32>(req, S_TEMPLATE);
  const span = load<u32>(req, S_SPAN);
  const most = min(count, span);
  const leaves = load<u32>(req, STOP_LEAVES);
  let done: u32 = 0;
  if (!holes || (template & TEMPLATE_SPARSE) == 0) {
    done = mixedRun(req, from, to, most, rsh, fills, (template & TEMPLATE_ANYWHERE) != 0);
    countLeaves(req, LEVEL_PTE, done);
  }
  if (holes && done < most) {
    store<u32>(req, template | TEMPLATE_SPARSE, S_TEMPLATE);
    done += sparseRun(req, from + (done << 3), to + (done << 3), most - done, rsh, fills, (template & TEMPLATE_ANYWHERE) != 0);
  }
  if (again && done == span && span < SPAN_MAX) store<u32>(req, span << 1, S_SPAN);
  // Holes hold nothing.
  if (load<u32>(req, STOP_LEAVES) != leaves) takePgmap(req);
  return done;
}

/** A long run of one kind: mixed loops had better give way sooner. */
@inline
function shrinkSpan(req: u32): void {
  store<u32>(req, max(load<u32>(req, S_SPAN) >> 1, SPAN_MIN), S_SPAN);
}

/** The template's pgmap is the one held from now on, when it has one. */
@inline
function takePgmap(req: u32): void {
  const pgmap = load<u32>(req, S_TEMPLATE_PGMAP);
  if (pgmap != 0) store<u32>(req, pgmap, REQ_PGMAP);
}

/** The same, entry by entry: the order of tests is none, not present, write, dev_pagemap, special. */
export function lookAtEach(req: u32, from: u32, to: u32, count: u32): u32 {
  const mode = load<u32>(req, REQ_MODE);
  const perPage = (load<u32>(req, S_KIND) & KIND_PER_PAGE) != 0;
  const devmap = load<u64>(req, S_DEVMAP);
  const shift = load<u32>(req, REQ_PFN_SHIFT);
  const fills = (mode & WALK_NO_FILL) == 0;
  let asks = load<u32>(req, S_ASKS);
  let reason: u32 = 0;
  let leaves: u32 = 0;
  let i: u32 = 0;
  for (; i < count; i++) {
    const entry = load<u64>(from);
    if (perPage) asks = asksOf(req, (load<u64>(to) & load<u64>(req, REQ_FLAGS_MASK)) | load<u64>(req, REQ_DEFAULT));
    let word = load<u64>(req, REQ_NONE_WORD);
    if (isNone(entry)) {
      reason = asks & ASK_FAULT ? STOP_NEEDS_FAULT : mode & WALK_STOP_AT_HOLES ? STOP_HOLE : 0;
      if (reason != 0) break;
    } else {
      reason = reasonOfPresent(req, mode, entry, asks, devmap);
      if (reason != 0) break;
      leaves++;
      word = wordOf(req, firstFrame(entry, LEVEL_PTE), shift, isWritable(entry, devmap));
      if (mode & WALK_ACCESSED) mark(from, entry, (asks & ASK_WRITE) != 0 && (entry & PTE_RW) != 0);
    }
    if (fills) store<u64>(to, word);
    from += 8;
    to += 8;
  }
  countLeaves(req, LEVEL_PTE, leaves);
  store<u32>(req, reason, STOP_REASON);
  return i;
}

/** Special means the zero page here, which nobody writes. */
@inline
function isWritable(entry: u64, devmap: u64): bool {
  return (entry & PTE_RW) != 0 && ((entry & devmap) != 0 || (entry & PTE_SPECIAL) == 0);
}

/** The output word of a 4 KiB frame. */
@inline
export function wordOf(req: u32, frame: u64, shift: u32, writable: bool): u64 {
  return (frame << shift) | load<u64>(req, REQ_VALID_WORD) | (writable ? load<u64>(req, REQ_WRITE_WORD) : 0);
}

/** STOP_* for a pte that is not none, 0 to go on. Takes and puts the pgmap. */
function reasonOfPresent(req: u32, mode: u32, entry: u64, asks: u32, devmap: u64): u32 {
  if ((entry & PTE_PRESENT) == 0) return STOP_NONPRESENT;
  if ((asks & ASK_WRITE) != 0 && (entry & PTE_RW) == 0) return STOP_NEEDS_WRITE;
  if (entry & devmap) return (mode & WALK_PGMAP) == 0 || holdPgmap(req, entry & PTE_PFN_MASK) ? 0 : STOP_DYING;
  if ((entry & PTE_SPECIAL) == 0) return 0;
  if ((mode & WALK_ZERO_OK) == 0 || firstFrame(entry, LEVEL_PTE) != loadPage(req + REQ_ZERO_PFN)) return STOP_SPECIAL;
  return asks & ASK_WRITE ? STOP_NEEDS_WRITE : 0;
}

/** Holds the pgmap of the byte at `address` in place of another; false, and none held, when it is dying or unknown. */
export function holdPgmap(req: u32, address: u64): bool {
  const held = load<u32>(req, REQ_PGMAP);
  const wanted = findPgmap(req, address);
  if (wanted != held) {
    putPgmap(req);
    store<u32>(req, wanted, REQ_PGMAP);
  }
  return wanted != 0;
}
