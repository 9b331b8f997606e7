/**
 * Entries that change in place: write-protect, zap, split, and the harvest of dirty bits, as the page-table room does them.
 *
 * Each runs over a whole range of dirty, writable leaves and is set in relation to a memset of as many bytes as it writes: the tables, or
 * those that splitting makes. What a run takes away is put back untimed; write-protection goes back and forth, each way a run.
 */
import {
  LEVEL_PMD, PTE_DIRTY, PTE_RW, REQ_LEVELS, REQ_NPAGES, REQ_OR, REQ_OUT, REQ_ROOT, REQ_VPN, STOP_CHANGED, STOP_DONE_ALL, STOP_REASON, ACCESS_READ, ACCESS_WRITE,
} from '../../abi.ts';
import { GiB, KiB, MiB, PAGE_SIZES, TiB, type PageSize } from '../../units.ts';
import { bytesName } from '../hmm/walks.ts';
import type { BenchContext, Contender, Work, Workload } from '../workload.ts';
import { START_VPN, Space, memsetOf } from './space.ts';

export interface ChangeSpec {
  readonly op: 'write-protect' | 'zap' | 'harvest' | 'split';
  readonly pageSize: PageSize;
  /** bytes of the address space */
  readonly range: number;
  readonly quick: boolean;
}

/** As long as a run that needs to be put right can be told from the clock's step, and up to what caches do not hold. */
const RANGES = [GiB, 64 * GiB] as const;

export const CHANGES: readonly ChangeSpec[] = [
  ...[64 * KiB, 2 * MiB, ...RANGES, TiB].map((range) => ({ op: 'write-protect', pageSize: '4K', range, quick: range === GiB }) as const),
  ...(['zap', 'harvest'] as const).flatMap((op) => RANGES.map((range) => ({ op, pageSize: '4K', range, quick: false }) as const)),
  { op: 'write-protect', pageSize: '2M', range: 512 * GiB, quick: false },
  ...RANGES.map((range) => ({ op: 'split', pageSize: '2M', range, quick: false }) as const),
  { op: 'split', pageSize: '1G', range: 512 * GiB, quick: false },
];

export const changeWorkloads: readonly Workload[] = CHANGES.map((spec) => ({
  name: changeName(spec),
  table: 'change',
  pageSize: spec.pageSize,
  quick: spec.quick,
  size: { curve: `${spec.op} ${spec.pageSize}`, at: spec.range, of: 'bytes' },
  setup: (context) => changeWork(spec, context),
}));

export function changeName({ op, pageSize, range }: ChangeSpec): string {
  return `${op} ${pageSize}, ${bytesName(range)}`;
}

/** What a run does, and what has to be done before the next. */
interface Change {
  readonly run: () => void;
  /** null: nothing, a run leaves what the next one needs */
  readonly restore: (() => void) | null;
  /** What it lacks, run once: null, or a refusal. */
  readonly check: () => string | null;
  /** it writes */
  readonly bytes: number;
}

/** Throws ENOMEM where the arena is too small. */
export async function changeWork(spec: ChangeSpec, context: BenchContext): Promise<Work> {
  const npages = spec.range / 4096;
  const leaves = npages / PAGE_SIZES[spec.pageSize].npages;
  const space = await Space.create(leaves);
  space.map(npages, spec.pageSize);
  const tableBytes = space.tableBytes;
  const change = changeOf(spec, space, npages, tableBytes);
  const { run, restore, check } = change;
  // Write-protection need not be put right, so that runs can be repeated until they are long enough.
  const runs = (times: number): void => {
    for (let i = 0; i < times; i++) run();
  };
  const contender = (name: string): Contender => ({ name, check, run: runs, ...(restore === null ? {} : { before: restore }) });
  const memset = memsetOf(space, change.bytes, context);
  return {
    unit: 'leaf',
    unitsPerRun: leaves,
    contenders: [contender('walker'), { ...contender('null'), isNull: true }, memset],
    against: ['memset'],
    single: restore !== null,
    ...(spec.range >= TiB ? { rounds: 9 } : {}),
    model: { leaves, tableBytes, entries: null },
    dispose: () => space.core.reset(),
  };
}

function changeOf({ op, pageSize }: ChangeSpec, space: Space, npages: number, tableBytes: number): Change {
  switch (op) {
    case 'write-protect':
      return writeProtect(space, npages, pageSize, tableBytes);
    case 'zap':
      return zap(space, npages, pageSize, tableBytes);
    case 'harvest':
      return harvest(space, npages, tableBytes);
    case 'split':
      return split(space, npages, pageSize);
  }
}

/** RW away from all leaves, and back. */
function writeProtect(space: Space, npages: number, pageSize: PageSize, bytes: number): Change {
  let writable = true;
  let changed = 0;
  const run = (): void => {
    changed = space.table.protect(START_VPN, npages, writable ? PTE_RW : 0, writable ? 0 : PTE_RW);
    writable = !writable;
  };
  const check = (): string | null => {
    for (let i = 0; i < 2; i++) {
      run();
      if (changed !== npages / PAGE_SIZES[pageSize].npages) return `changes ${changed} leaves`;
      const allowed = space.table.translate(START_VPN + npages - 1, ACCESS_WRITE) >= 0;
      if (allowed !== writable || space.check(npages) !== null) return writable ? 'leaves a page protected' : 'leaves a page writable';
    }
    return null;
  };
  return { run, restore: null, check, bytes };
}

/** Everything away; the tables stay. */
function zap(space: Space, npages: number, pageSize: PageSize, bytes: number): Change {
  let cleared = 0;
  const restore = (): void => {
    space.clear();
    space.map(npages, pageSize);
  };
  const run = (): void => {
    cleared = space.table.zap(START_VPN, npages);
  };
  const check = (): string | null => {
    restore();
    run();
    if (cleared !== npages / PAGE_SIZES[pageSize].npages) return `clears ${cleared} leaves`;
    return space.table.nextEntry(START_VPN, START_VPN + npages, 0) < 0 && space.tableBytes === bytes ? null : 'leaves something, or no tables';
  };
  return { run, restore, check, bytes };
}

/** D away from all leaves, into a bitmap. */
function harvest(space: Space, npages: number, bytes: number): Change {
  const { arena } = space.core.platform;
  const request = arena.request(1);
  const bitmap = arena.window(npages / 64);
  const restore = (): void => void space.table.protect(START_VPN, npages, 0, PTE_DIRTY);
  const run = (): void => {
    const { u32, u64, f64 } = arena;
    f64[(request + REQ_VPN) >>> 3] = START_VPN;
    u32[(request + REQ_NPAGES) >>> 2] = npages;
    u32[(request + REQ_ROOT) >>> 2] = space.table.root;
    u32[(request + REQ_LEVELS) >>> 2] = space.table.levels;
    u32[(request + REQ_OUT) >>> 2] = bitmap.offset;
    u64[(request + REQ_OR) >>> 3] = BigInt(PTE_DIRTY);
    arena.walker.harvest(request);
  };
  const check = (): string | null => {
    restore();
    bitmap.halves.fill(0);
    run();
    const changed = arena.u32[(request + STOP_CHANGED) >>> 2];
    if (arena.u32[(request + STOP_REASON) >>> 2] !== STOP_DONE_ALL || changed !== npages) return `harvests ${changed} leaves`;
    return bitmap.halves.every((half) => half === 0xffffffff) ? null : 'misses a page';
  };
  return { run, restore, check, bytes };
}

/** Each large leaf into a table of leaves one level lower. */
function split(space: Space, npages: number, pageSize: PageSize): Change {
  const { level, npages: step } = PAGE_SIZES[pageSize];
  const restore = (): void => {
    space.clear();
    space.map(npages, pageSize);
  };
  let failed = 0;
  const run = (): void => {
    const { table } = space;
    for (let at = 0; at < npages; at += step) if (!table.split(START_VPN + at, level)) failed++;
  };
  const check = (): string | null => {
    restore();
    run();
    if (failed !== 0) return `finds no frame for ${failed} tables`;
    if (space.table.translate(START_VPN + npages - 1, ACCESS_READ) < 0) return 'loses the last page';
    space.table.look(START_VPN + npages - 1);
    return space.table.level === level - 1 && level >= LEVEL_PMD ? space.check(npages) : 'leaves a leaf whole';
  };
  return { run, restore, check, bytes: (npages / step) * 4096 };
}
