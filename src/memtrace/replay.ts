/**
 * A trace carried out on machines' memory: what it touches is laid on DAX files at its own addresses, once for each page size asked for,
 * and every access goes through a modelled CPU's TLBs; what they do not know is walked for, and what no table has is faulted in, by the
 * processor or by a device that mirrors the process.
 *
 * Memory comes in pieces of 1 GiB, a file each, mapped when the trace first touches it, so that a page of any size can stand there; its
 * contents are never touched.
 */
import { createMachine, createMirror, type AddressSpace, type Machine, type Mirror, type Pmem } from '../api/index.ts';
import { createCosts, type CostModel, type CostOptions, type CostStats, type Cpu } from '../costs/index.ts';
import { HmmError, InvariantError } from '../errno.ts';
import { accessPage } from '../mm/index.ts';
import { GiB, LEVEL_SIZES, PAGE_SIZES, TiB, addrOf, alignDown, pagesOfLevel, type PageSize, type Vpn } from '../units.ts';
import { COST_STORE, PUD_PAGES, STOP_NEEDS_WRITE, TRACE_LOWEST } from '../abi.ts';
import { TraceDecoder, type ByteSource, type TraceCounts } from './decoder.ts';
import type { TraceFormat } from './format.ts';

export interface ReplayOptions {
  /** page sizes to lay the memory out in, each on its own (default all three) */
  readonly pages?: readonly PageSize[];
  /** who accesses (default cpu) */
  readonly through?: 'cpu' | 'device';
  readonly cpu?: string | Cpu;
  /** page size of a host's tables under these */
  readonly nested?: PageSize;
  readonly format?: TraceFormat;
  /** leave instruction fetches out (default: those of a device) */
  readonly withoutFetches?: boolean;
  readonly la57?: boolean;
}

/** What came of it at one page size. */
export interface SizeResult {
  readonly page: PageSize;
  readonly costs: CostStats;
  /** faults that brought a page in, by its size */
  readonly faults: Readonly<Record<PageSize, number>>;
  /** faults for the right to write only */
  readonly writeFaults: number;
  /** a device's: faults that the process took for it */
  readonly cpuFaults: number;
  /** bytes of page tables that were walked */
  readonly tableBytes: number;
  /** bytes that leaves of these tables map */
  readonly mappedBytes: number;
}

/** Records of a step: few enough to be heard between two, even where each touches a GiB of its own. */
const STEP_RECORDS = 2048;
/** Files are on devices of so many bytes. */
const PMEM_BYTES = 4 * TiB;
const FILES_A_PMEM = 4000;
/** below vm.max_map_count */
export const REGIONS_MAX = 60_000;
/** first page that no process of 47, or 56, bits has */
const MAP_END_47: Vpn = 2 ** 35 - 1;
const MAP_END_56: Vpn = 2 ** 44 - 1;

export class Replay implements Disposable {
  readonly machine: Machine;
  readonly decoder: TraceDecoder;
  readonly cpu: Cpu;
  readonly through: 'cpu' | 'device';
  readonly #sides: readonly Side[];
  /** accesses done, at every page size */
  accesses = 0;
  /** records at hand, and how many of them are done */
  #read = 0;
  #done = 0;

  private constructor(machine: Machine, source: ByteSource, options: ReplayOptions) {
    const { pages = LEVEL_SIZES, through = 'cpu', cpu, nested, format, la57 = false } = options;
    this.machine = machine;
    this.through = through;
    const { withoutFetches = through === 'device' } = options;
    this.decoder = new TraceDecoder(machine.core.platform.arena, source, { withoutFetches, la57, ...(format === undefined ? {} : { format }) });
    const costs: CostOptions = { ...(cpu === undefined ? {} : { cpu }), ...(nested === undefined ? {} : { nested }) };
    this.#sides = pages.map((page) => new Side(machine, page, through, costs, la57 ? MAP_END_56 : MAP_END_47));
    this.cpu = (this.#sides[0] as Side).costs.cpu;
  }

  /** Throws RangeError for a CPU that nobody knows, ENOMEM. */
  static async create(source: ByteSource, options: ReplayOptions = {}): Promise<Replay> {
    return new Replay(await createMachine({ profile: 'lab', native: 'off', la57: options.la57 ?? false }), source, options);
  }

  /** Some accesses; false at the end. Throws TraceError, ENOMEM, and what the source throws: all before that has been counted. */
  async step(): Promise<boolean> {
    if (this.#done === this.#read) {
      this.#done = 0;
      this.#read = await this.decoder.next();
    }
    const count = Math.min(this.#read - this.#done, STEP_RECORDS);
    for (const side of this.#sides) side.run(this.decoder.records + this.#done * 8, count);
    this.#done += count;
    this.accesses += count;
    return count > 0;
  }

  get counts(): Readonly<TraceCounts> {
    return this.decoder.counts;
  }

  /** So far. */
  get results(): SizeResult[] {
    return this.#sides.map((side) => side.result);
  }

  [Symbol.dispose](): void {
    this.machine.dispose();
  }
}

/** The memory at one page size, and who accesses it. */
class Side {
  readonly page: PageSize;
  readonly costs: CostModel;
  readonly #machine: Machine;
  readonly #space: AddressSpace;
  readonly #mirror: Mirror | null;
  readonly #end: Vpn;
  readonly #regions = new Set<number>();
  readonly #faults: Record<PageSize, number> = { '4K': 0, '2M': 0, '1G': 0 };
  #writeFaults = 0;
  #cpuFaults = 0;
  #pmem: Pmem | null = null;
  #files = 0;

  constructor(machine: Machine, page: PageSize, through: 'cpu' | 'device', costs: CostOptions, end: Vpn) {
    this.page = page;
    this.#machine = machine;
    this.#end = end;
    this.#space = machine.mm({ name: page });
    this.#mirror = through === 'device' ? createMirror(this.#space, { name: `device ${page}` }) : null;
    this.costs = createCosts(this.#mirror ?? this.#space, costs);
  }

  run(records: number, count: number): void {
    const { u32 } = this.costs.table.arena;
    let faulted = -1;
    for (let done = 0; ; ) {
      done += this.costs.replay(records + done * 8, count - done);
      if (done === count) return;
      const at = (records + done * 8) >>> 2;
      const lo = u32[at] as number;
      const hi = u32[at + 1] as number;
      // A read fault may be followed by one for the right to write, and that is all.
      if (faulted === done) throw new InvariantError(`page 0x${vpnOfRecord(lo, hi).toString(16)} faults again after its fault`);
      faulted = done;
      this.#fault(vpnOfRecord(lo, hi), (lo & 3) === COST_STORE);
    }
  }

  get result(): SizeResult {
    const { frames } = this.costs.table;
    return {
      page: this.page,
      costs: this.costs.stats,
      faults: { ...this.#faults },
      writeFaults: this.#writeFaults,
      cpuFaults: this.#cpuFaults,
      tableBytes: frames * 4096,
      mappedBytes: this.#faults['4K'] * 4096 + this.#faults['2M'] * 2 ** 21 + this.#faults['1G'] * 2 ** 30,
    };
  }

  #fault(vpn: Vpn, write: boolean): void {
    const forRight = this.costs.stopReason === STOP_NEEDS_WRITE;
    this.#map(Math.floor(vpn / PUD_PAGES));
    const { driver } = this.#space;
    const { counts } = driver.core.platform;
    const before = counts.faults;
    if (this.#mirror === null) driver.run('trace', accessPage(this.#space.mm, vpn, write, 'trace'));
    else driver.run('trace', this.#mirror.device.page(...this.#block(vpn), write));
    if (this.#mirror !== null) this.#cpuFaults += counts.faults - before;
    const { table } = this.costs;
    table.look(vpn);
    if (forRight) this.#writeFaults++;
    else this.#faults[LEVEL_SIZES[table.level] as PageSize]++;
  }

  /** What a device asks for at once: the largest block of pages around `vpn`, up to this side's size, that lies in its file. */
  #block(vpn: Vpn): [start: Vpn, end: Vpn] {
    for (let { level } = PAGE_SIZES[this.page] as { level: number }; level > 0; level--) {
      const start = alignDown(vpn, pagesOfLevel(level));
      const end = start + pagesOfLevel(level);
      if (start >= TRACE_LOWEST / 4096 && end <= this.#end) return [start, end];
    }
    return [vpn, vpn + 1];
  }

  /** Maps a file over a GiB of addresses, the first time that it is touched. Throws ENOMEM, ENOSPC. */
  #map(region: number): void {
    if (this.#regions.has(region)) return;
    if (this.#regions.size === REGIONS_MAX) throw new HmmError('ENOMEM', 'trace', `the trace touches more than ${REGIONS_MAX} different GiB of addresses`);
    if (this.#pmem === null || this.#files === FILES_A_PMEM) {
      this.#pmem = this.#machine.pmem({ size: PMEM_BYTES });
      this.#files = 0;
    }
    const file = this.#pmem.file(`trace${this.#files++}`, { size: GiB, extent: this.page });
    const start = Math.max(region * PUD_PAGES, TRACE_LOWEST / 4096);
    const end = Math.min((region + 1) * PUD_PAGES, this.#end);
    const offset = (start - alignDown(start, PUD_PAGES)) * 4096;
    this.#space.mmap(file, { length: (end - start) * 4096, at: addrOf(start), fixed: 'fixed', offset, prot: 'rwx' });
    this.#regions.add(region);
  }
}

function vpnOfRecord(lo: number, hi: number): Vpn {
  return hi * 2 ** 30 + (lo >>> 2);
}
