/** What a machine looks like from outside its rooms: for tests that say "nothing has changed", or "it came to the same". */
import { DAX_EMPTY, entriesOf, entryFlags } from '../../dist/dax/index.js';
import type { Inode } from '../../dist/fs/index.js';
import type { Mm } from '../../dist/mm/index.js';
import type { PageTable } from '../../dist/pgtable/index.js';
import { framePfn } from '../../dist/pgtable/index.js';
import type { Rig } from './rig.ts';

export interface Leaf {
  readonly vpn: number;
  readonly level: number;
  readonly pfn: number;
  readonly lo: number;
}

/** Every leaf of a page table in order of address; present or not. */
export function leavesOf(table: PageTable): Leaf[] {
  const leaves: Leaf[] = [];
  for (let vpn = table.nextEntry(0, table.endVpn, 0); vpn >= 0; ) {
    table.look(vpn);
    const npages = 512 ** table.level;
    leaves.push({ vpn, level: table.level, pfn: framePfn(table.lo, table.hi), lo: table.lo % 4096 });
    const next = (Math.floor(vpn / npages) + 1) * npages;
    vpn = next >= table.endVpn ? -1 : table.nextEntry(next, table.endVpn, 0);
  }
  return leaves;
}

/** Areas, leaves, files and what is free. */
export function stateOf(rig: Rig): object {
  const files = new Set<Inode>();
  const spaces = rig.core.mms.map((mm) => {
    for (const vma of mm.vmas) if (vma.file !== null && 'fs' in vma.file.inode) files.add(vma.file.inode as Inode);
    return { alive: mm.alive, areas: areasOf(mm), leaves: mm.alive ? leavesOf(mm.pageTable) : [] };
  });
  return { spaces, files: [...files].map(fileState), ramFree: rig.platform.ram.freePages, pgmapRefs: rig.pgmapRefs() };
}

export function areasOf(mm: Mm): { start: number; end: number; flags: number; pgoff: number; file: string | null }[] {
  return [...mm.vmas].map(({ start, end, flags, pgoff, file }) => ({ start, end, flags, pgoff, file: file?.inode.name ?? null }));
}

/** Size, extents, DAX entries (placeholders aside, which a fault may leave), and the blocks free around it. */
export function fileState(inode: Inode): object {
  const entries: string[] = [];
  entriesOf(inode).forEach(0, 2 ** 52, (base, level, entry) => {
    if (entryFlags(entry) !== DAX_EMPTY) entries.push(`${base}/${level}: ${entry - entryFlags(entry)} ${entryFlags(entry)}`);
  });
  return { size: inode.size, extents: [...inode.extents], entries, free: inode.fs.freePages };
}
