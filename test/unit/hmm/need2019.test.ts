/** The 2019 API's words: what a request and an entry come to, and how words are written and read. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { NEED_FAULT, NEED_WRITE, checkFormat, cpuFlags, decodePfn, encodePfn, needFault, needFaultOfAny, type PfnFormat, type PfnRequests } from '../../../dist/hmm/index.js';

/** Flags of three drivers of the era, and one that nobody would choose. */
const DRIVERS: readonly (readonly [string, PfnFormat])[] = [
  ['low bits, frame at 12', { flags: [1n, 2n, 0n], values: [0xffff_ffff_ffff_fffen, 0n, 0xffff_ffff_ffff_fffcn], pfnShift: 12 }],
  ['low bits with device memory', { flags: [1n, 2n, 4n], values: [0x20n, 0n, 0x20n], pfnShift: 8 }],
  ['high bits, frame at 0', { flags: [1n << 63n, 1n << 62n, 1n << 61n], values: [1n << 60n, 0n, 1n << 59n], pfnShift: 0 }],
  ['flags of two bits each', { flags: [0x3n, 0xcn, 0x30n], values: [0x40n, 0x80n, 0xc0n], pfnShift: 20 }],
];

/** [asks VALID, there DEVICE_PRIVATE, asks DEVICE_PRIVATE, there VALID, asks WRITE, there WRITE] -> [fault, write]; null: either. */
type Bit = 0 | 1 | null;
const TABLE: readonly (readonly [readonly [Bit, Bit, Bit, Bit, Bit, Bit], readonly [Bit, Bit]])[] = [
  [[0, null, null, null, null, null], [0, 0]],
  [[1, 1, 0, null, null, null], [0, 0]],
  [[1, 1, 1, null, 0, null], [1, 0]],
  [[1, 1, 1, null, 1, null], [1, 1]],
  [[1, 0, null, 0, 0, null], [1, 0]],
  [[1, 0, null, 1, 0, null], [0, 0]],
  [[1, 0, null, null, 1, 0], [1, 1]],
  [[1, 0, null, 1, 1, 1], [0, 0]],
];

function both(bit: Bit): readonly (0 | 1)[] {
  return bit === null ? [0, 1] : [bit];
}

/** Every row spelt out. */
const CASES = TABLE.flatMap(([[a, b, c, d, e, f], want]) =>
  both(a).flatMap((askValid) => both(b).flatMap((isPrivate) => both(c).flatMap((askPrivate) => both(d).flatMap((isValid) => both(e).flatMap((askWrite) => both(f).map((isWrite) => ({ askValid, isPrivate, askPrivate, isValid, askWrite, isWrite, want }))))))),
);

describe.each(DRIVERS)('need-fault of %s', (_name, format) => {
  const [valid, write, devicePrivate] = format.flags;
  const possible = CASES.filter(({ isPrivate, askPrivate }) => devicePrivate !== 0n || (isPrivate === 0 && askPrivate === 0));

  test('covers every combination once', () => {
    expect(CASES.length).toBe(new Set(CASES.map((one) => JSON.stringify({ ...one, want: 0 }))).size);
    expect(CASES.length).toBe(32 + 8 + 4 + 4 + 4 + 4 + 4 + 2);
  });

  test.each(possible)('asks V$askValid P$askPrivate W$askWrite, there V$isValid P$isPrivate W$isWrite', ({ askValid, isPrivate, askPrivate, isValid, askWrite, isWrite, want }) => {
    const asked = (askValid ? valid : 0n) | (askPrivate ? devicePrivate : 0n) | (askWrite ? write : 0n);
    const there = (isValid ? valid : 0n) | (isPrivate ? devicePrivate : 0n) | (isWrite ? write : 0n);
    const need = (want[0] ? NEED_FAULT : 0) | (want[1] ? NEED_WRITE : 0);
    expect(needFault({ ...format, defaultFlags: asked, pfnFlagsMask: 0n }, 0n, there), 'as default flags').toBe(need);
    expect(needFault({ ...format, defaultFlags: 0n, pfnFlagsMask: 2n ** 64n - 1n }, asked, there), 'as flags of the word').toBe(need);
    expect(needFault({ ...format, defaultFlags: 0n, pfnFlagsMask: 0n }, asked, there), 'masked out').toBe(0);
  });
});

describe('requests', () => {
  const format = (DRIVERS[1] as (typeof DRIVERS)[number])[1];

  test('are the masked word and the default together', () => {
    const requests: PfnRequests = { ...format, defaultFlags: 1n, pfnFlagsMask: 2n };
    expect(needFault(requests, 0n, 0n)).toBe(NEED_FAULT);
    expect(needFault(requests, 2n, 0n)).toBe(NEED_FAULT | NEED_WRITE);
    expect(needFault({ ...requests, defaultFlags: 2n, pfnFlagsMask: 1n }, 0n, 0n)).toBe(0);
    expect(needFault({ ...requests, defaultFlags: 2n, pfnFlagsMask: 1n }, 1n, 0n)).toBe(NEED_FAULT | NEED_WRITE);
  });

  test('of a chunk are those of any page of it', () => {
    fc.assert(
      fc.property(fc.array(fc.bigInt(0n, 7n), { maxLength: 40 }), fc.bigInt(0n, 7n), fc.bigInt(0n, 7n), fc.constantFrom(0n, 1n, 2n, 3n), (words, mask, defaultFlags, there) => {
        const requests: PfnRequests = { ...format, defaultFlags, pfnFlagsMask: mask };
        const each = words.map((word) => needFault(requests, word, there));
        const any = needFaultOfAny(requests, BigUint64Array.from(words), 0, words.length, there);
        if (words.length === 0) return;
        expect(any).toBe(each.reduce((a, b) => a | b, 0));
      }),
    );
  });

  test('of a chunk are looked for inside its bounds only', () => {
    const requests: PfnRequests = { ...format, defaultFlags: 0n, pfnFlagsMask: 7n };
    const words = BigUint64Array.of(3n, 0n, 0n, 3n);
    expect(needFaultOfAny(requests, words, 1, 3, 0n)).toBe(0);
    expect(needFaultOfAny(requests, words, 1, 4, 0n)).toBe(NEED_FAULT | NEED_WRITE);
  });
});

describe('words', () => {
  test.each(DRIVERS)('of %s read back as they were written', (_name, format) => {
    for (const pfn of [0, 1, 0x12345, 2 ** 31, 2 ** 32 - 1, 2 ** 36 - 1]) {
      for (const writable of [false, true]) {
        const word = encodePfn(format, pfn, writable);
        expect(word & cpuFlags(format, writable)).toBe(cpuFlags(format, writable));
        // Flags above the frame are part of what is shifted down, as in the kernel: its callers put them below.
        expect((decodePfn(format, word) as bigint) & 0xff_ffff_ffffn).toBe(BigInt(pfn));
      }
    }
  });

  test.each(DRIVERS)('of %s: values and what is not VALID hold no frame', (_name, format) => {
    for (const value of format.values) expect(decodePfn(format, value)).toBeNull();
    expect(decodePfn(format, 0x1_2345_6000n & ~format.flags[0])).toBeNull();
  });

  const good: PfnFormat = { flags: [1n, 2n, 4n], values: [8n, 0n, 8n], pfnShift: 12 };
  test.each<readonly [string, PfnFormat, RegExp]>([
    ['a flag of more than 64 bits', { ...good, flags: [1n << 64n, 2n, 4n] }, /0x10000000000000000 is not an unsigned word/],
    ['a negative value', { ...good, values: [-1n, 0n, 8n] }, /not an unsigned word/],
    ['no VALID', { ...good, flags: [0n, 2n, 4n] }, /flags\[VALID\] is 0/],
    ['VALID and WRITE that share a bit', { ...good, flags: [1n, 3n, 4n] }, /flags share bits/],
    ['NONE that is also ERROR', { ...good, values: [8n, 8n, 16n] }, /values\[NONE\] is also values\[ERROR\]/],
    ['NONE that is also SPECIAL', { ...good, values: [16n, 8n, 8n] }, /values\[NONE\] is also values\[SPECIAL\]/],
    ['a frame beyond the word', { ...good, pfnShift: 64 }, /pfnShift 64/],
    ['half a bit', { ...good, pfnShift: 0.5 }, /pfnShift 0.5/],
  ])('%s is refused', (_name, format, message) => {
    expect(() => checkFormat('hmm_range', format)).toThrow(RangeError);
    expect(() => checkFormat('hmm_range', format)).toThrow(message);
  });

  test('ERROR and SPECIAL may be one value', () => {
    expect(() => checkFormat('hmm_range', good)).not.toThrow();
  });
});
