/** flush, adviseHuge, cpuTime and the running kernel as a peer. */
import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { PAGE, addon, sharedMemory, withAddon } from './addon.ts';

const { describe, it } = withAddon(import.meta.url);
const MIB = 1 << 20;

describe('flush', () => {
  it('leaves every byte as it is, whatever line it begins and ends in', () => {
    const native = addon();
    const bytes = new Uint8Array(sharedMemory().buffer).subarray(0, 3 * PAGE);
    bytes.forEach((_, x) => (bytes[x] = x % 251));
    for (const [offset, length] of [[0, 0], [0, 1], [63, 2], [100, 5000], [0, 3 * PAGE]] as const) native.flush(bytes, offset, length);
    expect(bytes.every((byte, x) => byte === x % 251)).toBe(true);
  });

  it('refuses a range outside the memory', () => {
    const bytes = new Uint8Array(sharedMemory().buffer);
    expect(() => addon().flush(bytes, bytes.length - 1, 2)).toThrow(RangeError);
    expect(() => addon().flush(bytes, bytes.length + 1, 0)).toThrow(RangeError);
  });
});

describe('adviseHuge', () => {
  it('says whether the kernel took it, changes no byte, and has nothing to ask for less than a page', () => {
    const native = addon();
    const bytes = new Uint8Array(sharedMemory(128).buffer);
    bytes[5 * MIB] = 9;
    expect(typeof native.adviseHuge(bytes, 0, bytes.length)).toBe('boolean');
    expect(bytes[5 * MIB]).toBe(9);
    expect(native.adviseHuge(bytes, 1, PAGE)).toBe(false);
    expect(() => native.adviseHuge(bytes, 0, bytes.length + 1)).toThrow(RangeError);
  });
});

describe('cpuTime', () => {
  it('counts work and not waiting', async () => {
    const native = addon();
    const idle = native.cpuTime();
    await new Promise((resolve) => setTimeout(resolve, 200));
    const waited_ns = native.cpuTime() - idle;
    const busy = native.cpuTime();
    const wall = performance.now();
    while (native.cpuTime() - busy < 20e6) if (performance.now() - wall > 20_000) throw new Error('no CPU time passes');
    expect(waited_ns).toBeGreaterThanOrEqual(0);
    expect(waited_ns).toBeLessThan(100e6);
    expect(performance.now() - wall).toBeGreaterThan(19);
  });
});

describe('hostPagemap', () => {
  it('reads the words of pages that are all present', () => {
    const native = addon();
    const region = native.hostPagemap({ bytes: 4 * MIB, thp: false });
    expect(region).toMatchObject({ npages: 1024, present: 1024, hugeBytes: 0 });
    expect(native.hostPagemapRead(region.handle, 1024)).toBe(1024);
    expect(native.hostPagemapRead(region.handle, 16)).toBe(16);
    expect(() => native.hostPagemapRead(region.handle, 1025)).toThrow(/EINVAL/);
    native.hostPagemapFree(region.handle);
    expect(() => native.hostPagemapRead(region.handle, 1)).toThrow(/EBADF/);
    expect(() => native.hostPagemapFree(region.handle)).toThrow(/EBADF/);
  });

  it('says how much of a region asked to be huge is', () => {
    const native = addon();
    const region = native.hostPagemap({ bytes: 8 * MIB, thp: true });
    expect(region.present).toBe(2048);
    expect(region.hugeBytes % (2 * MIB)).toBe(0);
    expect(region.hugeBytes).toBeLessThanOrEqual(8 * MIB);
    native.hostPagemapFree(region.handle);
  });

  it('refuses odd sizes and unknown options', () => {
    expect(() => addon().hostPagemap({ bytes: MIB, thp: false })).toThrow(/EINVAL/);
    expect(() => addon().hostPagemap({ bytes: 0, thp: false })).toThrow(/EINVAL/);
    expect(() => addon().hostPagemap({ bytes: 2 * MIB, thp: false, huge: 1 } as { bytes: number; thp: boolean })).toThrow(/unknown option 'huge'/);
  });
});

describe('memset', () => {
  it('fills exactly the range', () => {
    const bytes = new Uint8Array(sharedMemory().buffer);
    addon().memset(bytes, 10, 20, 0xab);
    expect([...bytes.subarray(8, 34)]).toEqual([0, 0, ...new Array<number>(20).fill(0xab), 0, 0, 0, 0]);
    expect(() => addon().memset(bytes, bytes.length, 1, 0)).toThrow(RangeError);
  });
});

describe('areas of the running kernel', () => {
  it('are split and merged, made and removed', () => {
    const native = addon();
    const handle = native.hostAreas(10);
    const before = maps();
    native.hostSplitMerge(handle, 3);
    native.hostMmapMunmap(3);
    expect(maps()).toBe(before);
    native.hostPagemapFree(handle);
    expect(() => native.hostSplitMerge(handle, 1)).toThrow(/EBADF/);
  });

  it('are as many as were asked for, and no more than the kernel has room for', () => {
    const native = addon();
    const before = maps();
    const handle = native.hostAreas(100);
    expect(maps() - before).toBeGreaterThanOrEqual(100);
    native.hostPagemapFree(handle);
    expect(() => native.hostAreas(1)).toThrow(/hostAreas: count 1 is not from 2 to 2\^20 \(EINVAL\)/);
    expect(() => native.hostSplitMerge(native.hostPagemap({ bytes: 2 * MIB, thp: false }).handle, 1)).toThrow(/has no areas/);
  });
});

/** Areas of this process. */
function maps(): number {
  return readFileSync('/proc/self/maps', 'utf8').split('\n').length;
}
