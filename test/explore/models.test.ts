/** The shipped models: clean within their bound, and each of their bugs found, shrunk and replayed. */
import { describe, expect, test } from 'vitest';
import { MODELS, Search, Session, Violation, decodeReplay, replaySchedule, type Model, type SearchOptions, type SearchReport } from '../../dist/explore/index.js';
import { Exploration } from '../../dist/sched/index.js';

function searched(session: Session, options: SearchOptions): SearchReport {
  const steps = new Search(session, options).run();
  for (;;) {
    const turn = steps.next();
    if (turn.done === true) return turn.value;
  }
}

describe('small models: every schedule, with reduction and without', () => {
  test.each([
    ['fork-write', { schedules: 84, pruned: 11 }, 171],
    ['munmap-read', { schedules: 55, pruned: 4 }, 544],
    ['interval-remove', { schedules: 758, pruned: 14 }, 7692],
    ['fsync-write', { schedules: 23, pruned: 4 }, 761],
  ] as const)('%s comes to the same ends', async (name, reduced, all) => {
    const model = MODELS.find((one) => one.name === name)!;
    const report = searched(await Session.create(model, null), { brute: true });
    expect(report.phases).toMatchObject([{ phase: 'all', ...reduced, complete: true }, { phase: 'brute', schedules: all, pruned: 0, complete: true }]);
    expect(report).toMatchObject({ finding: null, missed: [] });
    expect(report.ends.length).toBeGreaterThan(1);
  }, 60_000);
});

// Without reduction they are 25,438 and 17,085, and come to the same ends: `daxmirror explore NAME --brute`.
test.each([
  ['leak-unbind', { schedules: 587, pruned: 226, ends: 2 }],
  ['oom-register', { schedules: 1310, pruned: 265, ends: 3 }],
] as const)('every schedule of %s', async (name, counts) => {
  const report = searched(await Session.create(MODELS.find((one) => one.name === name)!, null), { preemptions: 0, all: true });
  expect(report.phases.at(-1)).toMatchObject({ phase: 'all', ...counts, complete: true });
}, 60_000);

test('a search taken up where another stood does the rest, and no more', async () => {
  const model = MODELS.find((one) => one.name === 'fork-write')!;
  const session = await Session.create(model, null);
  const whole = new Exploration();
  const positions: (readonly number[])[] = [];
  while (whole.next((policy) => session.play(policy))) positions.push(whole.position);
  for (const [done, position] of positions.entries()) {
    const rest = new Exploration({}, position);
    while (rest.next((policy) => session.play(policy)));
    expect(rest.schedules + rest.pruned, `from ${position.join('.')}`).toBe(whole.schedules + whole.pruned - done - 1);
  }
}, 60_000);

test('without reduction, too, a search goes on where it stood; an end that only it comes to is told', async () => {
  const model = MODELS.find((one) => one.name === 'fsync-write')!;
  const whole = new Search(await Session.create(model, null), { brute: true });
  const steps = whole.run();
  while (whole.phases.at(-1)?.phase !== 'brute' || whole.phases.at(-1)!.schedules < 700) steps.next();
  const [, text] = /--resume (\S+) --brute$/.exec(whole.resume)!;
  const { fields, schedule } = decodeReplay(text!, 'r1', ['model', 'bug', 'phase']);
  expect(fields[2]!.text).toBe('brute');
  const rest = searched(await Session.create(model, null), { brute: true, from: { phase: 'brute', position: schedule } });
  expect(rest.phases.map((phase) => phase.schedules)).toEqual([23, 761 - 700]);
  // A task that says that it works on nothing, and does.
  let shared = 0;
  const lying: Model = {
    ...model, name: 'lying', build: (world) => {
      shared = 1;
      const { sched } = world.platform;
      const once = function* (change: (value: number) => number): Generator<ReturnType<typeof sched.point>, void> {
        yield sched.point('change', '');
        shared = change(shared);
      };
      world.task('double', once((value) => value * 2), '');
      world.task('add', once((value) => value + 1), '');
      return () => String(shared);
    },
  };
  expect(searched(await Session.create(lying, null), { brute: true }).missed).toHaveLength(1);
});

test('who goes round and tries again lets the others go first, in whatever order is asked for', async () => {
  const model = MODELS.find((one) => one.name === 'fsync-write')!;
  const spinning: Model = {
    ...model, name: 'spinning', build: (world) => {
      let [done, rounds] = [false, 0];
      const { sched } = world.platform;
      world.task('spins', (function* spins() {
        for (; !done; rounds++) {
          if (rounds > 64) throw new Violation('livelock', 'round and round');
          if (sched.concurrent) yield sched.point('spin', '*', rounds > 0);
        }
      })());
      world.task('works', (function* works() {
        for (let i = 0; i < 5; i++) if (sched.concurrent) yield sched.point('work', '*');
        done = true;
      })());
      return () => 'done';
    },
  };
  const report = searched(await Session.create(spinning, null), { all: true });
  expect(report.finding).toBeNull();
  expect(report.phases.at(-1)).toMatchObject({ phase: 'all', complete: true });
});

test('random schedules are the same by the same seed, and others by another', async () => {
  const play = async (options: SearchOptions): Promise<string> => {
    const session = await Session.create(MODELS.find((one) => one.name === 'interval-remove')!, null);
    const { ends, phases, coverage } = searched(session, options);
    return JSON.stringify([ends, phases, coverage, [...session.ends]]);
  };
  for (const way of [{ random: 60 }, { random: 60, pct: 3 }]) {
    expect(await play({ ...way, seed: 5n })).toBe(await play({ ...way, seed: 5n }));
    expect(await play({ ...way, seed: 5n })).not.toBe(await play({ ...way, seed: 500n }));
  }
});

test.each([{ random: 40 }, { random: 40, pct: 3 }])('a search by random schedules says how to go on: %j', async (way) => {
  const session = await Session.create(MODELS.find((one) => one.name === 'interval-remove')!, null);
  const search = new Search(session, { ...way, seed: 7n });
  const steps = search.run();
  for (let i = 0; i < 15; i++) steps.next();
  expect(search.resume).toBe(`interval-remove --random 25 --seed 22${'pct' in way ? ' --pct 3' : ''}`);
});

test.each([
  ['truncate-fault', 'stale-pfn', /^mirror-coherent: truncate-fault \(device\) at 0x/],
  ['munmap-read', 'munmap-untold', /^told-before-taken: munmap-read \(munmap\) at 0x/],
  ['munmap-read', 'munmap-never-ends', /^balanced: munmap-read \(munmap\) at 0x\w+\.\.0x\w+\n {2}1 invalidation of p began and has not ended\n {2}began: UNMAP of /],
] as const)('%s with %s: what is found names who did it, and what plays it again', async (name, bug, text) => {
  const { finding } = searched(await Session.create(MODELS.find((one) => one.name === name)!, bug), { preemptions: 1 });
  expect(finding!.text).toMatch(text);
  expect(finding!.text).toContain(`\n  replay: ${finding!.replay}`);
}, 60_000);

test('what a kernel of that profile does itself is told with its field, and is no failure', async () => {
  const model = MODELS.find((one) => one.name === 'release-window')!;
  const report = searched(await Session.create({ ...model, profile: 'v5.2' }, null), { preemptions: 1, all: false });
  expect(report).toMatchObject({ finding: null, known: [{ rule: 'mirror-coherent', field: 'release-window' }] });
  expect(report.phases.every((phase) => phase.complete)).toBe(true);
}, 60_000);

test('of more schedules than can be run it is said about how many there are', async () => {
  const session = await Session.create(MODELS.find((one) => one.name === 'interval-remove')!, null);
  const report = searched(session, { all: false });
  expect(report.phases.map(({ phase }) => phase)).toEqual(['p0', 'p1', 'p2']);
  expect(report.estimate).toBeGreaterThan(758 / 2); // those that there are
  expect(report.estimate).toBeLessThan(758 * 2);
});

test.each([['random', { random: 500, seed: 3n }], ['pct', { random: 2000, seed: 3n, pct: 3 }]] as const)('%s schedules find the ABA of range->valid, too, and shrink it', async (phase, options) => {
  const session = await Session.create(MODELS.find((one) => one.name === 'valid-aba')!, 'valid-aba');
  const report = searched(session, options);
  expect(report.phases.map((one) => [one.phase, one.complete])).toEqual([[phase, false]]);
  expect(report.finding).toMatchObject({ rule: expect.stringMatching(/blocks-owned|mirror-coherent/), least: true });
}, 60_000);

test('names are told apart', () => {
  expect(new Set(MODELS.map((model) => model.name)).size).toBe(MODELS.length);
});

describe.each(MODELS.map((model) => [model.name, model] as const))('%s', (_name, model) => {
  test('the bound is at least 3 for two tasks, 2 for more', () => {
    expect(model.preemptions).toBeGreaterThanOrEqual(model.tasks === 2 ? 3 : 2);
  });

  test('clean: nothing is found with few preemptions', async () => {
    const report = searched(await Session.create(model, null), { preemptions: 4 - model.tasks, all: false });
    expect(report.finding).toBeNull();
    expect(report.phases.every((phase) => phase.complete)).toBe(true);
  }, 60_000);

  test.each(model.bugs.map((bug) => [bug]))('with %s: found, shrunk, replayed', async (bug) => {
    const session = await Session.create(model, bug);
    const { finding } = searched(session, {});
    expect(finding).not.toBeNull();
    const { schedule } = decodeReplay(finding!.replay, 'x1', ['model', 'bug']);
    for (let i = 0; i < 2; i++) expect(replaySchedule(session, schedule)).toMatchObject({ finding: { rule: finding!.rule, message: finding!.message, replay: finding!.replay } });
    expect(finding!.least).toBe(true);
  }, 60_000);
});
