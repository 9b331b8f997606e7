/** Records of real kernels: which are meant, of which kernel, and where the answers here are not theirs. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { RecordError, agreesWhole, checkRecordIsOf, compareRecords, readRecord, type Comparison, type Difference, type ScenarioRecord, type Script } from '../../scenario/index.ts';
import { PROFILES } from '../../profile/index.ts';
import { BadInput } from '../badInput.ts';
import type { Paint } from '../paint.ts';
import { readText } from './files.ts';
import { StepView } from './steps.ts';

const RECORD_BYTES_MAX = 2 ** 26;

export interface RecordedKernel {
  readonly file: string;
  readonly kernel: string;
  /** null where none models it */
  readonly profile: string | null;
}

/** What KERNEL.json beside the records says; null where there is none. */
export function kernelOf(path: string): RecordedKernel | null {
  const file = join(isFolder(path) ? path : dirname(path), 'KERNEL.json');
  if (!existsSync(file)) return null;
  let kernel: unknown;
  try {
    kernel = (JSON.parse(readFileSync(file, 'utf8')) as { kernel?: unknown } | null)?.kernel;
  } catch (error) {
    throw new BadInput(`${file}: ${(error as Error).message.split('\n')[0]}`);
  }
  if (typeof kernel !== 'string') throw new BadInput(`${file}: it names no kernel`);
  const [release = ''] = kernel.split(' ');
  const profile = `v${/^\d+\.\d+/.exec(release)?.[0] ?? ''}`;
  return { file, kernel: release, profile: Object.hasOwn(PROFILES, profile) ? profile : null };
}

/** The record of each script, in order. Throws BadInput where there is none, or one of something else. */
export function findRecords(path: string, scripts: readonly Script[]): ScenarioRecord[] {
  if (!existsSync(path)) throw new BadInput(`${path}: no such file or directory`);
  if (!isFolder(path) && scripts.length > 1) throw new BadInput(`${path}: one record for ${scripts.length} scenarios; give a folder`);
  return scripts.map((script) => {
    const file = isFolder(path) ? join(path, `${script.name}.json`) : path;
    if (!existsSync(file)) throw new BadInput(`${file}: there is no such record`);
    try {
      const record = readRecord(file, readText(file, RECORD_BYTES_MAX));
      checkRecordIsOf(file, record, script);
      return record;
    } catch (error) {
      throw error instanceof RecordError ? new BadInput(error.message) : error;
    }
  });
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

export interface Compared {
  readonly want: ScenarioRecord;
  readonly got: ScenarioRecord;
  readonly comparison: Comparison;
}

export function compareWithRecords(wanted: readonly ScenarioRecord[], records: readonly ScenarioRecord[]): Compared[] {
  return records.map((got, i) => {
    const want = wanted[i] as ScenarioRecord;
    return { want, got, comparison: compareRecords(want, got) };
  });
}

export function allAgree(compared: readonly Compared[]): boolean {
  return compared.every(({ comparison }) => agreesWhole(comparison));
}

/** In the members of the oracle's own comparison. */
export function againstJson(compared: readonly Compared[]): string {
  const results = compared.map(({ want, got, comparison: { agree, operations, detail, differences, resultAgrees } }) => ({
    name: want.scenario,
    result: { want: want.result, got: got.result, agrees: resultAgrees },
    agree,
    of: operations,
    detail,
    klog: JSON.stringify(want.klog) === JSON.stringify(got.klog),
    rows: differences.map((one) => ({ i: one.i, op: one.op, differs: one.contract, detail: one.detail, want: one.want ?? null, got: one.got ?? null })),
  }));
  const sum = (key: 'agree' | 'of' | 'detail'): number => results.reduce((total, one) => total + one[key], 0);
  const whole = compared.filter(({ comparison }) => agreesWhole(comparison)).length;
  return `${JSON.stringify({ scenarios: results.length, whole, ops: sum('of'), agree: sum('agree'), detail: sum('detail'), results }, null, 1)}\n`;
}

export function againstText(compared: readonly Compared[], paint: Paint): string {
  const lines = compared.flatMap((one) => scenarioLines(one, paint));
  if (compared.length > 1) {
    const whole = compared.filter(({ comparison }) => agreesWhole(comparison)).length;
    const sum = (pick: (comparison: Comparison) => number): number => compared.reduce((total, { comparison }) => total + pick(comparison), 0);
    const of = sum((one) => one.operations);
    lines.push(`${signOf(whole === compared.length, paint)} ${whole}/${compared.length} scenarios agree whole; ${sum((one) => one.agree)}/${of} operations agree, ${sum((one) => one.detail)} in detail too`);
  }
  return `${lines.join('\n')}\n`;
}

function signOf(good: boolean, paint: Paint): string {
  return good ? paint.good('✓') : paint.bad('✗');
}

function scenarioLines({ want, got, comparison }: Compared, paint: Paint): string[] {
  const { agree, operations, detail, resultAgrees, differences } = comparison;
  const whole = agreesWhole(comparison);
  const head = `${signOf(whole, paint)} ${paint.strong(want.scenario)}: ${agree}/${operations} operations agree, ${detail} in detail too`;
  const views = { kernel: new StepView(), model: new StepView() };
  // Every step is drawn, as later ones refer to earlier ones.
  const kernel = want.ops.map((answer) => views.kernel.step(answer));
  const model = got.ops.map((answer) => views.model.step(answer));
  const rows = differences
    .filter(({ contract }) => contract.length > 0)
    .flatMap((one) => differenceLines(one, linesOf(kernel[one.i]), linesOf(model[one.i]), paint));
  const end = resultAgrees ? [] : [`  ${paint.bad('result')}  kernel ${want.result} after ${want.ops.length} operations, here ${got.result} after ${got.ops.length}`, ...got.klog.map((line) => `          ${line}`)];
  return [head, ...rows, ...end];
}

function linesOf(step: ReturnType<StepView['step']> | undefined): string[] {
  return step === undefined ? ['(no answer)'] : [step.outcome, ...step.details];
}

/** What the kernel answered and what was answered here, drawn; where that looks the same, the members that differ as they are. */
function differenceLines({ i, op, contract, want, got }: Difference, kernel: readonly string[], model: readonly string[], paint: Paint): string[] {
  const drawn = kernel.join('\n') !== model.join('\n');
  const raw = contract.flatMap((key) => [`${key}: ${JSON.stringify(want?.[key]) ?? 'nothing'}`, `${key}: ${JSON.stringify(got?.[key]) ?? 'nothing'}`]);
  const [left, right] = drawn ? [kernel, model] : [raw.filter((_, at) => at % 2 === 0), raw.filter((_, at) => at % 2 === 1)];
  const block = (name: string, lines: readonly string[]): string[] => lines.map((line, at) => `        ${(at === 0 ? name : '').padEnd(7)} ${line}`);
  return [`  ${String(i).padStart(4)}  ${op}  ${paint.bad(`[${contract.join(', ')}]`)}`, ...block('kernel', left), ...block('here', right)];
}
