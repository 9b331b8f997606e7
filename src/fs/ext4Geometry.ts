/**
 * What mkfs.ext4 leaves in use of a device: tables of all groups in the first, copies of the superblock in a few, the journal near
 * the middle (misc/mke2fs.c, flex_bg). In pages from the device's first one.
 */
import { GROUP_PAGES } from './mballoc.ts';

/** superblock, descriptors, bitmaps and inodes of a file system of up to 16 groups, and its first directories */
const HEAD_PAGES = 181;
/** a copy of superblock and descriptors, and room for these to grow */
const COPY_PAGES = 97;
const JOURNAL_PAGES = 2048;

export function ext4Metadata(npages: number): (readonly [first: number, end: number])[] {
  const groups = Math.ceil(npages / GROUP_PAGES);
  const used: [number, number][] = [[0, Math.min(HEAD_PAGES, Math.floor(npages / 8))]];
  const journal = groups > 1 ? Math.floor(groups / 2) - 1 : -1;
  for (let group = 1; group < groups; group++) {
    const start = group * GROUP_PAGES;
    const pages = (hasCopy(group) ? COPY_PAGES : 0) + (group === journal ? JOURNAL_PAGES : 0);
    if (pages > 0) used.push([start, Math.min(start + pages, npages)]);
  }
  return used;
}

/** sparse_super: groups 1 and powers of 3, 5 and 7. */
function hasCopy(group: number): boolean {
  return group === 1 || [3, 5, 7].some((prime) => Number.isInteger(Math.round((Math.log(group) / Math.log(prime)) * 1e9) / 1e9));
}
