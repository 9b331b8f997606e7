/** Who carries out mapped accesses: the processor, a device through either HMM API, or a guest of KVM. One process each. */
import type { WatchedMirror } from '../check/index.ts';
import { DeviceMirror, attachLegacy, attachModern } from '../dmirror/index.ts';
import { Kvm } from '../kvm/index.ts';
import { cpuLoad, cpuStore, type Mm } from '../mm/index.ts';
import type { Sleepable } from '../sched/index.ts';
import type { Vpn } from '../units.ts';
import type { AccessorName } from './operation.ts';

export interface Accessor {
  /** Bytes from byte `within` of page `vpn` on. What it throws is the access refused: EFAULT, EPERM, a signal. */
  read(vpn: Vpn, within: number, target: Uint8Array): Sleepable<void>;
  write(vpn: Vpn, within: number, source: Uint8Array): Sleepable<void>;
  /** gives what it holds back; also after the process has exited */
  close(): Sleepable<void>;
  /** what a checker may compare; null: it has no table of its own */
  readonly watched: WatchedMirror | null;
}

/** An area of the process that a guest has as memory. */
export interface GuestArea {
  readonly vpn: Vpn;
  readonly npages: number;
}

export function newAccessor(by: AccessorName, mm: Mm, areas: readonly GuestArea[]): Accessor {
  if (by === 'cpu') return newCpu(mm);
  return by === 'kvm' ? newGuest(mm, areas) : newDevice(by, mm);
}

function newCpu(mm: Mm): Accessor {
  return {
    read: (vpn, within, target) => cpuLoad(mm, vpn, within, target),
    write: (vpn, within, source) => cpuStore(mm, vpn, within, source),
    *close() {},
    watched: null,
  };
}

function newDevice(by: 'modern' | '2019', mm: Mm): Accessor {
  const device = new DeviceMirror(`${by} device of ${mm.name}`, mm);
  device.port = by === 'modern' ? attachModern(device) : attachLegacy(device);
  const { name, table } = device;
  return {
    read: (vpn, within, target) => device.read(vpn, within, target),
    write: (vpn, within, source) => device.write(vpn, within, source),
    close: () => device.close(),
    watched: { name, mm, table, get attached() { return device.attached; }, vpnOf: (page) => page },
  };
}

/** Each area is a slot whose guest frames begin where its pages do, counted from the first area's. */
function newGuest(mm: Mm, areas: readonly GuestArea[]): Accessor {
  const kvm = new Kvm(`guest of ${mm.name}`, mm);
  const base = areas[0]?.vpn ?? 0;
  for (const [id, { vpn, npages }] of areas.entries()) kvm.slots.add(id, vpn - base, npages, vpn);
  const { name, table } = kvm;
  return {
    read: (vpn, within, target) => kvm.read(vpn - base, within, target),
    write: (vpn, within, source) => kvm.write(vpn - base, within, source),
    close: () => kvm.close(),
    watched: { name, mm, table, get attached() { return kvm.alive; }, vpnOf: (gfn) => gfn + base },
  };
}
