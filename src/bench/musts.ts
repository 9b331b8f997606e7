/**
 * What has to be reached: bounds as data, and the judgement of a report by them. Ratios are medians over rounds.
 *
 * A must whose rows were not run is not judged; one whose rows ran and have no number (a peer is missing, a row was refused) is not known
 * to hold, and says why.
 */
import { GiB, LEVEL_SIZES, MiB } from '../units.ts';
import type { Row } from './report.ts';
import type { QuietSpread } from './spread.ts';

/** What of the workload's base row is held against the bound. */
export type Quantity =
  | { readonly kind: 'time against'; readonly peer: string }
  | { readonly kind: 'speed over'; readonly peer: string }
  | { readonly kind: 'per second' }
  | { readonly kind: 'ns' }
  | { readonly kind: 'bytes'; readonly size: string };

export interface Must {
  readonly workload: string;
  readonly quantity: Quantity;
  readonly atLeast?: number;
  readonly atMost?: number;
}

/** One bound for 4K, 2M and 1G pages: `name` with the page size in place of `#`. */
function bySize(name: string, bound: Omit<Must, 'workload'>): Must[] {
  return LEVEL_SIZES.map((pageSize) => ({ workload: name.replace('#', pageSize), ...bound }));
}

/** Of tables larger than caches: what stores cost there is memory's price, whatever their width. */
const OF_MEMSET: Omit<Must, 'workload'> = { quantity: { kind: 'time against', peer: 'memset' }, atMost: 1.5 };

export const MUSTS: readonly Must[] = [
  { workload: 'fill 4K, 2 MiB, 4 KiB of words', quantity: { kind: 'time against', peer: 'avx2' }, atMost: 2.5 },
  { workload: 'fill 4K, 1 GiB, 512 KiB window', quantity: { kind: 'speed over', peer: 'plain' }, atLeast: 3 },
  { workload: 'fill 4K, 1 GiB, 512 KiB window', quantity: { kind: 'time against', peer: 'avx2' }, atMost: 1.6 },
  { workload: 'fill 4K, 64 GiB, 128 MiB of words', quantity: { kind: 'time against', peer: 'avx2' }, atMost: 1.2 },
  { workload: 'fill 4K, 1 TiB, 512 KiB window', quantity: { kind: 'time against', peer: 'avx2' }, atMost: 1.4 },
  { workload: 'fill 2M, 2 MiB, 4 KiB of words', quantity: { kind: 'time against', peer: 'avx2' }, atMost: 2.2 },
  { workload: 'fill 1G, 2 MiB, 4 KiB of words', quantity: { kind: 'time against', peer: 'avx2' }, atMost: 2.2 },
  { workload: 'fill 2M, 1 GiB, 512 KiB window', quantity: { kind: 'time against', peer: 'avx2' }, atMost: 2.2 },
  { workload: 'fill 1G, 1 GiB, 512 KiB window', quantity: { kind: 'time against', peer: 'avx2' }, atMost: 2.2 },
  { workload: 'fill 2M, 64 GiB, 128 MiB of words', quantity: { kind: 'time against', peer: 'avx2' }, atMost: 1.15 },
  { workload: 'fill 1G, 64 GiB, 128 MiB of words', quantity: { kind: 'time against', peer: 'avx2' }, atMost: 1.15 },
  ...bySize('fill #, 1 GiB, 512 KiB window, 2019 snapshot', { quantity: { kind: 'speed over', peer: 'hmm2019' }, atLeast: 8 }),
  ...bySize('fill #, 1 GiB, 512 KiB window, 2019 fault', { quantity: { kind: 'speed over', peer: 'hmm2019' }, atLeast: 11 }),
  { workload: 'fill 4K, 1 GiB, 512 KiB window, 10 % read-only', quantity: { kind: 'time against', peer: 'dense' }, atMost: 1.8 },
  { workload: 'fill 4K, 1 GiB, 512 KiB window, 25 % holes in runs', quantity: { kind: 'time against', peer: 'dense' }, atMost: 1.8 },
  { workload: 'fill 4K, 1 GiB, 512 KiB window, 25 % holes at random', quantity: { kind: 'time against', peer: 'dense' }, atMost: 3 },
  { workload: 'fill 4K, 1 GiB, 512 KiB window, 2019 fault, 64 pagemaps', quantity: { kind: 'time against', peer: 'dense' }, atMost: 1.8 },
  { workload: 'fill 4K, 1 GiB, 2 MiB of words, requests by page', quantity: { kind: 'time against', peer: 'range-wide' }, atMost: 2.5 },
  { workload: 'fill 4K, 1 GiB, 2 MiB of words, requests by page, 10 % read-only', quantity: { kind: 'time against', peer: 'range-wide' }, atMost: 2.5 },
  ...bySize('translate #, 1 GiB, through the API', { quantity: { kind: 'time against', peer: 'N-API' }, atMost: 0.3 }),
  ...bySize('translate #, 1 GiB, one a call', { quantity: { kind: 'time against', peer: 'N-API' }, atMost: 0.3 }),
  ...bySize('translate #, 1 GiB, batch of 4096', { quantity: { kind: 'time against', peer: 'C++ batch' }, atMost: 1.15 }),
  ...bySize('translate #, 64 GiB, batch of 4096', { quantity: { kind: 'time against', peer: 'C++ batch' }, atMost: 1.15 }),
  { workload: 'populate 4K, 64 GiB, warm', ...OF_MEMSET },
  { workload: 'populate 2M, 8 TiB, warm', ...OF_MEMSET },
  { workload: 'write-protect 4K, 64 GiB', ...OF_MEMSET },
  { workload: 'write-protect 4K, 1 TiB', ...OF_MEMSET },
  { workload: 'zap 4K, 64 GiB', ...OF_MEMSET },
  { workload: 'harvest 4K, 64 GiB', ...OF_MEMSET },
  { workload: 'split 2M, 64 GiB', ...OF_MEMSET },
  { workload: 'fault 4K, one call a page', quantity: { kind: 'per second' }, atLeast: 400e3 },
  { workload: 'fault 4K, one call over 2 MiB', quantity: { kind: 'per second' }, atLeast: 1.5e6 },
  { workload: 'fault 2M, one call a leaf', quantity: { kind: 'per second' }, atLeast: 200e3 },
  { workload: 'fill 4K, 2 MiB, beside the kernel', quantity: { kind: 'speed over', peer: 'pagemap' }, atLeast: 60 },
  { workload: 'fill 4K, 1 GiB, beside the kernel', quantity: { kind: 'speed over', peer: 'pagemap' }, atLeast: 60 },
  { workload: 'fill 2M, 1 GiB, beside the kernel', quantity: { kind: 'speed over', peer: 'pagemap THP' }, atLeast: 15 },
  { workload: 'allocate and zero, 2M faults', quantity: { kind: 'speed over', peer: 'memset' }, atLeast: 0.6 },
  { workload: 'invalidate + refault among 1000 ranges and among 1', quantity: { kind: 'time against', peer: 'among 1' }, atMost: 1.5 },
  { workload: 'find among 65530 VMAs and among 100', quantity: { kind: 'time against', peer: 'among 100' }, atMost: 3 },
  { workload: 'fill 4K, 1 GiB, two Workers', quantity: { kind: 'speed over', peer: 'one Worker' }, atLeast: 1.75 },
  { workload: 'fill 4K, 64 GiB, two Workers', quantity: { kind: 'speed over', peer: 'one Worker' }, atLeast: 1.35 },
  { workload: 'trace replay, lackey text, 4K', quantity: { kind: 'per second' }, atLeast: 5e6 },
  { workload: 'trace replay, lackey text, 4K 2M 1G at once', quantity: { kind: 'per second' }, atLeast: 5e6 },
  { workload: 'explore truncate-fault, up to 3 preemptions', quantity: { kind: 'per second' }, atLeast: 5000 },
  { workload: 'fsx, checks off', quantity: { kind: 'per second' }, atLeast: 60e3 },
  { workload: 'fsx, checks on', quantity: { kind: 'per second' }, atLeast: 20e3 },
  { workload: 'create a machine', quantity: { kind: 'ns' }, atMost: 2e6 },
  { workload: 'create a machine', quantity: { kind: 'bytes', size: 'rssBytes' }, atMost: 10 * MiB },
  { workload: 'reset a machine', quantity: { kind: 'ns' }, atMost: 40e3 },
  { workload: 'populate 4K, 1 TiB, first touch', quantity: { kind: 'per second' }, atLeast: 50e6 },
  { workload: 'populate 4K, 1 TiB, first touch', quantity: { kind: 'bytes', size: 'tableBytes' }, atMost: 2.1 * GiB },
];

/** A must beside what was measured. `holds` is null where nothing could be; `reason` then says why. */
export interface Judgement extends Must {
  readonly measured: number | null;
  /** false: the core was shared in too many rounds, and all of them count */
  readonly isQuiet: boolean;
  readonly holds: boolean | null;
  readonly reason: string | null;
}

/** Judges the musts whose workloads are among the rows. */
export function judge(rows: readonly Row[], musts: readonly Must[] = MUSTS): Judgement[] {
  return musts.flatMap((must): Judgement[] => {
    const own = rows.filter((row) => row.workload === must.workload);
    const base = own[0];
    if (base === undefined) return [];
    const measured = quantityOf(base, must.quantity);
    const isQuiet = spreadUsed(base, must.quantity)?.isQuiet ?? true;
    if (measured === null) return [{ ...must, measured, isQuiet, holds: null, reason: lack(base, own, must.quantity) }];
    return [{ ...must, measured, isQuiet, holds: measured >= (must.atLeast ?? -Infinity) && measured <= (must.atMost ?? Infinity), reason: null }];
  });
}

/** The rounds that a quantity is made of; null for one that is no time. */
function spreadUsed(row: Row, quantity: Quantity): QuietSpread | null {
  if (quantity.kind === 'bytes') return null;
  return 'peer' in quantity ? (row.ratios[quantity.peer] ?? null) : row.ns;
}

function quantityOf(row: Row, quantity: Quantity): number | null {
  if (row.ns === null) return null;
  if (quantity.kind === 'bytes') return row.sizes[quantity.size] ?? null;
  const spread = spreadUsed(row, quantity);
  if (spread === null) return null;
  switch (quantity.kind) {
    case 'time against':
    case 'ns':
      return spread.median;
    case 'speed over':
      return 1 / spread.median;
    case 'per second':
      return 1e9 / spread.median;
  }
}

function lack(base: Row, own: readonly Row[], quantity: Quantity): string {
  if (base.reason !== null) return base.reason;
  const peer = 'peer' in quantity ? quantity.peer : '';
  return own.find((row) => row.contender === peer)?.reason ?? `no ${peer}`;
}
