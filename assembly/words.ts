/**
 * Runs of 64-bit output words: fill them, and look at what they ask for before they are overwritten.
 */
import { PTE_RW, REQ_DEFAULT, REQ_FLAGS_MASK, REQ_REQ_FAULT, REQ_REQ_WRITE, REQUEST_STRIDE } from '../src/abi';
import { ACCESS_BITS, isNone } from './entry';

// In the scratch, of which template.ts has the beginning and runs.ts the end.
const S_LOUD = REQUEST_STRIDE - 40;
const S_ENTRY = REQUEST_STRIDE - 32;

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

/**
 * How many of `count` pages, with their ptes at `from` and request words at `at`, from the first on, have what they ask for: with
 * ASK_FAULT no hole asks for its page, with ASK_WRITE no entry without RW asks for write access.
 */
export function metPrefix(req: u32, from: u32, at: u32, count: u32, ask: u32): u32 {
  const mask = load<u64>(req, REQ_FLAGS_MASK);
  const preset = load<u64>(req, REQ_DEFAULT);
  const everyWrite = (preset & load<u64>(req, REQ_REQ_WRITE)) != 0;
  // Bits of which a word has one when it may ask; where all ask, each is looked at.
  const loud = mask & (ask == ASK_FAULT || everyWrite ? load<u64>(req, REQ_REQ_FAULT) : load<u64>(req, REQ_REQ_WRITE));
  const everyFault = (preset & load<u64>(req, REQ_REQ_FAULT)) != 0;
  let i: u32 = 0;
  while (i < count) {
    if (ASC_FEATURE_SIMD) {
      if (!everyFault || (ask == ASK_WRITE && !everyWrite)) {
        const met = ask == ASK_FAULT ? metBlocks(req, from, at, count - i, loud, true) : metBlocks(req, from, at, count - i, loud, false);
        i += met;
        from += met << 3;
        at += met << 3;
      }
    }
    for (const end = min(i + 16, count); i < end; i++) {
      const entry = load<u64>(from);
      if (ask == ASK_FAULT ? isNone(entry) : (entry & PTE_RW) == 0) {
        if (asksOf(req, (load<u64>(at) & mask) | preset) & ask) return i;
      }
      from += 8;
      at += 8;
    }
  }
  return i;
}

/** metPrefix in blocks of 16, by the bits `loud`. */
@inline
function metBlocks(req: u32, from: u32, at: u32, count: u32, loud: u64, holes: bool): u32 {
  store<u64>(req, loud, S_LOUD);
  store<u64>(req, holes ? ~(<u64>ACCESS_BITS) : PTE_RW, S_ENTRY);
  const louds = v128.load_splat<u64>(req, S_LOUD);
  const bits = v128.load_splat<u64>(req, S_ENTRY);
  let i: u32 = 0;
  for (; i + 16 <= count; i += 16) {
    const a = v128.or(unmet(v128.load(from), v128.load(at), bits, holes), unmet(v128.load(from, 16), v128.load(at, 16), bits, holes));
    const b = v128.or(unmet(v128.load(from, 32), v128.load(at, 32), bits, holes), unmet(v128.load(from, 48), v128.load(at, 48), bits, holes));
    const c = v128.or(unmet(v128.load(from, 64), v128.load(at, 64), bits, holes), unmet(v128.load(from, 80), v128.load(at, 80), bits, holes));
    const d = v128.or(unmet(v128.load(from, 96), v128.load(at, 96), bits, holes), unmet(v128.load(from, 112), v128.load(at, 112), bits, holes));
    if (v128.any_true(v128.and(v128.or(v128.or(a, b), v128.or(c, d)), louds))) break;
    from += 128;
    at += 128;
  }
  return i;
}

/** Two requests where their entries have none of `bits`, else nothing. */
@inline
function unmet(entry: v128, request: v128, bits: v128, holes: bool): v128 {
  const has = v128.and(entry, bits);
  return holes ? v128.and(request, i64x2.eq(has, i64x2.splat(0))) : v128.andnot(request, i64x2.eq(has, bits));
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
