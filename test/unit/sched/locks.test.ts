import { describe, expect, test } from 'vitest';
import { HmmError, InvariantError, KernelCrash } from '../../../dist/errno.js';
import { RwLock, Scheduler, WaitQueue, randomPolicy, runOn, type Sleepable } from '../../../dist/sched/index.js';

describe('RwLock', () => {
  test('has who comes after a waiting writer wait behind it, in the order in which they came', () => {
    const sched = new Scheduler();
    const lock = new RwLock('lock');
    const order: string[] = [];
    const reader = function* (name: string, holdNs = 0): Sleepable<void> {
      if (!lock.tryRead(sched)) yield* lock.read(sched);
      order.push(name);
      yield* sched.sleep(holdNs);
      lock.readUnlock(sched);
    };
    const writer = function* (): Sleepable<void> {
      if (!lock.tryWrite(sched)) yield* lock.write(sched);
      order.push('writer');
      lock.writeUnlock(sched);
    };
    sched.spawn('long', reader('long', 100));
    sched.spawn('writer', (function* () {
      yield* sched.sleep(10);
      yield* writer();
    })());
    sched.spawn('late', (function* () {
      yield* sched.sleep(20);
      yield* reader('late');
    })());
    sched.runToEnd('wait', sched.sleep(1000));
    expect(order).toEqual(['long', 'writer', 'late']);
  });

  test('readers share it, a writer has it alone', () => {
    const sched = new Scheduler();
    const lock = new RwLock('lock');
    const log: string[] = [];
    function* reader(name: string): Sleepable<void> {
      yield* lock.read(sched);
      log.push(`${name} in`);
      yield sched.point('reading', '');
      log.push(`${name} out`);
      lock.readUnlock(sched);
    }
    function* writer(): Sleepable<void> {
      yield* lock.write(sched);
      log.push('writer in');
      yield sched.point('writing', '');
      log.push('writer out');
      lock.writeUnlock(sched);
    }
    sched.spawn('a', reader('a'));
    sched.spawn('b', reader('b'));
    sched.spawn('w', writer());
    let turn = 0;
    sched.run({ choose: (ready) => turn++ % ready.length });
    expect(log.indexOf('writer out')).toBe(log.indexOf('writer in') + 1);
    expect(new Set(log).size).toBe(6);
    expect(lock.held).toBeNull();
  });

  test('whatever the schedule, nobody is inside with a writer', () => {
    for (let seed = 1n; seed <= 200n; seed++) {
      const sched = new Scheduler();
      const lock = new RwLock('lock');
      let readers = 0;
      let writers = 0;
      function* task(write: boolean): Sleepable<void> {
        for (let i = 0; i < 3; i++) {
          if (write) {
            if (!lock.tryWrite(sched)) yield* lock.write(sched);
            writers++;
          } else {
            if (!lock.tryRead(sched)) yield* lock.read(sched);
            readers++;
          }
          if (sched.concurrent) yield sched.point('inside', 'x');
          expect(writers > 1 || (writers === 1 && readers > 0), `seed ${seed}`).toBe(false);
          if (write) {
            writers--;
            lock.writeUnlock(sched);
          } else {
            readers--;
            lock.readUnlock(sched);
          }
        }
      }
      for (const write of [true, false, false, true]) sched.spawn(String(write), task(write));
      sched.run(randomPolicy(seed));
    }
  });

  test('the try forms take it only where that is neither a wait nor a preemption', () => {
    const sched = new Scheduler();
    const lock = new RwLock('lock');
    expect(lock.tryRead(sched)).toBe(true);
    expect(lock.tryRead(sched)).toBe(true);
    expect(lock.tryWrite(sched)).toBe(false);
    expect(lock.held).toBe('read');
    lock.readUnlock(sched);
    lock.readUnlock(sched);
    expect(lock.tryWrite(sched)).toBe(true);
    expect(lock.tryRead(sched)).toBe(false);
    expect(lock.readNow(sched)).toBe(false);
    lock.writeUnlock(sched);
    let refused = 0;
    function* task(): Sleepable<void> {
      if (!lock.tryRead(sched) && !lock.tryWrite(sched)) refused++;
      yield sched.point('', '');
    }
    sched.spawn('a', task());
    sched.spawn('b', task());
    sched.run(runOn);
    expect(refused).toBe(1); // b, when it runs, is alone
  });

  test('only who holds it may give it back', () => {
    const sched = new Scheduler();
    const lock = new RwLock('lock');
    expect(() => lock.readUnlock(sched)).toThrow(InvariantError);
    expect(() => lock.writeUnlock(sched)).toThrow(/who does not hold it/);
    lock.tryWrite(sched);
    function* other(): Sleepable<void> {
      lock.writeUnlock(sched);
    }
    sched.spawn('thief', other());
    expect(() => sched.run(runOn)).toThrow(/write unlock by thief/);
  });
});

describe('waiting for ever', () => {
  test('two tasks that want each other\'s lock: EDEADLK, and the graph says who holds what', () => {
    const sched = new Scheduler();
    const [a, b] = [new RwLock('lock A'), new RwLock('lock B')];
    function* both(first: RwLock, second: RwLock): Sleepable<void> {
      yield* first.write(sched);
      try {
        yield sched.point('has one', '*');
        yield* second.write(sched);
        second.writeUnlock(sched);
      } finally {
        first.writeUnlock(sched);
      }
    }
    sched.spawn('one', both(a, b));
    sched.spawn('two', both(b, a));
    let turn = 0;
    let error: unknown;
    try {
      sched.run({ choose: (ready) => turn++ % ready.length });
    } catch (caught) {
      error = caught;
    }
    expect(HmmError.is(error, 'EDEADLK')).toBe(true);
    expect((error as Error).message).toContain('one waits for lock B (write), held by two');
    expect((error as Error).message).toContain('two waits for lock A (write), held by one');
    expect([a.held, b.held]).toEqual([null, null]);
  });

  test('a lone path that waits for itself: EDEADLK', () => {
    const sched = new Scheduler();
    const lock = new RwLock('lock');
    lock.tryRead(sched);
    expect(() => sched.runToEnd('truncate', lock.write(sched))).toThrow(/truncate: would wait for ever\n {2}main waits for lock \(write\), held by main \(EDEADLK\)/);
    expect(lock.held).toBe('read');
  });

  test('a path that runs to its end lets spawned tasks run while it waits', () => {
    const sched = new Scheduler();
    const queue = new WaitQueue('a flag');
    let flag = false;
    sched.spawn('setter', (function* setter(): Sleepable<void> {
      yield* sched.sleep(500);
      flag = true;
    })());
    expect(sched.runToEnd('wait', queue.wait(sched, () => flag))).toBe(true);
    expect(sched.nowNs).toBe(500);
  });
});

describe('WaitQueue', () => {
  test('true when the condition came, false when the time went by first', () => {
    const sched = new Scheduler();
    const queue = new WaitQueue('q');
    expect(sched.runToEnd('wait', queue.wait(sched, () => true, 0))).toBe(true);
    expect(sched.runToEnd('wait', queue.wait(sched, () => false, 1000))).toBe(false);
    expect(sched.nowNs).toBe(1000);
    let at = 0;
    const answers: [string, boolean, number][] = [];
    function* waiter(name: string, timeoutNs: number): Sleepable<void> {
      const came = yield* queue.wait(sched, () => at > 0, timeoutNs);
      answers.push([name, came, sched.nowNs]);
    }
    sched.spawn('short', waiter('short', 10));
    sched.spawn('long', waiter('long', 100));
    sched.spawn('setter', (function* setter(): Sleepable<void> {
      yield* sched.sleep(50);
      at = sched.nowNs;
    })());
    sched.run(runOn);
    expect(answers).toEqual([['short', false, 1010], ['long', true, 1050]]);
  });
});

describe('spinlocks', () => {
  test('taking one twice is the crash that it is in a kernel', () => {
    const sched = new Scheduler();
    sched.spinLock('pud 1');
    expect(() => sched.spinLock('pud 1')).toThrow(new KernelCrash('spinlock recursion on pud 1'));
    sched.spinLock('pmd 1');
    expect(() => sched.spinUnlock('pud 1')).toThrow(/out of order/);
    sched.spinUnlock('pmd 1');
    sched.spinUnlock('pud 1');
  });

  test('with one held nothing may sleep, whether or not it would', () => {
    const sched = new Scheduler();
    const lock = new RwLock('mmap_lock 1');
    sched.spinLock('pud 1');
    expect(() => sched.runToEnd('read', lock.read(sched))).toThrow(/mmap_lock 1 may sleep, with spinlock pud 1 held/);
    expect(() => sched.runToEnd('wait', new WaitQueue('q').wait(sched, () => true))).toThrow(KernelCrash);
    sched.spinUnlock('pud 1');
    expect(() => sched.runToEnd('read', lock.read(sched))).not.toThrow();
  });

  test('each task has its own', () => {
    const sched = new Scheduler();
    function* holder(): Sleepable<void> {
      sched.spinLock('x');
      yield sched.point('', '');
      sched.spinUnlock('x');
    }
    sched.spawn('a', holder());
    sched.spawn('b', holder());
    expect(() => sched.run(randomPolicy(3n))).not.toThrow();
  });
});
