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
  const mask = load<u64>(req, REQ_FLAGS_MASK);
  const preset = load<u64>(req, REQ_DEFAULT);
  const everyFault = (preset & load<u64>(req, REQ_REQ_FAULT)) != 0;
  const everyWrite = (preset & load<u64>(req, REQ_REQ_WRITE)) != 0;
  if (everyFault && (ask == ASK_FAULT || everyWrite)) return 0;
  // A word without these bits is quiet; one with them is, too, when it asks for write but not for the page.
  const loud = mask & (ask == ASK_FAULT || everyWrite ? load<u64>(req, REQ_REQ_FAULT) : load<u64>(req, REQ_REQ_WRITE));
  let i: u32 = 0;
  while (i < count) {
    if (ASC_FEATURE_SIMD) {
      const quiet = quietBlocks(at, count - i, loud);
      i += quiet;
      at += quiet << 3;
    }
    for (const end = min(i + 16, count); i < end; i++) {
      if (asksOf(req, (load<u64>(at) & mask) | preset) & ask) return i;
      at += 8;
    }
  }
  return i;
}

/** How many of `count` words, from the first on and in blocks of 16, have no bit of `loud`. */
function quietBlocks(at: u32, count: u32, loud: u64): u32 {
  let i: u32 = 0;
  for (; i + 16 <= count; i += 16) {
    const low = v128.or(v128.or(v128.load(at), v128.load(at, 16)), v128.or(v128.load(at, 32), v128.load(at, 48)));
    const high = v128.or(v128.or(v128.load(at, 64), v128.load(at, 80)), v128.or(v128.load(at, 96), v128.load(at, 112)));
    if (v128.any_true(v128.and(v128.or(low, high), i64x2.splat(loud)))) break;
    at += 128;
  }
  return i;
}
