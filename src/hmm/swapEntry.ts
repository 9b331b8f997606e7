/**
 * What a range walk makes of an entry that is neither empty nor present (mm/hmm.c: hmm_vma_handle_pte).
 *
 * The owner of device-private memory gets its own pages as they are, whatever it asked for: V, and W where the entry is writable.
 * For who asked, the others are faulted, waited for (a migration), or cannot be had (poison); who did not ask gets nothing.
 */
import type { Platform } from '../memremap/index.ts';
import { SWP_HWPOISON, isDeviceExclusiveType, isDevicePrivateType, isMigrationType, isWritableType, swapType } from '../pgtable/index.ts';
import { swapPfn } from '../mm/index.ts';
import type { Pfn } from '../units.ts';
import { HMM_PFN_VALID, HMM_PFN_WRITE } from './pfnWord.ts';

export type SwapVerdict =
  | { readonly kind: 'own'; readonly word: bigint }
  | { readonly kind: 'fault' }
  | { readonly kind: 'wait'; readonly pfn: Pfn }
  | { readonly kind: 'refuse' };

const FAULT: SwapVerdict = { kind: 'fault' };
const REFUSE: SwapVerdict = { kind: 'refuse' };

export function judgeSwapEntry(platform: Platform, owner: object | null, lo: number, hi: number): SwapVerdict {
  const type = swapType(hi);
  const pfn = swapPfn(lo, hi);
  if (isDevicePrivateType(type)) {
    if (owner === null || platform.pgmaps.find(pfn)?.owner !== owner) return platform.bugs.has('private-of-other-refused') ? REFUSE : FAULT;
    return { kind: 'own', word: BigInt(pfn) | HMM_PFN_VALID | (isWritableType(type) ? HMM_PFN_WRITE : 0n) };
  }
  if (type < SWP_HWPOISON || isDeviceExclusiveType(type)) return FAULT;
  return isMigrationType(type) ? { kind: 'wait', pfn } : REFUSE;
}
