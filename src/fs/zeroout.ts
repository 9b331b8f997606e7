/**
 * Zeroes in new blocks, and how much of an unwritten extent a write makes written (fs/ext4/extents.c: ext4_ext_convert_to_initialized).
 *
 * Rather than keep a small unwritten rest, ext4 zeroes it on the device and has it written, too: what lies behind the write in its
 * extent, where that and the write are `most` pages or fewer, then what lies before it, where all together are fewer. Not where
 * the write goes on a written extent before it, which only grows, and not where the extent reaches beyond the end of the file.
 */
import type { Platform } from '../memremap/index.ts';
import type { Pfn } from '../units.ts';
import type { Extent, ExtentMap } from './extents.ts';

/** Pages `[index, end)` of a file. */
export interface PageRange {
  readonly index: number;
  readonly end: number;
}

export const NO_PAGES: PageRange = { index: 0, end: 0 };

/** The blocks of `pages`, from `pfn` on, read zero from now on; those of pages that are `covered` will be written whole before anybody looks. */
export function zeroBlocks(platform: Platform, pfn: Pfn, pages: PageRange, covered: PageRange): void {
  const from = Math.min(Math.max(covered.index, pages.index), pages.end);
  const to = Math.min(Math.max(covered.end, from), pages.end);
  zeroRun(platform, pfn, from - pages.index);
  zeroRun(platform, pfn + (to - pages.index), pages.end - to);
}

function zeroRun({ arena, persistence, bugs }: Platform, pfn: Pfn, npages: number): void {
  if (npages === 0) return;
  arena.content.zero(pfn * 4096, npages * 4096);
  if (persistence !== null && !bugs.has('new-blocks-unflushed')) persistence.flush(pfn * 4096, npages * 4096);
}

/** The pages that become written by a write to `[index, end)`, which lies in one unwritten extent. `most`: 0 for none around it. */
export function writtenAround(extents: ExtentMap, index: number, end: number, sizePages: number, most: number): PageRange {
  const extent = extents.lookup(index);
  if (most === 0 || extent.hole === true) return { index, end };
  const extentEnd = extent.block + extent.npages;
  if (end >= extentEnd || extentEnd > Math.max(sizePages, end) || growsBefore(extents, extent, index)) return { index, end };
  const upTo = extentEnd - index <= most ? extentEnd : end;
  return { index: upTo - extent.block < most ? extent.block : index, end: upTo };
}

/** Does the write begin its extent, behind a written one that it goes on in the file and on the device? */
function growsBefore(extents: ExtentMap, extent: Extent, index: number): boolean {
  if (index !== extent.block || index === 0) return false;
  const before = extents.lookup(index - 1);
  return before.hole !== true && before.state === 'mapped' && before.pfn + before.npages === extent.pfn;
}
