/**
 * The report: what `daxmirror bench --json` prints line by line (lines.ts), and what tables and plots are made from. Plain data, JSON as it stands.
 *
 * A change of meaning or of a field's name is a new REPORT_VERSION; new fields are not. schema/bench.json says the same to others.
 */
import { arch, cpus, platform, release, totalmem } from 'node:os';
import type { PageSize } from '../units.ts';
import type { Clock } from './clock.ts';
import { ROUNDS_MIN, type Measured, type Outcome } from './measure.ts';
import { judge, type Judgement } from './musts.ts';
import { quietSpread, ratioSpread, type QuietSpread } from './spread.ts';
import { TABLES, TABLE_NAMES, type BenchContext, type Model, type Size, type TableName, type Work, type Workload } from './workload.ts';

export const REPORT_SCHEMA = 'daxmirror-bench';
export const REPORT_VERSION = 2;

export interface Row {
  readonly table: TableName;
  readonly workload: string;
  /** where the workload stands on a curve of cost against size */
  readonly size: Size | null;
  readonly pageSize: PageSize | null;
  readonly contender: string;
  /** the base once more: its ratio is noise */
  readonly isNull: boolean;
  readonly status: 'measured' | 'missing' | 'refused';
  /** why there are no numbers; null where there are */
  readonly reason: string | null;
  /** what `ns` is for one of */
  readonly unit: string;
  /** host time a unit, over the rounds in which the core was not shared (all where those are too few) */
  readonly ns: QuietSpread | null;
  /** whose time every row of the workload is set in relation to */
  readonly against: readonly string[];
  /** `ns` of this row / `ns` of another in the same round, by that one's name: the base, and those of `against` that were measured */
  readonly ratios: Readonly<Record<string, QuietSpread>>;
  /** output, at the median */
  readonly gbPerSecond: number | null;
  /** rounds run; `ns` and each ratio say of how many they are made */
  readonly rounds: number;
  readonly clock: Clock['kind'];
  /** modelled, exact; null where there is nothing to model */
  readonly model: Model | null;
  /** bytes, of the base row only */
  readonly sizes: Readonly<Record<string, number>>;
}

export interface Table {
  readonly name: TableName;
  readonly title: string;
  readonly rows: readonly Row[];
}

/** What a report begins with: known before anything is measured. */
export interface Head {
  readonly schema: typeof REPORT_SCHEMA;
  readonly version: typeof REPORT_VERSION;
  readonly quick: boolean;
  /** ISO 8601 */
  readonly date: string;
  readonly host: Host;
  readonly clocks: readonly { readonly kind: Clock['kind']; readonly resolutionNs: number }[];
  /** why there are no native peers; null when there are */
  readonly nativeReason: string | null;
}

export interface Report extends Head {
  readonly tables: readonly Table[];
  /** of the workloads that were run */
  readonly musts: readonly Judgement[];
  /** false: the run ended before its last workload */
  readonly isWhole: boolean;
}

export interface Host {
  readonly cpu: string;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly system: string;
  readonly node: string;
  readonly v8: string;
}

export function hostOf(): Host {
  const all = cpus();
  return {
    cpu: all[0]?.model.trim() ?? 'unknown',
    cpus: all.length,
    memoryBytes: totalmem(),
    system: `${platform()} ${release()} ${arch()}`,
    node: process.versions.node,
    v8: process.versions.v8,
  };
}

/** Rows of one workload from its outcomes. */
export function rowsOf(workload: Workload, work: Work, outcomes: readonly Outcome[], clock: Clock): Row[] {
  const base = outcomes[0]?.contender;
  const sizes = work.sizes?.() ?? {};
  return outcomes.map((outcome): Row => {
    const { contender } = outcome;
    const common = {
      table: workload.table,
      workload: workload.name,
      size: workload.size ?? null,
      pageSize: workload.pageSize,
      contender: contender.name,
      isNull: contender.isNull === true,
      unit: work.unit,
      against: work.against,
      clock: clock.kind,
      model: work.model ?? null,
      sizes: contender === base ? sizes : {},
    };
    if (outcome.status !== 'measured') return { ...common, status: outcome.status, reason: outcome.reason, ns: null, ratios: {}, gbPerSecond: null, rounds: 0 };
    const ns = quietSpread(outcome, roundsWanted(work));
    const output = work.outputBytesPerRun === undefined ? null : work.outputBytesPerRun / (ns.median * work.unitsPerRun);
    return { ...common, status: 'measured', reason: null, ns, ratios: ratiosOf(outcome, work, outcomes), gbPerSecond: output, rounds: outcome.ns.length };
  });
}

/** Of quiet rounds, to be believed. */
function roundsWanted({ rounds = ROUNDS_MIN }: Work): number {
  return Math.min(rounds, ROUNDS_MIN);
}

/** One row in place of all: the workload could not be set up. */
export function refusedRow(workload: Workload, reason: string, clock: Clock): Row {
  return {
    table: workload.table, workload: workload.name, size: workload.size ?? null, pageSize: workload.pageSize, contender: 'walker', isNull: false, status: 'refused', reason, unit: 'run', against: [], ns: null, ratios: {},
    gbPerSecond: null, rounds: 0, clock: clock.kind, model: null, sizes: {},
  };
}

/** To the base, so that noise shows in the null row, and to what the workload names. */
function ratiosOf(own: Measured, work: Work, outcomes: readonly Outcome[]): Record<string, QuietSpread> {
  const names = new Set([work.contenders[0]?.name ?? '', ...work.against]);
  const ratios: Record<string, QuietSpread> = {};
  for (const other of outcomes) if (other.status === 'measured' && names.has(other.contender.name)) ratios[other.contender.name] = ratioSpread(own, other, roundsWanted(work));
  return ratios;
}

export function headOf(quick: boolean, clocks: readonly Clock[], { nativeReason }: BenchContext): Head {
  return {
    schema: REPORT_SCHEMA,
    version: REPORT_VERSION,
    quick,
    date: new Date().toISOString(),
    host: hostOf(),
    clocks: clocks.map(({ kind, resolutionNs }) => ({ kind, resolutionNs })),
    nativeReason,
  };
}

/** Rows by table, and the musts judged by them. */
export function reportOf(head: Head, rows: readonly Row[], isWhole: boolean): Report {
  const tables = TABLE_NAMES.map((name) => ({ name, title: TABLES[name], rows: rows.filter((row) => row.table === name) }));
  return { ...head, tables: tables.filter((table) => table.rows.length > 0), musts: judge(rows), isWhole };
}
