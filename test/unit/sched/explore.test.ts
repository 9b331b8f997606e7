import { describe, expect, it } from 'vitest';
import { RwLock, ScheduleError, Scheduler, exploreSchedules, replayPolicy, type Policy, type Sleepable } from '../../../dist/sched/index.js';

/** Adds one `times` times, read and write apart: the classic lost update. */
function* increment(sched: Scheduler, cell: { value: number }, name: string, times: number): Sleepable<void> {
  for (let i = 0; i < times; i++) {
    if (sched.concurrent) yield sched.point('read', name);
    const { value } = cell;
    if (sched.concurrent) yield sched.point('write', name);
    cell.value = value + 1;
  }
}

function counters(names: [string, string], times: number): { attempt: (policy: Policy) => void; finals: Map<string, number> } {
  const finals = new Map<string, number>();
  return {
    finals,
    attempt(policy) {
      const sched = new Scheduler();
      const cells = new Map(names.map((name) => [name, { value: 0 }]));
      for (const [i, name] of names.entries()) sched.spawn(`task ${i}`, increment(sched, cells.get(name) as { value: number }, name, times));
      sched.run(policy);
      const final = [...cells].map(([name, cell]) => `${name}=${cell.value}`).join(' ');
      finals.set(final, (finals.get(final) ?? 0) + 1);
    },
  };
}

describe('exhaustive exploration', () => {
  it('runs every interleaving once: C(10, 5) of two tasks of five stretches', () => {
    const model = counters(['x', 'x'], 2);
    const all = exploreSchedules(model.attempt, { reduce: false });
    // Four points make five stretches; f(a, b) = f(a - 1, b) + f(a, b - 1), and one alone has one way to go on.
    expect(all).toEqual({ schedules: 252, pruned: 0, complete: true });
    expect([...model.finals.keys()].sort()).toEqual(['x=2', 'x=3', 'x=4']);
    expect([...model.finals.values()].reduce((sum, n) => sum + n, 0)).toBe(252);
  });

  it('reaches the same final states with reduction, in fewer schedules', () => {
    for (const names of [['x', 'x'], ['x', 'y']] as [string, string][]) {
      const [brute, reduced] = [counters(names, 3), counters(names, 3)];
      const all = exploreSchedules(brute.attempt, { reduce: false });
      const fewer = exploreSchedules(reduced.attempt, { reduce: true });
      expect([...reduced.finals.keys()].sort()).toEqual([...brute.finals.keys()].sort());
      expect(fewer.complete).toBe(true);
      expect(fewer.schedules).toBeLessThan(all.schedules);
    }
  });

  it('needs one schedule where nothing is shared', () => {
    const model = counters(['x', 'y'], 3);
    const { schedules } = exploreSchedules(model.attempt);
    expect(schedules).toBe(1);
  });

  it('says that it was bounded, and by what', () => {
    const none = counters(['x', 'x'], 2);
    expect(exploreSchedules(none.attempt, { maxPreemptions: 0 }).complete).toBe(false);
    expect([...none.finals.keys()]).toEqual(['x=4']);
    const one = counters(['x', 'x'], 2);
    exploreSchedules(one.attempt, { maxPreemptions: 1 });
    expect([...one.finals.keys()].sort()).toEqual(['x=2', 'x=4']);
    const two = counters(['x', 'x'], 2);
    exploreSchedules(two.attempt, { maxPreemptions: 2 });
    expect([...two.finals.keys()].sort()).toEqual(['x=2', 'x=3', 'x=4']);
    const few = counters(['x', 'x'], 4);
    expect(exploreSchedules(few.attempt, { maxSchedules: 5 })).toMatchObject({ complete: false });
  });

  it('hands over the schedule of a failure, which replays it', () => {
    const run = (policy: Policy, locked: boolean): void => {
      const sched = new Scheduler();
      const cell = { value: 0 };
      const lock = new RwLock('x');
      const body = function* (): Sleepable<void> {
        if (locked) yield* lock.write(sched);
        yield* increment(sched, cell, 'x', 1);
        if (locked) lock.writeUnlock(sched);
      };
      sched.spawn('one', body());
      sched.spawn('two', body());
      sched.run(policy);
      if (cell.value !== 2) throw new Error(`an update was lost: ${cell.value}`);
    };
    let found: unknown;
    try {
      exploreSchedules((policy) => run(policy, false));
    } catch (error) {
      found = error;
    }
    expect(found).toBeInstanceOf(ScheduleError);
    const { schedule, message } = found as ScheduleError;
    expect(message).toMatch(/an update was lost: 1/);
    expect(() => run(replayPolicy(schedule), false)).toThrow('an update was lost: 1');
    expect(exploreSchedules((policy) => run(policy, true))).toMatchObject({ complete: true });
  });
});
