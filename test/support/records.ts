/**
 * A profile against what a real kernel answered: one folder a kernel, one record a scenario (scenarios/); KERNEL.json says which
 * kernel. The contract of src/scenario/compare.ts must agree, operation by operation.
 *
 * The guarantee is checked in the same runs: whatever is done, a mirror that had everything has been told. Where the recorded kernel itself
 * breaks it the check finds that, and names the profile's field; nothing else is found.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { afterAll, expect, test } from 'vitest';
import { Checker, findingText, type Finding } from '../../dist/check/index.js';
import {
  agreesWhole, checkRecordIsOf, compareRecords, operationsFor, parseScenario, probeOf, readRecord, runScenario, type Comparison, type Difference, type ScenarioRecord,
} from '../../dist/scenario/index.js';
import type { MachineCore } from '../../dist/machine.js';

const FOLDER = new URL('../conformance/', import.meta.url);

/** Share of the operations that must agree in detail too. */
const DETAIL_SHARE_MIN = 0.8;
/** CPU time of one scenario, however busy the machine is. */
const SCENARIO_MS_MAX = 1000;

/** Declares the tests of one set of records: the folder `set`, answered by `profile`. `breaches`: the profile's fields by which this kernel breaks the guarantee in them. */
export function holdAgainstRecords(set: string, profile: string, breaches: readonly string[] = []): void {
  const all = { operations: 0, agree: 0, detail: 0 };
  const broken = new Set<string>();
  const folder = new URL(`${set}/`, FOLDER);
  const names = readdirSync(folder).filter((file) => file.endsWith('.json') && file !== 'KERNEL.json').map((file) => file.replace(/\.json$/, ''));

  test.each(names)('%s', async (name) => {
    const want = recordOf(folder, name);
    const { got, cpuMs, findings } = await answer(name, profile, want);
    const comparison = compareRecords(want, got);
    all.operations += comparison.operations;
    all.agree += comparison.agree;
    all.detail += comparison.detail;
    expect(contract(comparison), 'operations that differ').toEqual([]);
    expect(agreesWhole(comparison), 'the whole scenario agrees').toBe(true);
    expect(misspelt(want, got, comparison.differences), 'members in another order').toEqual([]);
    expect(cpuMs).toBeLessThan(SCENARIO_MS_MAX);
    expect(findings.filter(({ knownBy }) => knownBy === null).map(findingText), 'breaches of the guarantee').toEqual([]);
    for (const { knownBy } of findings) if (knownBy !== null) broken.add(knownBy);
  });

  afterAll(() => {
    const percent = ((100 * all.detail) / all.operations).toFixed(1);
    process.stdout.write(`${set}: ${all.agree} of ${all.operations} operations agree, ${all.detail} in detail too (${percent} %)\n`);
    expect(all.detail / all.operations).toBeGreaterThanOrEqual(DETAIL_SHARE_MIN);
    expect([...broken].toSorted()).toEqual(breaches);
  });
}

function recordOf(folder: URL, name: string): ScenarioRecord {
  return readRecord(`${name}.json`, readFileSync(new URL(`${name}.json`, folder), 'utf8'));
}

async function answer(name: string, profile: string, want: ScenarioRecord): Promise<{ got: ScenarioRecord; cpuMs: number; findings: readonly Finding[] }> {
  const script = parseScenario(`${name}.scn`, readFileSync(new URL(`scenarios/${name}.scn`, FOLDER), 'utf8'), operationsFor(probeOf(profile)));
  checkRecordIsOf(`${name}.json`, want, script);
  const before = process.cpuUsage();
  const checkers: Checker[] = [];
  const watch = (core: MachineCore): Checker => {
    const checker = new Checker(core);
    checkers.push(checker);
    return checker;
  };
  const got = await runScenario(script, { profile, watch });
  const { user, system } = process.cpuUsage(before);
  return { got, cpuMs: (user + system) / 1000, findings: checkers.flatMap((checker) => (checker.end('the end'), checker.findings)) };
}

/** What differs in contract, as text. */
function contract({ differences }: Comparison): string[] {
  return differences
    .filter((one) => one.contract.length > 0)
    .map(({ i, op, contract: keys, want, got }) => `${i}: ${op} [${keys.join(', ')}] want ${JSON.stringify(want)} got ${JSON.stringify(got)}`);
}

/** Answers that agree in all and are still not the same text. */
function misspelt(want: ScenarioRecord, got: ScenarioRecord, differences: readonly Difference[]): string[] {
  const differing = new Set(differences.map(({ i }) => i));
  return want.ops.map((op) => JSON.stringify(op)).filter((text, i) => !differing.has(i) && text !== JSON.stringify(got.ops[i]));
}
