/** Rounds, samples and refusals, with clocks that the test moves itself: nothing here depends on how fast the machine is. */
import { describe, expect, it } from 'vitest';
import { clockOf, wallClock, type Clock } from '../../../dist/bench/clock.js';
import { measure, type Outcome } from '../../../dist/bench/measure.js';
import { CoreProbe, type Probe } from '../../../dist/bench/probe.js';
import { quietSpread, ratioSpread, spreadOf } from '../../../dist/bench/spread.js';
import type { Contender, Work } from '../../../dist/bench/workload.js';

/** A clock that stands still but for what the contenders add. */
class FakeClock implements Clock {
  readonly kind = 'wall time';
  readonly resolutionNs: number;
  at = 0;
  constructor(resolutionNs = 1) {
    this.resolutionNs = resolutionNs;
  }
  now(): number {
    return this.at;
  }
}

function costing(clock: FakeClock, name: string, ns: number, log: string[] = [], more: Partial<Contender> = {}): Contender {
  return {
    name,
    run: (times) => {
      clock.at += ns * times;
      log.push(`${name} ${times}`);
    },
    ...more,
  };
}

function work(contenders: Contender[], more: Partial<Work> = {}): Work {
  return { unit: 'page', unitsPerRun: 10, contenders, against: [], warmupMs: 0, ...more };
}

function measured(outcome: Outcome | undefined): readonly number[] {
  if (outcome?.status !== 'measured') throw new Error(`not measured: ${outcome === undefined ? 'missing' : outcome.reason}`);
  return outcome.ns;
}

describe('measure', () => {
  it('gives ns a unit, one value a round', async () => {
    const clock = new FakeClock();
    const [a, b] = await measure(work([costing(clock, 'a', 5000), costing(clock, 'b', 20_000)]), { clock, rounds: 9 });
    expect(measured(a)).toEqual(Array.from({ length: 9 }, () => 500));
    expect(measured(b)).toEqual(Array.from({ length: 9 }, () => 2000));
  });

  it('repeats the work until a sample is long enough', async () => {
    const clock = new FakeClock();
    const log: string[] = [];
    await measure(work([costing(clock, 'a', 1000, log)], { warmupMs: 10 }), { clock, rounds: 9, sampleNs: 1e6 });
    const samples = log.slice(-9 * 2).filter((line) => line !== 'a 1');
    expect(samples).toHaveLength(9);
    for (const line of samples) expect(Number(line.split(' ')[1]) * 1000).toBeGreaterThanOrEqual(1e6);
  });

  it('takes the contenders in turn, and starts each round with another', async () => {
    const clock = new FakeClock();
    const log: string[] = [];
    await measure(work(['a', 'b', 'c'].map((name) => costing(clock, name, 3e6, log)), { warmupMs: 0 }), { clock, rounds: 3 });
    expect(log).toEqual(['a', 'b', 'c', 'b', 'c', 'a', 'c', 'a', 'b'].map((name) => `${name} 1`));
  });

  it('never times `before`, and calls it before each run of a single', async () => {
    const clock = new FakeClock();
    const log: string[] = [];
    const before = (): void => {
      clock.at += 1e9;
      log.push('before');
    };
    const [a] = await measure(work([costing(clock, 'a', 600_000, log, { before })], { single: true }), { clock, rounds: 2, sampleNs: 1e6 });
    expect(measured(a)).toEqual([60_000, 60_000]);
    expect(log).toEqual(['before', 'a 1', 'before', 'a 1', 'before', 'a 1', 'before', 'a 1']);
  });

  it('waits for work that answers with a promise', async () => {
    const clock = new FakeClock();
    const slow: Contender = {
      name: 'slow',
      run: async (times) => {
        await Promise.resolve();
        clock.at += 4e6 * times;
      },
    };
    expect(measured((await measure(work([slow]), { clock, rounds: 9 }))[0])[0]).toBe(4e5);
  });

  it('takes off what is not the work\'s', async () => {
    const clock = new FakeClock();
    const [a] = await measure(work([costing(clock, 'a', 5e6, [], { freeNs: 1e6 })]), { clock, rounds: 9 });
    expect(measured(a)[0]).toBe(4e5);
  });

  it('lets a workload have its own number of rounds', async () => {
    const clock = new FakeClock();
    expect(measured((await measure(work([costing(clock, 'a', 5e6)], { rounds: 1 }), { clock, rounds: 9 }))[0])).toHaveLength(1);
  });

  it('keeps the order in which contenders are listed, whatever came of them', async () => {
    const clock = new FakeClock();
    const list = [costing(clock, 'a', 5e6), { name: 'b', missing: 'not here', run: () => {} }, costing(clock, 'c', 5e6, [], { check: () => 'differs at word 3' }), costing(clock, 'd', 5e6)];
    const outcomes = await measure(work(list), { clock, rounds: 9 });
    expect(outcomes.map(({ contender, status }) => [contender.name, status])).toEqual([['a', 'measured'], ['b', 'missing'], ['c', 'refused'], ['d', 'measured']]);
  });
});

describe('rounds in which the core is shared', () => {
  /** Slow for samples `from` to `to`, counted over all contenders; two runs of the probe to a sample. */
  function shared(from: number, to: number): Probe {
    let runs = 0;
    return { run: () => (Math.floor(runs / 2) >= from && Math.floor(runs++ / 2) < to ? 30 : (runs++, 10)), isQuiet: (ns) => ns <= 12 };
  }

  it('are marked', async () => {
    const clock = new FakeClock();
    const probe = shared(2, 4);
    const [a] = await measure(work([costing(clock, 'a', 5e6)]), { clock, rounds: 9, probe });
    expect(a?.status === 'measured' ? a.quiet : null).toEqual([true, true, false, false, true, true, true, true, true]);
  });

  it('are made up for, as far as asked, until each pair that is compared shares nine quiet ones', async () => {
    for (const [noisy, search, rounds] of [[4, 3, 13], [4, 1, 9], [1000, 3, 27]] as const) {
      const clock = new FakeClock();
      const [a] = await measure(work([costing(clock, 'a', 5e6)]), { clock, rounds: 9, probe: shared(0, noisy), search });
      expect(measured(a), `${noisy} noisy, search ${search}`).toHaveLength(rounds);
    }
  });

  it('end with the time that there is, but not before the third', async () => {
    for (const [overAfter, rounds] of [[0, 3], [5, 5], [100, 9]] as const) {
      const clock = new FakeClock();
      const [a] = await measure(work([costing(clock, 'a', 5e6)]), { clock, rounds: 9, isOver: () => clock.at >= overAfter * 5e6 });
      expect(measured(a), `over after ${overAfter}`).toHaveLength(rounds);
    }
  });

  it('do not make what runs once run again', async () => {
    const clock = new FakeClock();
    expect(measured((await measure(work([costing(clock, 'a', 5e6)], { rounds: 1 }), { clock, rounds: 9, probe: shared(0, 99), search: 3 }))[0])).toHaveLength(1);
  });

  it('are left out of a spread while enough are left, else all are in it and it says so', () => {
    const ns = [1, 1, 1, 9, 9];
    expect(quietSpread({ ns, quiet: [true, true, true, false, false] }, 3)).toEqual({ median: 1, min: 1, max: 1, lower: 1, upper: 1, rounds: 3, isQuiet: true });
    expect(quietSpread({ ns, quiet: [true, true, false, false, true] }, 4)).toEqual({ median: 1, min: 1, max: 9, lower: 1, upper: 9, rounds: 5, isQuiet: false });
    expect(quietSpread({ ns: [4], quiet: [true] }, 1)).toMatchObject({ rounds: 1, isQuiet: true });
    expect(quietSpread({ ns: [4, 4, 4], quiet: [true, true, true] }, 9)).toMatchObject({ rounds: 3, isQuiet: false });
  });

  it('are left out of a ratio where either was disturbed', () => {
    const of = { ns: [2, 20, 2, 2], quiet: [true, false, true, true] };
    const to = { ns: [1, 1, 10, 1], quiet: [true, true, false, true] };
    expect(ratioSpread(of, to, 2)).toEqual({ median: 2, min: 2, max: 2, lower: 2, upper: 2, rounds: 2, isQuiet: true });
  });

  it('the probe knows a loop that takes longer than undisturbed ones, and is not fooled by a few that were too fast', () => {
    const steps = Array.from({ length: 400 }, (_, run) => (run % 40 === 7 ? 10 : run % 2 === 0 ? 100 : 180));
    let at = 0;
    let reading = 0;
    const probe = new CoreProbe({ kind: 'wall time', resolutionNs: 1, now: () => (at += reading++ % 2 === 0 ? 1 : (steps[(reading >> 1) - 1] ?? 100)) });
    expect(Array.from({ length: 200 }, () => probe.run())).toEqual(steps.slice(200));
    expect([10, 100, 124, 125, 126, 180].map((ns) => probe.isQuiet(ns))).toEqual([true, true, true, true, false, false]);
  });
});

describe('a row is refused', () => {
  it('where its output differs, and is then never run', async () => {
    const clock = new FakeClock();
    const log: string[] = [];
    const [outcome] = await measure(work([costing(clock, 'a', 5e6, log, { check: () => 'differs at word 3' })]), { clock, rounds: 9 });
    expect(outcome).toMatchObject({ status: 'refused', reason: 'differs at word 3' });
    expect(outcome).not.toHaveProperty('ns');
    expect(log).toEqual([]);
  });

  it('where it is not there, without being asked for its output', async () => {
    const clock = new FakeClock();
    const check = (): string | null => {
      throw new Error('asked');
    };
    const [outcome] = await measure(work([costing(clock, 'a', 5e6, [], { missing: 'no addon', check })]), { clock, rounds: 9 });
    expect(outcome).toMatchObject({ status: 'missing', reason: 'no addon' });
  });

  it('where a stretch is shorter than 20 steps of the clock, and not at 20', async () => {
    for (const [ns, status] of [[19_900, 'refused'], [20_000, 'measured']] as const) {
      const clock = new FakeClock(1000);
      const [outcome] = await measure(work([costing(clock, 'a', ns)], { single: true }), { clock, rounds: 9 });
      expect(outcome?.status, `${ns} ns`).toBe(status);
      if (outcome?.status === 'refused') expect(outcome.reason).toMatch(/^too close to the timer: 19900 ns, its step is 1000 ns$/);
    }
  });

  it('where nothing happens at all', async () => {
    const clock = new FakeClock();
    const [outcome] = await measure(work([{ name: 'a', run: () => {} }]), { clock, rounds: 9 });
    expect(outcome).toMatchObject({ status: 'refused' });
  });

  it('where most of it is the price of its calls', async () => {
    const clock = new FakeClock();
    const [outcome] = await measure(work([costing(clock, 'a', 5e6, [], { freeNs: 3e6 })]), { clock, rounds: 9 });
    expect(outcome).toMatchObject({ status: 'refused', reason: 'mostly the price of its calls' });
  });
});

describe('clocks', () => {
  it('know the step between readings', () => {
    let at = 0;
    let reading = 0;
    expect(clockOf('wall time', () => (reading++ % 4 === 0 ? (at += 250) : at)).resolutionNs).toBe(250);
  });

  it('that stand still are refused', () => {
    expect(() => clockOf('wall time', () => 7)).toThrow(/stands still/);
  });

  it('of the machine go forward', () => {
    const clock = wallClock();
    const start = clock.now();
    while (clock.now() === start);
    expect(clock.now()).toBeGreaterThan(start);
    expect(clock.resolutionNs).toBeGreaterThan(0);
  });
});

describe('spread', () => {
  it('is the median, the quartiles and the extremes', () => {
    expect(spreadOf([5, 1, 3])).toEqual({ median: 3, min: 1, max: 5, lower: 2, upper: 4 });
    expect(spreadOf([4, 1, 3, 2])).toEqual({ median: 2.5, min: 1, max: 4, lower: 1.75, upper: 3.25 });
    expect(spreadOf([7])).toEqual({ median: 7, min: 7, max: 7, lower: 7, upper: 7 });
    expect(() => spreadOf([])).toThrow(RangeError);
  });

  it('of a ratio is made within rounds: what both suffer cancels out', () => {
    const quiet = [true, true, true];
    expect(ratioSpread({ ns: [10, 1000, 20], quiet }, { ns: [5, 500, 10], quiet }, 3)).toMatchObject({ median: 2, min: 2, max: 2 });
    expect(() => ratioSpread({ ns: [1], quiet }, { ns: [1, 2], quiet }, 1)).toThrow(RangeError);
  });
});
