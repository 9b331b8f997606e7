/**
 * An address space without an arena: which tables exist, and a map of entries. Written for tests to be obviously right:
 * BigInt throughout, one page at a time, sharing no line with assembly/.
 */
export const P = 1n;
export const RW = 2n;
export const A = 1n << 5n;
export const D = 1n << 6n;
export const PSE = 1n << 7n;
export const PROTNONE = 1n << 8n;
export const SPECIAL = 1n << 9n;
export const PFN = 0x000ffffffffff000n;

export type Kind = 'none' | 'leaf' | 'nonpresent' | 'bad';

/** Where the way down to a page ends. */
export interface Found {
  readonly level: number;
  readonly entry: bigint;
  readonly kind: Kind;
  /** pages under the entry */
  readonly first: bigint;
  readonly end: bigint;
}

const PAGES = [1n, 512n, 512n ** 2n, 512n ** 3n, 512n ** 4n, 512n ** 5n] as const;

export function pagesOf(level: number): bigint {
  return PAGES[level] as bigint;
}

function place(vpn: bigint, level: number): number {
  return Number(vpn / pagesOf(level));
}

export function kindOf(entry: bigint, level: number): Kind {
  if ((entry & ~(A | D)) === 0n) return 'none';
  if (level > 2) return 'bad';
  if ((entry & P) === 0n) return 'nonpresent';
  if (level > 0 && (entry & PSE) === 0n) return 'bad';
  return 'leaf';
}

/** First frame of a leaf. */
export function frameOf(entry: bigint, level: number): bigint {
  const pfn = (entry & PFN) >> 12n;
  return pfn - (pfn % pagesOf(level));
}

export class NaiveSpace {
  readonly levels: number;
  /** for each level, raw entries that are no tables, by place (vpn / pages of an entry) */
  readonly entries: readonly Map<number, bigint>[];
  /** for each level, the tables with entries of that level, by place (vpn / pages of a table); the top one is not listed */
  readonly tables: readonly Set<number>[];

  constructor(levels: number) {
    this.levels = levels;
    this.entries = Array.from({ length: levels }, () => new Map<number, bigint>());
    this.tables = Array.from({ length: levels - 1 }, () => new Set<number>());
  }

  get pages(): bigint {
    return pagesOf(this.levels);
  }

  /** Tables below the top one. */
  get tableCount(): number {
    return this.tables.reduce((sum, { size }) => sum + size, 0);
  }

  get entryCount(): number {
    return this.entries.reduce((sum, { size }) => sum + size, 0);
  }

  hasTable(level: number, vpn: bigint): boolean {
    return level === this.levels - 1 || this.tables[level]?.has(place(vpn, level + 1)) === true;
  }

  addTables(vpn: bigint, level: number): void {
    for (let l = level; l < this.levels - 1; l++) this.tables[l]?.add(place(vpn, l + 1));
  }

  dropTable(level: number, vpn: bigint): void {
    this.tables[level]?.delete(place(vpn, level + 1));
  }

  get(level: number, vpn: bigint): bigint {
    return this.entries[level]?.get(place(vpn, level)) ?? 0n;
  }

  set(level: number, vpn: bigint, entry: bigint): void {
    if (entry === 0n) this.entries[level]?.delete(place(vpn, level));
    else this.entries[level]?.set(place(vpn, level), entry);
  }

  find(vpn: bigint): Found {
    let level = this.levels - 1;
    while (level > 0 && this.hasTable(level - 1, vpn)) level--;
    const entry = this.get(level, vpn);
    const pages = pagesOf(level);
    const first = vpn - (vpn % pages);
    return { level, entry, kind: kindOf(entry, level), first, end: first + pages };
  }
}
