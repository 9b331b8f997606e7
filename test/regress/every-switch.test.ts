/**
 * Every bug switch, as `daxmirror bugs NAME` says that it is seen: off nothing is found, on the rule is broken that it names, by the
 * operation that it names. A switch without an entry does not compile.
 */
import { describe, expect, test } from 'vitest';
import { Checker, RULE_NAMES, findingText, type Finding } from '../../dist/check/index.js';
import { MODELS, Session } from '../../dist/explore/index.js';
import { DEFAULT_MIX, parseLog, runFsx } from '../../dist/fsx/index.js';
import { BUG_SHOWS, BUG_SWITCHES, showFile, type BugShow, type BugSwitch, type ShownByExplore, type ShownByFsx, type ShownByRun } from '../../dist/profile/index.js';
import { Exploration, ScheduleError } from '../../dist/sched/index.js';
import { operationsFor, parseScenario, runScenario } from '../../dist/scenario/index.js';

/** Switches, by how they are seen. */
function shown<By extends BugShow['by']>(by: By): [BugSwitch, Extract<BugShow, { by: By }>][] {
  return BUG_SWITCHES.flatMap((bug) => (BUG_SHOWS[bug].by === by ? [[bug, BUG_SHOWS[bug] as Extract<BugShow, { by: By }>] as [BugSwitch, Extract<BugShow, { by: By }>]] : []));
}

/** As `daxmirror run` has it: the kernel v6.1 where no other is named. */
async function checked({ lines, after = [], api = 'modern', profile = 'v6.1', era = [], rule }: ShownByRun, bugs: readonly BugSwitch[]): Promise<readonly Finding[]> {
  const script = parseScenario('shown.scn', [...lines, ...after].join('\n'), operationsFor(api));
  const checkers: Checker[] = [];
  const { ops } = await runScenario(script, { profile, api, bugs: [...era, ...bugs], watch: (core) => (checkers[checkers.length] = new Checker(core)) });
  for (const op of ops) expect(op, JSON.stringify(op)).not.toHaveProperty('skip');
  const [checker] = checkers as [Checker];
  checker.end('the end');
  checker.close();
  return checker.findings.filter((one) => one.knownBy === null && (era.length === 0 || one.rule === rule));
}

describe.each(shown('run'))('%s, by a scenario', (bug, show) => {
  test('off: nothing is found', async () => {
    expect((await checked(show, [])).map(findingText)).toEqual([]);
  });

  test(`on: ${show.rule}, by its last line`, async () => {
    expect(RULE_NAMES).toContain(show.rule);
    const [finding] = (await checked(show, [bug])).filter(({ rule }) => rule === show.rule);
    expect(finding).toMatchObject({ rule: show.rule, operation: show.atEnd === true ? 'the end' : show.lines.at(-1) });
  });
});

/** What the first schedule that breaks comes to; '' where none does. */
async function explored({ model }: ShownByExplore, bug: BugSwitch | null): Promise<string> {
  const found = MODELS.find(({ name }) => name === model);
  if (found === undefined) throw new Error(`no model ${model}`);
  const session = await Session.create(found, bug);
  const exploration = new Exploration({ maxPreemptions: bug === null ? 1 : 2 });
  try {
    while (exploration.next((policy) => session.play(policy)));
    return '';
  } catch (error) {
    return String((error instanceof ScheduleError ? error.cause : error) as Error);
  }
}

describe.each(shown('explore'))('%s, by a race', (bug, show) => {
  test('off: nothing is found', async () => {
    expect(await explored(show, null)).toBe('');
  }, 60_000);

  test(`on: ${show.rule}`, async () => {
    expect(await explored(show, bug)).toContain(`${show.rule}: `);
  }, 60_000);
});

async function cutFails(show: ShownByFsx, bugs: readonly BugSwitch[]): Promise<string | null> {
  const { layout, operations: log } = parseLog('shown.ops', showFile(show) as string);
  const { failure } = await runFsx({ layout, mix: DEFAULT_MIX, log, operations: Infinity, bugs });
  return failure === null ? null : `${failure.kind}: ${failure.what}`;
}

test.each(shown('fsx'))('%s, by a power cut', async (bug, show) => {
  expect(await cutFails(show, [])).toBeNull();
  expect(await cutFails(show, [bug])).toMatch(/^power cut: .*operation \d+: [^]*missing: /);
});

test('none is seen by its answer alone, or by a test: each has a command that shows it', () => {
  expect(new Set(BUG_SWITCHES.map((bug) => BUG_SHOWS[bug].by))).toEqual(new Set(['run', 'explore', 'mirror', 'fsx']));
  for (const bug of BUG_SWITCHES) expect([...RULE_NAMES, 'bytes', 'power cut', 'use-after-free'], bug).toContain(BUG_SHOWS[bug].rule);
});
