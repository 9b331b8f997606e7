/**
 * Words of the 2019 API and what they ask for (include/linux/hmm.h, mm/hmm.c: hmm_pte_need_fault, v5.2).
 *
 * Flags and special values are the driver's own: an entry is `pfn << pfnShift | flags[VALID] | …`, or one whole value of
 * `values`. As requests, flags of the words count where `pfnFlagsMask` has them, and `defaultFlags` always:
 *
 *   request = (word & pfnFlagsMask) | defaultFlags
 *
 * | asks VALID | there DEVICE_PRIVATE | asks it | there VALID | asks WRITE | there WRITE | needs          |
 * |------------|----------------------|---------|-------------|------------|-------------|----------------|
 * | no         |                      |         |             |            |             | nothing        |
 * | yes        | yes                  | no      |             |            |             | nothing        |
 * | yes        | yes                  | yes     |             | w          |             | fault, write w |
 * | yes        | no                   |         | no          | no         |             | fault          |
 * | yes        | no                   |         | yes         | no         |             | nothing        |
 * | yes        | no                   |         |             | yes        | no          | fault, write   |
 * | yes        | no                   |         | yes         | yes        | yes         | nothing        |
 *
 * The WASM walk decides the rows of present and empty entries by itself; this is the table for everything it stops at.
 */
import type { Pfn } from '../units.ts';

/** Places in `flags`. */
export const PFN_FLAG_VALID = 0;
export const PFN_FLAG_WRITE = 1;
export const PFN_FLAG_DEVICE_PRIVATE = 2;
/** Places in `values`. */
export const PFN_VALUE_ERROR = 0;
export const PFN_VALUE_NONE = 1;
export const PFN_VALUE_SPECIAL = 2;

/** How a driver wants its pages written down. */
export interface PfnFormat {
  /** VALID, WRITE, DEVICE_PRIVATE; 0 where the driver has no such flag */
  readonly flags: readonly [bigint, bigint, bigint];
  /** ERROR, NONE, SPECIAL; ERROR and SPECIAL may be one */
  readonly values: readonly [bigint, bigint, bigint];
  /** bit at which the frame number stands */
  readonly pfnShift: number;
}

/** Requests for a range. */
export interface PfnRequests extends PfnFormat {
  /** flags asked for of every page */
  readonly defaultFlags: bigint;
  /** flags of the words themselves that count */
  readonly pfnFlagsMask: bigint;
}

/** What `needFault` answers: bits. Write never comes alone. */
export const NEED_FAULT = 1;
export const NEED_WRITE = 2;

/** What the entry that is there says, in the driver's flags. */
export function cpuFlags(format: PfnFormat, writable: boolean): bigint {
  return writable ? format.flags[PFN_FLAG_VALID] | format.flags[PFN_FLAG_WRITE] : format.flags[PFN_FLAG_VALID];
}

/** NEED_ bits for a page whose word is `word` and whose entry says `there` (0: not valid). */
export function needFault(requests: PfnRequests, word: bigint, there: bigint): number {
  const { flags } = requests;
  const asked = (word & requests.pfnFlagsMask) | requests.defaultFlags;
  if ((asked & flags[PFN_FLAG_VALID]) === 0n) return 0;
  const write = (asked & flags[PFN_FLAG_WRITE]) !== 0n;
  if ((there & flags[PFN_FLAG_DEVICE_PRIVATE]) !== 0n) {
    if ((asked & flags[PFN_FLAG_DEVICE_PRIVATE]) === 0n) return 0;
    return write ? NEED_FAULT | NEED_WRITE : NEED_FAULT;
  }
  if (write && (there & flags[PFN_FLAG_WRITE]) === 0n) return NEED_FAULT | NEED_WRITE;
  return (there & flags[PFN_FLAG_VALID]) === 0n ? NEED_FAULT : 0;
}

/** The same for a chunk whose pages share one entry: what any page of `words[from, to)` needs, the whole chunk needs. */
export function needFaultOfAny(requests: PfnRequests, words: BigUint64Array, from: number, to: number, there: bigint): number {
  if (requests.pfnFlagsMask === 0n) return needFault(requests, 0n, there);
  let need = 0;
  for (let i = from; i < to && (need & NEED_WRITE) === 0; i++) need |= needFault(requests, words[i] as bigint, there);
  return need;
}

/** The word of a page. Sets VALID whatever the entry says, as the kernel's encoder does. */
export function encodePfn(format: PfnFormat, pfn: Pfn, writable: boolean): bigint {
  return BigInt.asUintN(64, BigInt(pfn) << BigInt(format.pfnShift)) | cpuFlags(format, writable);
}

/** The frame number in a word; null for NONE, ERROR, SPECIAL and what is not VALID. */
export function decodePfn(format: PfnFormat, word: bigint): bigint | null {
  if (format.values.includes(word) || (word & format.flags[PFN_FLAG_VALID]) === 0n) return null;
  return word >> BigInt(format.pfnShift);
}

/** Throws RangeError for a format that no driver could read back. */
export function checkFormat(what: string, format: PfnFormat): void {
  const { flags, values, pfnShift } = format;
  for (const word of [...flags, ...values]) {
    if (BigInt.asUintN(64, word) !== word) throw new RangeError(`${what}: 0x${word.toString(16)} is not an unsigned word of 64 bits`);
  }
  if (!Number.isInteger(pfnShift) || pfnShift < 0 || pfnShift > 63) throw new RangeError(`${what}: pfnShift ${pfnShift} is not one of 0 to 63`);
  const [valid, write, devicePrivate] = flags;
  if (valid === 0n) throw new RangeError(`${what}: flags[VALID] is 0`);
  if ((valid & write) !== 0n || ((valid | write) & devicePrivate) !== 0n) throw new RangeError(`${what}: flags share bits`);
  const [error, none, special] = values;
  if (none === error || none === special) throw new RangeError(`${what}: values[NONE] is also values[${none === error ? 'ERROR' : 'SPECIAL'}]`);
}
