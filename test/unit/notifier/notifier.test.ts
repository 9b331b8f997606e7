import { describe, expect, it } from 'vitest';
import { InvariantError } from '../../../dist/errno.js';
import { EventBus } from '../../../dist/events/events.js';
import { MmuNotifiers, type IntervalSub, type MmuNotifier, type NotifierRange } from '../../../dist/mm/notifier/index.js';
import { Scheduler, type Sleepable } from '../../../dist/sched/index.js';

function setUp(): { sched: Scheduler; notifiers: MmuNotifiers; log: string[]; run: <T>(body: Sleepable<T>) => T } {
  const sched = new Scheduler();
  return { sched, notifiers: new MmuNotifiers(1, sched, new EventBus()), log: [], run: (body) => sched.runToEnd('test', body) };
}

const range = (start: number, end: number, blockable = true): NotifierRange => ({ event: 'CLEAR', start, end, blockable, owner: null });

/** A subscription that does as a driver must: takes the sequence number, and says so. */
function subscribe(notifiers: MmuNotifiers, log: string[], name: string, start: number, end: number, willing = true): IntervalSub {
  const sub: IntervalSub = notifiers.insert(name, start, end, function* (_range, seq) {
    log.push(`${name} invalidated`);
    if (!willing) return false;
    notifiers.setSeq(sub, seq);
    return true;
  });
  return sub;
}

function listener(log: string[], name: string, willing = true): MmuNotifier {
  return {
    name,
    *start(r) {
      log.push(`${name} start ${r.start}-${r.end}`);
      return willing;
    },
    end: (r) => log.push(`${name} end ${r.start}-${r.end}`),
    *release() {
      log.push(`${name} released`);
    },
  };
}

describe('an interval subscription', () => {
  it('hears of what overlaps it, to the page', () => {
    const { notifiers, log, run } = setUp();
    const sub = subscribe(notifiers, log, 'gpu', 10, 20);
    for (const [start, end, heard] of [[0, 10, false], [20, 30, false], [19, 20, true], [10, 11, true], [0, 100, true]] as const) {
      const seq = run(notifiers.readBegin(sub));
      const r = range(start, end);
      run(notifiers.start(r));
      expect(notifiers.readRetry(sub, seq), `${start}-${end}`).toBe(heard);
      notifiers.end(r);
      expect(notifiers.readRetry(sub, seq)).toBe(heard);
    }
    expect(log).toHaveLength(3);
  });

  it('makes a reader wait from start to end of what touches it', () => {
    const { sched, notifiers, log, run } = setUp();
    const sub = subscribe(notifiers, log, 'gpu', 10, 20);
    const r = range(15, 16);
    run(notifiers.start(r));
    sched.spawn('core', (function* (): Sleepable<void> {
      yield* sched.sleep(1000);
      log.push('end');
      notifiers.end(r);
    })());
    const seq = run(notifiers.readBegin(sub));
    log.push('read');
    expect(log).toEqual(['gpu invalidated', 'end', 'read']);
    expect(notifiers.readRetry(sub, seq)).toBe(false);
  });

  it('that joins while an invalidation is in flight joins at its end, and its reader waits', () => {
    const { sched, notifiers, log, run } = setUp();
    subscribe(notifiers, log, 'old', 0, 100);
    const [outer, inner] = [range(0, 10), range(50, 60)];
    run(notifiers.start(outer));
    const late = subscribe(notifiers, log, 'late', 0, 100);
    run(notifiers.start(inner));
    expect(log).toEqual(['old invalidated', 'old invalidated']);
    notifiers.end(inner);
    sched.spawn('core', (function* (): Sleepable<void> {
      notifiers.end(outer);
    })());
    const seq = run(notifiers.readBegin(late));
    run(notifiers.start(inner));
    expect(log.at(-1)).toBe('late invalidated');
    expect(notifiers.readRetry(late, seq)).toBe(true);
    notifiers.end(inner);
  });

  it('that leaves while an invalidation is in flight is not called any more when remove returns', () => {
    const { sched, notifiers, log, run } = setUp();
    const sub = subscribe(notifiers, log, 'gpu', 0, 100);
    const r = range(0, 10);
    run(notifiers.start(r));
    sched.spawn('core', (function* (): Sleepable<void> {
      yield* sched.sleep(10);
      log.push('end');
      notifiers.end(r);
    })());
    run(notifiers.remove(sub));
    log.push('removed');
    run(notifiers.start(r));
    notifiers.end(r);
    expect(log).toEqual(['gpu invalidated', 'end', 'removed']);
    expect(notifiers.heard).toBe(false);
  });

  it('deferred and removed again never was (the remove of 5.18)', () => {
    const { notifiers, log, run } = setUp();
    const old = subscribe(notifiers, log, 'old', 0, 100);
    const r = range(0, 10);
    run(notifiers.start(r));
    const late = subscribe(notifiers, log, 'late', 0, 100);
    run(notifiers.remove(late));
    notifiers.end(r);
    run(notifiers.start(r));
    notifiers.end(r);
    expect(log).toEqual(['old invalidated', 'old invalidated']);
    run(notifiers.remove(old));
    expect(notifiers.heard).toBe(false);
  });

  it('refuses only what may not block: the invalidation is closed, and the listeners never heard of it', () => {
    const { notifiers, log, run } = setUp();
    notifiers.register(listener(log, 'kvm'));
    subscribe(notifiers, log, 'gpu', 0, 100, false);
    expect(run(notifiers.start(range(0, 10, false)))).toBe(false);
    expect(notifiers.active).toBe(0);
    expect(log).toEqual(['gpu invalidated']);
    expect(() => run(notifiers.start(range(0, 10)))).toThrow(InvariantError);
  });
});

describe('classic listeners', () => {
  it('hear start and end of everything, in the order in which they registered', () => {
    const { notifiers, log, run } = setUp();
    notifiers.register(listener(log, 'a'));
    notifiers.register(listener(log, 'b'));
    const [outer, inner] = [range(0, 100), range(5, 6)];
    run(notifiers.start(outer));
    run(notifiers.start(inner));
    notifiers.end(inner);
    notifiers.end(outer);
    expect(log).toEqual(['a start 0-100', 'b start 0-100', 'a start 5-6', 'b start 5-6', 'a end 5-6', 'b end 5-6', 'a end 0-100', 'b end 0-100']);
    expect(() => notifiers.end(outer)).toThrow(/ended more often than started/);
  });

  it('are called after the interval subscriptions at start', () => {
    const { notifiers, log, run } = setUp();
    notifiers.register(listener(log, 'kvm'));
    subscribe(notifiers, log, 'gpu', 0, 100);
    run(notifiers.start(range(0, 1)));
    expect(log).toEqual(['gpu invalidated', 'kvm start 0-1']);
  });

  it('all hear a start that one refuses, and those with an end hear it; the core does not end it', () => {
    const { notifiers, log, run } = setUp();
    notifiers.register(listener(log, 'kvm'));
    const refuses: MmuNotifier = {
      name: 'gpu',
      *start() {
        log.push('gpu start');
        return false;
      },
    };
    notifiers.register(refuses);
    notifiers.register(listener(log, 'iommu'));
    expect(run(notifiers.start(range(0, 10, false)))).toBe(false);
    expect(log).toEqual(['kvm start 0-10', 'gpu start', 'iommu start 0-10', 'kvm end 0-10', 'iommu end 0-10']);
    expect(notifiers.active).toBe(0);
  });

  it('are released once, with every interval subscription invalidated before', () => {
    const { notifiers, log, run } = setUp();
    notifiers.register(listener(log, 'kvm'));
    const sub = subscribe(notifiers, log, 'gpu', 0, 100);
    const seq = run(notifiers.readBegin(sub));
    run(notifiers.release(2 ** 35));
    expect(log).toEqual(['gpu invalidated', 'kvm released']);
    expect(notifiers.readRetry(sub, seq)).toBe(true);
    run(notifiers.start(range(0, 1)));
    expect(log).toEqual(['gpu invalidated', 'kvm released', 'gpu invalidated']);
  });
});
