/**
 * DAX faults: what a device's first touch costs, from `range.fault()` down to the file's own handler and back.
 *
 * Warm: the file's extents are allocated, its DAX entries made and the tables in place; each sample faults everything in, and before the
 * next madvise(DONTNEED) takes the leaves away again, untimed. No content is touched. Everything runs in JavaScript but the walks, so
 * it gets more time to be compiled. What was faulted is compared with the file's extents first.
 */
import { createMachine, createMirror, type AddressSpace, type DaxFile, type ExtentInfo, type Machine, type Mapping, type Mirror, type MirrorRange } from '../../api/index.ts';
import { GiB, MiB, PAGE_SIZES, type PageSize } from '../../units.ts';
import type { Contender, Work, Workload } from '../workload.ts';

export interface FaultSpec {
  readonly name: string;
  readonly pageSize: PageSize;
  /** ranges faulted one after the other */
  readonly ranges: number;
  /** bytes from one range's start to the next's */
  readonly stride: number;
  /** bytes of a range */
  readonly length: number;
  /** what one of the rate is */
  readonly unit: 'page' | 'leaf';
  readonly write: boolean;
}

const K4 = 4096;

/** All DAX fault paths. */
export const FAULTS: readonly FaultSpec[] = [
  { name: 'fault 4K, one call a page', pageSize: '4K', ranges: 1024, stride: K4, length: K4, unit: 'page', write: false },
  { name: 'fault 4K, one call a page, write', pageSize: '4K', ranges: 1024, stride: K4, length: K4, unit: 'page', write: true },
  { name: 'fault 4K, one call over 2 MiB', pageSize: '4K', ranges: 8, stride: 2 * MiB, length: 2 * MiB, unit: 'page', write: false },
  { name: 'fault 4K, one call over 2 MiB, write', pageSize: '4K', ranges: 8, stride: 2 * MiB, length: 2 * MiB, unit: 'page', write: true },
  { name: 'fault 2M, one call a leaf', pageSize: '2M', ranges: 512, stride: 2 * MiB, length: 2 * MiB, unit: 'leaf', write: false },
  { name: 'fault 2M, one call over 1 GiB', pageSize: '2M', ranges: 1, stride: GiB, length: GiB, unit: 'leaf', write: false },
  { name: 'fault 1G, one page of each leaf', pageSize: '1G', ranges: 64, stride: GiB, length: K4, unit: 'leaf', write: false },
];

const WARMUP_MS = 400;

export const faultWorkloads: readonly Workload[] = FAULTS.map((spec) => ({
  name: spec.name,
  table: 'fault',
  pageSize: spec.pageSize,
  quick: false,
  setup: () => faultWork(spec),
}));

/** Sets up a fault path: machine, file, mapping, mirror and its ranges. Throws ENOMEM, ENOSPC. */
export async function faultWork(spec: FaultSpec): Promise<Work> {
  const scene = await Scene.create(spec);
  scene.fault();
  const { faults } = scene;
  return {
    unit: spec.unit,
    unitsPerRun: faults,
    contenders: [scene.contender('walker'), { ...scene.contender('null'), isNull: true }],
    against: ['walker'],
    single: true,
    warmupMs: WARMUP_MS,
    model: { leaves: faults, tableBytes: scene.tableBytes, entries: null },
    dispose: () => scene.dispose(),
  };
}

class Scene {
  readonly #spec: FaultSpec;
  readonly #machine: Machine;
  readonly #file: DaxFile;
  readonly #space: AddressSpace;
  readonly #mapping: Mapping;
  readonly #mirror: Mirror;
  readonly #ranges: readonly MirrorRange[];

  private constructor(spec: FaultSpec, machine: Machine) {
    const size = spec.ranges * spec.stride;
    this.#spec = spec;
    this.#machine = machine;
    this.#file = machine.pmem({ size: size + GiB }).file('bench', { size, extent: spec.pageSize });
    this.#space = machine.mm();
    this.#mapping = this.#space.mmap(this.#file, { length: size, smallPages: spec.pageSize === '4K' });
    this.#mirror = createMirror(this.#space);
    this.#ranges = Array.from({ length: spec.ranges }, (_, i) => this.#mirror.range(this.#mapping.start + BigInt(i * spec.stride), spec.length, { write: spec.write }));
  }

  static async create(spec: FaultSpec): Promise<Scene> {
    return new Scene(spec, await createMachine({ profile: 'lab', native: 'off' }));
  }

  /** Leaves that one run faults in. */
  get faults(): number {
    const leaf = PAGE_SIZES[this.#spec.pageSize].npages * 4096;
    return this.#spec.ranges * Math.max(1, this.#spec.length / leaf);
  }

  get tableBytes(): number {
    return this.#space.tableBytes;
  }

  contender(name: string): Contender {
    return { name, check: () => this.#check(), before: () => this.#drop(), run: () => this.fault() };
  }

  fault(): void {
    for (const range of this.#ranges) range.fault();
  }

  dispose(): void {
    this.#machine.dispose();
  }

  #drop(): void {
    this.#space.madvise(this.#mapping.start, this.#mapping.length, 'dontneed');
  }

  /** Faults everything once: as many faults as leaves, each word the frame that the file's extents name. */
  #check(): string | null {
    this.#drop();
    const { order } = PAGE_SIZES[this.#spec.pageSize];
    const before = this.#machine.counts.faults;
    this.fault();
    const faulted = this.#machine.counts.faults - before;
    if (faulted !== this.faults) return `takes ${faulted} faults for ${this.faults} leaves`;
    const extents = this.#file.extents();
    let word = 0;
    for (const range of this.#ranges) {
      for (const { addr, valid, write, pfn, order: found } of range) {
        if (!valid || found !== order || write !== this.#spec.write || pfn !== frameAt(extents, Number(addr - this.#mapping.start))) return `differs at word ${word}`;
        word++;
      }
    }
    return null;
  }
}

/** The frame that holds byte `offset` of a file, or null in a hole. */
function frameAt(extents: readonly ExtentInfo[], offset: number): bigint | null {
  const extent = extents.find((one) => one.offset <= offset && offset < one.offset + one.length);
  return extent === undefined ? null : extent.pfn + BigInt((offset - extent.offset) / 4096);
}
