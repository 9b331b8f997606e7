/**
 * One WASM build under the random operations of tables.test.ts: fills in request blocks and reads answers and tables back.
 */
import {
  COLLECT_ENTRY, COLLECT_LEVEL, COLLECT_STRIDE, COLLECT_VPN, FRAMES, HDR_FRAME_NEXT, REQ_ACCESS, REQ_AND, REQ_CAPACITY, REQ_IN, REQ_LEVEL, REQ_LEVELS,
  REQ_MODE, REQ_NONE_WORD, REQ_NPAGES, REQ_OR, REQ_OR_IF_DIRTY, REQ_OUT, REQ_PFN, REQ_PFN_SHIFT, REQ_ROOT, REQ_VALID_WORD, REQ_VPN, REQ_WRITE_WORD,
  STOP_CHANGED, STOP_DONE, STOP_DONE_ALL, STOP_ENTRY, STOP_FREED, STOP_LEAVES, STOP_LEVEL, STOP_REASON, STOP_VPN, WALK_COLLECT, WALK_FREE_TABLES,
} from '../../src/abi.ts';
import type { Answer, InstallWords, Record } from './naiveTables.ts';
import type { BareArena } from './wasm.ts';

export class TableSide {
  readonly arena: BareArena;
  readonly levels: number;
  readonly root: number;

  constructor(arena: BareArena, levels: number) {
    this.arena = arena;
    this.levels = levels;
    arena.reset();
    this.root = arena.root();
    for (const call of ['zap', 'map'] as const) if (typeof arena.wasm[call] !== 'function') throw new Error(`no export ${call}`);
  }

  #request(vpn: bigint, npages: number, mode = 0): number {
    const { arena } = this;
    const r = arena.req;
    arena.setF(r + REQ_VPN, Number(vpn));
    arena.set32(r + REQ_NPAGES, npages);
    arena.set32(r + REQ_ROOT, this.root);
    arena.set32(r + REQ_LEVELS, this.levels);
    arena.set32(r + REQ_MODE, mode);
    arena.set32(r + REQ_OUT, arena.free);
    return r;
  }

  #answer(vpn: bigint, done: number): Answer {
    const { arena } = this;
    const r = arena.req;
    const get = (field: number): number => arena.get32(r + field);
    if (get(STOP_DONE) !== done >>> 0) throw new Error(`returned ${done}, STOP_DONE ${get(STOP_DONE)}`);
    if (arena.getF(r + STOP_VPN) !== Number(vpn) + (done >>> 0)) throw new Error(`STOP_VPN ${arena.getF(r + STOP_VPN)} after ${done} pages`);
    const reason = get(STOP_REASON);
    const entry = reason === STOP_DONE_ALL ? 0n : arena.get64(r + STOP_ENTRY);
    return {
      reason, done: done >>> 0, level: get(STOP_LEVEL), entry: this.#isTable(entry, get(STOP_LEVEL)) ? -1n : entry, changed: get(STOP_CHANGED),
      freed: get(STOP_FREED), leaves: [get(STOP_LEAVES), get(STOP_LEAVES + 4), get(STOP_LEAVES + 8)],
    };
  }

  /** The model does not know where tables lie: to it they are all -1. */
  #isTable(entry: bigint, level: number): boolean {
    const address = entry & 0x000ffffffffff000n;
    return level > 0 && (entry & 0x81n) === 1n && address >= BigInt(FRAMES) && address < BigInt(this.arena.get32(HDR_FRAME_NEXT));
  }

  map(vpn: bigint, pfn: bigint, npages: number, level: number, flags: bigint): Answer {
    const r = this.#request(vpn, npages);
    this.arena.setF(r + REQ_PFN, Number(pfn));
    this.arena.set32(r + REQ_LEVEL, level);
    this.arena.set64(r + REQ_OR, flags);
    return this.#answer(vpn, this.arena.wasm.map(r));
  }

  zap(vpn: bigint, npages: number, capacity: number | null, freeTables: boolean, records: Record[]): Answer {
    const { arena } = this;
    const r = this.#request(vpn, npages, (capacity === null ? 0 : WALK_COLLECT) | (freeTables ? WALK_FREE_TABLES : 0));
    arena.set32(r + REQ_CAPACITY, capacity ?? 0);
    const answer = this.#answer(vpn, arena.wasm.zap(r));
    for (let i = 0; capacity !== null && i < answer.changed; i++) {
      const at = arena.free + i * COLLECT_STRIDE;
      records.push({ vpn: BigInt(arena.getF(at + COLLECT_VPN)), entry: arena.get64(at + COLLECT_ENTRY), level: arena.get32(at + COLLECT_LEVEL) });
    }
    return answer;
  }

  protect(vpn: bigint, npages: number, and: bigint, or: bigint, orIfDirty: bigint): Answer {
    const r = this.#request(vpn, npages);
    this.arena.set64(r + REQ_AND, and);
    this.arena.set64(r + REQ_OR, or);
    this.arena.set64(r + REQ_OR_IF_DIRTY, orIfDirty);
    return this.#answer(vpn, this.arena.wasm.protect(r));
  }

  /** The bytes around the bitmap must stay as they are. */
  harvest(vpn: bigint, npages: number, mask: bigint): { answer: Answer; bits: boolean[] } {
    const { arena } = this;
    const r = this.#request(vpn, npages);
    const at = arena.free + 4096 + (npages % 7);
    const nbytes = Math.ceil(npages / 8);
    arena.u8.fill(0xaa, at - 16, at + nbytes + 16);
    arena.set32(r + REQ_OUT, at);
    arena.set64(r + REQ_OR, mask);
    const answer = this.#answer(vpn, arena.wasm.harvest(r));
    for (let i = 1; i <= 16; i++) if (arena.u8[at - i] !== 0xaa || arena.u8[at + nbytes + i - 1] !== 0xaa) throw new Error('harvest wrote beside its bitmap');
    const bits = Array.from({ length: npages }, (_, i) => (((arena.u8[at + (i >> 3)] as number) >> (i & 7)) & 1) === 1);
    return { answer, bits };
  }

  install(vpn: bigint, w: InstallWords): Answer {
    const { arena } = this;
    const r = this.#request(vpn, w.words.length);
    arena.set32(r + REQ_IN, arena.free);
    arena.u64.set(w.words, arena.free / 8);
    arena.set32(r + REQ_PFN_SHIFT, w.shift);
    arena.set64(r + REQ_AND, w.mask);
    arena.set64(r + REQ_VALID_WORD, w.valid);
    arena.set64(r + REQ_WRITE_WORD, w.write);
    arena.set64(r + REQ_NONE_WORD, w.none);
    arena.set64(r + REQ_OR, w.flags);
    return this.#answer(vpn, arena.wasm.install(r));
  }

  /** translate() of each page, by single calls and by a batch, which must agree. */
  translate(vpns: readonly bigint[], access: number): bigint[] {
    const { arena } = this;
    const single = vpns.map((vpn) => BigInt(arena.wasm.translate(this.root, this.levels, Number(vpn), access)));
    const r = this.#request(0n, 0);
    vpns.forEach((vpn, i) => arena.setF(arena.free + i * 8, Number(vpn)));
    arena.set32(r + REQ_IN, arena.free);
    arena.set32(r + REQ_OUT, arena.free + 8 * vpns.length);
    arena.set32(r + REQ_CAPACITY, vpns.length);
    arena.set32(r + REQ_ACCESS, access);
    const found = arena.wasm.translateBatch(r) >>> 0;
    const batch = vpns.map((_, i) => BigInt(arena.getF(arena.free + 8 * (vpns.length + i))));
    if (found !== batch.filter((pfn) => pfn >= 0n).length) throw new Error(`batch says ${found} found`);
    if (batch.some((pfn, i) => pfn !== single[i])) throw new Error('batch and single translate differ');
    return batch;
  }

  /** For each level, every entry that is no table by its place; and the number of tables below the top. */
  dump(): { entries: Map<number, bigint>[]; tables: number } {
    const { arena } = this;
    const entries = Array.from({ length: this.levels }, () => new Map<number, bigint>());
    let tables = 0;
    const visit = (table: number, level: number, first: number): void => {
      for (let i = 0; i < 512; i++) {
        if (arena.u32[table / 4 + i * 2] === 0 && arena.u32[table / 4 + i * 2 + 1] === 0) continue;
        const entry = arena.get64(table + i * 8);
        if (this.#isTable(entry, level)) {
          tables++;
          visit(Number(entry & 0x000ffffffffff000n), level - 1, (first + i) * 512);
        } else entries[level]?.set(first + i, entry);
      }
    };
    visit(this.root, this.levels - 1, 0);
    return { entries, tables };
  }
}
