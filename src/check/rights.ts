/**
 * What an entry lets a mirror have of a page: its frame, and whether it may write.
 *
 * A chunk is 2 MiB of an address space as the page table had it: a page of ptes, or the leaf over it. Two chunks are compared page by
 * page, so that a leaf that was split into pages with the same frames is found to be the same.
 */
import { LEVEL_PMD, LEVEL_PTE, LEVEL_PUD, PMD_PAGES, PTE_PRESENT, PTE_RW } from '../abi.ts';
import { framePfn, isLeaf, type PageTable } from '../pgtable/index.ts';
import { alignDown, pagesOfLevel, type Pfn, type Vpn } from '../units.ts';

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

/** The chunk around `vpn`, at which the walk has just ended; null where there is nothing in it. */
export function chunkAt(pt: PageTable, vpn: Vpn): Chunk | null {
  pt.look(vpn);
  const { level, lo, hi } = pt;
  if (level === LEVEL_PTE) {
    const base = pt.offset - (vpn % PMD_PAGES) * 8;
    return pt.arena.u32.slice(base >>> 2, (base >>> 2) + PTES_WORDS);
  }
  if (!isLeaf(level, lo) || level > LEVEL_PUD) return null;
  const start = alignDown(vpn, PMD_PAGES);
  return { level, lo, hi, pfn: framePfn(lo, hi) + (start - alignDown(start, pagesOfLevel(level))) };
}

/** Frame of page `i` of the chunk for who may read it; -1 where a mirror may have nothing. */
export function frameOf(chunk: Chunk | null, i: number): Pfn | -1 {
  if (chunk === null) return -1;
  if (!(chunk instanceof Uint32Array)) return chunk.pfn + i;
  const lo = chunk[i * 2] as number;
  return (lo & PTE_PRESENT) === 0 ? -1 : framePfn(lo, chunk[i * 2 + 1] as number);
}

export function writableAt(chunk: Chunk | null, i: number): boolean {
  if (chunk === null) return false;
  return ((chunk instanceof Uint32Array ? (chunk[i * 2] as number) : chunk.lo) & PTE_RW) !== 0;
}

/** The entry of page `i`: its level and halves. */
export function entryAt(chunk: Chunk | null, i: number): { readonly level: number; readonly lo: number; readonly hi: number } {
  if (chunk === null) return { level: LEVEL_PMD, lo: 0, hi: 0 };
  if (!(chunk instanceof Uint32Array)) return chunk;
  return { level: LEVEL_PTE, lo: chunk[i * 2] as number, hi: chunk[i * 2 + 1] as number };
}

/** Are two chunks the same, but for bits that no mirror sees? */
export function sameChunk(a: Chunk | null, b: Chunk | null): boolean {
  if (a === null || b === null) return a === b;
  if (a instanceof Uint32Array) return b instanceof Uint32Array && a.every((word, i) => word === b[i]);
  return !(b instanceof Uint32Array) && a.level === b.level && a.lo === b.lo && a.hi === b.hi;
}
