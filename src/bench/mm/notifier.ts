/**
 * Notifiers: what it costs to tell many of a page that goes, and whether one page's way down and back depends on how many ranges there are elsewhere.
 *
 * Fan-out: N mirrors, or N ranges, all over the same page of a DAX file; timed is the madvise(DONTNEED) that tells them, page after page
 * where there are few of them: one call is over before the clock has moved far enough. Refault: N ranges of a page
 * each; timed is madvise(DONTNEED) of one page and the fault that brings it back through its range, over and over.
 */
import { createMachine, createMirror, type AddressSpace, type Machine, type Mirror, type MirrorRange } from '../../api/index.ts';
import { GiB, MiB } from '../../units.ts';
import type { Contender, Work, Workload } from '../workload.ts';

const COUNTS = [1, 10, 100, 1000];
const PAGE = 4096;
const WARMUP_MS = 200;

export const notifierWorkloads: readonly Workload[] = [
  ...COUNTS.map((count): Workload => workload(`tell ${count} mirrors`, { curve: 'tell mirrors', at: count, of: 'mirrors' }, () => mirrorsWork(count))),
  ...COUNTS.map((count): Workload => workload(`tell ${count} ranges`, { curve: 'tell ranges', at: count, of: 'ranges' }, () => rangesWork(count))),
  ...COUNTS.map((count): Workload => workload(`invalidate + refault, ${count} ranges`, { curve: 'invalidate + refault', at: count, of: 'ranges' }, () => refaultWork([count]))),
  workload('invalidate + refault among 1000 ranges and among 1', null, () => refaultWork([1000, 1])),
];

function workload(name: string, size: Workload['size'] | null, setup: () => Promise<Work>): Workload {
  return { name, table: 'notifier', pageSize: '4K', quick: false, setup, ...(size === null || size === undefined ? {} : { size }) };
}

/** A file of small pages, mapped. */
class Scene {
  readonly machine: Machine;
  readonly space: AddressSpace;
  readonly start: bigint;

  private constructor(machine: Machine, npages: number) {
    this.machine = machine;
    const size = Math.max(npages * PAGE, 2 * MiB);
    const file = machine.pmem({ size: GiB }).file('bench', { size, extent: '4K' });
    this.space = machine.mm();
    this.start = this.space.mmap(file, { length: size, smallPages: true }).start;
  }

  static async create(npages: number): Promise<Scene> {
    return new Scene(await createMachine({ profile: 'lab', native: 'off' }), npages);
  }

  page(i: number): bigint {
    return this.start + BigInt(i * PAGE);
  }

  drop(i: number): void {
    this.space.madvise(this.page(i), PAGE, 'dontneed');
  }
}

/** of one sample, at least */
const TOLD_MIN = 1000;

async function mirrorsWork(count: number): Promise<Work> {
  const npages = Math.ceil(TOLD_MIN / count);
  const scene = await Scene.create(npages);
  const mirrors: readonly Mirror[] = Array.from({ length: count }, () => createMirror(scene.space));
  const fill = (): void => {
    for (const mirror of mirrors) mirror.fault(scene.start, npages * PAGE);
  };
  const lost = (): boolean => mirrors.every((mirror) => !mirror.maps(scene.start) && !mirror.maps(scene.page(npages - 1)));
  return tellWork(scene, { count, npages, unit: 'mirror', fill, lost });
}

async function rangesWork(count: number): Promise<Work> {
  const npages = Math.ceil(TOLD_MIN / count);
  const scene = await Scene.create(npages);
  const mirror = createMirror(scene.space);
  const ranges: readonly MirrorRange[] = Array.from({ length: count * npages }, (_, i) => mirror.range(scene.page(i % npages), PAGE));
  const fill = (): void => {
    for (const range of ranges) range.fault();
  };
  return tellWork(scene, { count, npages, unit: 'range', fill, lost: () => ranges.every(({ valid }) => !valid) });
}

interface Telling {
  /** who is told of each page */
  readonly count: number;
  readonly npages: number;
  readonly unit: string;
  /** brings the pages to all of them */
  readonly fill: () => void;
  readonly lost: () => boolean;
}

/** The drops that tell them are timed, the filling is not. */
function tellWork(scene: Scene, { count, npages, unit, fill, lost }: Telling): Work {
  const drop = (): void => {
    for (let i = 0; i < npages; i++) scene.drop(i);
  };
  const telling = (name: string): Contender => ({
    name,
    check: () => {
      fill();
      if (lost()) return 'has nothing to lose';
      drop();
      return lost() ? null : 'leaves some of them untold';
    },
    before: fill,
    run: drop,
  });
  return {
    unit, unitsPerRun: count * npages, contenders: [telling('walker'), { ...telling('null'), isNull: true }], against: ['walker'], single: true, warmupMs: WARMUP_MS,
    dispose: () => scene.machine.dispose(),
  };
}

async function refaultWork(counts: readonly number[]): Promise<Work> {
  const all = await Promise.all(counts.map((count) => Loop.create(count)));
  const [first, ...others] = all as [Loop, ...Loop[]];
  return {
    unit: 'round trip',
    unitsPerRun: 1,
    contenders: [first.contender('walker'), { ...first.contender('null'), isNull: true }, ...others.map((other) => other.contender(`among ${other.ranges.length}`))],
    against: others.length === 0 ? ['walker'] : others.map((other) => `among ${other.ranges.length}`),
    warmupMs: WARMUP_MS,
    dispose: () => {
      for (const { scene } of all) scene.machine.dispose();
    },
  };
}

class Loop {
  readonly scene: Scene;
  readonly ranges: readonly MirrorRange[];

  private constructor(scene: Scene, count: number) {
    this.scene = scene;
    const mirror = createMirror(scene.space);
    this.ranges = Array.from({ length: count }, (_, i) => mirror.range(scene.page(i), PAGE));
    for (const range of this.ranges) range.fault();
  }

  static async create(count: number): Promise<Loop> {
    return new Loop(await Scene.create(count), count);
  }

  contender(name: string): Contender {
    const { scene, ranges } = this;
    const at = ranges.length >>> 1;
    const own = ranges[at] as MirrorRange;
    const run = (times: number): void => {
      for (let t = 0; t < times; t++) {
        scene.drop(at);
        own.fault();
      }
    };
    const check = (): string | null => {
      scene.drop(at);
      if (own.valid || ranges.some((range) => range !== own && !range.valid)) return 'tells others than the one that has the page';
      own.fault();
      return own.valid ? null : 'does not come back';
    };
    return { name, check, run };
  }
}
