/**
 * Faults on entries that are neither empty nor present (mm/memory.c: do_swap_page, remove_device_exclusive_entry).
 */
import { LEVEL_PTE, PTE_RW } from '../../abi.ts';
import {
  SWP_EXCLUSIVE_WRITE, SWP_HWPOISON, isDeviceExclusiveType, isDevicePrivateType, isMigrationType, isSwapEntry, swapType,
} from '../../pgtable/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import type { Pfn, Vpn } from '../../units.ts';
import { vmaFlagsLo } from '../insert.ts';
import { hold, letGo } from '../hold.ts';
import { invalidateEnd, invalidateStart } from '../mm.ts';
import { swapInPage } from '../swap.ts';
import { VM_FAULT_HWPOISON, VM_FAULT_SIGBUS, type Vma, type Vmf } from '../vma.ts';
import { zapTouches } from '../zap.ts';
import { lookPte, mapPage, swapPfn } from './entries.ts';

/**
 * Sees to the entry at `vmf.vpn`, which the page table has found: waits for a migration, has a device give back what it holds, or
 * answers what poison is. 0: the access is to be tried again.
 */
export function* swapFault(vmf: Vmf): Sleepable<number> {
  const { vma, vpn } = vmf;
  const { platform, pageTable: pt } = vma.mm;
  const type = swapType(pt.hi);
  if (type < SWP_HWPOISON) return yield* swapInPage(vmf);
  const pfn = swapPfn(pt.lo, pt.hi);
  if (isMigrationType(type)) yield* platform.pageLocks.waitUnlocked(platform.sched, pfn);
  else if (isDeviceExclusiveType(type)) yield* takeBackExclusive(vma, vpn, pfn);
  else if (isDevicePrivateType(type)) return yield* migrateToRam(vmf, pfn);
  else return type === SWP_HWPOISON ? VM_FAULT_HWPOISON : VM_FAULT_SIGBUS;
  return 0;
}

/** The page's driver brings it back; meanwhile the core holds a reference. */
function* migrateToRam({ vma, vpn }: Vmf, pfn: Pfn): Sleepable<number> {
  const { platform } = vma.mm;
  const driver = platform.pgmaps.find(pfn)?.ops;
  if (driver?.migrateToRam === undefined) return VM_FAULT_SIGBUS;
  const held = !platform.bugs.has('private-fault-unheld');
  if (held) hold(platform, pfn, 'do_swap_page');
  if (platform.sched.concurrent) yield platform.sched.point('device-private entry read', '*');
  platform.ledger?.uses(pfn, 'do_swap_page, for migrate_to_ram(),');
  const result = yield* driver.migrateToRam({ vma, vpn, pfn, held });
  if (held) letGo(platform, pfn);
  return result;
}

/** remove_device_exclusive_entry(): EXCLUSIVE over the page, without an owner, and it is the process's again. */
function* takeBackExclusive(vma: Vma, vpn: Vpn, pfn: Pfn): Sleepable<void> {
  const { mm } = vma;
  const { sched, pageLocks } = mm.platform;
  const held = !mm.platform.bugs.has('exclusive-removed-unheld');
  if (held) hold(mm.platform, pfn, 'remove_device_exclusive_entry');
  if (sched.concurrent) yield sched.point('exclusive entry read', '*');
  yield* pageLocks.lock(sched, pfn);
  mm.platform.ledger?.uses(pfn, 'remove_device_exclusive_entry');
  const range = yield* invalidateStart(mm, 'EXCLUSIVE', vpn, vpn + 1);
  if (sched.concurrent) yield sched.point('exclusive entry goes', zapTouches(vma));
  if (lookPte(vma, vpn) && isExclusiveOf(vma, pfn)) restoreExclusive(vma, pfn);
  pageLocks.unlock(pfn);
  invalidateEnd(mm, range);
  if (held) letGo(mm.platform, pfn);
}

/** Is the pte found last an exclusive one of that page? */
export function isExclusiveOf(vma: Vma, pfn: Pfn): boolean {
  const { lo, hi } = vma.mm.pageTable;
  return isSwapEntry(LEVEL_PTE, lo, hi) && isDeviceExclusiveType(swapType(hi)) && swapPfn(lo, hi) === pfn;
}

/** restore_exclusive_pte(): the entry found last is present again, and counts as a mapping; the reference it held stays. */
export function restoreExclusive(vma: Vma, pfn: Pfn): void {
  const { records, ram, ledger } = vma.mm.platform;
  const pt = vma.mm.pageTable;
  const write = swapType(pt.hi) === SWP_EXCLUSIVE_WRITE;
  const allowed = (vmaFlagsLo(vma.flags, LEVEL_PTE, true) & PTE_RW) !== 0;
  records.addMappings(pfn, 1);
  ledger?.put(ram.head(pfn), 1); // it is the mapping's
  mapPage(vma, pfn, write && allowed, write, false);
}
