/** The shipped models: clean within their bound, and each of their bugs found, shrunk and replayed. */
import { describe, expect, test } from 'vitest';
import { MODELS, Search, Session, decodeReplay, replaySchedule, type SearchOptions, type SearchReport } from '../../dist/explore/index.js';

function searched(session: Session, options: SearchOptions): SearchReport {
  const steps = new Search(session, options).run();
  for (;;) {
    const turn = steps.next();
    if (turn.done === true) return turn.value;
  }
}

test('names are told apart', () => {
  expect(new Set(MODELS.map((model) => model.name)).size).toBe(MODELS.length);
});

describe.each(MODELS.map((model) => [model.name, model] as const))('%s', (_name, model) => {
  test('the bound is at least 3 for two tasks, 2 for more', () => {
    expect(model.preemptions).toBeGreaterThanOrEqual(model.tasks === 2 ? 3 : 2);
  });

  test('clean: nothing is found with up to two preemptions', async () => {
    const report = searched(await Session.create(model, null), { preemptions: Math.min(2, model.tasks === 2 ? 2 : 1), all: false });
    expect(report.finding).toBeNull();
    expect(report.phases.every((phase) => phase.complete)).toBe(true);
  }, 60_000);

  test.each(model.bugs.map((bug) => [bug]))('with %s: found, shrunk, replayed; the same schedule is clean without', async (bug) => {
    const session = await Session.create(model, bug);
    const { finding } = searched(session, {});
    expect(finding).not.toBeNull();
    const { schedule } = decodeReplay(finding!.replay, 'x1', ['model', 'bug']);
    for (let i = 0; i < 2; i++) expect(replaySchedule(session, schedule)).toMatchObject({ finding: { rule: finding!.rule, message: finding!.message, replay: finding!.replay } });
    expect(finding!.least).toBe(true);
  }, 60_000);
});
