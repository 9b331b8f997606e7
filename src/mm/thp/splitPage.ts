/**
 * A transparent huge page falls to pages of its own (mm/huge_memory.c: split_huge_page_to_list): advice for a part of it, and
 * whatever else deals in single pages.
 *
 * Area by area, until none maps it any more, is told twice with CLEAR: of the 2 MiB for the leaf's splitting, of its part of them
 * for the entries, which go while the page is taken apart. They come back as they were. Some kernels map the pages that hold nothing but
 * zeroes to the page of zeroes instead (`profile.splitZeroPage`), where the area is not locked.
 */
import { LEVEL_PMD, LEVEL_PTE, PMD_PAGES, PTE_DIRTY, PTE_RW, PTE_SPECIAL } from '../../abi.ts';
import type { Platform } from '../../memremap/index.ts';
import { PAGE_POISONED } from '../../page/index.ts';
import { framePfn, isLeafEntry, isPresent } from '../../pgtable/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import { alignDown, type Pfn, type Vpn } from '../../units.ts';
import { invalidateEnd, invalidateStart, type Mm } from '../mm.ts';
import { writeLeaf } from '../mprotect.ts';
import type { NotifierRange } from '../notifier/index.ts';
import { VM_LOCKED, type Vma } from '../vma.ts';
import { dropPage, splitHugeLeaf } from './split.ts';

/** An area over a huge page, or over a part of it. */
interface HugeMapping {
  readonly vma: Vma;
  /** where the huge page's first page is, or would be */
  readonly base: Vpn;
  readonly start: Vpn;
  readonly end: Vpn;
}

/** How many references mappings of the block that begins at `head` hold. */
export function mappingsOfBlock({ records }: Platform, head: Pfn): number {
  const order = records.order(head);
  if (order === 0) return records.mappings(head);
  let mappings = records.wholeMappings(head);
  for (let i = 0; i < 2 ** order; i++) mappings += records.mappings(head + i);
  return mappings;
}

/**
 * Splits the anonymous huge page that begins at `head`, on which the caller has `held` references: they are the page `keeper`'s
 * then. False where somebody else has one: nothing has changed but leaves.
 */
export function* splitHugePage(platform: Platform, head: Pfn, held = 0, keeper = head): Sleepable<boolean> {
  const { ram, records } = platform;
  if (records.refs(head) !== mappingsOfBlock(platform, head) + held) return false;
  ram.get(head);
  const areas = hugeMappings(platform, head);
  const told: [Mm, NotifierRange | null][] = [];
  let gone = 0;
  for (const mapping of areas) {
    told.push([mapping.vma.mm, yield* splitLeafOf(mapping)]);
    gone += entriesOf(mapping, head);
    if (gone >= mappingsOfBlock(platform, head)) break;
  }
  try {
    return takeApart(platform, head, held, keeper, areas);
  } finally {
    for (const [mm, range] of told) invalidateEnd(mm, range);
  }
}

/** What comes of it while every area has been told; false: somebody took a reference while it slept. */
function takeApart(platform: Platform, head: Pfn, held: number, keeper: Pfn, areas: readonly HugeMapping[]): boolean {
  const { ram, records } = platform;
  if (records.refs(head) !== mappingsOfBlock(platform, head) + held + 1) {
    ram.put(head);
    return false;
  }
  ram.split(head, keeper);
  if (platform.profile.splitZeroPage) for (const mapping of areas) mapZeroPages(mapping, head);
  ram.put(keeper);
  return true;
}

/** rmap_walk_anon() over all of its pages. */
function hugeMappings({ records, anonVmas }: Platform, head: Pfn): HugeMapping[] {
  const index = records.index(head);
  const areas = (anonVmas.get(records.owner(head))?.areas.collect(index, index + PMD_PAGES) ?? []) as Vma[];
  return areas.map((vma) => {
    const base = vma.start + (index - vma.pgoff);
    return { vma, base, start: Math.max(base, vma.start), end: Math.min(base + PMD_PAGES, vma.end) };
  });
}

/**
 * A leaf over the whole page becomes ptes, which keep what is known of writes: unlike where only the leaf is split. Returns the
 * invalidation in which the entries go, open.
 */
function* splitLeafOf({ vma, base, start, end }: HugeMapping): Sleepable<NotifierRange | null> {
  const { mm } = vma;
  const pt = mm.pageTable;
  pt.look(start);
  if (pt.level <= LEVEL_PMD) {
    const aligned = alignDown(start, PMD_PAGES); // not `base` in an area that has been moved to an odd place
    const split = yield* invalidateStart(mm, 'CLEAR', aligned, aligned + PMD_PAGES);
    splitLeafHere(vma, base);
    invalidateEnd(mm, split);
  }
  return yield* invalidateStart(mm, 'CLEAR', start, end);
}

function splitLeafHere(vma: Vma, base: Vpn): void {
  const pt = vma.mm.pageTable;
  pt.look(base);
  const dirty = pt.level === LEVEL_PMD && isLeafEntry(LEVEL_PMD, pt.lo) && (pt.lo & PTE_DIRTY) !== 0;
  splitHugeLeaf(vma, base, LEVEL_PMD);
  if (dirty) pt.protect(base, PMD_PAGES, 0, PTE_DIRTY);
}

/** How many entries of the block the area has: what the kernel takes off the count of its mappings there. */
function entriesOf({ vma, base, start, end }: HugeMapping, head: Pfn): number {
  const pt = vma.mm.pageTable;
  let entries = 0;
  for (let vpn = pt.nextEntry(start, end, LEVEL_PTE); vpn >= 0; vpn = vpn + 1 >= end ? -1 : pt.nextEntry(vpn + 1, end, LEVEL_PTE)) {
    pt.look(vpn);
    if (pt.level === LEVEL_PTE && isPresent(LEVEL_PTE, pt.lo) && framePfn(pt.lo, pt.hi) === head + (vpn - base)) entries++;
  }
  return entries;
}

/** Entries of pages that hold nothing but zeroes become entries of the page of zeroes. */
function mapZeroPages({ vma, base, start, end }: HugeMapping, head: Pfn): void {
  if (vma.has(VM_LOCKED)) return;
  const { ram, records, arena } = vma.mm.platform;
  const pt = vma.mm.pageTable;
  for (let vpn = start; vpn < end; vpn++) {
    pt.look(vpn);
    const pfn = head + (vpn - base);
    if (pt.level !== LEVEL_PTE || !isPresent(LEVEL_PTE, pt.lo) || framePfn(pt.lo, pt.hi) !== pfn) continue;
    if ((records.flags(pfn) & PAGE_POISONED) !== 0 || !arena.content.isZero(pfn * 4096, 4096)) continue;
    writeLeaf(vma.mm, ram.zeroPfn, ((pt.lo & 0xfff & ~(PTE_RW | PTE_DIRTY)) | PTE_SPECIAL) >>> 0, (pt.hi & 0xfff00000) >>> 0);
    dropPage(vma.mm, LEVEL_PTE, pfn);
  }
}
