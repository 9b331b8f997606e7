/** The model in WASM against one that keeps lists in order of use: any CPU, any accesses, invalidations and switches of address space. */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { GiB, MiB, createCosts, createMachine, type AccessKind, type AddressSpace, type Cpu, type Machine, type PageSize } from '../../../dist/index.js';

const SIZES: readonly PageSize[] = ['4K', '2M', '1G'];
const START: Record<PageSize, number> = { '4K': 2 ** 24, '2M': 2 ** 25, '1G': 2 ** 26 }; // page numbers
const LEVEL_OF: Record<PageSize, number> = { '4K': 0, '2M': 1, '1G': 2 };
const STRUCTURE_NAMES = ['PDE', 'PDPTE', 'PML4E'] as const;
const source = { trust: 'assumed', text: 'for this test' } as const;

let machine: Machine;
let space: AddressSpace;

beforeAll(async () => {
  machine = await createMachine({ arena: 64 * MiB, profile: 'lab', native: 'off' });
  space = machine.mm();
  for (const page of SIZES) {
    const pmem = machine.pmem({ size: 4 * GiB });
    const at = BigInt(START[page]) * 4096n;
    space.mmap(pmem.file('f', { size: GiB, extent: page }), { length: GiB, at, fixed: 'fixed' });
    for (let i = 0n; i < 64n; i++) space.store(at + i * (page === '4K' ? 4096n : 2n << 20n) , new Uint8Array(1));
  }
});
afterAll(() => machine.dispose());

/** A cache as a list a set, the one used last in front. */
class NaiveCache {
  readonly sets: string[][];
  readonly ways: number;
  constructor({ entries, ways }: { entries: number; ways: number }) {
    this.sets = Array.from({ length: entries / ways }, () => []);
    this.ways = ways;
  }
  #set(page: number): string[] {
    return this.sets[page % this.sets.length]!;
  }
  use(page: number, key: string): boolean {
    const set = this.#set(page);
    const at = set.indexOf(key);
    if (at < 0) return false;
    set.unshift(...set.splice(at, 1));
    return true;
  }
  put(page: number, key: string): void {
    if (this.use(page, key)) return;
    const set = this.#set(page);
    set.unshift(key);
    if (set.length > this.ways) set.pop();
  }
  drop(which: (key: string) => boolean): void {
    for (const set of this.sets) set.splice(0, set.length, ...set.filter((key) => !which(key)));
  }
}

class Naive {
  readonly cpu: Cpu;
  readonly tlbs: NaiveCache[];
  readonly structures: Map<number, NaiveCache>;
  pcid = 0;
  constructor(cpu: Cpu) {
    this.cpu = cpu;
    this.tlbs = cpu.tlbs.map((tlb) => new NaiveCache(tlb));
    this.structures = new Map(cpu.structures.map((cache) => [STRUCTURE_NAMES.indexOf(cache.name as 'PDE') + 1, new NaiveCache(cache)]));
  }

  access(vpn: number, kind: AccessKind): string {
    const leaf = LEVEL_OF[SIZES.find((size) => vpn >= START[size] && vpn < START[size] + 2 ** 18)!];
    if (this.#lookup(1, vpn, kind) !== null) return 'L1 0';
    const found = this.#lookup(2, vpn, kind);
    if (found !== null) {
      this.#fill(1, vpn, kind, found);
      return 'L2 0';
    }
    let from = leaf + 1;
    while (from < 4 && this.structures.get(from)?.use(Math.floor(vpn / 512 ** from), this.#key(vpn, from, from)) !== true) from++;
    for (let above = from - 1; above > leaf; above--) this.structures.get(above)?.put(Math.floor(vpn / 512 ** above), this.#key(vpn, above, above));
    this.#fill(2, vpn, kind, leaf);
    this.#fill(1, vpn, kind, leaf);
    return `walk ${from - leaf}`;
  }

  invalidate(vpn: number, end: number): void {
    const hit = (key: string): boolean => {
      const [pcid, leaf, , page, level] = key.split(' ').map(Number) as [number, number, number, number, number];
      const start = Math.floor((page * 512 ** level) / 512 ** leaf) * 512 ** leaf;
      return pcid === this.pcid && start < end && start + 512 ** leaf > vpn;
    };
    for (const tlb of this.tlbs) tlb.drop(hit);
    for (const cache of this.structures.values()) cache.drop((key) => key.startsWith(`${this.pcid} `));
  }

  flush(): void {
    for (const cache of [...this.tlbs, ...this.structures.values()]) cache.drop((key) => key.startsWith(`${this.pcid} `));
  }

  #key(vpn: number, level: number, leaf: number): string {
    return `${this.pcid} ${leaf} / ${Math.floor(vpn / 512 ** level)} ${level}`;
  }

  /** The level of the leaf that it is part of. */
  #lookup(stage: 1 | 2, vpn: number, kind: AccessKind): number | null {
    for (const [i, { sizes, kinds, smash, ...tlb }] of this.cpu.tlbs.entries()) {
      if (tlb.stage !== stage || !kinds.includes(kind)) continue;
      for (const level of sizes.map((size) => LEVEL_OF[size])) {
        for (const leaf of smash === true && level === 1 ? [1, 2] : [level]) if (this.tlbs[i]!.use(Math.floor(vpn / 512 ** level), this.#key(vpn, level, leaf))) return leaf;
      }
    }
    return null;
  }

  #fill(stage: 1 | 2, vpn: number, kind: AccessKind, leaf: number): void {
    for (const [i, { sizes, kinds, smash, ...tlb }] of this.cpu.tlbs.entries()) {
      if (tlb.stage !== stage || !kinds.includes(kind)) continue;
      const level = leaf === 2 && smash === true ? 1 : leaf;
      if (sizes.some((size) => LEVEL_OF[size] === level)) this.tlbs[i]!.put(Math.floor(vpn / 512 ** level), this.#key(vpn, level, leaf));
    }
  }
}

const shape = fc.record({ sets: fc.constantFrom(1, 2, 4), ways: fc.constantFrom(1, 2, 3, 16, 20) }).map(({ sets, ways }) => ({ entries: sets * ways, ways, source }));
const KINDS: readonly AccessKind[] = ['fetch', 'load', 'store'];
const cpus: fc.Arbitrary<Cpu> = fc.record({
  one: fc.array(shape, { minLength: 3, maxLength: 3 }), two: fc.array(shape, { minLength: 2, maxLength: 2 }), structures: fc.array(shape, { minLength: 3, maxLength: 3 }),
  apart: fc.boolean(), smash: fc.boolean(), fewer: fc.nat(3),
}).map(({ one, two, structures, apart, smash, fewer }) => ({
  name: 'any', title: 'any', l2Hit: { cycles: 10, source }, reference: { cycles: 20, source },
  tlbs: [
    { name: 'fetch', stage: 1, kinds: ['fetch'], sizes: SIZES, ...one[0]! },
    ...(apart ? [{ name: 'load', stage: 1 as const, kinds: ['load'] as const, sizes: SIZES, ...one[1]! }, { name: 'store', stage: 1 as const, kinds: ['store'] as const, sizes: SIZES.slice(0, 2), ...one[2]! }] : [{ name: 'data', stage: 1 as const, kinds: ['load', 'store'] as const, sizes: SIZES, ...one[1]! }]),
    { name: 'L2', stage: 2, kinds: KINDS, sizes: ['4K', '2M'], smash, ...two[0]! },
    ...(smash ? [] : [{ name: 'L2 1G', stage: 2 as const, kinds: KINDS, sizes: ['1G'] as const, ...two[1]! }]),
  ],
  structures: STRUCTURE_NAMES.slice(0, fewer).map((name, i) => ({ name, ...structures[i]! })),
}));

const step = fc.oneof(
  { weight: 60, arbitrary: fc.record({ do: fc.constant('access' as const), size: fc.constantFrom(...SIZES), page: fc.nat(63), kind: fc.constantFrom(...KINDS) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('invalidate' as const), size: fc.constantFrom(...SIZES), page: fc.nat(63), npages: fc.integer({ min: 1, max: 33 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('flush' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('switch' as const), pcid: fc.nat(2) }) },
);
const vpnOf = (size: PageSize, page: number): number => START[size] + page * (size === '4K' ? 1 : 512);

test('agrees with lists in order of use', () => {
  fc.assert(fc.property(cpus, fc.array(step, { minLength: 1, maxLength: 300, size: 'max' }), (cpu, steps) => {
    using costs = createCosts(space, { cpu });
    const naive = new Naive(cpu);
    for (const [i, one] of steps.entries()) {
      if (one.do === 'access') {
        const vpn = vpnOf(one.size, one.page);
        const { by, references } = costs.charge(BigInt(vpn) * 4096n, one.kind);
        expect(`${i}: ${by} ${references}`).toBe(`${i}: ${naive.access(vpn, one.kind)}`);
      } else if (one.do === 'invalidate') {
        const vpn = vpnOf(one.size, one.page);
        costs.invalidate(vpn, vpn + one.npages);
        naive.invalidate(vpn, vpn + one.npages);
      } else if (one.do === 'flush') {
        costs.flush();
        naive.flush();
      } else {
        costs.switchTo(one.pcid);
        naive.pcid = one.pcid;
      }
    }
  }), { numRuns: 150 });
}, 30_000);
