/**
 * Steps of a random sequence of memory calls: what they are, how they are drawn, and how the addon and the reader are told.
 *
 * All happens in AREA_PAGES pages from AREA_START; nothing is placed by the kernel's choice.
 */
import { Random } from '../../sched/random.ts';
import type { Advice } from '../../mm/index.ts';

export const AREA_START = 0x2000_0000_0000;
export const AREA_PAGES = 24;
const AREA_LENGTH_MAX = 6;

/** In the order of the numbers in src/native/guest.cc. */
export const CALLS = ['mmap', 'munmap', 'mprotect', 'mremap', 'madvise', 'store', 'fork'] as const;
export const PROTS = ['', 'r', 'rw', 'rx'] as const;
const PROT_BITS: Readonly<Record<string, number>> = { '': 0, r: 1, rw: 3, rx: 5 };
/** MADV_ numbers of include/uapi/asm-generic/mman-common.h; only advice whose outcome memory pressure does not change */
export const ADVICE_NUMBERS = { dontneed: 4, dontfork: 10, dofork: 11, wipeonfork: 18, keeponfork: 19, populate_read: 22, populate_write: 23 } as const satisfies Partial<Record<Advice, number>>;
const ADVICE_NAMES = Object.keys(ADVICE_NUMBERS) as readonly (keyof typeof ADVICE_NUMBERS)[];

const MAP_SHARED = 1;
const MAP_PRIVATE = 2;
const MAP_FIXED = 0x10;
const MAP_FIXED_NOREPLACE = 0x10_0000;
const MREMAP_MAYMOVE = 1;
const MREMAP_FIXED = 2;
const MREMAP_DONTUNMAP = 4;

/** One call; a step of sequences, and of what they are shrunk to. */
export interface Step {
  readonly call: (typeof CALLS)[number];
  readonly page: number;
  readonly npages: number;
  readonly prot: (typeof PROTS)[number];
  readonly advice: keyof typeof ADVICE_NUMBERS;
  readonly shared: boolean;
  readonly replace: boolean;
  readonly newPages: number;
  /** mremap: where to, or null: where it is */
  readonly to: number | null;
  readonly dontunmap: boolean;
  readonly byte: number;
}

export function randomSteps(seed: bigint, count: number): Step[] {
  const random = new Random(seed);
  const below = (n: number): number => random.below(n);
  // mmap and store are drawn more often than what takes away
  const often = [0, 0, 0, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5, 6];
  return Array.from({ length: count }, () => {
    const call = CALLS[often[below(often.length)] as number] as Step['call'];
    const npages = 1 + below(AREA_LENGTH_MAX);
    const dontunmap = below(6) === 0;
    const newPages = dontunmap ? npages : 1 + below(AREA_LENGTH_MAX);
    return {
      call,
      page: below(AREA_PAGES - AREA_LENGTH_MAX + 1),
      npages,
      prot: PROTS[[0, 1, 2, 2, 2, 3][below(6)] as number] as Step['prot'],
      advice: ADVICE_NAMES[below(ADVICE_NAMES.length)] as Step['advice'],
      shared: below(4) === 0,
      replace: below(3) > 0,
      newPages,
      to: dontunmap || below(2) === 0 ? below(AREA_PAGES - AREA_LENGTH_MAX + 1) : null,
      dontunmap,
      byte: 1 + below(255),
    };
  });
}

/** Six words, as src/native/guest.cc takes them. */
function wordsOf(step: Step): number[] {
  const head = [CALLS.indexOf(step.call), step.page, step.npages];
  switch (step.call) {
    case 'mmap':
      return [...head, PROT_BITS[step.prot] as number, (step.shared ? MAP_SHARED : MAP_PRIVATE) | (step.replace ? MAP_FIXED : MAP_FIXED_NOREPLACE), 0];
    case 'mprotect':
      return [...head, PROT_BITS[step.prot] as number, 0, 0];
    case 'mremap':
      return [...head, step.newPages, step.to === null ? 0 : MREMAP_MAYMOVE | MREMAP_FIXED | (step.dontunmap ? MREMAP_DONTUNMAP : 0), step.to ?? 0];
    case 'madvise':
      return [...head, ADVICE_NUMBERS[step.advice], 0, 0];
    case 'store':
      return [...head, step.byte, 0, 0];
    default:
      return [...head, 0, 0, 0];
  }
}

export function encode(steps: readonly Step[]): Uint8Array {
  return new Uint8Array(Int32Array.from(steps.flatMap(wordsOf)).buffer);
}

/** A step as a line: `mremap 3+2 -> 5 pages at 9`. */
export function stepText({ call, page, npages, prot, advice, shared, replace, newPages, to, dontunmap, byte }: Step): string {
  const range = `${call} ${page}+${npages}`;
  switch (call) {
    case 'mmap':
      return `${range} ${prot === '' ? 'none' : prot} ${shared ? 'shared' : 'private'} ${replace ? 'fixed' : 'noreplace'}`;
    case 'mprotect':
      return `${range} ${prot === '' ? 'none' : prot}`;
    case 'mremap':
      return `${range} -> ${newPages} pages${to === null ? '' : ` at ${to}`}${dontunmap ? ' dontunmap' : ''}`;
    case 'madvise':
      return `${range} ${advice}`;
    case 'store':
      return `store ${page} ${byte}`;
    case 'munmap':
      return range;
    default:
      return call;
  }
}
