/**
 * Every mirror's table against the CPU's, whatever drives it: a device on the API of 2019 or the modern one, a virtual machine.
 *
 * An entry must point at the frame that the process's table has there, and must not be writable where that is not. Pages of an
 * invalidation in flight are left to its end.
 */
import { PMD_PAGES } from '../abi.ts';
import type { MachineEvent } from '../events/events.ts';
import type { Mm, SecondaryMmu } from '../mm/index.ts';
import { addrOf, hex, type Vpn } from '../units.ts';
import { entryText, type Report } from './finding.ts';
import { chunkNow, entryAt, forEachChunk, frameOf, frameOfOwn, writableAt, type Chunk } from './rights.ts';
import type { Looked } from './rules.ts';
import type { Told } from './told.ts';

/** A mirror whose own table is compared: a device's or a virtual machine's. */
export type WatchedMirror = SecondaryMmu;

const MISSING = 'the mirror drops its entry in invalidate, and programs only what readRetry() lets stand';

/** Compares all of it; one finding at most. Returns chunks looked at. */
export function checkMirror(mirror: WatchedMirror, told: Told | null, report: Report): number {
  let looked = 0;
  let found = false;
  forEachChunk(mirror.table, (base, chunk) => {
    looked++;
    if (found) return;
    const i = firstWrong(mirror, told, base, chunk);
    if (i < 0) return;
    found = true;
    report(sighting(mirror, base, chunk, i));
  });
  return looked;
}

/** The first page of the chunk of which the mirror has what the process has not; -1: none. */
function firstWrong({ mm, vpnOf }: WatchedMirror, told: Told | null, base: Vpn, chunk: Chunk): number {
  let cpu: Chunk | null = null;
  let cpuBase = -1;
  for (let i = 0; i < PMD_PAGES; i++) {
    const frame = frameOf(chunk, i);
    if (frame < 0) continue;
    const vpn = vpnOf(base + i);
    if (vpn < 0 || !hasTable(mm)) return i;
    const within = vpn % PMD_PAGES;
    if (vpn - within !== cpuBase) {
      cpuBase = vpn - within;
      cpu = chunkNow(mm.pageTable, cpuBase);
      if (within === 0 && i === 0 && isSameLeaf(chunk, cpu) && vpnOf(base + PMD_PAGES - 1) === vpn + PMD_PAGES - 1) return -1;
    }
    if (frameOfOwn(cpu, within) === frame && (!writableAt(chunk, i) || writableAt(cpu, within))) continue;
    if (told === null || !told.isInFlight(vpn)) return i;
  }
  return -1;
}

/** A process that exits has its table until everything is unmapped. */
function hasTable(mm: Mm): boolean {
  return mm.alive || mm.mmapLock.held === 'write';
}

function isSameLeaf(chunk: Chunk, cpu: Chunk | null): boolean {
  if (cpu === null || cpu instanceof Uint32Array || chunk instanceof Uint32Array) return false;
  return chunk.pfn === cpu.pfn && (!writableAt(chunk, 0) || writableAt(cpu, 0));
}

function sighting({ name, mm, vpnOf }: WatchedMirror, base: Vpn, chunk: Chunk, i: number): Parameters<Report>[0] {
  const { devmapBit } = mm.platform.profile;
  const vpn = vpnOf(base + i);
  const cpu = vpn < 0 || !hasTable(mm) ? null : chunkNow(mm.pageTable, vpn);
  const has = frameOf(cpu, vpn < 0 ? 0 : vpn % PMD_PAGES) < 0 ? 'nothing' : entryText(entryAt(cpu, vpn % PMD_PAGES), devmapBit);
  const device = entryText(entryAt(chunk, i), devmapBit);
  const at = vpn < 0 ? base + i : vpn;
  return {
    rule: 'mirror-coherent', mm: mm.id, start: at, end: at + 1, missing: MISSING, cpu: has, device,
    what: `${name} has ${device} at page ${hex(base + i)}, where ${mm.name} has ${has}`,
  };
}

/** A Worker takes for good what it has read of a page: the CPU has it there, and nobody is taking it away. */
export function checkTaken(mm: Mm, { worker, vpn, pfn }: Extract<MachineEvent, { type: 'worker-took' }>, report: Report, looked: Looked): void {
  looked['mirror-coherent']++;
  if (pfn < 0 || !mm.alive) return;
  const chunk = chunkNow(mm.pageTable, vpn);
  if (frameOf(chunk, vpn % PMD_PAGES) === pfn) return;
  report({
    rule: 'mirror-coherent', mm: mm.id, start: vpn, end: vpn + 1, what: `${worker} takes frame ${hex(pfn)} for the one at ${hex(addrOf(vpn))} of ${mm.name}, which it is no longer`,
    missing: 'retry(), asked after the read and before it is believed', cpu: entryText(entryAt(chunk, vpn % PMD_PAGES), mm.platform.profile.devmapBit),
  });
}
