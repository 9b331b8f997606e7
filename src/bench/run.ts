/** Runs workloads and makes the report. Prints nothing: progress is told to the caller. */
import { HmmError, checkOptions } from '../errno.ts';
import { loadNative, type LoadedNative } from '../native/load.ts';
import { wallClock, workClock, type Clock } from './clock.ts';
import { ROUNDS_MIN, measure } from './measure.ts';
import { CoreProbe, type Probe } from './probe.ts';
import { headOf, refusedRow, reportOf, rowsOf, type Head, type Report, type Row } from './report.ts';
import { WORKLOADS } from './suite.ts';
import type { BenchContext, TableName, Work, Workload } from './workload.ts';

export interface BenchOptions {
  /** only what is marked so: under a minute (default false) */
  readonly quick?: boolean;
  /** only these tables (default all) */
  readonly tables?: readonly TableName[];
  /** of each workload that has no number of its own (default 15) */
  readonly rounds?: number;
  /** the addon (default: what `loadNative` finds) */
  readonly native?: LoadedNative;
  readonly workloads?: readonly Workload[];
  /** wall time that all of it may take, in seconds: each workload has its share, and fewer rounds on a machine that is too busy (default 50 quick, 540 else) */
  readonly seconds?: number;
  /** hears what is known before anything is measured */
  readonly onHead?: (head: Head) => void;
  /** hears of each workload before it runs */
  readonly onWorkload?: (name: string, index: number, count: number) => void;
  /** hears what came of each workload */
  readonly onRows?: (rows: readonly Row[]) => void;
}

const ROUNDS = 15;
/** how much longer a workload may take on a busy machine, until enough rounds are quiet */
const SEARCH = 6;
const SEARCH_QUICK = 3;
const SECONDS = 540;
const SECONDS_QUICK = 50;
/** A workload may take so many times an even share of what is left: most need less than that. */
const SHARES = 4;

/** Throws RangeError for too few rounds or no time, ENOEXEC or ENOENT for an addon that was asked for and cannot be used. */
export async function runBench(options: BenchOptions = {}): Promise<Report> {
  checkOptions('runBench', options, ['quick', 'tables', 'rounds', 'native', 'workloads', 'seconds', 'onHead', 'onWorkload', 'onRows']);
  const { quick = false, tables, rounds = ROUNDS, native = loadNative(), workloads = WORKLOADS, seconds = quick ? SECONDS_QUICK : SECONDS } = options;
  if (!Number.isInteger(rounds) || rounds < ROUNDS_MIN) throw new RangeError(`runBench: rounds ${rounds} is not a whole number from ${ROUNDS_MIN}`);
  if (!(seconds > 0)) throw new RangeError(`runBench: seconds ${seconds} is not more than 0`);
  const context: BenchContext = { native: native.native, nativeReason: native.reason };
  const wall = wallClock();
  const work = native.native === null ? wall : workClock(native.native);
  const probe = new CoreProbe(work);
  const chosen = workloads.filter((workload) => (!quick || workload.quick) && (tables === undefined || tables.includes(workload.table)));
  const head = headOf(quick, wall === work ? [wall] : [work, wall], context);
  options.onHead?.(head);
  const rows: Row[] = [];
  const endNs = wall.now() + seconds * 1e9;
  for (const [index, workload] of chosen.entries()) {
    options.onWorkload?.(workload.name, index, chosen.length);
    const now = wall.now();
    const deadlineNs = now + ((endNs - now) * SHARES) / (chosen.length - index + SHARES - 1);
    const own = now > endNs ? [refusedRow(workload, `the ${seconds} s of the run were over`, work)] : await runWorkload(workload, context, { wall, work, probe, search: quick ? SEARCH_QUICK : SEARCH, deadlineNs }, rounds);
    rows.push(...own);
    options.onRows?.(own);
  }
  return reportOf(head, rows, true);
}

interface Tools {
  readonly wall: Clock;
  readonly work: Clock;
  readonly probe: Probe;
  readonly search: number;
  /** by the wall clock */
  readonly deadlineNs: number;
}

async function runWorkload(workload: Workload, context: BenchContext, { wall, work: workClockOfThread, probe, search, deadlineNs }: Tools, rounds: number): Promise<Row[]> {
  let work: Work | null = null;
  try {
    work = await workload.setup(context);
    const clock = work.wall === true ? wall : workClockOfThread;
    const isOver = (): boolean => wall.now() > deadlineNs;
    return rowsOf(workload, work, await measure(work, { clock, rounds, probe, search, isOver }), clock);
  } catch (error) {
    if (!HmmError.is(error)) throw error;
    return [refusedRow(workload, error.message, workClockOfThread)];
  } finally {
    work?.dispose?.();
  }
}
