/**
 * From a schedule that fails to one that fails alike with the fewest switches.
 *
 * First everything with fewer preemptions is tried, none, one, two …: what that finds is the least there is. Where it would take too
 * long, stretches are left out or exchanged as long as it still fails: short, and not proven to be the shortest.
 */
import { Exploration, ScheduleError, type Policy, type Task } from '../sched/index.ts';
import { ruleOf } from './replay.ts';
import type { Played, Session } from './session.ts';

const SCHEDULES_MAX = 20_000;

export interface Shrunk extends Played {
  readonly cause: unknown;
  /** nothing with fewer preemptions fails alike */
  readonly least: boolean;
}

/** `found` fails with `cause`. */
export function shrink(session: Session, found: Played, cause: unknown): Shrunk {
  const rule = ruleOf(cause);
  let spent = 0;
  for (let maxPreemptions = 0; maxPreemptions < found.preemptions && spent < SCHEDULES_MAX; maxPreemptions++) {
    const exploration = new Exploration({ maxPreemptions });
    for (let more = true; more && spent < SCHEDULES_MAX; spent++) {
      try {
        more = exploration.next((policy) => session.play(policy));
      } catch (error) {
        if (!(error instanceof ScheduleError)) throw error;
        if (ruleOf(error.cause) === rule) return { ...session.played, cause: error.cause, least: true };
        break; // something else is wrong there
      }
    }
  }
  const least = spent < SCHEDULES_MAX;
  return least ? { ...found, cause, least } : { ...byLeavingOut(session, { ...found, cause, least: false }, rule) };
}

/** A task and how often it is picked. */
type Stretch = readonly [id: number, times: number];

function byLeavingOut(session: Session, found: Shrunk, rule: string): Shrunk {
  let best = found;
  for (let i = 0; i < stretches(best).length; ) {
    const now = stretches(best);
    const without = now.filter((_, j) => j !== i);
    const exchanged = i + 1 < now.length ? now.toSpliced(i, 2, now[i + 1] as Stretch, now[i] as Stretch) : null;
    const better = [without, exchanged].map((one) => (one === null ? null : attempt(session, one, rule))).find((one) => one !== null && one.preemptions < best.preemptions);
    if (better === undefined || better === null) i++;
    else [best, i] = [better, 0];
  }
  return best;
}

function attempt(session: Session, wanted: readonly Stretch[], rule: string): Shrunk | null {
  try {
    session.play(asNearAs(wanted));
    return null;
  } catch (error) {
    return ruleOf(error) === rule ? { ...session.played, cause: error, least: false } : null;
  }
}

/** Follows the stretches as far as their tasks are ready. */
function asNearAs(wanted: readonly Stretch[]): Policy {
  let [at, done] = [0, 0];
  return {
    choose(ready: readonly Task[]) {
      for (let stretch = wanted[at]; stretch !== undefined; stretch = wanted[at]) {
        const [id, times] = stretch;
        const index = done < times ? ready.findIndex((task) => task.id === id) : -1;
        if (index >= 0) {
          done++;
          return index;
        }
        [at, done] = [at + 1, 0];
      }
      return 0;
    },
  };
}

function stretches({ schedule }: Played): Stretch[] {
  const all: [number, number][] = [];
  for (const id of schedule) {
    const last = all.at(-1);
    if (last !== undefined && last[0] === id) last[1]++;
    else all.push([id, 1]);
  }
  return all;
}
