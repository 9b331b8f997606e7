/**
 * The range walk both HMM APIs stand on (mm/pagewalk.c under mm/hmm.c): entries of `[vpn, vpn + npages)` to output
 * words, up to the first entry that somebody has to do something about. TypeScript does it and resumes.
 *
 * A chunk is what one callback of the kernel's gets: the rest of a pte table, a huge leaf, or the span of a none entry
 * above pte level, clipped to the range. In a chunk without a pte table one page that asks makes the whole chunk ask,
 * so the walk stops at its first page. Words of pages at and after STOP_VPN are untouched: they still are requests (but
 * for STOP_DYING within a huge leaf, which like the kernel has written the pages of the dev_pagemaps before).
 * The budget is exact and counts ptes, and one for each chunk without a pte table.
 */
import {
  LEVEL_PMD, LEVEL_PTE, PAGE_SHIFT, PAGE_SIZE, PGMAP_END, PTE_RW, PTE_SPECIAL, REQ_BUDGET, REQ_LEVELS, REQ_MODE, REQ_NONE_WORD,
  REQ_NPAGES, REQ_ORDER_SHIFT, REQ_OUT, REQ_PFN_SHIFT, REQ_PGMAP, REQ_ROOT, REQ_VPN, STOP_BAD, STOP_BUDGET, STOP_DONE_ALL, STOP_DYING, STOP_HOLE,
  STOP_LAST, STOP_NEEDS_FAULT, STOP_NEEDS_WRITE, STOP_NONPRESENT, STOP_REASON, STOP_SPECIAL, STOP_STEPS, TABLE_SHIFT, WALK_ACCESSED, WALK_FAULT,
  WALK_NO_FILL, WALK_PGMAP, WALK_STOP_AT_HOLES,
} from '../src/abi';
import { begin, countLeaves, loadPage, stop, storePage } from './answer';
import { seek, seekNext, slotLevel, slotOffset } from './descend';
import { firstFrame, indexAt, isLeaf, isNonPresent, isNone, pagesAt, spanEnd, tableOf } from './entry';
import { fillTable, holdPgmap, wordOf } from './fill';
import { pgmapAt } from './pgmap';
import { KIND_DISJOINT, KIND_PER_PAGE, S_ASKS, S_DEVMAP, S_KIND, prepare, putPgmap } from './template';
import { mark } from './translate';
import { ASK_FAULT, ASK_WRITE, fillSequence, fillWords, quietPrefix } from './words';

/** Walks the request's range. Returns pages done; STOP_* in the request say the rest. */
export function walk(req: u32): u32 {
  begin(req);
  prepare(req);
  const root = load<u32>(req, REQ_ROOT);
  const levels = load<u32>(req, REQ_LEVELS);
  const budget = load<u32>(req, REQ_BUDGET);
  const out = load<u32>(req, REQ_OUT);
  const first = loadPage(req + REQ_VPN);
  const end = first + load<u32>(req, REQ_NPAGES);
  let at = first;
  let slot: u32 = 0;
  let steps: u32 = 0;
  while (at < end) {
    if (at >= pagesAt(levels)) return ended(req, STOP_BAD, at, end, 0, steps);
    if (budget != 0 && steps >= budget) return ended(req, STOP_BUDGET, at, at, seek(root, levels, at, LEVEL_PTE), steps);
    slot = seekNext(root, levels, at, slot);
    const level = slotLevel(slot);
    const entry = load<u64>(slotOffset(slot));
    const chunkEnd = min(spanEnd(at, level), end);
    const to = out + (<u32>(at - first) << 3);
    const table = level == LEVEL_PMD ? tableOf(entry) : 0;
    if (table != 0) {
      const left = <u32>(chunkEnd - at);
      const count = budget == 0 ? left : min(left, budget - steps);
      const ptes = table + (indexAt(at, LEVEL_PTE) << 3);
      const done = fillTable(req, ptes, to, count);
      at += done;
      steps += done;
      if (done < count) return ended(req, load<u32>(req, STOP_REASON), at, at + 1, ptes + (done << 3), steps + 1);
      storePage(req + STOP_LAST, at);
      if (at == chunkEnd) putPgmap(req);
    } else {
      steps++;
      const done = passChunk(req, slot, entry, at, <u32>(chunkEnd - at), to);
      at += done;
      if (at < chunkEnd) return ended(req, load<u32>(req, STOP_REASON), at, chunkEnd, slot, steps);
    }
  }
  return ended(req, STOP_DONE_ALL, at, at, 0, steps);
}

function ended(req: u32, reason: u32, at: u64, end: u64, slot: u32, steps: u32): u32 {
  store<u32>(req, steps, STOP_STEPS);
  return stop(req, reason, at, end, slot);
}

/** A chunk without a pte table: `count` pages from `at` on under the one `entry` at `slot`. Returns pages passed, as fillTable does. */
function passChunk(req: u32, slot: u32, entry: u64, at: u64, count: u32, to: u32): u32 {
  const level = slotLevel(slot);
  const mode = load<u32>(req, REQ_MODE);
  if (isNone(entry)) {
    storePage(req + STOP_LAST, at);
    if (chunkAsks(req, to, count, ASK_FAULT)) return refuse(req, STOP_NEEDS_FAULT);
    if (mode & WALK_STOP_AT_HOLES) return refuse(req, STOP_HOLE);
    if ((mode & WALK_NO_FILL) == 0) fillWords(to, count, load<u64>(req, REQ_NONE_WORD));
    return count;
  }
  if (isLeaf(entry, level)) return passLeaf(req, slot, entry, at, count, to);
  return refuse(req, isNonPresent(entry, level) ? STOP_NONPRESENT : STOP_BAD);
}

/** The same for a huge leaf. */
function passLeaf(req: u32, slot: u32, entry: u64, at: u64, count: u32, to: u32): u32 {
  const level = slotLevel(slot);
  const mode = load<u32>(req, REQ_MODE);
  const writes = (mode & WALK_FAULT) != 0 && chunkAsks(req, to, count, ASK_WRITE);
  if (writes && (entry & PTE_RW) == 0) return refuse(req, STOP_NEEDS_WRITE);
  const devmap = (entry & load<u64>(req, S_DEVMAP)) != 0;
  if (!devmap && (entry & PTE_SPECIAL) != 0) return refuse(req, STOP_SPECIAL);
  const frame = firstFrame(entry, level) + (at & (pagesAt(level) - 1));
  if (devmap && (mode & WALK_PGMAP) != 0) {
    const done = fillByPgmap(req, entry, level, frame, count, to);
    if (done < count) return done;
    putPgmap(req);
  } else {
    fillLeaf(req, entry, level, frame, count, to);
    if (load<u32>(req, REQ_PGMAP) != 0) putPgmap(req);
  }
  countLeaves(req, level, 1);
  if (mode & WALK_ACCESSED) mark(slotOffset(slot), entry, writes);
  storePage(req + STOP_LAST, at + count);
  return count;
}

@inline
function refuse(req: u32, reason: u32): u32 {
  store<u32>(req, reason, STOP_REASON);
  return 0;
}

/** Does any page of the chunk ask for `ask`? */
@inline
function chunkAsks(req: u32, to: u32, count: u32, ask: u32): bool {
  if ((load<u32>(req, S_KIND) & KIND_PER_PAGE) == 0) return (load<u32>(req, S_ASKS) & ask) != 0;
  return quietPrefix(req, to, count, ask) < count;
}

/** Words of `count` frames in a row from `frame` on, all of one huge leaf. */
@inline
function fillLeaf(req: u32, entry: u64, level: u32, frame: u64, count: u32, to: u32): void {
  if (load<u32>(req, REQ_MODE) & WALK_NO_FILL) return;
  const shift = load<u32>(req, REQ_PFN_SHIFT);
  const orderShift = load<u32>(req, REQ_ORDER_SHIFT);
  const order = orderShift == 0 ? 0 : <u64>(level * TABLE_SHIFT) << orderShift;
  const word = wordOf(req, frame, shift, (entry & PTE_RW) != 0) | order;
  if (load<u32>(req, S_KIND) & KIND_DISJOINT) fillSequence(to, count, word, <u64>1 << shift);
  else for (let i: u32 = 0; i < count; i++) store<u64>(to + (i << 3), wordOf(req, frame + i, shift, (entry & PTE_RW) != 0) | order);
}

/** The same where each page needs a live pgmap: one piece for each pgmap under the leaf, in practice one. Returns pages filled. */
function fillByPgmap(req: u32, entry: u64, level: u32, frame: u64, count: u32, to: u32): u32 {
  let done: u32 = 0;
  while (done < count) {
    const address = (frame + done) << PAGE_SHIFT;
    if (!holdPgmap(req, address)) {
      store<u32>(req, STOP_DYING, STOP_REASON);
      return done;
    }
    const covered = (load<u64>(pgmapAt(load<u32>(req, REQ_PGMAP)), PGMAP_END) - address + (PAGE_SIZE - 1)) >> PAGE_SHIFT;
    const piece = covered < <u64>(count - done) ? <u32>covered : count - done;
    fillLeaf(req, entry, level, frame + done, piece, to + (done << 3));
    done += piece;
  }
  return done;
}
