/** The named CPUs. */
import type { Cpu } from '../cpu.ts';
import { zen2, zen3, zen4 } from './amd.ts';
import { goldenCove, iceLake, skylake } from './intel.ts';
import { bare, champsim, virtuoso } from './simulators.ts';

export const CPUS: readonly Cpu[] = [skylake, iceLake, goldenCove, zen2, zen3, zen4, champsim, virtuoso, bare];
export const CPU_NAMES: readonly string[] = CPUS.map(({ name }) => name);
export const DEFAULT_CPU = 'zen4';

export function cpuNamed(name: string): Cpu | undefined {
  return CPUS.find((cpu) => cpu.name === name);
}
