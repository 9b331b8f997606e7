/** The shipped models: clean within their bound, and each of their bugs found, shrunk and replayed. */
import { describe, expect, test } from 'vitest';
import { MODELS, Search, Session, decodeReplay, replaySchedule, type SearchOptions, type SearchReport } from '../../dist/explore/index.js';
import { Exploration, exploreSchedules } from '../../dist/sched/index.js';

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
    ['munmap-read', { schedules: 244, pruned: 18 }, 544],
    ['interval-remove', { schedules: 758, pruned: 14 }, 7692],
    ['fsync-write', { schedules: 72, pruned: 14 }, 761],
  ] as const)('%s comes to the same ends', async (name, reduced, all) => {
    const model = MODELS.find((one) => one.name === name)!;
    const [some, brute] = [await Session.create(model, null), await Session.create(model, null)];
    expect(exploreSchedules((policy) => void some.play(policy))).toEqual({ ...reduced, complete: true });
    expect(exploreSchedules((policy) => void brute.play(policy), { reduce: false })).toEqual({ schedules: all, pruned: 0, complete: true });
    expect([...some.ends.keys()].sort()).toEqual([...brute.ends.keys()].sort());
    expect(some.ends.size).toBeGreaterThan(1);
  }, 60_000);
});

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
