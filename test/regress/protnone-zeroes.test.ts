/** A huge page of zeroes that nobody may access falls to small ones: their frames are stored inverted, as of every entry without P. */
import { expect, test } from 'vitest';
import { operationsFor, parseScenario, runScenario } from '../../dist/scenario/index.js';

test.each(['v6.1', 'v6.12'])('%s: once it can be read again it is the page of zeroes', async (profile) => {
  const lines = ['map a 4M anon align=2M', 'advise a 4M hugepage', 'touch a r', 'protect a 4M -', 'protect a 1M rw', 'snap a 2M'];
  const { ops } = await runScenario(parseScenario('zeroes.scn', lines.join('\n'), operationsFor('modern')), { profile });
  expect(ops.at(-1)).toMatchObject({ err: 'ok', pfns: [{ n: 256, f: 'V', k: 'zero' }, { n: 256 }] });
});
