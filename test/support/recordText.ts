/** How the kernel's records write sizes, options, bytes and events. */
import { VALID, WRITE } from './probe2019.ts';

/** Something that cannot be done here yet. */
export class Unsupported extends Error {}

/** '8K' in bytes. */
export function size(text: string): number {
  const [, digits = '', unit = ''] = /^(\d+)([KMGP]?)$/.exec(text) ?? [];
  if (digits === '') throw new Unsupported();
  return Number(digits) * { '': 1, K: 1024, M: 2 ** 20, G: 2 ** 30, P: 4096 }[unit as 'K'];
}

export function pages(text: string): number {
  const npages = size(text) / 4096;
  if (!Number.isInteger(npages)) throw new Unsupported();
  return npages;
}

export function prot(text: string): number {
  return (text.includes('r') ? 1 : 0) + (text.includes('w') ? 2 : 0) + (text.includes('x') ? 4 : 0);
}

/** Words `name=value` and bare ones. */
export function options(words: readonly string[]): Record<string, string> {
  return Object.fromEntries(words.map((word) => [word.replace(/=.*/, ''), word.includes('=') ? word.replace(/^[^=]*=/, '') : '']));
}

export function flagsOf(letters: string): bigint {
  return (letters.includes('f') ? VALID : 0n) | (letters.includes('w') ? WRITE : 0n);
}

/** '0:f,2-5:fw' */
export function requestsOf(text: string): Record<number, bigint> {
  const requests: Record<number, bigint> = {};
  for (const part of text === '' ? [] : text.split(',')) {
    const [span = '', letters = ''] = part.split(':');
    const [from = '', to = from] = span.split('-');
    for (let i = Number(from); i <= Number(to); i++) requests[i] = flagsOf(letters);
  }
  return requests;
}

/** [length, byte] of each run. */
export function byteRuns(bytes: Uint8Array): [number, number][] {
  const runs: [number, number][] = [];
  for (const byte of bytes) {
    const last = runs.at(-1);
    if (last?.[1] === byte) last[0]++;
    else runs.push([1, byte]);
  }
  return runs;
}

/** What a mirror heard: pages, and `valid` as it was then. */
export interface LoggedEvent {
  start: number;
  end: number;
  readonly block: boolean;
  readonly valid: boolean;
}

/** A row of events of one length and kind, each where the last ended, is written down as one. */
export function foldEvents(events: readonly LoggedEvent[]): (LoggedEvent & { n: number })[] {
  const folded: (LoggedEvent & { n: number })[] = [];
  for (const event of events) {
    const last = folded.at(-1);
    const npages = event.end - event.start;
    if (last !== undefined && last.end === event.start && (last.end - last.start) / last.n === npages && last.block === event.block && last.valid === event.valid) {
      last.end = event.end;
      last.n++;
    } else folded.push({ ...event, n: 1 });
  }
  return folded;
}

export function signedHex(n: number): string {
  return `${n < 0 ? '-' : '+'}0x${Math.abs(n).toString(16)}`;
}
