/**
 * Walks over an area as /proc and madvise make them (mm/pagewalk.c: walk_page_range of a VMA).
 *
 * Such a walk goes down to the pmds, and to get below a 1G leaf it drops it: CLEAR over the aligned GiB, as for any other
 * cut, though only looking was asked for.
 */
import { LEVEL_PMD, LEVEL_PUD, PMD_PAGES, PUD_PAGES } from '../abi.ts';
import { isLeafEntry } from '../pgtable/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { alignDown, pagesOfLevel, type Vpn } from '../units.ts';
import type { Vma } from './vma.ts';
import { splitHuge } from './zap.ts';

/** Calls `visit` with each 2 MiB that has a pmd which is not empty, and the part of it in `[start, end)`. 1G leaves on the way go. */
export function* walkPmds(vma: Vma, start: Vpn, end: Vpn, visit: (base: Vpn, from: Vpn, to: Vpn) => Sleepable<void>): Sleepable<void> {
  const pt = vma.mm.pageTable;
  for (let at = start; at < end; ) {
    pt.look(at);
    if (pt.level === LEVEL_PUD && isLeafEntry(LEVEL_PUD, pt.lo)) {
      yield* splitHuge(vma, alignDown(at, PUD_PAGES), PUD_PAGES);
      continue;
    }
    const span = pagesOfLevel(Math.max(pt.level, LEVEL_PMD));
    const to = Math.min(end, alignDown(at, span) + span);
    if (pt.level < LEVEL_PMD || (pt.level === LEVEL_PMD && !pt.none)) yield* visit(alignDown(at, PMD_PAGES), at, to);
    at = to;
  }
}

export function* visitNothing(): Sleepable<void> {
  // the walk itself is what was wanted
}
