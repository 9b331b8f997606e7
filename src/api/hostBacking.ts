/**
 * Real files under the frames of a device: who maps which, and until when.
 *
 * The bytes belong to the frames, as on a real device: they stay until the machine is reset or disposed, whatever becomes of the
 * simulated file. A shared mapping is one of a living file only: before its blocks are freed (truncate, punch, the last close after
 * unlink), frames and real file part, so that zeroing a block for its next owner never reaches the real file.
 */
import type { Backing, Inode } from '../fs/index.ts';
import type { Driver } from './driver.ts';
import type { Native } from './native.ts';

/** A real file mapped over the arena. */
export interface HostMapping {
  /** what is written from now on stays in the arena; the bytes are the same. Throws where the real file can no longer be mapped. */
  part(): void;
  /** msync(2) of a shared mapping; nothing for a private one */
  sync(): void;
}

/** Files that lie over a real one, as long as stores reach it. */
const shared = new WeakMap<Inode, HostMapping>();

/** The real file that stores to `inode` reach, if there is one. */
export function sharedHostOf(inode: Inode): HostMapping | undefined {
  return shared.get(inode);
}

/** Keeps arena bytes that were read in from a file. */
export function keepBacking(driver: Driver, backing: Backing): void {
  driver.cleanups.add(() => backing.release());
}

/** Maps the first `length` bytes of a real file over `backing`. Throws what the addon's mapFile throws; then nothing is mapped. */
export function mapHost(driver: Driver, native: Native, inode: Inode, backing: Backing, source: { readonly path: string | number; readonly length: number; readonly isShared: boolean }): void {
  const { u8 } = driver.core.platform.arena;
  const map = (isShared: boolean): number => native.mapFile(u8, backing.offset, source.length, source.path, 0, { shared: isShared });
  let handle: number | null = map(source.isShared);
  const unmap = (): void => {
    if (handle !== null) native.unmapFile(handle);
    handle = null;
  };
  driver.cleanups.add(() => {
    unmap();
    backing.release();
  });
  if (!source.isShared) return;
  shared.set(inode, {
    part() {
      if (!shared.delete(inode)) return;
      unmap();
      handle = map(false);
    },
    sync() {
      if (handle !== null) native.syncFile(handle, 0, source.length);
    },
  });
}
