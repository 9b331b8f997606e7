/** Numbers and lists for people. */
import { GiB, KiB, MiB } from '../units.ts';

/** characters of a line where no terminal says */
const COLUMNS = 140;

export function bytesInWords(bytes: number): string {
  for (const [unit, name] of [[GiB, 'GiB'], [MiB, 'MiB'], [KiB, 'KiB']] as const) {
    if (bytes >= unit) return `${Number((bytes / unit).toPrecision(4))} ${name}`;
  }
  return `${bytes} bytes`;
}

export function grouped(value: number): string {
  return value.toLocaleString('en-US');
}

/** `1 schedule`, `2 schedules`: so many of `one`, a word as it stands for one. */
export function counted(n: number, one: string, many = `${one}${one.endsWith('s') ? 'es' : 's'}`): string {
  return `${grouped(n)} ${n === 1 ? one : many}`;
}

/** `head` and the words, with commas between them, in lines no longer than a terminal's; those after the first are indented by two more. */
export function listLines(head: string, words: readonly string[], columns = process.stdout.columns ?? COLUMNS): string[] {
  const indent = `${/^ */.exec(head)?.[0]}  `;
  const lines = [head];
  for (const [i, word] of words.entries()) {
    const text = ` ${word}${i === words.length - 1 ? '' : ','}`;
    const last = lines[lines.length - 1] as string;
    if (i > 0 && last.length + text.length > columns) lines.push(`${indent}${text.trimStart()}`);
    else lines[lines.length - 1] = last + text;
  }
  return lines;
}
