/**
 * The ground of walk benches: an arena with a DAX device's frames mapped in leaves of one size, an output window and a request block.
 *
 * Everything is made as the library makes it: `PageTable.map` fills the tables, the device registers its pagemap, the entries have
 * the bits of a fault that wrote. The request block is a Worker's, so that the page table's own is left alone.
 */
import { freemem } from 'node:os';
import {
  LEVEL_PTE, PTE_ACCESSED, PTE_DIRTY, PTE_PRESENT, PTE_PSE, PTE_RW, PTE_SPECIAL, PTE_USER, REQ_BUDGET, REQ_DEFAULT, REQ_DEVMAP_BIT, REQ_FLAGS_MASK, REQ_LEVELS, REQ_MODE,
  REQ_NONE_WORD, REQ_NPAGES, REQ_ORDER_SHIFT, REQ_OUT, REQ_PFN_SHIFT, REQ_PGMAP, REQ_REQ_FAULT, REQ_REQ_WRITE, REQ_ROOT, REQ_VALID_WORD, REQ_VPN, REQ_WRITE_WORD,
  REQ_ZERO_PFN, STOP_DONE, STOP_LEAVES, STOP_REASON, STOP_STEPS, STOP_VPN,
} from '../abi.ts';
import type { Arena, WasmBuild, Window } from '../arena/index.ts';
import { HmmError, invariant } from '../errno.ts';
import type { WalkEncoding } from '../hmm/index.ts';
import { MachineCore } from '../machine.ts';
import { HI_NX, PageTable } from '../pgtable/index.ts';
import { profileOf } from '../profile/index.ts';
import { GiB, MiB, PAGE_SIZES, TiB, alignUp, type PageSize, type Pfn, type Vpn } from '../units.ts';
import { runsOf, type Layout } from './hmm/layout.ts';

/** On a 1 TiB boundary, so that ranges of up to that fill their tables. */
const START_VPN: Vpn = TiB / 4096;
const PRIVATE_ARENA_BYTES = 256 * MiB;
/** what arena.request() gives to a Worker */
const BENCH_WORKER = 1;
/** beside the largest tables, for the rest of the host */
const HOST_BYTES_LEFT = GiB;
const POISON = 0xa5a5a5a5;
/** of the window where nothing is to be written */
const CANARY_PAGES = 64;

export interface GroundOptions {
  readonly build: WasmBuild;
  readonly pageSize: PageSize;
  /** pages walked; whole leaves are mapped */
  readonly npages: number;
  /** what is mapped where (default: everything, densely) */
  readonly layout?: Layout;
  /** pages of output, a divisor of `npages`: the range goes through it piece by piece; 0: walks that write nothing */
  readonly windowPages: number;
}

/** What a walk asks for: an API's way to write words down, and WALK_* bits. */
export interface WalkRequest {
  readonly encoding: WalkEncoding;
  readonly mode: number;
  /** default_flags */
  readonly flags: bigint;
  /** pfn_flags_mask: which bits of the words are requests */
  readonly mask: bigint;
}

/** What a walk answered: the words are compared apart. */
export interface WalkAnswer {
  readonly done: number;
  readonly reason: number;
  readonly vpn: Vpn;
}

export class Ground {
  readonly arena: Arena;
  readonly table: PageTable;
  readonly window: Window;
  /** offset of the request block */
  readonly request: number;
  readonly start: Vpn = START_VPN;
  readonly npages: number;
  /** pages of one request */
  readonly piecePages: number;
  /** requests that cover the range */
  readonly pieces: number;
  readonly firstPfn: Pfn;
  readonly layout: Layout | null;
  /** first frame of each of the layout's devices */
  readonly devicePfns: readonly Pfn[];
  readonly core: MachineCore;

  private constructor(core: MachineCore, options: GroundOptions) {
    const { arena } = core.platform;
    const mapped = alignUp(options.npages, PAGE_SIZES[options.pageSize].npages);
    this.core = core;
    this.arena = arena;
    this.npages = options.npages;
    this.piecePages = options.windowPages === 0 ? options.npages : options.windowPages;
    this.pieces = options.npages / this.piecePages;
    invariant(Number.isInteger(this.pieces), 'the window divides the range');
    this.request = arena.request(BENCH_WORKER);
    this.table = new PageTable(arena, 4);
    this.layout = options.layout ?? null;
    const devices = options.layout?.devicePages ?? [mapped];
    this.devicePfns = devices.map((npages, i) => core.newFileSystem(devices.length === 1 ? 'bench' : `bench${i}`, npages, 'ext4').pgmap.basePfn);
    this.firstPfn = this.devicePfns[0] as Pfn;
    if (options.layout === undefined) this.#map(0, this.firstPfn, mapped, PAGE_SIZES[options.pageSize].level, true);
    else for (const run of runsOf(options.layout)) this.#map(run.first, (this.devicePfns[run.device] as Pfn) + run.page, run.npages, run.level, run.isWritable);
    this.window = arena.window(options.windowPages === 0 ? CANARY_PAGES : options.windowPages);
  }

  #map(page: number, pfn: Pfn, npages: number, level: number, isWritable: boolean): void {
    const flags = PTE_PRESENT | PTE_USER | PTE_ACCESSED | (isWritable ? PTE_RW | PTE_DIRTY : 0) | (level === LEVEL_PTE ? PTE_SPECIAL : PTE_PSE);
    const done = this.table.map(this.start + page, pfn, npages, level, flags, this.core.platform.devmapHi + HI_NX);
    if (done < npages) throw new HmmError('ENOMEM', 'bench', `the arena holds tables for ${page + done} of ${this.npages} pages`);
  }

  /** Throws ENOMEM where the arena cannot be had or is too small. */
  static async create(options: GroundOptions): Promise<Ground> {
    const leaves = options.npages / PAGE_SIZES[options.pageSize].npages;
    const need = leaves * 8 + HOST_BYTES_LEFT;
    if (leaves >= TiB / 4096 && freemem() < need) throw new HmmError('ENOMEM', 'bench', `needs ${(need / GiB).toFixed(1)} GiB of free memory, there are ${(freemem() / GiB).toFixed(1)}`);
    const arena = { build: options.build, bytes: options.build === 'shared' ? 4 * GiB : PRIVATE_ARENA_BYTES };
    return new Ground(await MachineCore.create({ arena, profile: profileOf('lab'), bugs: [], seed: 1n, ramPages: 1, levels: 4 }), options);
  }

  /** Fills in all of the request but the range. */
  ask({ encoding, mode, flags, mask }: WalkRequest): void {
    const { u32, u64, f64 } = this.arena;
    const r = this.request;
    u32[(r + REQ_ROOT) >>> 2] = this.table.root;
    u32[(r + REQ_LEVELS) >>> 2] = this.table.levels;
    u32[(r + REQ_MODE) >>> 2] = mode;
    u32[(r + REQ_BUDGET) >>> 2] = 0;
    u32[(r + REQ_PGMAP) >>> 2] = 0;
    u32[(r + REQ_DEVMAP_BIT) >>> 2] = this.core.platform.profile.devmapBit;
    u32[(r + REQ_PFN_SHIFT) >>> 2] = encoding.pfnShift;
    u32[(r + REQ_ORDER_SHIFT) >>> 2] = encoding.orderShift;
    u64[(r + REQ_VALID_WORD) >>> 3] = encoding.valid;
    u64[(r + REQ_WRITE_WORD) >>> 3] = encoding.write;
    u64[(r + REQ_NONE_WORD) >>> 3] = encoding.none;
    u64[(r + REQ_REQ_FAULT) >>> 3] = encoding.reqFault;
    u64[(r + REQ_REQ_WRITE) >>> 3] = encoding.reqWrite;
    u64[(r + REQ_FLAGS_MASK) >>> 3] = mask;
    u64[(r + REQ_DEFAULT) >>> 3] = flags;
    f64[(r + REQ_ZERO_PFN) >>> 3] = this.core.platform.ram.zeroPfn;
  }

  /** Sets the range to piece `piece`, its words to the start of the window. */
  askPiece(piece: number): void {
    const { u32, f64 } = this.arena;
    f64[(this.request + REQ_VPN) >>> 3] = this.start + piece * this.piecePages;
    u32[(this.request + REQ_NPAGES) >>> 2] = this.piecePages;
    u32[(this.request + REQ_OUT) >>> 2] = this.window.offset;
  }

  get answer(): WalkAnswer {
    const { u32, f64 } = this.arena;
    const r = this.request;
    return { done: u32[(r + STOP_DONE) >>> 2] as number, reason: u32[(r + STOP_REASON) >>> 2] as number, vpn: f64[(r + STOP_VPN) >>> 3] as number };
  }

  /** Leaves passed and entries looked at by the last walk; the walker's own counters. */
  get counted(): { readonly leaves: number; readonly entries: number } {
    const { u32 } = this.arena;
    const i = (this.request + STOP_LEAVES) >>> 2;
    return { leaves: (u32[i] as number) + (u32[i + 1] as number) + (u32[i + 2] as number), entries: u32[(this.request + STOP_STEPS) >>> 2] as number };
  }

  /** Makes the window's words something that no walk writes. */
  poison(): void {
    this.window.halves.fill(POISON);
  }
}
