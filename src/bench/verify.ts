/** Outputs are compared before anything is timed. Words are looked at as [lo, hi] halves: BigInts by the million would take longer than the bench. */

/** Index of the first 64-bit word in which the two differ, or -1. */
export function differingWord(words: Uint32Array, wanted: Uint32Array): number {
  if (words.length !== wanted.length) throw new RangeError(`differingWord: ${words.length} halves against ${wanted.length}`);
  for (let i = 0; i < words.length; i++) if (words[i] !== wanted[i]) return i >>> 1;
  return -1;
}

/** What the words of one run of frames must be: flags, and frame `firstPfn + i` at `pfnShift`. */
export interface WordPattern {
  readonly flagsLo: number;
  readonly flagsHi: number;
  readonly firstPfn: number;
  readonly pfnShift: number;
}

/** Index of the first word that is not `pattern`'s for its page, counted from `from`; or -1. */
export function wordOffPattern(words: Uint32Array, pattern: WordPattern, from = 0): number {
  const step = 2 ** pattern.pfnShift;
  for (let i = 0; i < words.length / 2; i++) {
    const frame = (pattern.firstPfn + from + i) * step;
    const lo = ((frame % 2 ** 32) | pattern.flagsLo) >>> 0;
    const hi = (Math.floor(frame / 2 ** 32) | pattern.flagsHi) >>> 0;
    if (words[2 * i] !== lo || words[2 * i + 1] !== hi) return i;
  }
  return -1;
}

/** The words of a contender against the walker's, as a refusal or null. */
export function differs(words: Uint32Array, wanted: Uint32Array): string | null {
  const at = differingWord(words, wanted);
  return at < 0 ? null : `differs at word ${at}`;
}
