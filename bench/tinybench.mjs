/**
 * Workloads of src/bench under tinybench, for ad-hoc use: one contender after the other, latencies with percentiles, wall or CPU time.
 *
 * The numbers that count are made by `npm run bench`, which interleaves its contenders; these here are for looking at one workload while
 * changing it: `node bench/hmm/walks.mjs 'fill 4K, 1 GiB'` (a part of a workload's name; without one, all of the file).
 * BENCH_MS sets how long each contender runs (default 500).
 */
import { Bench } from 'tinybench';
import { loadNative } from '../dist/native/load.js';

const TIME_MS = Number(process.env.BENCH_MS ?? 500);

/** Runs those of `workloads` whose name holds `process.argv[2]`, and prints a table for each. */
export async function tinybench(workloads) {
  const part = process.argv[2] ?? '';
  const chosen = workloads.filter(({ name }) => name.includes(part));
  if (chosen.length === 0) {
    process.stderr.write(`no workload is called '${part}' (known: ${workloads.map(({ name }) => name).join('; ')})\n`);
    process.exitCode = 2;
    return;
  }
  const { native, reason } = loadNative();
  for (const workload of chosen) await runOne(workload, { native, nativeReason: reason });
}

async function runOne(workload, context) {
  const work = await workload.setup(context);
  if (work.rounds === 1) {
    process.stdout.write(`\n${workload.name}: can run once only, see npm run bench\n`);
    work.dispose?.();
    return;
  }
  const now = work.wall === true || context.native === null ? () => performance.now() : () => context.native.cpuTime() / 1e6;
  const bench = new Bench({ name: workload.name, time: TIME_MS, warmupTime: work.warmupMs ?? 100, now, throws: true });
  const left = [];
  for (const contender of work.contenders) {
    const reason = contender.missing ?? contender.check?.() ?? null;
    if (reason !== null) left.push(`${contender.name}: ${reason}`);
    else bench.add(contender.name, () => contender.run(1), { async: work.wall === true && work.single !== true, beforeEach: () => contender.before?.() });
  }
  await bench.run();
  process.stdout.write(`\n${workload.name}: latency of one run (${work.unitsPerRun} × ${work.unit})\n`);
  console.table(bench.table((task) => rowOf(task, work)));
  for (const line of left) process.stdout.write(`  ${line}\n`);
  work.dispose?.();
}

function rowOf({ name, result }, { unit, unitsPerRun }) {
  const { latency } = result;
  const ns = (ms) => Number(((ms * 1e6) / unitsPerRun).toPrecision(4));
  return { contender: name, [`median ns/${unit}`]: ns(latency.p50), 'p75': ns(latency.p75), 'p99': ns(latency.p99), 'min': ns(latency.min), runs: latency.samplesCount };
}
