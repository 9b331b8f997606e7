/** What a device has mapped for DMA: hmm_range_dma_map() of the 2019 series maps for one. */
import { HmmError, checkOptions } from '../errno.ts';
import { newDmaDevice, type DmaDevice as CoreDevice, type DmaDirection } from '../hmm/index.ts';

export interface DmaDeviceOptions {
  readonly name?: string;
  /** mappings that it, or the IOMMU before it, has room for (default: no bound) */
  readonly capacity?: number;
}

/** One mapping that stands. */
export interface DmaMappingInfo {
  readonly address: bigint;
  readonly pfn: bigint;
  readonly direction: DmaDirection;
}

export class DmaDevice {
  readonly name: string;
  /** @internal */
  readonly core: CoreDevice;

  constructor(options: DmaDeviceOptions = {}) {
    checkOptions('dma device', options, ['name', 'capacity']);
    this.name = options.name ?? 'device';
    this.core = newDmaDevice(this.name, options.capacity);
  }

  /** What is mapped now, by bus address: after everything has been unmapped, what was forgotten. */
  get mappings(): readonly DmaMappingInfo[] {
    return Array.from(this.core.mappings, ([address, { pfn, direction }]) => ({ address: BigInt(address), pfn: BigInt(pfn), direction }))
      .sort((a, b) => (a.address < b.address ? -1 : 1));
  }
}

/** Throws TypeError unless `device` is one. */
export function checkDevice(op: string, device: unknown): CoreDevice {
  if (!(device instanceof DmaDevice)) throw new TypeError(`${op}: device is not a DmaDevice`);
  return device.core;
}

/** The error of a count that is none. */
export function countOf(op: string, result: number | 'EINVAL'): number {
  if (typeof result === 'string') throw new HmmError(result, op, 'the range is empty');
  return result;
}
