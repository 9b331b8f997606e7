/**
 * The thread of a Worker that walks (workers.ts): attaches, and for each message walks its part of the range so many times. What it
 * answers is its own CPU time, or in words what was wrong with the words.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { attach } from '../../api/attach.ts';
import { loadNative } from '../../native/load.ts';
import type { ShareHandle } from '../../share/index.ts';
import { wordOffPattern, type WordPattern } from '../verify.ts';

export interface WalkThreadData {
  readonly handle: ShareHandle;
  /** the name of the table */
  readonly name: string;
  readonly pattern: WordPattern;
  /** where the pattern begins */
  readonly start: bigint;
}

/** Walk `[addr, addr + length)` `times` times; 0: once, and look at the words. */
export interface WalkOrder {
  readonly addr: bigint;
  readonly length: number;
  readonly times: number;
}

export type WalkReply = { readonly ns: number } | { readonly wrong: string | null };

const { handle, name, pattern, start } = workerData as WalkThreadData;
const { native } = loadNative();
const table = attach(handle).table(name);

function walk({ addr, length, times }: WalkOrder): WalkReply {
  if (times === 0) return { wrong: check(addr, length) };
  const from = native?.cpuTime() ?? 0;
  let words = 0;
  for (let t = 0; t < times; t++) for (const { pfns } of table.walk(addr, length)) words += pfns.length;
  const ns = (native?.cpuTime() ?? 0) - from;
  return words * 4096 === times * length ? { ns } : { wrong: `walks ${words} pages` };
}

function check(addr: bigint, length: number): string | null {
  for (const { start: at, pfns } of table.walk(addr, length)) {
    const first = Number((at - start) / 4096n);
    const off = wordOffPattern(new Uint32Array(pfns.buffer, pfns.byteOffset, pfns.length * 2), pattern, first);
    if (off >= 0) return `word ${first + off} is not that of the frame mapped there`;
  }
  return null;
}

// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a MessagePort has none
parentPort?.on('message', (order: WalkOrder) => parentPort?.postMessage(walk(order)));
