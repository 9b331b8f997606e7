/**
 * Wires the rooms into one machine; nothing else. What people use is api/.
 */
import { Arena, type ArenaOptions } from './arena/index.ts';
import { killDaxDevice, newDaxDevice, removePmem, type DaxDevice } from './dax/index.ts';
import { DeviceMemory, type DeviceMemoryType } from './dmirror/index.ts';
import { HmmError } from './errno.ts';
import { EventBus } from './events/events.ts';
import { FS_PROFILES, FileSystem, startJournal, type FsName } from './fs/index.ts';
import { PgMaps, newCounts, type PgMap, type Platform } from './memremap/index.ts';
import { Mm, forkMm } from './mm/index.ts';
import { AnonVmas, DEVICE_BASE_PFN, DEVICE_MEMORY_BASE_PFN, FileOwners, HugePools, PageLocks, PageRecords, Ram, SwapCache } from './page/index.ts';
import { devmapHi } from './pgtable/index.ts';
import { Persistence, type PersistenceOptions } from './persistence/index.ts';
import { type BugSwitch, type KernelProfile } from './profile/index.ts';
import { Random, Scheduler, type Sleepable } from './sched/index.ts';
import { PMD_PAGES, PUD_PAGES } from './abi.ts';
import { alignUp } from './units.ts';

export interface MachineConfig {
  readonly arena: ArenaOptions;
  readonly profile: KernelProfile;
  readonly bugs: readonly BugSwitch[];
  readonly seed: bigint;
  readonly ramPages: number;
  /** pools of huge pages: how many of 2 MiB, of 1 GiB (default none) */
  readonly hugePages?: readonly [number, number];
  readonly levels: 4 | 5;
}

export class MachineCore {
  readonly config: MachineConfig;
  readonly platform: Platform;
  readonly mms: Mm[] = [];
  readonly fileSystems: FileSystem[] = [];
  #nextMm = 1;
  /** where the next device's frames begin: each on a 1 GiB boundary */
  #nextPfn = DEVICE_BASE_PFN;
  #nextMemoryPfn = DEVICE_MEMORY_BASE_PFN;

  private constructor(config: MachineConfig, platform: Platform) {
    this.config = config;
    this.platform = platform;
  }

  static async create(config: MachineConfig): Promise<MachineCore> {
    const arena = await Arena.create(config.arena);
    const sched = new Scheduler();
    const bus = new EventBus();
    const records = new PageRecords(arena);
    const ram = new Ram(arena, records, config.ramPages);
    const bugs: ReadonlySet<BugSwitch> = new Set([...config.profile.bugs, ...config.bugs]);
    const platform: Platform = {
      arena,
      sched,
      bus,
      profile: config.profile,
      bugs,
      random: new Random(config.seed),
      records,
      ram,
      anonVmas: new AnonVmas(),
      caches: new FileOwners(),
      hugePools: new HugePools(ram, records, config.hugePages ?? [0, 0]),
      pageLocks: new PageLocks(),
      swapCache: new SwapCache(ram),
      pgmaps: new PgMaps(arena, sched, bus, ram, records, bugs),
      levels: config.levels,
      devmapHi: devmapHi(config.profile.devmapBit),
      persistence: null,
      ledger: null,
      uncommitted: null,
      counts: newCounts(),
    };
    return new MachineCore(config, platform);
  }

  newMm(name: string): Mm {
    const mm = new Mm(this.platform, this.#nextMm, name);
    this.#nextMm++;
    this.mms.push(mm);
    return mm;
  }

  /** A process that begins as a copy of another. ENOMEM. */
  *fork(mm: Mm, name: string): Sleepable<Mm> {
    const child = this.newMm(name);
    try {
      yield* forkMm(mm, child);
    } catch (error) {
      this.mms.splice(this.mms.indexOf(child), 1);
      throw error;
    }
    return child;
  }

  /** A fresh file system on the device of one that nobody uses any more. */
  remakeFileSystem(before: FileSystem, dax: boolean): FileSystem {
    const system = new FileSystem(this.platform, before.profile, before.pgmap, dax);
    this.fileSystems.splice(this.fileSystems.indexOf(before), 1, system);
    return system;
  }

  /** A persistent memory device with a file system on it. */
  newFileSystem(name: string, npages: number, fs: FsName, dax = true): FileSystem {
    const system = new FileSystem(this.platform, FS_PROFILES[fs], this.#register(name, 'fs-dax', npages), dax);
    this.fileSystems.push(system);
    if (this.platform.persistence !== null) startJournal(system, this.platform.persistence);
    return system;
  }

  /** `offsetPages`: where its frames begin within a GiB, as what lies before them on the device has it. */
  newDaxDevice(name: string, npages: number, alignLevel: number, offsetPages = 0): DaxDevice {
    return newDaxDevice(this.platform, this.#register(name, 'device-dax', npages, offsetPages), alignLevel);
  }

  /** Memory of a device that pages migrate to. ENOSPC when the 256 GiB of frames for such memory are used up. */
  newDeviceMemory(name: string, type: DeviceMemoryType, npages: number): DeviceMemory {
    const base = this.#nextMemoryPfn;
    const end = alignUp(base + npages, PMD_PAGES);
    if (end > DEVICE_BASE_PFN) throw new HmmError('ENOSPC', 'memremap_pages', `${npages} pages of device memory do not fit`);
    this.#nextMemoryPfn = end;
    return new DeviceMemory(this.platform, name, type, base, npages);
  }

  /** Takes a device-dax away under its users. */
  *unbind(device: DaxDevice): Sleepable<void> {
    yield* killDaxDevice(device);
  }

  /** Takes a persistent memory device away from under its file system. */
  *unbindPmem(fs: FileSystem): Sleepable<void> {
    yield* removePmem(fs);
  }

  /** From now on it is kept what a power cut would leave of persistent memory; what is there now is durable. Until the machine is gone, resets included. */
  trackPersistence(options: PersistenceOptions = {}): Persistence {
    const { arena } = this.platform;
    const persistence = new Persistence(arena.content, options);
    this.platform.persistence = persistence;
    arena.content.watch = persistence;
    for (const fs of this.fileSystems) startJournal(fs, persistence);
    return persistence;
  }

  /** As just created, at a cost in proportion to what was used. Everything made from the machine is dead. */
  reset(): void {
    const { platform } = this;
    platform.sched.reset();
    platform.arena.reset();
    platform.records.reset();
    platform.ram.reset();
    platform.anonVmas.reset();
    platform.caches.reset();
    platform.hugePools.reset();
    platform.pageLocks.reset();
    platform.swapCache.reset();
    platform.pgmaps.reset();
    platform.persistence?.reset();
    platform.random.reseed(this.config.seed);
    Object.assign(platform.counts, newCounts());
    this.mms.length = 0;
    this.fileSystems.length = 0;
    this.#nextMm = 1;
    this.#nextPfn = DEVICE_BASE_PFN;
    this.#nextMemoryPfn = DEVICE_MEMORY_BASE_PFN;
  }

  #register(name: string, type: 'fs-dax' | 'device-dax', npages: number, offsetPages = 0): PgMap {
    const base = this.#nextPfn + offsetPages;
    const end = alignUp(base + npages, PUD_PAGES);
    if (end > 2 ** 40) throw new HmmError('ENOSPC', 'memremap_pages', `${npages} pages do not fit the physical address space`);
    const map = this.platform.pgmaps.register(name, type, base, npages);
    this.#nextPfn = end;
    return map;
  }
}
