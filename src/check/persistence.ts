/**
 * What fsync and MAP_SYNC rest on (fs/dax.c: dax_writeback_mapping_range, dax_finish_sync_fault).
 *
 * dirty-tracked: a leaf of a shared mapping of a DAX file that is writable, or was written to, stands for an entry tagged DIRTY:
 * write-back finds nothing else. sync-order: a leaf of a MAP_SYNC area does not become writable while metadata of the file is dirty.
 */
import { PMD_PAGES, PTE_DIRTY, PTE_PRESENT, PTE_RW } from '../abi.ts';
import { DAX_DIRTY, DAX_ZERO, entryFlags, type DaxEntries } from '../dax/index.ts';
import type { MachineEvent } from '../events/events.ts';
import type { Inode } from '../fs/index.ts';
import { VM_SYNC, type Mm, type Vma } from '../mm/index.ts';
import { DEVICE_BASE_PFN } from '../page/index.ts';
import { isWritable } from '../pgtable/index.ts';
import type { Vpn } from '../units.ts';
import { entryText, type Report } from './finding.ts';
import type { Looked } from './rules.ts';
import type { Uncommitted } from './uncommitted.ts';
import { chunkNow, entryAt, frameOf, type Chunk } from './rights.ts';

const WRITTEN = PTE_RW | PTE_DIRTY;

/** The leaves of a chunk that has changed against the tags of the files that are mapped there; one finding an area at most. */
export function checkDirty(mm: Mm, base: Vpn, chunk: Chunk, report: Report, looked: Looked): void {
  if (!(chunk instanceof Uint32Array) && (chunk.lo & WRITTEN) === 0) return;
  for (const vma of mm.vmas.collect(base, base + PMD_PAGES)) if (vma.isFsDax && vma.isShared) checkArea(vma, base, chunk, report, looked);
}

function checkArea(vma: Vma, base: Vpn, chunk: Chunk, report: Report, looked: Looked): void {
  const { mm, file } = vma;
  const inode = file?.inode as Inode;
  const entries = inode.pages as DaxEntries | null;
  const to = Math.min(vma.end - base, PMD_PAGES);
  for (let i = Math.max(vma.start - base, 0); i < to; i++) {
    const lo = chunk instanceof Uint32Array ? (chunk[i * 2] as number) : chunk.lo;
    if ((lo & PTE_PRESENT) === 0 || (lo & WRITTEN) === 0 || frameOf(chunk, i) < DEVICE_BASE_PFN) continue;
    looked['dirty-tracked']++;
    const index = vma.pgoffOf(base + i);
    const entry = entries?.find(index) ?? 0;
    if (entry !== 0 && (entryFlags(entry) & DAX_DIRTY) !== 0) {
      if (!(chunk instanceof Uint32Array)) return;
      continue;
    }
    const state = entry === 0 ? 'no entry' : (entryFlags(entry) & DAX_ZERO) !== 0 ? 'the page of zeroes' : 'a clean entry';
    const cpu = entryText(entryAt(chunk, i), mm.platform.profile.devmapBit);
    report({
      rule: 'dirty-tracked', mm: mm.id, start: base + i, end: base + i + 1, cpu,
      what: `${mm.name} has ${cpu} for page ${index} of ${inode.name}, for which the file has ${state}: fsync will not write it back`,
      missing: (lo & PTE_RW) === 0 ? 'the DIRTY tag, kept until the page is flushed' : 'the entry is write-protected wherever it is mapped before its tag is cleared, and tagged when it is made writable',
    });
    return;
  }
}

/** An entry has just been made. */
export function checkSync(mm: Mm, event: Extract<MachineEvent, { type: 'entry' }>, uncommitted: Uncommitted, report: Report, looked: Looked): void {
  const vma = mm.vmas.at(event.vpn);
  if (!event.write || vma === null || !vma.has(VM_SYNC) || !vma.isFsDax) return;
  looked['sync-order']++;
  const inode = vma.file?.inode as Inode;
  // Beside others the file's metadata may have become dirty again, by what is none of this block's.
  if (!inode.metadataDirty || (mm.platform.sched.concurrent && !uncommitted.has(inode, vma.pgoffOf(event.vpn)))) return;
  const chunk = chunkNow(mm.pageTable, event.vpn);
  const entry = entryAt(chunk, event.vpn % PMD_PAGES);
  if (!isWritable(entry.lo)) return;
  const cpu = entryText(entry, mm.platform.profile.devmapBit);
  report({
    rule: 'sync-order', mm: mm.id, start: event.vpn, end: event.vpn + 1, cpu,
    what: `${mm.name} may write page ${vma.pgoffOf(event.vpn)} of ${inode.name} through MAP_SYNC, and a power cut now would lose the metadata that leads to it`,
    missing: 'VM_FAULT_NEEDDSYNC, and dax_finish_sync_fault() after vfs_fsync_range()',
  });
}
