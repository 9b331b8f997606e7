/**
 * Schedules as short strings, to be kept in a bug report.
 *
 *   x1:truncate-fault:stale-pfn:2x9.1x12.2:5d0c7a11
 *   |  |              |         |          checksum of all that comes before
 *   |  model          bug or -  task ids; 2x9: nine times task 2. What comes after goes by itself: the task goes on, or the first that can
 *   version: x1 a schedule, r1 where an exploration stood (its phase stands before the ids: r1:…:p3:…)
 */
import { Violation } from './model.ts';

/** The string is none, or not of here. `column` counts from 1. */
export class BadReplay extends Error {
  readonly column: number;
  constructor(column: number, what: string) {
    super(`column ${column}: ${what}`);
    this.name = 'BadReplay';
    this.column = column;
  }
}

/** A part of a replay string, and where it begins. */
export interface Field {
  readonly text: string;
  readonly column: number;
}

/** `VERSION:FIELD:…:SCHEDULE:CHECKSUM`. */
export function encodeReplay(version: string, fields: readonly string[], schedule: readonly number[]): string {
  const text = [version, ...fields, encodeSchedule(schedule)].join(':');
  return `${text}:${checksum(text)}`;
}

/** The fields between version and schedule, and the schedule. Throws BadReplay with the place. */
export function decodeReplay(text: string, version: string, fieldNames: readonly string[]): { fields: Field[]; schedule: number[] } {
  const parts: Field[] = [];
  for (let column = 1; ; ) {
    const end = text.indexOf(':', column - 1);
    parts.push({ text: text.slice(column - 1, end < 0 ? undefined : end), column });
    if (end < 0) break;
    column = end + 2;
  }
  const first = parts[0] as Field;
  if (first.text !== version) throw new BadReplay(1, `'${first.text}' is no version that can be read here (${version} is)`);
  const names = ['version', ...fieldNames, 'schedule', 'checksum'];
  if (parts.length < names.length) throw new BadReplay(text.length + 1, `it is cut: no ${names[parts.length]}`);
  const extra = parts[names.length];
  if (extra !== undefined) throw new BadReplay(extra.column, 'nothing comes after the checksum');
  const [schedule, sum] = parts.slice(-2) as [Field, Field];
  const ids = decodeSchedule(schedule);
  const wanted = checksum(text.slice(0, sum.column - 2));
  if (sum.text !== wanted) {
    const cut = wanted.startsWith(sum.text);
    throw new BadReplay(cut ? text.length + 1 : sum.column, cut ? 'it is cut: the checksum has 8 digits' : `the checksum ${sum.text} is not that of what comes before (${wanted}): one of the two was edited or cut`);
  }
  return { fields: parts.slice(1, -2), schedule: ids };
}

function encodeSchedule(schedule: readonly number[]): string {
  const runs: string[] = [];
  for (let i = 0; i < schedule.length; ) {
    let end = i + 1;
    while (end < schedule.length && schedule[end] === schedule[i]) end++;
    runs.push(end - i === 1 ? `${schedule[i]}` : `${schedule[i]}x${end - i}`);
    i = end;
  }
  return runs.join('.');
}

const TIMES_MAX = 1_000_000;

function decodeSchedule({ text, column }: Field): number[] {
  const schedule: number[] = [];
  if (text === '') return schedule;
  let at = column;
  for (const run of text.split('.')) {
    const match = /^([1-9]\d{0,5})(?:x([1-9]\d{0,6}))?$/.exec(run);
    if (match === null) throw new BadReplay(at, `'${run}' is no task or run of one (as 1 or 1x12)`);
    const times = Number(match[2] ?? 1);
    if (schedule.length + times > TIMES_MAX) throw new BadReplay(at, `more than ${TIMES_MAX} steps`);
    for (let i = 0; i < times; i++) schedule.push(Number(match[1]));
    at += run.length + 1;
  }
  return schedule;
}

/** FNV-1a, 32 bits. */
export function checksum(text: string): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return (hash >>> 0).toString(16).padStart(8, '0');
}

/** What kind of failure it is: the rule, or the name of what was thrown. Shrinking keeps to it. */
export function ruleOf(cause: unknown): string {
  if (cause instanceof Violation) return cause.rule;
  if (cause instanceof Error) return 'code' in cause ? String(cause.code) : cause.name;
  return 'thrown';
}
