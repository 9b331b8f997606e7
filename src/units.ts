/**
 * Page numbers and sizes. The one place where numbers of pages are taken apart.
 *
 * JavaScript's bitwise operators cut to 32 bits, and page numbers have up to 45: these helpers use arithmetic, and
 * elsewhere a bitwise operator on a page number is a lint error. Byte addresses are bigint at the facade only.
 */
import { PAGE_SHIFT, PMD_PAGES, PUD_PAGES } from './abi.ts';

declare const VPN: unique symbol;
declare const PFN: unique symbol;
/** virtual page number, < 2^45. A plain number may stand for one, a Pfn may not. */
export type Vpn = number & { readonly [VPN]?: true };
/** page frame number, < 2^40 */
export type Pfn = number & { readonly [PFN]?: true };

export const KiB = 1024;
export const MiB = 1024 * KiB;
export const GiB = 1024 * MiB;
export const TiB = 1024 * GiB;

/** Leaf sizes by their usual names, and the level and pages of each. */
export const PAGE_SIZES = { '4K': { level: 0, npages: 1, order: 0 }, '2M': { level: 1, npages: PMD_PAGES, order: 9 }, '1G': { level: 2, npages: PUD_PAGES, order: 18 } } as const;
export type PageSize = keyof typeof PAGE_SIZES;
export const LEVEL_SIZES: readonly PageSize[] = ['4K', '2M', '1G'];

/** Pages under one entry of `level`. */
export function pagesOfLevel(level: number): number {
  return 2 ** (9 * level);
}

/** `n` lowered to a multiple of `step`, a power of two. A division, not `%`: beyond 31 bits the remainder of a float costs 25 ns, ten times as much. */
export function alignDown(n: number, step: number): number {
  return Math.floor(n / step) * step;
}

export function alignUp(n: number, step: number): number {
  return alignDown(n + step - 1, step);
}

/** Pages that hold `length` bytes. */
export function pagesFor(length: number): number {
  return Math.ceil(length / 4096);
}

export function vpnOf(addr: bigint): Vpn {
  return Number(addr >> BigInt(PAGE_SHIFT));
}

export function addrOf(vpn: Vpn): bigint {
  return BigInt(vpn) << BigInt(PAGE_SHIFT);
}

/** The page number inside a table entry given as two halves: bits 12..51. */
export function pfnOfEntry(lo: number, hi: number): Pfn {
  return (hi & 0xfffff) * 0x100000 + (lo >>> 12);
}

export function hex(n: number | bigint): string {
  return `0x${n.toString(16)}`;
}
