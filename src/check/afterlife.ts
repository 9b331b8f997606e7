/**
 * What is over: a page that has failed is mapped no more when memory_failure() is done with it (mm/memory-failure.c), and what a driver has
 * freed is used by nobody.
 */
import { PMD_PAGES } from '../abi.ts';
import type { MachineEvent } from '../events/events.ts';
import type { Mm } from '../mm/index.ts';
import { addrOf, hex } from '../units.ts';
import { entryText, type Report } from './finding.ts';
import { chunkNow, entryAt, frameOf } from './rights.ts';
import type { Looked } from './rules.ts';

/** The process had the page at `vpn` when it failed. */
export function checkPoison(mm: Mm, { vpn, pfn }: Extract<MachineEvent, { type: 'poison' }>, report: Report, looked: Looked): void {
  looked['poison-unmapped']++;
  const chunk = mm.alive ? chunkNow(mm.pageTable, vpn) : null;
  const i = vpn % PMD_PAGES;
  if (chunk === null || frameOf(chunk, i) !== pfn) return;
  const cpu = entryText(entryAt(chunk, i), mm.platform.profile.devmapBit);
  report({
    rule: 'poison-unmapped', mm: mm.id, start: vpn, end: vpn + 1, cpu, what: `${mm.name} still has ${cpu} at ${hex(addrOf(vpn))}, a page that has failed`,
    missing: 'the index that is written down for a page is its own, and what maps the file there is unmapped',
  });
}

/** Something was done with what a driver made. */
export function checkUse({ mm, what, whose, freed }: Extract<MachineEvent, { type: 'driver-used' }>, report: Report, looked: Looked): void {
  looked['use-after-free']++;
  if (freed === null) return;
  report({ rule: 'use-after-free', mm, start: 0, end: 0, what: `${what} uses what belongs to ${whose}, ${freed}`, missing: 'what leads there goes first: pages of its memory, faults under way, subscriptions' });
}
