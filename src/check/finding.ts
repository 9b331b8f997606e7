/** What a check found: which rule was broken, by which operation, where, and what both tables say there. */
import { describeEntry } from '../pgtable/index.ts';
import { addrOf, hex, type Vpn } from '../units.ts';

export type Rule =
  | 'told-before-taken' // a mirror hears of every entry that goes, changes its frame or loses rights
  | 'mirror-coherent' // an entry of a mirror points at what the CPU table maps there, with no more rights
  | 'balanced' // every invalidation that began has ended, and none twice
  | 'blocks-owned' // no entry, of the CPU or a mirror, leads to blocks that no file has
  | 'pagemap-alive' // no entry leads to memory of a device that is gone
  | 'pagemap-references'; // HMM leaves the references of a dev_pagemap as they were

export interface Finding {
  readonly rule: Rule;
  /** what was done when the rule broke */
  readonly operation: string;
  /** who did it */
  readonly task: string;
  readonly mm: number;
  /** pages `[start, end)` of the process */
  readonly start: Vpn;
  readonly end: Vpn;
  readonly what: string;
  /** what should have been called */
  readonly missing: string;
  /** the profile's field that reproduces a kernel's own breach; null: nobody's but the model's, or a bug switch's */
  readonly knownBy: string | null;
}

export interface Entry {
  readonly level: number;
  readonly lo: number;
  readonly hi: number;
}

const LEVELS = ['pte', 'pmd', 'pud', 'p4d', 'pgd'];

/** `pmd pfn 0x10000200 P|RW|U|A|D|PSE`, decoded bit by bit. */
export function entryText({ level, lo, hi }: Entry, devmapBit: number): string {
  return `${LEVELS[level] ?? `level ${level}`} ${describeEntry(level, lo, hi, devmapBit)}`;
}

/** A finding as a line and what explains it. */
export function findingText(finding: Finding): string {
  const { rule, operation, task, start, end, what, missing, knownBy } = finding;
  const known = knownBy === null ? '' : `\n  known: this kernel does so (profile field ${knownBy})`;
  return `${rule}: ${operation} (${task}) at ${hex(addrOf(start))}..${hex(addrOf(end))}\n  ${what}\n  missing: ${missing}${known}`;
}
