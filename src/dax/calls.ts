/** The system calls on a DAX file, as the port that mm and its users see (mm/file.ts). */
import { HmmError } from '../errno.ts';
import { lookAtAllHoles, mappedPieces, type Inode, type Mappable } from '../fs/index.ts';
import type { FallocMode, FileCalls } from '../mm/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { daxClone, type CloneRange } from './clone.ts';
import { daxAllocate, daxPunch, daxUnshare, daxZeroRange } from './falloc.ts';
import { requireAnswers } from './gone.ts';
import { daxFsync, daxRead, daxTruncate, daxWrite } from './file.ts';
import { daxCollapse, daxInsert } from './shift.ts';

export function daxCalls(inode: Inode): FileCalls {
  return {
    read: (offset, target) => daxRead(inode, offset, target),
    write: (offset, source) => daxWrite(inode, offset, source),
    truncate: (size) => daxTruncate(inode, size),
    fallocate: (mode, offset, length) => daxFallocate(inode, mode, offset, length),
    clone: (source, from, length, to) => clone(source, inode, { from, length, to }),
    sync: (index, end) => daxFsync(inode, index, end),
    stat() {
      requireAnswers(inode, 'stat');
      return { size: inode.size, blocks: inode.fs.allocatedPages(inode) * 8, dax: inode.fs.platform.profile.statTellsDax };
    },
    extents() {
      requireAnswers(inode, 'fiemap');
      lookAtAllHoles(inode);
      return mappedPieces(inode);
    },
  };
}

/** fallocate(2) in each of its modes. EOPNOTSUPP for a mode that the file system does not have. */
function* daxFallocate(inode: Inode, mode: FallocMode, offset: number, length: number): Sleepable<void> {
  if (mode === 'alloc' || mode === 'keep') yield* daxAllocate(inode, offset, length, mode === 'keep');
  else if (mode === 'punch') yield* daxPunch(inode, offset, length);
  else if (mode === 'zero') yield* daxZeroRange(inode, offset, length, false);
  else if (mode === 'collapse') yield* daxCollapse(inode, offset, length);
  else if (mode === 'insert') yield* daxInsert(inode, offset, length);
  else yield* daxUnshare(inode, offset, length);
}

function* clone(source: Mappable, dest: Inode, range: CloneRange): Sleepable<void> {
  if (!('fs' in source)) throw new HmmError('EXDEV', 'clone', `${source.name} is on no file system`);
  yield* daxClone(source as Inode, dest, range);
}
