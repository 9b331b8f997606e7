/** Scenario files with tasks: the shipped ones are clean and find what the models of their names find; others are refused with the place. */
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { MODELS, Search, Session, decodeReplay, modelOfScript, replaySchedule, type Model, type SearchReport } from '../../dist/explore/index.js';
import type { BugSwitch } from '../../dist/profile/index.js';
import { operationsFor, parseScenario, runScenario } from '../../dist/scenario/index.js';
import { exploreSchedules } from '../../dist/sched/index.js';
import { ROOT } from '../support/cli.ts';

const FOLDER = path.join(ROOT, 'examples/explore');
const FILES = readdirSync(FOLDER).sort();

const modelOf = (text: string, file = 'a.scn'): Model => modelOfScript(text, parseScenario(file, text, operationsFor('modern')), { file, profile: 'v6.1' });
const shipped = (file: string): Model => modelOf(readFileSync(path.join(FOLDER, file), 'utf8'), file);

function searched(session: Session, preemptions: number): SearchReport {
  const steps = new Search(session, { preemptions, all: false }).run();
  for (;;) {
    const turn = steps.next();
    if (turn.done === true) return turn.value;
  }
}

test('each shipped model is there as a file, and no other', () => {
  expect(FILES).toEqual(MODELS.map((model) => `${model.name}.scn`).sort());
});

describe.each(FILES)('%s', (file) => {
  const model = shipped(file);
  const twin = MODELS.find(({ name }) => `${name}.scn` === file)!;

  test('has the tasks and the bound of the model of its name, and nothing to find', async () => {
    expect([model.tasks, model.preemptions, model.about.length > 0]).toEqual([twin.tasks, twin.preemptions, true]);
    const report = searched(await Session.create(model, null), 4 - model.tasks);
    expect(report.finding).toBeNull();
    expect(report.phases.every((phase) => phase.complete)).toBe(true);
  }, 60_000);

  test.each(twin.bugs.map((bug) => [bug]))('with %s: found and replayed', async (bug: BugSwitch) => {
    const session = await Session.create(model, bug);
    const { finding } = searched(session, model.preemptions);
    expect(finding).toMatchObject({ least: true });
    const { schedule } = decodeReplay(finding!.replay, 'x1', ['model', 'bug']);
    expect(replaySchedule(session, schedule)).toMatchObject({ finding: { rule: finding!.rule, message: finding!.message, replay: finding!.replay } });
  }, 60_000);
});

test('the reduction comes to the ends that all schedules come to', async () => {
  for (const file of ['munmap-read.scn', 'fsync-write.scn']) {
    const [some, brute] = [await Session.create(shipped(file), null), await Session.create(shipped(file), null)];
    const reduced = exploreSchedules((policy) => void some.play(policy));
    const all = exploreSchedules((policy) => void brute.play(policy), { reduce: false });
    expect([reduced.complete, all.complete, reduced.schedules < all.schedules]).toEqual([true, true, true]);
    expect([...some.ends.keys()].sort(), file).toEqual([...brute.ends.keys()].sort());
    expect(some.ends.size).toBeGreaterThan(0);
  }
}, 60_000);

test('a file is run in one order, which its seed chooses; each task answers under its name', async () => {
  const script = parseScenario('two.scn', 'map a 4K anon\ntask x\npoke a 1 1\nend\ntask y\npoke a 1 2\nend\npeek a 1', operationsFor('modern'));
  const ends = new Set<string>();
  for (let seed = 1n; seed <= 12n; seed++) {
    const record = await runScenario(script, { profile: 'v6.1', seed });
    expect(record.ops.map(({ i, who = '' }) => `${String(i)} ${String(who)}`).sort()).toEqual(['1 ', '2 x', '3 y', '4 ']);
    ends.add(JSON.stringify(record.ops.at(-1)!['bytes']));
    expect(await runScenario(script, { profile: 'v6.1', seed })).toEqual(record);
  }
  expect([...ends].sort()).toEqual(['[[1,1]]', '[[1,2]]']);
}, 60_000);

const task = (name: string, ...lines: string[]): string => ['map a 4K anon', `task ${name}`, ...lines, 'end', 'task y', 'touch a r', 'end'].join('\n');

test.each([
  ['map a 4K anon\n', /^a\.scn:1:1: no tasks to be explored/],
  ['map a 4K anon\ntask x\ntouch a r\nend\n', /^a\.scn:2:1: one task has too little to explore: 2 to 4/],
  [`${task('x', 'touch a r')}\nnote\ntask z\ntouch a r\nend`, /^a\.scn:9:1: tasks after others have ended/],
  ['task x\nnote', /^a\.scn:1:1: task: no 'end' of task x/],
  ['note\n  end', /^a\.scn:2:3: end: no task begins before it/],
  ['task x\nend', /^a\.scn:2:1: end: task x has no operation/],
  ['task x\nnote\ntask y', /^a\.scn:3:1: task: task x has no 'end' yet/],
  ['task', /^a\.scn:1:1: task: NAME is missing \(task NAME\)/],
  ['task x-y', /^a\.scn:1:6: task: a name .* is meant, not 'x-y'/],
  ['task x y', /^a\.scn:1:8: task: 'y' is one word too many \(task NAME\)/],
  [task('y', 'touch a r'), /^a\.scn:5:6: task: there is a task y already/],
  [task('x', '  tuoch a r'), /^a\.scn:3:3: no operation 'tuoch' \(did you mean touch\?\)/],
  [task('x', '  sleep 5', '  async t note'), /^a\.scn:4:3: async: not in a task/],
  ['tsak x', /^a\.scn:1:1: no operation 'tsak' \(did you mean task\?\)/],
  ['fill gpu a 4K', /^a\.scn:1:6: fill: no device 'gpu'/],
  [`# t\n# with stale-pnf\n${task('x', 'touch a r')}`, /^a\.scn:2:8: with: no bug switch 'stale-pnf' \(did you mean stale-pfn\?\)/],
])('%j is refused', (text, message) => {
  expect(() => modelOf(text)).toThrow(message);
});

test('strings are of one text', () => {
  const text = task('x', 'touch a r');
  expect(modelOf(text).name).toBe(modelOf(text).name);
  expect(modelOf(text).name).not.toBe(modelOf(`${text}\nnote`).name);
});
