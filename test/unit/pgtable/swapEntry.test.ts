import { describe, expect, test } from 'vitest';
import {
  SWP_DEVICE_WRITE, SWP_HWPOISON, SWP_PTE_MARKER, SWP_SWAP, isNone, isPresent, isSwapEntry, swapHi, swapLo, swapOffset, swapType,
} from '../../../dist/pgtable/index.js';

describe('entries of pages that are elsewhere', () => {
  const offsets = [0, 1, 511, 2 ** 23 - 1, 2 ** 23, 2 ** 31, 2 ** 32, 2 ** 36 - 1, 2 ** 40 - 1];
  test.each([SWP_SWAP, SWP_HWPOISON, SWP_DEVICE_WRITE, SWP_PTE_MARKER])('type %i keeps type and offset', (type) => {
    for (const offset of offsets) {
      const [lo, hi] = [swapLo(offset), swapHi(type, offset)];
      expect([swapType(hi), swapOffset(lo, hi)], `offset ${offset}`).toEqual([type, offset]);
    }
  });

  test('such an entry is neither empty nor present, at both levels that have them', () => {
    for (const offset of offsets) {
      const [lo, hi] = [swapLo(offset), swapHi(SWP_SWAP, offset)];
      expect([isNone(lo, hi), isPresent(0, lo), isPresent(1, lo), isSwapEntry(0, lo, hi), isSwapEntry(1, lo, hi)]).toEqual([false, false, false, true, true]);
    }
  });

  test('the offset is stored inverted, as arch/x86 does against L1TF', () => {
    expect([swapLo(0), swapHi(SWP_SWAP, 0)]).toEqual([0xfffffe00, 0x07ffffff]);
  });
});
