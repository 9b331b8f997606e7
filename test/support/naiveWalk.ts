/**
 * The range walk, page by page: what assembly/walk.ts has to answer, spelled out from the rules in src/abi.ts.
 */
import {
  DEVMAP_BIT_NONE, PGMAP_LIVE, STOP_BAD, STOP_BUDGET, STOP_DONE_ALL, STOP_DYING, STOP_HOLE, STOP_NEEDS_FAULT, STOP_NEEDS_WRITE, STOP_NONPRESENT,
  STOP_SPECIAL, WALK_ACCESSED, WALK_FAULT, WALK_NO_FILL, WALK_PER_PAGE, WALK_PGMAP, WALK_STOP_AT_HOLES, WALK_ZERO_OK,
} from '../../src/abi.ts';
import { A, D, PFN, RW, SPECIAL, frameOf, type Found, type NaiveSpace } from './naiveSpace.ts';
import type { Pgmap } from './wasm.ts';

export interface WalkRequest {
  vpn: bigint;
  npages: number;
  mode: number;
  budget: number;
  devmapBit: number;
  pfnShift: number;
  orderShift: number;
  valid: bigint;
  write: bigint;
  none: bigint;
  reqFault: bigint;
  reqWrite: bigint;
  flagsMask: bigint;
  preset: bigint;
  zeroPfn: bigint;
  /** index + 1 of the pgmap held */
  pgmap: number;
}

export interface WalkAnswer {
  reason: number;
  vpn: bigint;
  end: bigint;
  last: bigint;
  entry: bigint;
  level: number;
  done: number;
  steps: number;
  leaves: [number, number, number];
  pgmap: number;
}

const U64 = (1n << 64n) - 1n;

/** Walks `space` and writes `words` (that of the range's first page at `base`) in place, and A and D with WALK_ACCESSED. */
export function naiveWalk(space: NaiveSpace, pgmaps: readonly Pgmap[], r: WalkRequest, words: bigint[], base: number): WalkAnswer {
  const has = (bit: number): boolean => (r.mode & bit) !== 0;
  const end = r.vpn + BigInt(r.npages);
  const answer: WalkAnswer = {
    reason: STOP_DONE_ALL, vpn: r.vpn, end: r.vpn, last: r.vpn, entry: 0n, level: 0, done: 0, steps: 0, leaves: [0, 0, 0], pgmap: r.pgmap,
  };

  const request = (vpn: bigint): { fault: boolean; write: boolean } => {
    if (!has(WALK_FAULT)) return { fault: false, write: false };
    const own = has(WALK_PER_PAGE) ? (words[base + Number(vpn - r.vpn)] as bigint) & r.flagsMask : 0n;
    const fault = ((own | r.preset) & r.reqFault) !== 0n;
    return { fault, write: fault && ((own | r.preset) & r.reqWrite) !== 0n };
  };
  const anyAsks = (from: bigint, to: bigint, what: 'fault' | 'write'): boolean => {
    if (!has(WALK_PER_PAGE)) return request(from)[what];
    for (let vpn = from; vpn < to; vpn++) if (request(vpn)[what]) return true;
    return false;
  };
  const isDevmap = (entry: bigint): boolean => r.devmapBit !== DEVMAP_BIT_NONE && ((entry >> BigInt(r.devmapBit)) & 1n) === 1n;
  const hold = (pfn: bigint): boolean => {
    const covers = (p: Pgmap | undefined): boolean => p !== undefined && pfn * 4096n >= p.base && pfn * 4096n < p.end;
    if (answer.pgmap !== 0 && covers(pgmaps[answer.pgmap - 1])) return true;
    const i = pgmaps.findIndex(covers);
    answer.pgmap = i >= 0 && pgmaps[i]?.state === PGMAP_LIVE ? i + 1 : 0;
    return answer.pgmap !== 0;
  };
  const put = (vpn: bigint, pfn: bigint, writable: boolean, level: number): void => {
    if (has(WALK_NO_FILL)) return;
    const order = r.orderShift === 0 ? 0n : BigInt(9 * level) << BigInt(r.orderShift);
    words[base + Number(vpn - r.vpn)] = ((pfn << BigInt(r.pfnShift)) | r.valid | (writable ? r.write : 0n) | order) & U64;
  };
  const stopped = (reason: number, vpn: bigint, chunkEnd: bigint, found: Found | null): WalkAnswer => {
    answer.reason = reason;
    answer.vpn = vpn;
    answer.end = chunkEnd;
    answer.entry = found?.entry ?? 0n;
    answer.level = found?.level ?? 0;
    answer.done = Number(vpn - r.vpn);
    return answer;
  };
  const mark = (found: Found, vpn: bigint, writes: boolean): void => {
    if (has(WALK_ACCESSED)) space.set(found.level, vpn, found.entry | A | (writes && (found.entry & RW) !== 0n ? D : 0n));
  };
  /** STOP_* for a leaf whose pages ask as said, up to the pgmap test's place */
  const refusal = (found: Found, writes: boolean): number => {
    const { entry } = found;
    if (writes && (entry & RW) === 0n) return STOP_NEEDS_WRITE;
    if (isDevmap(entry) || (entry & SPECIAL) === 0n) return 0;
    if (found.level > 0 || !has(WALK_ZERO_OK) || (entry & PFN) >> 12n !== r.zeroPfn) return STOP_SPECIAL;
    return writes ? STOP_NEEDS_WRITE : 0;
  };

  for (let vpn = r.vpn; vpn < end; ) {
    if (vpn >= space.pages) return stopped(STOP_BAD, vpn, end, null);
    const found = space.find(vpn);
    if (r.budget !== 0 && answer.steps >= r.budget) return stopped(STOP_BUDGET, vpn, vpn, found);
    answer.steps++;
    const chunkEnd = found.end < end ? found.end : end;
    const { entry, level } = found;
    if (found.kind === 'none') {
      if (level > 0) answer.last = vpn;
      if (anyAsks(vpn, chunkEnd, 'fault')) return stopped(STOP_NEEDS_FAULT, vpn, chunkEnd, found);
      if (has(WALK_STOP_AT_HOLES)) return stopped(STOP_HOLE, vpn, chunkEnd, found);
      if (!has(WALK_NO_FILL)) for (let v = vpn; v < chunkEnd; v++) words[base + Number(v - r.vpn)] = r.none;
    } else if (found.kind !== 'leaf') {
      return stopped(found.kind === 'bad' ? STOP_BAD : STOP_NONPRESENT, vpn, chunkEnd, found);
    } else {
      const writes = anyAsks(vpn, chunkEnd, 'write');
      const reason = refusal(found, writes);
      if (reason !== 0) return stopped(reason, vpn, chunkEnd, found);
      const writable = (entry & RW) !== 0n && (isDevmap(entry) || (entry & SPECIAL) === 0n);
      for (let v = vpn; v < chunkEnd; v++) {
        const pfn = frameOf(entry, level) + (v - found.first);
        if (has(WALK_PGMAP) && isDevmap(entry) && !hold(pfn)) return stopped(STOP_DYING, v, chunkEnd, found);
        put(v, pfn, writable, level);
      }
      mark(found, vpn, writes);
      answer.leaves[level as 0 | 1 | 2]++;
      if (level > 0) {
        answer.pgmap = 0;
        answer.last = chunkEnd;
      }
    }
    vpn = chunkEnd;
    if (level === 0) {
      const tableEnd = vpn % 512n === 0n || vpn === end;
      if (tableEnd) answer.pgmap = 0;
      const budgetGone = r.budget !== 0 && answer.steps >= r.budget;
      if (tableEnd || budgetGone) answer.last = vpn;
    }
  }
  return stopped(STOP_DONE_ALL, end, end, null);
}
