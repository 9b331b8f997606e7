/**
 * One address to its frame as embedders get it: through the public objects. A software TLB's miss.
 *
 * `space.translator()` is the row that counts: a function of page numbers. Beside it the same of a mirror's own table, the forms with
 * addresses (bigint), and one N-API call a page. Pages are drawn at random from 1 GiB; all answers are held against the frames mapped.
 */
import { ACCESS_READ, LEVEL_PTE, PTE_ACCESSED, PTE_DIRTY, PTE_PRESENT, PTE_PSE, PTE_RW, PTE_SPECIAL, PTE_USER } from '../../abi.ts';
import { createMachine, createMirror } from '../../api/index.ts';
import { HmmError } from '../../errno.ts';
import { HI_NX, type PageTable } from '../../pgtable/index.ts';
import { Random } from '../../sched/index.ts';
import { GiB, LEVEL_SIZES, PAGE_SIZES, TiB, addrOf, type PageSize } from '../../units.ts';
import { missingReason } from '../hmm/walks.ts';
import { ownFunction } from '../loop.ts';
import type { BenchContext, Contender, Work, Workload } from '../workload.ts';

const RANGE_PAGES = GiB / 4096;
const FIRST_VPN = TiB / 4096;
const ADDRESSES = 4096;
const SEED = 1n;

export const translatorWorkloads: readonly Workload[] = LEVEL_SIZES.map((pageSize) => ({
  name: translatorsName(pageSize),
  table: 'translate',
  pageSize,
  quick: true,
  setup: (context) => translatorsWork(pageSize, context),
}));

export function translatorsName(pageSize: PageSize): string {
  return `translate ${pageSize}, 1 GiB, through the API`;
}

export async function translatorsWork(pageSize: PageSize, context: BenchContext): Promise<Work> {
  const machine = await createMachine({ profile: 'lab', native: 'off' });
  const space = machine.mm({ name: 'bench' });
  const mirror = createMirror(space);
  const { core } = machine;
  const firstPfn = core.newFileSystem('bench', RANGE_PAGES, 'ext4').pgmap.basePfn;
  const table = space.mm.pageTable;
  for (const one of [table, mirror.device.table]) map(one, pageSize, firstPfn, core.platform.devmapHi + HI_NX);
  const random = new Random(SEED);
  const vpns = Float64Array.from({ length: ADDRESSES }, () => FIRST_VPN + random.below(RANGE_PAGES));
  const addrs = BigUint64Array.from(vpns, (vpn) => addrOf(vpn));
  const check = (frameAt: (i: number) => number) => (): string | null => {
    const at = vpns.findIndex((vpn, i) => frameAt(i) !== firstPfn + (vpn - FIRST_VPN));
    return at < 0 ? null : `differs at word ${at}`;
  };
  const byPage = (name: string, translate: (vpn: number) => number): Contender => ({
    name,
    check: check((i) => translate(vpns[i] as number)),
    run: loop(`${pageSize} ${name}`, vpns, 'sum += translate(vpns[i]);', translate),
  });
  const byAddress = (name: string, translate: (addr: bigint) => bigint | null): Contender => ({
    name,
    check: check((i) => Number(translate(addrs[i] as bigint) ?? -1n) / 4096),
    run: loop(`${pageSize} ${name}`, addrs, 'if (translate(addrs[i]) === null) sum += NaN;', translate),
  });
  const napi = context.native?.translator ?? null;
  return {
    unit: 'address',
    unitsPerRun: ADDRESSES,
    contenders: [
      byPage('translator()', space.translator()),
      { ...byPage('null', space.translator()), isNull: true },
      byPage('mirror.translator()', mirror.translator('r')),
      byAddress('translate(bigint)', (addr) => space.translate(addr)),
      byAddress('mirror.translate(bigint)', (addr) => mirror.translate(addr, 'r')),
      napi === null
        ? { name: 'N-API', missing: missingReason(context), run: () => {} }
        : byPage('N-API', napi(core.platform.arena.u8, table.root, table.levels, ACCESS_READ)),
    ],
    against: ['N-API'],
    dispose: () => machine.dispose(),
  };
}

function map(table: PageTable, pageSize: PageSize, pfn: number, flagsHi: number): void {
  const { level } = PAGE_SIZES[pageSize];
  const lo = PTE_PRESENT | PTE_RW | PTE_USER | PTE_ACCESSED | PTE_DIRTY | (level === LEVEL_PTE ? PTE_SPECIAL : PTE_PSE);
  const done = table.map(FIRST_VPN, pfn, RANGE_PAGES, level, lo, flagsHi);
  if (done < RANGE_PAGES) throw new HmmError('ENOMEM', 'bench', `the arena holds tables for ${done} of ${RANGE_PAGES} pages`);
}

/** A loop over all addresses around `body`, in a text of its own. */
function loop(label: string, values: Float64Array | BigUint64Array, body: string, translate: unknown): (times: number) => void {
  const name = values instanceof Float64Array ? 'vpns' : 'addrs';
  const text = `return (times) => { let sum = 0; for (let t = 0; t < times; t++) for (let i = 0; i < ${name}.length; i++) { ${body} } return sum; }`;
  const run = ownFunction<(...given: readonly unknown[]) => (times: number) => number>(`api ${label}`, [name, 'translate'], text)(values, translate);
  return (times) => {
    if (Number.isNaN(run(times))) throw new HmmError('EIO', 'bench', 'a page has no frame');
  };
}
