/** Runs workloads and makes the report. Prints nothing: progress is told to the caller. */
import { HmmError, checkOptions } from '../errno.ts';
import { loadNative, type LoadedNative } from '../native/load.ts';
import { wallClock, workClock, type Clock } from './clock.ts';
import { ROUNDS_MIN, measure } from './measure.ts';
import { CoreProbe, type Probe } from './probe.ts';
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
/** how much longer a workload may take on a busy machine, until enough rounds are quiet */
const SEARCH = 6;
const SEARCH_QUICK = 3;

/** Throws RangeError for too few rounds, ENOEXEC or ENOENT for an addon that was asked for and cannot be used. */
export async function runBench(options: BenchOptions = {}): Promise<Report> {
  checkOptions('runBench', options, ['quick', 'tables', 'rounds', 'native', 'workloads', 'onWorkload']);
  const { quick = false, tables, rounds = ROUNDS, native = loadNative(), workloads = WORKLOADS, onWorkload } = options;
  if (!Number.isInteger(rounds) || rounds < ROUNDS_MIN) throw new RangeError(`runBench: rounds ${rounds} is not a whole number from ${ROUNDS_MIN}`);
  const context: BenchContext = { native: native.native, nativeReason: native.reason };
  const wall = wallClock();
  const work = native.native === null ? wall : workClock(native.native);
  const probe = new CoreProbe(work);
  const chosen = workloads.filter((workload) => (!quick || workload.quick) && (tables === undefined || tables.includes(workload.table)));
  const rows: { table: TableName; row: Row }[] = [];
  for (const [index, workload] of chosen.entries()) {
    onWorkload?.(workload.name, index, chosen.length);
    for (const row of await runWorkload(workload, context, { wall, work, probe, search: quick ? SEARCH_QUICK : SEARCH }, rounds)) rows.push({ table: workload.table, row });
  }
  return reportOf(rows, quick, wall === work ? [wall] : [work, wall], context);
}

interface Tools {
  readonly wall: Clock;
  readonly work: Clock;
  readonly probe: Probe;
  readonly search: number;
}

async function runWorkload(workload: Workload, context: BenchContext, tools: Tools, rounds: number): Promise<Row[]> {
  let work: Work | null = null;
  try {
    work = await workload.setup(context);
    const clock = work.wall === true ? tools.wall : tools.work;
    return rowsOf(workload, work, await measure(work, { clock, rounds, probe: tools.probe, search: tools.search }), clock);
  } catch (error) {
    if (!HmmError.is(error)) throw error;
    return [refusedRow(workload, error.message, tools.work)];
  } finally {
    work?.dispose?.();
  }
}
