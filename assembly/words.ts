/**
 * Runs of 64-bit output words: fill them, and look at what they ask for before they are overwritten.
 */
import { REQ_DEFAULT, REQ_FLAGS_MASK, REQ_REQ_FAULT, REQ_REQ_WRITE } from '../src/abi';

/** What a page's request may ask: the page, and beyond that (never alone) write access. */
export const ASK_FAULT: u32 = 1;
export const ASK_WRITE: u32 = 2;

/** Writes `count` times `word`. */
export function fillWords(at: u32, count: u32, word: u64): void {
  const end = at + (count << 3);
  if (ASC_FEATURE_SIMD) {
    const pair = i64x2.splat(word);
    const end64 = at + ((count << 3) & ~63);
    for (; at != end64; at += 64) {
      v128.store(at, pair);
      v128.store(at, pair, 16);
      v128.store(at, pair, 32);
      v128.store(at, pair, 48);
    }
  }
  for (; at != end; at += 8) store<u64>(at, word);
}

/** Writes `word`, `word + step`, `word + 2 * step`, ... */
export function fillSequence(at: u32, count: u32, word: u64, step: u64): void {
  const end = at + (count << 3);
  if (ASC_FEATURE_SIMD) {
    const end64 = at + ((count << 3) & ~63);
    let a = i64x2.replace_lane(i64x2.splat(word), 1, word + step);
    let b = i64x2.add(a, i64x2.splat(step << 1));
    let c = i64x2.add(b, i64x2.splat(step << 1));
    let d = i64x2.add(c, i64x2.splat(step << 1));
    const stride = i64x2.splat(step << 3);
    for (; at != end64; at += 64) {
      v128.store(at, a);
      v128.store(at, b, 16);
      v128.store(at, c, 32);
      v128.store(at, d, 48);
      a = i64x2.add(a, stride);
      b = i64x2.add(b, stride);
      c = i64x2.add(c, stride);
      d = i64x2.add(d, stride);
    }
    word += step * (count & ~7);
  }
  for (; at != end; at += 8) {
    store<u64>(at, word);
    word += step;
  }
}

/** ASK_* bits of one request. */
@inline
export function asksOf(req: u32, request: u64): u32 {
  if ((request & load<u64>(req, REQ_REQ_FAULT)) == 0) return 0;
  return (request & load<u64>(req, REQ_REQ_WRITE)) == 0 ? ASK_FAULT : ASK_FAULT | ASK_WRITE;
}

/** How many of `count` request words at `at`, from the first on, do not ask for `ask`. */
export function quietPrefix(req: u32, at: u32, count: u32, ask: u32): u32 {
  let i: u32 = 0;
  const mask = load<u64>(req, REQ_FLAGS_MASK);
  const preset = load<u64>(req, REQ_DEFAULT);
  if (ASC_FEATURE_SIMD) {
    const masks = v128.load_splat<u64>(req, REQ_FLAGS_MASK);
    const presets = v128.load_splat<u64>(req, REQ_DEFAULT);
    const fault = v128.load_splat<u64>(req, REQ_REQ_FAULT);
    // Asking for write matters where the page is asked for too; with ask = fault the second test is the first again.
    const other = ask == ASK_WRITE ? v128.load_splat<u64>(req, REQ_REQ_WRITE) : fault;
    const zero = i64x2.splat(0);
    for (; i + 8 <= count; i += 8) {
      const a = v128.or(v128.and(v128.load(at), masks), presets);
      const b = v128.or(v128.and(v128.load(at, 16), masks), presets);
      const c = v128.or(v128.and(v128.load(at, 32), masks), presets);
      const d = v128.or(v128.and(v128.load(at, 48), masks), presets);
      // A lane is quiet when either half of the question is answered by zero.
      const ab = v128.and(quiet(a, fault, other, zero), quiet(b, fault, other, zero));
      const cd = v128.and(quiet(c, fault, other, zero), quiet(d, fault, other, zero));
      if (!i64x2.all_true(v128.and(ab, cd))) break;
      at += 64;
    }
  }
  for (; i < count; i++) {
    if (asksOf(req, (load<u64>(at) & mask) | preset) & ask) break;
    at += 8;
  }
  return i;
}

@inline
function quiet(requests: v128, fault: v128, other: v128, zero: v128): v128 {
  return v128.or(i64x2.eq(v128.and(requests, fault), zero), i64x2.eq(v128.and(requests, other), zero));
}
