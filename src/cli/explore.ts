/** `daxmirror explore`: races of shipped models, found and replayed. Here: what may be asked for. */
import { Command, InvalidArgumentError, Option } from 'commander';
import { BadReplay, MODELS, Search, Session, decodeReplay, replaySchedule, type Model, type PhaseName, type SearchOptions, type SearchReport } from '../explore/index.ts';
import { BUG_SWITCHES, type BugSwitch } from '../profile/index.ts';
import { nearest } from '../scenario/nearest.ts';
import { BadInput } from './badInput.ts';
import { driveSearch } from './explore/drive.ts';
import { headText, listText, replayText, reportText } from './explore/text.ts';
import { paintFor } from './paint.ts';

interface ExploreFlags {
  readonly list?: boolean;
  readonly bug?: BugSwitch;
  readonly preemptions?: number;
  readonly all?: boolean;
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
equivalence: steps that touch different things are not tried in both orders. Before each step every entry of a device is held
against the CPU's, at the end everything is checked: what was not told, freed blocks, references of pagemaps.

--random and --pct go beyond the bound, with no promise; --seed names the first of them. What is found is shrunk to few
preemptions and shown as a string for --replay. Ctrl-C shows how far it came and how to go on.

Examples:
  daxmirror explore
  daxmirror explore truncate-fault --bug stale-pfn
  daxmirror explore --replay x1:truncate-fault:stale-pfn:2x10.1:d6a9f0e3
  daxmirror explore valid-aba --pct 3 --random 20000 --seed 7`;

export function exploreCommand(): Command {
  return new Command('explore')
    .summary('run the interleavings of shipped models, and find and replay races')
    .description('Runs the interleavings of file system, process and device in shipped models, checks each, and replays what it finds.')
    .argument('[MODEL...]', 'models (default: all; --list names them)')
    .option('--list', 'name the models and the bugs that they find')
    .addOption(new Option('--bug <NAME>', 'turn a bug switch on').choices([...BUG_SWITCHES]))
    .option('--preemptions <N>', "all schedules with up to N preemptions, and no others (default: the model's)", wholeNumber(0, 20))
    .option('--all', 'every schedule, up to equivalence, also where that takes long')
    .addOption(new Option('--random <N>', 'N random schedules in place of all').argParser(wholeNumber(1, 1e9)).conflicts(['preemptions', 'all']))
    .option('--seed <S>', 'of the first random schedule (default: 1)', seedNumber)
    .addOption(new Option('--pct <D>', `random priorities with D - 1 changes, ${PCT_SCHEDULES} schedules unless --random says else`).argParser(wholeNumber(1, 20)).conflicts(['preemptions', 'all']))
    .addOption(new Option('--replay <STRING>', 'one schedule again').conflicts(['bug', 'preemptions', 'all', 'random', 'seed', 'pct', 'resume', 'list']))
    .addOption(new Option('--resume <STRING>', 'go on where an interrupted run stood').conflicts(['bug', 'random', 'seed', 'pct', 'list']))
    .option('--json', 'print the report as JSON and nothing else')
    .addHelpText('after', HELP)
    .action(async (names: readonly string[], flags: ExploreFlags) => {
      process.exitCode = await explore(names, flags);
    });
}

/** The exit code. */
async function explore(names: readonly string[], flags: ExploreFlags): Promise<number> {
  const models = names.map((name) => modelOf(name));
  const json = flags.json === true;
  if (flags.list === true) {
    process.stdout.write(json ? jsonText((models.length > 0 ? models : MODELS).map(({ name, about, tasks, profile, bugs, preemptions, all }) => ({ name, about, tasks, profile, bugs, preemptions, all }))) : listText(models.length > 0 ? models : MODELS, paintFor(process.stdout)));
    return 0;
  }
  if ((flags.replay !== undefined || flags.resume !== undefined) && names.length > 0) throw new BadInput('the string names the model: give no MODEL with it');
  if (flags.replay !== undefined) return await replay(flags.replay, json);
  const resumed = flags.resume === undefined ? null : resumeOf(flags.resume);
  return await search(resumed === null ? (models.length > 0 ? models : MODELS) : [resumed.model], resumed?.bug ?? flags.bug ?? null, { ...optionsOf(flags), ...(resumed === null ? {} : { from: resumed.from }) }, json);
}

async function search(models: readonly Model[], bug: BugSwitch | null, options: SearchOptions, json: boolean): Promise<number> {
  const paint = paintFor(process.stdout);
  const reports: SearchReport[] = [];
  let interrupted: string | null = null;
  for (const model of models) {
    if (!json) process.stdout.write(headText(model, bug, paint));
    const { report, seconds, resume } = await driveSearch(new Search(await Session.create(model, bug), options));
    reports.push(report);
    if (!json) process.stdout.write(reportText(report, seconds, paint));
    interrupted = resume;
    if (interrupted !== null) break;
  }
  const found = reports.some(({ finding }) => finding !== null);
  if (json) process.stdout.write(jsonText({ reports, resume: interrupted }));
  else if (interrupted !== null) {
    const left = models.slice(reports.length).map((model) => ` ${model.name}`).join('');
    process.stdout.write(`interrupted; to go on: daxmirror explore ${interrupted}\n${left === '' ? '' : `not begun: daxmirror explore${left}${bug === null ? '' : ` --bug ${bug}`}\n`}`);
  }
  return found ? 1 : interrupted === null ? 0 : 130;
}

async function replay(text: string, json: boolean): Promise<number> {
  const { fields, schedule } = decoded('--replay', text, 'x1', ['model', 'bug']);
  const [model, bug] = namesOf('--replay', fields);
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

function resumeOf(text: string): { model: Model; bug: BugSwitch | null; from: { phase: PhaseName; position: readonly number[] } } {
  const { fields, schedule } = decoded('--resume', text, 'r1', ['model', 'bug', 'phase']);
  const [model, bug] = namesOf('--resume', fields);
  const phase = fields[2];
  if (phase === undefined || !/^(?:all|p\d{1,2})$/.test(phase.text)) throw new BadInput(`--resume: column ${phase?.column}: '${phase?.text}' is no phase (all, p0, p1, …)`);
  return { model, bug, from: { phase: phase.text as PhaseName, position: schedule } };
}

function namesOf(option: string, fields: readonly { text: string; column: number }[]): [Model, BugSwitch | null] {
  const [name, bug] = fields;
  if (name === undefined || bug === undefined) throw new BadInput(`${option}: no model`);
  const model = modelOf(name.text, `${option}: column ${name.column}: `);
  if (bug.text === '-') return [model, null];
  const known = BUG_SWITCHES.find((one) => one === bug.text);
  if (known === undefined) throw new BadInput(`${option}: column ${bug.column}: unknown bug ${nearest(bug.text, BUG_SWITCHES)}`);
  return [model, known];
}

function decoded(option: string, text: string, version: string, names: readonly string[]): ReturnType<typeof decodeReplay> {
  try {
    return decodeReplay(text, version, names);
  } catch (error) {
    if (error instanceof BadReplay) throw new BadInput(`${option}: ${error.message}`);
    throw error;
  }
}

function modelOf(name: string, place = ''): Model {
  const names = MODELS.map((model) => model.name);
  const model = MODELS.find((one) => one.name === name);
  if (model === undefined) throw new BadInput(`${place}unknown model ${nearest(name, names)}; known: ${names.join(', ')}`);
  return model;
}

function optionsOf({ preemptions, all, random, seed, pct }: ExploreFlags): SearchOptions {
  const times = random ?? (pct === undefined ? undefined : PCT_SCHEDULES);
  if (seed !== undefined && times === undefined) throw new BadInput('--seed is for --random and --pct');
  return {
    ...(preemptions === undefined ? {} : { preemptions, all: all === true }),
    ...(all === true ? { all } : {}),
    ...(times === undefined ? {} : { random: times }),
    ...(seed === undefined ? {} : { seed }),
    ...(pct === undefined ? {} : { pct }),
  };
}

function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max) throw new InvalidArgumentError(`It is no whole number from ${min} to ${max}.`);
    return value;
  };
}

function seedNumber(text: string): bigint {
  if (!/^\d{1,20}$/.test(text)) throw new InvalidArgumentError('It is no whole number from 0 on.');
  return BigInt(text);
}

function jsonText(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
