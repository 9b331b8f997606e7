/** Lays a CPU's TLBs and caches out in a block of the arena, as assembly/costs.ts reads them (src/abi.ts draws it). */
import {
  CACHE_ENTRIES, CACHE_ENTRY_STRIDE, CACHE_HINTS, CACHE_HINTS_SIZE, CACHE_SET_MASK, CACHE_STRUCTURE, CACHE_WAYS, COST_CACHES, COST_CACHES_MAX, COST_CACHE_COUNT,
  COST_CACHE_STRIDE, COST_CLASS, COST_ENTRIES, COST_FILLS, COST_FILLS_STRIDE, COST_LAST, COST_LAST_STRIDE, COST_PROBES, COST_PROBES_MAX, COST_PROBES_STRIDE, COST_STRUCTURES,
} from '../abi.ts';
import type { Arena } from '../arena/index.ts';
import { HmmError } from '../errno.ts';
import { LEVEL_SIZES, PAGE_SIZES } from '../units.ts';
import { ACCESS_KINDS, STRUCTURE_LEVELS, type AccessKind, type Cpu, type Tlb } from './cpu.ts';

/** Fully associative caches of at least so many entries are looked through by hints. */
const HINTED_WAYS = 16;
const WAYS_MAX = 255;

interface Placed {
  readonly entries: number;
  readonly ways: number;
}

export interface Layout {
  readonly offset: number;
  readonly bytes: number;
}

/** Throws RangeError for a CPU that cannot be laid out, ENOMEM. */
export function layOut(arena: Arena, cpu: Cpu): Layout {
  checkCpu(cpu);
  const caches: readonly Placed[] = [...cpu.tlbs, ...cpu.structures];
  const bytes = caches.reduce((sum, cache) => sum + bytesOf(cache), COST_ENTRIES);
  const offset = arena.blockAlloc(bytes);
  if (offset === 0) throw new HmmError('ENOMEM', 'costs', `no room in the arena for the ${bytes} bytes of a ${cpu.name}`);
  const set = (at: number, value: number): void => {
    arena.u32[(offset + at) >>> 2] = value;
  };
  set(COST_CACHE_COUNT, caches.length);
  let place = COST_ENTRIES;
  for (const [i, cache] of caches.entries()) {
    const at = COST_CACHES + i * COST_CACHE_STRIDE;
    set(at + CACHE_ENTRIES, offset + place);
    set(at + CACHE_SET_MASK, cache.entries / cache.ways - 1);
    set(at + CACHE_WAYS, cache.ways);
    set(at + CACHE_HINTS, isHinted(cache) ? offset + place + cache.entries * CACHE_ENTRY_STRIDE : 0);
    place += bytesOf(cache);
  }
  for (const [i, { name }] of cpu.structures.entries()) {
    const at = COST_CACHES + (cpu.tlbs.length + i) * COST_CACHE_STRIDE;
    set(at + CACHE_STRUCTURE, STRUCTURE_LEVELS[name]);
    set(COST_STRUCTURES + STRUCTURE_LEVELS[name] * 4, offset + at);
  }
  for (const kind of ACCESS_KINDS) for (const stage of [1, 2] as const) route(cpu, kind, stage, offset, set);
  const classes = classesOf(cpu);
  for (const [i, one] of classes.entries()) set(COST_CLASS + i * 4, offset + COST_LAST + one * COST_LAST_STRIDE);
  return { offset, bytes };
}

/** What is looked up and filled at a stage for one kind of access. */
function route(cpu: Cpu, kind: AccessKind, stage: 1 | 2, offset: number, set: (at: number, value: number) => void): void {
  const index = ACCESS_KINDS.indexOf(kind) * 2 + stage - 1;
  const probes = COST_PROBES + index * COST_PROBES_STRIDE;
  let count = 0;
  for (const [i, tlb] of cpu.tlbs.entries()) {
    if (tlb.stage !== stage || !tlb.kinds.includes(kind)) continue;
    const cache = offset + COST_CACHES + i * COST_CACHE_STRIDE;
    for (const size of tlb.sizes) {
      const { level } = PAGE_SIZES[size];
      set(probes + 8 + count * 8, cache);
      set(probes + 12 + count * 8, level);
      count++;
      fillWith(level, level, cache);
    }
    if (tlb.smash === true) fillWith(PAGE_SIZES['1G'].level, PAGE_SIZES['2M'].level, cache);
  }
  set(probes, count);

  function fillWith(leaf: number, level: number, cache: number): void {
    const at = COST_FILLS + index * COST_FILLS_STRIDE + leaf * 8;
    set(at, cache);
    set(at + 4, level);
  }
}

/** Kinds of access that share an L1 TLB share the page used last. */
function classesOf({ tlbs }: Cpu): number[] {
  const classes = ACCESS_KINDS.map((_, i) => i);
  for (const { stage, kinds } of tlbs) {
    if (stage !== 1) continue;
    const shared = kinds.map((kind) => classes[ACCESS_KINDS.indexOf(kind)] as number);
    const first = Math.min(...shared);
    for (const [i, one] of classes.entries()) if (shared.includes(one)) classes[i] = first;
  }
  return classes;
}

function isHinted({ entries, ways }: Placed): boolean {
  return entries === ways && ways >= HINTED_WAYS;
}

function bytesOf(cache: Placed): number {
  return cache.entries * CACHE_ENTRY_STRIDE + (isHinted(cache) ? CACHE_HINTS_SIZE : 0);
}

function checkCpu(cpu: Cpu): void {
  if (cpu.tlbs.length + cpu.structures.length > COST_CACHES_MAX) throw new RangeError(`costs: ${cpu.name} has more than ${COST_CACHES_MAX} TLBs and caches`);
  for (const cache of [...cpu.tlbs, ...cpu.structures]) {
    const { name, entries, ways } = cache;
    const sets = entries / ways;
    if (!(Number.isInteger(ways) && ways > 0 && ways <= WAYS_MAX && Number.isInteger(Math.log2(sets)))) throw new RangeError(`costs: ${cpu.name} ${name}: ${entries} entries in ${ways} ways are not a power of two of sets`);
  }
  for (const kind of ACCESS_KINDS) for (const stage of [1, 2] as const) checkRoute(cpu, cpu.tlbs.filter((tlb) => tlb.stage === stage && tlb.kinds.includes(kind)), `${kind} at L${stage}`);
}

function checkRoute(cpu: Cpu, tlbs: readonly Tlb[], what: string): void {
  for (const size of LEVEL_SIZES) if (tlbs.filter(({ sizes }) => sizes.includes(size)).length > 1) throw new RangeError(`costs: ${cpu.name} has two TLBs for a ${size} ${what}`);
  if (tlbs.reduce((sum, { sizes }) => sum + sizes.length, 0) > COST_PROBES_MAX) throw new RangeError(`costs: ${cpu.name} looks at too many sizes for a ${what}`);
}
