/**
 * FsProfile: what differs between file systems as seen from a mapping, as data.
 *
 * Sources: recorded scenarios on ext4 and XFS with DAX; fs/ext4/inode.c, fs/xfs/xfs_iomap.c.
 */
import type { ExtentPages } from './inode.ts';

export interface FsProfile {
  readonly name: string;
  /** pages to which larger allocations are aligned (stripe or extent size hint) */
  readonly alignPages: ExtentPages;
  /** a write into a hole allocates the whole aligned unit, not just the pages written */
  readonly allocatesUnit: boolean;
  /** pages before the first data block: superblock, journal */
  readonly metadataPages: number;
}

export const FS_PROFILES = {
  ext4: { name: 'ext4', alignPages: 512, allocatesUnit: false, metadataPages: 512 },
  xfs: { name: 'xfs', alignPages: 512, allocatesUnit: true, metadataPages: 512 },
} as const satisfies Record<string, FsProfile>;

export type FsName = keyof typeof FS_PROFILES;
export const FS_NAMES = Object.keys(FS_PROFILES) as FsName[];
