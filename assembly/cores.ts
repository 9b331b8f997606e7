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
  S_BAD, S_C, S_DELTA, S_FLAGS, S_KEEP, S_MIX_BAD, S_MIX_C, S_MIX_FLAGS, S_MIX_LAST, S_NONE_LESS_C, S_NOT_NONE, S_RW,
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

/** Entries that may differ in RW too. `anywhere`: in a window of any size; else in that of the uniform loop. */
export function mixedRun(req: u32, from: u32, to: u32, count: u32, rsh: u32, fills: bool, anywhere: bool): u32 {
  if (!fills) return anywhere ? mixed(req, from, to, count, NO_FILL, true) : mixed(req, from, to, count, NO_FILL, false);
  return anywhere ? mixedAnywhere(req, from, to, count, rsh) : mixedInWindow(req, from, to, count, rsh);
}

function mixedAnywhere(req: u32, from: u32, to: u32, count: u32, rsh: u32): u32 {
  switch (rsh) {
    case 0: return mixed(req, from, to, count, 0, true);
    case 1: return mixed(req, from, to, count, 1, true);
    case 2: return mixed(req, from, to, count, 2, true);
    case 3: return mixed(req, from, to, count, 3, true);
    case 4: return mixed(req, from, to, count, 4, true);
    case 5: return mixed(req, from, to, count, 5, true);
    case 6: return mixed(req, from, to, count, 6, true);
    case 7: return mixed(req, from, to, count, 7, true);
    case 8: return mixed(req, from, to, count, 8, true);
    case 9: return mixed(req, from, to, count, 9, true);
    case 10: return mixed(req, from, to, count, 10, true);
    case 11: return mixed(req, from, to, count, 11, true);
    default: return mixed(req, from, to, count, 12, true);
  }
}

function mixedInWindow(req: u32, from: u32, to: u32, count: u32, rsh: u32): u32 {
  switch (rsh) {
    case 0: return mixed(req, from, to, count, 0, false);
    case 1: return mixed(req, from, to, count, 1, false);
    case 2: return mixed(req, from, to, count, 2, false);
    case 3: return mixed(req, from, to, count, 3, false);
    case 4: return mixed(req, from, to, count, 4, false);
    case 5: return mixed(req, from, to, count, 5, false);
    case 6: return mixed(req, from, to, count, 6, false);
    case 7: return mixed(req, from, to, count, 7, false);
    case 8: return mixed(req, from, to, count, 8, false);
    case 9: return mixed(req, from, to, count, 9, false);
    case 10: return mixed(req, from, to, count, 10, false);
    case 11: return mixed(req, from, to, count, 11, false);
    default: return mixed(req, from, to, count, 12, false);
  }
}

/** Entries that may differ in RW, or be none: those get REQ_NONE_WORD. `anywhere` as above. */
export function sparseRun(req: u32, from: u32, to: u32, count: u32, rsh: u32, fills: bool, anywhere: bool): u32 {
  if (!fills) return anywhere ? sparse(req, from, to, count, NO_FILL, true) : sparse(req, from, to, count, NO_FILL, false);
  return anywhere ? sparseAnywhere(req, from, to, count, rsh) : sparseInWindow(req, from, to, count, rsh);
}

function sparseAnywhere(req: u32, from: u32, to: u32, count: u32, rsh: u32): u32 {
  switch (rsh) {
    case 0: return sparse(req, from, to, count, 0, true);
    case 1: return sparse(req, from, to, count, 1, true);
    case 2: return sparse(req, from, to, count, 2, true);
    case 3: return sparse(req, from, to, count, 3, true);
    case 4: return sparse(req, from, to, count, 4, true);
    case 5: return sparse(req, from, to, count, 5, true);
    case 6: return sparse(req, from, to, count, 6, true);
    case 7: return sparse(req, from, to, count, 7, true);
    case 8: return sparse(req, from, to, count, 8, true);
    case 9: return sparse(req, from, to, count, 9, true);
    case 10: return sparse(req, from, to, count, 10, true);
    case 11: return sparse(req, from, to, count, 11, true);
    default: return sparse(req, from, to, count, 12, true);
  }
}

function sparseInWindow(req: u32, from: u32, to: u32, count: u32, rsh: u32): u32 {
  switch (rsh) {
    case 0: return sparse(req, from, to, count, 0, false);
    case 1: return sparse(req, from, to, count, 1, false);
    case 2: return sparse(req, from, to, count, 2, false);
    case 3: return sparse(req, from, to, count, 3, false);
    case 4: return sparse(req, from, to, count, 4, false);
    case 5: return sparse(req, from, to, count, 5, false);
    case 6: return sparse(req, from, to, count, 6, false);
    case 7: return sparse(req, from, to, count, 7, false);
    case 8: return sparse(req, from, to, count, 8, false);
    case 9: return sparse(req, from, to, count, 9, false);
    case 10: return sparse(req, from, to, count, 10, false);
    case 11: return sparse(req, from, to, count, 11, false);
    default: return sparse(req, from, to, count, 12, false);
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

/** RW stays in d; where the shift does not drop it, it is taken out. */
@inline
function mixed(req: u32, from: u32, to: u32, count: u32, rsh: u32, anywhere: bool): u32 {
  let i: u32 = 0;
  if (ASC_FEATURE_SIMD) {
    const keep = v128.load_splat<u64>(req, S_KEEP);
    const flags = v128.load_splat<u64>(req, S_MIX_FLAGS);
    const last = v128.load_splat<u64>(req, S_MIX_LAST);
    const wrong = v128.load_splat<u64>(req, S_MIX_BAD);
    const c = v128.load_splat<u64>(req, S_MIX_C);
    const delta = v128.load_splat<u64>(req, S_DELTA);
    const rw = v128.load_splat<u64>(req, S_RW);
    for (; i + 16 <= count; i += 16) {
      const d0 = i64x2.sub(v128.and(v128.load(from), keep), flags);
      const d1 = i64x2.sub(v128.and(v128.load(from, 16), keep), flags);
      const d2 = i64x2.sub(v128.and(v128.load(from, 32), keep), flags);
      const d3 = i64x2.sub(v128.and(v128.load(from, 48), keep), flags);
      const d4 = i64x2.sub(v128.and(v128.load(from, 64), keep), flags);
      const d5 = i64x2.sub(v128.and(v128.load(from, 80), keep), flags);
      const d6 = i64x2.sub(v128.and(v128.load(from, 96), keep), flags);
      const d7 = i64x2.sub(v128.and(v128.load(from, 112), keep), flags);
      const low = v128.or(v128.or(off(d0, last, anywhere), off(d1, last, anywhere)), v128.or(off(d2, last, anywhere), off(d3, last, anywhere)));
      const high = v128.or(v128.or(off(d4, last, anywhere), off(d5, last, anywhere)), v128.or(off(d6, last, anywhere), off(d7, last, anywhere)));
      if (v128.any_true(v128.and(v128.or(low, high), wrong))) break;
      if (rsh != NO_FILL) {
        v128.store(to, mixedWords(d0, rw, c, delta, rsh));
        v128.store(to, mixedWords(d1, rw, c, delta, rsh), 16);
        v128.store(to, mixedWords(d2, rw, c, delta, rsh), 32);
        v128.store(to, mixedWords(d3, rw, c, delta, rsh), 48);
        v128.store(to, mixedWords(d4, rw, c, delta, rsh), 64);
        v128.store(to, mixedWords(d5, rw, c, delta, rsh), 80);
        v128.store(to, mixedWords(d6, rw, c, delta, rsh), 96);
        v128.store(to, mixedWords(d7, rw, c, delta, rsh), 112);
        to += 128;
      }
      from += 128;
    }
    for (; i + 2 <= count; i += 2) {
      const d = i64x2.sub(v128.and(v128.load(from), keep), flags);
      if (v128.any_true(v128.and(off(d, last, anywhere), wrong))) break;
      if (rsh != NO_FILL) {
        v128.store(to, mixedWords(d, rw, c, delta, rsh));
        to += 16;
      }
      from += 16;
    }
  } else {
    const keep = load<u64>(req, S_KEEP);
    const flags = load<u64>(req, S_MIX_FLAGS);
    const last = load<u64>(req, S_MIX_LAST);
    const wrong = load<u64>(req, S_MIX_BAD);
    const c = load<u64>(req, S_MIX_C);
    const delta = load<u64>(req, S_DELTA);
    for (; i < count; i++) {
      const d = (load<u64>(from) & keep) - flags;
      if ((d | (last - d)) & wrong) return i;
      if (rsh != NO_FILL) {
        store<u64>(to, ((d & ~(<u64>PTE_RW)) >> rsh) + c + (d & PTE_RW ? delta : 0));
        to += 8;
      }
      from += 8;
    }
  }
  return i;
}

/** What the test of a window looks at. */
@inline
function off(d: v128, last: v128, anywhere: bool): v128 {
  return anywhere ? v128.or(d, i64x2.sub(last, d)) : d;
}

/** Two words of distances `d` that still have RW. */
@inline
function mixedWords(d: v128, rw: v128, c: v128, delta: v128, rsh: u32): v128 {
  const m = v128.and(d, rw);
  const frames = i64x2.shr_u(rsh < 2 ? v128.xor(d, m) : d, rsh);
  return i64x2.add(i64x2.add(frames, c), v128.and(i64x2.eq(m, rw), delta));
}

@inline
function sparse(req: u32, from: u32, to: u32, count: u32, rsh: u32, anywhere: bool): u32 {
  let i: u32 = 0;
  if (ASC_FEATURE_SIMD) {
    const keep = v128.load_splat<u64>(req, S_KEEP);
    const flags = v128.load_splat<u64>(req, S_MIX_FLAGS);
    const last = v128.load_splat<u64>(req, S_MIX_LAST);
    const wrong = v128.load_splat<u64>(req, S_MIX_BAD);
    const c = v128.load_splat<u64>(req, S_MIX_C);
    const delta = v128.load_splat<u64>(req, S_DELTA);
    const rw = v128.load_splat<u64>(req, S_RW);
    const notNone = v128.load_splat<u64>(req, S_NOT_NONE);
    const noneLessC = v128.load_splat<u64>(req, S_NONE_LESS_C);
    let counts = i64x2.splat(0); // minus the holes
    for (; i + 8 <= count; i += 8) {
      const e0 = v128.load(from);
      const e1 = v128.load(from, 16);
      const e2 = v128.load(from, 32);
      const e3 = v128.load(from, 48);
      const none0 = zeroes(v128.and(e0, notNone));
      const none1 = zeroes(v128.and(e1, notNone));
      const none2 = zeroes(v128.and(e2, notNone));
      const none3 = zeroes(v128.and(e3, notNone));
      // In the lanes that are none, d = 0 is good, and makes the word C.
      const d0 = v128.andnot(i64x2.sub(v128.and(e0, keep), flags), none0);
      const d1 = v128.andnot(i64x2.sub(v128.and(e1, keep), flags), none1);
      const d2 = v128.andnot(i64x2.sub(v128.and(e2, keep), flags), none2);
      const d3 = v128.andnot(i64x2.sub(v128.and(e3, keep), flags), none3);
      const bad = v128.or(v128.or(off(d0, last, anywhere), off(d1, last, anywhere)), v128.or(off(d2, last, anywhere), off(d3, last, anywhere)));
      if (v128.any_true(v128.and(bad, wrong))) break;
      counts = i64x2.add(counts, i64x2.add(i64x2.add(none0, none1), i64x2.add(none2, none3)));
      if (rsh != NO_FILL) {
        v128.store(to, i64x2.add(mixedWords(d0, rw, c, delta, rsh), v128.and(none0, noneLessC)));
        v128.store(to, i64x2.add(mixedWords(d1, rw, c, delta, rsh), v128.and(none1, noneLessC)), 16);
        v128.store(to, i64x2.add(mixedWords(d2, rw, c, delta, rsh), v128.and(none2, noneLessC)), 32);
        v128.store(to, i64x2.add(mixedWords(d3, rw, c, delta, rsh), v128.and(none3, noneLessC)), 48);
        to += 64;
      }
      from += 64;
    }
    for (; i + 2 <= count; i += 2) {
      const e = v128.load(from);
      const none = zeroes(v128.and(e, notNone));
      const d = v128.andnot(i64x2.sub(v128.and(e, keep), flags), none);
      if (v128.any_true(v128.and(off(d, last, anywhere), wrong))) break;
      counts = i64x2.add(counts, none);
      if (rsh != NO_FILL) {
        v128.store(to, i64x2.add(mixedWords(d, rw, c, delta, rsh), v128.and(none, noneLessC)));
        to += 16;
      }
      from += 16;
    }
    return passedSparse(req, i, counts);
  } else {
    const keep = load<u64>(req, S_KEEP);
    const flags = load<u64>(req, S_MIX_FLAGS);
    const last = load<u64>(req, S_MIX_LAST);
    const wrong = load<u64>(req, S_MIX_BAD);
    const c = load<u64>(req, S_MIX_C);
    const delta = load<u64>(req, S_DELTA);
    const noneWord = load<u64>(req, REQ_NONE_WORD);
    let none: u32 = 0;
    for (; i < count; i++) {
      const entry = load<u64>(from);
      const d = (entry & keep) - flags;
      let word = ((d & ~(<u64>PTE_RW)) >> rsh) + c + (d & PTE_RW ? delta : 0);
      if ((d | (last - d)) & wrong) {
        if (!isNone(entry)) break;
        word = noneWord;
        none++;
      }
      if (rsh != NO_FILL) {
        store<u64>(to, word);
        to += 8;
      }
      from += 8;
    }
    countLeaves(req, LEVEL_PTE, i - none);
    return i;
  }
}

@inline
function zeroes(bits: v128): v128 {
  return i64x2.eq(bits, i64x2.splat(0));
}

/** Counts `i` entries less the holes as leaves. */
function passedSparse(req: u32, i: u32, counts: v128): u32 {
  countLeaves(req, LEVEL_PTE, i + <u32>(i64x2.extract_lane(counts, 0) + i64x2.extract_lane(counts, 1)));
  return i;
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
