/**
 * The job: a real file mirrored by a device, for each page size and API, every step checked. Data out, no printing.
 *
 * One machine, reset between runs, its arena as large as the largest run needs. A step that fails ends its run: what would come after
 * it says nothing. The real file is as it was when the job returns or throws, also with `write`.
 */
import { setImmediate } from 'node:timers/promises';
import { HmmError, InvariantError, KernelCrash, Livelock, createMachine, type BugSwitch, type Machine, type PageSize, type WasmBuild } from '../../index.ts';
import { hex } from '../../units.ts';
import { BadInput } from '../badInput.ts';
import { bytesInWords } from '../words.ts';
import type { ApiName, MirrorReport, RunResult, StepResult } from './data.ts';
import type { HostFile } from './host.ts';
import { placesFor } from './places.ts';
import { ARENA_BYTES_MAX, CheckFailed, Scene, arenaBytesFor, longestFile } from './scene.ts';
import { STEPS, type Measures, type Step, type StepContext } from './steps.ts';

export interface JobOptions {
  readonly host: HostFile;
  readonly pages: readonly PageSize[];
  readonly apis: readonly ApiName[];
  readonly bug: BugSwitch | null;
  readonly wasm: WasmBuild | null;
  readonly version: string;
  /** milliseconds of the host's clock */
  readonly nowMs: () => number;
  /** hears what is about to be done */
  readonly onProgress?: (text: string) => void;
  /** asked between steps */
  readonly signal?: AbortSignal;
}

const PROFILE = 'lab';

/** Throws BadInput for a file that is too large or changes meanwhile, HmmError for a WASM module or addon that is unfit. */
export async function runJob(options: JobOptions): Promise<MirrorReport> {
  const { host, pages, apis, bug, wasm, nowMs } = options;
  const startMs = nowMs();
  const arenaBytes = arenaBytesFor(host.length, pages);
  if (arenaBytes > ARENA_BYTES_MAX) {
    throw new BadInput(`${host.path} has ${bytesInWords(host.length)}; at most ${bytesInWords(longestFile(ARENA_BYTES_MAX, pages))} fit the arena of 4 GiB`);
  }
  const machine = await createMachine({ arena: arenaBytes, profile: PROFILE, ...(bug === null ? {} : { bugs: [bug] }), ...(wasm === null ? {} : { build: wasm }) });
  try {
    if (host.writable && machine.nativeReason !== null) throw new BadInput(`--write needs the native addon: ${machine.nativeReason}`);
    options.onProgress?.(`reading ${host.path}`);
    const { sha256 } = host;
    const runs: RunResult[] = [];
    for (const page of pages) {
      for (const api of apis) runs.push(await runOnce(machine, page, api, options));
    }
    const change = host.change();
    if (change !== null && (change.isShorter || runs.some((run) => !run.passed))) throw new BadInput(`${host.path} ${change.words}`);
    const access = machine.nativeReason !== null ? 'read in' : host.writable ? 'mapped shared' : 'mapped private';
    return {
      daxmirror: options.version,
      passed: runs.every((run) => run.passed),
      file: { path: host.path, bytes: host.length, sha256, access },
      wasm: machine.build,
      addonOff: machine.nativeReason,
      profile: PROFILE,
      bug,
      arenaBytes,
      runs,
      elapsedNs: Math.round((nowMs() - startMs) * 1e6),
    };
  } finally {
    machine.dispose();
  }
}

async function runOnce(machine: Machine, page: PageSize, api: ApiName, options: JobOptions): Promise<RunResult> {
  const { host, nowMs } = options;
  machine.reset();
  const scene = new Scene({ machine, host, page, api, isShared: host.writable });
  const measures = newMeasures();
  const context: StepContext = { scene, places: placesFor(host.length, scene.map.length, scene.leafBytes), measures, nowMs };
  const steps: StepResult[] = [];
  try {
    for (const step of STEPS) {
      options.onProgress?.(`${page} ${api}: ${step.name}`);
      await setImmediate(); // signals are heard here
      if (options.signal?.aborted === true) throw new BadInput(`interrupted at ${page} ${api}, step ${step.name}`, 130);
      const failed = steps.some(({ outcome }) => outcome !== 'passed');
      steps.push(failed ? { name: step.name, outcome: 'skipped', seen: null, invalidations: [] } : runStep(step, context));
    }
  } finally {
    if (host.writable) putBack(machine, scene);
  }
  return resultOf(scene, measures, steps);
}

function runStep(step: Step, context: StepContext): StepResult {
  const { scene } = context;
  let seen: string | null = null;
  try {
    scene.observed(step.isTimed === true, () => step.run(context));
  } catch (error) {
    if (!isFinding(error)) throw error;
    seen = (error.message.split('\n')[0] as string).trim();
  }
  return { name: step.name, outcome: seen === null ? 'passed' : 'failed', seen, invalidations: scene.raised };
}

/** What the model throws when it misbehaves or is refused; anything else is a defect of this program or of what it was given. */
function isFinding(error: unknown): error is Error {
  return error instanceof CheckFailed || error instanceof InvariantError || error instanceof KernelCrash || error instanceof Livelock || HmmError.is(error);
}

/** Whatever happened: the real file gets back what stood where the steps wrote. The simulation no longer reaches it then. */
function putBack(machine: Machine, scene: Scene): void {
  machine.reset();
  for (const { offset, bytes } of scene.originals) scene.host.restore(offset, bytes.subarray(0, scene.host.length - offset));
}

function newMeasures(): Measures {
  const none = (): Record<PageSize, number> => ({ '4K': 0, '2M': 0, '1G': 0 });
  return { cpuLeaves: none(), deviceLeaves: none(), cpuTableBytes: 0, deviceTableBytes: 0, faults: 0, fillNs: 0, readNs: 0 };
}

function resultOf(scene: Scene, measures: Measures, steps: readonly StepResult[]): RunResult {
  const { cpuLeaves, deviceLeaves, cpuTableBytes, deviceTableBytes, faults, fillNs, readNs } = measures;
  const pages = scene.map.length / 4096;
  return {
    page: scene.page,
    api: scene.api,
    passed: steps.every(({ outcome }) => outcome === 'passed'),
    address: hex(scene.map.start),
    mappedBytes: scene.map.length,
    pages,
    cpuLeaves,
    deviceLeaves,
    cpuTableBytes,
    deviceTableBytes,
    faults,
    deviceFaults: scene.mirror.stats.faults,
    deviceRetries: scene.mirror.stats.retries,
    invalidations: steps.reduce((sum, step) => sum + step.invalidations.length, 0),
    fillNs: Math.round(fillNs),
    fillNsPerPage: rounded(fillNs / pages),
    readNs: Math.round(readNs),
    readGBPerSecond: readNs === 0 ? 0 : rounded(scene.host.length / readNs),
    written: scene.written,
    steps,
  };
}

/** Three significant digits. */
function rounded(value: number): number {
  return Number(value.toPrecision(3));
}
