/** How a DAX file is mapped: the port that mm sees. */
import { Beside } from '../beside.ts';
import type { Inode } from '../fs/index.ts';
import { VM_HUGEPAGE, type MappedFile } from '../mm/index.ts';
import { daxCalls } from './calls.ts';
import { daxVmOps } from './fault.ts';

/** Opens `inode`; each open file has its own right to write, all share the handlers. */
export function openDaxFile(inode: Inode, writable: boolean): MappedFile {
  return {
    inode,
    writable,
    vmOps: opsOf(inode),
    vmFlags: VM_HUGEPAGE,
    alignPages: 1,
    preferPages: Math.max(512, inode.extentPages),
    syncSupported: true,
    released: () => inode.fs.evictIfUnused(inode),
    calls: daxCalls(inode),
    refuses: () => (inode.fs.shutDown && inode.fs.profile.truncateAsksFirst ? 'EIO' : null),
  };
}

/** Areas of one file merge only when they have the same handlers: one set an inode. */
const handlers = new Beside<Inode, ReturnType<typeof daxVmOps>>();

function opsOf(inode: Inode): ReturnType<typeof daxVmOps> {
  let ops = handlers.get(inode);
  if (ops === undefined) handlers.set(inode, (ops = daxVmOps(inode)));
  return ops;
}
