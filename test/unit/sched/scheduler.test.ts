import { describe, expect, it } from 'vitest';
import { HmmError, KernelCrash } from '../../../dist/errno.js';
import { RwLock, Scheduler, WaitQueue, randomPolicy, replayPolicy, runOn, type Policy, type Sleepable } from '../../../dist/sched/index.js';

/** Appends its steps to a log, one preemption point before each. */
function* steps(sched: Scheduler, log: string[], name: string, count: number): Sleepable<void> {
  for (let i = 0; i < count; i++) {
    if (sched.concurrent) yield sched.point(`${name}${i}`, '*');
    log.push(`${name}${i}`);
  }
}

function schedule(policy: Policy): string {
  const sched = new Scheduler();
  const log: string[] = [];
  sched.spawn('a', steps(sched, log, 'a', 4));
  sched.spawn('b', steps(sched, log, 'b', 4));
  sched.run(policy);
  return log.join(' ');
}

describe('run to end', () => {
  it('returns what the path returns and throws what it throws', () => {
    const sched = new Scheduler();
    expect(sched.runToEnd('op', (function* (): Sleepable<number> { return 42; })())).toBe(42);
    expect(() => sched.runToEnd('op', (function* (): Sleepable<number> { throw new RangeError('no'); })())).toThrow('no');
  });

  it('never yields a preemption point when nobody else can run', () => {
    const sched = new Scheduler();
    const body = steps(sched, [], 'a', 3);
    expect(body.next().done).toBe(true);
  });

  it('lets spawned tasks run while it waits', () => {
    const sched = new Scheduler();
    const queue = new WaitQueue('a flag');
    let flag = false;
    sched.spawn('setter', (function* (): Sleepable<void> { flag = true; })());
    expect(sched.runToEnd('op', queue.wait(sched, () => flag))).toBe(true);
  });

  it('moves virtual time when nobody can run, and only then', () => {
    const sched = new Scheduler();
    sched.runToEnd('op', sched.sleep(1500));
    expect(sched.nowNs).toBe(1500);
    const queue = new WaitQueue('nothing');
    expect(sched.runToEnd('op', queue.wait(sched, () => false, 500))).toBe(false);
    expect(sched.nowNs).toBe(2000);
    expect(sched.runToEnd('op', queue.wait(sched, () => true, 500))).toBe(true);
    expect(sched.nowNs).toBe(2000);
  });

  it('ends with EDEADLK and the wait graph where it would wait for ever, and unwinds the path', () => {
    const sched = new Scheduler();
    const lock = new RwLock('mmap_lock 1');
    let unwound = false;
    const body = (function* (): Sleepable<void> {
      yield* lock.write(sched);
      try {
        yield* lock.read(sched);
      } finally {
        unwound = true;
        lock.writeUnlock(sched);
      }
    })();
    let thrown: unknown;
    try {
      sched.runToEnd('munmap', body);
    } catch (error) {
      thrown = error;
    }
    expect(HmmError.is(thrown, 'EDEADLK')).toBe(true);
    expect((thrown as Error).message).toMatch(/munmap: would wait for ever\n {2}main waits for mmap_lock 1 \(read\), held by main/);
    expect(unwound).toBe(true);
    expect(lock.held).toBe(null);
  });
});

describe('tasks', () => {
  it('run one after the other under runOn', () => {
    expect(schedule(runOn)).toBe('a0 a1 a2 a3 b0 b1 b2 b3');
  });

  it('interleave by the seed, and only by the seed', () => {
    const schedules = new Set<string>();
    for (let seed = 0n; seed < 20n; seed++) {
      const one = schedule(randomPolicy(seed));
      expect(schedule(randomPolicy(seed))).toBe(one);
      schedules.add(one);
    }
    expect(schedules.size).toBeGreaterThan(10);
  });

  it('follow a recorded schedule, and say where it does not fit', () => {
    const chosen: number[] = [];
    const random = randomPolicy(3n);
    const recorded = schedule({
      choose(ready, current) {
        const index = random.choose(ready, current);
        chosen.push((ready[index] as { id: number }).id);
        return index;
      },
    });
    expect(schedule(replayPolicy(chosen))).toBe(recorded);
    expect(() => schedule(replayPolicy([1, 9]))).toThrow(/replay: choice 2 names task 9, which is not ready \(ready: 1, 2\)/);
  });

  it('end with EDEADLK each when two wait for each other, and name who holds what', () => {
    const sched = new Scheduler();
    const [left, right] = [new RwLock('left'), new RwLock('right')];
    const both = function* (first: RwLock, second: RwLock): Sleepable<void> {
      yield* first.write(sched);
      try {
        yield* second.write(sched);
        second.writeUnlock(sched);
      } finally {
        first.writeUnlock(sched);
      }
    };
    sched.spawn('one', both(left, right));
    sched.spawn('two', both(right, left));
    const alternate: Policy = { choose: (ready, current) => Math.max(0, ready.findIndex((task) => task !== current)) };
    expect(() => sched.run(alternate)).toThrow(/one waits for right \(write\), held by two\n {2}two waits for left \(write\), held by one/);
    expect(left.held).toBe(null);
    expect(right.held).toBe(null);
  });

  it('throw the first error after all have come to their end', () => {
    const sched = new Scheduler();
    const log: string[] = [];
    sched.spawn('bad', (function* (): Sleepable<void> { throw new Error('first'); })());
    sched.spawn('good', steps(sched, log, 'g', 2));
    expect(() => sched.run(runOn)).toThrow('first');
    expect(log).toEqual(['g0', 'g1']);
    expect(sched.tasks).toEqual([]);
  });
});

describe('reader-writer locks', () => {
  it('let many read, one write, and nobody beside a writer', () => {
    const sched = new Scheduler();
    const lock = new RwLock('lock');
    let [readers, writers, most] = [0, 0, 0];
    const reader = function* (): Sleepable<void> {
      yield* lock.read(sched);
      readers++;
      most = Math.max(most, readers);
      expect(writers).toBe(0);
      if (sched.concurrent) yield sched.point('reading', '*');
      readers--;
      lock.readUnlock(sched);
    };
    const writer = function* (): Sleepable<void> {
      yield* lock.write(sched);
      writers++;
      expect([readers, writers]).toEqual([0, 1]);
      if (sched.concurrent) yield sched.point('writing', '*');
      writers--;
      lock.writeUnlock(sched);
    };
    for (let seed = 0n; seed < 50n; seed++) {
      for (const [name, body] of [['r1', reader], ['w1', writer], ['r2', reader], ['w2', writer]] as const) sched.spawn(name, body());
      sched.run(randomPolicy(seed));
    }
    expect(most).toBe(2);
  });

  it('know who gives back what he does not hold', () => {
    const sched = new Scheduler();
    const lock = new RwLock('lock');
    expect(() => lock.readUnlock(sched)).toThrow(/lock: read unlock by main, who does not hold it/);
    expect(() => lock.writeUnlock(sched)).toThrow(/lock: write unlock by main, who does not hold it/);
  });
});

describe('spinlocks', () => {
  it('crash who takes his own again, and who sleeps with one', () => {
    const sched = new Scheduler();
    sched.spinLock('pud lock');
    expect(() => sched.spinLock('pud lock')).toThrow(KernelCrash);
    expect(() => sched.spinLock('pud lock')).toThrow(/spinlock recursion on pud lock/);
    expect(() => sched.mightSleep('mmap_lock')).toThrow(/mmap_lock may sleep, with spinlock pud lock held/);
    sched.spinUnlock('pud lock');
    expect(() => sched.mightSleep('mmap_lock')).not.toThrow();
  });
});
