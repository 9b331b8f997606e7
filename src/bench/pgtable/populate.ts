/**
 * Populate: page tables filled with leaves, as `PageTable.map` does it.
 *
 * 1 TiB at 4K is mapped once in an arena that nobody touched before, which is what a user pays: the kernel below hands out 2 GiB of zeroed
 * memory meanwhile, and that takes most of the time. The warm rows map the same range again and again in an arena of their own, beside
 * a memset of as many bytes.
 */
import { freemem } from 'node:os';
import { PTE_ACCESSED, PTE_PRESENT, PTE_PSE, PTE_RW, PTE_USER, FRAMES, LEVEL_PTE } from '../../abi.ts';
import { HmmError } from '../../errno.ts';
import { MachineCore } from '../../machine.ts';
import { DEVICE_BASE_PFN } from '../../page/index.ts';
import { PageTable } from '../../pgtable/index.ts';
import { profileOf } from '../../profile/index.ts';
import { GiB, PAGE_SIZES, TiB, type PageSize } from '../../units.ts';
import { missingReason } from '../hmm/walks.ts';
import type { BenchContext, Contender, Work, Workload } from '../workload.ts';

const START_VPN = TiB / 4096;
const TIB_PAGES = TiB / 4096;
/** tables, and room for the rest of the host */
const HOST_BYTES_MIN = 3 * GiB;

export const populateWorkloads: readonly Workload[] = [
  { name: 'populate 4K, 1 TiB, first touch', table: 'populate', pageSize: '4K', quick: false, setup: () => firstTouchWork() },
  { name: 'populate 4K, 64 GiB, warm', table: 'populate', pageSize: '4K', quick: false, setup: (context) => populateWork('4K', 64 * GiB, context) },
  { name: 'populate 2M, 8 TiB, warm', table: 'populate', pageSize: '2M', quick: false, setup: (context) => populateWork('2M', 8 * TiB, context) },
];

class Space {
  readonly core: MachineCore;
  table: PageTable;

  private constructor(core: MachineCore) {
    this.core = core;
    this.table = new PageTable(core.platform.arena, 4);
  }

  static async create(): Promise<Space> {
    return new Space(await MachineCore.create({ arena: {}, profile: profileOf('lab'), bugs: [], seed: 1n, ramPages: 1, levels: 4 }));
  }

  /** An empty table in an arena whose frames are all free again. */
  clear(): void {
    this.core.reset();
    this.table = new PageTable(this.core.platform.arena, 4);
  }

  /** Throws ENOMEM where the arena is too small. */
  map(npages: number, pageSize: PageSize): void {
    const { level } = PAGE_SIZES[pageSize];
    const lo = PTE_PRESENT | PTE_RW | PTE_USER | PTE_ACCESSED | (level === LEVEL_PTE ? 0 : PTE_PSE);
    const done = this.table.map(START_VPN, DEVICE_BASE_PFN, npages, level, lo, this.core.platform.devmapHi);
    if (done !== npages) throw new HmmError('ENOMEM', 'bench', `the arena holds tables for ${done} of ${npages} pages`);
  }

  /** Are the first, some in the middle and the last page mapped to their frames? */
  check(npages: number): string | null {
    for (const at of [0, 1, 511, 512, npages / 2 + 3, npages - 1]) {
      const pfn = this.table.translate(START_VPN + at, 0);
      if (pfn !== DEVICE_BASE_PFN + at) return `page ${at} is mapped to ${pfn}`;
    }
    return null;
  }

  get tableBytes(): number {
    return this.table.frames * 4096;
  }
}

/** One sample and no more: a second would find the memory there. Throws ENOMEM where the tables would not fit the host. */
async function firstTouchWork(): Promise<Work> {
  if (freemem() < HOST_BYTES_MIN) throw new HmmError('ENOMEM', 'bench', `needs ${HOST_BYTES_MIN / GiB} GiB of free memory, there are ${(freemem() / GiB).toFixed(1)}`);
  const space = await Space.create();
  let arenaTableBytes = 0;
  const walker: Contender = {
    name: 'walker',
    run: () => {
      space.map(TIB_PAGES, '4K');
      const wrong = space.check(TIB_PAGES);
      if (wrong !== null) throw new HmmError('EIO', 'bench', wrong);
      arenaTableBytes = space.core.platform.arena.usage.tableBytes;
    },
  };
  return {
    unit: 'entry',
    unitsPerRun: TIB_PAGES,
    contenders: [walker],
    against: ['memset'],
    single: true,
    warmupMs: 0,
    rounds: 1,
    sizes: () => ({ tableBytes: arenaTableBytes }),
    dispose: () => space.core.reset(),
  };
}

/** `range` bytes mapped over and over. Throws ENOMEM. */
export async function populateWork(pageSize: PageSize, range: number, context: BenchContext): Promise<Work> {
  const space = await Space.create();
  const npages = range / 4096;
  const map = (): void => space.map(npages, pageSize);
  map();
  const tableBytes = space.tableBytes;
  const leaves = npages / PAGE_SIZES[pageSize].npages;
  const mapping = (name: string): Contender => ({
    name,
    check: () => {
      space.clear();
      map();
      return space.check(npages);
    },
    before: () => space.clear(),
    run: map,
  });
  return {
    unit: 'entry',
    unitsPerRun: leaves,
    contenders: [mapping('walker'), { ...mapping('null'), isNull: true }, memsetOf(space, tableBytes, context)],
    against: ['memset'],
    single: true,
    model: { leaves, tableBytes, entries: null },
  };
}

/** Stores alone, over as many bytes as the tables have. It destroys them: whoever maps next clears first. */
function memsetOf(space: Space, tableBytes: number, context: BenchContext): Contender {
  const { native } = context;
  if (native === null) return { name: 'memset', missing: missingReason(context), run: () => {} };
  const { u8 } = space.core.platform.arena;
  return { name: 'memset', before: () => space.clear(), run: () => native.memset(u8, FRAMES, tableBytes, 0) };
}
