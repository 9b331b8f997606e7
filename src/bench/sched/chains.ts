/**
 * An empty path: what "may sleep" costs where nobody sleeps. Paths are generators; the synchronous methods of the facade carry one to its end,
 * and the fault path stands about four deep. Beside them the same additions by plain calls.
 */
import { Scheduler, type Sleepable } from '../../sched/index.ts';
import type { Contender, Work, Workload } from '../workload.ts';

const CHAINS = 1000;

export const chainWorkloads: readonly Workload[] = [{ name: 'empty chain, 4 deep', table: 'scheduler', pageSize: null, quick: false, setup: async () => chainWork() }];

function* leaf(sched: Scheduler, n: number): Sleepable<number> {
  if (sched.concurrent) yield sched.point('leaf', '');
  return n + 1;
}

function* third(sched: Scheduler, n: number): Sleepable<number> {
  return (yield* leaf(sched, n)) + 1;
}

function* second(sched: Scheduler, n: number): Sleepable<number> {
  return (yield* third(sched, n)) + 1;
}

function* first(sched: Scheduler, n: number): Sleepable<number> {
  return (yield* second(sched, n)) + 1;
}

function plainLeaf(sched: Scheduler, n: number): number {
  return sched.concurrent ? n : n + 1;
}

function plainThird(sched: Scheduler, n: number): number {
  return plainLeaf(sched, n) + 1;
}

function plainSecond(sched: Scheduler, n: number): number {
  return plainThird(sched, n) + 1;
}

function plainFirst(sched: Scheduler, n: number): number {
  return plainSecond(sched, n) + 1;
}

function chainWork(): Work {
  const sched = new Scheduler();
  const deep = (name: string): Contender => repeated(name, 4, (n) => sched.runToEnd('chain', first(sched, n)));
  return {
    unit: 'chain',
    unitsPerRun: CHAINS,
    contenders: [
      deep('walker'),
      { ...deep('null'), isNull: true },
      repeated('1 generator', 1, (n) => sched.runToEnd('chain', leaf(sched, n))),
      repeated('plain calls', 4, (n) => plainFirst(sched, n)),
    ],
    against: ['plain calls', '1 generator'],
    warmupMs: 100,
  };
}

/** `step` adds `depth` to a number; a thousand in a row. */
function repeated(name: string, depth: number, step: (n: number) => number): Contender {
  const chains = (): number => {
    let n = 0;
    for (let i = 0; i < CHAINS; i++) n = step(n);
    return n;
  };
  return {
    name,
    check: () => (chains() === CHAINS * depth ? null : 'does not count its depth'),
    run: (times) => {
      for (let t = 0; t < times; t++) chains();
    },
  };
}
