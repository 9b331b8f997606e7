/**
 * The guest in which the records were taken: the same places of the same size, made when they are first named.
 *
 *   dev0, dev1        devices with private memory of 128 MiB
 *   ext4, xfs, xfsn   file systems on 768 MiB of persistent memory    dax2m, dax4k  device-dax of 254 MiB    dax1g  of 2 GiB
 *   (4 GiB where a file can have 1G pages: no guest had that)
 */
import type { DaxDevice } from '../dax/index.ts';
import type { DeviceMemory, DeviceMirror } from '../dmirror/index.ts';
import { HmmError } from '../errno.ts';
import type { FileSystem, FsName } from '../fs/index.ts';
import type { MachineCore } from '../machine.ts';
import type { ShmemFile } from '../mm/index.ts';
import type { Platform } from '../memremap/index.ts';
import type { Operations } from './operation.ts';
import { Probe2019 } from './probe2019.ts';
import type { Process } from './process.ts';

const FS_PAGES = 768 * 256;
const GIB_PAGES = 2 ** 18;
/** 128 MiB */
const DEVICE_MEMORY_PAGES = 2 ** 15;

/** A device-dax instance of the guest: `node` is what /proc/PID/maps calls it. */
export interface DaxPlace {
  readonly npages: number;
  readonly alignLevel: number;
  readonly node: string;
  /** where its frames begin within a GiB: behind the page structs that the namespace holds, aligned as the kernel of the time did */
  readonly offsetPages: { readonly modern: number; readonly '2019': number };
}

export const DAX_PLACES: ReadonlyMap<string, DaxPlace> = new Map(Object.entries({
  dax2m: { npages: 65024, alignLevel: 1, node: 'dax3.0', offsetPages: { modern: 512, 2019: 512 } },
  dax4k: { npages: 65024, alignLevel: 0, node: 'dax4.0', offsetPages: { modern: 512, 2019: 1026 } },
  dax1g: { npages: 2 * GIB_PAGES, alignLevel: 2, node: 'dax5.0', offsetPages: { modern: 0, 2019: 0 } },
}));

/** Which of the two APIs the probe in the guest asks. */
export type ProbeApi = 'modern' | '2019';

export class Guest {
  readonly core: MachineCore;
  readonly api: ProbeApi;
  /** what the probe can carry out */
  readonly operations: Operations;
  readonly #systems = new Map<string, FileSystem>();
  readonly #unmounted = new Set<FileSystem>();
  /** files of tmpfs, mounted with huge=advise */
  readonly tmpfs = new Map<string, ShmemFile>();
  readonly #devices = new Map<string, DaxDevice>();
  #memories: readonly DeviceMemory[] | null = null;
  /** what the probe of the 2019 API holds */
  readonly probe2019 = new Probe2019();
  /** what the kernel's log would keep of interest */
  readonly klog: string[] = [];
  /** hears of each device that mirrors a process */
  onDevice: (process: Process, device: DeviceMirror) => void = () => undefined;

  constructor(core: MachineCore, api: ProbeApi, operations: Operations) {
    this.core = core;
    this.api = api;
    this.operations = operations;
  }

  get platform(): Platform {
    return this.core.platform;
  }

  /** A fresh file system at a place; null where the one that is mounted there is in use. */
  newFileSystem(place: string, dax: boolean): FileSystem | null {
    const before = this.#systems.get(place);
    if (before?.busy === true && !this.#unmounted.has(before)) return null;
    const fs = before === undefined || before.gone ? this.core.newFileSystem(place, this.platform.profile.fsdaxPud ? 4 * GIB_PAGES : FS_PAGES, place as FsName, dax) : this.core.remakeFileSystem(before, dax);
    this.#systems.set(place, fs);
    return fs;
  }

  /** What is mounted at a place. ENOENT. */
  fileSystem(place: string): FileSystem {
    const fs = this.#systems.get(place);
    if (fs === undefined || this.#unmounted.has(fs)) throw new HmmError('ENOENT', 'open', `nothing is mounted at ${place}`);
    return fs;
  }

  /** The file system that was made there last, mounted or not: its device is there. ENOENT. */
  madeAt(place: string): FileSystem {
    const fs = this.#systems.get(place);
    if (fs === undefined) throw new HmmError('ENOENT', 'open', `no device ${place}`);
    return fs;
  }

  /** umount(8): false where nothing is mounted, or somebody has a file of it open or mapped. */
  unmount(place: string): boolean {
    const fs = this.#systems.get(place);
    if (fs === undefined || this.#unmounted.has(fs)) return false;
    if (fs.busy) return false;
    this.#unmounted.add(fs);
    return true;
  }

  daxDevice(name: string): DaxDevice {
    const place = DAX_PLACES.get(name);
    if (place === undefined) throw new HmmError('ENOENT', 'open', `no device ${name}`);
    const device = this.#devices.get(name) ?? this.core.newDaxDevice(name, place.npages, place.alignLevel, place.offsetPages[this.api]);
    this.#devices.set(name, device);
    return device;
  }

  /** Device `number` with memory of its own; undefined where there is none. */
  deviceMemory(number: number): DeviceMemory | undefined {
    this.#memories ??= ['dev0', 'dev1'].map((name) => this.core.newDeviceMemory(name, 'private', DEVICE_MEMORY_PAGES));
    return this.#memories[number];
  }

  /** Which device's memory that is, if it is one's. */
  numberOfDevice(owner: object): number | null {
    const number = (this.#memories ?? []).indexOf(owner as DeviceMemory);
    return number < 0 ? null : number;
  }
}

export function hex(n: number): string {
  return `0x${n.toString(16)}`;
}

export function signedHex(n: number): string {
  return `${n < 0 ? '-' : '+'}0x${Math.abs(n).toString(16)}`;
}
