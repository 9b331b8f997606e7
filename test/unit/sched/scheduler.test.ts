import { describe, expect, test } from 'vitest';
import { RwLock, Scheduler, randomPolicy, replayPolicy, runOn, type Policy, type Sleepable } from '../../../dist/sched/index.js';
import { Random } from '../../../dist/sched/index.js';

/** Three tasks that write down when they run. */
function threeTasks(sched: Scheduler): string[] {
  const log: string[] = [];
  function* task(name: string): Sleepable<string> {
    for (let i = 0; i < 4; i++) {
      log.push(`${name}${i}`);
      yield sched.point('step', name);
    }
    return name;
  }
  for (const name of ['a', 'b', 'c']) sched.spawn(name, task(name));
  return log;
}

function recording(policy: Policy, ids: number[]): Policy {
  return {
    choose(ready, current) {
      const i = policy.choose(ready, current);
      ids.push(ready[i]!.id);
      return i;
    },
  };
}

describe('run', () => {
  test('runOn carries each task as far as it goes', () => {
    const sched = new Scheduler();
    const log = threeTasks(sched);
    const tasks = sched.run(runOn);
    expect(log.join(' ')).toBe('a0 a1 a2 a3 b0 b1 b2 b3 c0 c1 c2 c3');
    expect(tasks.map((task) => [task.name, task.state, task.result])).toEqual([['a', 'done', 'a'], ['b', 'done', 'b'], ['c', 'done', 'c']]);
    expect(sched.tasks).toEqual([]);
  });

  test('one seed, one schedule; another seed, another', () => {
    const logs = [5n, 5n, 6n].map((seed) => {
      const sched = new Scheduler();
      const log = threeTasks(sched);
      sched.run(randomPolicy(seed));
      return log.join(' ');
    });
    expect(logs[0]).toBe(logs[1]);
    expect(logs[0]).not.toBe(logs[2]);
  });

  test('a schedule written down as ids replays', () => {
    const ids: number[] = [];
    const first = new Scheduler();
    const log = threeTasks(first);
    first.run(recording(randomPolicy(99n), ids));
    const second = new Scheduler();
    const again = threeTasks(second);
    second.run(replayPolicy(ids));
    expect(again).toEqual(log);
  });

  test('a schedule that does not fit says where', () => {
    const sched = new Scheduler();
    threeTasks(sched);
    expect(() => sched.run(replayPolicy([1, 7]))).toThrow(/choice 2 names task 7, which is not ready \(ready: 1, 2, 3\)/);
  });

  test('the first error is thrown when the others have come to their end', () => {
    const sched = new Scheduler();
    let ended = false;
    sched.spawn('bad', (function* bad(): Sleepable<void> {
      yield sched.point('', '');
      throw new Error('bad luck');
    })());
    sched.spawn('good', (function* good(): Sleepable<void> {
      yield sched.point('', '');
      yield sched.point('', '');
      ended = true;
    })());
    expect(() => sched.run(runOn)).toThrow('bad luck');
    expect(ended).toBe(true);
    expect(sched.concurrent).toBe(false);
  });

  test('concurrent is true only while somebody else could run', () => {
    const sched = new Scheduler();
    const seen: boolean[] = [];
    function* look(): Sleepable<void> {
      seen.push(sched.concurrent);
      yield sched.point('', '');
      seen.push(sched.concurrent);
    }
    expect(sched.concurrent).toBe(false);
    sched.spawn('a', look());
    sched.spawn('b', look());
    sched.run(runOn);
    expect(seen).toEqual([true, true, false, false]);
    sched.runToEnd('look', look());
    expect(seen.slice(4)).toEqual([false, false]);
  });
});

describe('virtual time', () => {
  test('moves only when nobody can run, and to the nearest deadline', () => {
    const sched = new Scheduler();
    const log: [string, number][] = [];
    function* sleeper(name: string, ns: number): Sleepable<void> {
      yield* sched.sleep(ns);
      log.push([name, sched.nowNs]);
    }
    function* busy(): Sleepable<void> {
      for (let i = 0; i < 5; i++) {
        log.push(['busy', sched.nowNs]);
        yield sched.point('', '');
      }
    }
    sched.spawn('late', sleeper('late', 300));
    sched.spawn('early', sleeper('early', 100));
    sched.spawn('busy', busy());
    sched.run(runOn);
    expect(log).toEqual([['busy', 0], ['busy', 0], ['busy', 0], ['busy', 0], ['busy', 0], ['early', 100], ['late', 300]]);
  });

  test('a lone path sleeps too, and reset sets the clock back', () => {
    const sched = new Scheduler();
    sched.runToEnd('sleep', sched.sleep(1e9));
    expect(sched.nowNs).toBe(1e9);
    sched.advance(5);
    expect(sched.nowNs).toBe(1e9 + 5);
    sched.spawn('x', sched.sleep(1));
    sched.reset();
    expect([sched.nowNs, sched.tasks.length, sched.spawn('y', sched.sleep(1)).id]).toEqual([0, 0, 1]);
  });
});

describe('reset', () => {
  test('forgets what the path that runs to its end was holding', () => {
    const sched = new Scheduler();
    sched.spinLock('x');
    sched.reset();
    const lock = new RwLock('fresh');
    expect(() => sched.runToEnd('read', lock.read(sched))).not.toThrow();
  });
});

describe('Random', () => {
  test('repeats with its seed, and does not lean to one side', () => {
    const one = new Random(42n);
    const first = Array.from({ length: 1000 }, () => one.below(10));
    one.reseed(42n);
    expect(Array.from({ length: 1000 }, () => one.below(10))).toEqual(first);
    for (let digit = 0; digit < 10; digit++) expect(first.filter((x) => x === digit).length).toBeGreaterThan(60);
    expect(new Random(43n).u32()).not.toBe(new Random(42n).u32());
  });
});
