/**
 * Taking a persistent memory device away from under its file system, as unbinding its driver does (drivers/nvdimm/pmem.c:
 * pmem_release_disk, drivers/dax/super.c: kill_dax, mm/memremap.c: memunmap_pages).
 *
 * From the first moment on nothing finds its way to a block any more. Then the block device goes, and on its way out the file
 * system is written back, and shut down by kernels that tell it. Mappings stay as they are, and so do loads by them: unlike device
 * DAX nobody unmaps. The struct pages go in the end, whether or not somebody still holds one (`profile.drainWaitsForPages`).
 */
import { FILE_PAGES_MAX, type FileSystem } from '../fs/index.ts';
import { tellBreach, unmapMappingRange, type Vma } from '../mm/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { cleanRange } from './writeback.ts';

export function* removePmem(fs: FileSystem): Sleepable<void> {
  const { pgmaps, profile } = fs.platform;
  if (fs.gone) return;
  fs.killed = true;
  if (profile.removalWritesBack) for (const inode of fs.inodes.values()) yield* cleanRange(inode, 0, FILE_PAGES_MAX);
  if (profile.removalShutsDown) fs.shutDown = true;
  for (const inode of fs.inodes.values()) {
    if (!profile.removalLeavesMappings) yield* unmapMappingRange(inode, 0, FILE_PAGES_MAX, false);
    else for (const vma of inode.mappings.collect(0, FILE_PAGES_MAX) as Vma[]) tellBreach(vma.mm, 'pagemap-alive', 'removalLeavesMappings', vma.start, vma.end);
  }
  yield* pgmaps.drain(fs.pgmap, profile.drainWaitsForPages);
}
