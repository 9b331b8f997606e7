/**
 * The perfect mirror: a copy of a process's page table as it was after the last step. What differs now must have been told.
 *
 * It has everything at once, so that no operation goes unnoticed for want of a device that had the page. Only where the count of table
 * entries ever written has moved is anything looked at.
 */
import { HDR_TABLES_CHANGED, LEVEL_PMD, PMD_PAGES } from '../abi.ts';
import type { Mm } from '../mm/index.ts';
import { alignDown, type Vpn } from '../units.ts';
import { chunkAt, frameOf, sameChunk, writableAt, type Chunk } from './rights.ts';

/** Pages `[start, end)` of which a mirror would have kept more than there is now. */
export interface Loss {
  readonly start: Vpn;
  readonly end: Vpn;
  readonly before: Chunk | null;
  readonly after: Chunk | null;
}

export class Shadow {
  readonly #mm: Mm;
  #chunks = new Map<number, Chunk>();
  #changes = -1;

  constructor(mm: Mm) {
    this.#mm = mm;
  }

  /** Takes the table as it is now; what was lost since, chunk by chunk. */
  *refresh(): Generator<Loss> {
    const { platform, pageTable, alive } = this.#mm;
    const changes = platform.arena.u32[HDR_TABLES_CHANGED >>> 2] as number;
    if (changes === this.#changes) return;
    this.#changes = changes;
    const before = this.#chunks;
    const after = new Map<number, Chunk>();
    if (alive) {
      for (let vpn = pageTable.nextEntry(0, pageTable.endVpn, LEVEL_PMD); vpn >= 0; ) {
        const start = alignDown(vpn, PMD_PAGES);
        const chunk = chunkAt(pageTable, vpn);
        if (chunk !== null) after.set(start / PMD_PAGES, chunk);
        vpn = start + PMD_PAGES >= pageTable.endVpn ? -1 : pageTable.nextEntry(start + PMD_PAGES, pageTable.endVpn, LEVEL_PMD);
      }
    }
    this.#chunks = after;
    if (!alive) return; // it was told RELEASE
    for (const [index, old] of before) {
      const now = after.get(index) ?? null;
      if (!sameChunk(old, now)) yield* losses(index * PMD_PAGES, old, now);
    }
  }
}

/** Runs of pages whose frame went, changed or lost the right to be written. */
function* losses(base: Vpn, before: Chunk, after: Chunk | null): Generator<Loss> {
  let from = -1;
  for (let i = 0; i <= PMD_PAGES; i++) {
    const lost = i < PMD_PAGES && isLost(before, after, i);
    if (lost && from < 0) from = i;
    if (!lost && from >= 0) {
      yield { start: base + from, end: base + i, before, after };
      from = -1;
    }
  }
}

function isLost(before: Chunk, after: Chunk | null, i: number): boolean {
  const frame = frameOf(before, i);
  if (frame < 0) return false;
  return frameOf(after, i) !== frame || (writableAt(before, i) && !writableAt(after, i));
}
