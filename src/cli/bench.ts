/** `daxmirror bench`: what walks, fills, faults and machines cost, by page size. Here: what may be asked for, and in what form the answer goes out. */
import { Command, Option } from 'commander';
import { TABLE_NAMES, WORKLOADS, runBench, type TableName } from '../bench/index.ts';
import { BadInput } from './badInput.ts';
import { benchText } from './bench/tables.ts';
import { progressOn } from './mirror/progress.ts';

interface BenchFlags {
  readonly quick?: boolean;
  readonly only?: readonly TableName[];
  readonly must?: boolean;
  readonly json?: boolean;
}

const HELP = `
Contenders run in turn, round after round, in one process; a sample is at least 2 ms of CPU time of this thread (wall time without the
addon), a number the median over the rounds with its extremes. Ratios are made within a round: trust them, not one time, and not what
is less than the null row shows. Before anything is timed its output is compared word for word; what differs, or is too close to the
timer, is refused. Modelled values (leaves, table bytes, entries) are exact and have no part in host time.

The peers are C++ in the optional addon (npm run build:native); bench/peers/README.md says what each one is.`;

export function benchCommand(): Command {
  return new Command('bench')
    .summary('measure walks, fills, translations and faults at 4K, 2M and 1G, beside native code')
    .description('Measures what walks, fills, translations, faults and machines cost at 4K, 2M and 1G, beside native code.')
    .option('--quick', 'walks, fills and translations only: under a minute')
    .addOption(new Option('--only <TABLE...>', 'only these tables').choices([...TABLE_NAMES]))
    .option('--must', 'exit with 1 if a must of what was run is missed or could not be measured')
    .option('--json', 'print the report as JSON and nothing else')
    .addHelpText('after', HELP)
    .action(async (flags: BenchFlags) => {
      process.exitCode = (await bench(flags)) ? 0 : 1;
    });
}

/** Runs and prints. False: a must was asked for and does not hold. Throws BadInput, HmmError (an addon that cannot be used). */
async function bench({ quick = false, only, must = false, json = false }: BenchFlags): Promise<boolean> {
  const isChosen = only === undefined || WORKLOADS.some((workload) => only.includes(workload.table) && (!quick || workload.quick));
  if (!isChosen) throw new BadInput(`--quick has nothing in: ${only.join(', ')}`);
  const progress = progressOn(process.stderr, !json);
  try {
    const report = await runBench({
      quick,
      ...(only === undefined ? {} : { tables: only }),
      onWorkload: (name, index, count) => progress.show(`${index + 1}/${count} ${name}`),
    });
    progress.clear();
    process.stdout.write(json ? `${JSON.stringify(report, null, 2)}\n` : `${benchText(report)}\n`);
    return !must || report.musts.every(({ holds }) => holds === true);
  } finally {
    progress.clear();
  }
}
