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

/** Entries that may differ in RW too. */
export function mixedRun(req: u32, from: u32, to: u32, count: u32, rsh: u32, fills: bool): u32 {
  if (!fills) return mixed(req, from, to, count, NO_FILL);
  switch (rsh) {
    case 0: return mixed(req, from, to, count, 0);
    case 1: return mixed(req, from, to, count, 1);
    case 2: return mixed(req, from, to, count, 2);
    case 3: return mixed(req, from, to, count, 3);
    case 4: return mixed(req, from, to, count, 4);
    case 5: return mixed(req, from, to, count, 5);
    case 6: return mixed(req, from, to, count, 6);
    case 7: return mixed(req, from, to, count, 7);
    case 8: return mixed(req, from, to, count, 8);
    case 9: return mixed(req, from, to, count, 9);
    case 10: return mixed(req, from, to, count, 10);
    case 11: return mixed(req, from, to, count, 11);
    default: return mixed(req, from, to, count, 12);
  }
}

/** Entries that may differ in RW, or be none: those get REQ_NONE_WORD. */
export function sparseRun(req: u32, from: u32, to: u32, count: u32, rsh: u32, fills: bool): u32 {
  if (!fills) return sparse(req, from, to, count, NO_FILL);
  switch (rsh) {
    case 0: return sparse(req, from, to, count, 0);
    case 1: return sparse(req, from, to, count, 1);
    case 2: return sparse(req, from, to, count, 2);
    case 3: return sparse(req, from, to, count, 3);
    case 4: return sparse(req, from, to, count, 4);
    case 5: return sparse(req, from, to, count, 5);
    case 6: return sparse(req, from, to, count, 6);
    case 7: return sparse(req, from, to, count, 7);
    case 8: return sparse(req, from, to, count, 8);
    case 9: return sparse(req, from, to, count, 9);
    case 10: return sparse(req, from, to, count, 10);
    case 11: return sparse(req, from, to, count, 11);
    default: return sparse(req, from, to, count, 12);
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
function mixed(req: u32, from: u32, to: u32, count: u32, rsh: u32): u32 {
  let i: u32 = 0;
  if (ASC_FEATURE_SIMD) {
    const keep = v128.load_splat<u64>(req, S_KEEP);
    const flags = v128.load_splat<u64>(req, S_MIX_FLAGS);
    const last = v128.load_splat<u64>(req, S_MIX_LAST);
    const wrong = v128.load_splat<u64>(req, S_MIX_BAD);
    const c = v128.load_splat<u64>(req, S_MIX_C);
    const delta = v128.load_splat<u64>(req, S_DELTA);
    const rw = v128.load_splat<u64>(req, S_RW);
    for (; i + 8 <= count; i += 8) {
      const d0 = i64x2.sub(v128.and(v128.load(from), keep), flags);
      const d1 = i64x2.sub(v128.and(v128.load(from, 16), keep), flags);
      const d2 = i64x2.sub(v128.and(v128.load(from, 32), keep), flags);
      const d3 = i64x2.sub(v128.and(v128.load(from, 48), keep), flags);
      const low = v128.or(v128.or(d0, i64x2.sub(last, d0)), v128.or(d1, i64x2.sub(last, d1)));
      const high = v128.or(v128.or(d2, i64x2.sub(last, d2)), v128.or(d3, i64x2.sub(last, d3)));
      if (v128.any_true(v128.and(v128.or(low, high), wrong))) return i;
      if (rsh != NO_FILL) {
        const m0 = v128.and(d0, rw);
        const m1 = v128.and(d1, rw);
        const m2 = v128.and(d2, rw);
        const m3 = v128.and(d3, rw);
        const w0 = i64x2.shr_u(rsh < 2 ? v128.xor(d0, m0) : d0, rsh);
        const w1 = i64x2.shr_u(rsh < 2 ? v128.xor(d1, m1) : d1, rsh);
        const w2 = i64x2.shr_u(rsh < 2 ? v128.xor(d2, m2) : d2, rsh);
        const w3 = i64x2.shr_u(rsh < 2 ? v128.xor(d3, m3) : d3, rsh);
        v128.store(to, i64x2.add(i64x2.add(w0, c), v128.and(i64x2.eq(m0, rw), delta)));
        v128.store(to, i64x2.add(i64x2.add(w1, c), v128.and(i64x2.eq(m1, rw), delta)), 16);
        v128.store(to, i64x2.add(i64x2.add(w2, c), v128.and(i64x2.eq(m2, rw), delta)), 32);
        v128.store(to, i64x2.add(i64x2.add(w3, c), v128.and(i64x2.eq(m3, rw), delta)), 48);
        to += 64;
      }
      from += 64;
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

@inline
function sparse(req: u32, from: u32, to: u32, count: u32, rsh: u32): u32 {
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
    for (; i + 4 <= count; i += 4) {
      const e0 = v128.load(from);
      const e1 = v128.load(from, 16);
      const none0 = i64x2.eq(v128.and(e0, notNone), i64x2.splat(0));
      const none1 = i64x2.eq(v128.and(e1, notNone), i64x2.splat(0));
      // In the lanes that are none, d = 0 is good, and makes the word C.
      const d0 = v128.andnot(i64x2.sub(v128.and(e0, keep), flags), none0);
      const d1 = v128.andnot(i64x2.sub(v128.and(e1, keep), flags), none1);
      const bad = v128.or(v128.or(d0, i64x2.sub(last, d0)), v128.or(d1, i64x2.sub(last, d1)));
      if (v128.any_true(v128.and(bad, wrong))) return passedSparse(req, i, counts);
      counts = i64x2.add(counts, i64x2.add(none0, none1));
      if (rsh != NO_FILL) {
        const m0 = v128.and(d0, rw);
        const m1 = v128.and(d1, rw);
        const w0 = i64x2.shr_u(rsh < 2 ? v128.xor(d0, m0) : d0, rsh);
        const w1 = i64x2.shr_u(rsh < 2 ? v128.xor(d1, m1) : d1, rsh);
        const x0 = i64x2.add(v128.and(i64x2.eq(m0, rw), delta), v128.and(none0, noneLessC));
        const x1 = i64x2.add(v128.and(i64x2.eq(m1, rw), delta), v128.and(none1, noneLessC));
        v128.store(to, i64x2.add(i64x2.add(w0, c), x0));
        v128.store(to, i64x2.add(i64x2.add(w1, c), x1), 16);
        to += 32;
      }
      from += 32;
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
