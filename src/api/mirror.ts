/** Mirror: a device's view of an address space, on either HMM API. */
import { ACCESS_READ, ACCESS_WRITE, STOP_HOLE } from '../abi.ts';
import { DeviceMirror, attachLegacy, attachModern, type DeviceStats } from '../dmirror/index.ts';
import { HmmError, checkOptions } from '../errno.ts';
import type { NotifierEvent } from '../events/events.ts';
import type { Sleepable } from '../sched/index.ts';
import { LEVEL_SIZES, addrOf, type PageSize, type Vpn } from '../units.ts';
import { AddressSpace, type Translator } from './addressSpace.ts';
import { checkAddress, checkBoolean, checkBytes, checkData, checkFunction, checkIs, checkName, checkOneOf, checkPage, checkPages, checkVpns } from './checks.ts';
import type { DeviceMemory } from './deviceMemory.ts';
import type { Driver } from './driver.ts';
import { MirrorRange, type RangeOptions } from './range.ts';
import { charge, type TranslateCosts } from './translateCosts.ts';

/** A range that went stale: drop what you remember of `[start, end)`. */
export interface Invalidation {
  readonly event: NotifierEvent;
  readonly start: bigint;
  readonly end: bigint;
  readonly blockable: boolean;
}

export interface MirrorOptions {
  readonly name?: string;
  /** which HMM API the driver is written for (default modern) */
  readonly api?: 'modern' | '2019';
  /** memory of the device's own: its private pages are seen where they are (modern API only) */
  readonly memory?: DeviceMemory;
  /** called before an invalidation goes on, with the device's own entries already gone */
  readonly onInvalidate?: (invalidation: Invalidation) => void;
  /** called when pages were brought into the device's table */
  readonly onFill?: (fill: { readonly start: bigint; readonly length: number }) => void;
}

export class Mirror implements Disposable {
  readonly name: string;
  readonly api: 'modern' | '2019';
  readonly #driver: Driver;
  readonly #device: DeviceMirror;

  /** @internal made by `createMirror` */
  constructor(driver: Driver, device: DeviceMirror, api: 'modern' | '2019') {
    this.name = device.name;
    this.api = api;
    this.#driver = driver;
    this.#device = device;
  }

  /** What a task can `yield*`. */
  readonly task = {
    read: (addr: bigint, target: Uint8Array): Sleepable<void> => {
      const { vpn, within } = checkAddress('device read', 'addr', addr);
      return this.#open('device read').read(vpn, within, checkData('device read', 'target', target));
    },
    write: (addr: bigint, bytes: Uint8Array): Sleepable<void> => {
      const { vpn, within } = checkAddress('device write', 'addr', addr);
      return this.#open('device write').write(vpn, within, checkData('device write', 'bytes', bytes));
    },
    atomicAdd: (addr: bigint, value: bigint): Sleepable<bigint> => {
      const { vpn, within } = checkAddress('device atomic', 'addr', addr);
      if (within % 8 !== 0) throw new HmmError('EINVAL', 'device atomic', `address 0x${addr.toString(16)} is not a multiple of 8`, addr);
      return this.#open('device atomic').atomicAdd(vpn, within, value);
    },
    fault: (addr: bigint, length: number, write: boolean): Sleepable<void> => this.#fault(addr, length, write),
  };

  /** Device loads. Throws EFAULT, EBUSY (the range never settled), ENOMEM. */
  read(addr: bigint, length: number): Uint8Array {
    const target = new Uint8Array(checkBytes('device read', 'length', length));
    this.readInto(addr, target);
    return target;
  }

  /** Device loads into memory of the caller's. */
  readInto(addr: bigint, target: Uint8Array): void {
    this.#driver.run('device read', this.task.read(addr, target));
  }

  /** Device stores. Throws EFAULT, EPERM (a read-only mapping), EBUSY, ENOMEM. */
  write(addr: bigint, bytes: Uint8Array): void {
    this.#driver.run('device write', this.task.write(addr, bytes));
  }

  /** Atomically adds to the 64-bit word at `addr`, a multiple of 8; returns what it was. */
  atomicAdd(addr: bigint, value: bigint): bigint {
    if (typeof value !== 'bigint') throw new TypeError('device atomic: value must be a bigint');
    return this.#driver.run('device atomic', this.task.atomicAdd(addr, value));
  }

  /** Brings a range into the device's table without touching it. */
  fault(addr: bigint, length: number, options: { write?: boolean } = {}): void {
    checkOptions('device fault', options, ['write']);
    this.#driver.run('device fault', this.task.fault(addr, length, checkBoolean('device fault', 'write', options.write ?? false)));
  }

  /**
   * The physical address behind `addr` by the device's own table; where it has none, the page is brought in first. What a
   * software TLB is filled from: `onInvalidate` says when to forget it. With `costs` (of `createCosts`) it is counted there.
   */
  translate(addr: bigint, access: 'r' | 'w', options?: { readonly costs?: TranslateCosts }): bigint {
    const { vpn, within } = checkAddress('device translate', 'addr', addr);
    checkOneOf('device translate', 'access', access, ['r', 'w']);
    const device = this.#open('device translate');
    let pfn = device.translate(vpn, access === 'w');
    if (pfn < 0) pfn = this.#driver.run('device translate', device.page(vpn, vpn + 1, access === 'w'));
    if (options !== undefined) {
      checkOptions('device translate', options, ['costs']);
      if (options.costs !== undefined) charge('device translate', options.costs, device.table, vpn, access === 'w' ? 'store' : 'load');
    }
    return BigInt(pfn * 4096 + within);
  }

  /**
   * A function from page number to frame by the device's own table, for who makes millions: it looks only. Where it answers a negative number
   * `translate` brings the page in. Keep it, and give each loop that calls it one of its own: then V8 knows what it calls.
   */
  translator(access: 'r' | 'w'): Translator {
    const wanted = checkOneOf('translator', 'access', access, ['r', 'w']) === 'w' ? ACCESS_WRITE : ACCESS_READ;
    const device = this.#open('translator');
    const driver = this.#driver;
    const { root, levels, endVpn } = device.table;
    const { translate } = device.platform.arena.walker;
    return (vpn) => {
      if (!driver.live || device.closed) this.#open('translate'); // throws
      return vpn >= 0 && vpn < endVpn ? translate(root, levels, vpn, wanted) : -STOP_HOLE;
    };
  }

  /** A translator's answer for each of many pages, in one call. Throws ENOMEM when the arena has no room for 32 KiB. */
  translatePages(vpns: Float64Array, access: 'r' | 'w'): Float64Array {
    const wanted = checkOneOf('translatePages', 'access', access, ['r', 'w']) === 'w' ? ACCESS_WRITE : ACCESS_READ;
    const { table } = this.#open('translatePages');
    return table.translatePages(checkVpns('translatePages', vpns, table.endVpn, this.name), wanted);
  }

  /** Could the device access the page now, without a fault? */
  maps(addr: bigint, options: { write?: boolean } = {}): boolean {
    const { vpn } = checkAddress('device maps', 'addr', addr);
    return this.#open('device maps').translate(vpn, options.write ?? false) >= 0;
  }

  /** One range walk's worth of pfn words, of the modern API: look, fault, and ask whether they are still good. */
  range(addr: bigint, length: number, options: RangeOptions = {}): MirrorRange {
    const start = checkPage('range', 'addr', addr);
    const npages = checkPages('range', 'length', start, length);
    return new MirrorRange(this.#driver, this.#open('range').mm, start, npages, options);
  }

  /** Accesses, faults, retries, invalidations and leaves since the mirror was made. */
  get stats(): Readonly<DeviceStats> {
    return this.#device.stats;
  }

  /** Leaves the device's table holds now, by size. */
  leaves(): Record<PageSize, number> {
    const counts = this.#open('leaves').countLeaves();
    return { [LEVEL_SIZES[0] as PageSize]: counts[0], [LEVEL_SIZES[1] as PageSize]: counts[1], [LEVEL_SIZES[2] as PageSize]: counts[2] } as Record<PageSize, number>;
  }

  /** Bytes of the device's page tables. */
  get tableBytes(): number {
    return this.#open('tableBytes').table.frames * 4096;
  }

  /** Arena offset of the device's top table, for a walker of one's own (src/abi.ts draws the entries). */
  get tableRoot(): number {
    return this.#open('tableRoot').table.root;
  }

  /** Stops mirroring. Closing twice is no error. */
  close(): void {
    if (this.#driver.live && !this.#device.closed) this.#driver.run('device close', this.#device.close());
  }

  [Symbol.dispose](): void {
    this.close();
  }

  *#fault(addr: bigint, length: number, write: boolean): Sleepable<void> {
    const vpn = checkPage('device fault', 'addr', addr);
    const npages = checkPages('device fault', 'length', vpn, length);
    yield* this.#open('device fault').fill(vpn, vpn + npages, write);
  }

  /** @internal */
  get driver(): Driver {
    return this.#driver;
  }

  /** @internal */
  get device(): DeviceMirror {
    return this.#device;
  }

  #open(op: string): DeviceMirror {
    this.#driver.check(op);
    if (this.#device.closed) throw new HmmError('EBADF', op, `mirror ${this.name} is closed`);
    return this.#device;
  }
}

/**
 * Attaches a device to an address space. Several devices may mirror one; each hears of every invalidation before the
 * processor's pages go.
 */
export function createMirror(space: AddressSpace, options: MirrorOptions = {}): Mirror {
  checkOptions('createMirror', options, ['name', 'api', 'memory', 'onInvalidate', 'onFill']);
  const { name = 'device', onInvalidate, onFill } = options;
  checkIs('createMirror', 'space', space, AddressSpace);
  checkName('createMirror', name);
  if (onInvalidate !== undefined) checkFunction('createMirror', 'onInvalidate', onInvalidate);
  if (onFill !== undefined) checkFunction('createMirror', 'onFill', onFill);
  const api = checkOneOf('createMirror', 'api', options.api ?? 'modern', ['modern', '2019']);
  const device = new DeviceMirror(name, space.mm, {
    ...(onInvalidate === undefined ? {} : { onInvalidate: ({ event, start, end, blockable }) => onInvalidate({ event, start: addrOf(start), end: addrOf(end), blockable }) }),
    ...(onFill === undefined ? {} : { onFill: (start: Vpn, npages: number) => onFill({ start: addrOf(start), length: npages * 4096 }) }),
  });
  if (options.memory !== undefined) {
    if (api === '2019') throw new TypeError('createMirror: memory is for the modern api');
    device.memory = options.memory.memory;
  }
  device.port = api === '2019' ? attachLegacy(device) : attachModern(device);
  return new Mirror(space.driver, device, api);
}
