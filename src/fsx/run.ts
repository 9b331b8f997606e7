/**
 * Runs of the exerciser: operations made at random or taken from a log, on a machine of its own, until something is wrong or they are
 * through. A failure is run again, and shrunk.
 *
 * Nothing is kept of operations that went well: where one fails, those before it are made again from the seed.
 */
import { checkOptions } from '../errno.ts';
import { MachineCore } from '../machine.ts';
import { profileOf, type BugSwitch, type KernelProfile } from '../profile/index.ts';
import { MiB } from '../units.ts';
import { FsxFailure, type FailureKind } from './failure.ts';
import { Generator, type Mix } from './generate.ts';
import type { AccessorName, Layout, Operation, OperationName } from './operation.ts';
import { wholeCare, wholeLayout, wholeMix } from './options.ts';
import type { CutCounts } from './powerCut.ts';
import { Scene, arenaBytes, type Care } from './scene.ts';
import { Noise } from './shadow.ts';
import { shrink } from './shrink.ts';
import { trimmed } from './trim.ts';

const OPERATIONS = 100_000;
const RAM_PAGES = (64 * MiB) / 4096;
/** operations between two questions whether to go on; where every moment of one is looked at, each takes long */
const STRETCH = 256;
const STRETCH_OF_EVERY_POINT = 4;
/** operations carried out to shrink a log, in all */
const SHRINK_OPERATIONS_MAX = 2_000_000;

export interface FsxOptions {
  /** file system, kernel, sizes, how many files and processes; what is left out is as in DEFAULT_LAYOUT */
  readonly layout?: Partial<Layout>;
  /** which operations, by whom; what is left out is as in DEFAULT_MIX */
  readonly mix?: Partial<Mix>;
  /** operations to do (default: those of the log, else 100,000); Infinity: until `pause` says stop */
  readonly operations?: number;
  /** taken in place of random ones, as they stand or, with `accessor`, with every access by that one */
  readonly log?: readonly Operation[];
  readonly accessor?: AccessorName;
  /** operations of the log are fitted to the file first, as the classic exerciser does on replay: for logs of its own */
  readonly trim?: boolean;
  /** what is looked at after every operation; left out: sizes */
  readonly care?: Partial<Care>;
  /** the first one to be carried out, from 1; those before it are only reckoned */
  readonly begin?: number;
  readonly bugs?: readonly BugSwitch[];
  /** stop after so many power cuts */
  readonly cutsMax?: number;
  /** run the rules of check/ after every operation */
  readonly check?: boolean;
  /** called now and then, with how many operations are begun, and whether it is their failure that is run again and cut down; true: stop */
  readonly pause?: (done: number, phase: 'run' | 'shrink') => Promise<boolean>;
  /** hears every operation before it is carried out, with whether it is passed over */
  readonly onOperation?: (operation: Operation) => void;
}

export interface FsxFinding {
  readonly kind: FailureKind;
  readonly what: string;
  /** which operation, from 1; one more than there are: the comparison at the end */
  readonly at: number;
  /** the fewest operations found that fail the same way, and what they say then */
  readonly shrunk: readonly Operation[];
  readonly shrunkWhat: string;
  readonly shrinkRuns: number;
  readonly shrunkWhole: boolean;
  /** fields of the kernel's profile with which it does not fail once they are the other way round: what this kernel is known to do */
  readonly fields: readonly string[];
}

export interface FsxResult {
  readonly passed: boolean;
  readonly interrupted: boolean;
  /** operations begun, those passed over among them */
  readonly operations: number;
  readonly skipped: number;
  readonly counts: Readonly<Partial<Record<OperationName, number>>>;
  /** mapped accesses by who carried them out */
  readonly accesses: Readonly<Partial<Record<AccessorName, number>>>;
  /** of power cuts; null: nobody kept track */
  readonly cuts: Readonly<CutCounts> | null;
  readonly failure: FsxFinding | null;
  /** what the files held at the end */
  readonly contents: readonly Uint8Array[];
}

/** Options with nothing left out but what is off. */
interface Whole extends FsxOptions {
  readonly layout: Layout;
  readonly mix: Mix;
  readonly operations: number;
  readonly care: Care;
}

/**
 * Runs the exerciser on a machine of its own until something is wrong, or `operations` are through; the same options give the same run.
 * A failure is an answer, not an error: it is run again, cut down to the fewest operations, and comes back as `failure`.
 * Throws RangeError for options unknown or out of bounds, EINVAL for an unknown profile, ENOMEM where no arena can be had.
 */
export async function runFsx(given: FsxOptions = {}): Promise<FsxResult> {
  const options = wholeOptions(given);
  const { layout } = options;
  const core = await newCore(options, profileOf(layout.profile));
  const noise = new Noise(layout.fileBytes, options.mix.fill);
  const scene = new Scene(core, layout, noise, options.check === true, options.care);
  const source = sourceOf(options, scene);
  const run = new Run(options, scene, source);
  await run.toEnd();
  scene.close();
  const { failure } = run;
  const cuts = scene.power?.counts ?? null;
  return {
    passed: failure === null,
    interrupted: run.interrupted,
    operations: scene.count,
    skipped: run.skipped,
    counts: run.counts,
    accesses: run.accesses,
    cuts: cuts === null ? null : { ...cuts },
    failure: failure === null ? null : await findingOf(options, core, noise, failure, scene.count),
    contents: failure === null ? layoutFiles(layout).map((file) => scene.contents(file)) : [],
  };
}

function wholeOptions(given: FsxOptions): Whole {
  checkOptions('runFsx', given, ['layout', 'mix', 'operations', 'log', 'accessor', 'trim', 'care', 'begin', 'bugs', 'check', 'cutsMax', 'pause', 'onOperation']);
  const { operations = given.log === undefined ? OPERATIONS : Infinity, begin = 1 } = given;
  if (operations !== Infinity && !(Number.isSafeInteger(operations) && operations >= 0)) throw new RangeError(`runFsx: operations ${operations} is no number of operations`);
  if (operations === Infinity && given.log === undefined && given.pause === undefined) throw new RangeError('runFsx: operations without end, and no pause that could stop them');
  if (!(Number.isSafeInteger(begin) && begin >= 1)) throw new RangeError(`runFsx: begin ${begin} is no operation's number`);
  return { ...given, operations, layout: wholeLayout(given.layout), mix: wholeMix(given.mix), care: wholeCare(given.care) };
}

/** Runs operations on a scene of their own; null: nothing is wrong. */
function replay(options: Whole, core: MachineCore, noise: Noise, operations: readonly Operation[]): FsxFailure | null {
  core.reset();
  const scene = new Scene(core, options.layout, noise, options.check === true, options.care);
  try {
    for (const operation of operations) scene.step(operation);
    scene.finish();
    return null;
  } catch (error) {
    if (error instanceof FsxFailure) return error;
    throw error;
  } finally {
    scene.close();
  }
}

type Source = (scene: Scene) => Operation | null;

function sourceOf({ layout, mix, log, accessor, trim = false }: Whole, { fs }: Scene): Source {
  if (log === undefined) {
    const generator = new Generator(layout, mix, fs.reflink);
    return (scene) => generator.next((file) => scene.sizeOf(file));
  }
  return (scene) => {
    const logged = log[scene.count];
    if (logged === undefined) return null;
    const operation = trim && !logged.skipped ? trimmed(logged, scene.sizeOf(logged.file), layout.fileBytes) : logged;
    if (accessor === undefined) return operation;
    return { ...operation, by: accessor, beside: operation.beside === null ? null : { ...operation.beside, by: accessor } };
  };
}

class Run {
  readonly #options: Whole;
  readonly #scene: Scene;
  readonly #source: Source;
  failure: FsxFailure | null = null;
  interrupted = false;
  skipped = 0;
  readonly counts: Partial<Record<OperationName, number>> = {};
  readonly accesses: Partial<Record<AccessorName, number>> = {};

  constructor(options: Whole, scene: Scene, source: Source) {
    this.#options = options;
    this.#scene = scene;
    this.#source = source;
  }

  async toEnd(): Promise<void> {
    const { operations, begin = 1, layout, pause } = this.#options;
    const scene = this.#scene;
    try {
      await this.#reckon(Math.min(begin - 1, operations));
      const stretch = scene.power !== null && layout.everyPoint ? STRETCH_OF_EVERY_POINT : STRETCH;
      for (let more = !this.interrupted; more; ) {
        more = this.#stretch(Math.min(operations, scene.count + stretch));
        if (more && pause !== undefined && (await pause(scene.count, 'run'))) {
          this.interrupted = true;
          break;
        }
      }
      scene.finish();
    } catch (error) {
      if (!(error instanceof FsxFailure)) throw error;
      this.failure = error;
    }
  }

  async #reckon(upTo: number): Promise<void> {
    const scene = this.#scene;
    const { pause } = this.#options;
    if (upTo <= 0) return;
    while (scene.count < upTo) {
      if (pause !== undefined && scene.count % STRETCH === 0 && (await pause(scene.count, 'run'))) {
        this.interrupted = true;
        break;
      }
      const operation = this.#source(scene);
      if (operation === null) break;
      if (scene.power === null) scene.simulate(operation);
      else scene.step(operation); // what a power cut leaves is not to be reckoned
    }
    if (scene.power === null) scene.writeImages();
  }

  /** False: there is no more. */
  #stretch(upTo: number): boolean {
    const scene = this.#scene;
    const { onOperation, operations, cutsMax = Infinity } = this.#options;
    while (scene.count < upTo) {
      if (scene.power !== null && scene.power.counts.cuts >= cutsMax) return false;
      const operation = this.#source(scene);
      if (operation === null) return false;
      const skipped = scene.skips(operation);
      if (skipped) this.skipped++;
      else this.#count(operation);
      onOperation?.(skipped === operation.skipped ? operation : { ...operation, skipped });
      scene.step(operation);
    }
    return upTo < operations;
  }

  #count({ name, by }: Operation): void {
    this.counts[name] = (this.counts[name] ?? 0) + 1;
    if (name === 'mapread' || name === 'mapwrite' || name === 'fork') this.accesses[by] = (this.accesses[by] ?? 0) + 1;
  }
}

async function findingOf(options: Whole, core: MachineCore, noise: Noise, failure: FsxFailure, at: number): Promise<FsxFinding> {
  const before = operationsUpTo(options, core, noise, at);
  const fails = (operations: readonly Operation[]): FsxFailure | null => {
    const seen = replay(options, core, noise, operations);
    return seen?.kind === failure.kind ? seen : null;
  };
  const stop = async (): Promise<boolean> => options.pause !== undefined && (await options.pause(at, 'shrink'));
  const { operations: shrunk, runs, whole } = await shrink(before, (operations) => fails(operations) !== null, { carriedOutMax: Math.max(SHRINK_OPERATIONS_MAX, 4 * before.length), stop });
  const { kind, message } = failure;
  const again = fails(shrunk);
  const fields = again !== null && !(await stop()) && (options.bugs ?? []).length === 0 ? await fieldsBehind(options, noise, shrunk) : [];
  return { kind, what: message, at, shrunk, shrunkWhat: again?.message ?? message, shrinkRuns: runs, shrunkWhole: whole, fields };
}

/** What of the kernel's profile decides whether these operations fail: fields the other way round, and bugs that it has. */
async function fieldsBehind(options: Whole, noise: Noise, operations: readonly Operation[]): Promise<string[]> {
  const { profile } = options.layout;
  const fields: string[] = [];
  const skipped = passedOver(options, await newCore(options, profileOf(profile)), noise, operations);
  for (const { name, changes } of otherKernels(profileOf(profile))) {
    const core = await newCore(options, profileOf(profile, changes));
    // One that has to pass over some of them does not show what it would do.
    if (passedOver(options, core, noise, operations) === skipped && replay(options, core, noise, operations) === null) fields.push(name);
  }
  return fields;
}

/** Kernels that differ in one thing: a yes-or-no field the other way round, or a bug of theirs less. */
function otherKernels(kernel: KernelProfile): { readonly name: string; readonly changes: Partial<KernelProfile> }[] {
  const flags = Object.entries(kernel).filter(([, value]) => typeof value === 'boolean');
  return [
    ...flags.map(([name, value]) => ({ name, changes: { [name]: value !== true } })),
    ...kernel.bugs.map((bug) => ({ name: `bug ${bug}`, changes: { bugs: kernel.bugs.filter((other) => other !== bug) } })),
  ];
}

/** How many of the operations are passed over. */
function passedOver(options: Whole, core: MachineCore, noise: Noise, operations: readonly Operation[]): number {
  core.reset();
  const scene = new Scene(core, { ...options.layout, everyPoint: false }, noise, false);
  let count = 0;
  for (const operation of operations) {
    if (scene.skips(operation)) count++;
    scene.simulate(operation);
  }
  return count;
}

async function newCore({ layout, mix, bugs = [] }: Whole, profile: KernelProfile): Promise<MachineCore> {
  return MachineCore.create({ arena: { bytes: arenaBytes(layout) }, profile, bugs, seed: mix.seed, ramPages: RAM_PAGES, levels: 4 });
}

/** Made again, without carrying anything out; those that are passed over say so. */
function operationsUpTo(options: Whole, core: MachineCore, noise: Noise, count: number): Operation[] {
  core.reset();
  const scene = new Scene(core, { ...options.layout, everyPoint: false }, noise, false);
  const source = sourceOf(options, scene);
  const operations: Operation[] = [];
  while (scene.count < count) {
    const operation = source(scene);
    if (operation === null) break;
    if (!scene.skips(operation) || operation.cut !== null) operations.push(operation);
    if (scene.power === null || scene.count === count - 1) scene.simulate(operation);
    else scene.step(operation);
  }
  return operations;
}

function layoutFiles({ files }: Layout): number[] {
  return Array.from({ length: files }, (_, i) => i);
}
