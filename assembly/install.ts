/**
 * A device's page table, filled from the words of a range walk (as lib/test_hmm.c fills its xarray, with leaves).
 *
 * A word counts when it has all of VALID_WORD and is not NONE_WORD; its frame is (word & AND) >> PFN_SHIFT, and it is
 * writable when it has all of a WRITE_WORD that is not zero. A run is words whose frames follow each other with equal
 * VALID and WRITE bits; it becomes the largest leaves that its pages and frames are aligned for. Words that do not
 * count leave what is there alone. An entry that says the same thing but for A and D is left as it is.
 */
import {
  LEVEL_PMD, LEVEL_PTE, LEVEL_PUD, PAGE_SHIFT, PTE_PRESENT, PTE_PSE, PTE_RW, REQ_AND, REQ_IN, REQ_LEVELS, REQ_NONE_WORD, REQ_NPAGES, REQ_OR,
  REQ_PFN_SHIFT, REQ_ROOT, REQ_VALID_WORD, REQ_VPN, REQ_WRITE_WORD, STOP_BAD, STOP_CHANGED, STOP_DONE_ALL, STOP_FREED, STOP_NO_MEMORY, TABLE_ENTRIES,
} from '../src/abi';
import { begin, countLeaves, loadPage, stop } from './answer';
import { isBad, seek, slotLevel, slotOffset } from './descend';
import { ACCESS_BITS, isLeaf, pagesAt, spanEnd, tableOf } from './entry';
import { frameFree, tablesChanged } from './frames';
import { splitEntry } from './change';
import { makeSlot, stopNoSlot } from './tables';

/** Installs REQ_NPAGES words at REQ_IN from page REQ_VPN on. Returns words answered; STOP_LEAVES: leaves written or found as wanted, by level. */
export function install(req: u32): u32 {
  begin(req);
  const words = load<u32>(req, REQ_IN);
  const npages = load<u32>(req, REQ_NPAGES);
  const first = loadPage(req + REQ_VPN);
  const shift = load<u32>(req, REQ_PFN_SHIFT);
  if (first + npages > pagesAt(load<u32>(req, REQ_LEVELS))) return stop(req, STOP_BAD, first, first + npages, 0);
  let i: u32 = 0;
  while (i < npages) {
    const at = words + (i << 3);
    const word = load<u64>(at);
    if (!counts(req, word)) {
      i++;
      continue;
    }
    const run = runLength(req, at, npages - i);
    const frame = (word & load<u64>(req, REQ_AND)) >> shift;
    const done = installRun(req, first + i, frame, run, leafFlags(req, word));
    i += done;
    if (done < run) return i;
  }
  return stop(req, STOP_DONE_ALL, first + npages, first + npages, 0);
}

@inline
function counts(req: u32, word: u64): bool {
  const valid = load<u64>(req, REQ_VALID_WORD);
  return valid != 0 && (word & valid) == valid && word != load<u64>(req, REQ_NONE_WORD);
}

/** Flags of the 4 KiB leaf for `word`. */
function leafFlags(req: u32, word: u64): u64 {
  const write = load<u64>(req, REQ_WRITE_WORD);
  return load<u64>(req, REQ_OR) | PTE_PRESENT | (write != 0 && (word & write) == write ? <u64>PTE_RW : 0);
}

/** How many words from `at` on belong to one run; at least one. */
function runLength(req: u32, at: u32, count: u32): u32 {
  const step = <u64>1 << load<u32>(req, REQ_PFN_SHIFT);
  const mask = load<u64>(req, REQ_AND) | load<u64>(req, REQ_VALID_WORD) | load<u64>(req, REQ_WRITE_WORD);
  const none = load<u64>(req, REQ_NONE_WORD);
  let want = (load<u64>(at) & mask) + step;
  let i: u32 = 1;
  at += 8;
  if (ASC_FEATURE_SIMD) {
    const masks = i64x2.splat(mask);
    const nones = i64x2.splat(none);
    const steps = i64x2.splat(step << 1);
    let wants = i64x2.replace_lane(i64x2.splat(want), 1, want + step);
    for (; i + 8 <= count; i += 8) {
      const wants2 = i64x2.add(wants, steps);
      const wants3 = i64x2.add(wants2, steps);
      const wants4 = i64x2.add(wants3, steps);
      const low = v128.or(differs(v128.load(at), masks, wants, nones), differs(v128.load(at, 16), masks, wants2, nones));
      const high = v128.or(differs(v128.load(at, 32), masks, wants3, nones), differs(v128.load(at, 48), masks, wants4, nones));
      if (v128.any_true(v128.or(low, high))) break;
      wants = i64x2.add(wants4, steps);
      at += 64;
    }
    want = i64x2.extract_lane(wants, 0);
  }
  for (; i < count; i++) {
    const word = load<u64>(at);
    if ((word & mask) != want || word == none) break;
    want += step;
    at += 8;
  }
  return i;
}

@inline
function differs(word: v128, masks: v128, wants: v128, nones: v128): v128 {
  return v128.or(v128.xor(v128.and(word, masks), wants), i64x2.eq(word, nones));
}

/** Installs `count` pages in a row. Returns how many; fewer only after stop(). */
function installRun(req: u32, vpn: u64, frame: u64, count: u32, flags: u64): u32 {
  let done: u32 = 0;
  while (done < count) {
    const at = vpn + done;
    const level = levelFor(at | (frame + done), count - done);
    const end = vpn + count;
    const pages = level == LEVEL_PTE ? min(spanEnd(at, LEVEL_PMD), end) - at : pagesAt(level);
    const entry = ((frame + done) << PAGE_SHIFT) | flags | (level == LEVEL_PTE ? 0 : <u64>PTE_PSE);
    const slot = slotFor(req, at, entry, level, <u32>pages);
    if (slot == 0) return done;
    if (slotLevel(slot) == level) {
      if (level == LEVEL_PTE) writeRun(req, slotOffset(slot), <u32>pages, entry);
      else writeLeaf(req, slotOffset(slot), entry, level);
      countLeaves(req, level, level == LEVEL_PTE ? <u32>pages : 1);
    } else {
      countLeaves(req, slotLevel(slot), 1);
    }
    done += <u32>pages;
  }
  return done;
}

/** The largest leaf that pages and frames (or-ed in `places`) are aligned for and `left` pages fill. */
@inline
function levelFor(places: u64, left: u32): u32 {
  if ((places & (pagesAt(LEVEL_PMD) - 1)) != 0 || left < <u32>pagesAt(LEVEL_PMD)) return LEVEL_PTE;
  return (places & (pagesAt(LEVEL_PUD) - 1)) != 0 || left < <u32>pagesAt(LEVEL_PUD) ? LEVEL_PMD : LEVEL_PUD;
}

/**
 * The entry for `at` at `level`, with tables made and a larger leaf in the way split; or that larger leaf when it maps the
 * `pages` as `entry` would. 0 after stop().
 */
function slotFor(req: u32, at: u64, entry: u64, level: u32, pages: u32): u32 {
  const root = load<u32>(req, REQ_ROOT);
  const levels = load<u32>(req, REQ_LEVELS);
  while (true) {
    const slot = makeSlot(root, levels, at, level);
    if (slot == 0) {
      stopNoSlot(req, seek(root, levels, at, level), at, at + pages);
      return 0;
    }
    const above = slotLevel(slot);
    const offset = slotOffset(slot);
    const there = load<u64>(offset);
    if (above == level) {
      if (!isBad(there, level) || tableOf(there) != 0) return slot;
      stop(req, STOP_BAD, at, at + pages, slot);
      return 0;
    }
    if (!isLeaf(there, above)) {
      // Not present has no meaning in a device's table: it makes room.
      store<u64>(offset, 0);
      written(req, 1);
    } else if (saysSame(there, above, at, entry, level)) {
      return slot;
    } else if (!splitEntry(offset, there, above)) {
      stop(req, STOP_NO_MEMORY, at, at + pages, slot);
      return 0;
    } else {
      addChanged(req, 1);
    }
  }
}

/** Does the larger leaf `there` map page `at` as the leaf `entry` at `level` would? */
function saysSame(there: u64, above: u32, at: u64, entry: u64, level: u32): bool {
  const part = there + ((at & (pagesAt(above) - 1)) << PAGE_SHIFT);
  return ((part ^ (entry | (level == LEVEL_PTE ? <u64>PTE_PSE : 0))) & ~(<u64>ACCESS_BITS)) == 0;
}

/** Writes a huge leaf, in place of whatever the whole of its span held. */
function writeLeaf(req: u32, offset: u32, entry: u64, level: u32): void {
  const there = load<u64>(offset);
  if (((there ^ entry) & ~(<u64>ACCESS_BITS)) == 0) return;
  const table = tableOf(there);
  store<u64>(offset, entry);
  written(req, 1);
  if (table != 0) freeBelow(req, table, level);
}

/** Frees the table that stood at a pmd or pud entry, and the pte tables under it. */
function freeBelow(req: u32, table: u32, level: u32): void {
  let freed: u32 = 1;
  if (level == LEVEL_PUD) {
    for (let i: u32 = 0; i < <u32>TABLE_ENTRIES; i++) {
      const below = tableOf(load<u64>(table + (i << 3)));
      if (below == 0) continue;
      frameFree(below);
      freed++;
    }
  }
  frameFree(table);
  store<u32>(req, load<u32>(req, STOP_FREED) + freed, STOP_FREED);
}

/** Writes `count` ptes for frames in a row, leaving alone those that say the same. */
function writeRun(req: u32, at: u32, count: u32, entry: u64): void {
  let changes: u32 = 0;
  const step = <u64>1 << PAGE_SHIFT;
  for (const end = at + (count << 3); at != end; at += 8) {
    if (((load<u64>(at) ^ entry) & ~(<u64>ACCESS_BITS)) != 0) {
      store<u64>(at, entry);
      changes++;
    }
    entry += step;
  }
  written(req, changes);
}

@inline
function addChanged(req: u32, count: u32): void {
  store<u32>(req, load<u32>(req, STOP_CHANGED) + count, STOP_CHANGED);
}

@inline
function written(req: u32, count: u32): void {
  addChanged(req, count);
  tablesChanged(count);
}
