/** What a range walk of the benches is: data, and the name that follows from it. */
import type { WasmBuild } from '../../arena/index.ts';
import type { WalkPeers } from '../../native/load.ts';
import { GiB, KiB, MiB, TiB, type PageSize } from '../../units.ts';
import type { LayoutName } from './layout.ts';

export type PeerName = keyof WalkPeers;

export interface WalkSpec {
  /** of the leaves, in a dense layout */
  readonly pageSize: PageSize;
  /** bytes walked */
  readonly range: number;
  /** bytes of output: the range goes through it piece by piece. 0: nothing is written. */
  readonly window: number;
  readonly api: 'modern' | '2019';
  /** every page is asked for; else a snapshot */
  readonly fault: boolean;
  readonly builds: readonly WasmBuild[];
  readonly peers: readonly PeerName[];
  readonly quick: boolean;
  /** what is mapped where (default 'dense'); any other is set in relation to 'dense' */
  readonly layout?: LayoutName;
  /** each word asks for its own page, or not; set in relation to one request for all of the range, which is 'range-wide' */
  readonly byPage?: boolean;
  /** the pieces follow each other in no order; set in relation to those 'in order' */
  readonly isRandom?: boolean;
}

/** What a workload's walker is set in relation to: itself where things are simpler, or null. */
export function comparedWith({ layout = 'dense', byPage = false, isRandom = false }: WalkSpec): 'range-wide' | 'in order' | 'dense' | null {
  return byPage ? 'range-wide' : isRandom ? 'in order' : layout === 'dense' ? null : 'dense';
}

export function walkName(spec: WalkSpec): string {
  const { pageSize, range, window, api, fault, layout = 'dense', byPage = false, isRandom = false } = spec;
  const words = (range / 4096) * 8;
  const what = [
    `${window === 0 ? 'walk' : 'fill'} ${pageSize}`,
    bytesName(range),
    ...(window === 0 ? [] : [isRandom ? `${bytesName((window / 8) * 4096)} a request in random order` : window === words ? `${bytesName(window)} of words` : `${bytesName(window)} window`]),
    ...(api === '2019' ? [`2019 ${fault ? 'fault' : 'snapshot'}`] : []),
    ...(byPage ? ['requests by page'] : []),
    ...(layout === 'dense' ? [] : [layout]),
  ];
  return what.join(', ');
}

/** '4 KiB', '1 TiB': as names of workloads have sizes. */
export function bytesName(n: number): string {
  for (const [unit, size] of [['TiB', TiB], ['GiB', GiB], ['MiB', MiB], ['KiB', KiB]] as const) if (n >= size) return `${n / size} ${unit}`;
  return `${n} B`;
}
