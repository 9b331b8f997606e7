/** Where the steps write, punch and cut, for a file of any length. Bytes from its start. */
import { MiB, alignDown, pagesFor } from '../../units.ts';
import type { WrittenRange } from './data.ts';

const MARK_BYTES = 16;

export interface Places {
  readonly device: readonly WrittenRange[];
  readonly cpu: readonly WrittenRange[];
  readonly atomic: WrittenRange;
  /** taken away in the middle, whole pages */
  readonly punch: { readonly offset: number; readonly length: number };
  /** the size it is cut to: about half, where it can not on a page's edge */
  readonly halfBytes: number;
}

/** `mappedBytes`: the file's, rounded up to whole leaves of `leafBytes`. */
export function placesFor(length: number, mappedBytes: number, leafBytes: number): Places {
  const n = Math.min(MARK_BYTES, length);
  const at = (offset: number): number => Math.max(0, Math.min(Math.floor(offset), length - n));
  const mark = (by: WrittenRange['by'], offset: number): WrittenRange => ({ by, offset: at(offset), length: n });
  const unit = punchUnit(length, leafBytes);
  const middle = alignDown(Math.floor(length / 2), unit);
  return {
    // at the start, over a page's edge in the middle, at the very end
    device: [mark('device', 0), mark('device', alignDown(Math.floor(length / 2), 4096) - n / 2), mark('device', length)],
    cpu: [mark('cpu', 64), mark('cpu', alignDown(Math.floor(length / 3), 4096) + 100), mark('cpu', length - 2 * n)],
    atomic: { by: 'atomic', offset: alignDown(Math.max(0, Math.floor(length / 4) - 8), 8), length: 8 },
    punch: { offset: middle, length: Math.min(unit, mappedBytes - middle) },
    // Just below what was punched, so that the cut goes through bytes that are there.
    halfBytes: pagesFor(mappedBytes) === 1 ? 0 : Math.max(middle - 1000, Math.min(3000, length)),
  };
}

/** A leaf, of 1G ones 2 MiB; a page where the file has not enough of them for a middle. */
function punchUnit(length: number, leafBytes: number): number {
  const unit = Math.min(leafBytes, 2 * MiB);
  return length >= 4 * unit ? unit : 4096;
}
