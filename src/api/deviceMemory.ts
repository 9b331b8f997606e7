/** DeviceMemory: memory of a device that pages of processes migrate to. */
import { movePages, useExclusive, type DeviceMemory as Memory, type DeviceMemoryType, type Moved } from '../dmirror/index.ts';
import { HmmError, checkOptions } from '../errno.ts';
import { MIGRATE_VMA_SELECT_DEVICE_COHERENT, MIGRATE_VMA_SELECT_DEVICE_PRIVATE, MIGRATE_VMA_SELECT_SYSTEM } from '../mm/index.ts';
import type { Sleepable } from '../sched/index.ts';
import type { AddressSpace } from './addressSpace.ts';
import { checkBytes, checkOneOf, checkPage, checkPages } from './checks.ts';
import type { Driver } from './driver.ts';

export interface MigrateOptions {
  /** where to (default: this device's memory) */
  readonly to?: 'device' | 'system';
  /** which pages are taken; default: of RAM to the device, the device's own to RAM */
  readonly select?: readonly ('system' | 'private' | 'coherent')[];
  /** time between collecting the pages and moving them, in nanoseconds: who touches them meanwhile waits */
  readonly holdNs?: number;
}

/** What became of a range, counted in pages. */
export interface Migrated {
  /** collected to migrate, holes included */
  readonly collected: number;
  readonly moved: number;
}

const SELECT = { system: MIGRATE_VMA_SELECT_SYSTEM, private: MIGRATE_VMA_SELECT_DEVICE_PRIVATE, coherent: MIGRATE_VMA_SELECT_DEVICE_COHERENT } as const;

export class DeviceMemory {
  readonly name: string;
  readonly type: DeviceMemoryType;
  /** bytes */
  readonly size: number;
  readonly #driver: Driver;
  readonly #memory: Memory;

  /** @internal made by `Machine.deviceMemory` */
  constructor(driver: Driver, memory: Memory) {
    this.#driver = driver;
    this.#memory = memory;
    this.name = memory.name;
    this.type = memory.type;
    this.size = memory.npages * 4096;
  }

  /** What a task can `yield*`. */
  readonly task = {
    migrate: (space: AddressSpace, addr: bigint, length: number, options: MigrateOptions = {}): Sleepable<Migrated> => this.#migrate(space, addr, length, options),
    exclusive: (space: AddressSpace, addr: bigint, length: number): Sleepable<boolean[]> => this.#exclusive(space, addr, length),
    evict: (): Sleepable<number> => this.#open('evict').evict(),
    unmap: (): Sleepable<void> => this.#open('memunmap_pages').down(),
  };

  /** Moves pages there or back; those that cannot go stay. Throws EINVAL where nothing or DAX, hugetlb or a special area is mapped. */
  migrate(space: AddressSpace, addr: bigint, length: number, options: MigrateOptions = {}): Migrated {
    return this.#driver.run('migrate', this.task.migrate(space, addr, length, options));
  }

  /** Asks for pages for the device alone; which were granted. Whoever touches one takes it back. Throws EFAULT, EOPNOTSUPP. */
  exclusive(space: AddressSpace, addr: bigint, length: number): boolean[] {
    return this.#driver.run('exclusive', this.task.exclusive(space, addr, length));
  }

  /** Brings everything back to RAM, whoever maps it; how many pages. */
  evict(): number {
    return this.#driver.run('evict', this.task.evict());
  }

  /** Takes the memory away: no new pages, and back when the last one in use is free. EDEADLK where that would never be. */
  unmap(): void {
    this.#driver.run('memunmap_pages', this.task.unmap());
  }

  /** Brings it back. Throws EEXIST. */
  remap(): void {
    this.#driver.run('memremap_pages', this.#open('memremap_pages').up());
  }

  /** Bytes in use. */
  get used(): number {
    return this.#memory.used * 4096;
  }

  /** Faults of the CPU on private pages so far. */
  get faults(): number {
    return this.#memory.faults;
  }

  /** @internal */
  get memory(): Memory {
    return this.#memory;
  }

  *#migrate(space: AddressSpace, addr: bigint, length: number, options: MigrateOptions): Sleepable<Migrated> {
    checkOptions('migrate', options, ['to', 'select', 'holdNs']);
    const vpn = checkPage('migrate', 'addr', addr);
    const npages = checkPages('migrate', 'length', vpn, length);
    const to = checkOneOf('migrate', 'to', options.to ?? 'device', ['device', 'system']);
    const wanted = options.select ?? [to === 'device' ? 'system' : this.type];
    const select = wanted.reduce((bits, one) => bits | SELECT[checkOneOf('migrate', 'select', one, ['system', 'private', 'coherent'])], 0);
    const holdNs = checkBytes('migrate', 'holdNs', options.holdNs ?? 0);
    const done: Moved = yield* movePages(this.#open('migrate'), space.mm, vpn, npages, { to, select, holdNs });
    if (done.error !== null) throw new HmmError(done.error, 'migrate', 'the range is not one that migrates', addr);
    return { collected: done.cpages, moved: done.moved.reduce((sum, one) => sum + one, 0) };
  }

  *#exclusive(space: AddressSpace, addr: bigint, length: number): Sleepable<boolean[]> {
    const vpn = checkPage('exclusive', 'addr', addr);
    const npages = checkPages('exclusive', 'length', vpn, length);
    const { error, granted } = yield* useExclusive(this.#open('exclusive'), space.mm, vpn, npages, () => undefined);
    if (error !== null) throw new HmmError(error, 'exclusive', 'the first page cannot be had for writing', addr);
    return [...granted];
  }

  #open(op: string): Memory {
    this.#driver.check(op);
    return this.#memory;
  }
}
