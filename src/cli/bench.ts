/** `daxmirror bench`: what walks, fills, faults and machines cost, by page size. Here: what may be asked for, and in what form the answer goes out. */
import { readFileSync, writeFileSync } from 'node:fs';
import { Command, Option } from 'commander';
import {
  ReportError, TABLE_NAMES, WORKLOADS, changeLines, compareReports, endLines, headLine, readReport, rowLines, runBench, type Change, type Report, type TableName, type Workload,
} from '../bench/index.ts';
import { nearest } from '../scenario/index.ts';
import { BadInput, hostWords } from './badInput.ts';
import { benchHtml } from './bench/html.ts';
import { benchMarkdown } from './bench/markdown.ts';
import { benchText } from './bench/tables.ts';
import { progressOn } from './mirror/progress.ts';

interface BenchFlags {
  readonly quick?: boolean;
  readonly only?: readonly string[];
  readonly list?: boolean;
  readonly must?: boolean;
  readonly json?: boolean;
  readonly markdown?: boolean;
  readonly html?: string;
  readonly compare?: string;
  readonly from?: string;
}

const HELP = `
WORKLOAD is a workload's name or a part of it: daxmirror bench 'fill 4K' 'fault'. --list prints them.

Contenders run in turn, round after round, in one process; a sample is at least 2 ms of CPU time of this thread (wall time without the
addon), a number the median over the rounds with its extremes. Ratios are made within a round: trust them, not one time, and not what
is less than the null row shows. Before anything is timed its output is compared word for word; what differs, or is too close to the
timer, is refused. Modelled values (leaves, table bytes, entries) are exact and have no part in host time.

--json prints the report line by line as it is made; schema/bench.json in the package describes the lines. Such a file is what --compare and
--from read. The peers are C++ in the optional addon (npm run build:native); bench/peers/README.md says what each one is.`;

export function benchCommand(): Command {
  return new Command('bench')
    .summary('measure walks, fills, translations and faults at 4K, 2M and 1G, beside native code')
    .description('Measures what walks, fills, translations, faults, memory calls and machines cost at 4K, 2M and 1G, beside native code and the running kernel.')
    .argument('[WORKLOAD...]', 'only workloads with this in their name')
    .option('--quick', 'walks, fills and translations only: under a minute')
    .option('--only <TABLE...>', `only these tables (${TABLE_NAMES.join(', ')})`)
    .option('--list', 'print the names of the workloads and measure nothing')
    .option('--must', 'exit with 1 if a must of what was run is missed or could not be measured')
    .addOption(new Option('--json', 'print the report as lines of JSON and nothing else').conflicts('markdown'))
    .option('--markdown', 'print the tables as Markdown')
    .option('--html <FILE>', 'write the report with plots as one page of HTML, too')
    .option('--compare <OLD>', 'say what changed since the report in this file (of --json)')
    .option('--from <FILE>', 'measure nothing: show the report in this file (of --json)')
    .addHelpText('after', HELP)
    .action(async (names: readonly string[], flags: BenchFlags) => {
      process.exitCode = (await bench(names, flags)) ? 0 : 1;
    });
}

/** Runs and prints. False: a must was asked for and does not hold. Throws BadInput, HmmError (an addon that cannot be used). */
async function bench(names: readonly string[], flags: BenchFlags): Promise<boolean> {
  const { must = false, json = false, markdown = false, html, compare, from, quick = false, list = false } = flags;
  const workloads = chosen(names, flags);
  if (list) {
    process.stdout.write(workloads.map(({ name }) => `${name}\n`).join(''));
    return true;
  }
  if (from !== undefined && (quick || names.length > 0 || flags.only !== undefined)) throw new BadInput('--from shows a report as it is: it takes no --quick, --only or WORKLOAD');
  const old = compare === undefined ? null : reportIn(compare);
  if (html !== undefined) writeHtml(html, '');
  const report = from === undefined ? await measured(workloads, quick, json) : reportIn(from);
  const against = old === null || compare === undefined ? undefined : { name: compare, changes: compareReports(old, report) };
  if (html !== undefined) writeHtml(html, benchHtml(report, against));
  process.stdout.write(json ? jsonRest(report, from !== undefined, against?.changes ?? []) : `${markdown ? benchMarkdown(report, against) : benchText(report, against)}\n`);
  return !must || report.musts.every(({ holds }) => holds === true);
}

/** Throws BadInput for a name that nothing has, with the nearest that something has. */
function chosen(names: readonly string[], { only, quick = false }: BenchFlags): readonly Workload[] {
  for (const table of only ?? []) if (!TABLE_NAMES.includes(table as TableName)) throw new BadInput(`--only: no table is called ${nearest(table, TABLE_NAMES)}; there are ${TABLE_NAMES.join(', ')}`);
  for (const name of names) {
    if (!WORKLOADS.some((workload) => workload.name.includes(name))) throw new BadInput(`no workload has ${nearestPart(name)} in its name; --list prints them`);
  }
  const found = WORKLOADS.filter(({ name, table, quick: isQuick }) => (only?.includes(table) ?? true) && (!quick || isQuick) && (names.length === 0 || names.some((part) => name.includes(part))));
  if (found.length === 0) throw new BadInput(`${quick ? '--quick' : '--only'} has nothing in: ${[...(only ?? []), ...names].join(', ')}`);
  return found;
}

/** A name may be near a whole name, or near the words that one begins with, or one of its words. */
function nearestPart(name: string): string {
  const parts = WORKLOADS.flatMap((workload) => {
    const words = workload.name.split(/,? /);
    return [workload.name, ...[0, 1, 2].map((more) => workload.name.slice(0, name.length + more)), ...words];
  });
  return nearest(name, new Set(parts));
}

async function measured(workloads: readonly Workload[], quick: boolean, json: boolean): Promise<Report> {
  const progress = progressOn(process.stderr, true);
  const say = (lines: string): void => {
    progress.clear();
    if (json) process.stdout.write(lines);
  };
  try {
    return await runBench({
      quick,
      workloads,
      onHead: (head) => say(headLine(head)),
      onRows: (rows) => say(rowLines(rows)),
      onWorkload: (name, index, count) => progress.show(`${index + 1}/${count} ${name}`),
    });
  } finally {
    progress.clear();
  }
}

/** What --json has not printed yet. */
function jsonRest(report: Report, isRead: boolean, changes: readonly Change[]): string {
  const { tables, schema, version, quick, date, host, clocks, nativeReason } = report;
  const head = { schema, version, quick, date, host, clocks, nativeReason };
  return `${isRead ? headLine(head) + tables.map(({ rows }) => rowLines(rows)).join('') : ''}${changeLines(changes)}${endLines(report)}`;
}

function reportIn(path: string): Report {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new BadInput(`${path}: cannot be read (${hostWords(error)})`);
  }
  try {
    return readReport(text, path);
  } catch (error) {
    if (error instanceof ReportError) throw new BadInput(error.message);
    throw error;
  }
}

/** Written empty before anything is measured: a path that cannot be written is known at once. */
function writeHtml(path: string, text: string): void {
  try {
    writeFileSync(path, text, { flag: text === '' ? 'a' : 'w' });
  } catch (error) {
    throw new BadInput(`--html ${path}: cannot be written (${hostWords(error)})`);
  }
}
