/**
 * How mkfs.xfs lays a device out: allocation groups, the log in the middle one, the first inodes (mkfs/xfs_mkfs.c), and what of
 * the free space a mount keeps back (fs/xfs/xfs_mount.c, libxfs/xfs_ag_resv.c). All in pages.
 */
import { alignDown, alignUp } from '../units.ts';

export interface XfsGeometry {
  readonly groupPages: number;
  readonly groupCount: number;
  /** what is in use from the start, as `[first, end)` from the device's first page */
  readonly metadata: readonly (readonly [first: number, end: number])[];
  /** first page of the inodes, in the first group */
  readonly inodePage: number;
  /** pages of each group that its own trees may still need */
  readonly reserved: readonly number[];
  /** pages that count as free and that no file gets */
  readonly unavailable: number;
}

const STRIPE = 512;
/** superblock and headers, roots of the trees, the free list; and the root of the tree of shared blocks */
const HEAD_PAGES = 12;
const SHARED_ROOT_PAGES = 1;
const FREE_LIST_PAGES = 4;
const INODE_CHUNK_PAGES = 8;
const INODES_PER_PAGE = 8;
const INODES_PER_CHUNK = 64;
/** least records in a leaf of the trees of shared blocks and of free inodes, and in a node of either */
const SHARED_LEAF = 168;
const INODE_LEAF = 126;
const NODE = 252;
/** a mount keeps a twentieth of the device for what cannot fail, up to so many */
const RESERVE_PAGES_MAX = 8192;
/** pages a group that are withheld for the free list */
const SET_ASIDE_PAGES = 8;

export function xfsGeometry(npages: number, reflink: boolean): XfsGeometry {
  const wanted = npages >= 32768 ? 8 : npages >= 8192 ? 4 : 1;
  const groupPages = wanted === 1 ? npages : alignUp(Math.ceil(npages / wanted), STRIPE);
  const groupCount = Math.ceil(npages / groupPages);
  const first = Math.min(HEAD_PAGES + (reflink ? SHARED_ROOT_PAGES : 0), Math.floor(npages / 8));
  const sizeOf = (group: number): number => Math.min(groupPages, npages - group * groupPages);
  const logGroup = Math.floor(groupCount / 2);
  const logPages = groupCount === 1 ? 0 : Math.min(16384, alignDown(Math.floor((sizeOf(logGroup) * 2) / 3), STRIPE));
  const inodePage = groupPages > 2 * STRIPE ? STRIPE : first;
  const metadata: [number, number][] = [];
  const reserved: number[] = [];
  for (let group = 0; group < groupCount; group++) {
    const start = group * groupPages;
    metadata.push([start, Math.min(start + first + (group === logGroup ? logPages : 0), npages)]);
    if (group === 0 && groupPages > 64) metadata.push([inodePage, inodePage + INODE_CHUNK_PAGES]);
    const usable = sizeOf(group) - (group === logGroup ? logPages : 0);
    reserved.push(
      treePages((usable * INODES_PER_PAGE) / INODES_PER_CHUNK, INODE_LEAF) - 1 + (reflink ? treePages(usable, SHARED_LEAF) - 1 : 0),
    );
  }
  const held = reserved.reduce((sum, pages) => sum + pages, 0);
  const unavailable = Math.min(RESERVE_PAGES_MAX, Math.floor(npages / 20)) + held + groupCount * (SET_ASIDE_PAGES - FREE_LIST_PAGES);
  return { groupPages, groupCount, metadata, inodePage, reserved, unavailable };
}

/** Pages of a tree with so many records in leaves and nodes as empty as they may be. */
function treePages(records: number, leaf: number): number {
  let level = Math.ceil(records / leaf);
  let pages = level;
  while (level > 1) {
    level = Math.ceil(level / NODE);
    pages += level;
  }
  return Math.max(pages, 1);
}

/** The page of the inode with this number in the file system, from the device's first page: where its blocks are looked for. The root directory and two more come first. */
export function xfsInodePage(geometry: XfsGeometry, id: number): number {
  return geometry.inodePage + (Math.floor((id + 2) / INODES_PER_PAGE) % INODE_CHUNK_PAGES);
}
