/**
 * One walker under both APIs: a request to the WASM range walk, set up once, run as often as needed.
 *
 * What a page's word looks like, which bits ask, and what stops a walk are the caller's `WalkEncoding`; what to do at a stop is
 * the API's (range2019.ts, rangeFault.ts). Page numbers; `out` holds one 64-bit word a page.
 */
import {
  DEVMAP_BIT_NONE, REQ_BUDGET, REQ_DEFAULT, REQ_DEVMAP_BIT, REQ_FLAGS_MASK, REQ_LEVELS, REQ_MODE, REQ_NONE_WORD, REQ_NPAGES, REQ_ORDER_SHIFT, REQ_OUT, REQ_PFN_SHIFT, REQ_PGMAP,
  REQ_REQ_FAULT, REQ_REQ_WRITE, REQ_ROOT, REQ_VALID_WORD, REQ_VPN, REQ_WRITE_WORD, REQ_ZERO_PFN, STOP_END, STOP_ENTRY, STOP_LAST, STOP_LEVEL, STOP_REASON,
  STOP_SLOT, STOP_VPN, WALK_FAULT, WALK_PER_PAGE,
} from '../abi.ts';
import type { Mm } from '../mm/index.ts';
import type { Vpn } from '../units.ts';

/** How pages are written down. */
export interface WalkEncoding {
  readonly pfnShift: number;
  /** 0: no order in the words */
  readonly orderShift: number;
  readonly valid: bigint;
  readonly write: bigint;
  readonly none: bigint;
  /** request bits */
  readonly reqFault: bigint;
  readonly reqWrite: bigint;
}

export class RangeWalk {
  readonly #mm: Mm;
  readonly #req: number;
  readonly #out: number;
  readonly #start: Vpn;
  readonly #encoding: WalkEncoding;
  readonly #extraMode: number;

  /** `mode`: WALK_ bits besides those that the requests decide. `out`: arena offset of the word of page `start`. */
  constructor(mm: Mm, start: Vpn, out: number, encoding: WalkEncoding, mode: number) {
    this.#mm = mm;
    this.#req = mm.platform.arena.request();
    this.#out = out;
    this.#start = start;
    this.#encoding = encoding;
    this.#extraMode = mode;
  }

  /** Fills in the request; before each series of `run`s, because other walks use the same block. */
  prepare(defaultFlags: bigint, mask: bigint): void {
    const { platform, pageTable } = this.#mm;
    const { u32, u64, f64 } = platform.arena;
    const r = this.#req;
    const e = this.#encoding;
    const asks = ((defaultFlags | mask) & e.reqFault) !== 0n;
    u32[(r + REQ_ROOT) >>> 2] = pageTable.root;
    u32[(r + REQ_LEVELS) >>> 2] = pageTable.levels;
    u32[(r + REQ_MODE) >>> 2] = this.#extraMode | (asks ? WALK_FAULT : 0) | (asks && mask !== 0n ? WALK_PER_PAGE : 0);
    u32[(r + REQ_BUDGET) >>> 2] = 0;
    u32[(r + REQ_DEVMAP_BIT) >>> 2] = platform.bugs.has('devmap-pte-special') ? DEVMAP_BIT_NONE : platform.profile.devmapBit;
    u32[(r + REQ_PFN_SHIFT) >>> 2] = e.pfnShift;
    u32[(r + REQ_ORDER_SHIFT) >>> 2] = e.orderShift;
    u64[(r + REQ_VALID_WORD) >>> 3] = e.valid;
    u64[(r + REQ_WRITE_WORD) >>> 3] = e.write;
    u64[(r + REQ_NONE_WORD) >>> 3] = e.none;
    u64[(r + REQ_REQ_FAULT) >>> 3] = e.reqFault;
    u64[(r + REQ_REQ_WRITE) >>> 3] = e.reqWrite;
    u64[(r + REQ_FLAGS_MASK) >>> 3] = mask;
    u64[(r + REQ_DEFAULT) >>> 3] = defaultFlags;
    f64[(r + REQ_ZERO_PFN) >>> 3] = platform.ram.zeroPfn;
  }

  /** Walks `[vpn, end)`; the answers are in the fields below until anything else uses the block. `pgmap`: index + 1 of a held one. */
  run(vpn: Vpn, end: Vpn, pgmap = 0): number {
    const { u32, f64 } = this.#mm.platform.arena;
    const r = this.#req;
    f64[(r + REQ_VPN) >>> 3] = vpn;
    u32[(r + REQ_NPAGES) >>> 2] = end - vpn;
    u32[(r + REQ_OUT) >>> 2] = this.#out + (vpn - this.#start) * 8;
    u32[(r + REQ_PGMAP) >>> 2] = pgmap;
    this.#mm.platform.arena.walker.walk(r);
    return u32[(r + STOP_REASON) >>> 2] as number;
  }

  get stopVpn(): Vpn {
    return this.#mm.platform.arena.f64[(this.#req + STOP_VPN) >>> 3] as number;
  }

  /** end of the chunk in which it stopped: one entry's span, clipped to the range */
  get stopEnd(): Vpn {
    return this.#mm.platform.arena.f64[(this.#req + STOP_END) >>> 3] as number;
  }

  get stopLevel(): number {
    return this.#mm.platform.arena.u32[(this.#req + STOP_LEVEL) >>> 2] as number;
  }

  get entryLo(): number {
    return this.#mm.platform.arena.u32[(this.#req + STOP_ENTRY) >>> 2] as number;
  }

  get entryHi(): number {
    return this.#mm.platform.arena.u32[((this.#req + STOP_ENTRY) >>> 2) + 1] as number;
  }

  /** arena offset of the entry, 0 where there is no table for it */
  get stopSlot(): number {
    return this.#mm.platform.arena.u32[(this.#req + STOP_SLOT) >>> 2] as number;
  }

  /** end of what was not a trailing hole */
  get last(): Vpn {
    return this.#mm.platform.arena.f64[(this.#req + STOP_LAST) >>> 3] as number;
  }

  /** index + 1 of the pgmap that the walk held a reference on when it stopped, or 0 */
  get pgmapHeld(): number {
    return this.#mm.platform.arena.u32[(this.#req + REQ_PGMAP) >>> 2] as number;
  }
}
