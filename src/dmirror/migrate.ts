/**
 * A driver that moves a process's memory to its device and back (lib/test_hmm.c: dmirror_migrate_to_device, _to_system): area by
 * area, so many pages a step, with mmap_lock held throughout.
 */
import { PMD_PAGES } from '../abi.ts';
import type { ErrnoCode } from '../errno.ts';
import {
  MIGRATE_PFN_MIGRATE, MIGRATE_PFN_VALID, MIGRATE_PFN_WRITE, MigratePages, migrateVmaFinalize, migrateVmaPages, migrateVmaSetup, type MigrateVma, type Mm,
} from '../mm/index.ts';
import type { Sleepable } from '../sched/index.ts';
import type { Vpn } from '../units.ts';
import type { DeviceMemory } from './deviceMemory.ts';

/** pages in one setup */
export const MIGRATE_STEP_PAGES = PMD_PAGES;

export interface MoveRequest {
  readonly to: 'device' | 'system';
  /** MIGRATE_VMA_SELECT_ flags */
  readonly select: number;
  /** one setup over all of it, areas or not */
  readonly whole?: boolean;
  /** offer no destinations: everything is put back */
  readonly nowhere?: boolean;
  /** time between setup and the rest */
  readonly holdNs?: number;
}

export interface Moved {
  /** of the setup that was refused; what was done before it stays */
  readonly error: ErrnoCode | null;
  /** as the setups counted them */
  readonly cpages: number;
  readonly steps: number;
  /** MIGRATE_PFN_ flags of each page as collected */
  readonly collected: Uint8Array;
  /** 1 for each page that moved */
  readonly moved: Uint8Array;
}

export function* movePages(memory: DeviceMemory, mm: Mm, start: Vpn, npages: number, request: MoveRequest): Sleepable<Moved> {
  const { sched } = mm.platform;
  const collected = new Uint8Array(npages);
  const moved = new Uint8Array(npages);
  const end = start + npages;
  let error: ErrnoCode | null = null;
  let cpages = 0;
  let steps = 0;
  if (!mm.mmapLock.tryRead(sched)) yield* mm.mmapLock.read(sched);
  try {
    for (let at = start; at < end && error === null; ) {
      const vma = mm.vmas.at(at);
      const upTo = request.whole === true ? end : Math.min(end, vma?.end ?? end, at + MIGRATE_STEP_PAGES);
      const m: MigrateVma = {
        vma, start: at, end: upTo, owner: memory, select: request.select, faultPage: -1, src: new MigratePages(upTo - at), dst: new MigratePages(upTo - at), cpages: 0,
      };
      steps++;
      error = yield* migrateVmaSetup(m);
      if (error === null) {
        cpages += m.cpages;
        yield* finishStep(memory, m, request, collected.subarray(at - start, upTo - start), moved.subarray(at - start, upTo - start));
      }
      at = upTo;
    }
  } finally {
    mm.mmapLock.readUnlock(sched);
  }
  return { error, cpages, steps, collected, moved };
}

function* finishStep(memory: DeviceMemory, m: MigrateVma, request: MoveRequest, collected: Uint8Array, moved: Uint8Array): Sleepable<void> {
  collected.set(m.src.flags.map((flags) => flags & (MIGRATE_PFN_VALID | MIGRATE_PFN_MIGRATE | MIGRATE_PFN_WRITE)));
  if (request.holdNs !== undefined && request.holdNs > 0) yield* memory.platform.sched.sleep(request.holdNs);
  if (m.cpages > 0 && request.nowhere !== true) fillDestinations(memory, m, request.to);
  yield* migrateVmaPages(m);
  yield* memory.tellMirrors(m);
  for (let i = 0; i < moved.length; i++) moved[i] = m.src.has(i, MIGRATE_PFN_MIGRATE) ? 1 : 0;
  migrateVmaFinalize(m);
}

/** Pages for what was collected, with its bytes. */
function fillDestinations(memory: DeviceMemory, m: MigrateVma, to: 'device' | 'system'): void {
  for (let i = 0; i < m.end - m.start; i++) {
    if (m.src.has(i, MIGRATE_PFN_MIGRATE)) memory.copyTo(m.dst, i, to === 'device' ? memory.allocPage() : memory.allocSystem(), m.src.pfn(i));
  }
}
