/** A table of a user's own driver, in whatever form he keeps it, against the CPU's: as checkMirror() for mirrors of this library. */
import { PMD_PAGES } from '../abi.ts';
import type { Mm } from '../mm/index.ts';
import { hex, type Vpn } from '../units.ts';
import { entryText, type Report } from './finding.ts';
import { chunkNow, entryAt, frameOfOwn, writableAt } from './rights.ts';
import type { Told } from './told.ts';

/** What the driver has for a page of its process. */
export interface DriverEntry {
  readonly vpn: Vpn;
  readonly pfn: number;
  readonly write: boolean;
}

export interface OwnDriver {
  readonly name: string;
  readonly mm: Mm;
  /** all that it has now */
  entries(): Iterable<DriverEntry>;
}

/** Compares all of it; one finding at most. Returns entries looked at. */
export function checkDriver({ name, mm, entries }: OwnDriver, told: Told | null, report: Report): number {
  const { devmapBit } = mm.platform.profile;
  let looked = 0;
  for (const { vpn, pfn, write } of entries()) {
    looked++;
    if (told?.isInFlight(vpn) === true) continue;
    const chunk = mm.alive ? chunkNow(mm.pageTable, vpn) : null;
    const i = vpn % PMD_PAGES;
    const frame = frameOfOwn(chunk, i);
    if (frame === pfn && (!write || writableAt(chunk, i))) continue;
    const cpu = frame < 0 ? 'nothing' : entryText(entryAt(chunk, i), devmapBit);
    const device = `pfn ${hex(pfn)}${write ? ', writable' : ''}`;
    const what = `${name} has ${device} at page ${hex(vpn)}, where ${mm.name} has ${cpu}`;
    report({ rule: 'mirror-coherent', mm: mm.id, start: vpn, end: vpn + 1, what, cpu, device, missing: 'the driver drops what is invalidated, and programs only what a range that is still valid says' });
    break;
  }
  return looked;
}
