/**
 * Range walks: what hmm_range_fault() costs where everything is present (mm/hmm.c under both APIs), by page size.
 *
 * The contenders are the three WASM builds, each on an arena of its own with the same tables, and the C++ peers of the addon on the arena
 * of the first (bench/peers/README.md says what each is). The first build's words are held against the frames that were mapped,
 * everyone else's against the first's, before anything is timed.
 */
import { LEVEL_PTE, REQ_NPAGES, REQ_VPN, STOP_DONE_ALL, WALK_FAULT, WALK_NO_FILL, WALK_PGMAP, WALK_ZERO_OK } from '../../abi.ts';
import { WASM_BUILDS, type WasmBuild } from '../../arena/index.ts';
import { modernEncoding, type WalkEncoding } from '../../hmm/index.ts';
import { LEVEL_SIZES, GiB, KiB, MiB, PAGE_SIZES, TiB, type PageSize } from '../../units.ts';
import type { Native, WalkPeer, WalkPeers } from '../../native/load.ts';
import { Ground, type WalkRequest } from '../ground.ts';
import { ownFunction } from '../loop.ts';
import { spreadOf } from '../spread.ts';
import { differingWord, wordOffPattern } from '../verify.ts';
import type { BenchContext, Contender, Model, Work, Workload } from '../workload.ts';

type PeerName = keyof WalkPeers;

/** of fewer bytes a memset is over before the call into the addon is */
const MEMSET_BYTES_MIN = 512 * KiB;

export interface WalkSpec {
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
}

const LOOKING_PEERS: readonly PeerName[] = ['avx2', 'avx512', 'autovec', 'plain'];
const FILLING_PEERS: readonly PeerName[] = ['avx2', 'avx2nt', 'avx512', 'autovec', 'plain', 'mainline'];
const SIZES = LEVEL_SIZES;

/** All range walks. */
export const WALKS: readonly WalkSpec[] = [
  ...SIZES.map((pageSize) => looks(pageSize, GiB, true)),
  ...SIZES.map((pageSize) => looks(pageSize, 64 * GiB, false)),
  ...SIZES.map((pageSize) => fills(pageSize, 2 * MiB, 4 * KiB, true)),
  ...SIZES.map((pageSize) => fills(pageSize, GiB, 512 * KiB, true)),
  ...SIZES.map((pageSize) => ({ ...fills(pageSize, 64 * GiB, 128 * MiB, false), builds: ['shared'] as const })),
  ...SIZES.flatMap((pageSize) => [false, true].map((fault) => ({ ...fills(pageSize, GiB, 512 * KiB, false), api: '2019' as const, fault, peers: ['hmm2019'] as const }))),
];

export const walkWorkloads: readonly Workload[] = WALKS.map((spec) => ({
  name: walkName(spec),
  table: spec.window === 0 ? 'walk' : 'fill',
  pageSize: spec.pageSize,
  quick: spec.quick,
  setup: (context) => walkWork(spec, context),
}));

function looks(pageSize: PageSize, range: number, quick: boolean): WalkSpec {
  return { pageSize, range, window: 0, api: 'modern', fault: false, builds: WASM_BUILDS, peers: LOOKING_PEERS, quick };
}

function fills(pageSize: PageSize, range: number, window: number, quick: boolean): WalkSpec {
  return { ...looks(pageSize, range, quick), window, peers: FILLING_PEERS };
}

export function walkName({ pageSize, range, window, api, fault }: WalkSpec): string {
  const words = (range / 4096) * 8;
  const where = window === 0 ? '' : window === words ? `, ${bytesName(window)} of words` : `, ${bytesName(window)} window`;
  return `${window === 0 ? 'walk' : 'fill'} ${pageSize}, ${bytesName(range)}${where}${api === '2019' ? `, 2019 ${fault ? 'fault' : 'snapshot'}` : ''}`;
}

/** 'GiB' and so on: as names of workloads have sizes. */
export function bytesName(n: number): string {
  return n >= TiB ? `${n / TiB} TiB` : n >= GiB ? `${n / GiB} GiB` : n >= MiB ? `${n / MiB} MiB` : `${n / KiB} KiB`;
}

/** The words of the 2019 API are the driver's own: here with the flags in the low bits and the frame above them, as GPU drivers had it. */
const ENCODING_2019: WalkEncoding = { pfnShift: 12, orderShift: 0, valid: 1n, write: 2n, none: 0n, reqFault: 1n, reqWrite: 2n };

function requestOf(spec: WalkSpec, orderShift: number): WalkRequest {
  const encoding = spec.api === 'modern' ? modernEncoding(orderShift) : ENCODING_2019;
  const mode = (spec.api === 'modern' ? WALK_ZERO_OK : WALK_PGMAP) | (spec.fault ? WALK_FAULT : 0) | (spec.window === 0 ? WALK_NO_FILL : 0);
  return { encoding, mode, flags: spec.fault ? encoding.reqFault : 0n };
}

/** Sets up a walk: grounds, contenders, and what the model says about it. Throws ENOMEM. */
export async function walkWork(spec: WalkSpec, context: BenchContext): Promise<Work> {
  const grounds: Ground[] = [];
  for (const build of spec.builds) {
    const ground = await Ground.create({ build, pageSize: spec.pageSize, npages: spec.range / 4096, windowPages: spec.window / 8 });
    ground.ask(requestOf(spec, ground.core.platform.profile.hmmOrderShift));
    grounds.push(ground);
  }
  const first = grounds[0] as Ground;
  const reference = new Reference(first, spec);
  const walkers = grounds.map((ground, i): Contender => walkerOf(ground, i === 0 ? 'walker' : `walker ${ground.arena.build}`, reference));
  const again: Contender = { ...walkerOf(first, 'null', reference), isNull: true };
  const peers = spec.peers.map((name) => peerOf(name, first, reference, context));
  const limit = spec.window >= MEMSET_BYTES_MIN ? [memsetOf(first, context)] : [];
  return {
    unit: 'page',
    unitsPerRun: first.npages,
    contenders: [...walkers, again, ...peers, ...limit],
    against: spec.api === 'modern' ? ['avx2', 'plain'] : ['hmm2019'],
    ...(spec.window === 0 ? {} : { outputBytesPerRun: first.npages * 8 }),
    model: modelOf(first),
  };
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

/** The words that every contender must write: the first walker's, once they are known to be those of the frames mapped. */
class Reference {
  readonly #spec: WalkSpec;
  readonly #ground: Ground;
  #words: Uint32Array | null = null;

  constructor(ground: Ground, spec: WalkSpec) {
    this.#ground = ground;
    this.#spec = spec;
  }

  /** of the workload */
  get name(): string {
    return walkName(this.#spec);
  }

  /** Runs a walk over all pieces of `ground` and compares; the ground's own walker is held against the frames mapped. */
  check(ground: Ground, walk: () => void, isFirst: boolean): string | null {
    const words = isFirst ? new Uint32Array(this.#spec.window === 0 ? 0 : ground.npages * 2) : this.#words;
    if (words === null) return 'the walker it is held against was refused';
    for (let piece = 0; piece < ground.pieces; piece++) {
      ground.poison();
      ground.askPiece(piece);
      walk();
      const { done, reason, vpn } = ground.answer;
      if (done !== ground.piecePages || reason !== STOP_DONE_ALL || vpn !== ground.start + (piece + 1) * ground.piecePages) return `stops after ${done} pages of piece ${piece}`;
      const refusal = this.#checkWords(ground, piece, words, isFirst);
      if (refusal !== null) return refusal;
    }
    if (isFirst) this.#words = words;
    return null;
  }

  #checkWords(ground: Ground, piece: number, words: Uint32Array, isFirst: boolean): string | null {
    const { halves } = ground.window;
    if (this.#spec.window === 0) return halves.every((half) => half === halves[0]) ? null : 'writes words where none were asked for';
    const from = piece * halves.length;
    if (!isFirst) {
      const at = differingWord(halves, words.subarray(from, from + halves.length));
      return at < 0 ? null : `differs at word ${from / 2 + at}`;
    }
    words.set(halves, from);
    const off = wordOffPattern(halves, this.#pattern(), from / 2);
    return off < 0 ? null : `word ${from / 2 + off} is not that of the frame mapped there`;
  }

  #pattern(): Parameters<typeof wordOffPattern>[1] {
    const { encoding } = requestOf(this.#spec, this.#ground.core.platform.profile.hmmOrderShift);
    const { level, order } = PAGE_SIZES[this.#spec.pageSize];
    const orderBits = encoding.orderShift === 0 || level === LEVEL_PTE ? 0n : BigInt(order) << BigInt(encoding.orderShift);
    const flags = encoding.valid | encoding.write | orderBits;
    return { flagsLo: Number(flags & 0xffffffffn), flagsHi: Number(flags >> 32n), firstPfn: this.#ground.firstPfn, pfnShift: encoding.pfnShift };
  }
}

type WalkLoop = (times: number) => void;

/** The loop over pieces and repetitions, with a call of its own to `walk(request)`. */
function walkerLoop(label: string, ground: Ground, walk: (request: number) => number): WalkLoop {
  const body = `return (times) => {
    for (let t = 0; t < times; t++) for (let piece = 0; piece < pieces; piece++) { f64[vpnAt] = start + piece * piecePages; walk(request); }
  }`;
  const make = ownFunction<(...args: readonly unknown[]) => WalkLoop>(label, ['walk', 'request', 'f64', 'vpnAt', 'start', 'piecePages', 'pieces'], body);
  return make(walk, ground.request, ground.arena.f64, (ground.request + REQ_VPN) >>> 3, ground.start, ground.piecePages, ground.pieces);
}

function walkerOf(ground: Ground, name: string, reference: Reference): Contender {
  const { walk } = ground.arena.walker;
  return {
    name,
    check: () => reference.check(ground, () => walk(ground.request), name === 'walker'),
    before: () => ground.askPiece(0),
    run: walkerLoop(`${reference.name}: ${name}`, ground, walk),
  };
}

function peerOf(name: PeerName, ground: Ground, reference: Reference, context: BenchContext): Contender {
  const peer = context.native?.walks[name] ?? null;
  if (context.native === null || peer === null) return { name, missing: missingReason(context), run: () => {} };
  const { u8 } = ground.arena;
  const check = (): string | null => reference.check(ground, () => peer(u8, ground.request), false);
  const before = (): void => ground.askPiece(0);
  // One piece: the addon repeats the walk itself. Several: a call each, whose price is none of the walk's.
  if (ground.pieces === 1) return { name, check, before, run: (times) => void peer(u8, ground.request, times) };
  return { name, check, before, run: walkerLoop(`${reference.name}: ${name}`, ground, (request) => peer(u8, request)), freeNs: ground.pieces * peerPrice(context.native, peer, ground) };
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
