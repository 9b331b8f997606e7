/**
 * Populate: page tables filled with leaves, as `PageTable.map` does it.
 *
 * 1 TiB at 4K is mapped once in an arena that nobody touched before, which is what a user pays: the kernel below hands out 2 GiB of zeroed
 * memory meanwhile, and that takes most of the time. The warm rows map the same range again and again in an arena of their own, beside
 * a memset of as many bytes.
 */
import { HmmError } from '../../errno.ts';
import { GiB, PAGE_SIZES, TiB, type PageSize } from '../../units.ts';
import { bytesName } from '../hmm/walks.ts';
import type { BenchContext, Contender, Work, Workload } from '../workload.ts';
import { Space, memsetOf } from './space.ts';

const TIB_PAGES = TiB / 4096;

/** Tables of 2 MiB stay in a cache, those of 32 MiB hardly, those of 128 MiB do not. */
const WARM: readonly (readonly [PageSize, number])[] = [['4K', GiB], ['4K', 64 * GiB], ['2M', 512 * GiB], ['2M', 8 * TiB]];

/** Run before memory was handed out and taken back: what the kernel has to give is a third as fast afterwards. */
export const firstTouchWorkloads: readonly Workload[] = [{ name: 'populate 4K, 1 TiB, first touch', table: 'populate', pageSize: '4K', quick: false, setup: () => firstTouchWork() }];

export const populateWorkloads: readonly Workload[] = WARM.map(([pageSize, range]) => ({
  name: `populate ${pageSize}, ${bytesName(range)}, warm`,
  table: 'populate',
  pageSize,
  quick: false,
  size: { curve: `populate ${pageSize}, warm`, at: range, of: 'bytes' },
  setup: (context) => populateWork(pageSize, range, context),
}));

/** One sample and no more: a second would find the memory there. Throws ENOMEM where the tables would not fit the host. */
async function firstTouchWork(): Promise<Work> {
  const space = await Space.create(TIB_PAGES);
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
  const npages = range / 4096;
  const space = await Space.create(npages / PAGE_SIZES[pageSize].npages);
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
