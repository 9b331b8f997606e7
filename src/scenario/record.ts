/**
 * Records: a scenario's answers as a file, as the recorder of the kernels' writes it: an operation a line.
 *
 * What is read is checked: a file of another shape, or of another version of the scenario, is refused by name.
 */
import type { Answer } from './operation.ts';
import type { Line, Script } from './parse.ts';

export interface ScenarioRecord {
  readonly scenario: string;
  readonly title: string;
  readonly result: string;
  readonly ops: readonly Answer[];
  /** what the kernel's log has of interest */
  readonly klog: readonly string[];
}

/** A file that is no record, or not of this scenario. One line, with the file's name. */
export class RecordError extends Error {
  constructor(file: string, what: string) {
    super(`${file}: ${what}`);
    this.name = 'RecordError';
  }
}

const MEMBERS = ['scenario', 'title', 'result', 'ops', 'klog'];

export function recordText({ scenario, title, result, ops, klog }: ScenarioRecord): string {
  const head = [`{"scenario":${JSON.stringify(scenario)}`, `"title":${JSON.stringify(title)}`, `"result":${JSON.stringify(result)}`, '"ops":['];
  const lines = ops.map((op, i) => `${JSON.stringify(op)}${i + 1 < ops.length ? ',' : ''}\n`);
  return `${head.join(',\n')}\n${lines.join('')}],\n"klog":[${klog.map((line) => `\n${JSON.stringify(line)}`).join(',')}]}\n`;
}

/** Throws RecordError. */
export function readRecord(file: string, text: string): ScenarioRecord {
  const refuse = (what: string): never => {
    throw new RecordError(file, what);
  };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return refuse(`not a record: ${(error as Error).message.split('\n')[0]}`);
  }
  if (!isObject(value)) return refuse('not a record: no object');
  const missing = MEMBERS.find((key) => value[key] === undefined);
  if (missing !== undefined) refuse(`not a record: it has no '${missing}'`);
  const extra = Object.keys(value).find((key) => !MEMBERS.includes(key));
  if (extra !== undefined) refuse(`a record of another version: nothing is known of its '${extra}'`);
  const { scenario, title, result, ops, klog } = value;
  if (typeof scenario !== 'string' || typeof title !== 'string' || typeof result !== 'string') refuse("not a record: 'scenario', 'title' and 'result' are not all texts");
  if (!Array.isArray(ops) || !Array.isArray(klog)) return refuse("not a record: 'ops' and 'klog' are not both lists");
  const odd = ops.findIndex((op) => !isObject(op) || typeof op['op'] !== 'string' || typeof op['i'] !== 'number' || !isWellFormed(op));
  if (odd >= 0) refuse(`a record of another version: ops[${odd}] is of a shape that is not known`);
  return value as unknown as ScenarioRecord;
}

/** Throws RecordError where `record` does not answer `script`, line by line. */
export function checkRecordIsOf(file: string, record: ScenarioRecord, script: Script): void {
  if (record.scenario !== script.name) throw new RecordError(file, `a record of scenario '${record.scenario}', not of '${script.name}'`);
  const task = script.lines.find((line) => line.body !== undefined);
  if (task !== undefined) throw new RecordError(file, `the scenario has tasks (line ${task.number}), whose order no record tells`);
  for (const [i, answer] of record.ops.entries()) {
    const line = script.lines[i];
    const asked = line === undefined ? [] : textsOf(line);
    if (asked.some((text) => sameWords(text, String(answer['op'])))) continue;
    throw new RecordError(file, `a record of another version of ${script.name}: operation ${i + 1} is '${String(answer['op'])}' there, ${line === undefined ? 'nothing' : `'${line.text}'`} here`);
  }
}

/** A line's own text, and those of what it has a child do. */
function textsOf(line: Line): string[] {
  return line.op === 'in' && line.args.inner !== null ? [line.text, ...textsOf(line.args.inner)] : [line.text];
}

function sameWords(a: string, b: string): boolean {
  return a === b || a.trim().split(/\s+/).join(' ') === b.trim().split(/\s+/).join(' ');
}

/** Lists that are walked have objects in them. */
function isWellFormed(answer: Answer): boolean {
  return ['pfns', 'events', 'extents', 'vmas', 'smaps', 'signals', 'pages'].every((key) => {
    const value = answer[key];
    return value === undefined || (Array.isArray(value) && value.every(isObject));
  });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
