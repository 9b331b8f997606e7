/**
 * Walk + fill beside the running kernel, which answers for memory of this process through /proc/self/pagemap: 4K pages, transparent huge pages, and pages of
 * the huge page pool where some are reserved. The words differ, so that only counts are compared: as many pages, all of them present.
 */
import type { Native } from '../../native/load.ts';
import { GiB, KiB, MiB, PAGE_SIZES, type PageSize } from '../../units.ts';
import { hostPart, type HostPart } from '../host.ts';
import type { BenchContext, Work, Workload } from '../workload.ts';
import { walkWork } from './walks.ts';

interface PagemapSpec {
  readonly pageSize: '4K' | '2M';
  readonly range: number;
}

/** 512 pages, and many */
const SPECS: readonly PagemapSpec[] = [{ pageSize: '4K', range: 2 * MiB }, { pageSize: '4K', range: GiB }, { pageSize: '2M', range: 2 * MiB }, { pageSize: '2M', range: GiB }];
/** of which the kernel is asked for; a part of the range is enough, it goes page by page */
const HOST_BYTES_MAX = 256 * MiB;

export const pagemapWorkloads: readonly Workload[] = SPECS.map((spec) => ({
  name: `fill ${spec.pageSize}, ${spec.range >= GiB ? '1 GiB' : '2 MiB'}, beside the kernel`,
  table: 'pagemap',
  pageSize: spec.pageSize,
  quick: false,
  size: { curve: `fill ${spec.pageSize} beside the kernel`, at: spec.range, of: 'bytes' },
  setup: (context) => pagemapWork(spec, context),
}));

async function pagemapWork({ pageSize, range }: PagemapSpec, context: BenchContext): Promise<Work> {
  const walk = await walkWork({ pageSize, range, window: Math.min(512 * KiB, range / 512), api: 'modern', fault: false, builds: ['shared'], peers: [], quick: false }, context);
  const kinds: readonly Kind[] = pageSize === '4K' ? ['4K'] : ['THP', 'hugetlb'];
  const parts = kinds.map((kind) => kernelPart(kind, range, context));
  return {
    ...walk,
    contenders: [...walk.contenders.filter(({ name }) => name === 'walker' || name === 'null'), ...parts.map(({ contender }) => contender)],
    against: parts.map(({ contender }) => contender.name),
    dispose: () => {
      walk.dispose?.();
      for (const { dispose } of parts) dispose();
    },
  };
}

type Kind = '4K' | 'THP' | 'hugetlb';

/** The kernel is asked for its region again and again until the range is covered: as many words as the walker fills. */
function kernelPart(kind: Kind, range: number, context: BenchContext): HostPart {
  const bytes = Math.min(range, HOST_BYTES_MAX);
  return hostPart(kind === '4K' ? 'pagemap' : `pagemap ${kind}`, context, (native: Native) => {
    const region = native.hostPagemap({ bytes, thp: kind === 'THP', hugetlb: kind === 'hugetlb' });
    const npages = bytes / 4096;
    const passes = range / bytes;
    const run = (times: number): void => {
      for (let t = 0; t < times * passes; t++) native.hostPagemapRead(region.handle, npages);
    };
    const wanted: PageSize = kind === '4K' ? '4K' : '2M';
    const huge = wanted === '2M' ? bytes : 0;
    if (region.present !== npages) return { handle: region.handle, run, lacks: `only ${region.present} of ${npages} pages are present` };
    if (region.hugeBytes !== huge) return { handle: region.handle, run, lacks: `${region.hugeBytes} of ${bytes} bytes are in huge pages of ${PAGE_SIZES[wanted].npages * 4096}` };
    return { handle: region.handle, run };
  });
}
