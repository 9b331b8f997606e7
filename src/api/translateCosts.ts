/** What `translate` tells of a translation, where it is asked to: a model of the costs room, or anything of its shape. */
import type { PageTable } from '../pgtable/index.ts';
import type { Vpn } from '../units.ts';

export interface TranslateCosts {
  /** the tables that it stands beside */
  readonly table: PageTable;
  access(vpn: Vpn, kind: 'fetch' | 'load' | 'store'): unknown;
}

/** Counts a translation. Throws TypeError where `costs` stands beside other tables. */
export function charge(op: string, costs: TranslateCosts, table: PageTable, vpn: Vpn, kind: 'load' | 'store'): void {
  if (costs.table !== table) throw new TypeError(`${op}: costs is a model of another address space`);
  if (vpn < table.endVpn) costs.access(vpn, kind);
}
