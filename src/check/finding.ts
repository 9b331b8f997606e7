/** What a check found: which rule was broken, by which operation, where, and what both tables say there. */
import { swapPfn } from '../mm/index.ts';
import { SWP_HWPOISON, SWP_PTE_MARKER, describeEntry, isDeviceExclusiveType, isDevicePrivateType, isMigrationType, isSwapEntry, isWritableType, swapOffset, swapType } from '../pgtable/index.ts';
import { fieldInWords } from '../profile/index.ts';
import { addrOf, hex, type Vpn } from '../units.ts';
import type { Rule } from './rules.ts';

export interface Finding {
  readonly rule: Rule;
  /** what was done when the rule broke */
  readonly operation: string;
  /** who did it */
  readonly task: string;
  readonly mm: number;
  /** pages `[start, end)` of the process; both 0 where it is about no addresses */
  readonly start: Vpn;
  readonly end: Vpn;
  readonly what: string;
  /** what should have been called */
  readonly missing: string;
  /** the CPU's entry at `start`, bit by bit; null where it is about none */
  readonly cpu: string | null;
  /** the mirror's entry there */
  readonly device: string | null;
  /** more of it, a line each: who holds what, chains of locks, stacks */
  readonly details: readonly string[];
  /** what plays it again: a line of a scenario, a string of explore, a line of an op log; '' where nobody has said */
  readonly replay: string;
  /** the profile's field that reproduces a kernel's own breach; null: nobody's but the model's, or a bug switch's */
  readonly knownBy: string | null;
}

/** What was seen when it happened; the operation is named when it is over. */
export interface Sighting {
  readonly rule: Rule;
  /** who did it and in which operation, where that was earlier than it is seen */
  readonly task?: string;
  readonly operation?: string;
  readonly mm: number;
  readonly start: Vpn;
  readonly end: Vpn;
  readonly what: string;
  readonly missing: string;
  readonly cpu?: string;
  readonly device?: string;
  readonly details?: readonly string[];
}

/** Takes what was seen. */
export type Report = (sighting: Sighting) => void;

export interface Entry {
  readonly level: number;
  readonly lo: number;
  readonly hi: number;
}

const LEVELS = ['pte', 'pmd', 'pud', 'p4d', 'pgd'];

/** `pmd pfn 0x10000200 P|RW|U|A|D|PSE`, decoded bit by bit; one that is not present for what it stands for: `pte swap type 27 device-private pfn 0xc000000 W`. */
export function entryText({ level, lo, hi }: Entry, devmapBit: number): string {
  const bits = isSwapEntry(level, lo, hi) ? swapText(lo, hi) : describeEntry(level, lo, hi, devmapBit);
  return `${LEVELS[level] ?? `level ${level}`} ${bits}`;
}

/** An entry without P: its type, what that stands for, and where the page is. */
function swapText(lo: number, hi: number): string {
  const type = swapType(hi);
  const head = `swap type ${type}`;
  if (type === SWP_PTE_MARKER) return `${head} marker ${hex(swapOffset(lo, hi))}`;
  if (type < SWP_HWPOISON) return `${head} offset ${hex(swapOffset(lo, hi))}`;
  const kind = isMigrationType(type) ? 'migration' : isDevicePrivateType(type) ? 'device-private' : isDeviceExclusiveType(type) ? 'device-exclusive' : 'hwpoison';
  return `${head} ${kind} pfn ${hex(swapPfn(lo, hi))}${isWritableType(type) ? ' W' : ''}`;
}

/** A finding as a line and what explains it. */
export function findingText(finding: Finding): string {
  const { rule, operation, task, start, end, what, missing, cpu, device, details, replay, knownBy } = finding;
  const lines = [
    `${rule}: ${operation} (${task})${end > start ? ` at ${hex(addrOf(start))}..${hex(addrOf(end))}` : ''}`,
    `  ${what}`,
    ...(cpu === null ? [] : [`  cpu: ${cpu}`]),
    ...(device === null ? [] : [`  device: ${device}`]),
    ...details.map((line) => `  ${line}`),
    `  missing: ${missing}`,
    ...(replay === '' ? [] : [`  replay: ${replay}`]),
    ...(knownBy === null ? [] : [`  known: this kernel does so (profile field ${fieldInWords(knownBy)})`]),
  ];
  return lines.join('\n');
}
