/**
 * migrate_vma_setup, _pages and _finalize: an area's pages to a device's memory, and back (mm/migrate_device.c).
 *
 * A driver's order: setup; destinations for what is to migrate, locked and with a reference, and the bytes copied; pages; what still
 * has MIGRATE has moved; finalize. The caller holds mmap_lock for reading throughout. Between setup and finalize the pages are locked
 * and their entries are migration entries: who touches them waits.
 */
import { LEVEL_PTE, PTE_RW } from '../../abi.ts';
import type { ErrnoCode } from '../../errno.ts';
import type { Platform } from '../../memremap/index.ts';
import { DEVICE_MEMORY_BASE_PFN, PAGE_EXCLUSIVE } from '../../page/index.ts';
import { SWP_DEVICE_READ, SWP_DEVICE_WRITE, framePfn, isPresent, swapHi, swapLo } from '../../pgtable/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import type { Pfn, Vpn } from '../../units.ts';
import { ownPage, prepareAnonVma } from '../anonVma.ts';
import { vmaFlagsLo } from '../insert.ts';
import { letGo } from '../hold.ts';
import { invalidateEnd, invalidateStart } from '../mm.ts';
import type { NotifierRange } from '../notifier/index.ts';
import { VM_HUGETLB, VM_SPECIAL, VM_UFFD_MISSING, type Vma } from '../vma.ts';
import { collectPages } from './collect.ts';
import { isDevicePrivate, mapPage } from './entries.ts';
import { cacheOf } from './mappers.ts';
import { MIGRATE_PFN_MIGRATE, type MigratePages, type MigrateVma } from './migration.ts';
import { putBack, unmapPages } from './unmap.ts';

/**
 * Collects, locks and unmaps. EINVAL: no such area, hugetlb, special, DAX, or a range that is not within the area; then nothing has
 * been told to anyone. Otherwise null, also where nothing is to migrate.
 */
export function* migrateVmaSetup(m: MigrateVma): Sleepable<ErrnoCode | null> {
  const { vma } = m;
  if (vma === null || vma.has(VM_HUGETLB | VM_SPECIAL) || vma.isDax) return 'EINVAL';
  if (m.start >= m.end || m.start < vma.start || m.end > vma.end) return 'EINVAL';
  if (m.faultPage >= 0 && !isDevicePrivate(vma, m.faultPage)) return 'EINVAL';
  m.cpages = 0;
  yield* collectPages(m, vma);
  if (m.cpages > 0) m.cpages = yield* unmapPages(vma.mm.platform, m.src, m.end - m.start, m.faultPage);
  return null;
}

/** Moves what has a destination. Where pages are put into holes, under a MIGRATE from the first hole to the end of the range. */
export function* migrateVmaPages(m: MigrateVma): Sleepable<void> {
  const { vma, src, dst } = m;
  if (vma === null) return;
  const { mm } = vma;
  let told = false;
  let range: NotifierRange | null = null;
  for (let i = 0; i < m.end - m.start; i++) {
    const to = dst.pfn(i);
    const from = src.pfn(i);
    if (to < 0) src.giveUp(i);
    else if (from >= 0) migratePage(mm.platform, src, i, from, to, m.faultPage);
    else if (src.has(i, MIGRATE_PFN_MIGRATE)) {
      if (!told) range = yield* invalidateStart(mm, 'MIGRATE', m.start + i, m.end, m.owner);
      told = true;
      if (!insertPage(vma, m.start + i, to)) src.giveUp(i);
    }
  }
  if (told) invalidateEnd(mm, range);
}

/** Puts entries in the place of migration entries: of the destination where the page moved, else of the page itself. */
export function migrateVmaFinalize(m: MigrateVma): void {
  if (m.vma !== null) finalizePages(m.vma.mm.platform, m.src, m.dst, m.end - m.start);
}

/** __migrate_device_pages() for one page that there is. It stays where file pages are to go to a device, or someone has taken a reference. */
export function migratePage(platform: Platform, src: MigratePages, i: number, from: Pfn, to: Pfn, faultPage: Pfn): void {
  if (!src.has(i, MIGRATE_PFN_MIGRATE)) return;
  const { records } = platform;
  const cache = cacheOf(platform, from);
  const expected = 1 + (from === faultPage ? 1 : 0) + (cache === undefined ? 0 : 1);
  if ((to >= DEVICE_MEMORY_BASE_PFN && cache !== undefined) || records.refs(from) !== expected) {
    src.giveUp(i);
    return;
  }
  records.setOwner(to, records.flags(from) & ~PAGE_EXCLUSIVE, records.owner(from), records.index(from));
  cache?.replace(records.index(from), to);
}

/** migrate_vma_finalize(), migrate_device_finalize(): entries, locks and references of both sides. */
export function finalizePages(platform: Platform, src: MigratePages, dst: MigratePages, npages: number): void {
  const { pageLocks } = platform;
  for (let i = 0; i < npages; i++) {
    const from = src.pfn(i);
    const to = dst.pfn(i);
    if (from >= 0) {
      putBack(platform, from, src.has(i, MIGRATE_PFN_MIGRATE) && to >= 0 ? to : from);
      pageLocks.unlock(from);
      letGo(platform, from);
    }
    if (to >= 0) {
      pageLocks.unlock(to);
      letGo(platform, to);
    }
  }
}

/** migrate_vma_insert_page(): a page for a hole, or in the place of zeroes; false where something else has come, a userfaultfd handler or the OOM reaper among it. */
function insertPage(vma: Vma, vpn: Vpn, pfn: Pfn): boolean {
  const { ram, records } = vma.mm.platform;
  const pt = vma.mm.pageTable;
  if (vma.ops !== null || vma.has(VM_UFFD_MISSING) || vma.mm.unstable || !pt.slot(vpn, LEVEL_PTE) || pt.level !== LEVEL_PTE) return false;
  if (!pt.none && !(isPresent(LEVEL_PTE, pt.lo) && ram.isZero(framePfn(pt.lo, pt.hi)))) return false;
  prepareAnonVma(vma);
  ownPage(vma, pfn, vpn);
  ram.get(pfn);
  records.addMappings(pfn, 1);
  vma.mm.mayHaveSwapEntries = true;
  const write = (vmaFlagsLo(vma.flags, LEVEL_PTE, true) & PTE_RW) !== 0;
  if (isDevicePrivate(vma, pfn)) pt.setRaw(swapLo(pfn), swapHi(write ? SWP_DEVICE_WRITE : SWP_DEVICE_READ, pfn));
  else mapPage(vma, pfn, write, write, true);
  return true;
}
