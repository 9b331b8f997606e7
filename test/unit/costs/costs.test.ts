/**
 * The cost model: exact references of walks, who answers, what invalidations take away. Expected numbers are those of the formula
 * (n + 1)(m + 1) - 1 and of the CPUs' descriptions, or counted by a naive model (naive.ts).
 */
import { describe, expect, test } from 'vitest';
import { CPUS, GiB, MiB, coldReferences, createCosts, createMachine, createMirror, type AddressSpace, type Machine, type PageSize } from '../../../dist/index.js';
import { Chance } from '../../support/chance.ts';

const SIZES: readonly PageSize[] = ['4K', '2M', '1G'];
const START = 0x4000000000n;

/** A process with 1 GiB of a DAX file in pages of one size, present and writable from `touched` on. */
async function spaceOf(page: PageSize, { la57 = false, touched = [0n] }: { la57?: boolean; touched?: readonly bigint[] } = {}): Promise<{ machine: Machine; space: AddressSpace }> {
  const machine = await createMachine({ arena: 64 * MiB, profile: 'lab', native: 'off', la57 });
  const file = machine.pmem({ size: 4 * GiB }).file('f', { size: GiB, extent: page });
  const space = machine.mm();
  space.mmap(file, { length: GiB, at: START, fixed: 'fixed' });
  for (const offset of touched) space.store(START + offset, new Uint8Array(1));
  return { machine, space };
}

describe('a cold walk', () => {
  test.each([
    [{ page: '4K' }, 4], [{ page: '2M' }, 3], [{ page: '1G' }, 2],
    [{ page: '4K', levels: 5 }, 5], [{ page: '2M', levels: 5 }, 4], [{ page: '1G', levels: 5 }, 3],
    [{ page: '4K', host: { page: '4K' } }, 24], [{ page: '2M', host: { page: '4K' } }, 19], [{ page: '2M', host: { page: '2M' } }, 15], [{ page: '1G', host: { page: '1G' } }, 8],
    [{ page: '4K', levels: 5, host: { page: '4K', levels: 5 } }, 35],
  ] as const)('%j has %d references', (walk, references) => {
    expect(coldReferences(walk)).toBe(references);
  });

  test.each(SIZES.flatMap((page) => [false, true].map((la57) => ({ page, la57 }))))('of $page pages, la57 $la57, is what the model counts', async ({ page, la57 }) => {
    const { machine, space } = await spaceOf(page, { la57 });
    using costs = createCosts(space, { cpu: 'none' });
    const references = coldReferences({ page, levels: la57 ? 5 : 4 });
    expect(costs.charge(START)).toEqual({ by: 'walk', references, cycles: references * costs.cpu.reference.cycles });
    expect(costs.charge(START, 'store')).toMatchObject({ by: 'walk', references });
    expect(costs.stats).toMatchObject({ walks: 2, references: 2 * references, l1Hits: 0, l2Hits: 0, faults: 0 });
    machine.dispose();
  });

  test.each([['4K', '4K', 24], ['2M', '4K', 19], ['2M', '2M', 15], ['1G', '1G', 8]] as const)('nested, %s on %s, has %d; with the PDE known, the host is walked for the page alone', async (page, nested, references) => {
    const { machine, space } = await spaceOf(page);
    using bare = createCosts(space, { cpu: 'none', nested });
    expect(bare.charge(START)).toMatchObject({ by: 'walk', references });
    using warm = createCosts(space, { cpu: 'skylake', nested });
    expect(warm.charge(START).references).toBe(references);
    warm.invalidate(0, 0); // drops structure caches, too
    expect(warm.charge(START).by).toBe('L1');
    machine.dispose();
  });
});

describe('paging-structure caches', () => {
  test('a second page of a table costs one reference, of its neighbour two, of the next GiB three', async () => {
    const { machine, space } = await spaceOf('4K', { touched: [0n, 4096n, 2n << 20n] });
    using costs = createCosts(space, { cpu: 'skylake' });
    expect(costs.charge(START).references).toBe(4);
    expect(costs.charge(START + 4096n).references).toBe(1);
    expect(costs.charge(START + (2n << 20n)).references).toBe(2);
    const next = machine.pmem({ size: 4 * GiB }).file('g', { size: GiB, extent: '4K' });
    space.mmap(next, { length: GiB, at: START + (1n << 30n), fixed: 'fixed' });
    space.store(START + (1n << 30n), new Uint8Array(1));
    expect(costs.charge(START + (1n << 30n)).references).toBe(3);
    expect(costs.stats.skips).toEqual({ PDE: 1, PDPTE: 1, PML4E: 1, PML5E: 0 });
    machine.dispose();
  });

  test('keep no leaf: 2M pages of one table cost one reference each through the PDPTE cache', async () => {
    const { machine, space } = await spaceOf('2M', { touched: [0n, 2n << 20n, 4n << 20n] });
    using costs = createCosts(space, { cpu: 'zen4' });
    expect([0n, 2n, 4n].map((mib) => costs.charge(START + (mib << 20n)).references)).toEqual([3, 1, 1]);
    machine.dispose();
  });
});

describe('TLBs', () => {
  test('one hit at L1 is free, one at L2 costs its cycles', async () => {
    const pages = 65;
    const { machine, space } = await spaceOf('4K', { touched: Array.from({ length: pages * 16 }, (_, i) => BigInt(i) * 4096n) });
    using costs = createCosts(space, { cpu: 'skylake' });
    for (let i = 0; i < 5; i++) costs.charge(START + BigInt(i * 16) * 4096n); // one set of 16 x 4
    expect(costs.charge(START)).toEqual({ by: 'L2', references: 0, cycles: costs.cpu.l2Hit.cycles });
    expect(costs.charge(START)).toEqual({ by: 'L1', references: 0, cycles: 0 });
    expect(costs.stats).toMatchObject({ lookups: { fetch: 0, load: 7, store: 0 }, l1Hits: 1, l2Hits: 1, walks: 5 });
    machine.dispose();
  });

  test('1G pages are smashed in the L2 TLB of Zen 2, and whole again at L1', async () => {
    const { machine, space } = await spaceOf('1G');
    using costs = createCosts(space, { cpu: 'zen2' });
    expect(costs.charge(START).by).toBe('walk');
    expect(costs.charge(START + (512n << 20n)).by).toBe('L1');
    costs.invalidate(Number(START / 4096n), Number(START / 4096n) + 1);
    expect(costs.stats.invalidations).toEqual({ pages: 1, flushes: 0, dropped: 2 });
    expect(costs.charge(START + (512n << 20n)).by).toBe('walk');
    machine.dispose();
  });

  test('a store to a page that is not known to be dirty walks once more, and the walk leaves D', async () => {
    const { machine, space } = await spaceOf('4K', { touched: [] });
    space.load(START, 1);
    using costs = createCosts(space, { cpu: 'zen4' });
    expect(costs.charge(START)).toMatchObject({ by: 'walk' });
    expect(costs.charge(START, 'store')).toMatchObject({ by: 'fault' }); // the file system wants to hear of the first write
    space.store(START, new Uint8Array(1));
    expect(costs.charge(START, 'store')).toMatchObject({ by: 'walk', references: 1 });
    expect(costs.charge(START, 'store').by).toBe('L1');
    machine.dispose();
  });

  test('a fault is no access, and its references stand apart', async () => {
    const { machine, space } = await spaceOf('4K', { touched: [] });
    using costs = createCosts(space);
    expect(costs.charge(START)).toMatchObject({ by: 'fault' });
    expect(costs.stats).toMatchObject({ lookups: { fetch: 0, load: 0, store: 0 }, walks: 0, references: 0, l1Hits: 0, faults: 1 });
    expect(costs.stats.faultReferences).toBeGreaterThan(0);
    machine.dispose();
  });
});

describe('invalidation', () => {
  test('up to 33 pages go one by one, more flush the address space', async () => {
    const { machine, space } = await spaceOf('4K', { touched: Array.from({ length: 64 }, (_, i) => BigInt(i) * 4096n) });
    using costs = createCosts(space);
    const fill = (): void => Array.from({ length: 64 }, (_, i) => costs.charge(START + BigInt(i) * 4096n)).forEach(() => {});
    const vpn = Number(START / 4096n);
    fill();
    costs.invalidate(vpn, vpn + 33);
    expect(costs.stats.invalidations).toEqual({ pages: 33, flushes: 0, dropped: 66 });
    expect(costs.charge(START + 63n * 4096n).by).toBe('L1');
    costs.invalidate(vpn, vpn + 34);
    expect(costs.stats.invalidations).toMatchObject({ flushes: 1, dropped: 66 + 31 * 2 });
    expect(costs.charge(START + 63n * 4096n)).toMatchObject({ by: 'walk', references: 4 });
    machine.dispose();
  });

  test('what the kernel takes away is flushed: mprotect, munmap and fsync are heard', async () => {
    const { machine, space } = await spaceOf('4K', { touched: [0n, 4096n] });
    using costs = createCosts(space);
    costs.charge(START, 'store');
    space.mprotect(START, 4096, 'r');
    expect(costs.charge(START, 'store').by).toBe('fault');
    expect(costs.charge(START).by).toBe('walk');
    space.munmap(START, 4096);
    expect(costs.charge(START).by).toBe('fault');
    machine.dispose();
  });

  test('a device hears of what leaves its table', async () => {
    const { machine, space } = await spaceOf('2M');
    const mirror = createMirror(space);
    mirror.fault(START, 2 * MiB, { write: true });
    using costs = createCosts(mirror);
    mirror.translate(START, 'w', { costs });
    expect(costs.last).toMatchObject({ by: 'walk', references: 3 });
    mirror.translate(START + 4096n, 'w', { costs });
    expect(costs.last.by).toBe('L1');
    space.mprotect(START, 2 * MiB, 'r');
    expect(costs.charge(START).by).toBe('fault');
    machine.dispose();
  });

  test('with a PCID each, two address spaces do not disturb each other; without, the other is cold', async () => {
    const { machine, space } = await spaceOf('4K');
    using costs = createCosts(space);
    costs.charge(START);
    costs.switchTo(7);
    expect(costs.charge(START)).toMatchObject({ by: 'walk', references: 4 });
    costs.flush();
    costs.switchTo(0);
    expect(costs.charge(START).by).toBe('L1');
    costs.flushAll();
    expect(costs.charge(START)).toMatchObject({ by: 'walk', references: 4 });
    expect(() => costs.switchTo(4096)).toThrow(RangeError);
    machine.dispose();
  });
});

describe('translate', () => {
  test('is counted where it is asked to be, and answers as without', async () => {
    const { machine, space } = await spaceOf('4K');
    using costs = createCosts(space);
    expect(space.translate(START, { costs })).toBe(space.translate(START));
    expect(costs.stats.lookups.load).toBe(1);
    expect(costs.last).toMatchObject({ by: 'walk', references: 4 });
    expect(() => machine.mm().translate(START, { costs })).toThrow('another address space');
    expect(() => space.translate(START, { cost: costs } as never)).toThrow('cost');
    expect(() => createCosts(space, { cpu: 'zen5' })).toThrow("cpu 'zen5' is not one of");
    expect(() => createCosts(space, { cpus: 'zen4' } as never)).toThrow('cpus');
    machine.dispose();
  });
});

describe('a model outlives nothing', () => {
  test('of its process, its mirror and its machine; what it had is then nobody\'s to write to', async () => {
    const { machine, space } = await spaceOf('4K');
    const mirror = createMirror(space);
    const [costs, ofDevice] = [createCosts(space), createCosts(mirror)];
    const used = machine.usage.blockBytes;
    mirror.close();
    expect(() => ofDevice.charge(START)).toThrow(expect.objectContaining({ code: 'EBADF' }));
    ofDevice[Symbol.dispose]();
    ofDevice[Symbol.dispose]();
    expect(machine.usage.blockBytes).toBeLessThan(used);
    expect(() => ofDevice.stats).toThrow(expect.objectContaining({ code: 'EBADF' }));
    machine.reset();
    expect(() => costs.charge(START)).toThrow(expect.objectContaining({ code: 'ENXIO' }));
    const after = machine.mm();
    const { start } = after.mmap(null, { length: MiB });
    after.store(start, new Uint8Array(MiB).fill(7));
    after.munmap(start, 4096); // an invalidation that the old model must not hear
    expect(after.load(start + 4096n, MiB - 4096).every((byte) => byte === 7)).toBe(true);
    costs[Symbol.dispose]();
    const exited = createCosts(after);
    after.exit();
    expect(() => exited.charge(START)).toThrow(expect.objectContaining({ code: 'EFAULT' }));
    expect(() => createCosts(after)).toThrow();
    machine.dispose();
  });
});

test('as measured on a Zen 4: as long as the L2 TLB reaches 4K and 2M cost the same, then 4K walks and 2M does not', async () => {
  const chase = async (page: PageSize, pages: number): Promise<number> => {
    const machine = await createMachine({ profile: 'lab', native: 'off' });
    const space = machine.mm();
    space.mmap(machine.pmem({ size: 8 * GiB }).file('f', { size: 4 * GiB, extent: page }), { length: 4 * GiB, at: START, fixed: 'fixed' });
    const chance = new Chance(1);
    const order = Array.from({ length: pages }, () => START + BigInt(chance.below(2 ** 20)) * 4096n);
    for (const addr of order) space.store(addr, new Uint8Array(1));
    using costs = createCosts(space, { cpu: 'zen4' });
    for (const addr of order) costs.charge(addr);
    costs.resetStats();
    for (const addr of order) costs.charge(addr);
    const { cycles } = costs.stats;
    machine.dispose();
    return cycles / pages;
  };
  expect((await chase('4K', 1024)) / (await chase('2M', 1024))).toBeCloseTo(1, 0.7);
  expect(await chase('4K', 8192)).toBeGreaterThan(1.5 * (await chase('2M', 8192)));
});

describe('named CPUs', () => {
  test.each(CPUS.map((cpu) => [cpu.name, cpu] as const))('%s has a source for every number', (_, { tlbs, structures, l2Hit, reference }) => {
    for (const { source } of [...tlbs, ...structures, l2Hit, reference]) {
      expect(source.text.length).toBeGreaterThan(5);
      expect(['documented', 'measured', 'unverified', 'assumed']).toContain(source.trust);
    }
  });

  test('one that cannot be built is refused by name', async () => {
    const { machine, space } = await spaceOf('4K');
    const cpu = { ...CPUS[0]!, name: 'odd', tlbs: [{ ...CPUS[0]!.tlbs[0]!, entries: 96, ways: 4 }] };
    expect(() => createCosts(space, { cpu })).toThrow('odd ITLB 4K: 96 entries in 4 ways are not a power of two of sets');
    machine.dispose();
  });
});
