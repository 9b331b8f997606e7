/**
 * Random address spaces in a small arena, written entry by entry, and requests over them: what a walk can meet, from
 * uniform tables to entries that no sound table has.
 */
import * as abi from '../../../dist/abi.js';

const PFN_BITS = 40n;
const NX = 1n << 63n;
const DEVMAP = 1n << 58n;
const ZERO_PFN = 0x1234n;

/** mulberry32: the seed is the whole state. */
export class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }
  /** an integer in [0, n) */
  below(n: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * n);
  }
  chance(p: number): boolean {
    return this.below(1 << 20) < p * (1 << 20);
  }
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }
}

/** A pagemap's frames [from, to). */
interface Pagemap {
  from: bigint;
  to: bigint;
  live: boolean;
}

/** Header, pagemaps and one address space in `memory`; frames grow from FRAMES. */
export class Space {
  readonly memory: WebAssembly.Memory;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly words: BigUint64Array;
  readonly levels: number;
  readonly root: number;
  readonly pagemaps: Pagemap[] = [];

  constructor(memory: WebAssembly.Memory, levels: number) {
    this.memory = memory;
    this.bytes = new Uint8Array(memory.buffer);
    this.view = new DataView(memory.buffer);
    this.words = new BigUint64Array(memory.buffer);
    this.levels = levels;
    this.bytes.fill(0, abi.HEADER, abi.FRAMES);
    this.u32(abi.HDR_MAGIC, abi.ARENA_MAGIC);
    this.u32(abi.HDR_ABI_VERSION, abi.ABI_VERSION);
    this.u32(abi.HDR_FRAME_NEXT, abi.FRAMES);
    this.u32(abi.HDR_FRAME_LIMIT, this.bytes.length);
    this.root = this.table();
  }

  u32(offset: number, value: number): void {
    this.view.setUint32(offset, value, true);
  }

  /** A new, empty table. */
  table(): number {
    const frame = this.view.getUint32(abi.HDR_FRAME_NEXT, true);
    this.bytes.fill(0, frame, frame + abi.PAGE_SIZE);
    this.u32(abi.HDR_FRAME_NEXT, frame + abi.PAGE_SIZE);
    return frame;
  }

  /** Sets the entry of page `vpn` at `level`, with the tables above it. */
  set(vpn: bigint, level: number, entry: bigint): void {
    let table = this.root;
    for (let at = this.levels - 1; ; at--) {
      const slot = table / 8 + Number((vpn >> BigInt(9 * at)) & 511n);
      if (at === level) {
        this.words[slot] = entry;
        return;
      }
      if (this.words[slot] === 0n) this.words[slot] = BigInt(this.table()) | 0x67n;
      table = Number((this.words[slot] as bigint) & BigInt(abi.PTE_PFN_MASK));
    }
  }

  /** Sorted pagemaps of odd sizes; a gap may lie between two. */
  addPagemaps(random: Random): void {
    let at = 0x10000000n + BigInt(random.below(1 << 20));
    const count = 1 + random.below(6);
    for (let i = 0; i < count; i++) {
      const to = at + BigInt(1 + random.below(random.pick([8, 600, 5000, 300_000])));
      this.pagemaps.push({ from: at, to, live: !random.chance(0.2) });
      at = to + (random.chance(0.5) ? 0n : BigInt(random.below(100)));
    }
    for (const [i, { from, to, live }] of this.pagemaps.entries()) {
      const entry = abi.PGMAP_TABLE + i * abi.PGMAP_STRIDE;
      this.view.setBigUint64(entry + abi.PGMAP_BASE, from << 12n, true);
      this.view.setBigUint64(entry + abi.PGMAP_END, to << 12n, true);
      this.u32(entry + abi.PGMAP_STATE, live ? abi.PGMAP_LIVE : abi.PGMAP_DYING);
      this.u32(entry + abi.PGMAP_ID, i + 1);
    }
    this.u32(abi.HDR_PGMAP_COUNT, count);
  }
}

/** A frame: mostly of a pagemap, so that runs and edges of them are met. */
function framesFrom(space: Space, random: Random): { pfn: bigint; devmap: boolean } {
  const pagemap = random.pick(space.pagemaps);
  if (random.chance(0.3)) return { pfn: BigInt(random.below(2 ** 31)) * 512n % (1n << PFN_BITS), devmap: false };
  const size = Number(pagemap.to - pagemap.from);
  return { pfn: pagemap.from + BigInt(random.below(size)), devmap: !random.chance(0.05) };
}

function pteOf(pfn: bigint, devmap: boolean, writable: boolean, random: Random): bigint {
  const incidental = (random.chance(0.5) ? BigInt(abi.PTE_ACCESSED) : 0n) | (random.chance(0.3) ? BigInt(abi.PTE_DIRTY) : 0n) | (random.chance(0.5) ? NX : 0n);
  return (pfn << 12n) | 5n | (writable ? 2n : 0n) | (devmap ? DEVMAP : 0n) | incidental;
}

/** An entry that stops a walk, or is out of the ordinary. */
function oddPte(random: Random): bigint {
  return random.pick([
    BigInt(abi.PTE_DIRTY), // none, but for a bit that does not count
    0x1000n, // not present
    (0x777n << 12n) | BigInt(abi.PTE_PROTNONE),
    (0x888n << 12n) | 7n | BigInt(abi.PTE_SPECIAL),
    (ZERO_PFN << 12n) | 5n | BigInt(abi.PTE_SPECIAL),
    (ZERO_PFN << 12n) | 7n | BigInt(abi.PTE_SPECIAL),
    (0x10n << 12n) | 7n | DEVMAP, // of no pagemap
  ]);
}

/** A table for the 512 pages from `vpn`: runs of alike entries, with what `odd` says in between. */
function fillPtes(space: Space, vpn: bigint, random: Random): void {
  const readOnly = random.pick([0, 0, 0.1, 1]);
  const holes = random.pick([0, 0, 0.02, 0.3]);
  const odd = random.pick([0, 0, 0, 0.005]);
  const longest = random.pick([3, 40, 600]);
  for (let i = 0; i < 512; ) {
    let { pfn, devmap } = framesFrom(space, random);
    for (let run = 1 + random.below(longest); run > 0 && i < 512; run--, i++, pfn++) {
      const entry = random.chance(odd) ? oddPte(random) : random.chance(holes) ? 0n : pteOf(pfn, devmap, !random.chance(readOnly), random);
      space.set(vpn + BigInt(i), abi.LEVEL_PTE, entry);
    }
  }
}

/** Entries of the 2 MiB from `vpn`. */
function fillPmd(space: Space, vpn: bigint, random: Random): void {
  const what = random.below(20);
  if (what < 3) return;
  if (what < 8) {
    const { pfn, devmap } = framesFrom(space, random);
    space.set(vpn, abi.LEVEL_PMD, pteOf(pfn & ~511n, devmap, !random.chance(0.3), random) | BigInt(abi.PTE_PSE) | (random.chance(0.1) ? 0x1000n : 0n));
  } else if (what === 8 && random.chance(0.5)) {
    space.set(vpn, abi.LEVEL_PMD, random.pick([0x1000n, 0x1n | (1n << 44n), BigInt(abi.PTE_ACCESSED), 0x67n, (0x888n << 21n) | 0x87n | BigInt(abi.PTE_SPECIAL)]));
  } else {
    fillPtes(space, vpn, random);
  }
}

/** Builds up to eight chunks of 2 MiB around a place, with 1 GiB leaves where it crosses one. Returns the first page and their number. */
export function fillSpace(space: Space, random: Random): { vpn: bigint; npages: number } {
  space.addPagemaps(random);
  const top = 1n << BigInt(9 * space.levels);
  const places = [0n, 1n << 31n, 1n << 32n, (1n << 36n) - 2048n, (1n << 45n) - 4096n, 262144n * 5n].filter((place) => place + 4096n <= top);
  const base = random.pick(places);
  const chunks = 1 + random.below(7);
  for (let chunk = 0; chunk < chunks; chunk++) {
    const vpn = base + BigInt(512 * chunk);
    if (chunk === 0 && vpn % 262144n === 0n && random.chance(0.2)) {
      const { pfn, devmap } = framesFrom(space, random);
      const odd = random.chance(0.2);
      space.set(vpn, abi.LEVEL_PUD, odd ? random.pick([0n, 0x3000n]) : pteOf(pfn & ~262143n, devmap, !random.chance(0.3), random) | BigInt(abi.PTE_PSE));
      break;
    }
    if (vpn + 512n <= top) fillPmd(space, vpn, random);
  }
  if (random.chance(0.02)) space.set(base, abi.LEVEL_P4D, random.pick([0x1000n, 0x87n]));
  const skip = random.below(700);
  const end = base + BigInt(512 * chunks);
  const last = end < top ? end : top;
  const vpn = base + BigInt(skip) < last ? base + BigInt(skip) : base;
  return { vpn, npages: Number(last - vpn) - random.below(Math.min(Number(last - vpn), 500)) };
}

/** Writes a request of random mode and encoding at `request`; the words begin at `out`. */
export function fillRequest(space: Space, request: number, range: { vpn: bigint; npages: number }, out: number, modes: number, random: Random): void {
  const f64 = (field: number, value: bigint): void => space.view.setFloat64(request + field, Number(value), true);
  const u64 = (field: number, value: bigint): void => space.view.setBigUint64(request + field, value, true);
  space.bytes.fill(0, request, request + abi.REQUEST_STRIDE);
  f64(abi.REQ_VPN, range.vpn);
  f64(abi.REQ_ZERO_PFN, ZERO_PFN);
  space.u32(request + abi.REQ_NPAGES, range.npages);
  space.u32(request + abi.REQ_ROOT, space.root);
  space.u32(request + abi.REQ_LEVELS, space.levels);
  space.u32(request + abi.REQ_OUT, out);
  space.u32(request + abi.REQ_DEVMAP_BIT, random.chance(0.1) ? abi.DEVMAP_BIT_NONE : 58);
  let mode = 0;
  for (const bit of [abi.WALK_FAULT, abi.WALK_PER_PAGE, abi.WALK_PGMAP, abi.WALK_ZERO_OK, abi.WALK_NO_FILL, abi.WALK_STOP_AT_HOLES]) {
    if (modes & bit && random.chance(bit === abi.WALK_STOP_AT_HOLES || bit === abi.WALK_NO_FILL ? 0.1 : 0.5)) mode |= bit;
  }
  space.u32(request + abi.REQ_MODE, mode);
  const modern = random.chance(0.4);
  space.u32(request + abi.REQ_PFN_SHIFT, modern ? 0 : random.pick([0, 4, 8, 12, 12, 14]));
  space.u32(request + abi.REQ_ORDER_SHIFT, modern ? 57 - 5 : 0);
  // The requests of a driver that wants more than a page: flags as words use them, or bits of their own.
  const valid = modern ? 1n << 63n : random.pick([1n, 0n, 1n << 62n]);
  const write = modern ? 1n << 62n : random.pick([2n, 2n, 1n << 63n, 1n << 20n]);
  u64(abi.REQ_VALID_WORD, valid);
  u64(abi.REQ_WRITE_WORD, write);
  u64(abi.REQ_NONE_WORD, random.pick([0n, 0xfffn, 1n << 61n]));
  u64(abi.REQ_REQ_FAULT, modern ? 1n << 63n : 1n);
  u64(abi.REQ_REQ_WRITE, modern ? 1n << 62n : 2n);
  u64(abi.REQ_FLAGS_MASK, random.chance(0.7) ? (1n << 64n) - 1n : 0n);
  u64(abi.REQ_DEFAULT, random.chance(0.6) ? 0n : modern ? 3n << 62n : random.pick([1n, 3n, 2n]));
  for (let i = 0; i < range.npages; i++) {
    const asks = random.chance(0.01) ? (modern ? random.pick([1n, 3n, 2n]) << 62n : random.pick([1n, 2n, 3n])) : 0n;
    space.words[out / 8 + i] = (BigInt(i) << 24n) | asks;
  }
}
