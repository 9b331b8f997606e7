/**
 * VMA operations among few and among many areas, up to vm.max_map_count: find, split and merge, mmap and munmap. Beside them the running kernel,
 * whose own process has as many.
 *
 * Areas are four anonymous pages each, writable and read-only in turn, so that no two merge. Nothing is touched: what is timed is the areas.
 */
import { createMachine, type AddressSpace, type Machine } from '../../api/index.ts';
import { InvariantError } from '../../errno.ts';
import { MAX_MAP_COUNT } from '../../mm/index.ts';
import { Random } from '../../sched/index.ts';
import { KERNEL, hostPart } from '../host.ts';
import { ownFunction } from '../loop.ts';
import type { BenchContext, Contender, Work, Workload } from '../workload.ts';

const AREA_PAGES = 4;
const COUNTS = [10, 100, 1000, 10_000];
/** a split makes two more, an mmap one */
const COUNT_MOST = MAX_MAP_COUNT - 2;
const FEW = 100;
const LOOKS = 4096;
const SEED = 1n;
const WARMUP_MS = 100;
const BASE = 0x1000_0000_0000n;
const PAGE = 4096n;

interface Call {
  /** what it is called in the workload's name */
  readonly name: string;
  readonly of: string;
  readonly countMost: number;
  work(areas: readonly Areas[], context: BenchContext): Work;
}

const CALLS: readonly Call[] = [
  { name: 'find', of: 'VMAs', countMost: MAX_MAP_COUNT, work: findWork },
  { name: 'split + merge', of: 'VMAs', countMost: COUNT_MOST, work: splitWork },
  { name: 'mmap + munmap', of: 'VMAs', countMost: COUNT_MOST, work: mapWork },
];

/** Each call at each count, then among most beside among a hundred: in one workload, so that their ratio is made within rounds. */
export const vmaWorkloads: readonly Workload[] = CALLS.flatMap((call) => [
  ...[...COUNTS, call.countMost].map((count): Workload => ({
    name: `${call.name}, ${count} VMAs`,
    table: 'vma',
    pageSize: null,
    quick: false,
    size: { curve: call.name, at: count, of: call.of },
    setup: (context) => setUp(call, [count], context),
  })),
  { name: `${call.name} among ${call.countMost} VMAs and among ${FEW}`, table: 'vma', pageSize: null, quick: false, setup: (context) => setUp(call, [call.countMost, FEW], context) },
]);

async function setUp(call: Call, counts: readonly number[], context: BenchContext): Promise<Work> {
  const areas = await Promise.all(counts.map((count) => Areas.create(count)));
  const work = call.work(areas, context);
  return {
    ...work,
    dispose: () => {
      work.dispose?.();
      for (const { machine } of areas) machine.dispose();
    },
  };
}

/** A space with so many areas. */
class Areas {
  readonly machine: Machine;
  readonly space: AddressSpace;
  readonly count: number;

  private constructor(machine: Machine, count: number) {
    this.machine = machine;
    this.space = machine.mm();
    this.count = count;
    const areaBytes = AREA_PAGES * 4096;
    for (let i = 0; i < count; i++) this.space.mmap(null, { length: areaBytes, prot: i % 2 === 0 ? 'rw' : 'r', at: BASE + BigInt(i * areaBytes), fixed: 'noreplace' });
    const wrong = this.check();
    if (wrong !== null) throw new InvariantError(wrong);
  }

  static async create(count: number): Promise<Areas> {
    return new Areas(await createMachine({ profile: 'lab', native: 'off' }), count);
  }

  check(): string | null {
    return this.space.mm.vmas.count === this.count ? null : `has ${this.space.mm.vmas.count} areas for ${this.count}`;
  }

  get name(): string {
    return `among ${this.count}`;
  }
}

/** The first is 'walker', and once more 'null'; others have the name of what they are among. */
function contenders(areas: readonly Areas[], make: (own: Areas, name: string) => Contender): Contender[] {
  const [first, ...others] = areas as [Areas, ...Areas[]];
  return [make(first, 'walker'), { ...make(first, 'null'), isNull: true }, ...others.map((own) => make(own, own.name))];
}

function againstOf(areas: readonly Areas[]): string[] {
  return areas.slice(1).map(({ name }) => name);
}

function findWork(areas: readonly Areas[], _context: BenchContext): Work {
  const make = (own: Areas, name: string): Contender => {
    const { vmas } = own.space.mm;
    const random = new Random(SEED);
    const vpns = Float64Array.from({ length: LOOKS }, () => Number(BASE / PAGE) + random.below(own.count * AREA_PAGES));
    const loop = ownFunction<(vmas: unknown, vpns: Float64Array) => (times: number) => number>(
      `find ${name} ${own.count}`, ['vmas', 'vpns'],
      'return (times) => { let sum = 0; for (let t = 0; t < times; t++) for (let i = 0; i < vpns.length; i++) sum += vmas.find(vpns[i]) === null ? 1 : 0; return sum; };',
    )(vmas, vpns);
    const check = (): string | null => {
      const wrong = vpns.findIndex((vpn) => {
        const area = vmas.find(vpn);
        return area === null || vpn < area.start || vpn >= area.end;
      });
      return wrong < 0 ? own.check() : `finds another area for page ${vpns[wrong]}`;
    };
    return { name, check, run: (times) => void loop(times) };
  };
  return { unit: 'look', unitsPerRun: LOOKS, contenders: contenders(areas, make), against: againstOf(areas), warmupMs: WARMUP_MS };
}

function splitWork(areas: readonly Areas[], context: BenchContext): Work {
  const make = (own: Areas, name: string): Contender => {
    const middle = Math.floor(own.count / 4) * 2;
    const page = BASE + BigInt(middle * AREA_PAGES + 1) * PAGE;
    const run = (times: number): void => {
      for (let t = 0; t < times; t++) {
        own.space.mprotect(page, 4096, '');
        own.space.mprotect(page, 4096, 'rw');
      }
    };
    const check = (): string | null => {
      own.space.mprotect(page, 4096, '');
      const made = own.space.mm.vmas.count - own.count;
      own.space.mprotect(page, 4096, 'rw');
      return made === 2 ? own.check() : `makes ${made} areas where a split makes 2`;
    };
    return { name, check, run };
  };
  const host = hostPart(KERNEL, context, (native) => {
    const handle = native.hostAreas((areas[0] as Areas).count);
    return { handle, run: (times) => native.hostSplitMerge(handle, times) };
  });
  const against = areas.length > 1 ? againstOf(areas) : [KERNEL];
  return { unit: 'pair', unitsPerRun: 1, contenders: [...contenders(areas, make), host.contender], against, warmupMs: WARMUP_MS, dispose: host.dispose };
}

function mapWork(areas: readonly Areas[], context: BenchContext): Work {
  const length = AREA_PAGES * 4096;
  const make = (own: Areas, name: string): Contender => {
    const run = (times: number): void => {
      for (let t = 0; t < times; t++) own.space.munmap(own.space.mmap(null, { length, prot: '' }).start, length);
    };
    return { name, check: () => (run(1), own.check()), run };
  };
  const host = hostPart(KERNEL, context, (native) => ({ handle: native.hostAreas((areas[0] as Areas).count), run: (times) => native.hostMmapMunmap(times) }));
  const against = areas.length > 1 ? againstOf(areas) : [KERNEL];
  return { unit: 'pair', unitsPerRun: 1, contenders: [...contenders(areas, make), host.contender], against, warmupMs: WARMUP_MS, dispose: host.dispose };
}
