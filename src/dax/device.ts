/**
 * Device DAX: a range of device frames mapped as they are, in leaves of one size (drivers/dax/device.c).
 *
 * | fault | align 4K | align 2M | align 1G |
 * |-------|----------|----------|----------|
 * | PUD   | fall back | fall back | map      |
 * | PMD   | fall back | map       | SIGBUS   |
 * | PTE   | map       | SIGBUS    | SIGBUS   |
 *
 * Mappings are shared, start and end on the alignment and are split only there. A read fault comes back writable where the
 * area is. `kill` takes the device away under whoever maps it.
 */
import { LEVEL_PTE } from '../abi.ts';
import { HmmError } from '../errno.ts';
import { Mappings, type Mappable } from '../fs/index.ts';
import type { PgMap, Platform } from '../memremap/index.ts';
import {
  FAULT_FLAG_WRITE, VM_FAULT_FALLBACK, VM_FAULT_SIGBUS, VM_HUGEPAGE, insertDevicePfn, unmapMappingRange, type FileCalls, type MappedFile, type VmOps, type Vmf,
} from '../mm/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { alignDown, alignUp, pagesOfLevel, type Pfn } from '../units.ts';

export interface DaxDevice extends Mappable {
  readonly platform: Platform;
  readonly pgmap: PgMap;
  /** LEVEL_PTE, LEVEL_PMD or LEVEL_PUD */
  readonly alignLevel: number;
  alive: boolean;
  /** bug switch: the index that was written down for a leaf's frames, by the first of them; null: each has its own */
  readonly indices: Map<Pfn, number> | null;
}

export function newDaxDevice(platform: Platform, pgmap: PgMap, alignLevel: number): DaxDevice {
  const touches = `dax ${pgmap.name}`;
  if (platform.profile.deviceCompoundPages) pgmap.compoundPages = pagesOfLevel(alignLevel);
  return { name: pgmap.name, touches, mappings: new Mappings(platform.sched, pgmap.name, touches), platform, pgmap, alignLevel, alive: true, indices: platform.bugs.has('dax-index-rounded-up') ? new Map() : null };
}

/** How the device is mapped. */
export function openDaxDevice(device: DaxDevice): MappedFile {
  const alignPages = pagesOfLevel(device.alignLevel);
  return {
    inode: device,
    writable: true,
    vmOps: deviceVmOps(device),
    vmFlags: VM_HUGEPAGE,
    alignPages,
    preferPages: alignPages,
    syncSupported: true,
    calls: deviceCalls(device),
    refuses(shared, start, npages) {
      if (!device.alive) return 'ENXIO';
      return shared && start % alignPages === 0 && npages % alignPages === 0 ? null : 'EINVAL';
    },
  };
}

/** A character device has none of a file's calls: it is mapped. */
function deviceCalls(device: DaxDevice): FileCalls {
  const refuse = (code: 'EINVAL' | 'ENODEV', op: string) => function* refused(): Sleepable<never> {
    throw new HmmError(code, op, `${device.name} is a character device`);
  };
  return {
    read: refuse('EINVAL', 'read'),
    write: refuse('EINVAL', 'write'),
    truncate: refuse('EINVAL', 'truncate'),
    fallocate: refuse('ENODEV', 'fallocate'),
    sync: refuse('EINVAL', 'fsync'),
    stat: () => ({ size: 0, blocks: 0, dax: device.platform.profile.statTellsDax }),
    extents: () => null,
  };
}

function deviceVmOps(device: DaxDevice): VmOps {
  return {
    name: 'device-dax',
    dax: true,
    quickFault: (vmf, level) => mapDevice(device, vmf, level),
    fault: (vmf) => deviceFault(device, vmf, LEVEL_PTE),
    hugeFault: (vmf, level) => deviceFault(device, vmf, level),
    pageOwner: (pfn) => ownerOf(device, pfn),
    maySplit: (_vma, vpn) => vpn % pagesOfLevel(device.alignLevel) === 0,
  };
}

function* deviceFault(device: DaxDevice, vmf: Vmf, level: number): Sleepable<number> {
  const { sched } = device.platform;
  if (sched.concurrent) yield sched.point('device DAX fault', `${vmf.vma.mm.touches},${device.touches ?? '*'}`);
  return mapDevice(device, vmf, level);
}

/** dev_dax_huge_fault(): nothing in it sleeps. The frame of a mapping whose offset is odd to the leaf's size is rounded down, as the entry has no bits for the rest. */
function mapDevice(device: DaxDevice, vmf: Vmf, level: number): number {
  if (!device.alive) return VM_FAULT_SIGBUS;
  if (level > device.alignLevel) return VM_FAULT_FALLBACK;
  if (level < device.alignLevel) return VM_FAULT_SIGBUS;
  const npages = pagesOfLevel(level);
  const base = alignDown(vmf.vpn, npages);
  const { vma } = vmf;
  if (base < vma.start || base + npages > vma.end) return VM_FAULT_SIGBUS;
  const first = vmf.pgoff - (vmf.vpn - base);
  if (first < 0 || first + npages > device.pgmap.npages) return VM_FAULT_SIGBUS;
  const pfn = alignDown(device.pgmap.basePfn + first, npages);
  if (device.indices !== null) noteIndex(device, vmf, level, pfn);
  return insertDevicePfn(vmf, level, pfn, (vmf.flags & FAULT_FLAG_WRITE) !== 0, false);
}

/** Bug switch: dax_set_mapping() rounds the address of the fault up to a leaf, so that one in the middle has the index of the next leaf. */
function noteIndex({ indices }: DaxDevice, { vma, vpn }: Vmf, level: number, pfn: Pfn): void {
  indices?.set(pfn, vma.pgoffOf(alignUp(vpn, pagesOfLevel(level))));
}

/** Where a frame stands in the device, as was written down for it. Null: where it is mapped. */
function ownerOf(device: DaxDevice, pfn: Pfn): { inode: DaxDevice; index: number } | null {
  const first = alignDown(pfn, pagesOfLevel(device.alignLevel));
  const index = device.indices?.get(first);
  return index === undefined ? null : { inode: device, index: index + (pfn - first) };
}

/** kill_dev_dax(), then memunmap_pages(): new faults SIGBUS, mappings are dropped, references waited for. */
export function* killDaxDevice(device: DaxDevice): Sleepable<void> {
  device.alive = false;
  yield* unmapMappingRange(device, 0, device.pgmap.npages, true, 'unbind-untold');
  const { pgmaps, profile } = device.platform;
  yield* pgmaps.drain(device.pgmap, profile.drainWaitsForPages);
}
