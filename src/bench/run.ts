/** Runs workloads and makes the report. Prints nothing: progress is told to the caller. */
import { HmmError, checkOptions } from '../errno.ts';
import { loadNative, type LoadedNative } from '../native/load.ts';
import { wallClock, workClock, type Clock } from './clock.ts';
import { measure } from './measure.ts';
import { refusedRow, reportOf, rowsOf, type Report, type Row } from './report.ts';
import { WORKLOADS } from './suite.ts';
import type { BenchContext, TableName, Work, Workload } from './workload.ts';

export interface BenchOptions {
  /** walks, fills and translations only: under a minute (default false) */
  readonly quick?: boolean;
  /** only these tables (default all) */
  readonly tables?: readonly TableName[];
  /** of each workload that has no number of its own (default 15) */
  readonly rounds?: number;
  /** the addon (default: what `loadNative` finds) */
  readonly native?: LoadedNative;
  readonly workloads?: readonly Workload[];
  /** hears of each workload before it runs */
  readonly onWorkload?: (name: string, index: number, count: number) => void;
}

const ROUNDS = 15;
/** fewer say too little about a median */
const ROUNDS_MIN = 9;

/** Throws RangeError for too few rounds, ENOEXEC or ENOENT for an addon that was asked for and cannot be used. */
export async function runBench(options: BenchOptions = {}): Promise<Report> {
  checkOptions('runBench', options, ['quick', 'tables', 'rounds', 'native', 'workloads', 'onWorkload']);
  const { quick = false, tables, rounds = ROUNDS, native = loadNative(), workloads = WORKLOADS, onWorkload } = options;
  if (!Number.isInteger(rounds) || rounds < ROUNDS_MIN) throw new RangeError(`runBench: rounds ${rounds} is not a whole number from ${ROUNDS_MIN}`);
  const context: BenchContext = { native: native.native, nativeReason: native.reason };
  const wall = wallClock();
  const work = native.native === null ? wall : workClock(native.native);
  const chosen = workloads.filter((workload) => (!quick || workload.quick) && (tables === undefined || tables.includes(workload.table)));
  const rows: { table: TableName; row: Row }[] = [];
  for (const [index, workload] of chosen.entries()) {
    onWorkload?.(workload.name, index, chosen.length);
    for (const row of await runWorkload(workload, context, { wall, work }, rounds)) rows.push({ table: workload.table, row });
  }
  return reportOf(rows, quick, wall === work ? [wall] : [work, wall], context);
}

async function runWorkload(workload: Workload, context: BenchContext, clocks: { wall: Clock; work: Clock }, rounds: number): Promise<Row[]> {
  let work: Work | null = null;
  try {
    work = await workload.setup(context);
    const clock = work.wall === true ? clocks.wall : clocks.work;
    return rowsOf(workload, work, await measure(work, { clock, rounds }), clock);
  } catch (error) {
    if (!HmmError.is(error)) throw error;
    return [refusedRow(workload, error.message, clocks.work)];
  } finally {
    work?.dispose?.();
  }
}
