import { describe, expect, test } from 'vitest';
import { InvariantError } from '../../../dist/errno.js';
import { EventBus, type MachineEvent } from '../../../dist/events/events.js';
import { MmuNotifiers, type IntervalSub, type NotifierRange } from '../../../dist/mm/index.js';
import { Scheduler, randomPolicy, type Sleepable } from '../../../dist/sched/index.js';

function setUp(): { sched: Scheduler; bus: EventBus; notifiers: MmuNotifiers; log: string[] } {
  const sched = new Scheduler();
  const bus = new EventBus();
  return { sched, bus, notifiers: new MmuNotifiers(1, sched, bus), log: [] };
}

const range = (start: number, end: number, blockable = true): NotifierRange => ({ event: 'CLEAR', start, end, blockable, owner: null });

/** A subscription that writes down what it hears; `answer` false refuses. */
function subscribe(notifiers: MmuNotifiers, log: string[], name: string, start: number, end: number, answer: () => boolean = () => true): IntervalSub {
  const sub = notifiers.insert(name, start, end, function* invalidate(of, seq): Sleepable<boolean> {
    if (!answer()) return false;
    notifiers.setSeq(sub, seq);
    log.push(`${name} ${of.event} ${of.start}-${of.end}`);
    return true;
  });
  return sub;
}

function* invalidation(notifiers: MmuNotifiers, of: NotifierRange, between: () => void = () => {}): Sleepable<boolean> {
  if (!(yield* notifiers.start(of))) return false;
  between();
  notifiers.end(of);
  return true;
}

describe('interval notifiers', () => {
  test('who overlaps hears, by its start; who does not, not', () => {
    const { sched, notifiers, log } = setUp();
    for (const [name, start, end] of [['b', 10, 20], ['a', 0, 10], ['c', 19, 30], ['d', 40, 50]] as const) subscribe(notifiers, log, name, start, end);
    sched.runToEnd('x', invalidation(notifiers, range(10, 20)));
    expect(log).toEqual(['b CLEAR 10-20', 'c CLEAR 10-20']);
    sched.runToEnd('x', invalidation(notifiers, range(9, 11)));
    expect(log.slice(2)).toEqual(['a CLEAR 9-11', 'b CLEAR 9-11']);
  });

  test('what was read before an invalidation is stale after it, at once and for ever; what was read after is good', () => {
    const { sched, notifiers, log } = setUp();
    const sub = subscribe(notifiers, log, 'a', 0, 10);
    const apart = subscribe(notifiers, log, 'b', 20, 30);
    const seq = sched.runToEnd('read', notifiers.readBegin(sub));
    const other = sched.runToEnd('read', notifiers.readBegin(apart));
    expect(notifiers.readRetry(sub, seq)).toBe(false);
    sched.runToEnd('x', invalidation(notifiers, range(5, 6), () => expect(notifiers.readRetry(sub, seq)).toBe(true)));
    expect(notifiers.readRetry(sub, seq)).toBe(true);
    expect(notifiers.readRetry(apart, other), 'the one apart').toBe(false);
    const again = sched.runToEnd('read', notifiers.readBegin(sub));
    expect(again % 2).toBe(1);
    expect(notifiers.readRetry(sub, again)).toBe(false);
    sched.runToEnd('x', invalidation(notifiers, range(100, 200)));
    expect(notifiers.readRetry(sub, again), 'after one elsewhere').toBe(false);
  });

  test('readBegin waits while one that touches it is in flight, and not for others', () => {
    const { sched, notifiers, log } = setUp();
    const sub = subscribe(notifiers, log, 'a', 0, 10);
    let open = true;
    const steps: string[] = [];
    sched.spawn('core', (function* core(): Sleepable<void> {
      yield* notifiers.start(range(0, 5));
      steps.push('started');
      yield* sched.sleep(100);
      open = false;
      steps.push('ended');
      notifiers.end(range(0, 5));
    })());
    sched.spawn('driver', (function* driver(): Sleepable<void> {
      while (steps.length === 0) yield sched.point('', '*');
      yield* notifiers.readBegin(sub);
      steps.push(`read, ${open ? 'open' : 'closed'}`);
    })());
    sched.run(randomPolicy(1n));
    expect(steps).toEqual(['started', 'ended', 'read, closed']);
    const elsewhere = notifiers.start(range(500, 501));
    sched.runToEnd('x', elsewhere);
    expect(sched.runToEnd('read', notifiers.readBegin(sub))).toBeTypeOf('number');
    notifiers.end(range(500, 501));
  });

  test('nested invalidations are one to the reader: it goes on after the last end', () => {
    const { sched, notifiers, log } = setUp();
    const sub = subscribe(notifiers, log, 'a', 0, 10);
    const [outer, inner] = [range(0, 10), range(2, 3)];
    sched.runToEnd('x', notifiers.start(outer));
    sched.runToEnd('x', notifiers.start(inner));
    expect(notifiers.active).toBe(2);
    notifiers.end(inner);
    expect(() => sched.runToEnd('read', notifiers.readBegin(sub))).toThrow(/would wait for ever/);
    notifiers.end(outer);
    expect(sched.runToEnd('read', notifiers.readBegin(sub))).toBeTypeOf('number');
  });

  test('one made during an invalidation is not good before its end: deferred where others are being told, else taken to be touched', () => {
    const { sched, notifiers, log } = setUp();
    subscribe(notifiers, log, 'a', 0, 10);
    const told = range(0, 10);
    sched.runToEnd('x', notifiers.start(told));
    const late = subscribe(notifiers, log, 'late', 0, 10);
    expect(late.node, 'joins at the end').toBeNull();
    expect(() => sched.runToEnd('read', notifiers.readBegin(late))).toThrow(/would wait for ever/);
    notifiers.end(told);
    expect(late.node).not.toBeNull();
    const seq = sched.runToEnd('read', notifiers.readBegin(late));
    expect(notifiers.readRetry(late, seq)).toBe(false);

    const untold = range(500, 600);
    sched.runToEnd('x', notifiers.start(untold));
    const other = subscribe(notifiers, log, 'other', 0, 10);
    expect(other.node).not.toBeNull();
    expect(() => sched.runToEnd('read', notifiers.readBegin(other))).toThrow(/would wait for ever/);
    notifiers.end(untold);
    expect(sched.runToEnd('read', notifiers.readBegin(other))).toBeTypeOf('number');
  });

  test('removed: hears no more; during an invalidation only after its end', () => {
    const { sched, notifiers, log } = setUp();
    const sub = subscribe(notifiers, log, 'a', 0, 10);
    const gone = subscribe(notifiers, log, 'gone', 0, 10);
    sched.runToEnd('remove', notifiers.remove(gone));
    sched.runToEnd('x', notifiers.start(range(0, 1)));
    expect(log).toEqual(['a CLEAR 0-1']);
    let removed = false;
    sched.spawn('driver', (function* driver(): Sleepable<void> {
      yield* notifiers.remove(sub);
      removed = true;
    })());
    sched.spawn('core', (function* core(): Sleepable<void> {
      yield* sched.sleep(10);
      expect(removed).toBe(false);
      notifiers.end(range(0, 1));
    })());
    sched.run(randomPolicy(2n));
    expect(removed).toBe(true);
    sched.runToEnd('x', invalidation(notifiers, range(0, 1)));
    expect(log).toHaveLength(1);
    expect(notifiers.heard).toBe(false);
  });

  test('inserted and removed within one invalidation: as if it had never been', () => {
    const { sched, notifiers, log } = setUp();
    subscribe(notifiers, log, 'a', 0, 10);
    sched.runToEnd('x', notifiers.start(range(0, 1)));
    const late = subscribe(notifiers, log, 'late', 0, 10);
    sched.runToEnd('remove', notifiers.remove(late));
    notifiers.end(range(0, 1));
    expect(late.node).toBeNull();
    sched.runToEnd('x', invalidation(notifiers, range(0, 1)));
    expect(log).toEqual(['a CLEAR 0-1', 'a CLEAR 0-1']);
  });

  test('a refused non-blockable one is closed again: nobody hears an end, readers are not kept', () => {
    const { sched, notifiers, log } = setUp();
    let willing = false;
    const sub = subscribe(notifiers, log, 'a', 0, 10, () => willing);
    const classic: string[] = [];
    notifiers.register({ name: 'classic', *start() { classic.push('start'); return true; }, end: () => classic.push('end') });
    const refused = range(0, 10, false);
    expect(sched.runToEnd('x', notifiers.start(refused))).toBe(false);
    expect(classic, 'the list is not asked after an interval has refused').toEqual([]);
    expect(notifiers.active).toBe(0);
    expect(sched.runToEnd('read', notifiers.readBegin(sub))).toBeTypeOf('number');
    willing = true;
    expect(sched.runToEnd('x', invalidation(notifiers, refused))).toBe(true);
    expect(classic).toEqual(['start', 'end']);
    willing = false;
    expect(() => sched.runToEnd('x', notifiers.start(range(0, 10)))).toThrow(InvariantError);
  });
});

describe('classic notifiers', () => {
  test('hear start after the interval ones and end after them, in the order in which they came', () => {
    const { sched, notifiers, log } = setUp();
    const listener = (name: string): void =>
      notifiers.register({ name, *start(of) { log.push(`${name} start ${of.start}`); return true; }, end: () => log.push(`${name} end`) });
    listener('one');
    listener('two');
    const sub = subscribe(notifiers, log, 'interval', 0, 10);
    const seq = sched.runToEnd('read', notifiers.readBegin(sub));
    notifiers.register({ name: 'silent' });
    sched.runToEnd('x', invalidation(notifiers, range(3, 4), () => expect(notifiers.readRetry(sub, seq)).toBe(true)));
    expect(log).toEqual(['interval CLEAR 3-4', 'one start 3', 'two start 3', 'one end', 'two end']);
  });

  test('one refuses a non-blockable start: all hear start, then all that listen hear end, and the core goes back', () => {
    const { sched, notifiers, log } = setUp();
    const sub = subscribe(notifiers, log, 'interval', 0, 10);
    notifiers.register({ name: 'no', *start() { log.push('no start'); return false; } });
    notifiers.register({ name: 'yes', *start() { log.push('yes start'); return true; }, end: () => log.push('yes end') });
    expect(sched.runToEnd('x', notifiers.start(range(0, 1, false)))).toBe(false);
    expect(log.slice(1)).toEqual(['no start', 'yes start', 'yes end']);
    expect(notifiers.active).toBe(0);
    expect(sched.runToEnd('read', notifiers.readBegin(sub))).toBeTypeOf('number');
    expect(() => sched.runToEnd('x', notifiers.start(range(0, 1)))).toThrow(/no refuses a blockable invalidation/);
  });

  test('unregistered ones hear nothing', () => {
    const { sched, notifiers, log } = setUp();
    const listener = { name: 'one', *start(): Sleepable<boolean> { log.push('start'); return true; } };
    notifiers.register(listener);
    expect(notifiers.heard).toBe(true);
    notifiers.unregister(listener);
    expect(notifiers.heard).toBe(false);
    sched.runToEnd('x', invalidation(notifiers, range(0, 1)));
    expect(log).toEqual([]);
  });
});

describe('release', () => {
  test('interval ones hear RELEASE over everything, classic ones release, once; what was read is stale', () => {
    const { sched, notifiers, log } = setUp();
    const sub = subscribe(notifiers, log, 'interval', 5, 10);
    const seq = sched.runToEnd('read', notifiers.readBegin(sub));
    notifiers.register({ name: 'one', *release() { log.push('one released'); } });
    notifiers.register({ name: 'two', *start() { log.push('two start'); return true; } });
    sched.runToEnd('release', notifiers.release(1000));
    expect(log).toEqual(['interval RELEASE 0-1000', 'one released']);
    expect(notifiers.readRetry(sub, seq)).toBe(true);
    sched.runToEnd('x', invalidation(notifiers, range(5, 6)));
    expect(log.slice(2), 'the list is empty').toEqual(['interval CLEAR 5-6']);
  });
});

describe('pairing', () => {
  test('an end too many is a broken rule', () => {
    const { notifiers } = setUp();
    expect(() => notifiers.end(range(0, 1))).toThrow(/ended more often than started/);
  });

  test('observers see each start, that all have heard it, and its end', () => {
    const { sched, bus, notifiers } = setUp();
    const events: MachineEvent[] = [];
    bus.observe((event) => events.push(event));
    sched.runToEnd('x', invalidation(notifiers, range(3, 9)));
    expect(events).toEqual([
      { type: 'invalidate-start', mm: 1, event: 'CLEAR', start: 3, end: 9, blockable: true },
      { type: 'invalidate-told', mm: 1, event: 'CLEAR', start: 3, end: 9 },
      { type: 'invalidate-end', mm: 1, event: 'CLEAR', start: 3, end: 9 },
    ]);
  });

  test('whatever the schedule of readers and invalidations, nobody uses what was invalidated since', () => {
    for (let seed = 1n; seed <= 150n; seed++) {
      const { sched, notifiers } = setUp();
      let version = 0;
      const sub = notifiers.insert('reader', 0, 10, function* invalidate(_of, seq): Sleepable<boolean> {
        notifiers.setSeq(sub, seq);
        return true;
      });
      function* reader(): Sleepable<void> {
        for (let i = 0; i < 3; i++) {
          for (;;) {
            const seq = yield* notifiers.readBegin(sub);
            const seen = version;
            yield sched.point('collect', '*');
            if (notifiers.readRetry(sub, seq)) continue;
            expect(seen, `seed ${seed}`).toBe(version);
            break;
          }
        }
      }
      function* core(at: number): Sleepable<void> {
        for (let i = 0; i < 3; i++) {
          yield* notifiers.start(range(at, at + 2));
          version++;
          yield sched.point('change', '*');
          notifiers.end(range(at, at + 2));
        }
      }
      for (const body of [reader(), reader(), core(0), core(1)]) sched.spawn('t', body);
      sched.run(randomPolicy(seed));
      expect(notifiers.active).toBe(0);
    }
  });
});

describe('at once, by plain functions', () => {
  /** A subscription, or a classic listener, that writes down how it was asked. */
  function prompt(log: string[], name: string, isReady = (): boolean => true): { isReady(): boolean; answer(of: NotifierRange): void } {
    return { isReady, answer: (of) => log.push(`${name} ${of.start}-${of.end}`) };
  }

  test('where every listener can answer so: those that overlap, then the list; events and sequence as in the long way', () => {
    const seen: string[][] = [];
    for (const now of [true, false]) {
      const { sched, bus, notifiers, log } = setUp();
      bus.observe((event: MachineEvent) => void log.push(event.type));
      const say = (name: string) => function* said(of: NotifierRange): Sleepable<boolean> { log.push(`${name} ${of.start}-${of.end}`); return true; };
      const sub = notifiers.insert('sub', 0, 10, say('sub'), prompt(log, 'sub'));
      notifiers.insert('apart', 20, 30, say('apart'), prompt(log, 'apart'));
      notifiers.register({ name: 'list', start: say('list'), end: () => void log.push('list end'), prompt: prompt(log, 'list') });
      expect(notifiers.startsNow).toBe(true);
      const of = range(5, 6);
      if (now) notifiers.startNow(of);
      else sched.runToEnd('x', notifiers.start(of));
      log.push(`in flight ${notifiers.active}, settled ${notifiers.settled(sub)}`);
      notifiers.end(of);
      seen.push(log);
    }
    expect(seen[0]).toContain('sub 5-6');
    expect(seen[0]).toEqual(seen[1]);
  });

  test('one that cannot, or not now, or others that run, take the long way', () => {
    const { sched, notifiers, log } = setUp();
    let ready = false;
    const sub = notifiers.insert('sub', 0, 10, function* never(): Sleepable<boolean> { return true; }, prompt(log, 'sub', () => ready));
    expect(notifiers.startsNow).toBe(false);
    ready = true;
    expect(notifiers.startsNow).toBe(true);
    const slow = subscribe(notifiers, log, 'slow', 50, 60);
    expect(notifiers.startsNow).toBe(false);
    sched.runToEnd('x', notifiers.remove(slow));
    expect(notifiers.startsNow).toBe(true);
    const listener = { name: 'list', start: function* start(): Sleepable<boolean> { return true; } };
    notifiers.register(listener);
    expect(notifiers.startsNow).toBe(false);
    notifiers.unregister(listener);
    sched.concurrent = true;
    expect(notifiers.startsNow).toBe(false);
    sched.concurrent = false;
    sched.runToEnd('x', notifiers.remove(sub));
    expect(notifiers.startsNow).toBe(true);
  });
});
