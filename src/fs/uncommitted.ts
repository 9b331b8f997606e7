/** What of a file's metadata is not durable yet, page by page: told to who keeps track of it while somebody does (`Platform.uncommitted`). */
import type { Inode } from './inode.ts';

/** Pages `[start, end)` of the file have other blocks, or became a part of it: the file is dirty until the journal has it. */
export function dirtyBlocks(inode: Inode, start: number, end: number): void {
  inode.metadataDirty = true;
  inode.fs.platform.uncommitted?.changed(inode, start, end);
}
