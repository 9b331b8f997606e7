/** What reports say of entries that are not present: what they stand for, not bits that they do not have. */
import { expect, test } from 'vitest';
import { Checker, findingText } from '../../../dist/check/index.js';
import { operationsFor, parseScenario, runScenario, type ProbeApi } from '../../../dist/scenario/index.js';
import type { BugSwitch } from '../../../dist/profile/index.js';

async function report(bug: BugSwitch, line: string, api: ProbeApi): Promise<string> {
  const text = ['map a 64K anon', 'advise a 64K nohugepage', 'touch a w n=8', line].join('\n');
  const checkers: Checker[] = [];
  await runScenario(parseScenario('report.scn', text, operationsFor(api)), { profile: 'v6.1', api, bugs: [bug], watch: (core) => (checkers[checkers.length] = new Checker(core)) });
  const [checker] = checkers as [Checker];
  checker.close();
  return checker.findings.map(findingText).join('\n');
}

test.each([
  ['swapout-untold', 'swap a 8K', /became pte swap type 0 offset 0x[0-9a-f]+, and nobody was told/],
  ['collect-untold', 'todev 0 a 32K', /became pte swap type 27 device-private pfn 0xc000000 W, and/],
  ['exclusive-untold', 'excl 0 a 8K', /became pte swap type (29 device-exclusive pfn 0x[0-9a-f]+ W|30 device-exclusive pfn 0x[0-9a-f]+), and/],
  ['poison-untold', 'advise a+4K 4K hwpoison', /became pte swap type 23 hwpoison pfn 0x15b20d, and/],
] as const)('%s: the entry of "%s" is decoded', async (bug, line, says) => {
  expect(await report(bug, line, bug === 'swapout-untold' ? '2019' : 'modern')).toMatch(says);
});
