/** hmm_range_dma_map() through the facade; what it does page by page is test/unit/hmm/dmaMap.test.ts. */
import { expect, test } from 'vitest';
import { DmaDevice, HmmMirror, MiB, createMachine, type HmmRange } from '../../../dist/index.js';

const FORMAT = { flags: [1n, 2n, 4n], values: [0xffff_ffff_ffff_fffen, 0n, 0xffff_ffff_ffff_fffcn], pfnShift: 12 } as const;

async function scene(): Promise<HmmRange> {
  const machine = await createMachine({ arena: 32 * MiB, profile: 'v5.2', native: 'off' });
  const space = machine.mm();
  const { start } = space.mmap(null, { length: 16384 });
  return new HmmMirror(space).range(start, 16384, { ...FORMAT, defaultFlags: 3n });
}

test('a range is mapped for a device, and unmapped; the ledger is empty then', async () => {
  const range = await scene();
  const device = new DmaDevice({ name: 'gpu' });
  expect(range.dmaMap(device)).toBe(4);
  expect(device.mappings.map(({ address, pfn, direction }) => [address, pfn, direction])).toEqual([0, 1, 2, 3].map((i) => [range.dmaAddress(i), range.pfn(i), 'bidirectional']));
  expect(range.dmaUnmap(device, { dirty: true })).toBe(4);
  expect([device.mappings, range.dmaAddress(0)]).toEqual([[], null]);
});

test('a device without room maps nothing', async () => {
  const range = await scene();
  const device = new DmaDevice({ capacity: 3 });
  expect(() => range.dmaMap(device)).toThrow(/EFAULT/);
  expect(device.mappings).toEqual([]);
});

test('arguments are checked by name', async () => {
  const range = await scene();
  const device = new DmaDevice();
  expect(() => range.dmaMap({} as DmaDevice)).toThrow(/not a DmaDevice/);
  expect(() => range.dmaUnmap(device, { clean: true } as never)).toThrow(/unknown option 'clean'/);
  expect(() => range.dmaAddress(4)).toThrow(/no page 4/);
  expect(() => new DmaDevice({ size: 3 } as never)).toThrow(/unknown option 'size'/);
});
