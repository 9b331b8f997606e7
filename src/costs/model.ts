/**
 * A CPU's address translation, counted: put beside a page table, it is told each access and answers what it cost.
 *
 * It sees the tables as they are; what it remembers of them goes as on a CPU by invalidation alone (`invalidate`, `flush`, `switchTo`).
 * Ranges of pages are flushed as Linux does it: page by page up to a ceiling, and all of the address space's above it
 * (arch/x86/mm/tlb.c: flush_tlb_mm_range, tlb_single_page_flush_ceiling).
 */
import {
  COST_COUNTERS_END, COST_FAULTS, COST_FAULT_REFS, COST_HOST_LEVEL, COST_HOST_REFS, COST_L2_HITS, COST_LEVELS, COST_LOOKUPS, COST_MARK, COST_OUTCOME, COST_PCID, COST_REFS, COST_ROOT,
  COST_SKIPS, COST_WALKS, LEVEL_PUD,
} from '../abi.ts';
import type { Arena } from '../arena/index.ts';
import { HmmError } from '../errno.ts';
import type { PageTable } from '../pgtable/index.ts';
import { PAGE_SIZES, type PageSize, type Vpn } from '../units.ts';
import { ACCESS_KINDS, STRUCTURE_LEVELS, type AccessKind, type Cpu, type StructureName } from './cpu.ts';
import { layOut } from './layout.ts';
import { coldReferences } from './references.ts';

/** Pages up to which a range is flushed one by one. */
export const FLUSH_CEILING_PAGES = 33;
const PCIDS = 4096;
const ALL_PCIDS = 0xffffffff;

/** What one access cost. */
export interface AccessCost {
  /** who knew the page; 'fault': nobody may have it so */
  readonly by: 'L1' | 'L2' | 'walk' | 'fault';
  /** entries of page tables read */
  readonly references: number;
  /** beyond those of an L1 hit */
  readonly cycles: number;
}

/** Counts since the model was made. References and cycles of walks that ended in a fault stand apart. */
export interface CostStats {
  /** accesses */
  readonly lookups: Readonly<Record<AccessKind, number>>;
  readonly l1Hits: number;
  readonly l2Hits: number;
  readonly walks: number;
  /** walks, by the size of the page that they found */
  readonly walksBySize: Readonly<Record<PageSize, number>>;
  /** entries of page tables that walks read */
  readonly references: number;
  /** walks that a paging-structure cache shortened */
  readonly skips: Readonly<Record<StructureName, number>>;
  /** cycles beyond L1 hits: of L2 hits, and of every reference */
  readonly cycles: number;
  readonly faults: number;
  readonly faultReferences: number;
  readonly invalidations: InvalidationStats;
}

export interface InvalidationStats {
  /** pages invalidated one by one */
  readonly pages: number;
  /** flushes of one address space, or of everything */
  readonly flushes: number;
  /** entries of TLBs dropped by either */
  readonly dropped: number;
}

export interface ModelOptions {
  readonly cpu: Cpu;
  /** walks leave A, and D for stores, in the tables */
  readonly marks: boolean;
  /** the tables are a guest's: those of the host have pages of this size */
  readonly nested?: PageSize;
  /** pages up to which a range is flushed one by one (default 33) */
  readonly flushCeilingPages?: number;
  /** throws where the tables are no longer there */
  readonly check?: (op: string) => void;
}

export class TranslationModel {
  readonly cpu: Cpu;
  readonly table: PageTable;
  /** what the last access cost */
  last: AccessCost = { by: 'L1', references: 0, cycles: 0 };
  readonly #arena: Arena;
  readonly #offset: number;
  readonly #bytes: number;
  readonly #ceiling: number;
  readonly #invalidations = { pages: 0, flushes: 0, dropped: 0 };
  readonly #check: (op: string) => void;
  #isFree = false;

  /** Throws RangeError for a CPU that makes no sense, ENOMEM. */
  constructor(table: PageTable, options: ModelOptions) {
    const { cpu, nested, marks } = options;
    const { offset, bytes } = layOut(table.arena, cpu);
    this.cpu = cpu;
    this.table = table;
    this.#arena = table.arena;
    this.#offset = offset;
    this.#bytes = bytes;
    this.#check = options.check ?? (() => {});
    this.#ceiling = options.flushCeilingPages ?? FLUSH_CEILING_PAGES;
    this.#set(COST_ROOT, table.root);
    this.#set(COST_LEVELS, table.levels);
    this.#set(COST_MARK, marks ? 1 : 0);
    this.#set(COST_HOST_REFS, nested === undefined ? 0 : coldReferences({ page: nested }));
    this.#set(COST_HOST_LEVEL, nested === undefined ? LEVEL_PUD : PAGE_SIZES[nested].level);
  }

  /** One access to a page. */
  access(vpn: Vpn, kind: AccessKind): AccessCost {
    this.#live('costs');
    const before = this.#count(COST_FAULT_REFS);
    const answer = this.#arena.walker.costAccess(this.#offset, vpn, ACCESS_KINDS.indexOf(kind));
    const { l2Hit, reference } = this.cpu;
    if (answer === 0) this.last = { by: 'L1', references: 0, cycles: 0 };
    else if (answer === 1) this.last = { by: 'L2', references: 0, cycles: l2Hit.cycles };
    else {
      const references = answer < 0 ? this.#count(COST_FAULT_REFS) - before : Math.floor(answer / 4);
      this.last = { by: answer < 0 ? 'fault' : 'walk', references, cycles: references * reference.cycles };
    }
    return this.last;
  }

  /** Records of a trace at `records` (an arena offset), one after the other; returns how many were done before one faulted. */
  replay(records: number, count: number): number {
    this.#live('costs');
    return this.#arena.walker.costReplay(this.#offset, records, count) >>> 0;
  }

  /** STOP_* of the last replay that ended early. */
  get stopReason(): number {
    return -(this.#arena.i32[(this.#offset + COST_OUTCOME) >>> 2] as number);
  }

  /** The kernel flushes [start, end): INVLPG page by page, pages being `size`, or all of this address space. */
  invalidate(start: Vpn, end: Vpn, size: PageSize = '4K'): void {
    if (this.#isFree) return;
    const pages = Math.ceil((end - start) / PAGE_SIZES[size].npages);
    if (pages > this.#ceiling) {
      this.flush();
      return;
    }
    this.#invalidations.pages += pages;
    this.#invalidations.dropped += this.#arena.walker.costInvalidate(this.#offset, start, end) >>> 0;
  }

  /** Drops all that the current PCID has. */
  flush(): void {
    this.#flush(this.#arena.u32[(this.#offset + COST_PCID) >>> 2] as number);
  }

  /** Drops everything, as a CPU without PCIDs at every change of address space. */
  flushAll(): void {
    this.#flush(ALL_PCIDS);
  }

  /** Another address space: with a PCID of its own what it left here is still good, unless `keep` is false. Throws RangeError beyond 4095. */
  switchTo(pcid: number, options: { keep?: boolean } = {}): void {
    this.#live('switchTo');
    if (!Number.isInteger(pcid) || pcid < 0 || pcid >= PCIDS) throw new RangeError(`switchTo: pcid ${pcid} is not 0 to ${PCIDS - 1}`);
    this.#set(COST_PCID, pcid);
    this.#arena.walker.costFlush(this.#offset, PCIDS); // nobody's: only the page used last is forgotten
    if (options.keep === false) this.flush();
  }

  get stats(): CostStats {
    this.#live('costs');
    const [fetch = 0, load = 0, store = 0] = ACCESS_KINDS.map((_, i) => this.#count(COST_LOOKUPS + i * 8));
    const [small = 0, middle = 0, large = 0] = [0, 1, 2].map((level) => this.#count(COST_WALKS + level * 8));
    const walks = small + middle + large;
    const l2Hits = this.#count(COST_L2_HITS);
    const references = this.#count(COST_REFS);
    const faults = this.#count(COST_FAULTS);
    const skip = (name: StructureName): number => this.#count(COST_SKIPS + (STRUCTURE_LEVELS[name] - 1) * 8);
    return {
      lookups: { fetch, load, store },
      l1Hits: fetch + load + store - l2Hits - walks,
      l2Hits,
      walks,
      walksBySize: { '4K': small, '2M': middle, '1G': large },
      references,
      skips: { PDE: skip('PDE'), PDPTE: skip('PDPTE'), PML4E: skip('PML4E'), PML5E: skip('PML5E') },
      cycles: l2Hits * this.cpu.l2Hit.cycles + references * this.cpu.reference.cycles,
      faults,
      faultReferences: this.#count(COST_FAULT_REFS),
      invalidations: { ...this.#invalidations },
    };
  }

  /** Counters begin again; what is cached stays. */
  resetStats(): void {
    this.#live('costs');
    this.#arena.u8.fill(0, this.#offset + COST_LOOKUPS, this.#offset + COST_COUNTERS_END);
    Object.assign(this.#invalidations, { pages: 0, flushes: 0, dropped: 0 });
  }

  /** Gives the block back; with `isGone` only forgets it: the arena was handed out anew. */
  free(isGone = false): void {
    if (this.#isFree) return;
    this.#isFree = true;
    if (!isGone) this.#arena.blockFree(this.#offset, this.#bytes);
  }

  /** Throws EBADF once it was freed, and as `check` does. */
  #live(op: string): void {
    if (this.#isFree) throw new HmmError('EBADF', op, 'the cost model was disposed of');
    this.#check(op);
  }

  #flush(pcid: number): void {
    if (this.#isFree) return;
    this.#invalidations.flushes++;
    this.#invalidations.dropped += this.#arena.walker.costFlush(this.#offset, pcid) >>> 0;
  }

  #set(field: number, value: number): void {
    this.#arena.u32[(this.#offset + field) >>> 2] = value;
  }

  #count(field: number): number {
    const at = (this.#offset + field) >>> 2;
    return (this.#arena.u32[at] as number) + (this.#arena.u32[at + 1] as number) * 2 ** 32;
  }
}
