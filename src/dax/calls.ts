/** The system calls on a DAX file, as the port that mm and its users see (mm/file.ts). */
import { HmmError } from '../errno.ts';
import type { Inode } from '../fs/index.ts';
import type { FallocMode, FileCalls, FileExtent } from '../mm/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { daxAllocate, daxPunch, daxZeroRange } from './falloc.ts';
import { daxFsync, daxRead, daxTruncate, daxWrite } from './file.ts';

export function daxCalls(inode: Inode): FileCalls {
  return {
    read: (offset, target) => daxRead(inode, offset, target),
    write: (offset, source) => daxWrite(inode, offset, source),
    truncate: (size) => daxTruncate(inode, size),
    fallocate: (mode, offset, length) => daxFallocate(inode, mode, offset, length),
    sync: (index, end) => daxFsync(inode, index, end),
    stat: () => ({ size: inode.size, blocks: inode.fs.allocatedPages(inode) * 8, dax: inode.fs.platform.profile.statTellsDax }),
    extents: () => inodeExtents(inode),
  };
}

/** fallocate(2) in each of its modes. EOPNOTSUPP for a mode that the file system does not have. */
function* daxFallocate(inode: Inode, mode: FallocMode, offset: number, length: number): Sleepable<void> {
  if (mode === 'alloc' || mode === 'keep') yield* daxAllocate(inode, offset, length, mode === 'keep');
  else if (mode === 'punch') yield* daxPunch(inode, offset, length);
  else if (mode === 'zero') yield* daxZeroRange(inode, offset, length, false);
  else throw new HmmError('EOPNOTSUPP', 'fallocate', `${inode.fs.name} does not ${mode}`);
}

function inodeExtents(inode: Inode): FileExtent[] {
  return Array.from(inode.extents, ({ block, npages, pfn, state }) => ({ index: block, npages, pfn, flags: state === 'unwritten' ? ['unwritten'] : [] }));
}
