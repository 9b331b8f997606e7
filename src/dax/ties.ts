/**
 * Whom the struct page of a block belongs to, where files share blocks (fs/dax.c: dax_associate_entry, dax_disassociate_entry).
 *
 * A page has room for one file and one page number. Of a file that shares no blocks they are always those of the entry that has the
 * page, and nothing is kept here. Else: the file that was tied last; *shared*, with a count, once a fault told of sharing; or nobody,
 * as soon as one of several plain owners lets go. Poison goes by this, and finds what it says.
 */
import { Beside } from '../beside.ts';
import { KernelCrash } from '../errno.ts';
import type { FileSystem, Inode } from '../fs/index.ts';
import type { Pfn } from '../units.ts';

type Tie = { readonly inode: Inode; readonly index: number } | { readonly sharers: number } | 'nobody';

const ties = new Beside<FileSystem, Map<Pfn, Tie>>();

function tiesOf(fs: FileSystem): Map<Pfn, Tie> {
  let map = ties.get(fs);
  if (map === undefined) {
    map = new Map();
    ties.set(fs, map);
    const kept = map;
    fs.onFreed = (pfn, npages) => {
      for (let i = 0; kept.size > 0 && i < npages; i++) kept.delete(pfn + i);
    };
  }
  return map;
}

/** Frames `[pfn, pfn + npages)` are pages from `index` on of a file with shared blocks; `shared`: the fault knew that they are. */
export function tiePages(inode: Inode, index: number, pfn: Pfn, npages: number, shared: boolean): void {
  const map = tiesOf(inode.fs);
  for (let i = 0; i < npages; i++) {
    const old = map.get(pfn + i);
    if (!shared) map.set(pfn + i, { inode, index: index + i });
    else if (typeof old === 'object' && 'sharers' in old) map.set(pfn + i, { sharers: old.sharers + 1 });
    else map.set(pfn + i, { sharers: typeof old === 'object' ? 2 : 1 });
  }
}

/** An entry that had them goes. */
export function untiePages(inode: Inode, pfn: Pfn, npages: number): void {
  const map = tiesOf(inode.fs);
  const { sharersLag } = inode.fs.platform.profile;
  for (let i = 0; i < npages; i++) {
    const old = map.get(pfn + i);
    const sharers = typeof old === 'object' && 'sharers' in old ? old.sharers : -1;
    // 6.1 asks for the count before it takes one off.
    const stays = sharersLag ? sharers > 0 : sharers > 1;
    map.set(pfn + i, stays ? { sharers: sharers - 1 } : 'nobody');
  }
}

/** What the page says, for who wants to lock its entry. Null: nothing is kept of it. KernelCrash where it says *shared*, which is no file. */
export function tiedTo(fs: FileSystem, pfn: Pfn): { readonly inode: Inode; readonly index: number } | 'nobody' | null {
  const tie = ties.get(fs)?.get(pfn) ?? null;
  if (tie !== null && tie !== 'nobody' && 'sharers' in tie) throw new KernelCrash('dax_lock_page: a shared page has no file to go to');
  return tie;
}

/** Does its page->mapping say anything? Null: nothing is kept of it. */
export function isTied(fs: FileSystem, pfn: Pfn): boolean | null {
  const tie = ties.get(fs)?.get(pfn);
  return tie === undefined ? null : tie !== 'nobody';
}
