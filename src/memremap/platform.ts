/** The hardware and the services that every room above works on: what machine.ts wires together first. */
import type { Arena } from '../arena/index.ts';
import type { EventBus } from '../events/events.ts';
import type { AnonVmas, FileOwners, HugePools, PageLocks, PageRecords, Ram, SwapCache } from '../page/index.ts';
import type { Persistence } from '../persistence/index.ts';
import type { BugSwitch, KernelProfile } from '../profile/index.ts';
import type { Random, Scheduler } from '../sched/index.ts';
import type { ReferenceLedger } from './ledger.ts';
import type { PgMaps } from './pgmap.ts';
import type { UncommittedBlocks } from './uncommitted.ts';

export interface Platform {
  readonly arena: Arena;
  readonly sched: Scheduler;
  readonly bus: EventBus;
  readonly profile: KernelProfile;
  /** bug switches that are on: the profile's and those asked for */
  readonly bugs: ReadonlySet<BugSwitch>;
  readonly random: Random;
  readonly records: PageRecords;
  readonly ram: Ram;
  readonly anonVmas: AnonVmas;
  /** page caches, by the number that page records have */
  readonly caches: FileOwners;
  readonly hugePools: HugePools;
  readonly pageLocks: PageLocks;
  readonly swapCache: SwapCache;
  readonly pgmaps: PgMaps;
  /** 4, or 5 for LA57 */
  readonly levels: 4 | 5;
  /** high half of a devmap entry's flags under this profile */
  readonly devmapHi: number;
  /** what a power cut would leave of persistent memory; null: nobody keeps track */
  persistence: Persistence | null;
  /** hears of references that are no mapping's; null: nobody does */
  ledger: ReferenceLedger | null;
  /** hears of blocks that a power cut would lose; null: nobody does */
  uncommitted: UncommittedBlocks | null;
  /** counts since the machine was made or reset */
  readonly counts: Counts;
}

/** Exact counts of what happened: modelled, never time. */
export interface Counts {
  faults: number;
  faultsMajor: number;
  invalidations: number;
  hmmFaults: number;
}

export function newCounts(): Counts {
  return { faults: 0, faultsMajor: 0, invalidations: 0, hmmFaults: 0 };
}
