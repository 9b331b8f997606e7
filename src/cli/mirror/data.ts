/** What the job has to say, as data: the table and --json print the same. Bytes and counts are numbers, addresses hex strings. */
import type { NotifierEvent, PageSize, WasmBuild } from '../../index.ts';

export const API_NAMES = ['2019', 'modern'] as const;
export type ApiName = (typeof API_NAMES)[number];

/** An invalidation that the kernel raised; bytes from the start of the mapping. */
export interface Invalidated {
  readonly event: NotifierEvent;
  readonly offset: number;
  readonly length: number;
}

export interface StepResult {
  readonly name: string;
  /** skipped: a step before it failed */
  readonly outcome: 'passed' | 'failed' | 'skipped';
  /** what was seen in place of what was expected; null unless failed */
  readonly seen: string | null;
  readonly invalidations: readonly Invalidated[];
}

/** Bytes of the file that a step wrote. */
export interface WrittenRange {
  readonly by: 'device' | 'cpu' | 'atomic';
  readonly offset: number;
  readonly length: number;
}

/** One page size under one API. */
export interface RunResult {
  readonly page: PageSize;
  readonly api: ApiName;
  readonly passed: boolean;
  /** where the file is mapped */
  readonly address: string;
  /** bytes mapped: the file's, rounded up to whole leaves */
  readonly mappedBytes: number;
  /** 4 KiB pages of it */
  readonly pages: number;
  /** leaves in the two tables after the fill, by size */
  readonly cpuLeaves: Readonly<Record<PageSize, number>>;
  readonly deviceLeaves: Readonly<Record<PageSize, number>>;
  readonly cpuTableBytes: number;
  readonly deviceTableBytes: number;
  /** page faults of the fill */
  readonly faults: number;
  /** range faults of the device in all, and how often it had to begin anew */
  readonly deviceFaults: number;
  readonly deviceRetries: number;
  /** invalidations of all steps */
  readonly invalidations: number;
  /** host time around fault and fill of the whole range; noisy */
  readonly fillNs: number;
  readonly fillNsPerPage: number;
  /** host time around the device's reads of the whole file; noisy */
  readonly readNs: number;
  readonly readGBPerSecond: number;
  readonly written: readonly WrittenRange[];
  readonly steps: readonly StepResult[];
}

export interface MirrorReport {
  readonly daxmirror: string;
  readonly passed: boolean;
  readonly file: { readonly path: string; readonly bytes: number; readonly sha256: string; readonly access: 'mapped private' | 'mapped shared' | 'read in' };
  readonly wasm: WasmBuild;
  /** why the addon is not used; null when it is */
  readonly addonOff: string | null;
  readonly profile: string;
  readonly bug: string | null;
  readonly arenaBytes: number;
  readonly runs: readonly RunResult[];
  readonly elapsedNs: number;
}
