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

export function pagesOf(level: number): bigint {
  return 512n ** BigInt(level);
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
  /** raw entries that are no tables, by level and place */
  readonly entries = new Map<string, bigint>();
  /** tables, by the level of their entries and their place; the top one is not listed */
  readonly tables = new Set<string>();

  constructor(levels: number) {
    this.levels = levels;
  }

  get pages(): bigint {
    return pagesOf(this.levels);
  }

  static key(level: number, vpn: bigint): string {
    return `${level}:${vpn / pagesOf(level)}`;
  }

  hasTable(level: number, vpn: bigint): boolean {
    return level === this.levels - 1 || this.tables.has(`${level}:${vpn / pagesOf(level + 1)}`);
  }

  addTables(vpn: bigint, level: number): void {
    for (let l = level; l < this.levels - 1; l++) this.tables.add(`${l}:${vpn / pagesOf(l + 1)}`);
  }

  dropTable(level: number, vpn: bigint): void {
    this.tables.delete(`${level}:${vpn / pagesOf(level + 1)}`);
  }

  get(level: number, vpn: bigint): bigint {
    return this.entries.get(NaiveSpace.key(level, vpn)) ?? 0n;
  }

  set(level: number, vpn: bigint, entry: bigint): void {
    if (entry === 0n) this.entries.delete(NaiveSpace.key(level, vpn));
    else this.entries.set(NaiveSpace.key(level, vpn), entry);
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
