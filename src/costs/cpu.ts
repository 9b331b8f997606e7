/**
 * How a CPU is described: its TLBs, its paging-structure caches, and what a look into each costs. Data only, a file a CPU in cpus/.
 *
 * Vendors publish little, so every number says where it is from. `documented` was read in a text, a vendor's or one about the part,
 * `measured` on hardware, `unverified` is common knowledge that no source at hand confirmed, `assumed` fills a gap.
 */
import type { PageSize } from '../units.ts';

export type Trust = 'documented' | 'measured' | 'unverified' | 'assumed';

/** Where a number is from. */
export interface Source {
  readonly trust: Trust;
  readonly text: string;
}

export type AccessKind = 'fetch' | 'load' | 'store';
export const ACCESS_KINDS: readonly AccessKind[] = ['fetch', 'load', 'store'];

export interface Tlb {
  readonly name: string;
  readonly stage: 1 | 2;
  readonly kinds: readonly AccessKind[];
  readonly sizes: readonly PageSize[];
  readonly entries: number;
  /** entries / ways is a power of two; as many as entries: fully associative */
  readonly ways: number;
  /** 1G pages are put in as pages of 2M, and go to the L1 TLB as 1G again */
  readonly smash?: boolean;
  readonly source: Source;
}

/** By what its entries point to: a PDE cache's to tables of 4K pages. */
export type StructureName = 'PDE' | 'PDPTE' | 'PML4E' | 'PML5E';
export const STRUCTURE_LEVELS: Readonly<Record<StructureName, number>> = { PDE: 1, PDPTE: 2, PML4E: 3, PML5E: 4 };

export interface StructureCache {
  readonly name: StructureName;
  readonly entries: number;
  readonly ways: number;
  readonly source: Source;
}

/** Cycles, with where the number is from. */
export interface Cycles {
  readonly cycles: number;
  readonly source: Source;
}

export interface Cpu {
  /** what users call it by */
  readonly name: string;
  readonly title: string;
  readonly tlbs: readonly Tlb[];
  readonly structures: readonly StructureCache[];
  /** of an L1 miss that the L2 TLB answers */
  readonly l2Hit: Cycles;
  /** of one entry that a walk reads: a walk takes as many of these as it has references */
  readonly reference: Cycles;
}

export const documented = (text: string): Source => ({ trust: 'documented', text });
export const measured = (text: string): Source => ({ trust: 'measured', text });
export const unverified = (text: string): Source => ({ trust: 'unverified', text });
export const assumed = (text: string): Source => ({ trust: 'assumed', text });
