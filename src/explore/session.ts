/** A model on its machine: plays schedules, counts steps, and keeps what was covered. */
import type { Finding } from '../check/index.ts';
import { MachineCore } from '../machine.ts';
import { profileOf, type BugSwitch } from '../profile/index.ts';
import type { Policy, Task } from '../sched/index.ts';
import { Violation, type Model } from './model.ts';
import { World } from './world.ts';

const ROOM = { arenaBytes: 16 * 2 ** 20, ramPages: 64 };
/** steps that a task may take on end while others could run: who spins until another has done its part must let it */
const TURN_STEPS_MAX = 64;
/** steps of a schedule; who takes more goes round in circles */
const STEPS_MAX = 20_000;

/** A schedule as it went. */
export interface Played {
  /** ids of the tasks picked, without the last ones that would be picked anyway */
  readonly schedule: number[];
  /** how often a task that could go on was stopped for another */
  readonly preemptions: number;
}

/** A finding that a field of the profile does: what real kernels of it do. */
export interface Known {
  readonly rule: string;
  readonly field: string;
  readonly what: string;
  schedules: number;
  /** the first */
  readonly schedule: readonly number[];
}

/** What was reached so far: a point is where a task can be stopped, a switch the point at which it was and who came in its place. */
export interface Coverage {
  readonly points: number;
  readonly switches: number;
  /** what the points are called, in order; 'start' is where a task has not begun */
  readonly labels: readonly string[];
}

export class Session {
  readonly model: Model;
  readonly bug: BugSwitch | null;
  readonly #core: MachineCore;
  /** what the model came to, and how often */
  readonly ends = new Map<string, number>();
  /** what was found and is this kernel's own, by rule and field */
  readonly known = new Map<string, Known>();
  steps = 0;
  /** what findings name as what was done */
  readonly #operation: string;
  readonly #points = new Map<string, Set<number>>();
  /** who ran how far, where `tracing` */
  readonly #stretches: { readonly task: string; readonly at: string; steps: number }[] = [];
  tracing = false;
  #picked: number[] = [];
  #needed = 0;
  #preemptions = 0;
  #turn = 0;
  #careful = false;

  private constructor(model: Model, bug: BugSwitch | null, core: MachineCore) {
    this.model = model;
    this.bug = bug;
    this.#core = core;
    this.#operation = (model.argument ?? model.name).split(' ')[0] as string;
  }

  static async create(model: Model, bug: BugSwitch | null): Promise<Session> {
    const { arenaBytes, ramPages } = model.room ?? ROOM;
    const kernel = profileOf(model.profile);
    // What belongs to the era is that kernel's own: the checks know it by its field.
    const profile = { ...kernel, bugs: [...new Set([...kernel.bugs, ...(model.era ?? [])])] };
    const config = { arena: { bytes: arenaBytes }, profile, bugs: bug === null ? [] : [bug], seed: 1n, ramPages, levels: 4 } as const;
    return new Session(model, bug, await MachineCore.create(config));
  }

  /** Runs one schedule; what it came to. Throws what broke: Violation, or what a task threw. */
  play(policy: Policy): string {
    this.#picked = [];
    this.#needed = 0;
    this.#preemptions = 0;
    this.#turn = 0;
    this.#stretches.length = 0;
    const world = new World(this.#core, this.#operation, this.#careful);
    const stackLines = Error.stackTraceLimit;
    if (!this.tracing) Error.stackTraceLimit = 0; // an errno is an answer here: nobody reads where it came from
    try {
      const ending = this.model.build(world);
      const end = world.play({ choose: (ready, current) => this.#pick(policy, ready, current) }, ending);
      this.ends.set(end, (this.ends.get(end) ?? 0) + 1);
      return end;
    } finally {
      Error.stackTraceLimit = stackLines;
      world.close();
      for (const finding of world.known) this.#know(finding);
    }
  }

  /** Runs one schedule that counts for nothing. */
  probe(policy: Policy): void {
    const { steps } = this;
    try {
      this.play(policy);
    } finally {
      this.steps = steps;
    }
  }

  /** What the checks say of a schedule that breaks `rule`, asked after each of its steps: then who did it is known. Null: no more than before. */
  retold(policy: Policy, rule: string): Finding | null {
    this.#careful = true;
    try {
      this.probe(policy);
    } catch (error) {
      if (error instanceof Violation && error.rule === rule) return error.finding;
    } finally {
      this.#careful = false;
    }
    return null;
  }

  /** The schedule that was run last, if `tracing`: who ran, for how many steps, and where it took up again. */
  get trace(): string[] {
    return this.#stretches.map(({ task, at, steps }) => `${task}: ${steps} step${steps === 1 ? '' : 's'}${at === '' ? '' : ` from "${at}"`}`);
  }

  /** The schedule that was run last. */
  get played(): Played {
    return { schedule: this.#picked.slice(0, this.#needed), preemptions: this.#preemptions };
  }

  get coverage(): Coverage {
    let switches = 0;
    for (const others of this.#points.values()) switches += others.size;
    return { points: this.#points.size, switches, labels: [...this.#points.keys()].map((label) => label || 'start').sort() };
  }

  #know({ rule, knownBy, what }: Finding): void {
    const field = knownBy ?? '';
    const known = this.known.get(`${rule} ${field}`);
    if (known === undefined) this.known.set(`${rule} ${field}`, { rule, field, what, schedules: 1, schedule: this.played.schedule });
    else known.schedules++;
  }

  #pick(policy: Policy, ready: readonly Task[], current: Task | null): number {
    if (this.#picked.length >= STEPS_MAX) throw new Violation('livelock', `no end after ${STEPS_MAX} steps: ${ready.map((task) => `${task.name} at "${placeOf(task)}"`).join(', ')}`);
    const fair = fairOf(ready);
    if (fair !== ready) return ready.indexOf(fair[this.#pick(policy, fair, current)] as Task);
    if (this.#turn >= TURN_STEPS_MAX && ready.length > 1 && ready[0] === current) {
      this.#turn = 0;
      return 1 + this.#pick(policy, ready.slice(1), null);
    }
    const index = policy.choose(ready, current);
    const task = ready[index];
    if (task === undefined) return index;
    this.#turn = task === current ? this.#turn + 1 : 0;
    this.steps++;
    this.#picked.push(task.id);
    if (index !== 0) this.#needed = this.#picked.length;
    if (this.tracing) this.#tell(task, current);
    if (current !== null) this.#cover(current, task, ready[0] === current);
    return index;
  }

  #tell(task: Task, current: Task | null): void {
    const last = this.#stretches.at(-1);
    if (task === current && last !== undefined) last.steps++;
    else this.#stretches.push({ task: task.name, at: placeOf(task), steps: 1 });
  }

  #cover(current: Task, task: Task, couldGoOn: boolean): void {
    const at = placeOf(current);
    let others = this.#points.get(at);
    if (others === undefined) this.#points.set(at, (others = new Set()));
    if (task === current) return;
    others.add(current.id * 16 + task.id);
    if (couldGoOn) this.#preemptions++;
  }
}

/**
 * Those that a fair scheduler lets go on: who has gone round and would try again comes after those who have not. Without it two who are
 * in each other's way could go round for ever.
 */
function fairOf(ready: readonly Task[]): readonly Task[] {
  if (ready.length === 1 || !ready.some(triesAgain)) return ready;
  const first = ready.filter((task) => !triesAgain(task));
  return first.length === 0 ? ready : first;
}

function triesAgain({ step }: Task): boolean {
  return step !== null && step.kind === 'point' && step.again === true;
}

/** Where a task stands. */
function placeOf({ step }: Task): string {
  if (step === null) return '';
  return step.kind === 'point' ? step.label : step.what;
}
