/** Contenders of a range walk: our walkers, the peers, and what each has to answer before it is timed. */
import { REQ_NPAGES, REQ_VPN, WALK_FAULT, WALK_NO_FILL, WALK_PER_PAGE, WALK_PGMAP, WALK_ZERO_OK } from '../../abi.ts';
import type { WasmBuild } from '../../arena/index.ts';
import { invariant } from '../../errno.ts';
import { modernEncoding, type WalkEncoding } from '../../hmm/index.ts';
import type { Native, WalkPeer } from '../../native/load.ts';
import { Random } from '../../sched/index.ts';
import { KiB, TiB } from '../../units.ts';
import { Ground, type WalkRequest } from '../ground.ts';
import { ownFunction } from '../loop.ts';
import { spreadOf } from '../spread.ts';
import type { BenchContext, Contender, Model, Work } from '../workload.ts';
import { layoutOf, requestWords } from './layout.ts';
import { Reference } from './reference.ts';
import { comparedWith, walkName, type PeerName, type WalkSpec } from './walkSpec.ts';

/** of fewer bytes a memset is over before the call into the addon is */
const MEMSET_BYTES_MIN = 512 * KiB;
/** of walks that take long */
const FEW_ROUNDS = 9;
const SEED = 1n;
const ALL_BITS = 2n ** 64n - 1n;

/** The words of the 2019 API are the driver's own: here with the flags in the low bits and the frame above them, as GPU drivers had it. */
const ENCODING_2019: WalkEncoding = { pfnShift: 12, orderShift: 0, valid: 1n, write: 2n, none: 0n, reqFault: 1n, reqWrite: 2n };

function requestOf(spec: WalkSpec, orderShift: number): WalkRequest {
  const encoding = spec.api === 'modern' ? modernEncoding(orderShift) : ENCODING_2019;
  const byPage = spec.byPage === true;
  const api = spec.api === 'modern' ? WALK_ZERO_OK : WALK_PGMAP;
  const mode = api | (spec.fault ? WALK_FAULT : 0) | (byPage ? WALK_PER_PAGE : 0) | (spec.window === 0 ? WALK_NO_FILL : 0);
  return { encoding, mode, flags: spec.fault && !byPage ? encoding.reqFault : 0n, mask: byPage ? ALL_BITS : 0n };
}

/** A ground with its request filled in, and the pieces of its range in the order in which they are walked. */
class Walk {
  readonly spec: WalkSpec;
  readonly ground: Ground;
  readonly reference: Reference;
  readonly #requests: BigUint64Array | null;
  readonly #order: Float64Array;

  private constructor(spec: WalkSpec, ground: Ground, reference: Reference | null) {
    const request = requestOf(spec, ground.core.platform.profile.hmmOrderShift);
    this.spec = spec;
    this.ground = ground;
    ground.ask(request);
    this.reference = reference ?? new Reference(ground, request.encoding);
    const { layout } = ground;
    invariant(spec.byPage !== true || (layout !== null && ground.pieces === 1), 'requests by page have a layout, and stand in one window');
    this.#requests = spec.byPage === true && layout !== null ? requestWords(layout, request.encoding.reqFault, request.encoding.reqWrite) : null;
    this.#order = Float64Array.from({ length: ground.pieces }, (_, piece) => ground.start + piece * ground.piecePages);
    if (spec.isRandom === true) shuffle(this.#order);
  }

  /** Throws ENOMEM. */
  static async create(spec: WalkSpec, build: WasmBuild, reference: Reference | null): Promise<Walk> {
    const { pageSize, layout = 'dense' } = spec;
    const npages = spec.range / 4096;
    const drawn = layout === 'dense' && spec.byPage !== true ? {} : { layout: layoutOf(layout, npages) };
    return new Walk(spec, await Ground.create({ build, pageSize, npages, windowPages: spec.window / 8, ...drawn }), reference);
  }

  /** The request for the first piece; words that ask, where they do. */
  readonly before = (): void => {
    this.ground.askPiece(0);
    if (this.#requests !== null) this.ground.window.words.set(this.#requests);
  };

  /** What the walk of one piece by `walk` lacks, of all pieces; the walker that all others are held against `isFirst`. */
  check(walk: () => void, isFirst: boolean): string | null {
    return this.reference.check(this.ground, this.#requests, walk, isFirst);
  }

  /** The loop over pieces and repetitions, with a call of its own to `walk(request)`. */
  loop(label: string, walk: (request: number) => number): WalkLoop {
    const body = `return (times) => {
      for (let t = 0; t < times; t++) for (let piece = 0; piece < starts.length; piece++) { f64[vpnAt] = starts[piece]; walk(request); }
    }`;
    const { ground } = this;
    const make = ownFunction<(...args: readonly unknown[]) => WalkLoop>(label, ['walk', 'request', 'f64', 'vpnAt', 'starts'], body);
    return make(walk, ground.request, ground.arena.f64, (ground.request + REQ_VPN) >>> 3, this.#order);
  }

  /** `isFirst`: held against the frames mapped, not against the first walker. */
  walker(name: string, isFirst: boolean): Contender {
    const { ground } = this;
    const { walk } = ground.arena.walker;
    return { name, check: () => this.check(() => walk(ground.request), isFirst), before: this.before, run: this.loop(`${walkName(this.spec)}: ${name}`, walk) };
  }
}

type WalkLoop = (times: number) => void;

/** Any order, the same each time. */
function shuffle(values: Float64Array): void {
  const random = new Random(SEED);
  for (let i = values.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [values[i], values[j]] = [values[j] as number, values[i] as number];
  }
}

/** Sets up a walk: grounds, contenders, and what the model says about it. Throws ENOMEM. */
export async function walkWork(spec: WalkSpec, context: BenchContext): Promise<Work> {
  const first = await Walk.create(spec, spec.builds[0] ?? 'shared', null);
  const others: Walk[] = [];
  for (const build of spec.builds.slice(1)) others.push(await Walk.create(spec, build, first.reference));
  const walkers = [first.walker('walker', true), ...others.map((walk) => walk.walker(`walker ${walk.ground.arena.build}`, false))];
  const simpler = await simplerWalk(spec);
  const { ground } = first;
  const limit = spec.window >= MEMSET_BYTES_MIN ? [memsetOf(ground, context)] : [];
  const rival = spec.api === 'modern' ? ['avx2', 'plain'] : ['hmm2019'];
  return {
    unit: 'page',
    unitsPerRun: ground.npages,
    contenders: [...walkers, { ...first.walker('null', false), isNull: true }, ...simpler, ...spec.peers.map((name) => peerOf(name, first, context)), ...limit],
    against: [...simpler.map(({ name }) => name), ...rival],
    ...(spec.window === 0 ? {} : { outputBytesPerRun: ground.npages * 8 }),
    ...(spec.byPage === true ? { single: true } : {}),
    ...(spec.range >= TiB ? { rounds: FEW_ROUNDS } : {}),
    model: modelOf(ground),
    dispose: () => ground.core.reset(),
  };
}

/** The same walker where things are simpler, if there is such a thing to compare with. */
async function simplerWalk(spec: WalkSpec): Promise<Contender[]> {
  const name = comparedWith(spec);
  if (name === null) return [];
  const layout = name === 'dense' ? 'dense' : (spec.layout ?? 'dense');
  // One request for all of the range would ask for the holes too.
  const simpler: WalkSpec = { ...spec, byPage: false, isRandom: false, layout, fault: spec.fault && !layout.includes('holes') };
  return [(await Walk.create(simpler, spec.builds[0] ?? 'shared', null)).walker(name, true)];
}

/** What the model says, from one walk's own counters. */
function modelOf(ground: Ground): Model {
  let leaves = 0;
  let entries = 0;
  for (let piece = 0; piece < ground.pieces; piece++) {
    ground.askPiece(piece);
    ground.arena.walker.walk(ground.request);
    leaves += ground.counted.leaves;
    entries += ground.counted.entries;
  }
  return { leaves, entries, tableBytes: ground.table.frames * 4096 };
}

function peerOf(name: PeerName, walk: Walk, context: BenchContext): Contender {
  const peer = context.native?.walks[name] ?? null;
  if (context.native === null || peer === null) return { name, missing: missingReason(context), run: () => {} };
  const { ground, before } = walk;
  const { u8 } = ground.arena;
  const check = (): string | null => walk.check(() => peer(u8, ground.request), false);
  // One piece: the addon repeats the walk itself. Several: a call each, whose price is none of the walk's.
  if (ground.pieces === 1) return { name, check, before, run: (times) => void peer(u8, ground.request, times) };
  const run = walk.loop(`${walkName(walk.spec)}: ${name}`, (request) => peer(u8, request));
  return { name, check, before, run, freeNs: ground.pieces * peerPrice(context.native, peer, ground) };
}

/** The addon, or the CPU, is not there. */
export function missingReason({ nativeReason }: BenchContext): string {
  return nativeReason === null ? 'this CPU cannot run it' : `no native addon: ${nativeReason}`;
}

/** ns of a call that walks no page. */
function peerPrice(native: Native, peer: WalkPeer, ground: Ground): number {
  const { u8, u32 } = ground.arena;
  ground.askPiece(0);
  u32[(ground.request + REQ_NPAGES) >>> 2] = 0;
  return callPrice(native, () => peer(u8, ground.request));
}

/** ns of a call into the addon. */
function callPrice(native: Native, call: () => void): number {
  return spreadOf(
    Array.from({ length: 9 }, () => {
      const start = native.cpuTime();
      for (let i = 0; i < 1000; i++) call();
      return (native.cpuTime() - start) / 1000;
    }),
  ).median;
}

/** Stores alone: what no walk that fills the window can beat by much. */
function memsetOf(ground: Ground, context: BenchContext): Contender {
  const { native } = context;
  const name = 'memset';
  if (native === null) return { name, missing: missingReason(context), run: () => {} };
  const { window, pieces } = ground;
  const { u8 } = ground.arena;
  const length = window.words.length * 8;
  const run = (times: number): void => {
    for (let i = 0; i < times * pieces; i++) native.memset(u8, window.offset, length, 0);
  };
  return { name, run, freeNs: pieces * callPrice(native, () => native.memset(u8, window.offset, 0, 0)) };
}
