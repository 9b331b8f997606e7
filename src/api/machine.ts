/** Machine: one simulated computer, in one arena. Nothing is shared between two of them. */
import type { ArenaMemory, ModuleBytes, WasmBuild } from '../arena/index.ts';
import { HmmError, checkOptions } from '../errno.ts';
import type { Observer } from '../events/events.ts';
import { FS_NAMES, mountImage, type FsName } from '../fs/index.ts';
import { MachineCore } from '../machine.ts';
import type { Counts } from '../memremap/index.ts';
import { nearest } from '../nearest.ts';
import { BUG_SWITCHES, profileOf, type BugSwitch, type KernelProfile, type ProfileName } from '../profile/index.ts';
import { randomPolicy, type Policy, type Sleepable, type Task } from '../sched/index.ts';
import { GiB, PAGE_SIZES, type PageSize } from '../units.ts';
import { AddressSpace } from './addressSpace.ts';
import { DeviceMemory } from './deviceMemory.ts';
import { checkBytes, checkName, checkOneOf, describe } from './checks.ts';
import { Driver } from './driver.ts';
import { loadNativeState, type NativeState } from './native.ts';
import { DaxDevice, Pmem } from './pmem.ts';
import { PmemImage } from './powerCuts.ts';
import { Sharing, type ShareOptions, type TendedWorker } from './sharing.ts';
import type { PlaceState, ShareHandle } from '../share/index.ts';

export interface MachineOptions {
  /** bytes of the arena, 16 MiB to 4 GiB (default 4 GiB: reserved, not committed) */
  readonly arena?: number;
  /** the embedder's memory, in place of `arena`; shared or not decides which module serves it */
  readonly memory?: ArenaMemory;
  /** which module: shared (SIMD, Workers), simd (SIMD, private), scalar (neither) */
  readonly build?: WasmBuild;
  /** the module itself, where it cannot be read from the package */
  readonly wasm?: ModuleBytes;
  /** which kernel is modelled (default v6.1), by name or with fields changed */
  readonly profile?: ProfileName | { readonly base: ProfileName; readonly changes: Partial<KernelProfile> };
  /** bug switches to turn on, besides the profile's own */
  readonly bugs?: readonly BugSwitch[];
  /** of every random choice: same seed, same run (default 1n) */
  readonly seed?: bigint;
  /** bytes of RAM (default 1 GiB); what is not touched costs nothing */
  readonly ram?: number;
  /** five levels of page tables */
  readonly la57?: boolean;
  /** the native addon: used when it is there (default), or never */
  readonly native?: 'auto' | 'off';
}

export interface PmemOptions {
  /** bytes, a multiple of 4096 */
  readonly size: number;
  readonly name?: string;
  /** which file system's habits its files have (default ext4) */
  readonly fs?: FsName;
}

export interface DeviceMemoryOptions {
  /** bytes, a multiple of 4096 */
  readonly size: number;
  /** default private */
  readonly type?: 'private' | 'coherent';
  readonly name?: string;
}

export interface DaxDeviceOptions {
  /** bytes, a multiple of the alignment */
  readonly size: number;
  readonly align: PageSize;
  readonly name?: string;
}

/** What a machine takes of its arena. */
export interface Usage {
  readonly arenaBytes: number;
  /** page tables and directories */
  readonly tableBytes: number;
  /** contents, windows, records */
  readonly blockBytes: number;
  readonly freeBytes: number;
}

const OPTIONS = ['arena', 'memory', 'build', 'wasm', 'profile', 'bugs', 'seed', 'ram', 'la57', 'native'];

/**
 * Makes a machine. Throws TypeError for unknown options, RangeError for sizes out of bounds, ENOMEM when no arena can be had,
 * ENOENT or ENOEXEC for a WASM module or addon that is missing, foreign or of another version.
 */
export async function createMachine(options: MachineOptions = {}): Promise<Machine> {
  checkOptions('createMachine', options, OPTIONS);
  const { arena, memory, build, wasm, bugs = [], seed = 1n, ram = GiB, la57 = false, native = 'auto' } = options;
  if (arena !== undefined && memory !== undefined) throw new TypeError('createMachine: arena and memory exclude each other');
  if (typeof seed !== 'bigint') throw new TypeError(`createMachine: seed must be a bigint, not ${describe(seed)}`);
  checkBugs(bugs);
  checkOneOf('createMachine', 'native', native, ['auto', 'off']);
  const { profile = 'v6.1' } = options;
  const ramPages = checkBytes('createMachine', 'ram', ram) / 4096;
  if (!Number.isInteger(ramPages) || ramPages < 1 || ramPages > 2 ** 27) throw new RangeError(`createMachine: ram ${ram} is not whole pages up to 512 GiB`);
  const core = await MachineCore.create({
    arena: {
      ...(arena === undefined ? {} : { bytes: arena }),
      ...(memory === undefined ? {} : { memory }),
      ...(build === undefined ? {} : { build }),
      ...(wasm === undefined ? {} : { wasm }),
    },
    profile: typeof profile === 'string' ? profileOf(profile) : profileOf(profile.base, profile.changes),
    bugs,
    seed,
    ramPages,
    levels: la57 ? 5 : 4,
  });
  return new Machine(core, await loadNativeState(native));
}

function checkBugs(bugs: unknown): void {
  if (!Array.isArray(bugs)) throw new TypeError(`createMachine: bugs must be an array of names, not ${describe(bugs)}`);
  for (const bug of bugs) {
    if (!(BUG_SWITCHES as readonly unknown[]).includes(bug)) throw new TypeError(`createMachine: bugs: no switch ${nearest(String(bug), BUG_SWITCHES)}`);
  }
}

export class Machine implements Disposable {
  readonly #core: MachineCore;
  readonly #native: NativeState;
  #driver: Driver;
  #devices = 0;
  #spaces = 0;
  #sharing: Sharing | null = null;

  /** @internal made by `createMachine` */
  constructor(core: MachineCore, native: NativeState) {
    this.#core = core;
    this.#native = native;
    this.#driver = new Driver(core);
  }

  get profile(): KernelProfile {
    return this.#core.platform.profile;
  }

  /** Which WASM module serves it. */
  get build(): WasmBuild {
    return this.#core.platform.arena.build;
  }

  /** The arena. Its layout is the ABI (src/abi.ts). */
  get memory(): ArenaMemory {
    return this.#core.platform.arena.memory;
  }

  /** Why the addon is not used, or null when it is. */
  get nativeReason(): string | null {
    return this.#native.reason;
  }

  /** A persistent memory device with a DAX file system. Throws ENOMEM, ENOSPC. */
  pmem(options: PmemOptions): Pmem {
    checkOptions('pmem', options, ['size', 'name', 'fs']);
    const npages = wholePages('pmem', options.size, 4096);
    if (options.name !== undefined) checkName('pmem', options.name);
    const fs = checkOneOf('pmem', 'fs', options.fs ?? 'ext4', FS_NAMES);
    this.#driver.check('pmem');
    return new Pmem(this.#driver, this.#core.newFileSystem(options.name ?? `pmem${this.#devices++}`, npages, fs), this.#native.native);
  }

  /** A device with what a power cut left on it, its file system recovered and mounted. Throws ENOMEM, ENOSPC. */
  mount(image: PmemImage, options: { name?: string } = {}): Pmem {
    if (!(image instanceof PmemImage)) throw new TypeError(`mount: image must be what PowerCuts.cut answered, not ${describe(image)}`);
    checkOptions('mount', options, ['name']);
    this.#driver.check('mount');
    const { npages, fs } = image.image;
    const system = this.#core.newFileSystem(options.name ?? `pmem${this.#devices++}`, npages, fs);
    mountImage(system, image.image);
    return new Pmem(this.#driver, system, this.#native.native);
  }

  /** A device-dax. Throws ENOMEM, ENOSPC. */
  daxDevice(options: DaxDeviceOptions): DaxDevice {
    checkOptions('daxDevice', options, ['size', 'align', 'name']);
    const align = checkOneOf('daxDevice', 'align', options.align, ['4K', '2M', '1G']);
    const npages = wholePages('daxDevice', options.size, PAGE_SIZES[align].npages * 4096);
    this.#driver.check('daxDevice');
    return new DaxDevice(this.#driver, this.#core.newDaxDevice(options.name ?? `dax${this.#devices++}`, npages, PAGE_SIZES[align].level), align);
  }

  /** Memory of a device, private (out of the CPU's reach) or coherent. Throws ENOSPC. */
  deviceMemory(options: DeviceMemoryOptions): DeviceMemory {
    checkOptions('deviceMemory', options, ['size', 'type', 'name']);
    const npages = wholePages('deviceMemory', options.size, 4096);
    const type = checkOneOf('deviceMemory', 'type', options.type ?? 'private', ['private', 'coherent']);
    this.#driver.check('deviceMemory');
    return new DeviceMemory(this.#driver, this.#core.newDeviceMemory(options.name ?? `memory${this.#devices++}`, type, npages));
  }

  /** A process's address space, empty. Throws ENOMEM. */
  mm(options: { name?: string } = {}): AddressSpace {
    checkOptions('mm', options, ['name']);
    this.#driver.check('mm');
    if (options.name !== undefined) checkName('mm', options.name);
    return new AddressSpace(this.#driver, this.#core.newMm(options.name ?? `mm${this.#spaces++}`));
  }

  /** Registers a task: a generator of the facade's `task` operations, to run beside others in `run`. */
  spawn(name: string, body: Sleepable<unknown>): Task {
    this.#driver.check('spawn');
    return this.#core.platform.sched.spawn(name, body);
  }

  /**
   * Runs the spawned tasks to their end, interleaved at random by `seed` (default: the machine's own numbers) or as `policy`
   * says. Throws the first error of a task, EDEADLK with the wait graph where none can go on.
   */
  run(options: { seed?: bigint; policy?: Policy } = {}): readonly Task[] {
    checkOptions('run', options, ['seed', 'policy']);
    this.#driver.check('run');
    const { sched, random } = this.#core.platform;
    return sched.run(options.policy ?? (options.seed === undefined ? { choose: (ready) => random.below(ready.length) } : randomPolicy(options.seed)));
  }

  /** Hears every event of the machine, synchronously; must not call back into it. Returns how to stop. */
  observe(observer: Observer): () => void {
    return this.#core.platform.bus.observe(observer);
  }

  /** Exact counts since the machine was made or reset. */
  get counts(): Readonly<Counts> {
    return { ...this.#core.platform.counts };
  }

  get usage(): Usage {
    const { arena } = this.#core.platform;
    return { arenaBytes: arena.bytes, ...arena.usage, freeBytes: arena.freeBytes };
  }

  /** Virtual time, in nanoseconds. */
  get nowNs(): number {
    return this.#core.platform.sched.nowNs;
  }

  /**
   * Where in `memory` the byte at a physical address stands; good to the end of its 64 KiB. Null where nothing was ever written
   * and `write` does not ask for room: such bytes are zero. Throws ENOMEM.
   */
  locate(paddr: bigint, options: { write?: boolean } = {}): number | null {
    if (typeof paddr !== 'bigint') throw new TypeError('locate: paddr must be a bigint');
    if (paddr < 0n || paddr >= 1n << 52n) throw new RangeError(`locate: paddr 0x${paddr.toString(16)} is outside 52 bits`);
    this.#driver.check('locate');
    const { content } = this.#core.platform.arena;
    const at = Number(paddr);
    if (options.write === true && !content.ensure(at)) throw new HmmError('ENOMEM', 'locate', 'no room in the arena');
    const offset = content.offsetOf(at);
    return offset === 0 ? null : offset;
  }

  /**
   * What Workers need to read this machine: every process of now, and the devices named. Post it, and `attach()` there. Calling it again is how
   * newer processes are shared. Throws EOPNOTSUPP for an arena that is not shared memory, EBUSY while an invalidation is in flight,
   * ENOSPC for more than 64 tables, ENOMEM.
   */
  share(options: ShareOptions = {}): ShareHandle {
    this.#driver.check('share');
    this.#sharing ??= new Sharing(this.#driver);
    return this.#sharing.share(options);
  }

  /** Answers the requests of Workers that wait now, and returns how many. To be called now and then where the event loop is not reached. */
  serve(): number {
    return this.#sharing?.serve() ?? 0;
  }

  /** Answers a Worker's requests whenever the event loop is idle, until it ends; then its place is free again, whatever it died of. */
  tend(worker: TendedWorker): void {
    this.#driver.check('tend');
    this.#sharing ??= new Sharing(this.#driver);
    this.#sharing.tend(worker);
  }

  /** The places for Workers: which thread has each, what it read, how often it had to read again. */
  get workers(): readonly PlaceState[] {
    return this.#sharing?.states ?? [];
  }

  /** As just created, at a cost in proportion to what was used; observers stay. Everything made from it before is dead (ENXIO). */
  reset(): void {
    this.#driver.end();
    this.#core.reset();
    this.#driver = new Driver(this.#core);
    this.#sharing = null;
    this.#devices = 0;
    this.#spaces = 0;
  }

  /** Takes real files off the arena; the machine and what it made are dead. */
  dispose(): void {
    this.#driver.end();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** @internal for bench and check, which look inside */
  get core(): MachineCore {
    return this.#core;
  }
}

function wholePages(op: string, size: unknown, step: number): number {
  const bytes = checkBytes(op, 'size', size);
  if (bytes === 0 || bytes % step !== 0) throw new RangeError(`${op}: size ${bytes} is not a positive multiple of ${step}`);
  return bytes / 4096;
}
