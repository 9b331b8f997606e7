/**
 * What an entry lets a mirror have of a page: its frame, and whether it may write.
 *
 * A chunk is 2 MiB of an address space as the page table has it: a page of ptes, or the leaf over it. Two chunks are compared page by
 * page, so that a leaf that was split into pages with the same frames is found to be the same. Nothing here moves a table's cursor:
 * it may be called in the middle of what others do.
 */
import { LEVEL_PMD, LEVEL_PTE, LEVEL_PUD, PMD_PAGES, PTE_PRESENT, PTE_RW } from '../abi.ts';
import { swapPfn } from '../mm/index.ts';
import { framePfn, isDeviceExclusiveType, isDevicePrivateType, isLeaf, isSwapEntry, isWritableType, swapType, type PageTable } from '../pgtable/index.ts';
import { alignDown, pagesOfLevel, type Pfn, type Vpn } from '../units.ts';
import type { Entry } from './finding.ts';

export const PTES_WORDS = PMD_PAGES * 2;

/** The leaf over a chunk: of 2 MiB, or one that is larger. */
export interface LeafChunk {
  readonly level: number;
  readonly lo: number;
  readonly hi: number;
  /** frame of the chunk's first page */
  readonly pfn: Pfn;
}

/** Halves of 512 ptes, or a leaf. */
export type Chunk = Uint32Array | LeafChunk;

/** The chunk around `vpn` as it is now: of ptes, a view that changes as they do. Null where there is nothing in it. */
export function chunkNow(pt: PageTable, vpn: Vpn): Chunk | null {
  const { arena } = pt;
  const found = arena.walker.descend(pt.root, pt.levels, vpn) >>> 0;
  const level = found % 8;
  const offset = found - level;
  if (level === LEVEL_PTE) {
    const base = (offset - (vpn % PMD_PAGES) * 8) >>> 2;
    return arena.u32.subarray(base, base + PTES_WORDS);
  }
  const lo = arena.u32[offset >>> 2] as number;
  if (!isLeaf(level, lo) || level > LEVEL_PUD) return null;
  const hi = arena.u32[(offset >>> 2) + 1] as number;
  const start = alignDown(vpn, PMD_PAGES);
  return { level, lo, hi, pfn: framePfn(lo, hi) + (start - alignDown(start, pagesOfLevel(level))) };
}

/** Frame of page `i` of the chunk for who may read it, be it in a device's own memory; -1 where a mirror may have nothing. */
export function frameOf(chunk: Chunk | null, i: number): Pfn | -1 {
  if (chunk === null) return -1;
  if (!(chunk instanceof Uint32Array)) return chunk.pfn + i;
  const lo = chunk[i * 2] as number;
  const hi = chunk[i * 2 + 1] as number;
  if ((lo & PTE_PRESENT) !== 0) return framePfn(lo, hi);
  return isSwapEntry(LEVEL_PTE, lo, hi) && isDevicePrivateType(swapType(hi)) ? swapPfn(lo, hi) : -1;
}

/** The same for the device that has it: the frame of a page that is exclusively its own, too. */
export function frameOfOwn(chunk: Chunk | null, i: number): Pfn | -1 {
  const frame = frameOf(chunk, i);
  if (frame >= 0 || !(chunk instanceof Uint32Array)) return frame;
  const lo = chunk[i * 2] as number;
  const hi = chunk[i * 2 + 1] as number;
  return isSwapEntry(LEVEL_PTE, lo, hi) && isDeviceExclusiveType(swapType(hi)) ? swapPfn(lo, hi) : -1;
}

export function writableAt(chunk: Chunk | null, i: number): boolean {
  if (chunk === null) return false;
  if (!(chunk instanceof Uint32Array)) return (chunk.lo & PTE_RW) !== 0;
  const lo = chunk[i * 2] as number;
  if ((lo & PTE_PRESENT) !== 0) return (lo & PTE_RW) !== 0;
  const hi = chunk[i * 2 + 1] as number;
  return isSwapEntry(LEVEL_PTE, lo, hi) && isWritableType(swapType(hi));
}

/** The entry of page `i`: its level and halves. */
export function entryAt(chunk: Chunk | null, i: number): Entry {
  if (chunk === null) return { level: LEVEL_PMD, lo: 0, hi: 0 };
  if (!(chunk instanceof Uint32Array)) return chunk;
  return { level: LEVEL_PTE, lo: chunk[i * 2] as number, hi: chunk[i * 2 + 1] as number };
}

/** Visits the chunks of a table in which there is anything, by their first page. */
export function forEachChunk(pt: PageTable, visit: (base: Vpn, chunk: Chunk) => void): void {
  const { walker } = pt.arena;
  for (let vpn = walker.nextEntry(pt.root, pt.levels, 0, pt.endVpn, LEVEL_PMD); vpn >= 0; ) {
    const base = alignDown(vpn, PMD_PAGES);
    const chunk = chunkNow(pt, vpn);
    if (chunk !== null) visit(base, chunk);
    const next = base + PMD_PAGES;
    vpn = next >= pt.endVpn ? -1 : walker.nextEntry(pt.root, pt.levels, next, pt.endVpn, LEVEL_PMD);
  }
}

/** Visits runs of frames in a row: pages `[i, i + npages)` of the chunk at `pfn`. */
export function forEachRun(chunk: Chunk, visit: (i: number, npages: number, pfn: Pfn) => void): void {
  if (!(chunk instanceof Uint32Array)) {
    visit(0, PMD_PAGES, chunk.pfn);
    return;
  }
  for (let i = 0; i < PMD_PAGES; ) {
    if (((chunk[i * 2] as number) & PTE_PRESENT) === 0) {
      i++;
      continue;
    }
    const first = i;
    const pfn = frameOf(chunk, i);
    for (i++; i < PMD_PAGES && ((chunk[i * 2] as number) & PTE_PRESENT) !== 0 && frameOf(chunk, i) === pfn + (i - first); ) i++;
    visit(first, i - first, pfn);
  }
}
