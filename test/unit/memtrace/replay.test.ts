/** A trace on a machine: pages and faults by size, the processor or a device, and references against those of single accesses. */
import { describe, expect, test } from 'vitest';
import { Replay, type ReplayOptions } from '../../../dist/memtrace/index.js';

async function replayOf(lines: readonly string[], options: ReplayOptions = {}): Promise<ReturnType<() => Replay['results']>> {
  let left: Uint8Array = new TextEncoder().encode(`${lines.join('\n')}\n`);
  using replay = await Replay.create({
    read: (target) => {
      const n = Math.min(target.length, left.length);
      target.set(left.subarray(0, n));
      left = left.subarray(n);
      return n;
    },
  }, options);
  while (await replay.step());
  return replay.results;
}

const hex = (n: number): string => n.toString(16);
const GIB = 2 ** 30;

describe('page sizes side by side', () => {
  test('one page in each of three GiB: a cold walk each, of 4, 3 and 2 references, and faults of that size', async () => {
    const lines = [0, 1, 2].map((i) => `${hex(0x4000000000 + i * 512 * GIB)} w`); // a PML4 entry each
    const results = await replayOf(lines);
    expect(results.map(({ page, costs }) => [page, costs.walks, costs.references])).toEqual([['4K', 3, 12], ['2M', 3, 9], ['1G', 3, 6]]);
    expect(results.map(({ faults }) => faults)).toEqual([{ '4K': 3, '2M': 0, '1G': 0 }, { '4K': 0, '2M': 3, '1G': 0 }, { '4K': 0, '2M': 0, '1G': 3 }]);
    expect(results.map(({ mappedBytes }) => mappedBytes)).toEqual([3 * 4096, 3 * 2 ** 21, 3 * GIB]);
  });

  test('a load and then a store: the second fault is for the right to write', async () => {
    const [result] = await replayOf(['4000000000 r', '4000000000 w'], { pages: ['4K'] });
    expect(result).toMatchObject({ writeFaults: 1, faults: { '4K': 1 }, costs: { walks: 2, references: 5, faults: 2 } });
  });

  test('where a large page does not fit, a smaller one stands: the first GiB begins at 64 KiB, the last ends a page early', async () => {
    const [, , large] = await replayOf(['10000 r', '400000 r', '7fffffffe000 w', '7ffff0000000 w']);
    expect(large?.faults).toEqual({ '4K': 2, '2M': 2, '1G': 0 });
  });
});

describe('through a device', () => {
  test('its faults bring in blocks of the page size, and the process faults for it', async () => {
    const results = await replayOf(['4000000000 w', '4000200000 w', '4000200000 w'], { through: 'device' });
    expect(results.map(({ faults, cpuFaults }) => [faults, cpuFaults])).toEqual([
      [{ '4K': 2, '2M': 0, '1G': 0 }, 2], [{ '4K': 0, '2M': 2, '1G': 0 }, 2], [{ '4K': 0, '2M': 0, '1G': 1 }, 1],
    ]);
    expect(results.map(({ costs }) => costs.walks)).toEqual([2, 2, 1]);
  });

  test('a store after a load asks the file system, and what that invalidates is flushed', async () => {
    const [result] = await replayOf(['4000000000 r', '4000000000 w', '4000000000 r'], { pages: ['4K'], through: 'device' });
    expect(result).toMatchObject({ writeFaults: 1, costs: { walks: 2 } });
  });
});

test('what fits a TLB stays in it, what aliases in its sets does not', async () => {
  // 64 pages round and round: all in the L1 TLB of 72 entries, none in one of 16 x 4 with a stride of 16 pages.
  const lines = Array.from({ length: 6400 }, (_, i) => `${hex(0x4000000000 + (i % 64) * 16 * 4096)} r`);
  const [fits] = await replayOf(lines, { pages: ['4K'], cpu: 'zen4' });
  const [aliases] = await replayOf(lines, { pages: ['4K'], cpu: 'skylake' });
  expect(fits?.costs).toMatchObject({ l1Hits: 6400 - 64, l2Hits: 0, walks: 64 });
  expect(aliases?.costs).toMatchObject({ l1Hits: 0, l2Hits: 6400 - 64, walks: 64 });
  const [nested] = await replayOf(lines.slice(0, 1), { pages: ['4K'], cpu: 'none', nested: '4K' });
  expect(nested?.costs.references).toBe(24);
  const [five] = await replayOf(lines.slice(0, 1), { pages: ['4K'], cpu: 'none', la57: true });
  expect(five?.costs.references).toBe(5);
});
