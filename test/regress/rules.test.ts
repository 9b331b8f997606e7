/**
 * Each rule of check/ has a switch that breaks it: off nothing is found, on it is, and the finding names the rule, the operation, the
 * entries and what plays it again.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { Checker, RULES, findingText, type Finding, type Rule } from '../../dist/check/index.js';
import { Kvm } from '../../dist/kvm/index.js';
import { munmap } from '../../dist/mm/index.js';
import type { BugSwitch } from '../../dist/profile/index.js';
import { operationsFor, parseScenario, runScenario, type ProbeApi } from '../../dist/scenario/index.js';
import { APIS, makeMachine } from '../support/rig.ts';

interface Case {
  readonly rule: Rule;
  readonly lines: readonly string[];
  readonly profile?: string;
  readonly api?: ProbeApi;
  /** what else is of the era, on without the switch too */
  readonly era?: readonly BugSwitch[];
  /** what the report has to say */
  readonly says: RegExp;
}

const FILE = ['fs xfs', 'open f xfs:f', 'pwrite f 0 64K 1'];

const CASES: Partial<Record<BugSwitch, Case>> = {
  'sync-fault-without-commit': { rule: 'sync-order', lines: [...FILE, 'map a 64K f sync', 'touch a+4K w'], says: /may write page 1 of f through MAP_SYNC[^]*cpu: pte pfn 0x\w+ P\|RW/ },
  'device-fault-not-dirty': { rule: 'dirty-tracked', lines: [...FILE, 'map a 64K f', 'fault a 4K w'], says: /has a clean entry|has no entry/ },
  'clone-locks-by-argument': { rule: 'lock-order', lines: [...FILE, 'open g xfs:g', 'pwrite g 0 64K 2', 'clone f g', 'clone g f'], says: /each may wait for the other[^]*holds i_rwsem xfs:f; takes i_rwsem xfs:g[^]*holds i_rwsem xfs:g; takes i_rwsem xfs:f/ },
  'pin-fails-holding': { rule: 'page-references', profile: 'v5.2', api: '2019', lines: [...FILE, 'map a 64K f', 'touch a w n=4', 'pin p a 1 longterm'], says: /nobody has it[^]*taken in "pin p a 1 longterm"/ },
  'end-without-start': { rule: 'balanced', lines: [...FILE, 'map a 64K f', 'touch a r', 'protect a 64K rx'], says: /ended that had not begun/ },
  'fault-ignores-vm-write': { rule: 'bounded-retries', api: '2019', lines: ['map a 12K anon', 'touch a r', 'protect a 12K r', 'fault a 8K w'], says: /gone round/ },
  'fault-under-pud-lock': { rule: 'atomic-sleep', api: '2019', era: ['fault-ignores-vm-write'], lines: ['open d dev:dax1g', 'map a 1G d prot=r', 'touch a r', 'fault a 4K w'], says: /handle_mm_fault\(\), which may sleep, with spinlock/ },
};

async function findings({ lines, profile = 'v6.12', api = 'modern', era = [], rule }: Case, bugs: readonly BugSwitch[]): Promise<readonly Finding[]> {
  const script = parseScenario('rules.scn', lines.join('\n'), operationsFor(api));
  let checker: Checker | null = null;
  await runScenario(script, { profile, api, bugs: [...era, ...bugs], watch: (core) => (checker = new Checker(core)) });
  const made = checker as Checker | null;
  made?.end('the end');
  made?.close();
  return made?.findings.filter((one) => one.knownBy === null && (era.length === 0 || one.rule === rule)) ?? [];
}

describe.each(Object.entries(CASES))('%s', (bug, one) => {
  test('off: nothing is found', async () => {
    expect((await findings(one, [])).map(findingText)).toEqual([]);
  });

  test('on: the rule is broken, by its last line', async () => {
    const found = (await findings(one, [bug as BugSwitch])).filter(({ rule }) => rule === one.rule);
    expect(found.length).toBeGreaterThan(0);
    const [finding] = found as [Finding];
    expect(finding).toMatchObject({ operation: one.lines.at(-1), replay: `rules.scn:${one.lines.length}` });
    expect(findingText(finding)).toMatch(one.says);
  });
});

test('mirrors of every kind are compared without being named', async () => {
  for (const kind of [...APIS, 'kvm'] as const) {
    const rig = await makeMachine({ bugs: ['skip-notifier'] });
    const a = rig.map(rig.file({ npages: 16 }), { npages: 16, smallPages: true });
    const checker = new Checker(rig.core);
    rig.touch(a, 'w');
    if (kind === 'kvm') {
      const kvm = new Kvm('vm', rig.mm);
      kvm.slots.add(0, 0, 16, a);
      rig.run(kvm.fault(0, true));
    } else rig.run(rig.device(kind).fill(a, a + 1, true));
    expect(checker.step('mirror')).toEqual([]);
    rig.run(munmap(rig.mm, a, 16));
    expect(checker.step('munmap')).toMatchObject([{ rule: 'mirror-coherent', start: a, cpu: 'nothing', device: expect.stringMatching(/^pte pfn 0x\w+ P\|RW\|U/) }]);
    checker.close();
  }
});

test('every Nth step: what was untold in between is found then, and only then', async () => {
  const rig = await makeMachine({ bugs: ['munmap-untold'] });
  const a = rig.map(null, { npages: 4 });
  rig.touch(a, 'w');
  const checker = new Checker(rig.core, { every: 3 });
  expect(checker.step('one')).toEqual([]);
  rig.run(munmap(rig.mm, a, 4));
  expect(checker.step('two')).toEqual([]);
  expect(checker.step('three').map(({ rule }) => rule)).toEqual(['told-before-taken']);
  expect(() => new Checker(rig.core, { every: 0 })).toThrow(/every must be a whole number of steps, not 0/);
  checker.close();
});

test('a rule says how often it looked', async () => {
  const checkers: Checker[] = [];
  const lines = [...FILE, 'map a 64K f sync', 'touch a w n=4', 'pin p a 2', 'unpin p', 'protect a 64K r', 'fsync f', 'unmap a 64K'];
  const script = parseScenario('rules.scn', lines.join('\n'), operationsFor('modern'));
  await runScenario(script, { profile: 'v6.12', watch: (core) => (checkers[checkers.length] = new Checker(core)) });
  const [{ looked, told }] = checkers as [Checker];
  for (const rule of ['told-before-taken', 'balanced', 'blocks-owned', 'pagemap-alive', 'page-references', 'sync-order', 'dirty-tracked', 'atomic-sleep', 'lock-order', 'bounded-retries'] as const) {
    expect(looked[rule], rule).toBeGreaterThan(0);
  }
  expect(told.get('UNMAP')).toEqual({ times: 1, pages: 16, mapped: 4, lost: 4 });
});

test('README has each rule as it is', () => {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
  for (const [rule, what] of Object.entries(RULES)) expect(readme).toContain(`| \`${rule}\` | ${what} |`);
});
