/** `daxmirror explore`: races of shipped models, found and replayed. Here: what may be asked for. */
import { Command, Option } from 'commander';
import { BadReplay, MODELS, Search, Session, decodeReplay, replaySchedule, type Field, type Model, type PhaseName, type SearchOptions, type SearchReport } from '../explore/index.ts';
import { BUG_SWITCHES, PROFILES, type BugSwitch, type ProfileName } from '../profile/index.ts';
import { nearest } from '../scenario/index.ts';
import { BadInput } from './badInput.ts';
import { bugNamed } from './bugs.ts';
import { seedNumber, wholeNumber } from './numbers.ts';
import { driveSearch } from './explore/drive.ts';
import { modelsNamed, shippedModel } from './explore/models.ts';
import { beginText, headText, listText, replayText, reportText } from './explore/text.ts';
import { paintFor } from './paint.ts';

interface ExploreFlags {
  readonly list?: boolean;
  readonly bug?: BugSwitch;
  readonly profile?: ProfileName;
  readonly preemptions?: number;
  readonly all?: boolean;
  readonly brute?: boolean;
  readonly random?: number;
  readonly seed?: bigint;
  readonly pct?: number;
  readonly replay?: string;
  readonly resume?: string;
  readonly json?: boolean;
}

const PCT_SCHEDULES = 10_000;

const HELP = `
A model is two to four tasks on a small machine: what a process, a file system and a device do at the same time. All schedules with
up to N preemptions are run (a preemption stops a task that could go on), then, where that is within reach, every schedule up to
equivalence: steps that touch different things are not tried in both orders. Who goes round and tries again lets the others go first, as
any fair scheduler does. --brute runs them without that reduction, too, and says whether both come to the same ends. Before each step
every entry of a device is held against the CPU's, at the end everything is checked: what was not told, freed blocks, references of
pagemaps.

--random and --pct go beyond the bound, with no promise; --seed names the first of them. What is found is shrunk to few
preemptions and shown as a string for --replay. Ctrl-C shows how far it came and how to go on.

Examples:
  daxmirror explore
  daxmirror explore truncate-fault --bug stale-pfn
  daxmirror explore --replay x1:truncate-fault:stale-pfn:2x10.1:d6a9f0e3
  daxmirror explore examples/explore/punch-write.scn --bug punch-untold
  daxmirror explore valid-aba --pct 3 --random 20000 --seed 7`;

export function exploreCommand(): Command {
  return new Command('explore')
    .summary('run the interleavings of tasks, and find and replay races')
    .description('Runs the interleavings of file system, process and device in shipped models or scenario files, checks each, and replays what it finds.')
    .argument('[MODEL...]', 'models, or scenario files with tasks (default: all models; --list names them)')
    .option('--list', 'name the models and the bugs that they find')
    .addOption(new Option('--bug <NAME>', 'turn a bug switch on; daxmirror bugs lists them').argParser(bugNamed))
    .addOption(new Option('--profile <NAME>', 'which kernel, of a FILE (default: v6.1)').choices(Object.keys(PROFILES)))
    .option('--preemptions <N>', "all schedules with up to N preemptions, and no others (default: the model's)", wholeNumber(0, 20))
    .option('--all', 'every schedule, up to equivalence, also where that takes long')
    .addOption(new Option('--brute', 'every schedule with the reduction, then without it: both counts, and whether the ends are the same').conflicts(['preemptions', 'all', 'random', 'pct']))
    .addOption(new Option('--random <N>', 'N random schedules in place of all').argParser(wholeNumber(1, 1e9)).conflicts(['preemptions', 'all']))
    .option('--seed <S>', 'of the first random schedule (default: 1)', seedNumber)
    .addOption(new Option('--pct <D>', `random priorities with D - 1 changes, ${PCT_SCHEDULES} schedules unless --random says else`).argParser(wholeNumber(1, 20)).conflicts(['preemptions', 'all']))
    .addOption(new Option('--replay <STRING>', 'one schedule again').conflicts(['bug', 'preemptions', 'all', 'brute', 'random', 'seed', 'pct', 'resume', 'list']))
    .addOption(new Option('--resume <STRING>', 'go on where an interrupted run stood').conflicts(['bug', 'random', 'seed', 'pct', 'list']))
    .option('--json', 'print the report as JSON and nothing else')
    .addHelpText('after', HELP)
    .action(async (names: readonly string[], flags: ExploreFlags) => {
      process.exitCode = await explore(names, flags);
    });
}

/** The exit code. */
async function explore(names: readonly string[], flags: ExploreFlags): Promise<number> {
  const models = modelsNamed(names, flags.profile);
  const json = flags.json === true;
  if (flags.list === true) {
    process.stdout.write(json ? jsonText((models.length > 0 ? models : MODELS).map(({ name, about, tasks, profile, bugs, preemptions, all }) => ({ name, about, tasks, profile, bugs, preemptions, all }))) : listText(models.length > 0 ? models : MODELS, paintFor(process.stdout)));
    return 0;
  }
  if (flags.replay !== undefined) return await replay(flags.replay, models, json);
  const resumed = flags.resume === undefined ? null : resumeOf(flags.resume, models);
  return await search(resumed === null ? (models.length > 0 ? models : MODELS) : [resumed.model], resumed?.bug ?? flags.bug ?? null, { ...optionsOf(flags), ...(resumed === null ? {} : { from: resumed.from }) }, json);
}

async function search(models: readonly Model[], bug: BugSwitch | null, options: SearchOptions, json: boolean): Promise<number> {
  const paint = paintFor(process.stdout);
  const reports: SearchReport[] = [];
  let interrupted: string | null = null;
  for (const model of models) {
    if (!json) process.stdout.write(headText(model, bug, paint));
    const { report, seconds, resume } = await driveSearch(new Search(await Session.create(model, bug), options), json);
    reports.push(report);
    if (!json) process.stdout.write(reportText(report, model, seconds, paint));
    interrupted = resume;
    if (interrupted !== null) break;
  }
  const found = reports.some(({ finding, missed }) => finding !== null || (missed !== null && missed.length > 0));
  if (json) process.stdout.write(jsonText({ reports, resume: interrupted }));
  else if (interrupted !== null) {
    const left = models.slice(reports.length);
    process.stdout.write(`interrupted; to go on: daxmirror explore ${interrupted}\n${left.length === 0 ? '' : `not begun: ${beginText(left, bug, options)}\n`}`);
  }
  return found ? 1 : interrupted === null ? 0 : 130;
}

async function replay(text: string, given: readonly Model[], json: boolean): Promise<number> {
  const { fields, schedule } = decoded('--replay', text, 'x1', ['model', 'bug']);
  const [model, bug] = namesOf('--replay', fields, given);
  const session = await Session.create(model, bug);
  let outcome: ReturnType<typeof replaySchedule>;
  try {
    outcome = replaySchedule(session, schedule);
  } catch (error) {
    if (error instanceof RangeError) throw new BadInput(`--replay: the model ${model.name} has no such schedule: ${error.message}`);
    throw error;
  }
  process.stdout.write(json ? jsonText({ model: model.name, bug, schedule, ...outcome }) : replayText(model, bug, outcome, session.trace, paintFor(process.stdout)));
  return 'finding' in outcome ? 1 : 0;
}

function resumeOf(text: string, given: readonly Model[]): { model: Model; bug: BugSwitch | null; from: { phase: PhaseName; position: readonly number[] } } {
  const { fields, schedule } = decoded('--resume', text, 'r1', ['model', 'bug', 'phase']);
  const [model, bug] = namesOf('--resume', fields, given);
  const phase = fields[2];
  if (phase === undefined || !/^(?:all|brute|p\d{1,2})$/.test(phase.text)) throw new BadInput(`--resume: column ${phase?.column}: '${phase?.text}' is no phase (all, brute, p0, p1, …)`);
  return { model, bug, from: { phase: phase.text as PhaseName, position: schedule } };
}

function namesOf(option: string, fields: readonly Field[], given: readonly Model[]): [Model, BugSwitch | null] {
  const [name, bug] = fields;
  if (name === undefined || bug === undefined) throw new BadInput(`${option}: no model`);
  const model = modelOf(option, name, given);
  if (bug.text === '-') return [model, null];
  const known = BUG_SWITCHES.find((one) => one === bug.text);
  if (known === undefined) throw new BadInput(`${option}: column ${bug.column}: unknown bug ${nearest(bug.text, BUG_SWITCHES)}`);
  return [model, known];
}

/** The model that a string names: a shipped one, or that of the file given with it. */
function modelOf(option: string, { text, column }: Field, given: readonly Model[]): Model {
  const [file, second] = given;
  const ofFile = text.includes('.scn~');
  if (file?.argument === undefined && !ofFile) {
    if (file !== undefined) throw new BadInput(`${option}: the string names the model: give no MODEL with it`);
    return shippedModel(text, `${option}: column ${column}: `);
  }
  const [name = ''] = text.split('~');
  if (file?.argument === undefined || second !== undefined) throw new BadInput(`${option}: column ${column}: it is of a file: give ${name} with it, and no other model`);
  if (!ofFile || file.name.split('~')[0] !== name) throw new BadInput(`${option}: column ${column}: it is of ${text}, not of ${file.argument}`);
  if (file.name !== text) throw new BadInput(`${option}: column ${column}: it is of another text of ${name}, or of another profile: ${text}, where this is ${file.name}`);
  return file;
}

function decoded(option: string, text: string, version: string, names: readonly string[]): ReturnType<typeof decodeReplay> {
  try {
    return decodeReplay(text, version, names);
  } catch (error) {
    if (error instanceof BadReplay) throw new BadInput(`${option}: ${error.message}`);
    throw error;
  }
}

function optionsOf({ preemptions, all, brute, random, seed, pct }: ExploreFlags): SearchOptions {
  const times = random ?? (pct === undefined ? undefined : PCT_SCHEDULES);
  if (seed !== undefined && times === undefined) throw new BadInput('--seed is for --random and --pct');
  return {
    ...(preemptions === undefined ? {} : { preemptions, all: all === true }),
    ...(all === true ? { all } : {}),
    ...(brute === true ? { brute } : {}),
    ...(times === undefined ? {} : { random: times }),
    ...(seed === undefined ? {} : { seed }),
    ...(pct === undefined ? {} : { pct }),
  };
}

function jsonText(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
