/**
 * Range walks: what hmm_range_fault() costs (mm/hmm.c under both APIs), by page size, range, layout and way to ask.
 *
 * The contenders are the three WASM builds, each on an arena of its own with the same tables, and the C++ peers of the addon on the arena
 * of the first (bench/peers/README.md says what each is). The first build's words are held against the frames that were mapped,
 * everyone else's against the first's, before anything is timed.
 */
import { WASM_BUILDS } from '../../arena/index.ts';
import { GiB, KiB, LEVEL_SIZES, MiB, TiB, type PageSize } from '../../units.ts';
import type { Workload } from '../workload.ts';
import { walkName, type PeerName, type WalkSpec } from './walkSpec.ts';
import { walkWork } from './walkWork.ts';

export { bytesName, walkName, type WalkSpec } from './walkSpec.ts';
export { missingReason, walkWork } from './walkWork.ts';

const LOOKING_PEERS: readonly PeerName[] = ['avx2', 'avx512', 'autovec', 'plain'];
const FILLING_PEERS: readonly PeerName[] = ['avx2', 'avx2nt', 'avx512', 'autovec', 'plain', 'mainline'];
/** For ranges so long, or calls so many, that each peer takes seconds. */
const FEW_PEERS: readonly PeerName[] = ['avx2', 'plain'];
const LAYOUT_PEERS: readonly PeerName[] = ['avx2', 'autovec', 'plain'];
const SIZES = LEVEL_SIZES;

/** What is not friendly: read-only pages, holes, devices in turn, leaves of all sizes, single pages that ask, no order. */
const ODD: readonly WalkSpec[] = [
  { ...odd(GiB, 512 * KiB), layout: '10 % read-only', quick: true },
  { ...odd(GiB, 512 * KiB), layout: '25 % holes in runs', quick: true },
  { ...odd(GiB, 512 * KiB), layout: '25 % holes at random', quick: true },
  { ...odd(GiB, 512 * KiB), layout: 'mixed leaf sizes' },
  { ...odd(4 * GiB, 512 * KiB), layout: 'mixed leaf sizes' },
  { ...odd(GiB, 512 * KiB), layout: '64 pagemaps', api: '2019', fault: true, peers: ['hmm2019'] },
  { ...odd(GiB, 2 * MiB), byPage: true, fault: true },
  { ...odd(GiB, 2 * MiB), byPage: true, fault: true, layout: '10 % read-only' },
  { ...odd(GiB, 2 * MiB), byPage: true, fault: true, layout: '25 % holes in runs' },
  { ...odd(GiB, 128), isRandom: true, peers: [] },
  { ...odd(64 * GiB, 4 * KiB), isRandom: true, builds: ['shared'], peers: ['avx2'] },
];

/** All range walks. */
export const WALKS: readonly WalkSpec[] = [
  ...SIZES.map((pageSize) => looks(pageSize, GiB, true)),
  ...SIZES.map((pageSize) => looks(pageSize, 64 * GiB, false)),
  ...SIZES.map((pageSize) => ({ ...fills(pageSize, 64 * KiB, 128, false), peers: FEW_PEERS })),
  ...SIZES.map((pageSize) => fills(pageSize, 2 * MiB, 4 * KiB, true)),
  ...SIZES.map((pageSize) => ({ ...fills(pageSize, 64 * MiB, 128 * KiB, false), peers: FEW_PEERS })),
  ...SIZES.map((pageSize) => fills(pageSize, GiB, 512 * KiB, true)),
  ...SIZES.map((pageSize) => ({ ...fills(pageSize, 64 * GiB, 128 * MiB, false), builds: ['shared'] as const })),
  ...SIZES.map((pageSize) => ({ ...fills(pageSize, 64 * GiB, 512 * KiB, false), builds: ['shared'] as const, peers: FEW_PEERS })),
  ...SIZES.map((pageSize) => ({ ...fills(pageSize, TiB, 512 * KiB, false), builds: ['shared'] as const, peers: FEW_PEERS })),
  ...SIZES.flatMap((pageSize) => [false, true].map((fault) => ({ ...fills(pageSize, GiB, 512 * KiB, false), api: '2019' as const, fault, peers: ['hmm2019'] as const }))),
  ...ODD,
];

export const walkWorkloads: readonly Workload[] = WALKS.map((spec) => ({
  name: walkName(spec),
  table: spec.window === 0 ? 'walk' : 'fill',
  pageSize: spec.pageSize,
  quick: spec.quick,
  ...(ODD.includes(spec) || spec.api === '2019' ? {} : { size: { curve: curveOf(spec), at: spec.range, of: 'bytes' } }),
  setup: (context) => walkWork(spec, context),
}));

/** Up to 1 GiB through one output of at most 512 KiB; 64 GiB both through that and into one piece. */
function curveOf({ pageSize, window }: WalkSpec): string {
  if (window === 0) return `walk ${pageSize}`;
  return window <= 512 * KiB ? `fill ${pageSize}, at most 512 KiB of words` : `fill ${pageSize}, all words`;
}

function looks(pageSize: PageSize, range: number, quick: boolean): WalkSpec {
  return { pageSize, range, window: 0, api: 'modern', fault: false, builds: WASM_BUILDS, peers: LOOKING_PEERS, quick };
}

function fills(pageSize: PageSize, range: number, window: number, quick: boolean): WalkSpec {
  return { ...looks(pageSize, range, quick), window, peers: FILLING_PEERS };
}

function odd(range: number, window: number): WalkSpec {
  return { ...fills('4K', range, window, false), peers: LAYOUT_PEERS };
}
