/** Who works on a pte table (mm/mremap.c: move_ptes) finds one there: not a leaf of 2M or 1G, whose frame it would take for a table. */
import { PMD_PAGES } from '../abi.ts';
import type { MachineEvent } from '../events/events.ts';
import type { Mm } from '../mm/index.ts';
import { addrOf, hex } from '../units.ts';
import { entryText, type Report } from './finding.ts';
import { chunkNow, entryAt } from './rights.ts';
import type { Looked } from './rules.ts';

/** The table over `vpn` is about to be locked. */
export function checkTable(mm: Mm, { vpn, by }: Extract<MachineEvent, { type: 'pte-table' }>, report: Report, looked: Looked): void {
  looked['leaf-not-table']++;
  const chunk = chunkNow(mm.pageTable, vpn);
  if (chunk === null || chunk instanceof Uint32Array) return;
  const cpu = entryText(entryAt(chunk, vpn % PMD_PAGES), mm.platform.profile.devmapBit);
  report({ rule: 'leaf-not-table', mm: mm.id, start: vpn, end: vpn + 1, what: `${by} takes ${cpu} over ${hex(addrOf(vpn))} of ${mm.name} for a table of ptes`, missing: 'the test for a huge leaf of a device, which is split or moved whole', cpu });
}
