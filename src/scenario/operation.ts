/** What an operation of the scenario language is, and the table of them. */
import type { Sleepable } from '../sched/index.ts';
import type { Process } from './process.ts';
import type { Args } from './parse.ts';
import { usageOf, type Usage } from './usage.ts';

/** One line of the answer, but for its number and text: members in the order in which the records have them. */
export type Answer = Record<string, unknown>;

export type Perform = (process: Process, args: Args) => Sleepable<Answer>;

export interface Operation {
  readonly usage: Usage;
  readonly perform: Perform;
}

export type Operations = ReadonlyMap<string, Operation>;

/** Operations by usage line: `{ 'unmap ADDR LEN': function* … }`. */
export type OperationList = Readonly<Record<string, Perform>>;

/** The table; of two operations of one name the later wins, so that a probe can put its own in place. */
export function operationTable(...lists: readonly OperationList[]): Operations {
  const table = new Map<string, Operation>();
  for (const list of lists) {
    for (const [text, perform] of Object.entries(list)) table.set(text.split(' ', 1)[0] as string, { usage: usageOf(text), perform });
  }
  return table;
}

/** What an operation names is not there, an earlier line having failed: it is passed over. */
export class Skip extends Error {}
