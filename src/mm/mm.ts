/**
 * An address space: VMAs, the page table they are mapped by, the lock over both and the notifiers that mirror it
 * (include/linux/mm_types.h: struct mm_struct).
 */
import { Livelock } from '../errno.ts';
import type { Platform } from '../memremap/index.ts';
import { PageTable } from '../pgtable/index.ts';
import { UNTOLD_BUGS, type BugSwitch, type KernelProfile, type UntoldBug } from '../profile/index.ts';
import { RwLock, type Sleepable } from '../sched/index.ts';
import type { NotifierEvent } from '../events/events.ts';
import type { Vpn } from '../units.ts';
import { MmuNotifiers, type NotifierRange } from './notifier/index.ts';
import type { UserFault } from './userWait.ts';
import type { Vma } from './vma.ts';
import { VmaTree } from './vmaTree.ts';

/** vm.max_map_count */
export const MAX_MAP_COUNT = 65530;
/** mmap_min_addr: 64 KiB */
export const MIN_VPN: Vpn = 16;
/** Where addresses end that nobody asks for by a hint beyond it: 47 bits, less the guard page (DEFAULT_MAP_WINDOW). */
export const MAP_WINDOW_VPN: Vpn = 2 ** 35 - 1;
/** where mmap looks from, downwards, with address randomisation off */
export const MMAP_BASE_VPN: Vpn = 0x7ffff7fff;

/** A second MMU that follows a process's page table. For who compares them: the core never looks. */
export interface SecondaryMmu {
  readonly name: string;
  readonly mm: Mm;
  readonly table: PageTable;
  /** false: it mirrors nothing any more */
  readonly attached: boolean;
  /** the process's page behind a page of its table; -1: none any more */
  readonly vpnOf: (page: Vpn) => Vpn | -1;
  /** invalidations that it counts as in flight, if it counts */
  readonly inProgress?: number;
}

export class Mm {
  readonly id: number;
  readonly name: string;
  readonly platform: Platform;
  readonly vmas = new VmaTree<Vma>();
  readonly pageTable: PageTable;
  readonly notifiers: MmuNotifiers;
  readonly mmapLock: RwLock;
  /** second MMUs that follow it */
  readonly mirrors = new Set<SecondaryMmu>();
  /** bug switches that are on, if one of those is by which an operation forgets to tell; else null */
  readonly untold: ReadonlySet<BugSwitch> | null;
  /** false once the process has exited */
  alive = true;
  /** the OOM reaper has begun: what is not mapped any more is gone (MMF_UNSTABLE) */
  unstable = false;
  /** entries that are neither empty nor present, or NUMA hints, have been made here: what goes over ranges quickly has to look for them */
  mayHaveSwapEntries = false;
  /** faults that wait for the userfaultfd handler, by page */
  readonly userFaults = new Map<Vpn, UserFault>();
  /** MMF_HAS_PINNED: pages of it were pinned at some time */
  hasPinned = false;

  constructor(platform: Platform, id: number, name: string) {
    this.id = id;
    this.name = name;
    this.platform = platform;
    this.untold = UNTOLD_BUGS.some((bug) => platform.bugs.has(bug)) ? platform.bugs : null;
    this.pageTable = new PageTable(platform.arena, platform.levels);
    this.notifiers = new MmuNotifiers(id, platform.sched, platform.bus, platform.bugs);
    this.mmapLock = new RwLock(`mmap_lock ${id}`, '*', `areas ${id}`);
  }

  /** TASK_SIZE: where this space ends, less the guard page; with LA57 that is 56 bits. */
  get taskEndVpn(): Vpn {
    return this.pageTable.endVpn - 1;
  }

  /** What preemption points that work on this space's page table touch. */
  get touches(): string {
    return `mm ${this.id}`;
  }
}

/**
 * Opens an invalidation of `[start, end)`; to be closed with `invalidateEnd` and what this returns. Null when nobody
 * listens. Blockable: it cannot be refused. `untold`: the bug switch by which the caller forgets to raise it.
 */
export function* invalidateStart(
  mm: Mm, event: NotifierEvent, start: Vpn, end: Vpn, owner: object | null = null, untold: UntoldBug | null = null,
): Sleepable<NotifierRange | null> {
  if (mm.untold !== null && untold !== null && mm.untold.has(untold)) return null;
  const { counts, bus, sched } = mm.platform;
  counts.invalidations++;
  // Where others can run somebody may begin to listen before the end.
  if (!mm.notifiers.heard && !bus.on && !sched.concurrent) return null;
  const range: NotifierRange = { event, start, end, blockable: true, owner };
  yield* mm.notifiers.start(range);
  return range;
}

/** `invalidateStart` where `mm.notifiers.startsNow`: by plain functions. */
export function invalidateStartNow(mm: Mm, event: NotifierEvent, start: Vpn, end: Vpn, owner: object | null = null, untold: UntoldBug | null = null): NotifierRange | null {
  if (mm.untold !== null && untold !== null && mm.untold.has(untold)) return null;
  const { counts, bus } = mm.platform;
  counts.invalidations++;
  if (!mm.notifiers.heard && !bus.on) return null;
  const range: NotifierRange = { event, start, end, blockable: true, owner };
  mm.notifiers.startNow(range);
  return range;
}

export function invalidateEnd(mm: Mm, range: NotifierRange | null): void {
  if (range !== null) mm.notifiers.end(range);
}

/** A retry loop over page `vpn` is back at its head with nothing changed, `rounds` times over: whoever checks hears of it before it is thrown. */
export function livelock(mm: Mm, loop: string, vpn: Vpn, rounds = 1): Livelock {
  const { bus } = mm.platform;
  if (bus.on) bus.emit({ type: 'livelock', mm: mm.id, loop, vpn, rounds });
  return new Livelock(loop);
}

/** The modelled kernel is about to break the guarantee over `[start, end)`, this rule of it, as `field` of its profile (or a bug that it has) says: whoever checks may know. */
export function tellBreach(mm: Mm, rule: string, field: keyof KernelProfile | BugSwitch, start: Vpn, end: Vpn): void {
  const { bus } = mm.platform;
  if (bus.on) bus.emit({ type: 'breach', rule, field, mm: mm.id, start, end });
}
