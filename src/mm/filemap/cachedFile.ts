/** What has its pages in a page cache, as faults, reads and truncation see it: a file of a file system, or one of shmem. */
import type { Folio, PageCache } from './cache.ts';

export interface CachedFile {
  readonly cache: PageCache;
  /** bytes */
  readonly size: number;
  /** pages that hold them */
  readonly sizePages: number;
  /** it may have folios of more than a page */
  readonly largeFolios: boolean;
  /** a larger folio that is dirty cannot be split */
  readonly keepsDirtyWhole: boolean;
  /** brings the folio of 2^order pages from `index` on in from where the file is kept; null when RAM is full */
  read(index: number, order: number): Folio | null;
}
