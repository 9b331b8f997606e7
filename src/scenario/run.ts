/**
 * Runs a script on a machine of its own, and answers as the records do: one answer a line, in order.
 *
 * What ends a run: the last line ('ok'); a kernel crash, wherever it happens ('crash'); a line that would wait for ever, or two minutes
 * gone by ('timeout'); names used up ('failed'). The line at which it ends early has no answer; `klog` says why.
 *
 * Tasks in a row run beside each other, in the order that the seed says; exploring every order is explore/'s.
 * Time is virtual. Threads run whenever the process waits, and not before: a new one does not get the only CPU until then.
 */
import { describe } from '../api/checks.ts';
import { Deadlock, KernelCrash, Livelock, checkOptions } from '../errno.ts';
import { MachineCore } from '../machine.ts';
import type { Mm } from '../mm/index.ts';
import { profileOf, type BugSwitch } from '../profile/index.ts';
import { Guest, type ProbeApi } from './guest.ts';
import { randomPolicy, type Sleepable } from '../sched/index.ts';
import { SCENARIO_MS_MAX } from './limits.ts';
import { TooManyNames } from './names.ts';
import type { Answer } from './operation.ts';
import { operationsFor } from './operations.ts';
import type { Line, Script } from './parse.ts';
import { perform } from './perform.ts';
import { startProcess } from './layout.ts';
import { Process } from './process.ts';
import type { ScenarioRecord } from './record.ts';
import { performTask } from './tasks.ts';

export interface RunOptions {
  /** v6.1, v6.12 or v5.2 */
  readonly profile: string;
  /** which probe asks; default: the profile's own */
  readonly api?: ProbeApi;
  /** bug switches to turn on, besides the profile's own */
  readonly bugs?: readonly BugSwitch[];
  /** of the order in which tasks run (default 1) */
  readonly seed?: bigint;
  /** made for the machine before anything runs, told of each line when it is done or has thrown, and what plays up to it: a Checker, say */
  readonly watch?: (core: MachineCore) => { step(operation: string, replay: string): unknown };
}

export type RunResult = 'ok' | 'crash' | 'timeout' | 'failed';

/** The time is up that a scenario has in the guest. */
class OutOfTime extends Error {}

/** The guest's RAM: 8 GiB. */
const RAM_PAGES = 2 ** 21;
/** hugepages=64 of 2 MiB, 2 of 1 GiB */
const HUGE_PAGES = [64, 2] as const;
const ARENA_BYTES = 512 * 2 ** 20;

/**
 * Carries out a scenario on a machine of its own, the guest in which the kernels' records were taken, and answers as the records do. An
 * operation that fails is an answer, too. Throws TypeError for a kernel that is none, or where an argument is of the wrong kind.
 */
export async function runScenario(script: Script, options: RunOptions): Promise<ScenarioRecord> {
  if (!Array.isArray(script?.lines)) throw new TypeError(`runScenario: script must come from parseScenario(), not ${describe(script)}`);
  checkOptions('runScenario', options, ['profile', 'api', 'bugs', 'seed', 'watch']);
  const profile = profileOf(options.profile);
  const core = await MachineCore.create({ arena: { bytes: ARENA_BYTES }, profile, bugs: options.bugs ?? [], seed: 1n, ramPages: RAM_PAGES, hugePages: HUGE_PAGES, levels: 4 });
  const api = options.api ?? probeOf(options.profile);
  const guest = new Guest(core, api, operationsFor(api));
  const process = new Process(guest, core.platform.sched.runToEnd('start', startProcess(core)));
  const watcher = options.watch?.(core);
  const ops: Answer[] = [];
  let result: RunResult = 'ok';
  let at: Line | undefined;
  try {
    for (const group of groupsOf(script)) {
      at = group.lines[0];
      const answers = group.tasks ? runTasks(process, group.lines, options.seed ?? 1n) : group.lines.flatMap((line) => runNext(process, line));
      if (core.platform.sched.nowNs > SCENARIO_MS_MAX * 1e6) throw new OutOfTime(`more than ${SCENARIO_MS_MAX} ms`);
      ops.push(...answers);
      watcher?.step(group.lines.map((line) => line.text).join(', '), `${script.name}.scn:${at?.number}`);
    }
  } catch (error) {
    if (at !== undefined) watcher?.step(at.text, `${script.name}.scn:${at.number}`);
    result = endOf(error);
    guest.klog.push(...wordsOn(error));
  }
  return { scenario: script.name, title: script.title, result, ops, klog: guest.klog };
}

/** The API that a profile's probe asks. */
export function probeOf(profile: string): ProbeApi {
  return profile === 'v5.2' ? '2019' : 'modern';
}

/** A line of the process's own, or tasks in a row. */
interface Group {
  readonly tasks: boolean;
  readonly lines: Line[];
}

/** The lines in the order in which they run. */
export function groupsOf(script: Script): Group[] {
  const groups: Group[] = [];
  for (const line of script.lines) {
    const tasks = line.op === 'task';
    if (tasks && groups.at(-1)?.tasks === true) groups.at(-1)?.lines.push(line);
    else groups.push({ tasks, lines: [line] });
  }
  return groups;
}

/** The answers of tasks as they come, each with its task; lines are numbered as they stand. */
function runTasks(process: Process, tasks: readonly Line[], seed: bigint): Answer[] {
  const { sched } = process.guest.platform;
  const answers: Answer[] = [];
  for (const task of tasks) {
    const first = process.line + 1;
    const body = task.body ?? [];
    process.line += body.length;
    const who = task.args.word('ID');
    sched.spawn(who, performTask(process, task, (line, answer) => answers.push({ i: first + body.indexOf(line), who, op: line.text, ...answer })));
  }
  sched.run(randomPolicy(seed));
  return answers;
}

/** The answer to the next line. */
export function runNext(process: Process, line: Line): Answer[] {
  process.line++;
  return runLine(process, line);
}

/** The answer to one line, or none where it was a child that answered nothing. */
function runLine(process: Process, line: Line): Answer[] {
  const child = line.op === 'in' ? process.children.get(line.args.word('ID')) : undefined;
  if (child !== undefined && line.args.inner !== null) {
    const answers = runLine(child, line.args.inner);
    // The parent had a line of its own that nobody sees: what changed meanwhile is not told later either.
    process.changedVmas();
    process.signals.length = 0;
    return answers;
  }
  const { guest, who, signals } = process;
  const answer = line.op === 'in' ? { skip: `no child ${line.args.word('ID')}` } : guest.platform.sched.runToEnd(line.op, perform(process, line));
  checkThreads(guest);
  const told = signals.splice(0);
  guest.platform.sched.runToEnd('maps', readMaps(process.mm));
  const vmas = process.changedVmas();
  return [{
    i: process.line,
    ...(who === '' ? {} : { who }),
    op: line.text,
    ...answer,
    ...(told.length === 0 ? {} : { signals: told }),
    ...(vmas === null ? {} : { vmas }),
  }];
}

/** Who reads /proc/self/maps waits for the areas to be still. */
function* readMaps(mm: Mm): Sleepable<void> {
  const { sched } = mm.platform;
  if (!mm.alive) return;
  if (!mm.mmapLock.tryRead(sched)) yield* mm.mmapLock.read(sched);
  mm.mmapLock.readUnlock(sched);
}

/** A thread takes the kernel down with it. */
function checkThreads({ platform: { sched } }: Guest): void {
  for (const { error } of sched.tasks) if (error !== undefined) throw error;
}

/** How a run ends that something was thrown from. Throws what is no such end. */
function endOf(error: unknown): RunResult {
  if (error instanceof KernelCrash) return 'crash';
  if (error instanceof Deadlock || error instanceof OutOfTime || error instanceof Livelock) return 'timeout';
  if (error instanceof TooManyNames) return 'failed';
  throw error;
}

function wordsOn(error: unknown): readonly string[] {
  if (error instanceof Deadlock) return error.waits.map((line) => `deadlock: ${line}`);
  return [(error as Error).message];
}
