/**
 * How much of an unwritten extent a write makes written (fs/ext4/extents.c: ext4_ext_convert_to_initialized).
 *
 * Rather than keep a small unwritten rest, ext4 zeroes it on the device and has it written, too: what lies behind the write in its
 * extent, where that and the write are `most` pages or fewer, then what lies before it, where all together are fewer. Not where
 * the write goes on a written extent before it, which only grows, and not where the extent reaches beyond the end of the file.
 */
import type { Extent, ExtentMap } from './extents.ts';

/** The pages that become written by a write to `[index, end)`, which lies in one unwritten extent. `most`: 0 for none around it. */
export function writtenAround(extents: ExtentMap, index: number, end: number, sizePages: number, most: number): { index: number; end: number } {
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
