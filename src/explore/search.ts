/**
 * The search through the schedules of a model, in phases: all with up to N preemptions (none first, then one, …: what is found has the
 * fewest), then every schedule up to equivalence, or random ones beyond. It is a generator that yields after each schedule, so that
 * who drives it can stop it; a phase says how far it came.
 */
import type { BugSwitch } from '../profile/index.ts';
import { Exploration, ScheduleError, estimateSchedules, pctPolicy, randomPolicy, replayPolicy, type Policy } from '../sched/index.ts';
import { findingText } from '../check/index.ts';
import { Violation } from './model.ts';
import { encodeReplay, ruleOf } from './replay.ts';
import type { Coverage, Known, Played, Session } from './session.ts';
import { shrink } from './shrink.ts';

/** Where every schedule is to be run and nobody asked for it: after so many it is left at what was done, and said. */
const ALL_SCHEDULES_MAX = 1_000_000;

/** ways down to say how many there are */
const PROBES = 1000;

/** `p3`: up to three preemptions; all, up to equivalence; all without reduction; random ones; by PCT. */
export type PhaseName = `p${number}` | 'all' | 'brute' | 'random' | 'pct';

export interface Phase {
  readonly phase: PhaseName;
  /** carried out: to their end, and the one in which something was found */
  schedules: number;
  /** schedules cut short because they are equal to one already run */
  pruned: number;
  /** all of them: within the bound, or up to equivalence. Random ones never are */
  complete: boolean;
  /** different ends so far, this phase's and those before it */
  ends: number;
  steps: number;
}

export interface ExploreFinding {
  readonly rule: string;
  readonly message: string;
  /** all that is known of it, in lines; of a check's finding who did it, where, and what both tables say */
  readonly text: string;
  readonly preemptions: number;
  /** nothing with fewer preemptions fails alike */
  readonly least: boolean;
  readonly replay: string;
}

export interface SearchOptions {
  /** default: the model's */
  readonly preemptions?: number;
  /** every schedule too, up to equivalence (default: the model's) */
  readonly all?: boolean;
  /** every schedule with the reduction and without it, and nothing else: do they come to the same ends? */
  readonly brute?: boolean;
  /** so many random schedules instead */
  readonly random?: number;
  readonly seed?: bigint;
  /** by PCT of this depth */
  readonly pct?: number;
  /** where an earlier search stood */
  readonly from?: { readonly phase: PhaseName; readonly position: readonly number[] };
}

export interface SearchReport {
  readonly model: string;
  readonly bug: BugSwitch | null;
  readonly phases: readonly Phase[];
  readonly finding: ExploreFinding | null;
  /** found, and this kernel's own: no failure */
  readonly known: readonly (Omit<Known, 'schedule'> & { readonly replay: string })[];
  /** with `brute`: ends that only schedules without reduction came to; none: the reduction is right */
  readonly missed: readonly string[] | null;
  /** where every schedule was not run: about how many there are, up to equivalence */
  readonly estimate: number | null;
  readonly coverage: Coverage;
  readonly ends: readonly string[];
}

export class Search {
  readonly session: Session;
  readonly phases: Phase[] = [];
  finding: ExploreFinding | null = null;
  readonly #options: SearchOptions;
  #exploration: Exploration | null = null;
  #seed = 1n;
  #missed: string[] | null = null;
  #estimate: number | null = null;

  constructor(session: Session, options: SearchOptions = {}) {
    this.session = session;
    this.#options = options;
  }

  get report(): SearchReport {
    const { session, phases, finding } = this;
    const known = Array.from(session.known.values(), ({ schedule, ...one }) => ({ ...one, replay: replayOf(session, schedule) }));
    return { known, model: session.model.name, bug: session.bug, phases, finding, missed: this.#missed, estimate: this.#estimate, coverage: session.coverage, ends: [...session.ends.keys()].sort() };
  }

  /** What takes it up again where it stands, as arguments of the command. */
  get resume(): string {
    const { model, bug } = this.session;
    const phase = this.phases.at(-1);
    const { random = 0, pct, preemptions, all, brute } = this.#options;
    if (phase === undefined || this.#exploration === null) {
      const named = `${model.argument ?? model.name}${bug === null ? '' : ` --bug ${bug}`}`;
      return `${named} --random ${Math.max(1, random - (phase?.schedules ?? 0))} --seed ${this.#seed}${pct === undefined ? '' : ` --pct ${pct}`}`;
    }
    const bounds = `${preemptions === undefined ? '' : ` --preemptions ${preemptions}`}${all === true ? ' --all' : ''}${brute === true ? ' --brute' : ''}`;
    return `${model.argument === undefined ? '' : `${model.argument} `}--resume ${encodeReplay('r1', [model.name, bug ?? '-', phase.phase], this.#exploration.position)}${bounds}`;
  }

  /** Yields after each schedule; over at the first finding, which has been shrunk. */
  *run(): Generator<void, SearchReport> {
    const { model } = this.session;
    const { random, preemptions = model.preemptions, all = model.all, brute = false, from } = this.#options;
    if (random !== undefined) {
      yield* this.#runRandom(random);
      return this.report;
    }
    if (brute || from?.phase === 'brute') {
      yield* this.#runBrute(from);
      return this.report;
    }
    const first = from === undefined ? 0 : from.phase === 'all' ? preemptions + 1 : Number(from.phase.slice(1));
    for (let bound = first; bound <= preemptions && this.finding === null; bound++) yield* this.#runAll(`p${bound}`, new Exploration({ maxPreemptions: bound }, bound === first ? from?.position : []));
    if ((all || from?.phase === 'all') && this.finding === null) yield* this.#runAll('all', new Exploration({}, from?.phase === 'all' ? from.position : []));
    else if (this.finding === null && this.#options.preemptions === undefined) this.#guess();
    return this.report;
  }

  /** Reduced, then not. What the first comes to the second comes to as well: its schedules are some of the second's. */
  *#runBrute(from: SearchOptions['from']): Generator<void> {
    const { ends } = this.session;
    yield* this.#runAll('all', new Exploration({}, from?.phase === 'all' ? from.position : []));
    const reduced = new Set(ends.keys());
    if (this.finding !== null) return;
    yield* this.#runAll('brute', new Exploration({ reduce: false }, from?.phase === 'brute' ? from.position : []));
    this.#missed = [...ends.keys()].filter((end) => !reduced.has(end)).sort();
  }

  #guess(): void {
    const failure = this.#attempt(() => {
      this.#estimate = estimateSchedules((policy) => this.session.probe(policy), { probes: PROBES });
    });
    if (failure !== null) this.#found(failure.cause, false);
  }

  *#runAll(name: PhaseName, exploration: Exploration): Generator<void> {
    const phase = this.#begin(name);
    this.#exploration = exploration;
    const most = name === 'all' && this.#options.all !== true && this.#options.brute !== true ? ALL_SCHEDULES_MAX : Infinity;
    while (!exploration.over) {
      if (exploration.schedules >= most) return this.#guess();
      const failure = this.#attempt(() => exploration.next((policy) => this.session.play(policy)));
      this.#count(phase, exploration.schedules + (failure === null ? 0 : 1), exploration.pruned); // what was broken in is one, too
      if (failure !== null) return this.#found(failure.cause, name.startsWith('p'));
      if (!exploration.over) yield; // else there is nothing of this phase to go on with
    }
    phase.complete = true;
  }

  *#runRandom(times: number): Generator<void> {
    const { seed = 1n, pct } = this.#options;
    const phase = this.#begin(pct === undefined ? 'random' : 'pct');
    let steps = 64;
    for (let i = 0; i < times; i++) {
      this.#seed = seed + BigInt(i);
      const before = this.session.steps;
      const policy: Policy = pct === undefined ? randomPolicy(this.#seed) : pctPolicy(this.#seed, pct, steps);
      const failure = this.#attempt(() => this.session.play(policy));
      steps = Math.max(steps, this.session.steps - before);
      this.#count(phase, i + 1, 0);
      if (failure !== null) return this.#found(failure.cause, false);
      this.#seed++;
      yield;
    }
  }

  #begin(name: PhaseName): Phase {
    const phase: Phase = { phase: name, schedules: 0, pruned: 0, complete: false, ends: 0, steps: 0 };
    this.phases.push(phase);
    return phase;
  }

  #count(phase: Phase, schedules: number, pruned: number): void {
    phase.steps = this.session.steps - this.phases.slice(0, -1).reduce((sum, one) => sum + one.steps, 0);
    [phase.schedules, phase.pruned, phase.ends] = [schedules, pruned, this.session.ends.size];
  }

  #attempt(body: () => unknown): { readonly cause: unknown } | null {
    try {
      body();
      return null;
    } catch (error) {
      return { cause: error instanceof ScheduleError ? error.cause : error };
    }
  }

  /** `least`: fewer preemptions were all tried before. */
  #found(cause: unknown, least: boolean): void {
    const played = this.session.played;
    this.finding = findingOf(this.session, least ? { ...played, cause, least } : shrink(this.session, played, cause));
  }
}

/** Plays a schedule again; what it came to, or what broke. Throws RangeError where the schedule is none of the model. */
export function replaySchedule(session: Session, schedule: readonly number[]): { readonly end: string } | { readonly finding: ExploreFinding } {
  session.tracing = true;
  try {
    return { end: session.play(replayPolicy(schedule)) };
  } catch (error) {
    if (error instanceof RangeError) throw error;
    return { finding: findingOf(session, { ...session.played, cause: error, least: false }) };
  } finally {
    session.tracing = false;
  }
}

function findingOf(session: Session, { schedule, preemptions, cause, least }: Played & { readonly cause: unknown; readonly least: boolean }): ExploreFinding {
  const message = cause instanceof Error ? cause.message : String(cause);
  const replay = replayOf(session, schedule);
  const seen = cause instanceof Violation ? (session.retold(replayPolicy(schedule), cause.rule) ?? cause.finding) : null;
  const text = seen === null ? `${message}\n  replay: ${replay}` : findingText({ ...seen, replay });
  return { rule: ruleOf(cause), message, text, preemptions, least, replay };
}

function replayOf({ model, bug }: Session, schedule: readonly number[]): string {
  return encodeReplay('x1', [model.name, bug ?? '-'], schedule);
}
