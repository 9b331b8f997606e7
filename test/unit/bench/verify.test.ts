/** The comparisons that stand between an output and its time. */
import { expect, it } from 'vitest';
import { differingWord, wordOffPattern } from '../../../dist/bench/verify.js';

function halves(words: readonly bigint[]): Uint32Array {
  return new Uint32Array(BigUint64Array.from(words).buffer);
}

it('finds the first word that differs, in either half', () => {
  expect(differingWord(halves([1n, 2n, 3n]), halves([1n, 2n, 3n]))).toBe(-1);
  expect(differingWord(halves([1n, 2n, 3n]), halves([1n, 4n, 5n]))).toBe(1);
  expect(differingWord(halves([1n, 2n | (1n << 40n), 3n]), halves([1n, 2n, 3n]))).toBe(1);
  expect(() => differingWord(halves([1n]), halves([1n, 2n]))).toThrow(RangeError);
});

it('knows the words of frames in a row, across 2^32 and with flags', () => {
  for (const firstPfn of [0n, 2n ** 32n - 2n, 2n ** 36n - 2n]) {
    for (const pfnShift of [0n, 12n]) {
      const flagsLo = pfnShift === 0n ? 0 : 3;
      const words = Array.from({ length: 5 }, (_, i) => ((firstPfn + BigInt(i) + 4n) << pfnShift) | (1n << 63n) | BigInt(flagsLo));
      const pattern = { flagsLo, flagsHi: 0x80000000, firstPfn: Number(firstPfn), pfnShift: Number(pfnShift) };
      expect(wordOffPattern(halves(words), pattern, 4), `pfn ${firstPfn} << ${pfnShift}`).toBe(-1);
      words[3] = (words[3] as bigint) ^ (1n << 33n);
      expect(wordOffPattern(halves(words), pattern, 4)).toBe(3);
      expect(wordOffPattern(halves(words), pattern, 3)).toBe(0);
    }
  }
});
