/** `daxmirror run`: what Linux would answer to a scenario. Here: what may be asked for, and in what form the answers go out. */
import { Command, Option } from 'commander';
import { PROFILES, type BugSwitch } from '../profile/index.ts';
import type { ProbeApi, Script } from '../scenario/index.ts';
import { againstJson, againstText, allAgree, compareWithRecords, findRecords, kernelOf } from './run/against.ts';
import { besideText } from './run/besideText.ts';
import { makeFolder, readScripts, writeRecord } from './run/files.ts';
import { RunChecks, allKnown, findingsView } from './run/findings.ts';
import { recordView } from './run/recordView.ts';
import { paintFor } from './paint.ts';
import { BadInput } from './badInput.ts';
import { bugNamed } from './bugs.ts';
import { seedNumber } from './numbers.ts';
import { probeOf, recordText, runScenario, type ScenarioRecord } from '../scenario/index.ts';

interface RunFlags {
  readonly profile?: string;
  readonly api?: ProbeApi;
  readonly compareProfile?: string;
  readonly compareApi?: ProbeApi;
  readonly out?: string;
  readonly against?: string;
  readonly json?: boolean;
  readonly seed?: bigint;
  readonly check?: boolean;
  readonly checkEvery?: number;
  readonly stacks?: boolean;
  readonly bug?: readonly BugSwitch[];
}

/** A kernel, and the API through which it is asked. */
interface Side {
  readonly profile: string;
  readonly api: ProbeApi;
}

const APIS: readonly ProbeApi[] = ['modern', '2019'];
const DEFAULT_PROFILE = 'v6.1';
const names = Object.keys(PROFILES);

const HELP = `
Each FILE runs on a machine of its own: the guest in which the kernels' records were taken (ext4, xfs, xfsn and three device-dax
instances on persistent memory, tmpfs, huge pages, devices with memory of their own). All files are checked before anything runs.
Time is virtual: sleeping costs nothing.

What is shown: each operation and how it went; below it walked pages, areas and invalidations with where they lie:
  █ writable  ▒ read only  ░ no access  ✗ error  · nothing  ? left as the caller wrote it
A kernel crash ends a scenario and is an answer; so is a wait without end, shown as who waits for whom.

--against RECORD compares in what a driver or a user could rely on; the rest (order and repetition of invalidations, counts and flags
of struct pages, smaps) is counted as detail. The kernel is the one that KERNEL.json beside the records names.

Examples:
  daxmirror run my.scn
  daxmirror run my.scn --compare-profile v6.12
  daxmirror run scenarios/*.scn --against golden-6.12/`;

export function runCommand(): Command {
  return new Command('run')
    .summary('answer scenarios as Linux would, and compare with what a kernel answered')
    .description('Answers scenarios operation by operation as Linux would, and compares with what a real kernel answered.')
    .argument('<FILE...>', 'scenario files')
    .addOption(new Option('--profile <NAME>', `which kernel (default: ${DEFAULT_PROFILE}, or the one that the records are of)`).choices(names))
    .addOption(new Option('--api <API>', "through which HMM API it is asked (default: the kernel's own)").choices(APIS))
    .addOption(new Option('--compare-profile <NAME>', 'a second kernel, beside the first').choices(names).conflicts(['against', 'out', 'json']))
    .addOption(new Option('--compare-api <API>', 'a second API, beside the first').choices(APIS).conflicts(['against', 'out', 'json']))
    .option('--out <DIR>', 'write each answer to DIR/NAME.json')
    .option('--against <PATH>', "a kernel's record, or a folder of them; exit code 1 where one differs")
    .addOption(new Option('--check', 'hold every rule of the guarantee after each operation; exit code 1 where one is broken for which this kernel is not known').conflicts(['compareProfile', 'compareApi', 'json']))
    .addOption(new Option('--check-every <N>', 'look at tables after every so many operations only (implies --check)').argParser(everyOf).conflicts(['compareProfile', 'compareApi', 'json']))
    .addOption(new Option('--stacks', 'findings and pages still held say from where each reference was taken (implies --check)').conflicts(['compareProfile', 'compareApi', 'json']))
    .addOption(new Option('--bug <NAME>', 'turn a bug switch on (may be repeated), and check as --check does; daxmirror bugs lists them').argParser(addBug).conflicts(['compareProfile', 'compareApi', 'against']))
    .option('--seed <S>', 'of the order in which tasks run beside each other (default: 1); daxmirror explore FILE runs every order', seedNumber)
    .option('--json', 'print records as JSON, or with --against the comparison, and nothing else')
    .addHelpText('after', HELP)
    .action(async (files: readonly string[], flags: RunFlags) => {
      process.exitCode = (await run(files, flags)) ? 0 : 1;
    });
}

/** Runs and prints. False: a record differs, or a scenario did not come to an end that a kernel has. */
async function run(files: readonly string[], flags: RunFlags): Promise<boolean> {
  const side = sideOf(flags);
  const { bug: bugs = [] } = flags;
  const scripts = readScripts(files, side.api);
  const paint = paintFor(process.stdout);
  if (flags.compareProfile !== undefined || flags.compareApi !== undefined) {
    const other = { profile: flags.compareProfile ?? side.profile, api: flags.compareApi ?? flags.api ?? probeOf(flags.compareProfile ?? side.profile) };
    if (other.profile === side.profile && other.api === side.api) throw new BadInput(`${nameOf(side)} is compared with itself`);
    return await compareSides(files, scripts, side, other);
  }
  const wanted = flags.against === undefined ? null : findRecords(flags.against, scripts);
  if (flags.out !== undefined) makeFolder(flags.out);
  const records: ScenarioRecord[] = [];
  let told = true;
  for (const script of scripts) {
    const checks = checksOf(flags);
    const record = await runScenario(script, { ...side, bugs, ...(flags.seed === undefined ? {} : { seed: flags.seed }), ...(checks === null ? {} : { watch: checks.watch }) });
    records.push(record);
    if (flags.out !== undefined) writeRecord(flags.out, record);
    if (checks !== null && !allKnown(checks.end())) told = false;
    if (wanted !== null) continue;
    if (flags.json === true) process.stdout.write(recordText(record));
    else if (flags.out === undefined) process.stdout.write(recordView(record, nameOf(side), paint));
    else process.stdout.write(`${record.scenario}: ${record.result}, ${record.ops.length} of ${operationCount(script)} operations answered\n`);
    if (checks !== null) process.stdout.write(findingsView(checks, paint));
  }
  if (wanted === null) return told && records.every(({ result }) => result === 'ok' || result === 'crash');
  const compared = compareWithRecords(wanted, records);
  process.stdout.write(flags.json === true ? againstJson(compared) : againstText(compared, paint));
  return told && allAgree(compared);
}

function checksOf({ check, checkEvery, stacks = false, bug: bugs = [], json }: RunFlags): RunChecks | null {
  const wanted = check === true || checkEvery !== undefined || stacks || (bugs.length > 0 && json !== true);
  return wanted ? new RunChecks({ every: checkEvery ?? 1, stacks }) : null;
}

function everyOf(text: string): number {
  const every = Number(text);
  if (!Number.isSafeInteger(every) || every < 1) throw new BadInput(`--check-every takes a whole number of operations, 1 or more, not '${text}'`);
  return every;
}

/** Those of tasks among them. */
function operationCount(script: Script): number {
  return script.lines.reduce((sum, { body }) => sum + (body?.length ?? 1), 0);
}

function addBug(name: string, before: readonly BugSwitch[] = []): readonly BugSwitch[] {
  return [...before, bugNamed(name)];
}

/** Which kernel is asked through which API. Throws BadInput where the records are another kernel's. */
function sideOf({ profile, api, against }: RunFlags): Side {
  const recorded = against === undefined ? null : kernelOf(against);
  if (recorded !== null && recorded.profile === null && profile === undefined) throw new BadInput(`${recorded.file}: these records are of kernel ${recorded.kernel}, of which there is no profile (known: ${names.join(', ')})`);
  if (recorded !== null && profile !== undefined && recorded.profile !== profile) throw new BadInput(`${recorded.file}: these records are of kernel ${recorded.kernel}, not of ${profile}`);
  const chosen = profile ?? recorded?.profile ?? DEFAULT_PROFILE;
  return { profile: chosen, api: api ?? probeOf(chosen) };
}

async function compareSides(files: readonly string[], scripts: readonly Script[], left: Side, right: Side): Promise<boolean> {
  const others = readScripts(files, right.api);
  for (const [i, script] of scripts.entries()) {
    const records: [ScenarioRecord, ScenarioRecord] = [await runScenario(script, left), await runScenario(others[i] as Script, right)];
    process.stdout.write(besideText(records, [nameOf(left), nameOf(right)], left.api === right.api, process.stdout.columns, paintFor(process.stdout)));
  }
  return true;
}

function nameOf({ profile, api }: Side): string {
  return `${profile}, ${api} API`;
}
