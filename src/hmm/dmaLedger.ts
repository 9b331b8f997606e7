/**
 * The DMA mappings of one device: which bus address stands for which page, and in which direction (kernel/dma: mapping.c, debug.c).
 *
 * Guarantee: what is mapped stays in the ledger until it is unmapped the way it was mapped; an address that the device does not
 * have, or another direction, is a driver's mistake and an InvariantError, as CONFIG_DMA_API_DEBUG reports one. What is left at
 * the end is a leak with an address. One page may be mapped often: each mapping has an address of its own.
 *
 * Bus addresses are handed out upwards and the freed ones again, last freed first; 0 is never one.
 */
import { invariant } from '../errno.ts';
import { hex, type Pfn } from '../units.ts';

export type DmaDirection = 'to-device' | 'bidirectional';

/** What dma_mapping_error() recognises. */
export const DMA_MAPPING_ERROR = -1;

const FIRST_ADDRESS = 2 ** 32;
const PAGE_BYTES = 4096;

export interface DmaMapping {
  readonly pfn: Pfn;
  readonly direction: DmaDirection;
}

export interface DmaDevice {
  readonly name: string;
  /** mappings that may stand at a time: what the device, or the IOMMU before it, has room for */
  readonly capacity: number;
  readonly mappings: Map<number, DmaMapping>;
  readonly freed: number[];
  nextAddress: number;
}

export function newDmaDevice(name: string, capacity = Infinity): DmaDevice {
  if (!(capacity >= 0)) throw new RangeError(`dma device: capacity ${capacity} is no number of mappings`);
  return { name, capacity, mappings: new Map(), freed: [], nextAddress: FIRST_ADDRESS };
}

/** dma_map_page() of one page: its bus address, or DMA_MAPPING_ERROR where the device has no room. */
export function dmaMapPage(device: DmaDevice, pfn: Pfn, direction: DmaDirection): number {
  if (device.mappings.size >= device.capacity) return DMA_MAPPING_ERROR;
  let address = device.freed.pop();
  if (address === undefined) {
    address = device.nextAddress;
    device.nextAddress += PAGE_BYTES;
  }
  device.mappings.set(address, { pfn, direction });
  return address;
}

/** dma_unmap_page(): the way it was mapped. */
export function dmaUnmapPage(device: DmaDevice, address: number, direction: DmaDirection): void {
  const mapping = device.mappings.get(address);
  invariant(mapping !== undefined, `${device.name} unmaps ${hex(address)}, which it has not mapped`);
  invariant(mapping.direction === direction, `${device.name} unmaps ${hex(address)} ${direction}, mapped ${mapping.direction}`);
  device.mappings.delete(address);
  device.freed.push(address);
}
