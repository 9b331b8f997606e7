/** PowerCuts: what of a machine's persistent memory a power cut would leave; PmemImage: a device as it is found afterwards. */
import { ACCESS_READ } from '../abi.ts';
import { HmmError, checkOptions } from '../errno.ts';
import { cutPower, readImage, type DeviceImage } from '../fs/index.ts';
import { MachineCore } from '../machine.ts';
import { LINE_BYTES, type Persistence } from '../persistence/index.ts';
import { Random } from '../sched/index.ts';
import { addrOf } from '../units.ts';
import type { AddressSpace } from './addressSpace.ts';
import { checkAddress, checkBytes, checkOneOf, describe } from './checks.ts';
import type { Machine } from './machine.ts';
import type { Pmem } from './pmem.ts';

export interface PowerCutsOptions {
  /** the caches survive a cut, too (default false: what was not flushed and fenced may be lost) */
  readonly eadr?: boolean;
}

/** What of all that may be left is. */
export interface CutOptions {
  /** cache lines with stores that are not durable: none of these stores (default), all, or of each line some, whole in 8 bytes */
  readonly lines?: 'oldest' | 'newest' | 'random';
  /** metadata: what was committed for certain (default), all, or any number of changes in order */
  readonly journal?: 'oldest' | 'newest' | 'random';
  /** of what is random (default 1n) */
  readonly seed?: bigint;
}

/** A file system's device as it is found after a cut; apart from the machine. `Machine.mount` makes a device of it. */
export class PmemImage {
  /** cache lines, and changes of metadata, that are not as they were before the cut */
  readonly linesLost: number;
  readonly changesLost: number;
  readonly #image: DeviceImage;

  /** @internal made by `PowerCuts.cut` */
  constructor(image: DeviceImage, linesLost: number, changesLost: number) {
    this.#image = image;
    this.linesLost = linesLost;
    this.changesLost = changesLost;
  }

  get files(): readonly { readonly name: string; readonly size: number }[] {
    return this.#image.files.map(({ name, size }) => ({ name, size }));
  }

  /** Bytes of a recovered file, fewer at its end. Throws ENOENT. */
  read(name: string, offset: number, length: number): Uint8Array {
    checkBytes('read', 'offset', offset);
    const target = new Uint8Array(checkBytes('read', 'length', length));
    return target.subarray(0, readImage(this.#image, name, offset, target));
  }

  /** @internal */
  get image(): DeviceImage {
    return this.#image;
  }
}

/**
 * Keeps track of a machine: stores, whoever makes them, are in cache lines until these are flushed and fenced; metadata is in memory until
 * a journal commit. Both happen in `fsync`, `msync` and write faults of MAP_SYNC mappings, and here by `flush`. What an embedder writes
 * into the arena by himself (`Machine.locate`) is not seen.
 */
export class PowerCuts {
  readonly #machine: Machine;
  readonly #persistence: Persistence;

  /** @internal made by `createPowerCuts` */
  constructor(machine: Machine, persistence: Persistence) {
    this.#machine = machine;
    this.#persistence = persistence;
  }

  /** Bytes in cache lines that a cut could take back. */
  get volatileBytes(): number {
    return this.#persistence.volatileLines * LINE_BYTES;
  }

  /**
   * clwb of every cache line of `[addr, addr + length)`, then sfence: what was stored there is durable, if the metadata that leads there
   * is. Throws EFAULT, with nothing flushed, where the process has no page.
   */
  flush(mm: AddressSpace, addr: bigint, length: number): void {
    const { vpn, within } = checkAddress('flush', 'addr', addr);
    checkBytes('flush', 'length', length);
    const { pageTable } = mm.mm;
    const runs: { paddr: number; length: number }[] = [];
    for (let done = 0; done < length; ) {
      const at = within + done;
      const page = vpn + Math.floor(at / 4096);
      const n = Math.min(length - done, 4096 - (at % 4096));
      const pfn = page < pageTable.endVpn ? pageTable.translate(page, ACCESS_READ) : -1;
      if (pfn < 0) throw new HmmError('EFAULT', 'flush', `${mm.name} has no page there`, addrOf(page));
      runs.push({ paddr: pfn * 4096 + (at % 4096), length: n });
      done += n;
    }
    for (const run of runs) this.#persistence.flush(run.paddr, run.length);
    this.#persistence.fence();
  }

  /** What a cut at this moment would leave of a device. The machine goes on as if nothing had happened. */
  cut(pmem: Pmem, options: CutOptions = {}): PmemImage {
    checkOptions('cut', options, ['lines', 'journal', 'seed']);
    const { seed = 1n } = options;
    const lines = checkOneOf('cut', 'lines', options.lines ?? 'oldest', ['oldest', 'newest', 'random']);
    const journal = checkOneOf('cut', 'journal', options.journal ?? 'oldest', ['oldest', 'newest', 'random']);
    if (typeof seed !== 'bigint') throw new TypeError(`cut: seed must be a bigint, not ${describe(seed)}`);
    if (!this.#machine.core.fileSystems.includes(pmem.fileSystem)) throw new HmmError('ENXIO', 'cut', `${pmem.name} is not of this machine, or of before its reset`);
    const left = cutPower(pmem.fileSystem, { lines, journal }, new Random(seed));
    return new PmemImage(left.save(), left.linesLost, left.recordsLost);
  }
}

/** From now on, and through resets, it is kept what a power cut would leave; what is on the machine's devices now is durable. */
export function createPowerCuts(machine: Machine, options: PowerCutsOptions = {}): PowerCuts {
  checkOptions('createPowerCuts', options, ['eadr']);
  if (!(machine?.core instanceof MachineCore)) throw new TypeError(`createPowerCuts: machine must be of class Machine, not ${describe(machine)}`);
  const { eadr = false } = options;
  if (typeof eadr !== 'boolean') throw new TypeError(`createPowerCuts: eadr must be true or false, not ${describe(eadr)}`);
  return new PowerCuts(machine, machine.core.trackPersistence({ eadr }));
}
