/**
 * The profiles against what real kernels answered: one folder a kernel, one record a scenario (scenarios/); KERNEL.json says which
 * kernel. The contract of src/scenario/compare.ts must agree, operation by operation. A folder's PENDING lists what does not yet.
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { agreesWhole, compareRecords, operationsFor, parseScenario, probeOf, runScenario, type Comparison, type ScenarioRecord } from '../../dist/scenario/index.js';

const SETS: Readonly<Record<string, string>> = { 'v6.1': 'v6.1', 'v6.12': 'v6.12', 'migrate-v6.1': 'v6.1', 'migrate-v6.12': 'v6.12', 'v5.2': 'v5.2' };

describe.each(Object.entries(SETS))('%s', (set, profile) => {
  const folder = new URL(`${set}/`, import.meta.url);
  const pendingFile = new URL('PENDING', folder);
  const pending = new Set(existsSync(pendingFile) ? readFileSync(pendingFile, 'utf8').split('\n').filter((name) => name !== '') : []);
  const names = readdirSync(folder).filter((file) => file.endsWith('.json') && file !== 'KERNEL.json').map((file) => file.replace(/\.json$/, ''));

  test.each(names.filter((name) => !pending.has(name)))('%s', async (name) => {
    const script = parseScenario(`${name}.scn`, readFileSync(new URL(`scenarios/${name}.scn`, import.meta.url), 'utf8'), operationsFor(probeOf(profile)));
    const want = JSON.parse(readFileSync(new URL(`${name}.json`, folder), 'utf8')) as ScenarioRecord;
    const comparison = compareRecords(want, await runScenario(script, { profile }));
    expect(contract(comparison), 'operations that differ').toEqual([]);
    expect(agreesWhole(comparison), 'the whole scenario agrees').toBe(true);
  });

  test('what is pending is recorded', () => {
    expect([...pending].filter((name) => !names.includes(name))).toEqual([]);
  });
});

/** What differs in contract, as text. */
function contract({ differences }: Comparison): string[] {
  return differences
    .filter((one) => one.contract.length > 0)
    .map(({ i, op, contract: keys, want, got }) => `${i}: ${op} [${keys.join(', ')}] want ${JSON.stringify(want)} got ${JSON.stringify(got)}`);
}
