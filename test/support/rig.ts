/**
 * A machine for tests of the rooms below the facade: page numbers, generators, the platform in reach.
 *
 *   const rig = await makeMachine({ profile: 'v5.2' });
 *   const file = rig.file({ npages: 1024 });
 *   const start = rig.map(file, { npages: 1024 });
 *   rig.touch(start, 'w');
 *
 * `checkPgmaps` is for afterEach: references of every dev_pagemap are back at their base, or off by what the test said.
 */
import { expect } from 'vitest';
import { daxWrite, openDaxDevice, openDaxFile, type DaxDevice } from '../../dist/dax/index.js';
import { DeviceMirror, attachLegacy, attachModern, type DeviceHooks } from '../../dist/dmirror/index.js';
import type { FileSystem, FsName, Inode } from '../../dist/fs/index.js';
import { MachineCore } from '../../dist/machine.js';
import { VM_EXEC, VM_NOHUGEPAGE, VM_READ, VM_WRITE, cpuLoad, cpuStore, mmap, type MappedFile, type Mm } from '../../dist/mm/index.js';
import { profileOf, type BugSwitch, type KernelProfile } from '../../dist/profile/index.js';
import type { Sleepable } from '../../dist/sched/index.js';

const MiB = 2 ** 20;

export interface RigOptions {
  /** a profile by name (default v6.1) */
  readonly profile?: string;
  readonly changes?: Partial<KernelProfile>;
  readonly bugs?: readonly BugSwitch[];
  readonly arenaBytes?: number;
  readonly ramPages?: number;
  readonly levels?: 4 | 5;
  readonly seed?: bigint;
  /** pages of 2 MiB and of 1 GiB in the hugetlb pools */
  readonly hugePages?: readonly [number, number];
}

export interface MapOptions {
  readonly npages: number;
  /** of 'rwx' (default rw) */
  readonly prot?: string;
  /** default true for files */
  readonly shared?: boolean;
  readonly pgoff?: number;
  /** first page; without it the highest gap that fits */
  readonly at?: number;
  /** what is mapped at `at` goes (default: EEXIST) */
  readonly replace?: boolean;
  readonly sync?: boolean;
  readonly smallPages?: boolean;
  readonly mm?: Mm;
  /** open for writing too (default true) */
  readonly writable?: boolean;
}

export type Api = 'modern' | '2019';
export const APIS: readonly Api[] = ['modern', '2019'];

const rigs: Rig[] = [];

export async function makeMachine(options: RigOptions = {}): Promise<Rig> {
  const { profile = 'v6.1', changes = {}, bugs = [], arenaBytes = 64 * MiB, ramPages = 16384, levels = 4, seed = 1n, hugePages = [0, 0] } = options;
  const core = await MachineCore.create({ arena: { bytes: arenaBytes }, profile: profileOf(profile, changes), bugs, seed, ramPages, levels, hugePages });
  const rig = new Rig(core);
  rigs.push(rig);
  return rig;
}

/** For afterEach: no dev_pagemap of the machines made in the test is held, but for `rig.leaks`. */
export function checkPgmaps(): void {
  for (const rig of rigs.splice(0)) expect(rig.pgmapRefs(), 'dev_pagemap references beyond the base').toBe(rig.leaks);
}

export class Rig {
  readonly core: MachineCore;
  /** the first process */
  readonly mm: Mm;
  /** dev_pagemap references that the test means to leave behind */
  leaks = 0;
  #fs: FileSystem | null = null;
  #files = 0;

  constructor(core: MachineCore) {
    this.core = core;
    this.mm = core.newMm('p');
  }

  get platform(): MachineCore['platform'] {
    return this.core.platform;
  }

  /** Runs a path to its end. */
  run<T>(body: Sleepable<T>): T {
    return this.platform.sched.runToEnd('test', body);
  }

  fileSystem(npages = 65536, name: FsName = 'ext4', label: string = name): FileSystem {
    return this.core.newFileSystem(label, npages, name);
  }

  /** A file of `npages` with bytes in them (page i begins with i + 1), or with `hole` nothing but a size. */
  file(options: { npages: number; extentPages?: 1 | 512 | 262144; hole?: boolean; fs?: FileSystem }): Inode {
    this.#fs ??= options.fs ?? this.fileSystem();
    const fs = options.fs ?? this.#fs;
    const inode = fs.create(`file${this.#files++}`, options.extentPages ?? 512);
    if (options.hole === true) fs.setSize(inode, options.npages * 4096);
    else {
      const bytes = new Uint8Array(options.npages * 4096);
      const view = new DataView(bytes.buffer);
      for (let i = 0; i < options.npages; i++) view.setUint32(i * 4096, i + 1, true);
      this.run(daxWrite(inode, 0, bytes));
    }
    return inode;
  }

  /** Maps a file, a device, what is open already, or (null) anonymous memory; returns its first page. */
  map(what: Inode | DaxDevice | MappedFile | null, options: MapOptions): number {
    const { npages, prot = 'rw', pgoff = 0, at, sync = false, smallPages = false, mm = this.mm, writable = true, replace = false } = options;
    const file = what === null ? null : 'fs' in what ? openDaxFile(what, writable) : 'pgmap' in what ? openDaxDevice(what) : what;
    return this.run(
      mmap(mm, {
        npages,
        prot: protBits(prot),
        shared: options.shared ?? what !== null,
        file,
        pgoff,
        start: at ?? null,
        fixed: at === undefined ? 'hint' : replace ? 'fixed' : 'noreplace',
        sync,
        vmFlags: smallPages ? VM_NOHUGEPAGE : 0,
      }),
    );
  }

  daxDevice(npages: number, alignLevel: number, label = 'dax'): DaxDevice {
    return this.core.newDaxDevice(label, npages, alignLevel);
  }

  /** One load or store of a byte by the CPU; returns the byte. */
  touch(vpn: number, how: 'r' | 'w', value = 1, mm = this.mm): number {
    const byte = Uint8Array.of(value);
    this.run(how === 'w' ? cpuStore(mm, vpn, 0, byte) : cpuLoad(mm, vpn, 0, byte));
    return byte[0] as number;
  }

  device(api: Api, options: { name?: string; mm?: Mm; hooks?: DeviceHooks } = {}): DeviceMirror {
    const device = new DeviceMirror(options.name ?? api, options.mm ?? this.mm, options.hooks ?? {});
    device.port = api === 'modern' ? attachModern(device) : attachLegacy(device);
    return device;
  }

  /** References on all dev_pagemaps, beyond their base. */
  pgmapRefs(): number {
    return this.platform.pgmaps.all.reduce((sum, map) => sum + map.refs, 0);
  }

  /** The entry at which the walk to `vpn` ends. */
  entry(vpn: number, mm = this.mm): { level: number; lo: number; hi: number } {
    mm.pageTable.look(vpn);
    const { level, lo, hi } = mm.pageTable;
    return { level, lo, hi };
  }

  /** Writes the pte of `vpn`, whatever was there. */
  setPte(vpn: number, lo: number, hi: number, mm = this.mm): void {
    expect(mm.pageTable.slot(vpn, 0) && mm.pageTable.level === 0, 'a pte to write to').toBe(true);
    mm.pageTable.setRaw(lo >>> 0, hi >>> 0);
  }

  /** Takes P from a present entry and sets PROT_NONE, its frame inverted, as a NUMA hint does; RW stays. */
  hintNuma(vpn: number, mm = this.mm): void {
    const pt = mm.pageTable;
    expect(pt.look(vpn), 'a present entry').toBe(true);
    const lo = ((~pt.lo & 0xfffff000) | (pt.lo & 0xffe) | 0x100) >>> 0;
    const hi = ((~pt.hi & 0x000fffff) | (pt.hi & 0xfff00000)) >>> 0;
    pt.setRaw(lo, hi);
  }
}

/** Could the device access the page now, without a fault? */
export function maps(device: DeviceMirror, vpn: number, write = false): boolean {
  return device.translate(vpn, write) >= 0;
}

/**
 * Pages of `[start, end)` that the device could access though the CPU page table does not have that frame, or not that right,
 * there: what a mirror must never have outside an invalidation.
 */
export function stalePages(device: DeviceMirror, start: number, end: number): number[] {
  const stale: number[] = [];
  for (let vpn = start; vpn < end; vpn++) {
    for (const access of [0, 1]) {
      const pfn = device.translate(vpn, access === 1);
      if (pfn >= 0 && pfn !== device.mm.pageTable.translate(vpn, access) && !stale.includes(vpn)) stale.push(vpn);
    }
  }
  return stale;
}

function protBits(prot: string): number {
  return (prot.includes('r') ? VM_READ : 0) | (prot.includes('w') ? VM_WRITE : 0) | (prot.includes('x') ? VM_EXEC : 0);
}
