/**
 * The ground of table benches: one space in an arena of its own, mapped to a device's frames in leaves of one size.
 *
 * What tables cost is set in relation to a memset of as many bytes elsewhere in the arena. It writes a byte that is not zero: some
 * processors write zeros to memory twice as fast as anything else, and entries are not zero.
 */
import { freemem } from 'node:os';
import { PTE_ACCESSED, PTE_DIRTY, PTE_PRESENT, PTE_PSE, PTE_RW, PTE_USER, LEVEL_PTE } from '../../abi.ts';
import { HmmError } from '../../errno.ts';
import { MachineCore } from '../../machine.ts';
import { DEVICE_BASE_PFN } from '../../page/index.ts';
import { PageTable } from '../../pgtable/index.ts';
import { profileOf } from '../../profile/index.ts';
import { GiB, MiB, PAGE_SIZES, TiB, type PageSize } from '../../units.ts';
import { missingReason } from '../hmm/walks.ts';
import type { BenchContext, Contender } from '../workload.ts';

export const START_VPN = TiB / 4096;
/** for the rest of the host */
const HOST_BYTES_LEFT = GiB;
const FILL_BYTE = 0xa5;
const MEMSET_BYTES_MAX = 128 * MiB;

export class Space {
  readonly core: MachineCore;
  table: PageTable;

  private constructor(core: MachineCore) {
    this.core = core;
    this.table = new PageTable(core.platform.arena, 4);
  }

  /** For `leaves` mapped. Throws ENOMEM where the tables would not fit the host. */
  static async create(leaves: number): Promise<Space> {
    const need = leaves * 8 + HOST_BYTES_LEFT;
    if (leaves >= TiB / 4096 && freemem() < need) throw new HmmError('ENOMEM', 'bench', `needs ${(need / GiB).toFixed(1)} GiB of free memory, there are ${(freemem() / GiB).toFixed(1)}`);
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
    const lo = PTE_PRESENT | PTE_RW | PTE_USER | PTE_ACCESSED | PTE_DIRTY | (level === LEVEL_PTE ? 0 : PTE_PSE);
    const done = this.table.map(START_VPN, DEVICE_BASE_PFN, npages, level, lo, this.core.platform.devmapHi);
    if (done !== npages) throw new HmmError('ENOMEM', 'bench', `the arena holds tables for ${done} of ${npages} pages`);
  }

  /** Are the first, some in the middle and the last page mapped to their frames? */
  check(npages: number): string | null {
    for (const at of [0, 1, 511, 512, npages / 2 + 3, npages - 1].filter((page) => page < npages)) {
      const pfn = this.table.translate(START_VPN + at, 0);
      if (pfn !== DEVICE_BASE_PFN + at) return `page ${at} is mapped to ${pfn}`;
    }
    return null;
  }

  get tableBytes(): number {
    return this.table.frames * 4096;
  }
}

/** Stores alone, of as many bytes as the tables have. */
export function memsetOf(space: Space, tableBytes: number, context: BenchContext): Contender {
  const { native } = context;
  const name = 'memset';
  if (native === null) return { name, missing: missingReason(context), run: () => {} };
  const { u8 } = space.core.platform.arena;
  // Tables of 1 TiB leave no room for as many bytes beside them: more than any cache holds, as often as needed, costs the same.
  const length = Math.min(tableBytes, MEMSET_BYTES_MAX);
  // At the far end of the arena: tables come from the near one, and a space that is cleared takes no block away.
  const offset = u8.length - length;
  const run = (times: number): void => {
    for (let left = times * tableBytes; left > 0; left -= length) native.memset(u8, offset, Math.min(left, length), FILL_BYTE);
  };
  return { name, run };
}
