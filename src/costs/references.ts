/**
 * How many entries of page tables a walk reads that nothing is known for: one a level, and nested the product of both.
 *
 * A guest of n levels on a host of m: each of the guest's n tables lies at a guest address that costs a walk of m, and so does the page
 * itself: (n + 1)(m + 1) - 1. 4K on 4K is 24.
 */
import { PAGE_SIZES, type PageSize } from '../units.ts';

export interface ColdWalk {
  readonly page: PageSize;
  /** levels of the tables (default 4) */
  readonly levels?: 4 | 5;
  /** page size and levels of the host's tables, where there is one */
  readonly host?: { readonly page: PageSize; readonly levels?: 4 | 5 };
}

export function coldReferences({ page, levels = 4, host }: ColdWalk): number {
  const own = levels - PAGE_SIZES[page].level;
  return host === undefined ? own : (own + 1) * (coldReferences(host) + 1) - 1;
}
