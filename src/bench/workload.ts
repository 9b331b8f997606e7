/**
 * What a bench is made of: workloads as data, contenders that do the same work, and what they are compared with.
 *
 * A workload says what is done and to how much; `setup` builds the ground it needs and the contenders on it. Nothing here
 * measures (measure.ts) and nothing prints (cli).
 */
import type { Native } from '../native/load.ts';
import type { PageSize } from '../units.ts';

/** One way to do a workload's work. */
export interface Contender {
  readonly name: string;
  /** the same as the workload's `base`, once more: what its ratio shows is noise */
  readonly isNull?: boolean;
  /** why it cannot run here; then nothing else of it is used */
  readonly missing?: string;
  /** What its output lacks, as 'differs at word 7', or null. Asked before it is timed. */
  check?(): string | null;
  /** Untimed, before each timed stretch. */
  before?(): void | Promise<void>;
  /** The work, `times` times over. Always 1 in workloads that are `single`. Other threads' work says itself how many ns of CPU time it took. */
  run(times: number): void | Promise<void | number>;
  /** ns of each run that are not the work's, taken off */
  readonly freeNs?: number;
}

/** Exact values of the model; never time. */
export interface Model {
  /** leaves under the range */
  readonly leaves: number;
  /** page tables of the space */
  readonly tableBytes: number;
  /** entries that a walk of the range, or of one address, looks at; null where no walk is measured */
  readonly entries: number | null;
}

/** A workload, ready to run. */
export interface Work {
  /** what is counted: 'page', 'fault', 'machine' */
  readonly unit: string;
  readonly unitsPerRun: number;
  /** the first is the base: ours, and what the null contender repeats */
  readonly contenders: readonly Contender[];
  /** contenders to which every row's time is set in relation */
  readonly against: readonly string[];
  /** bytes of output a run */
  readonly outputBytesPerRun?: number;
  readonly model?: Model;
  /** by wall time in any case */
  readonly wall?: boolean;
  /** a run needs its own `before`: stretches of one run are added up to a sample */
  readonly single?: boolean;
  /** of each contender, before the rounds (default 20 ms): JavaScript needs more than WASM */
  readonly warmupMs?: number;
  /** fewer or more than the suite's */
  readonly rounds?: number;
  /** Bytes that the base took, by name; asked after the rounds. */
  sizes?(): Readonly<Record<string, number>>;
  /** Gives back what it holds outside the JavaScript heap. */
  dispose?(): void;
}

/** What a workload may use of the world. */
export interface BenchContext {
  readonly native: Native | null;
  /** why there is none; null when there is one */
  readonly nativeReason: string | null;
}

/** A point on a curve of cost against size: workloads of one curve differ in `at` only, and reports plot them together. */
export interface Size {
  /** what they share: 'fill 4K, 512 KiB window' */
  readonly curve: string;
  readonly at: number;
  /** what `at` counts: 'bytes', 'VMAs', 'mirrors' */
  readonly of: string;
}

export interface Workload {
  /** unique, and what musts name it by */
  readonly name: string;
  /** the table it stands in */
  readonly table: TableName;
  readonly pageSize: PageSize | null;
  /** part of `--quick` */
  readonly quick: boolean;
  /** where it stands on a curve; none: it is alone */
  readonly size?: Size;
  /** Throws HmmError (ENOMEM) where the machine is too small for it. */
  setup(context: BenchContext): Promise<Work>;
}

/** The tables, in the order in which they are shown, and what a row of each is. */
export const TABLES = {
  walk: 'walk alone: every entry of the range is looked at, no word written',
  fill: 'walk + fill: a pfn word for every page of the range',
  translate: 'one address to its frame, pages picked at random',
  share: 'ranges walked by Workers beside each other: CPU time of the one that took longest',
  populate: 'page tables filled with leaves',
  change: 'leaves changed in place; time against a memset of the tables',
  fault: 'faults: DAX through hmm_range_fault on warm tables, allocated extents, no content touched; and the CPU\'s own, one byte a page',
  pagemap: 'walk + fill beside the running kernel\'s /proc/self/pagemap, which does more: read it as "than the interface a user has"',
  vma: 'areas: found, split and merged, made and removed, among few and among many',
  notifier: 'notifiers: many told of one page; one page among many ranges',
  device: 'a device reads and writes what it mirrors, its table warm',
  write: 'writes into holes: blocks allocated, zeroed and written',
  trace: 'memory traces replayed: lackey text from a plain file, TLBs, walks and faults; the rate is of accesses',
  machine: 'machines: made while others live, reset after 64 KiB were touched, and a scenario on one of its own',
  explore: 'schedules of a model, complete, under the checks, the machine reset in between',
  fsx: 'the file system exerciser: 256 KiB file, default mix, operations up to 4 KiB, one process',
  scheduler: 'an empty path: generators in a row that never sleep; and tasks that take turns',
} as const;

export type TableName = keyof typeof TABLES;
export const TABLE_NAMES = Object.keys(TABLES) as readonly TableName[];
