import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RwLock, ScheduleError, Scheduler, exploreSchedules, replayPolicy, type ExploreOptions, type ExploreResult, type Policy, type Sleepable } from '../../../dist/sched/index.js';

/** One step of a program: variable `to` becomes something of `to` and `from`. */
interface Step {
  readonly to: number;
  readonly from: number;
  readonly add: number;
}
type Program = readonly Step[];

const VARIABLES = 3;

/** Runs programs on shared variables in every schedule; the set of what the variables came to. */
function finals(programs: readonly Program[], options: ExploreOptions): { result: ExploreResult; ends: Set<string> } {
  const ends = new Set<string>();
  const result = exploreSchedules((policy) => {
    const sched = new Scheduler();
    const values = new Array<number>(VARIABLES).fill(1);
    function* run(program: Program): Sleepable<void> {
      for (const { to, from, add } of program) {
        yield sched.point('', `v${to},v${from}`);
        values[to] = (values[to]! * 3 + values[from]! + add) % 1009;
      }
    }
    programs.forEach((program, i) => sched.spawn(`t${i}`, run(program), ''));
    sched.run(policy);
    ends.add(values.join());
  }, options);
  return { result, ends };
}

const step = fc.nat(VARIABLES - 1).chain((to) => fc.record({ to: fc.constant(to), from: fc.oneof(fc.constant(to), fc.nat(VARIABLES - 1)), add: fc.nat(5) }));
const choose = (n: number, k: number): number => (k === 0 ? 1 : (choose(n - 1, k - 1) * n) / k);

describe('exploreSchedules', () => {
  test('without reduction runs every interleaving once', () => {
    const own: Program[] = [[{ to: 0, from: 0, add: 1 }, { to: 0, from: 0, add: 1 }], [{ to: 1, from: 1, add: 1 }, { to: 1, from: 1, add: 1 }]];
    // A task of n steps is picked n + 1 times: once to get to the first.
    expect(finals(own, { reduce: false }).result).toEqual({ schedules: choose(6, 3), pruned: 0, complete: true });
    expect(finals([...own, [{ to: 2, from: 2, add: 1 }]], { reduce: false }).result.schedules).toBe((8 * 7 * 6 * 5 * 4 * 3 * 2) / (6 * 6 * 2));
  });

  test('with it runs one of steps that have nothing in common, and all of those that do', () => {
    const apart: Program[] = [[{ to: 0, from: 0, add: 1 }, { to: 0, from: 0, add: 1 }], [{ to: 1, from: 1, add: 1 }, { to: 1, from: 1, add: 1 }]];
    expect(finals(apart, {}).result.schedules).toBe(1);
    const same: Program[] = apart.map((program) => program.map((one) => ({ ...one, to: 0, from: 0 })));
    expect(finals(same, {}).result.schedules).toBe(choose(4, 2));
    expect(finals(same, {}).result.complete).toBe(true);
  });

  test('comes to every end that brute force comes to, and to no other', () => {
    let reduced = 0;
    let brute = 0;
    fc.assert(
      fc.property(fc.array(fc.array(step, { minLength: 1, maxLength: 3 }), { minLength: 2, maxLength: 3 }), (programs) => {
        const all = finals(programs, { reduce: false });
        const some = finals(programs, {});
        expect([...some.ends].sort()).toEqual([...all.ends].sort());
        expect(some.result.complete && all.result.complete).toBe(true);
        reduced += some.result.schedules;
        brute += all.result.schedules;
      }),
      { numRuns: 60 },
    );
    expect(reduced).toBeLessThan(brute / 5);
  });

  test('finds the one schedule in which a counter is lost, and it replays', () => {
    const attempt = (policy: Policy): void => {
      const sched = new Scheduler();
      let counter = 0;
      function* increment(): Sleepable<void> {
        yield sched.point('read', 'counter');
        const seen = counter;
        yield sched.point('write', 'counter');
        counter = seen + 1;
      }
      sched.spawn('a', increment());
      sched.spawn('b', increment());
      sched.run(policy);
      if (counter !== 2) throw new Error(`counter is ${counter}`);
    };
    let found: unknown;
    try {
      exploreSchedules(attempt);
    } catch (error) {
      found = error;
    }
    expect(found).toBeInstanceOf(ScheduleError);
    expect((found as ScheduleError).message).toMatch(/^schedule [12.]+: counter is 1$/);
    expect(() => attempt(replayPolicy((found as ScheduleError).schedule))).toThrow('counter is 1');
    expect(() => exploreSchedules(attempt, { maxPreemptions: 0 })).not.toThrow();
  });

  test('bounds are said to be bounds', () => {
    const programs: Program[] = [[{ to: 0, from: 0, add: 1 }, { to: 0, from: 0, add: 2 }], [{ to: 0, from: 0, add: 3 }, { to: 0, from: 0, add: 4 }]];
    const bounded = finals(programs, { reduce: false, maxPreemptions: 1 }).result;
    expect(bounded.complete).toBe(false);
    expect(bounded.schedules).toBeLessThan(20);
    expect(finals(programs, { reduce: false, maxPreemptions: 9 }).result).toMatchObject({ complete: true, schedules: 20 });
    expect(finals(programs, { reduce: false, maxSchedules: 7 }).result).toEqual({ schedules: 7, pruned: 0, complete: false });
  });

  test('a deadlock in one schedule is found', () => {
    expect(() =>
      exploreSchedules((policy) => {
        const sched = new Scheduler();
        const locks = [new RwLock('A'), new RwLock('B')] as const;
        function* both(first: RwLock, second: RwLock): Sleepable<void> {
          yield* first.write(sched);
          yield* second.write(sched);
          second.writeUnlock(sched);
          first.writeUnlock(sched);
        }
        sched.spawn('one', both(locks[0], locks[1]));
        sched.spawn('two', both(locks[1], locks[0]));
        sched.run(policy);
      }),
    ).toThrow(/would wait for ever/);
  });

  test('a model that does not repeat itself is caught', () => {
    let runs = 0;
    expect(() =>
      exploreSchedules((policy) => {
        const sched = new Scheduler();
        runs++;
        function* task(n: number): Sleepable<void> {
          for (let i = 0; i < n; i++) yield sched.point('', 'x');
        }
        sched.spawn('a', task(2));
        if (runs < 3) sched.spawn('b', task(2));
        sched.run(policy);
      }),
    ).toThrow(/does not repeat itself/);
  });
});
