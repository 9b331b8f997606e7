/**
 * What a 2019 walk makes of entries that are neither empty nor present (mm/hmm.c: hmm_vma_handle_pte, hmm_vma_walk_pmd, v5.2).
 *
 * Device-private pages are told with their flag, and faulted only for who asks for them by that flag. Swapped out pages, and pages
 * on their way, the era's code looks at before it knows what is asked: they are NONE, and nobody is faulted or waits (bug switch
 * swap-never-faulted). A 2M page on its way is waited for by who asks; who does not finds its words untouched (migrating-pmd-untouched).
 */
import { LEVEL_PTE } from '../abi.ts';
import { SWP_HWPOISON, isDevicePrivateType, isMigrationType, isWritableType, swapType } from '../pgtable/index.ts';
import { swapPfn } from '../mm/index.ts';
import type { Sleepable } from '../sched/index.ts';
import type { Walk2019, WalkErrno } from './fault2019.ts';
import { tellEra } from './toldCalls.ts';
import { PFN_FLAG_DEVICE_PRIVATE, PFN_VALUE_NONE, cpuFlags, encodePfn, needFault, needFaultOfAny } from './need2019.ts';

/** 'fault': to be faulted, as `need` says. 'refuse': poison and what else cannot be had. 'pass': the walk goes on; else its end. */
export type AbsentAnswer = { readonly kind: 'fault'; readonly need: number } | { readonly kind: 'refuse' | 'pass' } | { readonly kind: 'end'; readonly answer: WalkErrno };

const PASS: AbsentAnswer = { kind: 'pass' };

/** The pte at which the walk stopped. */
export function* walkAbsentPte(w: Walk2019): Sleepable<AbsentAnswer> {
  const { range } = w;
  const { vpn, lo, hi } = w.stop;
  const i = vpn - range.start;
  const word = range.words[i] as bigint;
  const type = swapType(hi);
  const eager = w.fault && !w.mm.platform.bugs.has('swap-never-faulted');
  range.words[i] = range.values[PFN_VALUE_NONE];
  if (isDevicePrivateType(type)) {
    const there = cpuFlags(range, isWritableType(type)) | range.flags[PFN_FLAG_DEVICE_PRIVATE];
    const need = w.fault ? needFault(range, word, there) : 0;
    if (need !== 0) return { kind: 'fault', need };
    range.words[i] = encodePfn(range, swapPfn(lo, hi), isWritableType(type)) | there;
    return PASS;
  }
  const need = eager ? needFault(range, word, 0n) : 0;
  if (w.fault && !eager && needFault(range, word, 0n) !== 0) tellEra(w.mm, 'swap-never-faulted', vpn, vpn + 1);
  if (type < SWP_HWPOISON) return need === 0 ? PASS : { kind: 'fault', need };
  if (!isMigrationType(type)) return { kind: 'refuse' };
  if (need === 0) return PASS;
  range.words[i] = word;
  return yield* awaitMigration(w);
}

/** The 2M entry at which the walk stopped, for the `npages` that the range has of it. */
export function* walkMigratingPmd(w: Walk2019, npages: number): Sleepable<AbsentAnswer> {
  const { range } = w;
  const i = w.stop.vpn - range.start;
  const need = w.fault ? needFaultOfAny(range, range.words, i, i + npages, 0n) : 0;
  if (need !== 0) return yield* awaitMigration(w);
  if (!w.mm.platform.bugs.has('migrating-pmd-untouched')) {
    range.words.fill(range.values[PFN_VALUE_NONE], i, i + npages);
    w.last = w.stop.vpn + npages;
  } else tellEra(w.mm, 'migrating-pmd-untouched', w.stop.vpn, w.stop.vpn + npages);
  return PASS;
}

/** migration_entry_wait(), with mmap_lock held; then the walk comes again. */
function* awaitMigration(w: Walk2019): Sleepable<AbsentAnswer> {
  const { platform } = w.mm;
  w.last = w.stop.vpn;
  yield* platform.pageLocks.waitUnlocked(platform.sched, swapPfn(w.stop.lo, w.stop.hi));
  return { kind: 'end', answer: 'EBUSY' };
}

/** Does a migration entry stand at this level? */
export function isMigrating(w: Walk2019, level: number): boolean {
  return level > LEVEL_PTE && isMigrationType(swapType(w.stop.hi));
}
