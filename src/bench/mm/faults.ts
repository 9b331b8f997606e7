/**
 * CPU faults: a store or load of one byte a page into memory that has no entry yet: anonymous, shared with a child until it writes (CoW), DAX private and
 * shared, at the sizes there are. `madvise(DONTNEED)`, or the child's end, untimed in between.
 */
import { createMachine, type AddressSpace, type Machine } from '../../api/index.ts';
import { GiB, MiB, PAGE_SIZES, type PageSize } from '../../units.ts';
import type { Contender, Work, Workload } from '../workload.ts';

export interface CpuFaultSpec {
  readonly name: string;
  readonly memory: 'anon' | 'fork' | 'dax private' | 'dax';
  readonly write: boolean;
  readonly pageSize: PageSize;
  readonly faults: number;
}

export const CPU_FAULTS: readonly CpuFaultSpec[] = [
  { name: 'CPU fault 4K, anonymous, read', memory: 'anon', write: false, pageSize: '4K', faults: 1024 },
  { name: 'CPU fault 4K, anonymous, write', memory: 'anon', write: true, pageSize: '4K', faults: 1024 },
  { name: 'CPU fault 4K, CoW after fork', memory: 'fork', write: true, pageSize: '4K', faults: 1024 },
  { name: 'CPU fault 4K, DAX private, write', memory: 'dax private', write: true, pageSize: '4K', faults: 1024 },
  ...(['4K', '2M', '1G'] as const).flatMap((pageSize) => [false, true].map((write): CpuFaultSpec => ({
    name: `CPU fault ${pageSize}, DAX, ${write ? 'write' : 'read'}`, memory: 'dax', write, pageSize, faults: pageSize === '4K' ? 1024 : pageSize === '2M' ? 512 : 16,
  }))),
];

const WARMUP_MS = 300;
const ONE = Uint8Array.of(1);

export const cpuFaultWorkloads: readonly Workload[] = CPU_FAULTS.map((spec) => ({ name: spec.name, table: 'fault', pageSize: spec.pageSize, quick: false, setup: () => cpuFaultWork(spec) }));

export async function cpuFaultWork(spec: CpuFaultSpec): Promise<Work> {
  const machine = await createMachine({ profile: 'lab', native: 'off' });
  const scene = new Scene(spec, machine);
  return {
    unit: 'fault', unitsPerRun: spec.faults, contenders: [scene.contender('walker'), { ...scene.contender('null'), isNull: true }], against: ['walker'], single: true, warmupMs: WARMUP_MS,
    dispose: () => machine.dispose(),
  };
}

class Scene {
  readonly #spec: CpuFaultSpec;
  readonly #machine: Machine;
  readonly #parent: AddressSpace;
  readonly #start: bigint;
  readonly #length: number;
  readonly #addresses: readonly bigint[];
  /** who faults: the space, or its latest child */
  #space: AddressSpace;

  constructor(spec: CpuFaultSpec, machine: Machine) {
    this.#spec = spec;
    this.#machine = machine;
    const stride = PAGE_SIZES[spec.pageSize].npages * 4096;
    this.#length = Math.max(spec.faults * stride, 2 * MiB);
    this.#parent = machine.mm();
    this.#space = this.#parent;
    const smallPages = spec.pageSize === '4K';
    const file = spec.memory.startsWith('dax') ? machine.pmem({ size: this.#length + GiB }).file('bench', { size: this.#length, extent: spec.pageSize }) : null;
    this.#start = this.#parent.mmap(file, { length: this.#length, smallPages, ...(spec.memory === 'dax private' ? { shared: false } : {}) }).start;
    this.#addresses = Array.from({ length: spec.faults }, (_, i) => this.#start + BigInt(i * stride));
    if (spec.memory === 'fork') for (const addr of this.#addresses) this.#parent.store(addr, ONE);
  }

  contender(name: string): Contender {
    return { name, check: () => this.#check(), before: () => this.#drop(), run: () => this.#fault() };
  }

  #fault(): void {
    const space = this.#space;
    if (this.#spec.write) for (const addr of this.#addresses) space.store(addr, ONE);
    else for (const addr of this.#addresses) space.load(addr, 1);
  }

  /** Takes the entries away; a new child has the parent's, read-only. */
  #drop(): void {
    if (this.#spec.memory !== 'fork') return this.#space.madvise(this.#start, this.#length, 'dontneed');
    if (this.#space !== this.#parent) this.#space.exit();
    this.#space = this.#parent.fork();
  }

  #check(): string | null {
    this.#drop();
    const before = this.#machine.counts.faults;
    this.#fault();
    const faulted = this.#machine.counts.faults - before;
    return faulted === this.#spec.faults ? null : `takes ${faulted} faults for ${this.#spec.faults}`;
  }
}
