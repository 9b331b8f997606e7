/**
 * How far the model agrees with the kernels' records:
 *
 *   node test/support/agree.mjs [--set v6.1] [--check] [-v] [NAME…]     -v prints what differs
 *
 * --check runs each scenario twice, without and with the rules of check/, and says what they found and what they cost in CPU time.
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { Checker, findingText } from '../../dist/check/index.js';
import { agreesWhole, compareRecords, operationsFor, parseScenario, probeOf, runScenario } from '../../dist/scenario/index.js';

const SETS = { 'v6.1': 'v6.1', 'v6.12': 'v6.12', 'migrate-v6.1': 'v6.1', 'migrate-v6.12': 'v6.12', 'v5.2': 'v5.2' };
const args = process.argv.slice(2);
const only = args.includes('--set') ? args.splice(args.indexOf('--set'), 2)[1] : null;
const checked = args.includes('--check');
const verbose = args.includes('-v');
const names = args.filter((arg) => !['-v', '--check'].includes(arg));
const folder = new URL('../conformance/', import.meta.url);

for (const [set, profile] of Object.entries(SETS)) {
  if (only !== null && only !== set) continue;
  const [whole, not] = [[], []];
  const cpu = { plain: 0, checked: 0 };
  const found = new Map();
  const looked = {};
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
      const checkedFirst = checked && whole.length % 2 === 1; // who comes second finds the code warm
      if (checkedFirst) await runChecked(script, profile, cpu, found, looked);
      const from = process.cpuUsage();
      comparison = compareRecords(want, await runScenario(script, { profile }));
      cpu.plain += cpuSince(from);
      if (checked && !checkedFirst) await runChecked(script, profile, cpu, found, looked);
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
  if (!checked) continue;
  console.log(`  checks: ${(cpu.checked / cpu.plain).toFixed(2)} times the CPU time (${Math.round(cpu.checked / 1000)} ms to ${Math.round(cpu.plain / 1000)} ms); looked ${Object.entries(looked).map(([rule, n]) => `${rule} ${n}`).join(', ')}`);
  for (const [what, { count, example }] of found) console.log(`  ${count} ${what}, as in ${example}`);
}

function cpuSince(from) {
  const { user, system } = process.cpuUsage(from);
  return user + system;
}

/** Once more, checked; findings by rule and field. */
async function runChecked(script, profile, cpu, found, looked) {
  let checker;
  const from = process.cpuUsage();
  await runScenario(script, { profile, watch: (core) => (checker = new Checker(core)) });
  checker.end('the end');
  cpu.checked += cpuSince(from);
  for (const [rule, n] of Object.entries(checker.looked)) looked[rule] = (looked[rule] ?? 0) + n;
  for (const finding of checker.findings) {
    const key = `${finding.rule} ${finding.knownBy ?? 'NOT KNOWN'}`;
    const entry = found.get(key) ?? { count: 0, example: `${script.name}: ${findingText(finding)}` };
    entry.count++;
    found.set(key, entry);
  }
}
