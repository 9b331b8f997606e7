/**
 * How far the model agrees with the kernels' records:
 *
 *   node test/support/agree.mjs [--set v6.1] [-v] [NAME…]     -v prints what differs
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { agreesWhole, compareRecords, operationsFor, parseScenario, probeOf, runScenario } from '../../dist/scenario/index.js';

const SETS = { 'v6.1': 'v6.1', 'v6.12': 'v6.12', 'migrate-v6.1': 'v6.1', 'migrate-v6.12': 'v6.12', 'v5.2': 'v5.2' };
const args = process.argv.slice(2);
const only = args.includes('--set') ? args.splice(args.indexOf('--set'), 2)[1] : null;
const verbose = args.includes('-v');
const names = args.filter((arg) => arg !== '-v');
const folder = new URL('../conformance/', import.meta.url);

for (const [set, profile] of Object.entries(SETS)) {
  if (only !== null && only !== set) continue;
  const [whole, not] = [[], []];
  let [agree, detail, operations] = [0, 0, 0];
  for (const file of readdirSync(new URL(`${set}/`, folder))) {
    const name = file.replace(/\.json$/, '');
    if (name === 'KERNEL' || (names.length > 0 && !names.includes(name))) continue;
    const scn = new URL(`scenarios/${name}.scn`, folder);
    if (!existsSync(scn)) continue;
    const want = JSON.parse(readFileSync(new URL(`${set}/${file}`, folder), 'utf8'));
    let comparison;
    try {
      const script = parseScenario(`${name}.scn`, readFileSync(scn, 'utf8'), operationsFor(probeOf(profile)));
      comparison = compareRecords(want, await runScenario(script, { profile }));
    } catch (error) {
      not.push(`${name} (${verbose ? error.stack : error.message.split('\n')[0]})`);
      operations += want.ops.length;
      continue;
    }
    agree += comparison.agree;
    detail += comparison.detail;
    operations += comparison.operations;
    if (agreesWhole(comparison)) whole.push(name);
    else not.push(`${name} ${comparison.agree}/${comparison.operations}${comparison.resultAgrees ? '' : ' result'}`);
    if (!verbose) continue;
    for (const { i, op, contract, want: w, got } of comparison.differences) {
      if (contract.length > 0) console.log(`${set} ${name} ${i}: ${op}  [${contract.join(', ')}]\n   want ${JSON.stringify(w)}\n   got  ${JSON.stringify(got ?? null)}`);
    }
  }
  console.log(`${set}: ${whole.length}/${whole.length + not.length} whole; ${agree}/${operations} operations agree, ${detail} in detail too`);
  for (const line of not) console.log(`  ${line}`);
}
