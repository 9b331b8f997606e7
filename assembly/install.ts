/**
 * A device's page table, filled from the words of a range walk (as lib/test_hmm.c fills its xarray, with leaves).
 *
 * A word counts when it has all of VALID_WORD and is not NONE_WORD; its frame is (word & AND) >> PFN_SHIFT, and it is
 * writable when it has all of a WRITE_WORD that is not zero. A run is words whose frames follow each other with equal
 * VALID and WRITE bits; it becomes the largest leaves that pages and frames are aligned for. Words that do not
 * count leave what is there alone. An entry that says the same thing but for A and D is left as it is.
 */
import {
  LEVEL_PMD, LEVEL_PTE, LEVEL_PUD, PAGE_SHIFT, PMD_PAGES, PTE_PRESENT, PTE_PSE, PTE_RW, PUD_PAGES, REQ_AND, REQ_IN, REQ_LEVELS, REQ_NONE_WORD,
  REQ_NPAGES, REQ_OR, REQ_PFN_SHIFT, REQ_ROOT, REQ_SCRATCH, REQ_VALID_WORD, REQ_VPN, REQ_WRITE_WORD, STOP_BAD, STOP_CHANGED, STOP_DONE_ALL, STOP_FREED,
  STOP_NO_MEMORY, TABLE_ENTRIES,
} from '../src/abi';
import { begin, countLeaves, loadPage, stop } from './answer';
import { isBad, seek, slotLevel, slotOffset } from './descend';
import { ACCESS_BITS, indexAt, isLeaf, pagesAt, spanEnd, tableOf } from './entry';
import { frameFree, tablesChanged } from './frames';
import { splitEntry } from './change';
import { makeSlot, stopNoSlot } from './tables';

// Scratch: what the search for a run compares with, in memory so that it stays outside of the loop.
const S_RUN_MASK = REQ_SCRATCH;
const S_RUN_STEP = S_RUN_MASK + 8;

/**
 * Installs REQ_NPAGES words at REQ_IN from page REQ_VPN on. Returns words answered. STOP_LEAVES: leaves written or found as
 * wanted, by level (none for a word that a larger leaf answers); STOP_CHANGED: entries that changed. Ends early with
 * STOP_NO_MEMORY or STOP_BAD.
 */
export function install(req: u32): u32 {
  begin(req);
  const words = load<u32>(req, REQ_IN);
  const npages = load<u32>(req, REQ_NPAGES);
  const first = loadPage(req + REQ_VPN);
  if (first + npages > pagesAt(load<u32>(req, REQ_LEVELS))) return stop(req, STOP_BAD, first, first + npages, 0);
  let i: u32 = 0;
  while (i < npages) {
    const vpn = first + i;
    const left = npages - i;
    const at = words + (i << 3);
    const run = largeRun(req, vpn, at, left);
    if (run == 0) {
      const count = <u32>min(<u64>left, spanEnd(vpn, LEVEL_PMD) - vpn);
      const done = installPtes(req, vpn, at, count);
      i += done;
      if (done < count) return i;
    } else {
      const level: u32 = run == <u32>PUD_PAGES ? LEVEL_PUD : LEVEL_PMD;
      const pages = <u32>pagesAt(level);
      const frame = frameIn(req, load<u64>(at));
      const flags = leafFlags(req, load<u64>(at)) | PTE_PSE;
      for (let done: u32 = 0; done < run; done += pages) {
        if (!installLarge(req, vpn + done, ((frame + done) << PAGE_SHIFT) | flags, level)) return i + done;
      }
      i += run;
    }
  }
  return stop(req, STOP_DONE_ALL, first + npages, first + npages, 0);
}

/** How many of `left` words at `at` make large leaves from page `vpn` on: 1 GiB worth, else a multiple of 2 MiB worth, 0 = none. */
function largeRun(req: u32, vpn: u64, at: u32, left: u32): u32 {
  if ((vpn & (PMD_PAGES - 1)) != 0 || left < <u32>PMD_PAGES || !counts(req, load<u64>(at))) return 0;
  const places = vpn | frameIn(req, load<u64>(at));
  if ((places & (PMD_PAGES - 1)) != 0) return 0;
  const gigantic = (places & (PUD_PAGES - 1)) == 0 && left >= <u32>PUD_PAGES;
  return runLength(req, at, gigantic ? PUD_PAGES : PMD_PAGES) & ~(PMD_PAGES - 1);
}

/** Installs `count` words at `at`, all of one pte table's span. Returns how many; fewer only after stop(). */
function installPtes(req: u32, vpn: u64, at: u32, count: u32): u32 {
  const step = <u64>1 << load<u32>(req, REQ_PFN_SHIFT);
  const mask = runMask(req);
  let table: u32 = 0;
  let i: u32 = 0;
  while (i < count) {
    const word = load<u64>(at + (i << 3));
    if (!counts(req, word)) {
      i++;
      continue;
    }
    const entry = (frameIn(req, word) << PAGE_SHIFT) | leafFlags(req, word);
    // The next word tells whether it is worth looking for a run.
    const more = i + 1 < count && (load<u64>(at + (i << 3), 8) & mask) == (word & mask) + step;
    const run = more ? runLength(req, at + (i << 3), count - i) : 1;
    if (table == 0) {
      const slot = slotFor(req, vpn + i, entry, LEVEL_PTE, run);
      if (slot == 0) return i;
      if (slotLevel(slot) == LEVEL_PTE) table = slotOffset(slot) - (indexAt(vpn + i, LEVEL_PTE) << 3);
    }
    if (table != 0) {
      writeRun(req, table + (indexAt(vpn + i, LEVEL_PTE) << 3), run, entry);
      countLeaves(req, LEVEL_PTE, run);
    }
    i += run;
  }
  return count;
}

/** Installs a 2 MiB or 1 GiB leaf; false after stop(). */
function installLarge(req: u32, vpn: u64, entry: u64, level: u32): bool {
  const slot = slotFor(req, vpn, entry, level, <u32>pagesAt(level));
  if (slot == 0) return false;
  if (slotLevel(slot) != level) return true;
  writeLeaf(req, slotOffset(slot), entry, level);
  countLeaves(req, level, 1);
  return true;
}

@inline
function frameIn(req: u32, word: u64): u64 {
  return (word & load<u64>(req, REQ_AND)) >> load<u32>(req, REQ_PFN_SHIFT);
}

/** Bits of words that must follow the rule of a run. */
@inline
function runMask(req: u32): u64 {
  return load<u64>(req, REQ_AND) | load<u64>(req, REQ_VALID_WORD) | load<u64>(req, REQ_WRITE_WORD);
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
  const mask = runMask(req);
  const none = load<u64>(req, REQ_NONE_WORD);
  let want = (load<u64>(at) & mask) + step;
  let i: u32 = 1;
  at += 8;
  if (ASC_FEATURE_SIMD) {
    store<u64>(req, mask, S_RUN_MASK);
    store<u64>(req, step << 1, S_RUN_STEP);
    const masks = v128.load_splat<u64>(req, S_RUN_MASK);
    const nones = v128.load_splat<u64>(req, REQ_NONE_WORD);
    const steps = v128.load_splat<u64>(req, S_RUN_STEP);
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
@inline
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
