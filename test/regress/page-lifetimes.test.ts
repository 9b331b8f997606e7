/**
 * Historical bugs of page lifetimes: memory that goes while somebody has a page of it, faults that work on a page which they do not
 * hold, and references that go astray. What the ledger of references says of each, beyond the rule (every-switch.test.ts).
 */
import { describe, expect, test } from 'vitest';
import { Checker, findingText } from '../../dist/check/index.js';
import { MODELS, Search, Session } from '../../dist/explore/index.js';
import { BUG_SHOWS, type BugSwitch, type ShownByRun } from '../../dist/profile/index.js';
import { operationsFor, parseScenario, runScenario } from '../../dist/scenario/index.js';

/** What is found, as it is printed. */
async function found(lines: readonly string[], { profile = 'v6.1', api = 'modern' }: Partial<ShownByRun>, bugs: readonly BugSwitch[]): Promise<string[]> {
  const script = parseScenario('lifetime.scn', lines.join('\n'), operationsFor(api));
  const checkers: Checker[] = [];
  await runScenario(script, { profile, api, bugs, watch: (core) => (checkers[checkers.length] = new Checker(core)) });
  for (const checker of checkers) checker.end('the end');
  const texts = checkers.flatMap((checker) => checker.findings.map(findingText));
  for (const checker of checkers) checker.close();
  return texts;
}

describe.each([
  ['pagemap-gone-early', /of dax4k is in use, and its memory is gone\n {2}held: 1 reference by pin_user_pages, taken in "pin p a 1" \(main\)/],
  ['gup-huge-keeps-pgmap', /^pagemap-references: the end [^]* has references that nobody will give back: 1 by __gup_device_huge/],
  ['device-page-uncounted', /of dev0 is in use, and its memory is gone/],
  ['exclusive-takes-hugetlb', /^page-references: excl 0 a 4K [^]* has 1 reference, and 0 that are somebody's/],
  ['unmap-bad-subpage', /^page-references: evict 0 [^]* has 1 reference, and 2 that are somebody's: 2 of mappings/],
] as const)('%s', (bug, says) => {
  const show = BUG_SHOWS[bug] as ShownByRun;

  test('the page, and who has it', async () => {
    expect((await found(show.lines, show, [bug]))[0]).toMatch(says);
  });

  test('off: nothing', async () => {
    expect(await found(show.lines, show, [])).toEqual([]);
  });
});

test('a kernel whose drain does not wait for pins is known by that', async () => {
  const lines = ['fs ext4', 'open f ext4:f', 'pwrite f 0 64K 1', 'map a 64K f', 'pin p a 1', 'sh echo namespace0.0 >/sys/bus/nd/drivers/nd_pmem/unbind'];
  const texts = await found(lines, {}, []);
  expect(texts.filter((text) => text.startsWith('page-references'))).toEqual([expect.stringMatching(/its memory is gone[^]*known: this kernel does so \(profile field drainWaitsForPages\)$/)]);
});

describe.each([
  ['private-touch', 'private-fault-unheld', /do_swap_page, for migrate_to_ram\(\), works on frame \S+, which is free/],
  ['exclusive-touch', 'exclusive-removed-unheld', /remove_device_exclusive_entry works on frame \S+, which is free/],
] as const)('%s with %s', (name, bug, says) => {
  test('one switch of tasks is enough, and the fault is the culprit', async () => {
    const model = MODELS.find((one) => one.name === name)!;
    const steps = new Search(await Session.create(model, bug), {}).run();
    let turn = steps.next();
    while (turn.done !== true) turn = steps.next();
    expect(turn.value.finding).toMatchObject({ rule: 'page-references', preemptions: 1 });
    expect(turn.value.finding?.message).toMatch(says);
  });
});
