/**
 * MADV_COLLAPSE of shmem (mm/khugepaged.c: collapse_file, retract_page_tables): 2 MiB of the file become one folio, holes and all, and
 * the area that asked maps it whole. Who maps its pages is unmapped page by page, then every area that covers the 2 MiB as a whole.
 */
import { LEVEL_PMD, LEVEL_PTE, PMD_PAGES } from '../../abi.ts';
import type { ErrnoCode } from '../../errno.ts';
import { framePfn, isPresent } from '../../pgtable/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import { alignDown, type Vpn } from '../../units.ts';
import { invalidateEnd, invalidateStart } from '../mm.ts';
import { eachMapping } from '../rmap.ts';
import type { Vma } from '../vma.ts';
import { unmapFolio, type Folio } from './cache.ts';
import { installWhole } from './map.ts';
import type { ShmemFile } from './shmem.ts';
import { dropMappingOf } from './unmapFolio.ts';

/** The 2 MiB from `base` on of an area that covers them. Null: done; EINVAL: done for the file, but the area had no table there, or has copies of its own; EAGAIN: a page is held; ENOMEM. */
export function* collapseShmem(file: ShmemFile, vma: Vma, base: Vpn): Sleepable<ErrnoCode | null> {
  const { cache } = file;
  const index = vma.pgoffOf(base);
  if (index % PMD_PAGES !== 0 || index >= file.sizePages) return 'EINVAL';
  let folio = cache.get(index);
  let hasTable = true; // of a folio that there was this is not asked
  if (folio?.order !== 9) {
    const old = cache.folios(index, index + PMD_PAGES);
    if (old.some((one) => isHeld(file, one))) return 'EAGAIN';
    for (const one of old) if (cache.isMapped(one)) yield* unmapFolio(cache, one);
    const made = cache.merge(index);
    if (made === null) return 'ENOMEM';
    folio = made;
    vma.mm.pageTable.look(base);
    hasTable = vma.mm.pageTable.level === LEVEL_PTE;
  }
  const whole = folio;
  yield* eachMapping(cache.inode, index, index + PMD_PAGES, (area, start, end) => retract(area, start, end, whole));
  if (!hasTable || mapsOthers(vma, base, whole)) return 'EINVAL';
  installWhole(vma, base, whole);
  return null;
}

/** Does the area have other pages there than the folio's: copies of its own? */
function mapsOthers(vma: Vma, base: Vpn, folio: Folio): boolean {
  const pt = vma.mm.pageTable;
  const end = base + PMD_PAGES;
  for (let vpn = pt.nextEntry(base, end, LEVEL_PTE); vpn >= 0; vpn = vpn + 1 >= end ? -1 : pt.nextEntry(vpn + 1, end, LEVEL_PTE)) {
    pt.look(vpn);
    if (pt.level === LEVEL_PTE && (!isPresent(LEVEL_PTE, pt.lo) || framePfn(pt.lo, pt.hi) !== folio.pfn + (vpn - base))) return true;
  }
  return false;
}

/** More references than the cache and its mappings have. */
function isHeld({ cache }: ShmemFile, folio: Folio): boolean {
  const { ram } = cache.platform;
  let mappings = 0;
  for (let i = 0; i < 2 ** folio.order; i++) mappings += ram.mappings(folio.pfn + i);
  return ram.refs(folio.pfn) > 1 + mappings;
}

/** retract_page_tables(): an area that covers the 2 MiB loses its page table there. */
function* retract(vma: Vma, start: Vpn, end: Vpn, folio: Folio): Sleepable<void> {
  if (start % PMD_PAGES !== 0 || end - start !== PMD_PAGES || vma.anonVma !== null) return;
  const pt = vma.mm.pageTable;
  pt.look(start);
  if (pt.level >= LEVEL_PMD) return;
  const range = yield* invalidateStart(vma.mm, 'CLEAR', start, end);
  dropMappingOf(vma.mm, start, end, folio.pfn, folio.pfn + PMD_PAGES, 0);
  pt.freeTables(alignDown(start, PMD_PAGES), PMD_PAGES);
  invalidateEnd(vma.mm, range);
}
