/**
 * AMD. The L2 DTLB of Zen also holds PDEs, and its ways are skewed; here the PDE cache is one of its own, and sets are plain. 1G pages
 * are "smashed" into 2M entries of the L2 TLB and go to the L1 TLB as 1G again.
 */
import { assumed, documented, measured, unverified, type Cpu, type Cycles, type Source, type StructureCache } from '../cpu.ts';
import { CACHED_REFERENCE, STRUCTURES_AS_CHAMPSIM } from './intel.ts';

const WIKICHIP = documented('WikiChip, Zen 2: 64 fully associative entries for all sizes; 2048 for 4K and 2M, 12-way');
const SEVEN_CPU = documented('7-cpu.com, Zen2: L1 ITLB 64 fully associative, all sizes; L2 ITLB 512, 8-way, 4K and 2M, 1G as 2M');
const ZEN3 = unverified('64 and 2048: common knowledge; no text at hand confirms it');
const ZEN4 = measured('CPUID 0x80000005/6 of an EPYC, family 25 model 17: 72 for 4K and for 2M, 3072 for 4K and for 2M, L2 ITLB 512');
const FLAT = assumed('AMD publishes a cycle count for neither; as Haswell: 12 cycles (mynavi.jp)');
const L2_HIT: Cycles = { cycles: 12, source: FLAT };
const REFERENCE: Cycles = { ...CACHED_REFERENCE, source: assumed('as Haswell: about 20 cycles with the entry cached (mynavi.jp)') };
const STRUCTURES: readonly StructureCache[] = STRUCTURES_AS_CHAMPSIM.map((cache) => ({ ...cache, source: assumed('AMD keeps PDEs in the L2 DTLB and publishes no share; ChampSim\'s default is used') }));

interface Sizes {
  readonly l1: number;
  readonly l1Source: Source;
  readonly l2: number;
  readonly ways: number;
  readonly l2Source: Source;
  readonly fetchSource: Source;
}

function zen(name: string, title: string, { l1, l1Source, l2, ways, l2Source, fetchSource }: Sizes): Cpu {
  return {
    name,
    title,
    tlbs: [
      { name: 'L1 ITLB', stage: 1, kinds: ['fetch'], sizes: ['4K', '2M', '1G'], entries: 64, ways: 64, source: fetchSource },
      { name: 'L1 DTLB', stage: 1, kinds: ['load', 'store'], sizes: ['4K', '2M', '1G'], entries: l1, ways: l1, source: l1Source },
      { name: 'L2 ITLB', stage: 2, kinds: ['fetch'], sizes: ['4K', '2M'], entries: 512, ways: 8, smash: true, source: fetchSource },
      { name: 'L2 DTLB', stage: 2, kinds: ['load', 'store'], sizes: ['4K', '2M'], entries: l2, ways, smash: true, source: l2Source },
    ],
    structures: STRUCTURES,
    l2Hit: L2_HIT,
    reference: REFERENCE,
  };
}

export const zen2 = zen('zen2', 'AMD Zen 2', {
  l1: 64, l1Source: WIKICHIP, l2: 2048, ways: 16, l2Source: documented('WikiChip, Zen 2: 2048; it says 12-way, skewed: 16 is what divides'), fetchSource: SEVEN_CPU,
});
export const zen3 = zen('zen3', 'AMD Zen 3', { l1: 64, l1Source: ZEN3, l2: 2048, ways: 16, l2Source: ZEN3, fetchSource: assumed('as Zen 2') });
export const zen4 = zen('zen4', 'AMD Zen 4', { l1: 72, l1Source: ZEN4, l2: 3072, ways: 12, l2Source: measured(`${ZEN4.text}; 12-way assumed, as WikiChip has it of Zen 2`), fetchSource: measured(`${ZEN4.text}; its L1 as Zen 2`) });
