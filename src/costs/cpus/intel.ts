/** Intel. The SDM (vol. 3, 4.10.3) fixes what paging-structure caches mean, not how large they are: sizes are those of ChampSim. */
import { assumed, documented, measured, unverified, type Cpu, type Cycles, type StructureCache } from '../cpu.ts';

const CHAMPSIM_SIZES = assumed('Intel publishes no size; ChampSim\'s default is used (champsim_config.json)');

export const STRUCTURES_AS_CHAMPSIM: readonly StructureCache[] = [
  { name: 'PML5E', entries: 2, ways: 2, source: CHAMPSIM_SIZES },
  { name: 'PML4E', entries: 4, ways: 4, source: CHAMPSIM_SIZES },
  { name: 'PDPTE', entries: 8, ways: 4, source: CHAMPSIM_SIZES },
  { name: 'PDE', entries: 32, ways: 8, source: CHAMPSIM_SIZES },
];

/** One reference, its entry in a near cache. */
export const CACHED_REFERENCE: Cycles = { cycles: 20, source: measured('Haswell, L2 TLB miss with its entry cached: about 20 cycles (mynavi.jp, 2013-06-21)') };
const HASWELL_L2: Cycles = { cycles: 12, source: measured('Haswell: 12 cycles (mynavi.jp, 2013-06-21)') };

const TABLE_2_15 = documented('Intel Optimization Reference Manual 248966-045, table 2-15, as quoted in community.intel.com thread 1371605; CPUID there');
const LEAF_18H = measured('CPUID leaf 18H of an i7-1068NG7 (urd00m/System-Projects, cache_timer/i7_writeup.md)');
const GOLDEN_FETCH = documented('256 for 4K and 32 for 2M: reading notes of Hennessy & Patterson, Golden Cove; ways assumed');
const GOLDEN_UNVERIFIED = unverified('common knowledge; no text at hand confirms it');

export const skylake: Cpu = {
  name: 'skylake',
  title: 'Intel Skylake and Skylake-SP',
  tlbs: [
    { name: 'ITLB 4K', stage: 1, kinds: ['fetch'], sizes: ['4K'], entries: 128, ways: 8, source: TABLE_2_15 },
    { name: 'ITLB 2M', stage: 1, kinds: ['fetch'], sizes: ['2M'], entries: 8, ways: 8, source: TABLE_2_15 },
    { name: 'DTLB 4K', stage: 1, kinds: ['load', 'store'], sizes: ['4K'], entries: 64, ways: 4, source: TABLE_2_15 },
    { name: 'DTLB 2M', stage: 1, kinds: ['load', 'store'], sizes: ['2M'], entries: 32, ways: 4, source: unverified('32, 4-way: as in Haswell (mynavi.jp), ways common knowledge') },
    { name: 'DTLB 1G', stage: 1, kinds: ['load', 'store'], sizes: ['1G'], entries: 4, ways: 4, source: TABLE_2_15 },
    { name: 'STLB', stage: 2, kinds: ['fetch', 'load', 'store'], sizes: ['4K', '2M'], entries: 1536, ways: 12, source: documented('1536 by CPUID; 12-way by WikiChip and table 2-15, where CPUID says 6-way') },
    { name: 'STLB 1G', stage: 2, kinds: ['load', 'store'], sizes: ['1G'], entries: 16, ways: 4, source: unverified('16, 4-way: common knowledge') },
  ],
  structures: STRUCTURES_AS_CHAMPSIM,
  l2Hit: { ...HASWELL_L2, source: assumed('as Haswell: 12 cycles (mynavi.jp, 2013-06-21)') },
  reference: { ...CACHED_REFERENCE, source: assumed('as Haswell: about 20 cycles with the entry cached (mynavi.jp)') },
};

export const iceLake: Cpu = {
  name: 'ice-lake',
  title: 'Intel Ice Lake (client, i7-1068NG7)',
  tlbs: [
    { name: 'ITLB 4K', stage: 1, kinds: ['fetch'], sizes: ['4K'], entries: 128, ways: 8, source: assumed('as Skylake') },
    { name: 'ITLB 2M', stage: 1, kinds: ['fetch'], sizes: ['2M'], entries: 8, ways: 8, source: assumed('as Skylake') },
    { name: 'DTLB 4K', stage: 1, kinds: ['load'], sizes: ['4K'], entries: 64, ways: 4, source: LEAF_18H },
    { name: 'DTLB 2M', stage: 1, kinds: ['load'], sizes: ['2M'], entries: 32, ways: 4, source: LEAF_18H },
    { name: 'DTLB 1G', stage: 1, kinds: ['load'], sizes: ['1G'], entries: 8, ways: 8, source: LEAF_18H },
    { name: 'DTLB store', stage: 1, kinds: ['store'], sizes: ['4K', '2M', '1G'], entries: 16, ways: 16, source: LEAF_18H },
    { name: 'STLB 4K/2M', stage: 2, kinds: ['fetch', 'load', 'store'], sizes: ['4K', '2M'], entries: 1024, ways: 8, source: LEAF_18H },
    { name: 'STLB 1G', stage: 2, kinds: ['fetch', 'load', 'store'], sizes: ['1G'], entries: 1024, ways: 8, source: documented('the second 1024 of leaf 18H takes 4K and 1G; modelled for 1G alone') },
  ],
  structures: STRUCTURES_AS_CHAMPSIM,
  l2Hit: { ...HASWELL_L2, source: assumed('as Haswell: 12 cycles (mynavi.jp, 2013-06-21)') },
  reference: { ...CACHED_REFERENCE, source: assumed('as Haswell: about 20 cycles with the entry cached (mynavi.jp)') },
};

export const goldenCove: Cpu = {
  name: 'golden-cove',
  title: 'Intel Golden Cove (Alder Lake, Sapphire Rapids)',
  tlbs: [
    { name: 'ITLB 4K', stage: 1, kinds: ['fetch'], sizes: ['4K'], entries: 256, ways: 8, source: GOLDEN_FETCH },
    { name: 'ITLB 2M', stage: 1, kinds: ['fetch'], sizes: ['2M'], entries: 32, ways: 8, source: GOLDEN_FETCH },
    { name: 'DTLB 4K', stage: 1, kinds: ['load'], sizes: ['4K'], entries: 96, ways: 6, source: documented('96: cpunews.net, Alder Lake; 6 ways assumed') },
    { name: 'DTLB 2M', stage: 1, kinds: ['load'], sizes: ['2M'], entries: 32, ways: 4, source: GOLDEN_UNVERIFIED },
    { name: 'DTLB 1G', stage: 1, kinds: ['load'], sizes: ['1G'], entries: 8, ways: 8, source: GOLDEN_UNVERIFIED },
    { name: 'DTLB store', stage: 1, kinds: ['store'], sizes: ['4K', '2M', '1G'], entries: 16, ways: 16, source: GOLDEN_UNVERIFIED },
    { name: 'STLB 4K/2M', stage: 2, kinds: ['fetch', 'load', 'store'], sizes: ['4K', '2M'], entries: 2048, ways: 16, source: GOLDEN_UNVERIFIED },
    { name: 'STLB 1G', stage: 2, kinds: ['fetch', 'load', 'store'], sizes: ['1G'], entries: 1024, ways: 8, source: assumed('as Ice Lake') },
  ],
  structures: STRUCTURES_AS_CHAMPSIM,
  l2Hit: { cycles: 12, source: assumed('as Haswell: 12 cycles (mynavi.jp, 2013-06-21)') },
  reference: { ...CACHED_REFERENCE, source: assumed('as Haswell: about 20 cycles with the entry cached (mynavi.jp)') },
};
