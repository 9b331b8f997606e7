/**
 * Poison in a device page: file system DAX and device DAX (mm/memory-failure.c: memory_failure_dev_pagemap, mf_generic_kill_procs).
 *
 * No entry of its own is left behind. Whoever of this process maps the page is to be killed, which is SIGBUS to who can take it; then
 * the file is unmapped around the page everywhere, as far as the largest of those mappings goes. Private copies stay. The next touch
 * faults, and finds the page good where the device keeps no list of bad blocks.
 *
 * Who else maps it is unmapped, but not told: only the process that asked is `current`, and early kill is off.
 */
import { DEVICE_BASE_PFN, PAGE_POISONED } from '../../page/index.ts';
import { framePfn } from '../../pgtable/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import { alignDown, pagesOfLevel, type Pfn, type Vpn } from '../../units.ts';
import { countedPage } from '../gup/index.ts';
import { tellBreach, type Mm } from '../mm.ts';
import { unmapMappingRange } from '../rmap.ts';
import type { Vma } from '../vma.ts';
import type { Failed } from './inject.ts';
import { PoisonSignal } from './signal.ts';

/** `vpn`: where the page was found; of a compound page its first page fails. */
export function* failDevicePage(mm: Mm, vpn: Vpn, pfn: Pfn): Sleepable<Failed> {
  const { platform } = mm;
  const vma = mm.vmas.at(vpn);
  const file = vma?.file ?? null;
  if (vma === null || file === null || platform.pgmaps.find(pfn) === null) return { err: 'ENXIO', signals: [] };
  const failed = countedPage(platform, pfn);
  const owner = vma.ops?.pageOwner?.(failed) ?? { inode: file.inode, index: vma.pgoffOf(vpn) - (pfn - failed) };
  if (owner === 'nobody') return { err: 'EBUSY', signals: [] };
  const { inode, index } = owner;
  // Reads of shared blocks tie a page to the file that was read last: the others keep it.
  if (inode !== file.inode) tellBreach(mm, 'poison-unmapped', 'sharedReadUnmaps', vpn, vpn + 1);
  platform.records.setFlags(failed, platform.records.flags(failed) | PAGE_POISONED);

  const signals: PoisonSignal[] = [];
  let npages = 0;
  for (const area of inode.mappings.collect(index, index + 1) as Vma[]) {
    if (area.mm !== mm) continue;
    const at = area.start + (index - area.pgoff);
    const level = deviceLeaf(area, at);
    if (level < 0) continue;
    signals.push(new PoisonSignal(at, 12 + 9 * level));
    npages = Math.max(npages, pagesOfLevel(level));
  }
  if (npages > 0) {
    const first = alignDown(index, npages);
    yield* unmapMappingRange(inode, first, first + npages + (platform.profile.poisonUnmapsFromZero ? first : 0), false);
  }
  return { err: null, signals };
}

/** dev_pagemap_mapping_shift(): the level of the leaf over `vpn` that maps device memory, or -1. */
function deviceLeaf(vma: Vma, vpn: Vpn): number {
  const pt = vma.mm.pageTable;
  if (!pt.look(vpn) || framePfn(pt.lo, pt.hi) < DEVICE_BASE_PFN) return -1;
  return pt.level;
}
