/**
 * The long runs: the exerciser under the rules of check/, by every accessor, and power cuts on every file system.
 *
 *   npm run soak -- --ops 10m      operations in all: each accessor on ext4 of v6.1 by one process, and on XFS of lab by two
 *   npm run soak -- --cuts 10k     power cuts in all, and every moment of as many operations: ext4 and XFS, caches volatile and durable
 *
 * Without either: both, as many as above. [--seed 1] [--from PART]: Ctrl-C says where it stood, and how to go on. Each part is a command of
 * its own, which is printed; the last line has the totals. Exit code 1 where something was found: what, and the string that replays it.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const CLI = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const ACCESSORS = ['cpu', '2019', 'modern', 'kvm', 'mixed'];
/** XFS of lab: what the others do wrong with shared blocks (copiedWriteRaces, copiesFlushed) is found, named as known, and ends a run. */
const KERNELS = [['ext4', 'v6.1', 1], ['xfs', 'lab', 2]];
const CUT_KERNELS = [['ext4', 'v6.1'], ['ext4', 'lab'], ['xfs', 'lab']];
/** operations between two cuts */
const CUT_EVERY = 50;

/** `total` in `n` parts that differ by one at most. */
function shares(total, n) {
  return Array.from({ length: n }, (_, i) => Math.floor((total * (i + 1)) / n) - Math.floor((total * i) / n));
}

function opsParts(ops) {
  const parts = KERNELS.flatMap(([fs, profile, processes]) => ACCESSORS.map((accessor) => ['--fs', fs, '--profile', profile, '--processes', `${processes}`, '--accessor', accessor, '--check']));
  const counts = shares(ops, parts.length);
  return parts.map((part, i) => [...part, '-N', `${counts[i]}`]).filter((_, i) => counts[i] > 0);
}

function cutParts(cuts) {
  const machines = CUT_KERNELS.flatMap(([fs, profile]) => [[], ['--eadr']].map((eadr) => ['--fs', fs, '--profile', profile, '--accessor', 'mixed', ...eadr, '--check']));
  const counts = shares(cuts, machines.length);
  const random = machines.map((part, i) => [...part, '--power-cut', `${counts[i]}`, '--cut-every', `${CUT_EVERY}`]);
  const all = machines.map((part, i) => [...part, '--power-cut', 'all', '-N', `${counts[i]}`]);
  return [...random, ...all].filter((_, i) => counts[i % machines.length] > 0);
}

/** 10m, 10k, 500 */
function number(name, text, least) {
  const [, digits, unit = ''] = /^(\d{1,10})([km]?)$/.exec(text) ?? [];
  const value = Number(digits) * { '': 1, k: 1e3, m: 1e6 }[unit];
  if (!(value >= least)) throw new Error(`--${name} ${text}: not a whole number from ${least} on (500, 10k, 10m)`);
  return value;
}

function options() {
  const text = { type: 'string' };
  const { values } = parseArgs({ options: { ops: text, cuts: text, seed: { ...text, default: '1' }, from: { ...text, default: '1' } } });
  const both = values.ops === undefined && values.cuts === undefined;
  const parts = [...opsParts(number('ops', values.ops ?? (both ? '10m' : '0'), 0)), ...cutParts(number('cuts', values.cuts ?? (both ? '10k' : '0'), 0))];
  const from = number('from', values.from, 1);
  if (parts.length === 0) throw new Error('--ops 0 --cuts 0: nothing to do');
  if (from > parts.length) throw new Error(`--from ${from}: there are ${parts.length} parts`);
  const asked = ['ops', 'cuts'].filter((name) => values[name] !== undefined).map((name) => `--${name} ${values[name]} `).join('');
  return { parts, from, seed: number('seed', values.seed, 1), asked };
}

/** One part: what the command answers as JSON. */
function run(args) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [CLI, 'fsx', ...args, '--json'], { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.on('data', (chunk) => (text += chunk));
    child.on('error', reject);
    child.on('close', (code) => {
      if (text === '') reject(new Error(`daxmirror fsx ${args.join(' ')}: it ended with ${code} and said nothing`));
      else resolve(JSON.parse(text));
    });
  });
}

const grouped = (n) => n.toLocaleString('en');

function line({ passed, interrupted, operations, cuts, elapsedMs, rssBytes }, part, args) {
  const done = cuts === null ? `${grouped(operations)} operations` : `${grouped(cuts.cuts + cuts.points)} ${cuts.points > 0 ? 'moments' : 'cuts'}`;
  const mark = passed ? (interrupted ? '…' : '✓') : '✗';
  return `${mark} ${String(part).padStart(2)}  ${done.padStart(20)}  ${`${Math.round(elapsedMs / 1000)} s`.padStart(6)}  ${Math.round(rssBytes / 2 ** 20)} MiB  daxmirror fsx ${args.join(' ')}`;
}

async function main() {
  const { parts, from, seed, asked } = options();
  const total = { operations: 0, checked: 0, cuts: 0, points: 0, images: 0, found: 0, seconds: 0 };
  let stopped = null;
  process.on('SIGINT', () => (stopped ??= 'SIGINT')); // the part hears it, too, and says how far it came
  for (let part = from; part <= parts.length && stopped === null; part++) {
    const args = [...parts[part - 1], '-S', `${seed + part - 1}`];
    const result = await run(args);
    total.operations += result.operations;
    if (result.check) total.checked += result.operations;
    for (const key of ['cuts', 'points', 'images']) total[key] += result.cuts?.[key] ?? 0;
    total.seconds += result.elapsedMs / 1000;
    console.log(line(result, part, args));
    if (result.failure !== null) {
      total.found++;
      console.log(`  operation ${grouped(result.failure.at)}: ${result.failure.kind}: ${result.failure.what}\n${result.failure.fields.length > 0 ? `  known of the kernel: ${result.failure.fields.join(', ')}\n` : ''}  to replay: daxmirror fsx${result.check ? ' --check' : ''} --replay ${result.failure.shrunk.replay}`);
    }
    if (result.interrupted && stopped !== null) stopped = `interrupted; to go on: npm run soak -- ${asked}--seed ${seed} --from ${part}`;
  }
  if (stopped !== null) console.log(stopped);
  const cuts = total.cuts + total.points === 0 ? '' : `, ${grouped(total.cuts)} power cuts and ${grouped(total.points)} moments in ${grouped(total.images)} images`;
  console.log(`${total.found === 0 ? 'clean' : `${total.found} found`}: ${grouped(total.operations)} operations, ${grouped(total.checked)} of them under check${cuts}, in ${Math.round(total.seconds)} s, seeds from ${seed} on`);
  process.exitCode = total.found > 0 ? 1 : stopped === null ? 0 : 130;
}

try {
  await main();
} catch (error) {
  console.error(`soak: ${error.message}`);
  process.exitCode = 2;
}
