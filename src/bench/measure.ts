/**
 * Rounds: every contender in turn, again and again, in one process, so that what happens to the machine happens to all of them.
 *
 * A sample is the work as often as it takes to fill `sampleNs`; what counts of it is the ratio to another contender's sample of the same
 * round. Each contender answers `check` before it is timed; one that fails, or whose sample is too short for the clock, is refused with
 * the reason: a refused row has no numbers. Samples during which the core was shared are marked (probe.ts), and there are more rounds
 * until enough are not.
 */
import { RESOLUTION_STEPS_MIN, type Clock } from './clock.ts';
import type { Probe } from './probe.ts';
import { spreadOf } from './spread.ts';
import type { Contender, Work } from './workload.ts';

/** A contender's rounds. */
export interface Measured {
  readonly contender: Contender;
  readonly status: 'measured';
  /** ns a unit, one value a round */
  readonly ns: readonly number[];
  /** the core was this contender's alone, by round */
  readonly quiet: readonly boolean[];
}

/** What came of one contender: its rounds, or why there are none. */
export type Outcome = Measured | { readonly contender: Contender; readonly status: 'missing' | 'refused'; readonly reason: string };

export interface MeasureOptions {
  readonly clock: Clock;
  /** at least 9 where a result is to be believed; `Work.rounds` has precedence */
  readonly rounds: number;
  /** at least as long as a sample is, where repeating can make it so (default 2 ms) */
  readonly sampleNs?: number;
  /** without one every sample is taken for quiet */
  readonly probe?: Probe;
  /** in search of quiet rounds there are up to so many times as many (default 1) */
  readonly search?: number;
  /** Is its time over? Asked after each round from the third on: then there are no more, and rows say how many there were. */
  readonly isOver?: () => boolean;
}

/** Fewer say too little about a median. */
export const ROUNDS_MIN = 9;
/** What has so many rounds when its time is over has them, and says how many. */
const ROUNDS_LEAST = 3;

/** Repetitions are bounded, so that an empty contender ends too. */
const TIMES_MAX = 2 ** 26;
const STRETCHES_MAX = 4096;
const WARMUP_MS = 20;

/** A contender that is being timed. */
interface Lane {
  readonly contender: Contender;
  times: number;
  /** by round: ns a run, and the slower probe around it */
  readonly runNs: number[];
  readonly probeNs: number[];
  /** what passed between two readings of the clock, each time */
  readonly stretchNs: number[];
}

/** Checks, warms and times the contenders of `work`, in the order in which they are listed. */
export async function measure(work: Work, options: MeasureOptions): Promise<Outcome[]> {
  const { clock, sampleNs = 2e6, probe = QUIET, search = 1, isOver = () => false } = options;
  const rounds = work.rounds ?? options.rounds;
  const stopped = new Map<Contender, Outcome>();
  const lanes: Lane[] = [];
  for (const contender of work.contenders) {
    const reason = contender.missing ?? contender.check?.() ?? null;
    if (reason === null) lanes.push({ contender, times: 1, runNs: [], probeNs: [], stretchNs: [] });
    else stopped.set(contender, { contender, status: contender.missing === undefined ? 'refused' : 'missing', reason });
  }
  for (const lane of lanes) await warmUp(work, lane, clock, sampleNs);
  const roundsMax = rounds < ROUNDS_MIN ? rounds : search * rounds;
  for (let round = 0; round < rounds || (round < roundsMax && !isEnough(work, lanes, probe)); round++) {
    if (round >= ROUNDS_LEAST && isOver()) break;
    for (let i = 0; i < lanes.length; i++) {
      const lane = lanes[(i + round) % lanes.length] as Lane; // nobody always follows the same neighbour
      const probeNs = probe.run();
      lane.runNs.push(work.single === true ? await stretches(lane, clock, sampleNs) : await repeats(lane, clock));
      lane.probeNs.push(Math.max(probeNs, probe.run()));
    }
  }
  const outcomes = new Map(lanes.map((lane) => [lane.contender, outcomeOf(work, lane, clock, probe)]));
  return work.contenders.map((contender) => (stopped.get(contender) ?? outcomes.get(contender)) as Outcome);
}

const QUIET: Probe = { run: () => 0, isQuiet: () => true };

/** Does every contender share enough quiet rounds with each of those that all are compared with? */
function isEnough(work: Work, lanes: readonly Lane[], probe: Probe): boolean {
  const quiet = lanes.map((lane) => lane.probeNs.map((ns) => probe.isQuiet(ns)));
  const references = quiet.filter((_, i) => i === 0 || work.against.includes(lanes[i]?.contender.name ?? ''));
  return quiet.every((own) => references.every((other) => own.filter((isQuiet, round) => isQuiet && other[round] === true).length >= ROUNDS_MIN));
}

function outcomeOf(work: Work, lane: Lane, clock: Clock, probe: Probe): Outcome {
  const { contender } = lane;
  const { freeNs = 0 } = contender;
  const stretchNs = spreadOf(lane.stretchNs).median;
  if (stretchNs < RESOLUTION_STEPS_MIN * clock.resolutionNs) {
    return { contender, status: 'refused', reason: `too close to the timer: ${Math.round(stretchNs)} ns, its step is ${Math.round(clock.resolutionNs)} ns` };
  }
  if (spreadOf(lane.runNs).median < 2 * freeNs) return { contender, status: 'refused', reason: 'mostly the price of its calls' };
  const quiet = lane.probeNs.map((ns) => probe.isQuiet(ns));
  return { contender, status: 'measured', ns: lane.runNs.map((ns) => (ns - freeNs) / work.unitsPerRun), quiet };
}

/** Runs the contender until it is compiled and the caches are its own, and finds how many runs make a sample. */
async function warmUp(work: Work, lane: Lane, clock: Clock, sampleNs: number): Promise<void> {
  const warmupNs = (work.warmupMs ?? WARMUP_MS) * 1e6;
  if (work.single === true) {
    for (let spentNs = 0, run = 0; spentNs < warmupNs && run < STRETCHES_MAX; run++) spentNs += await stretch(lane, clock, 1);
  } else {
    for (let spentNs = 0; spentNs < warmupNs; ) {
      const ns = await stretch(lane, clock, lane.times);
      spentNs += ns;
      if (ns >= sampleNs) continue;
      if (lane.times === TIMES_MAX) break;
      const wanted = ns > 0 ? Math.ceil((1.1 * sampleNs * lane.times) / ns) : TIMES_MAX;
      lane.times = Math.min(TIMES_MAX, 16 * lane.times, Math.max(wanted, lane.times));
    }
  }
  lane.stretchNs.length = 0;
}

/** One sample of `times` runs, after an untimed one that brings its own data back into the caches. ns a run. */
async function repeats(lane: Lane, clock: Clock): Promise<number> {
  const { contender } = lane;
  if (lane.times > 1) {
    await contender.before?.();
    await contender.run(1);
  }
  return (await stretch(lane, clock, lane.times)) / lane.times;
}

/** One sample of runs that each need their own `before`. ns a run. */
async function stretches(lane: Lane, clock: Clock, sampleNs: number): Promise<number> {
  let sumNs = 0;
  let runs = 0;
  while (sumNs < sampleNs && runs < STRETCHES_MAX) {
    sumNs += await stretch(lane, clock, 1);
    runs++;
  }
  return sumNs / runs;
}

async function stretch(lane: Lane, clock: Clock, times: number): Promise<number> {
  const { contender } = lane;
  const prepared = contender.before?.();
  if (prepared !== undefined) await prepared;
  const start = clock.now();
  const running = contender.run(times);
  const told = running === undefined ? undefined : await running;
  const ns = told ?? clock.now() - start;
  lane.stretchNs.push(ns);
  return ns;
}
