/**
 * Runs a script on a machine of its own, and answers as the records do: one answer a line, in order; a crash ends it.
 */
import { KernelCrash } from '../errno.ts';
import { MachineCore } from '../machine.ts';
import { profileOf } from '../profile/index.ts';
import { Guest, type ProbeApi } from './guest.ts';
import type { Answer } from './operation.ts';
import { operationsFor } from './operations.ts';
import type { Line, Script } from './parse.ts';
import { perform } from './perform.ts';
import { Process } from './process.ts';

export interface RunOptions {
  /** v6.1, v6.12 or v5.2 */
  readonly profile: string;
  /** which probe asks; default: the profile's own */
  readonly api?: ProbeApi;
}

export interface ScenarioRecord {
  readonly scenario: string;
  readonly title: string;
  readonly result: string;
  readonly ops: readonly Answer[];
  readonly klog: readonly string[];
}

/** The guest's RAM: 2 GiB. */
const RAM_PAGES = 2 ** 19;
const ARENA_BYTES = 512 * 2 ** 20;

export async function runScenario(script: Script, options: RunOptions): Promise<ScenarioRecord> {
  const profile = profileOf(options.profile);
  const core = await MachineCore.create({ arena: { bytes: ARENA_BYTES }, profile, bugs: [], seed: 1n, ramPages: RAM_PAGES, levels: 4 });
  const api = options.api ?? probeOf(options.profile);
  const guest = new Guest(core, api, operationsFor(api));
  const process = new Process(guest, core.newMm('runner'), '');
  const ops: Answer[] = [];
  let result = 'ok';
  try {
    for (const [i, line] of script.lines.entries()) ops.push(runLine(process, line, i + 1));
  } catch (error) {
    if (!(error instanceof KernelCrash)) throw error;
    result = 'crash';
    guest.klog.push(error.message);
  }
  return { scenario: script.name, title: script.title, result, ops, klog: guest.klog };
}

/** The API that a profile's probe asks. */
export function probeOf(profile: string): ProbeApi {
  return profile === 'v5.2' ? '2019' : 'modern';
}

/** `i`: which operation it is, from 1. */
function runLine(process: Process, line: Line, i: number): Answer {
  const answer = process.guest.platform.sched.runToEnd(line.op, perform(process, line));
  const vmas = process.changedVmas();
  return { i, op: line.text, ...answer, ...(vmas === null ? {} : { vmas }) };
}
