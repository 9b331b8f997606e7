/**
 * An operation of the core that changes entries and forgets to raise its invalidation: without the switch nothing is found, with it
 * the checks name the operation.
 */
import { describe, expect, test } from 'vitest';
import { Checker, type Finding } from '../../dist/check/index.js';
import { changeProtNuma, madviseHuge, oomReap, swapOut } from '../../dist/mm/index.js';
import { UNTOLD_BUGS, type BugSwitch, type UntoldBug } from '../../dist/profile/index.js';
import { operationsFor, parseScenario, runScenario } from '../../dist/scenario/index.js';
import { makeMachine, type Rig } from '../support/rig.ts';

/** What a checked run of a scenario finds; its last line is the culprit. */
async function findings(lines: readonly string[], bugs: readonly BugSwitch[], profile = 'v6.12'): Promise<readonly Finding[]> {
  const script = parseScenario('untold.scn', lines.join('\n'), operationsFor('modern'));
  let checker: Checker | null = null;
  const { result, ops } = await runScenario(script, { profile, bugs, watch: (core) => (checker = new Checker(core)) });
  expect(result).toBe('ok');
  for (const op of ops) expect(op, JSON.stringify(op)).not.toHaveProperty('skip');
  return (checker as Checker | null)?.findings ?? [];
}

const FILE = ['fs ext4', 'open f ext4:f', 'pwrite f 0 4M 1', 'map a 4M f shared', 'touch a w', 'touch a+2M r'];
const ANON = ['map a 1M anon', 'touch a w n=8'];

const SCENARIOS: Partial<Record<UntoldBug, readonly string[]>> = {
  'munmap-untold': [...FILE, 'unmap a 4M'],
  'mremap-untold': [...ANON, 'remap b a 1M 1M dontunmap'],
  'mprotect-untold': [...FILE, 'protect a 2M r'],
  'dontneed-untold': [...ANON, 'advise a 16K dontneed'],
  'fork-untold': [...ANON, 'fork c'],
  'cow-untold': ['map a 64K anon', 'touch a r', 'touch a w'],
  'hugetlb-cow-untold': ['map a 4M anon private huge2m', 'touch a w', 'fork c', 'touch a w'],
  'split-untold': [...FILE, 'unmap a+1M 64K'],
  'collapse-untold': ['map a 4M anon', 'advise a 4M nohugepage', 'touch a w n=512', 'advise a 4M hugepage', 'advise a 2M collapse'],
  'migrate-untold': [...ANON, 'advise a+4K 4K softoffline'],
  'collect-untold': [...ANON, 'todev 0 a 32K'],
  'exclusive-untold': [...ANON, 'excl 0 a 8K'],
  'poison-untold': [...ANON, 'advise a+4K 4K hwpoison'],
  'writeback-untold': [...FILE, 'fsync f'],
  'truncate-untold': [...FILE, 'truncate f 1M'],
  'punch-untold': [...FILE, 'falloc f punch 2M 2M'],
  'zero-range-untold': [...FILE, 'falloc f zero 0 1M'],
  'entry-change-untold': ['fs ext4', 'open f ext4:f', 'truncate f 1M', 'map a 1M f', 'map b 1M f', 'touch a r', 'touch b w'],
  'cache-truncate-untold': ['open t tmp:t', 'pwrite t 0 64K 1', 'map a 64K t', 'touch a w n=4', 'truncate t 4K'],
};

describe.each(Object.entries(SCENARIOS))('%s', (bug, lines) => {
  test('off: nothing is found', async () => {
    expect(await findings(lines, [])).toEqual([]);
  });

  test('on: the checks name the operation', async () => {
    const found = await findings(lines, [bug as UntoldBug]);
    expect(found.length).toBeGreaterThan(0);
    for (const one of found) expect(one).toMatchObject({ rule: 'told-before-taken', operation: lines.at(-1), knownBy: null });
  });
});

type Act = (rig: Rig, start: number) => void;

const BY_HAND: Partial<Record<UntoldBug, Act>> = {
  'numa-untold': (rig, a) => rig.run(changeProtNuma(rig.mm, a, a + 4)),
  'swapout-untold': (rig, a) => rig.run(swapOut(rig.mm, a, a + 2)),
  'oom-reap-untold': (rig) => rig.run(oomReap(rig.mm)),
};

describe.each(Object.entries(BY_HAND))('%s', (bug, act) => {
  test.each([false, true])('switch %s', async (on) => {
    const rig = await makeMachine({ profile: 'v6.12', bugs: on ? [bug as UntoldBug] : [] });
    const start = rig.map(null, { npages: 8 });
    rig.run(madviseHuge(rig.mm, start, 8, false));
    for (let i = 0; i < 8; i++) rig.touch(start + i, 'w');
    const checker = new Checker(rig.core);
    const device = rig.device('modern');
    checker.watch({ name: 'gpu', mm: rig.mm, table: device.table, get attached() { return device.attached; }, vpnOf: (page) => page });
    rig.run(device.fill(start, start + 8, true));
    expect(checker.step('fill')).toEqual([]);
    act(rig, start);
    const rules = checker.step(bug).map(({ rule, operation }) => `${rule} ${operation}`);
    if (on) expect(rules).toContain(`mirror-coherent ${bug}`);
    else expect(rules).toEqual([]);
  });
});

test.each([false, true])('unbind-untold: switch %s', async (on) => {
  const rig = await makeMachine({ profile: 'v6.12', bugs: on ? ['unbind-untold'] : [] });
  const dax = rig.daxDevice(512, 1);
  rig.touch(rig.map(dax, { npages: 512 }), 'w');
  const checker = new Checker(rig.core);
  checker.step('touch');
  rig.run(rig.core.unbind(dax));
  expect(checker.step('unbind').map(({ rule, operation }) => `${rule} ${operation}`)).toEqual(on ? ['told-before-taken unbind'] : []);
});

test('every switch of the family has its test', () => {
  const tested = new Set([...Object.keys(SCENARIOS), ...Object.keys(BY_HAND), 'unbind-untold']);
  expect(UNTOLD_BUGS.filter((bug) => !tested.has(bug))).toEqual([]);
});
