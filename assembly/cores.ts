/**
 * The inner loops: page-table entries to output words, as long as a template (template.ts) fits them.
 *
 * Each returns how many entries it took from the first on; it stops in front of the first block that does not fit, and
 * the caller looks at what is there. The shift is a constant in each copy: a variable one costs as much as the rest of
 * the loop. Builds without SIMD run the same tests entry by entry.
 */
import { LEVEL_PTE, PTE_RW, REQ_NONE_WORD } from '../src/abi';
import { countLeaves } from './answer';
import { isNone } from './entry';
import {
  S_BAD, S_C, S_DELTA, S_FLAGS, S_KEEP, S_MIX_BAD, S_MIX_C, S_MIX_FLAGS, S_MIX_KEEP, S_MIX_LAST, S_NOT_NONE, S_RW,
} from './template';

/** Shift argument of a copy that writes nothing. */
const NO_FILL: u32 = 64;

/** Entries that are alike but for the frame. `rsh` = 12 - REQ_PFN_SHIFT. */
export function uniformRun(req: u32, from: u32, to: u32, count: u32, rsh: u32, fills: bool): u32 {
  if (!fills) return uniform(req, from, to, count, NO_FILL);
  switch (rsh) {
    case 0: return uniform(req, from, to, count, 0);
    case 1: return uniform(req, from, to, count, 1);
    case 2: return uniform(req, from, to, count, 2);
    case 3: return uniform(req, from, to, count, 3);
    case 4: return uniform(req, from, to, count, 4);
    case 5: return uniform(req, from, to, count, 5);
    case 6: return uniform(req, from, to, count, 6);
    case 7: return uniform(req, from, to, count, 7);
    case 8: return uniform(req, from, to, count, 8);
    case 9: return uniform(req, from, to, count, 9);
    case 10: return uniform(req, from, to, count, 10);
    case 11: return uniform(req, from, to, count, 11);
    default: return uniform(req, from, to, count, 12);
  }
}

/** Entries that may differ in RW, and be none where `holes`: those get REQ_NONE_WORD. */
export function mixedRun(req: u32, from: u32, to: u32, count: u32, rsh: u32, fills: bool, holes: bool): u32 {
  if (!fills) return mixed(req, from, to, count, NO_FILL, holes);
  switch (rsh) {
    case 0: return mixed(req, from, to, count, 0, holes);
    case 1: return mixed(req, from, to, count, 1, holes);
    case 2: return mixed(req, from, to, count, 2, holes);
    case 3: return mixed(req, from, to, count, 3, holes);
    case 4: return mixed(req, from, to, count, 4, holes);
    case 5: return mixed(req, from, to, count, 5, holes);
    case 6: return mixed(req, from, to, count, 6, holes);
    case 7: return mixed(req, from, to, count, 7, holes);
    case 8: return mixed(req, from, to, count, 8, holes);
    case 9: return mixed(req, from, to, count, 9, holes);
    case 10: return mixed(req, from, to, count, 10, holes);
    case 11: return mixed(req, from, to, count, 11, holes);
    default: return mixed(req, from, to, count, 12, holes);
  }
}

@inline
function uniform(req: u32, from: u32, to: u32, count: u32, rsh: u32): u32 {
  let i: u32 = 0;
  if (ASC_FEATURE_SIMD) {
    const keep = v128.load_splat<u64>(req, S_KEEP);
    const flags = v128.load_splat<u64>(req, S_FLAGS);
    const wrong = v128.load_splat<u64>(req, S_BAD);
    const c = v128.load_splat<u64>(req, S_C);
    for (; i + 16 <= count; i += 16) {
      const d0 = i64x2.sub(v128.and(v128.load(from), keep), flags);
      const d1 = i64x2.sub(v128.and(v128.load(from, 16), keep), flags);
      const d2 = i64x2.sub(v128.and(v128.load(from, 32), keep), flags);
      const d3 = i64x2.sub(v128.and(v128.load(from, 48), keep), flags);
      const d4 = i64x2.sub(v128.and(v128.load(from, 64), keep), flags);
      const d5 = i64x2.sub(v128.and(v128.load(from, 80), keep), flags);
      const d6 = i64x2.sub(v128.and(v128.load(from, 96), keep), flags);
      const d7 = i64x2.sub(v128.and(v128.load(from, 112), keep), flags);
      const low = v128.or(v128.or(d0, d1), v128.or(d2, d3));
      const high = v128.or(v128.or(d4, d5), v128.or(d6, d7));
      if (v128.any_true(v128.and(v128.or(low, high), wrong))) return i;
      if (rsh != NO_FILL) {
        v128.store(to, i64x2.add(i64x2.shr_u(d0, rsh), c));
        v128.store(to, i64x2.add(i64x2.shr_u(d1, rsh), c), 16);
        v128.store(to, i64x2.add(i64x2.shr_u(d2, rsh), c), 32);
        v128.store(to, i64x2.add(i64x2.shr_u(d3, rsh), c), 48);
        v128.store(to, i64x2.add(i64x2.shr_u(d4, rsh), c), 64);
        v128.store(to, i64x2.add(i64x2.shr_u(d5, rsh), c), 80);
        v128.store(to, i64x2.add(i64x2.shr_u(d6, rsh), c), 96);
        v128.store(to, i64x2.add(i64x2.shr_u(d7, rsh), c), 112);
        to += 128;
      }
      from += 128;
    }
  }
  const keep1 = load<u64>(req, S_KEEP);
  const flags1 = load<u64>(req, S_FLAGS);
  const wrong1 = load<u64>(req, S_BAD);
  const c1 = load<u64>(req, S_C);
  for (; i < count; i++) {
    const d = (load<u64>(from) & keep1) - flags1;
    if (d & wrong1) break;
    if (rsh != NO_FILL) store<u64>(to, (d >> rsh) + c1);
    from += 8;
    to += 8;
  }
  return i;
}

@inline
function mixed(req: u32, from: u32, to: u32, count: u32, rsh: u32, holes: bool): u32 {
  let i: u32 = 0;
  let none: u32 = 0;
  if (ASC_FEATURE_SIMD) {
    const keep = v128.load_splat<u64>(req, S_MIX_KEEP);
    const flags = v128.load_splat<u64>(req, S_MIX_FLAGS);
    const last = v128.load_splat<u64>(req, S_MIX_LAST);
    const c = v128.load_splat<u64>(req, S_MIX_C);
    const delta = v128.load_splat<u64>(req, S_DELTA);
    const wrong = v128.load_splat<u64>(req, S_MIX_BAD);
    const rw = v128.load_splat<u64>(req, S_RW);
    const notNone = v128.load_splat<u64>(req, S_NOT_NONE);
    const noneWord = v128.load_splat<u64>(req, REQ_NONE_WORD);
    const zero = i64x2.splat(0);
    let counts = zero;
    for (; i + 8 <= count; i += 8) {
      const e0 = v128.load(from);
      const e1 = v128.load(from, 16);
      const e2 = v128.load(from, 32);
      const e3 = v128.load(from, 48);
      const d0 = i64x2.sub(v128.and(e0, keep), flags);
      const d1 = i64x2.sub(v128.and(e1, keep), flags);
      const d2 = i64x2.sub(v128.and(e2, keep), flags);
      const d3 = i64x2.sub(v128.and(e3, keep), flags);
      let bad0 = v128.or(d0, i64x2.sub(last, d0));
      let bad1 = v128.or(d1, i64x2.sub(last, d1));
      let bad2 = v128.or(d2, i64x2.sub(last, d2));
      let bad3 = v128.or(d3, i64x2.sub(last, d3));
      let none0 = zero;
      let none1 = zero;
      let none2 = zero;
      let none3 = zero;
      if (holes) {
        none0 = i64x2.eq(v128.and(e0, notNone), zero);
        none1 = i64x2.eq(v128.and(e1, notNone), zero);
        none2 = i64x2.eq(v128.and(e2, notNone), zero);
        none3 = i64x2.eq(v128.and(e3, notNone), zero);
        bad0 = v128.andnot(bad0, none0);
        bad1 = v128.andnot(bad1, none1);
        bad2 = v128.andnot(bad2, none2);
        bad3 = v128.andnot(bad3, none3);
        counts = i64x2.add(counts, i64x2.add(i64x2.add(none0, none1), i64x2.add(none2, none3)));
      }
      const bad = v128.or(v128.or(bad0, bad1), v128.or(bad2, bad3));
      if (v128.any_true(v128.and(bad, wrong))) {
        if (holes) counts = i64x2.sub(counts, i64x2.add(i64x2.add(none0, none1), i64x2.add(none2, none3)));
        break;
      }
      if (rsh != NO_FILL) {
        storeMixed(to, e0, d0, rsh, c, rw, delta, holes, none0, noneWord, zero);
        storeMixed(to + 16, e1, d1, rsh, c, rw, delta, holes, none1, noneWord, zero);
        storeMixed(to + 32, e2, d2, rsh, c, rw, delta, holes, none2, noneWord, zero);
        storeMixed(to + 48, e3, d3, rsh, c, rw, delta, holes, none3, noneWord, zero);
        to += 64;
      }
      from += 64;
    }
    if (holes) none = <u32>-(i64x2.extract_lane(counts, 0) + i64x2.extract_lane(counts, 1));
  } else {
    const keep = load<u64>(req, S_MIX_KEEP);
    const flags = load<u64>(req, S_MIX_FLAGS);
    const last = load<u64>(req, S_MIX_LAST);
    const c = load<u64>(req, S_MIX_C);
    const delta = load<u64>(req, S_DELTA);
    const wrong = load<u64>(req, S_MIX_BAD);
    const noneWord = load<u64>(req, REQ_NONE_WORD);
    for (; i < count; i++) {
      const entry = load<u64>(from);
      const d = (entry & keep) - flags;
      let word = (d >> rsh) + c + (entry & PTE_RW ? delta : 0);
      if ((d | (last - d)) & wrong) {
        if (!holes || !isNone(entry)) break;
        word = noneWord;
        none++;
      }
      if (rsh != NO_FILL) store<u64>(to, word);
      from += 8;
      to += 8;
    }
  }
  countLeaves(req, LEVEL_PTE, i - none);
  return i;
}

@inline
function storeMixed(to: u32, e: v128, d: v128, rsh: u32, c: v128, rw: v128, delta: v128, holes: bool, none: v128, noneWord: v128, zero: v128): void {
  const writable = v128.andnot(delta, i64x2.eq(v128.and(e, rw), zero));
  const word = i64x2.add(i64x2.add(i64x2.shr_u(d, rsh), c), writable);
  v128.store(to, holes ? v128.bitselect(noneWord, word, none) : word);
}

/** Entries that are none, in blocks of 16. */
export function holesRun(req: u32, from: u32, to: u32, count: u32, fills: bool): u32 {
  let i: u32 = 0;
  if (ASC_FEATURE_SIMD) {
    const noneWord = v128.load_splat<u64>(req, REQ_NONE_WORD);
    const notNone = v128.load_splat<u64>(req, S_NOT_NONE);
    for (; i + 16 <= count; i += 16) {
      const low = v128.or(v128.or(v128.load(from), v128.load(from, 16)), v128.or(v128.load(from, 32), v128.load(from, 48)));
      const high = v128.or(v128.or(v128.load(from, 64), v128.load(from, 80)), v128.or(v128.load(from, 96), v128.load(from, 112)));
      if (v128.any_true(v128.and(v128.or(low, high), notNone))) return i;
      if (fills) {
        v128.store(to, noneWord);
        v128.store(to, noneWord, 16);
        v128.store(to, noneWord, 32);
        v128.store(to, noneWord, 48);
        v128.store(to, noneWord, 64);
        v128.store(to, noneWord, 80);
        v128.store(to, noneWord, 96);
        v128.store(to, noneWord, 112);
      }
      from += 128;
      to += 128;
    }
  } else {
    const noneWord = load<u64>(req, REQ_NONE_WORD);
    for (; i < count && isNone(load<u64>(from)); i++) {
      if (fills) store<u64>(to, noneWord);
      from += 8;
      to += 8;
    }
  }
  return i;
}
