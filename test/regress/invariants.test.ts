/**
 * What is to hold on every step, I1 to I10, as rules of check/, each with switches that break it there: that those are caught, by that
 * rule and with the right culprit, is every-switch.test.ts's. README.md has the same table for people.
 */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Checker, RULE_NAMES, type Rule } from '../../dist/check/index.js';
import { BUG_SHOWS, BUG_SWITCHES, type BugSwitch } from '../../dist/profile/index.js';
import { operationsFor, parseScenario, runScenario } from '../../dist/scenario/index.js';

const INVARIANTS: Readonly<Record<string, readonly [readonly Rule[], readonly BugSwitch[]]>> = {
  I1: [['told-before-taken', 'mirror-coherent', 'refault-before-end'], ['munmap-untold', 'skip-notifier', 'release-window']],
  I2: [['mirror-coherent'], ['insert-overwrites', 'kvm-retry-skipped']],
  I3: [['pagemap-references'], ['leak-pgmap-on-special', 'gup-huge-keeps-pgmap']],
  I4: [['hmm-answers', 'bounded-retries'], ['private-of-other-refused', 'fault-ignores-vm-write']],
  I5: [['hmm-answers'], ['zero-page-special', 'devmap-pte-special']],
  I6: [['blocks-owned', 'pagemap-alive', 'page-references'], ['wait-interruptible', 'truncate-frees-first']],
  I7: [['dirty-tracked', 'sync-order'], ['device-fault-not-dirty', 'huge-over-small', 'sync-fault-without-commit']],
  I8: [['atomic-sleep'], ['fault-under-pud-lock']],
  I9: [['balanced'], ['munmap-never-ends', 'end-without-start', 'range-end-unpaired']],
  I10: [['bounded-retries'], ['dying-pagemap-retries', 'ebusy-forever']],
};

test.each(Object.entries(INVARIANTS))('%s is held by its rules, and has switches that break them', (name, [rules, bugs]) => {
  for (const rule of rules) expect(RULE_NAMES).toContain(rule);
  for (const bug of bugs) expect(rules, bug).toContain(BUG_SHOWS[bug].rule);
  const row = new RegExp(`^\\| ${name} \\|.*$`, 'm').exec(readFileSync(new URL('../../README.md', import.meta.url), 'utf8'))?.[0] ?? '';
  for (const named of [...rules, ...bugs]) expect(row).toContain(`\`${named}\``);
});

/** What these rules hold is broken by kernels themselves: by a field of their profile, and not by a switch. */
const BY_KERNEL: readonly Rule[] = ['pagemap-alive'];

test('each other rule catches a switch', () => {
  const caught = new Set(BUG_SWITCHES.map((bug) => BUG_SHOWS[bug].rule));
  expect(RULE_NAMES.filter((rule) => !caught.has(rule))).toEqual(BY_KERNEL);
});

test.each([['lab', []], ['v6.12', [{ rule: 'pagemap-alive', operation: 'wait u 20000', knownBy: 'removalLeavesMappings', cpu: expect.stringMatching(/^pmd pfn 0x/) }]]] as const)('pagemap-alive, when a device goes whose file is mapped: %s', async (profile, found) => {
  const lines = ['fs ext4', 'open f ext4:f', 'pwrite f 0 2M 1', 'map a 2M f', 'touch a w', 'async u sh echo namespace0.0 >/sys/bus/nd/drivers/nd_pmem/unbind', 'wait u 20000'];
  const checkers: Checker[] = [];
  await runScenario(parseScenario('unbind.scn', lines.join('\n'), operationsFor('modern')), { profile, watch: (core) => (checkers[checkers.length] = new Checker(core)) });
  const [checker] = checkers as [Checker];
  checker.end('the end');
  checker.close();
  expect(checker.findings).toMatchObject(found);
});
