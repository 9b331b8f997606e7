/**
 * FsProfile: what differs between file systems as seen from a mapping, as data.
 *
 * Sources: recorded scenarios on ext4 and XFS with DAX, both made for 2 MiB stripes; fs/ext4/mballoc.c, fs/ext4/inode.c,
 * fs/ext4/extents.c, fs/xfs/libxfs/xfs_bmap.c, fs/xfs/xfs_file.c, xfs_bmap_util.c, v6.1. The two kernels do not differ here.
 */
import type { ExtentPages } from './inode.ts';

export interface FsProfile {
  readonly name: string;
  /** pages of a stripe: larger allocations are aligned to it */
  readonly alignPages: ExtentPages;
  /** who chooses blocks: ext4's multi-block allocator, or XFS, near what the file has (place.ts) */
  readonly allocator: 'mballoc' | 'near';
  /** files share blocks */
  readonly reflink: boolean;
  /** a write allocates at most so many pages at a time */
  readonly writePagesMax: number;
  /** ZERO_RANGE makes the blocks unwritten, or frees them and takes new ones */
  readonly zeroRange: 'converted' | 'replaced';
  /** punch and zero range unmap and forget the pages wholly inside the range, or all that it touches */
  readonly punchDrops: 'inside' | 'touched';
  /** punch writes dirty entries back before the layout break (where the kernel has that at all), or after it */
  readonly punchFlushes: 'first' | 'unmapped';
  /** truncate sets the new size before the layout break (where the kernel has that at all), or after it */
  readonly truncateSizes: 'first' | 'after';
  /** fallocate(2) breaks the layout even when it only adds blocks */
  readonly allocateBreaks: boolean;
  /** a write beyond the end of a file allocates up to the next whole unit of its hint */
  readonly growsByUnit: boolean;
  /** without DAX: the page cache has folios of more than a page */
  readonly largeFolios: boolean;
  /** blocks of dirty pages are taken when they are written back, or at the write, in units of `hintPages` */
  readonly delayedBlocks: boolean;
  readonly hintPages: ExtentPages;
  /** what makes a file longer writes zeroes from its old end on, and what shortens it writes its new last page back first */
  readonly zeroesOnExtend: boolean;
  /** a direct write refuses what is not whole sectors before it touches the page cache */
  readonly directChecksFirst: boolean;
  /** a write into an unwritten extent has so much around it zeroed and written, too (zeroout.ts) */
  readonly zeroesAroundPages: number;
  /** it has FALLOC_FL_UNSHARE_RANGE */
  readonly unshares: boolean;
  /** what becomes of it when it cannot write its journal: no changes any more, or no calls at all */
  readonly failsBy: 'readonly' | 'shutdown';
  /** a truncate asks whether the file system is shut down before it looks for pinned pages */
  readonly truncateAsksFirst: boolean;
  /** a fault for writing opens a transaction before it looks at anything: once shut down it fails there */
  readonly writeFaultJournals: boolean;
}

const XFS = {
  name: 'xfs',
  alignPages: 512,
  allocator: 'near',
  zeroRange: 'replaced',
  punchDrops: 'touched',
  punchFlushes: 'unmapped',
  truncateSizes: 'after',
  allocateBreaks: true,
  growsByUnit: true,
  reflink: true,
  largeFolios: true,
  delayedBlocks: false,
  hintPages: 512,
  zeroesOnExtend: true,
  directChecksFirst: true,
  zeroesAroundPages: 0,
  unshares: true,
  failsBy: 'shutdown',
  truncateAsksFirst: false,
  writeFaultJournals: false,
  writePagesMax: 1024,
} as const satisfies FsProfile;

export const FS_PROFILES = {
  ext4: {
    name: 'ext4',
    alignPages: 512,
    allocator: 'mballoc',
    zeroRange: 'converted',
    punchDrops: 'inside',
    punchFlushes: 'first',
    truncateSizes: 'first',
    allocateBreaks: false,
    largeFolios: false,
    delayedBlocks: true,
    hintPages: 1,
    zeroesOnExtend: false,
    directChecksFirst: false,
    zeroesAroundPages: 8,
    unshares: false,
    failsBy: 'readonly',
    truncateAsksFirst: true,
    writeFaultJournals: true,
    growsByUnit: false,
    reflink: false,
    writePagesMax: 4096,
  },
  xfs: XFS,
  /** made without reflink */
  xfsn: { ...XFS, name: 'xfsn', reflink: false },
} as const satisfies Record<string, FsProfile>;

export type FsName = keyof typeof FS_PROFILES;
export const FS_NAMES = Object.keys(FS_PROFILES) as FsName[];
