/**
 * The API of 2019 by hand: hmm_mirror and hmm_range, for drivers of that era (mm/hmm.c, v5.2).
 *
 * What it answers depends on the profile's bugs: v5.2 has them all, other profiles mean well.
 */
import type { Window } from '../arena/index.ts';
import { HmmError, checkOptions } from '../errno.ts';
import {
  RANGE_DEFAULT_TIMEOUT_MS, decodePfn, hmmMirrorRegister, hmmMirrorUnregister, hmmRangeDmaMap, hmmRangeDmaUnmap, hmmRangeFault2019, hmmRangeRegister, hmmRangeSnapshot, hmmRangeUnregister,
  hmmRangeWaitUntilValid, newRange2019, type HmmMirror as CoreMirror, type PfnFormat, type Range2019, type RangeAnswer,
} from '../hmm/index.ts';
import type { Mm } from '../mm/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { addrOf, vpnOf } from '../units.ts';
import type { AddressSpace } from './addressSpace.ts';
import { checkDevice, countOf, type DmaDevice } from './dma.ts';
import { checkBoolean, checkPages, checkAddress } from './checks.ts';
import type { Driver } from './driver.ts';

export interface HmmMirrorOptions {
  readonly name?: string;
  /** sync_cpu_device_pagetables(): drop what the device has in [start, end). False (-EAGAIN): only where `blockable` is false */
  readonly sync?: (update: { readonly start: bigint; readonly end: bigint; readonly blockable: boolean }) => boolean | void;
  /** the process is gone */
  readonly release?: () => void;
}

export interface HmmRangeOptions extends PfnFormat {
  /** flags asked for of every page */
  readonly defaultFlags?: bigint;
  /** which flags of the words themselves count as requests */
  readonly pfnFlagsMask?: bigint;
  /** log2 of the bytes a word stands for: 12, or a huge page's shift in hugetlb areas */
  readonly pageShift?: number;
}

/** struct hmm_mirror, registered. */
export class HmmMirror implements Disposable {
  readonly name: string;
  readonly #driver: Driver;
  readonly #mm: Mm;
  readonly #mirror: CoreMirror;

  /** hmm_mirror_register(). Throws EINVAL when the process has exited. */
  constructor(space: AddressSpace, options: HmmMirrorOptions = {}) {
    checkOptions('hmm_mirror_register', options, ['name', 'sync', 'release']);
    const { name = 'mirror', sync, release } = options;
    this.name = name;
    this.#driver = space.driver;
    this.#mm = space.mm;
    const mirror = hmmMirrorRegister(space.mm, name, {
      *syncCpuDevicePagetables(update) {
        return sync?.({ start: addrOf(update.start), end: addrOf(update.end), blockable: update.blockable }) !== false;
      },
      *release() {
        release?.();
      },
    });
    if (typeof mirror === 'string') throw new HmmError(mirror, 'hmm_mirror_register', `process ${space.name} has exited`);
    this.#mirror = mirror;
  }

  /**
   * hmm_range_register(). Throws EINVAL (not aligned to `pageShift`, or empty), EFAULT (the process has exited), ENOMEM;
   * RangeError for flags and values that no driver could tell apart.
   */
  range(addr: bigint, length: number, options: HmmRangeOptions): HmmRange {
    const { vpn, within } = checkAddress('hmm_range_register', 'addr', addr);
    if (within !== 0) throw new HmmError('EINVAL', 'hmm_range_register', `addr 0x${addr.toString(16)} is not page aligned`, addr);
    return new HmmRange(this.#driver, this.#mm, addr, checkPages('hmm_range_register', 'length', vpn, length), options);
  }

  /** hmm_mirror_unregister(): no callback runs any more when it returns. */
  unregister(): void {
    if (this.#driver.live) this.#driver.run('hmm_mirror_unregister', hmmMirrorUnregister(this.#mirror));
  }

  [Symbol.dispose](): void {
    this.unregister();
  }
}

/** struct hmm_range, registered. Its words stand in the arena until `unregister`. */
export class HmmRange implements Disposable {
  readonly start: bigint;
  readonly end: bigint;
  readonly #driver: Driver;
  readonly #mm: Mm;
  readonly #window: Window;
  readonly #range: Range2019;
  /** bus address of each page, 0 for none */
  readonly #addresses: Float64Array;
  #over = false;

  /** @internal made by `HmmMirror.range` */
  constructor(driver: Driver, mm: Mm, addr: bigint, npages: number, options: HmmRangeOptions) {
    checkOptions('hmm_range_register', options, ['flags', 'values', 'pfnShift', 'defaultFlags', 'pfnFlagsMask', 'pageShift']);
    const { pageShift, ...format } = options;
    driver.check('hmm_range_register');
    this.#driver = driver;
    this.#mm = mm;
    this.start = addr;
    this.end = addr + BigInt(npages) * 4096n;
    this.#window = mm.platform.arena.window(npages);
    this.#addresses = new Float64Array(npages);
    try {
      this.#range = newRange2019({ ...format, words: this.#window.words, out: this.#window.offset });
      const refused = hmmRangeRegister(this.#range, mm, vpnOf(addr), vpnOf(this.end), pageShift);
      if (refused !== null) throw new HmmError(refused, 'hmm_range_register', refused === 'EFAULT' ? `process ${mm.name} has exited` : 'the range is not aligned to its page_shift', addr);
    } catch (error) {
      this.#window.free();
      throw error;
    }
  }

  /** The words, in the driver's own layout. Written by the driver before a call they are requests (`pfnFlagsMask`). */
  get pfns(): BigUint64Array {
    this.#check('pfns');
    return this.#window.words;
  }

  /** range->valid. */
  get valid(): boolean {
    this.#check('valid');
    return this.#range.valid;
  }

  get defaultFlags(): bigint {
    return this.#range.defaultFlags;
  }

  set defaultFlags(flags: bigint) {
    this.#range.defaultFlags = flags;
  }

  /** The frame in the word of page `index`, or null where it holds none. */
  pfn(index: number): bigint | null {
    const word = this.pfns[index];
    if (word === undefined) throw new RangeError(`hmm_range: no page ${index}`);
    return decodePfn(this.#range, word);
  }

  /** What a task can `yield*`. */
  readonly task = {
    snapshot: (): Sleepable<number> => this.#call('hmm_range_snapshot', hmmRangeSnapshot(this.#range)),
    fault: (block = true): Sleepable<number> => this.#call('hmm_range_fault', hmmRangeFault2019(this.#range, { block })),
    waitUntilValid: (timeoutMs = RANGE_DEFAULT_TIMEOUT_MS): Sleepable<boolean> => hmmRangeWaitUntilValid(this.#range, timeoutMs),
    dmaMap: (device: DmaDevice, block = true): Sleepable<number> =>
      this.#call('hmm_range_dma_map', hmmRangeDmaMap(this.#range, checkDevice('hmm_range_dma_map', device), this.#addresses, { block })),
  };

  /** hmm_range_snapshot(): looks. Returns pages counted. Throws EAGAIN, EFAULT, EINVAL, EPERM, EBUSY. */
  snapshot(): number {
    return this.#driver.run('hmm_range_snapshot', this.task.snapshot());
  }

  /** hmm_range_fault(): brings in what is asked for. Returns pages counted. Throws EAGAIN (mmap_sem was dropped), EBUSY, EFAULT, EINVAL, EPERM. */
  fault(options: { block?: boolean } = {}): number {
    checkOptions('hmm_range_fault', options, ['block']);
    return this.#driver.run('hmm_range_fault', this.task.fault(checkBoolean('hmm_range_fault', 'block', options.block ?? true)));
  }

  /**
   * hmm_range_dma_map(): faults the range and maps its pages for a device. Returns pages mapped; `dmaAddress` has where. Throws as
   * `fault`; EBUSY where nothing was faulted or the range is not valid any more, EFAULT where the device has no room: then nothing is mapped.
   */
  dmaMap(device: DmaDevice, options: { block?: boolean } = {}): number {
    checkOptions('hmm_range_dma_map', options, ['block']);
    return this.#driver.run('hmm_range_dma_map', this.task.dmaMap(device, checkBoolean('hmm_range_dma_map', 'block', options.block ?? true)));
  }

  /** hmm_range_dma_unmap(): takes the mappings back; `dirty`: the device has written. Returns how many there were. */
  dmaUnmap(device: DmaDevice, options: { dirty?: boolean } = {}): number {
    checkOptions('hmm_range_dma_unmap', options, ['dirty']);
    this.#check('hmm_range_dma_unmap');
    const dirty = checkBoolean('hmm_range_dma_unmap', 'dirty', options.dirty ?? false);
    return countOf('hmm_range_dma_unmap', hmmRangeDmaUnmap(this.#range, checkDevice('hmm_range_dma_unmap', device), this.#addresses, { dirty }));
  }

  /** The bus address of page `index`, or null where it is not mapped. */
  dmaAddress(index: number): bigint | null {
    this.#check('dmaAddress');
    const address = this.#addresses[index];
    if (address === undefined) throw new RangeError(`hmm_range: no page ${index}`);
    return address === 0 ? null : BigInt(address);
  }

  /** hmm_range_wait_until_valid(), in virtual milliseconds. False when the time is up or the process has exited. */
  waitUntilValid(timeoutMs = RANGE_DEFAULT_TIMEOUT_MS): boolean {
    return this.#driver.run('hmm_range_wait_until_valid', this.task.waitUntilValid(timeoutMs));
  }

  /** hmm_range_unregister(). Doing it twice is no error. */
  unregister(): void {
    if (this.#over || !this.#driver.live) return;
    this.#over = true;
    hmmRangeUnregister(this.#range);
    this.#window.free();
  }

  [Symbol.dispose](): void {
    this.unregister();
  }

  *#call(op: string, walk: Sleepable<RangeAnswer>): Sleepable<number> {
    this.#check(op);
    const { sched } = this.#mm.platform;
    if (!this.#mm.mmapLock.tryRead(sched)) yield* this.#mm.mmapLock.read(sched);
    let dropped = false;
    let result: RangeAnswer['result'];
    try {
      ({ result, dropped } = yield* walk);
    } finally {
      if (!dropped) this.#mm.mmapLock.readUnlock(sched);
    }
    if (typeof result === 'string') throw new HmmError(result, op, dropped ? 'mmap_sem was dropped' : 'the walk failed', this.start);
    return result;
  }

  #check(op: string): void {
    this.#driver.check(op);
    if (this.#over) throw new HmmError('EBADF', op, 'the range was unregistered');
  }
}
