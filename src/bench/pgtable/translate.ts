/**
 * One address to its frame: a call each, and a batch through the arena. What an embedder pays for a TLB miss.
 *
 * Pages are drawn at random from the range, the same for everyone. The single rows hold what a call from JavaScript costs in it; the row
 * 'no call' is the same loop without one. Frames are compared before anything is timed: the walker's with those mapped, everyone else's
 * with the walker's.
 */
import { ACCESS_READ, REQ_ACCESS, REQ_CAPACITY, REQ_IN, REQ_LEVELS, REQ_OUT, REQ_ROOT } from '../../abi.ts';
import { WASM_BUILDS, type WasmBuild, type Window } from '../../arena/index.ts';
import { HmmError } from '../../errno.ts';
import { Random } from '../../sched/index.ts';
import { GiB, LEVEL_SIZES, type PageSize } from '../../units.ts';
import { Ground } from '../ground.ts';
import { bytesName, missingReason } from '../hmm/walks.ts';
import { ownFunction } from '../loop.ts';
import type { BenchContext, Contender, Work, Workload } from '../workload.ts';

const ADDRESSES = 4096;
const SEED = 1n;

export interface TranslateSpec {
  readonly pageSize: PageSize;
  /** bytes from which pages are drawn */
  readonly range: number;
  /** all in one call; else a call each */
  readonly batch: boolean;
  readonly builds: readonly WasmBuild[];
  readonly quick: boolean;
}

const ONE_GIB = { range: GiB, builds: WASM_BUILDS, quick: true } as const;
/** Many GiB: more tables than caches hold, and each address in another GiB than the last. */
const MANY_GIB = { range: 64 * GiB, builds: ['shared'], quick: false } as const;

export const TRANSLATES: readonly TranslateSpec[] = [
  ...LEVEL_SIZES.flatMap((pageSize) => [false, true].map((batch) => ({ ...ONE_GIB, pageSize, batch }))),
  ...LEVEL_SIZES.flatMap((pageSize) => [false, true].map((batch) => ({ ...MANY_GIB, pageSize, batch }))),
];

export const translateWorkloads: readonly Workload[] = TRANSLATES.map((spec) => ({
  name: translateName(spec),
  table: 'translate',
  pageSize: spec.pageSize,
  quick: spec.quick,
  size: { curve: `translate ${spec.pageSize}, ${howOf(spec)}`, at: spec.range, of: 'bytes' },
  setup: (context) => translateWork(spec, context),
}));

export function translateName(spec: TranslateSpec): string {
  return `translate ${spec.pageSize}, ${bytesName(spec.range)}, ${howOf(spec)}`;
}

function howOf({ batch }: TranslateSpec): string {
  return batch ? `batch of ${ADDRESSES}` : 'one a call';
}

/** Throws ENOMEM. */
export function translateWork(spec: TranslateSpec, context: BenchContext): Promise<Work> {
  return spec.batch ? batchWork(spec, context) : singleWork(spec, context);
}

async function grounds({ pageSize, range, builds }: TranslateSpec): Promise<Ground[]> {
  return Promise.all(builds.map((build) => Ground.create({ build, pageSize, npages: range / 4096, windowPages: 0 })));
}

/** Page numbers, picked evenly from the ground. */
function addressesOf(ground: Ground): Float64Array {
  const random = new Random(SEED);
  return Float64Array.from({ length: ADDRESSES }, () => ground.start + random.below(ground.npages));
}

/** Index of the first frame that is not the one mapped, as a refusal or null. */
function wrongFrame(ground: Ground, vpns: Float64Array, frameAt: (i: number) => number): string | null {
  const at = vpns.findIndex((vpn, i) => frameAt(i) !== ground.firstPfn + (vpn - ground.start));
  return at < 0 ? null : `differs at word ${at}`;
}

type Loop = (times: number) => number;

/** A loop over all addresses around `call`, an expression of `vpn`, with the names in `given`. */
function translateLoop(label: string, vpns: Float64Array, call: string, given: Readonly<Record<string, unknown>>): (times: number) => void {
  const body = `return (times) => {
    let sum = 0;
    for (let t = 0; t < times; t++) for (let i = 0; i < vpns.length; i++) { const vpn = vpns[i]; sum += ${call}; }
    return sum;
  }`;
  const loop = ownFunction<(...args: readonly unknown[]) => Loop>(label, ['vpns', ...Object.keys(given)], body)(vpns, ...Object.values(given));
  return (times) => {
    if (Number.isNaN(loop(times))) throw new HmmError('EIO', 'bench', 'a frame is not a number');
  };
}

async function singleWork(spec: TranslateSpec, context: BenchContext): Promise<Work> {
  const all = await grounds(spec);
  const label = translateName(spec);
  const first = all[0] as Ground;
  const vpns = addressesOf(first);
  const walkerOn = (ground: Ground, name: string): Contender => {
    const { translate } = ground.arena.walker;
    const { root, levels } = ground.table;
    return {
      name,
      check: () => wrongFrame(ground, vpns, (i) => translate(root, levels, vpns[i] as number, ACCESS_READ)),
      run: translateLoop(`${label} ${name}`, vpns, 'translate(root, levels, vpn, 0)', { translate, root, levels }),
    };
  };
  const { table } = first;
  const library: Contender = {
    name: 'PageTable.translate',
    check: () => wrongFrame(first, vpns, (i) => table.translate(vpns[i] as number, ACCESS_READ)),
    run: translateLoop(`${label} PageTable`, vpns, 'table.translate(vpn, 0)', { table }),
  };
  return {
    unit: 'address',
    unitsPerRun: ADDRESSES,
    contenders: [
      ...all.map((ground, i) => walkerOn(ground, i === 0 ? 'walker' : `walker ${ground.arena.build}`)),
      { ...walkerOn(first, 'null'), isNull: true },
      library,
      napiOn(`${label} N-API`, first, vpns, context),
      { name: 'no call', run: translateLoop(`${label} no call`, vpns, 'vpn', {}) },
    ],
    against: ['N-API'],
    model: { ...lookedAt(first), tableBytes: table.frames * 4096 },
  };
}

function napiOn(label: string, ground: Ground, vpns: Float64Array, context: BenchContext): Contender {
  const name = 'N-API';
  const make = context.native?.translator ?? null;
  if (make === null) return { name, missing: missingReason(context), run: () => {} };
  const translate = make(ground.arena.u8, ground.table.root, ground.table.levels, ACCESS_READ);
  return { name, check: () => wrongFrame(ground, vpns, (i) => translate(vpns[i] as number)), run: translateLoop(label, vpns, 'translate(vpn)', { translate }) };
}

/** Each address is one leaf, and the entries from the top table down to it. */
function lookedAt(ground: Ground): { leaves: number; entries: number } {
  ground.table.look(ground.start);
  return { leaves: 1, entries: ground.table.levels - ground.table.level };
}

async function batchWork(spec: TranslateSpec, context: BenchContext): Promise<Work> {
  const all = await grounds(spec);
  const first = all[0] as Ground;
  const vpns = addressesOf(first);
  const batches = all.map((ground) => new Batch(translateName(spec), ground, vpns));
  const own = batches[0] as Batch;
  return {
    unit: 'address',
    unitsPerRun: ADDRESSES,
    contenders: [
      ...batches.map((batch, i) => batch.walker(i === 0 ? 'walker' : `walker ${batch.build}`)),
      { ...own.walker('null'), isNull: true },
      own.native(context),
    ],
    against: ['C++ batch'],
    model: { ...lookedAt(first), tableBytes: first.table.frames * 4096 },
  };
}

/** Addresses and frames in the arena, and the request over them. */
class Batch {
  readonly build: string;
  readonly #label: string;
  readonly #ground: Ground;
  readonly #vpns: Float64Array;
  readonly #in: Window;
  readonly #out: Window;

  constructor(label: string, ground: Ground, vpns: Float64Array) {
    const { arena, table, request } = ground;
    this.#label = label;
    this.build = arena.build;
    this.#ground = ground;
    this.#vpns = vpns;
    this.#in = arena.window(ADDRESSES);
    this.#out = arena.window(ADDRESSES);
    arena.f64.set(vpns, this.#in.offset / 8);
    const fields: readonly (readonly [number, number])[] = [
      [REQ_ROOT, table.root], [REQ_LEVELS, table.levels], [REQ_ACCESS, ACCESS_READ], [REQ_CAPACITY, ADDRESSES], [REQ_IN, this.#in.offset], [REQ_OUT, this.#out.offset],
    ];
    for (const [field, value] of fields) arena.u32[(request + field) >>> 2] = value;
  }

  walker(name: string): Contender {
    const { arena, request } = this.#ground;
    const { translateBatch } = arena.walker;
    const run = ownFunction<(...args: readonly unknown[]) => (times: number) => void>(
      `${this.#label} ${name}`,
      ['translateBatch', 'request'],
      'return (times) => { for (let t = 0; t < times; t++) translateBatch(request); }',
    )(translateBatch, request);
    return { name, check: () => this.#check(() => translateBatch(request) >>> 0), run };
  }

  native(context: BenchContext): Contender {
    const name = 'C++ batch';
    const batch = context.native?.translateBatch ?? null;
    if (batch === null) return { name, missing: missingReason(context), run: () => {} };
    const { arena, request } = this.#ground;
    return { name, check: () => this.#check(() => batch(arena.u8, request)), run: (times) => void batch(arena.u8, request, times) };
  }

  #check(translate: () => number): string | null {
    this.#out.halves.fill(0xa5a5a5a5);
    const found = translate();
    if (found !== ADDRESSES) return `finds ${found} of ${ADDRESSES}`;
    const { f64 } = this.#ground.arena;
    return wrongFrame(this.#ground, this.#vpns, (i) => f64[this.#out.offset / 8 + i] as number);
  }
}
