/**
 * Tables: make them, map frames into them, find one's way in them, give them back.
 *
 * A call that finds no table frame has changed nothing at the entry it could not make. Rights are in leaves alone: an
 * entry that points to a table allows everything.
 */
import {
  LEVEL_PMD, LEVEL_PTE, LEVEL_PUD, PAGE_SHIFT, PTE_PSE, REQ_LEVEL, REQ_LEVELS, REQ_NPAGES, REQ_OR, REQ_PFN, REQ_ROOT, REQ_VPN, STOP_BAD,
  STOP_COLLISION, STOP_DONE_ALL, STOP_NO_MEMORY, TABLE_ENTRIES, TABLE_SHIFT,
} from '../src/abi';
import { begin, countLeaves, loadPage, stop } from './answer';
import { isBad, seek, slotLevel, slotOffset } from './descend';
import { TABLE_FLAGS, indexAt, isNone, pagesAt, spanEnd, tableOf } from './entry';
import { frameAlloc, frameAllocRaw, frameFree, tablesChanged } from './frames';
import { isEmptyTable, zeroPrefix } from './runs';
import { fillSequence } from './words';

/** Writes an entry in one 64-bit store: bits 0..11 from `flagsLo`, bits 32..63 or-ed from `flagsHi`. */
export function setEntry(offset: u32, pfn: f64, flagsLo: u32, flagsHi: u32): void {
  store<u64>(offset, (<u64><i64>pfn << PAGE_SHIFT) | flagsLo | (<u64>flagsHi << 32));
  tablesChanged(1);
}

/** Writes an entry in one 64-bit store, both halves as given. */
export function setRaw(offset: u32, lo: u32, hi: u32): void {
  store<u64>(offset, <u64>lo | (<u64>hi << 32));
  tablesChanged(1);
}

/**
 * Makes the tables above `vpn`'s entry at `level`. Returns that entry as offset | level, or the one that stands in the
 * way above it (leaf, not present); 0 when a table frame is missing, or a bad entry stands in the way: nothing changed.
 */
export function slot(root: u32, levels: u32, vpn: f64, level: u32): u32 {
  return makeSlot(root, levels, <u64><i64>vpn, level);
}

export function makeSlot(root: u32, levels: u32, vpn: u64, level: u32): u32 {
  const found = seek(root, levels, vpn, level);
  const above = slotLevel(found);
  if (above == level) return found;
  const hook = slotOffset(found);
  const entry = load<u64>(hook);
  if (!isNone(entry)) return isBad(entry, above) ? 0 : found;
  // The new tables become visible together, with the one store at the hook.
  let first: u32 = 0;
  let last: u32 = 0;
  for (let at = above; at > level; at--) {
    const table = frameAlloc();
    if (table == 0) {
      freeChain(first);
      return 0;
    }
    if (first == 0) first = table;
    else store<u64>(last, <u64>table | TABLE_FLAGS);
    last = table + (indexAt(vpn, at - 1) << 3);
  }
  store<u64>(hook, <u64>first | TABLE_FLAGS);
  tablesChanged(above - level);
  return last | level;
}

/** Frees tables that each have at most one entry, the next of them. */
function freeChain(table: u32): void {
  while (table != 0) {
    const used = zeroPrefix(table, TABLE_ENTRIES);
    const next = used == TABLE_ENTRIES ? 0 : tableOf(load<u64>(table + (used << 3)));
    frameFree(table);
    table = next;
  }
}

/**
 * Maps frames in a row by leaves of REQ_LEVEL with flags REQ_OR (PSE is added). Nothing is overwritten: an entry that is
 * not none, a table included, is STOP_COLLISION. STOP_BAD: pages, frames or count that do not fit the level.
 * Returns pages mapped.
 */
export function map(req: u32): u32 {
  begin(req);
  const root = load<u32>(req, REQ_ROOT);
  const levels = load<u32>(req, REQ_LEVELS);
  const level = load<u32>(req, REQ_LEVEL);
  const npages = <u64>load<u32>(req, REQ_NPAGES);
  const first = loadPage(req + REQ_VPN);
  const end = first + npages;
  const flags = load<u64>(req, REQ_OR) | (level == LEVEL_PTE ? 0 : <u64>PTE_PSE);
  let frame = loadPage(req + REQ_PFN);
  let at = first;
  if (level > <u32>LEVEL_PUD || end > pagesAt(levels) || ((first | frame | npages) & (pagesAt(level) - 1)) != 0) return stop(req, STOP_BAD, at, end, 0);
  const pages = pagesAt(level);
  const tablePages = pagesAt(level + 1);
  while (at < end) {
    if ((at & (tablePages - 1)) == 0 && end - at >= tablePages) {
      const hook = emptyHook(root, levels, at, level + 1);
      if (hook != 0) {
        if (!hookLeaves(hook, (frame << PAGE_SHIFT) | flags, pages << PAGE_SHIFT)) return stopNoSlot(req, hook | (level + 1), at, end);
        countLeaves(req, level, TABLE_ENTRIES);
        at += tablePages;
        frame += tablePages;
        continue;
      }
    }
    const found = makeSlot(root, levels, at, level);
    if (found == 0) return stopNoSlot(req, seek(root, levels, at, level), at, end);
    if (slotLevel(found) != level) return stop(req, STOP_COLLISION, at, min(spanEnd(at, slotLevel(found)), end), found);
    const count = <u32>((min(spanEnd(at, level + 1), end) - at) >> (TABLE_SHIFT * level));
    const free = zeroPrefix(slotOffset(found), count);
    fillSequence(slotOffset(found), free, (frame << PAGE_SHIFT) | flags, pages << PAGE_SHIFT);
    tablesChanged(free);
    countLeaves(req, level, free);
    at += free * pages;
    frame += free * pages;
    if (free < count) {
      const next = slotOffset(found) + (free << 3);
      // A and D alone are none: not zero, yet nothing is there.
      if (!isNone(load<u64>(next))) return stop(req, STOP_COLLISION, at, at + pages, next | level);
      store<u64>(next, 0);
    }
  }
  return stop(req, STOP_DONE_ALL, at, at, 0);
}

/** The entry of `vpn` at `level` where there is a table for it, and the entry is none; else 0. */
@inline
function emptyHook(root: u32, levels: u32, vpn: u64, level: u32): u32 {
  const found = seek(root, levels, vpn, level);
  const hook = slotOffset(found);
  return slotLevel(found) == level && isNone(load<u64>(hook)) ? hook : 0;
}

/** Hangs a table full of leaves, `entry` and those `step` apart, at `hook`. False where there is no frame for it. */
@inline
function hookLeaves(hook: u32, entry: u64, step: u64): bool {
  const table = frameAllocRaw();
  if (table == 0) return false;
  fillSequence(table, TABLE_ENTRIES, entry, step);
  store<u64>(hook, <u64>table | TABLE_FLAGS);
  tablesChanged(TABLE_ENTRIES + 1);
  return true;
}

/** Ends a call that makeSlot gave nothing: `found` is where the way down ends. */
export function stopNoSlot(req: u32, found: u32, at: u64, end: u64): u32 {
  const level = slotLevel(found);
  const reason = isNone(load<u64>(slotOffset(found))) ? STOP_NO_MEMORY : STOP_BAD;
  return stop(req, reason, at, min(spanEnd(at, level), end), found);
}

/** First page in `[vpn, end)` with anything but none at `level` or above it, rounded down to its entry but not below `vpn`; or -1. */
export function nextEntry(root: u32, levels: u32, vpn: f64, end: f64, level: u32): f64 {
  let at = <u64><i64>vpn;
  const last = min(<u64><i64>end, pagesAt(levels));
  while (at < last) {
    const found = seek(root, levels, at, level);
    const here = slotLevel(found);
    const pages = pagesAt(here);
    if (!isNone(load<u64>(slotOffset(found)))) return <f64><i64>at;
    // Zero entries beside it need no way down of their own.
    const zeroes = zeroPrefix(slotOffset(found), TABLE_ENTRIES - indexAt(at, here));
    at = (at & ~(pages - 1)) + max<u64>(zeroes, 1) * pages;
  }
  return -1;
}

/**
 * Frees the tables whose whole span lies in `[vpn, vpn + npages)` and that have no entry left (free_pgtables, between floor and
 * ceiling); the top table stays. Returns how many.
 */
export function freeTables(root: u32, levels: u32, vpn: f64, npages: f64): u32 {
  const first = <u64><i64>vpn;
  return freeEmpty(root, levels, first, first + <u64><i64>npages, SWEEP_WITHIN);
}

/** The same, of tables that reach into `[first, end)` (SWEEP_EMPTY) or lie in it (SWEEP_WITHIN). */
export function freeEmpty(root: u32, levels: u32, first: u64, end: u64, which: u32): u32 {
  let freed: u32 = 0;
  for (let level: u32 = LEVEL_PMD; level < levels; level++) freed += sweep(root, levels, first, end, level, which);
  return freed;
}

/** Table frames reachable from `root`, itself included. */
export function tableCount(root: u32, levels: u32): u32 {
  let tables: u32 = 1;
  for (let level: u32 = LEVEL_PMD; level < levels; level++) tables += sweep(root, levels, 0, pagesAt(levels), level, SWEEP_COUNT);
  return tables;
}

/** Gives back every table, the top one included; frames that leaves map are not looked at. Returns how many. */
export function freeSpace(root: u32, levels: u32): u32 {
  let freed: u32 = 1;
  for (let level: u32 = LEVEL_PMD; level < levels; level++) freed += sweep(root, levels, 0, pagesAt(levels), level, SWEEP_ALL);
  frameFree(root);
  return freed;
}

const SWEEP_COUNT: u32 = 0;
export const SWEEP_EMPTY: u32 = 1;
const SWEEP_ALL: u32 = 2;
const SWEEP_WITHIN: u32 = 3;

/**
 * Visits the entries at `level` in `[first, end)` that point to tables, and counts or frees those tables; the way up is
 * one sweep for each level, the lowest first. Returns how many were counted or freed.
 */
function sweep(root: u32, levels: u32, first: u64, end: u64, level: u32, action: u32): u32 {
  const pages = pagesAt(level);
  const last = min(end, pagesAt(levels));
  let tables: u32 = 0;
  let at = first;
  while (at < last) {
    const found = seek(root, levels, at, level);
    const here = slotLevel(found);
    if (here != level) {
      at = spanEnd(at, here);
      continue;
    }
    let offset = slotOffset(found);
    const stopAt = min(spanEnd(at, level + 1), last);
    for (; at < stopAt; at = (at & ~(pages - 1)) + pages) {
      const table = tableOf(load<u64>(offset));
      if (table != 0 && isChosen(table, at & ~(pages - 1), pages, first, end, action)) {
        tables++;
        if (action != SWEEP_COUNT) {
          store<u64>(offset, 0);
          tablesChanged(1);
          frameFree(table);
        }
      }
      offset += 8;
    }
  }
  return tables;
}

/** Is the table over `[base, base + pages)` one of those that the sweep is about? */
function isChosen(table: u32, base: u64, pages: u64, first: u64, end: u64, action: u32): bool {
  if (action == SWEEP_COUNT || action == SWEEP_ALL) return true;
  if (action == SWEEP_WITHIN && (base < first || base + pages > end)) return false;
  return isEmptyTable(table);
}
