/**
 * Workers: a range walked by two threads, half each, and by one, all of it; all words are filled. CPU time of the thread that takes
 * longer, so that what else the machine does counts little; what stays is what the threads take from each other: caches, and memory.
 *
 * They walk as users' Workers do, by `attach()` and under the sequence protocol, through windows of 512 KiB. `owner` is the same walk in
 * the owner's thread, without it. Every thread's words are held against the frames that were mapped before anything is timed.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { PTE_ACCESSED, PTE_DIRTY, PTE_PRESENT, PTE_PSE, PTE_RW, PTE_SPECIAL, PTE_USER, LEVEL_PTE } from '../../abi.ts';
import { attach } from '../../api/attach.ts';
import { createMachine, type Machine } from '../../api/machine.ts';
import { HmmError } from '../../errno.ts';
import { HMM_PFN_VALID, HMM_PFN_WRITE } from '../../hmm/index.ts';
import { HI_NX } from '../../pgtable/index.ts';
import { GiB, PAGE_SIZES, TiB, type PageSize } from '../../units.ts';
import type { WordPattern } from '../verify.ts';
import type { BenchContext, Contender, Work, Workload } from '../workload.ts';
import type { WalkOrder, WalkReply, WalkThreadData } from './walkThread.ts';

const START = BigInt(TiB);
const NAME = 'bench';
const THREADS = 2;

export interface WorkersSpec {
  readonly pageSize: PageSize;
  readonly range: number;
}

export const WORKER_WALKS: readonly WorkersSpec[] = [GiB, 64 * GiB].map((range) => ({ pageSize: '4K', range }));

export const workerWorkloads: readonly Workload[] = WORKER_WALKS.map((spec) => ({
  name: workersName(spec),
  table: 'share',
  pageSize: spec.pageSize,
  quick: false,
  setup: (context) => workersWork(spec, context),
}));

export function workersName({ pageSize, range }: WorkersSpec): string {
  return `fill ${pageSize}, ${range / GiB} GiB, two Workers`;
}

/** Maps the range, starts the threads and has each look at all its words. Throws ENOMEM, EIO for wrong words. */
export async function workersWork({ pageSize, range }: WorkersSpec, context: BenchContext): Promise<Work> {
  const machine = await createMachine({ profile: 'lab', native: 'off' });
  const pattern = mapRange(machine, pageSize, range);
  const handle = machine.share({ workers: THREADS + 1 });
  const threads = Array.from({ length: THREADS }, () => new Thread({ handle, name: NAME, pattern, start: START }));
  const half = range / THREADS;
  const halves = threads.map((_, i) => START + BigInt(i * half));
  const wrong = [await threads[0]?.check(START, range), await threads[1]?.check(halves[1] as bigint, half)].find((text) => text !== null);
  const check = (): string | null => wrong ?? null;
  const missing = context.native === null ? { missing: `no CPU time of other threads without the native addon: ${context.nativeReason}` } : {};
  const both = async (times: number): Promise<number> => Math.max(...(await Promise.all(threads.map((thread, i) => thread.walk(halves[i] as bigint, half, times)))));
  const own = attach(handle).table(NAME);
  const contenders: Contender[] = [
    { name: 'two Workers', check, run: both, ...missing },
    { name: 'null', check, run: both, isNull: true, ...missing },
    { name: 'one Worker', check, run: async (times) => threads[0]?.walk(START, range, times), ...missing },
    {
      name: 'in this thread',
      run: (times) => {
        for (let t = 0; t < times; t++) for (const { pfns } of own.walk(START, range)) if (pfns.length === 0) return;
      },
    },
  ];
  return {
    unit: 'page',
    unitsPerRun: range / 4096,
    contenders,
    against: ['one Worker'],
    outputBytesPerRun: (range / 4096) * 8,
    dispose: () => {
      for (const thread of threads) thread.end();
      machine.dispose();
    },
  };
}

/** A process with the range mapped to frames of a device in a row; how its words look. */
function mapRange(machine: Machine, pageSize: PageSize, range: number): WordPattern {
  const { level } = PAGE_SIZES[pageSize];
  const { core } = machine;
  const firstPfn = core.newFileSystem(NAME, range / 4096, 'ext4').pgmap.basePfn;
  machine.mm({ name: NAME });
  const { pageTable } = core.mms[0] as (typeof core.mms)[number];
  const lo = PTE_PRESENT | PTE_RW | PTE_USER | PTE_ACCESSED | PTE_DIRTY | (level === LEVEL_PTE ? PTE_SPECIAL : PTE_PSE);
  const done = pageTable.map(Number(START) / 4096, firstPfn, range / 4096, level, lo, core.platform.devmapHi + HI_NX);
  if (done < range / 4096) throw new HmmError('ENOMEM', 'bench', `the arena holds tables for ${done} of ${range / 4096} pages`);
  const orderShift = BigInt(core.platform.profile.hmmOrderShift);
  const flags = HMM_PFN_VALID | HMM_PFN_WRITE | (level === LEVEL_PTE ? 0n : BigInt(PAGE_SIZES[pageSize].order) << orderShift);
  return { flagsLo: Number(flags & 0xffffffffn), flagsHi: Number(flags >> 32n), firstPfn, pfnShift: 0 };
}

/** A Worker, as who gives it orders sees it. One order at a time. */
class Thread {
  readonly #worker: Worker;

  constructor(data: WalkThreadData) {
    this.#worker = new Worker(new URL('walkThread.js', import.meta.url), { workerData: data });
    this.#worker.unref();
  }

  /** CPU ns that the walks took. */
  async walk(addr: bigint, length: number, times: number): Promise<number> {
    const reply = await this.#tell({ addr, length, times });
    if ('ns' in reply) return reply.ns;
    throw new HmmError('EIO', 'bench', reply.wrong ?? 'the Worker says nothing');
  }

  async check(addr: bigint, length: number): Promise<string | null> {
    const reply = await this.#tell({ addr, length, times: 0 });
    return 'wrong' in reply ? reply.wrong : null;
  }

  end(): void {
    void this.#worker.terminate();
  }

  async #tell(order: WalkOrder): Promise<WalkReply> {
    this.#worker.ref();
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a Worker has none
    this.#worker.postMessage(order);
    const [reply] = (await once(this.#worker, 'message')) as [WalkReply];
    this.#worker.unref();
    return reply;
  }
}
