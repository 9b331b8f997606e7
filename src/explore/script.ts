/**
 * A scenario file with tasks as a model: what stands before the tasks is carried out at the start of each schedule, what stands behind
 * them at its end. The process has nothing mapped but what the file maps; places are those of the guest (scenario/guest.ts).
 *
 * `# with NAME …` turns bug switches on that stand for the era it is about, as a model's `era`.
 *
 * Each device is watched in the first pages of each area, before every step; at the end the checker looks at everything.
 */
import { BUG_SWITCHES, type BugSwitch, type ProfileName } from '../profile/index.ts';
import { Guest, Process, ScenarioError, groupsOf, nearest, operationsFor, performTask, probeOf, runNext, type Answer, type Line, type Script } from '../scenario/index.ts';
import { Violation, type Model } from './model.ts';
import { checksum } from './replay.ts';
import type { World } from './world.ts';

const TASKS_MIN = 2;
const TASKS_MAX = 4;
/** of each area, for each device */
const WATCHED_PAGES = 8;
/** 64 MiB */
const RAM_PAGES = 2 ** 14;
const ARENA_BYTES = 64 * 2 ** 20;

export interface ScriptOrigin {
  readonly file: string;
  readonly profile: ProfileName;
}

/** `text`: what the script was read from; replay strings hold on to it. Throws ScenarioError where there is nothing to explore. */
export function modelOfScript(text: string, script: Script, { file, profile }: ScriptOrigin): Model {
  const groups = groupsOf(script);
  const [at, ...more] = groups.flatMap(({ tasks }, i) => (tasks ? [i] : []));
  const fail = (line: number, what: string): never => {
    throw new ScenarioError(file, line, 1, what);
  };
  if (at === undefined) return fail(1, 'no tasks to be explored (task NAME, its operations, end)');
  const tasks = groups[at]?.lines ?? [];
  const second = more[0] === undefined ? undefined : groups[more[0]]?.lines[0];
  if (second !== undefined) fail(second.number, 'tasks after others have ended; only those of one row are explored');
  if (tasks.length < TASKS_MIN || tasks.length > TASKS_MAX) fail(tasks[0]?.number ?? 1, `${tasks.length === 1 ? 'one task has' : `${tasks.length} tasks have`} too ${tasks.length === 1 ? 'little' : 'much'} to explore: ${TASKS_MIN} to ${TASKS_MAX} are meant`);
  const before = groups.slice(0, at).flatMap(({ lines }) => lines);
  const after = groups.slice(at + 1).flatMap(({ lines }) => lines);
  return {
    name: `${script.name}.scn~${checksum(`${profile}\n${text}`)}`,
    about: script.title === '' ? `${tasks.length} tasks` : script.title,
    tasks: tasks.length,
    profile,
    bugs: [],
    era: eraOf(file, text),
    argument: profile === 'v6.1' ? file : `${file} --profile ${profile}`,
    preemptions: tasks.length === 2 ? 3 : 2,
    all: true,
    room: { arenaBytes: ARENA_BYTES, ramPages: RAM_PAGES },
    build: (world) => build(world, { before, tasks, after }, profile),
  };
}

/** Bug switches of `# with NAME …` lines. */
function eraOf(file: string, text: string): BugSwitch[] {
  const all: BugSwitch[] = [];
  for (const [i, line] of text.split('\n').entries()) {
    if (!line.startsWith('# with ')) continue;
    for (const { 0: word, index } of line.matchAll(/[^\s,]+/g)) {
      if (index < '# with '.length) continue;
      const known = BUG_SWITCHES.find((one) => one === word);
      if (known === undefined) throw new ScenarioError(file, i + 1, index + 1, `with: no bug switch ${nearest(word, BUG_SWITCHES)}`);
      all.push(known);
    }
  }
  return all;
}

interface Parts {
  readonly before: readonly Line[];
  readonly tasks: readonly Line[];
  readonly after: readonly Line[];
}

function build(world: World, { before, tasks, after }: Parts, profile: ProfileName): () => string {
  const { core } = world;
  const api = probeOf(profile);
  const guest = new Guest(core, api, operationsFor(api));
  const process = new Process(guest, core.newMm('p'));
  guest.onDevice = (owner, device) => {
    for (const { vpn, npages } of owner.areas.values()) world.watch(device, vpn, vpn + Math.min(npages, WATCHED_PAGES));
  };
  for (const line of before) runNext(process, line);
  for (const fs of core.fileSystems) world.watchBlocks(fs);
  const told = new Map<Line, string[]>(tasks.map((task) => [task, []]));
  for (const task of tasks) world.spawn(task.args.word('ID'), performTask(process, task, (_, answer) => told.get(task)?.push(answerText(answer))));
  return () => {
    if (answersOf(told).includes('EBUSY') && core.mms.every((mm) => mm.notifiers.active === 0)) throw new Violation('balanced', 'a device waits for an invalidation that counts as in flight for ever');
    const lines = Array.from(told, ([task, answers]) => `${task.args.word('ID')} ${answers.join(' ')}`);
    for (const line of after) for (const answer of runNext(process, line)) lines.push(`${line.text}: ${answerText(answer)}`);
    return lines.join(', ');
  };
}

function answersOf(told: ReadonlyMap<Line, readonly string[]>): string[] {
  return [...told.values()].flat();
}

/** What it came to, without what is the line's own: bytes by value, of other lists how long they are. */
function answerText({ i: _i, who: _who, op: _op, vmas: _vmas, err, ...rest }: Answer): string {
  const members = Object.entries(rest).map(([key, value]) => (key === 'bytes' ? bytesText(value as readonly (readonly [number, number])[]) : `${key} ${Array.isArray(value) ? value.length : String(value)}`));
  return [...(err === undefined ? [] : [String(err)]), ...members].join(' ');
}

/** Runs of bytes: '7' or '7x4096'. */
function bytesText(runs: readonly (readonly [number, number])[]): string {
  return runs.map(([n, byte]) => (n === 1 ? `${byte}` : `${byte}x${n}`)).join('.');
}
