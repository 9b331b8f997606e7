/**
 * The stress of shared tables: the owner changes mappings at random, and keeps a shadow of what each page's truth was and when; Workers
 * (shareStressWorker.mjs) read, and hold every answer against the shadow. What is right here was computed by the owner alone, from its
 * own table, between operations.
 *
 * The shadow of a page: a version, odd while an operation that may change it runs, and of each settled version (even / 2) the frame for
 * reading, the frame for writing (-1: none), and the first four bytes behind it. The last HISTORY of them.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { MiB, createMachine, type AddressSpace, type BugSwitch, type DaxFile } from '../../dist/index.js';
import { Random } from '../../dist/sched/index.js';

export const HISTORY = 16;
/** pages of the parts: a DAX file in 4K entries, one in 2M entries, memory of the process's own */
const PARTS = { small: 192, huge: 512, own: 64 } as const;
type Part = keyof typeof PARTS;
const BASES: Record<Part, bigint> = { small: 0x1000_1000n, huge: 0x4000_0000n, own: 0x8000_0000n };
const PAGES = PARTS.small + PARTS.huge + PARTS.own;
const FIRST: Record<Part, number> = { small: 0, huge: PARTS.small, own: PARTS.small + PARTS.huge };

export interface Stressed {
  readonly operations: number;
  /** answers held against the shadow; of them such that an operation ran beside */
  readonly checked: number;
  readonly contended: number;
  /** walks whose words were found stale afterwards */
  readonly stale: number;
  readonly retries: number;
  readonly faults: number;
  /** what was wrong, at most a few */
  readonly wrong: readonly string[];
}

class Owner {
  readonly shadow = new SharedArrayBuffer(PAGES * (4 + HISTORY * 20) + 64);
  /** [0] stop, [1] Workers that run, [2] things found wrong, [3] operations */
  readonly control = new Int32Array(this.shadow, 0, 16);
  readonly versions = new Int32Array(this.shadow, 64, PAGES);
  readonly tags = new Uint32Array(this.shadow, 64 + PAGES * 4, PAGES * HISTORY);
  readonly frames = new Float64Array(this.shadow, 64 + PAGES * (4 + 4 * HISTORY), PAGES * HISTORY * 2);
  readonly #random: Random;
  readonly #files: Record<'small' | 'huge', DaxFile>;
  readonly #machine: Awaited<ReturnType<typeof createMachine>>;
  readonly mm: AddressSpace;
  operations = 0;
  #stamp = 1;
  readonly #bytes = new Uint8Array(4);

  constructor(machine: Awaited<ReturnType<typeof createMachine>>, seed: bigint) {
    this.#machine = machine;
    this.#random = new Random(seed);
    const pmem = machine.pmem({ size: 64 * MiB });
    this.#files = { small: pmem.file('small', { size: PARTS.small * 4096 }), huge: pmem.file('huge', { size: PARTS.huge * 4096 }) };
    this.mm = machine.mm({ name: 'app' });
    this.mm.mmap(this.#files.small, { length: PARTS.small * 4096, at: BASES.small, fixed: 'fixed' });
    this.mm.mmap(this.#files.huge, { length: PARTS.huge * 4096, at: BASES.huge, fixed: 'fixed' });
    this.mm.mmap(null, { length: PARTS.own * 4096, at: BASES.own, fixed: 'fixed' });
    for (let page = 0; page < PAGES; page++) this.#settle(page);
  }

  /** One operation, and the shadow of what it may touch before and after. */
  step(): void {
    const part = (['small', 'small', 'huge', 'own'] as const)[this.#random.below(4)] as Part;
    const first = this.#random.below(PARTS[part]);
    const count = 1 + this.#random.below(Math.min(part === 'huge' ? 300 : 24, PARTS[part] - first));
    const kind = this.#random.below(part === 'own' ? 6 : 10);
    // Huge entries go whole, files change as a whole, fork protects all that is private.
    const all = part === 'huge' || kind > 5 || (part === 'own' && kind === 5);
    this.#around(FIRST[part] + (all ? 0 : first), all ? PARTS[part] : count, () => this.#operate(part, kind, first, count));
    this.operations++;
  }

  /** Requests of Workers: any page may change. */
  serve(): void {
    this.#around(0, PAGES, () => this.#machine.serve());
  }

  #operate(part: Part, kind: number, first: number, count: number): void {
    const { mm } = this;
    const addr = BASES[part] + BigInt(first) * 4096n;
    const length = count * 4096;
    const file = part === 'own' ? null : this.#files[part];
    try {
      if (kind === 0) mm.madvise(addr, length, 'dontneed');
      else if (kind === 1) mm.mprotect(addr, length, 'r');
      else if (kind === 2) mm.mprotect(addr, length, 'rw');
      else if (kind === 3) for (let i = 0; i < count; i++) mm.load(addr + BigInt(i) * 4096n, 1);
      else if (kind === 4 || kind === 9) for (let i = 0; i < Math.min(count, 24); i++) mm.store(addr + BigInt(i) * 4096n, this.#tag());
      else if (file === null) mm.fork().exit(); // what is shared for a while is copied at the next store
      else if (kind === 5) mm.mmap(file, { length, offset: first * 4096, at: addr, fixed: 'fixed' });
      else if (kind === 6) file.truncate(this.#random.below(2) === 0 ? first * 4096 : PARTS[part as 'small'] * 4096);
      else if (kind === 7) file.punch(first * 4096, length);
      else if (kind === 8) mm.munmap(addr, length);
    } catch (error) {
      // Beyond the end of a file, read only, unmapped: the shadow says what came of it.
      if ((error as { code?: string }).code === undefined) throw error;
    }
  }

  #tag(): Uint8Array {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, this.#stamp++, true);
    return bytes;
  }

  #around(first: number, count: number, body: () => void): void {
    for (let page = first; page < first + count; page++) Atomics.add(this.versions, page, 1);
    body();
    for (let page = first; page < first + count; page++) this.#settle(page);
    Atomics.add(this.control, 3, 1);
    Atomics.notify(this.control, 3);
  }

  /** The truth by the owner's own table. */
  #settle(page: number): void {
    const part = (['own', 'huge', 'small'] as const).find((name) => page >= FIRST[name]) as Part;
    const vpn = Number(BASES[part] / 4096n) + page - FIRST[part];
    const { pageTable } = this.mm.mm;
    const [read, write] = [pageTable.translate(vpn, 0), pageTable.translate(vpn, 1)];
    const version = (this.versions[page] as number) + 1;
    const at = page * HISTORY + ((version >> 1) % HISTORY);
    const bytes = this.#bytes.fill(0);
    if (read >= 0) this.#machine.core.platform.arena.content.read(read * 4096, bytes, 0, 4);
    this.frames[at * 2] = Math.max(read, -1);
    this.frames[at * 2 + 1] = Math.max(write, -1);
    this.tags[at] = new DataView(bytes.buffer).getUint32(0, true);
    Atomics.store(this.versions, page, version & ~1);
  }
}

/** Runs the stress for `ms` with two Workers, or until something is wrong. */
export async function stressShared(options: { seed: bigint; ms: number; bugs?: readonly BugSwitch[] }): Promise<Stressed> {
  const { seed, ms, bugs = [] } = options;
  const machine = await createMachine({ arena: 64 * MiB, ram: 64 * MiB, native: 'off', bugs });
  const owner = new Owner(machine, seed);
  const { control } = owner;
  const handle = machine.share({ workers: 2 });
  const places = (['small', 'huge', 'own'] as const).map((part) => ({ base: BASES[part], first: FIRST[part], pages: PARTS[part] }));
  const workers = [1, 2].map((number) => new Worker(new URL('shareStressWorker.mjs', import.meta.url), { workerData: { handle, shadow: owner.shadow, pages: PAGES, history: HISTORY, places, seed: seed + BigInt(number) } }));
  const reports = workers.map(async (worker) => ((await once(worker, 'message')) as [Omit<Stressed, 'operations'>])[0]);
  while (Atomics.load(control, 1) < workers.length) await new Promise((resolve) => setTimeout(resolve, 5));
  const end = performance.now() + ms;
  while (performance.now() < end && Atomics.load(control, 2) === 0) {
    for (let i = 0; i < 32; i++) owner.step();
    owner.serve();
  }
  Atomics.store(control, 0, 1);
  const answering = setInterval(() => owner.serve(), 5);
  const found = await Promise.all(reports);
  clearInterval(answering);
  await Promise.all(workers.map((worker) => worker.terminate()));
  machine.dispose();
  const sum = (key: 'checked' | 'contended' | 'stale' | 'retries' | 'faults'): number => found.reduce((total, report) => total + report[key], 0);
  return {
    operations: owner.operations, checked: sum('checked'), contended: sum('contended'), stale: sum('stale'), retries: sum('retries'), faults: sum('faults'), wrong: found.flatMap(({ wrong }) => wrong),
  };
}

