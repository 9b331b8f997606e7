/** What simulators assume where their users say nothing: to compare with their results. */
import { assumed, documented, type Cpu } from '../cpu.ts';
import { STRUCTURES_AS_CHAMPSIM } from './intel.ts';

const CONFIG = documented('ChampSim, champsim_config.json at 0184296: ITLB and DTLB 16 x 4, STLB 128 x 12, 8 cycles; it has pages of 4K alone');
const STRUCTURES = documented('ChampSim\'s default: PML5E 2, PML4E 4, PDPTE 2 x 4, PDE 4 x 8');
const VIRTUOSO = documented('Virtuoso, mmu_configs/mmu_base.cfg');

export const champsim: Cpu = {
  name: 'champsim',
  title: 'ChampSim, as it comes',
  tlbs: [
    { name: 'ITLB', stage: 1, kinds: ['fetch'], sizes: ['4K', '2M', '1G'], entries: 64, ways: 4, source: CONFIG },
    { name: 'DTLB', stage: 1, kinds: ['load', 'store'], sizes: ['4K', '2M', '1G'], entries: 64, ways: 4, source: CONFIG },
    { name: 'STLB', stage: 2, kinds: ['fetch', 'load', 'store'], sizes: ['4K', '2M', '1G'], entries: 1536, ways: 12, source: CONFIG },
  ],
  structures: STRUCTURES_AS_CHAMPSIM.map((cache) => ({ ...cache, source: STRUCTURES })),
  l2Hit: { cycles: 8, source: CONFIG },
  reference: { cycles: 20, source: assumed('ChampSim asks its caches; here every reference costs as on Haswell') },
};

/** The paging-structure caches of Virtuoso around Skylake's TLBs are left to `skylake`: this is a machine of its own. */
export const virtuoso: Cpu = {
  name: 'virtuoso',
  title: 'Virtuoso, mmu_base, with ChampSim\'s TLBs',
  tlbs: champsim.tlbs,
  structures: [
    { name: 'PML4E', entries: 32, ways: 4, source: VIRTUOSO },
    { name: 'PDPTE', entries: 32, ways: 4, source: VIRTUOSO },
    { name: 'PDE', entries: 32, ways: 4, source: VIRTUOSO },
  ],
  l2Hit: { cycles: 12, source: VIRTUOSO },
  reference: { cycles: 20, source: assumed('Virtuoso asks its caches; here every reference costs as on Haswell') },
};

export const bare: Cpu = {
  name: 'none',
  title: 'no TLB and no cache: every access is a cold walk',
  tlbs: [],
  structures: [],
  l2Hit: { cycles: 0, source: assumed('there is none') },
  reference: { cycles: 20, source: assumed('as Haswell: about 20 cycles with the entry cached (mynavi.jp)') },
};
