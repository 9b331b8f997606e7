/**
 * Steps of a random sequence of memory calls: what they are, how they are drawn, and how the addon and the reader are told.
 *
 * All happens in AREA_PAGES pages from AREA_START, and in a memfd that has FILE_PAGES pages at first; nothing is placed by the kernel's choice.
 */
import { Random } from '../../sched/random.ts';
import type { Advice } from '../../mm/index.ts';

export const AREA_START = 0x2000_0000_0000;
export const AREA_PAGES = 24;
/** as in src/native/guest.cc */
export const FILE_PAGES = 16;
const RANGE_PAGES_MAX = 6;

/** In the order of the numbers in src/native/guest.cc. */
export const CALLS = ['mmap', 'munmap', 'mprotect', 'mremap', 'madvise', 'store', 'fork', 'mlock', 'munlock', 'msync', 'truncate', 'punch', 'write'] as const;
export type Call = (typeof CALLS)[number];
export const PROTS = ['', 'r', 'rw', 'rx'] as const;
const PROT_BITS: Readonly<Record<string, number>> = { '': 0, r: 1, rw: 3, rx: 5 };
/** MADV_ numbers of include/uapi/asm-generic/mman-common.h */
export const ADVICE_NUMBERS = {
  normal: 0, willneed: 3, dontneed: 4, free: 8, remove: 9, dontfork: 10, dofork: 11, mergeable: 12, hugepage: 14, nohugepage: 15, wipeonfork: 18, keeponfork: 19, cold: 20, pageout: 21,
  populate_read: 22, populate_write: 23,
} as const satisfies Partial<Record<Advice, number>>;
export type DrawnAdvice = keyof typeof ADVICE_NUMBERS;
/** MS_ bits */
export const SYNC_BITS = { async: 1, invalidate: 2, sync: 4 } as const;
/** What mmap adds; MAP_ bits. */
export const EXTRA_BITS = { locked: 0x2000, noreserve: 0x4000, populate: 0x8000 } as const;

const MAP_SHARED = 1;
const MAP_PRIVATE = 2;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;
const MAP_FIXED_NOREPLACE = 0x10_0000;
const MREMAP_MAYMOVE = 1;
const MREMAP_FIXED = 2;
const MREMAP_DONTUNMAP = 4;

/** One call; a step of sequences, and of what they are shrunk to. */
export interface Step {
  readonly call: Call;
  readonly page: number;
  readonly npages: number;
  readonly prot: (typeof PROTS)[number];
  readonly advice: DrawnAdvice;
  readonly shared: boolean;
  readonly replace: boolean;
  /** mmap: of the file, from this page of it on; null: of nothing */
  readonly filePage: number | null;
  readonly extra: keyof typeof EXTRA_BITS | null;
  readonly sync: keyof typeof SYNC_BITS;
  readonly newPages: number;
  /** mremap: where to, or null: where it is */
  readonly to: number | null;
  readonly dontunmap: boolean;
  readonly byte: number;
}

/** What a family draws: calls and advice, each as often as it is named. */
interface Draw {
  readonly about: string;
  readonly calls: readonly Call[];
  readonly advice: readonly DrawnAdvice[];
  /** of four mappings, so many are of the file */
  readonly ofFile: number;
  readonly extras: readonly Step['extra'][];
}

const USUAL: readonly Call[] = ['mmap', 'mmap', 'mmap', 'munmap', 'mprotect', 'mprotect', 'mremap', 'mremap', 'madvise', 'madvise', 'store', 'store', 'store', 'fork'];
const USUAL_ADVICE: readonly DrawnAdvice[] = ['dontneed', 'dontfork', 'dofork', 'wipeonfork', 'keeponfork', 'populate_read', 'populate_write'];

/** Which sequences there are. MADV_FREE and MADV_PAGEOUT never meet in one: what is freed may go at once. */
export const FAMILIES = {
  anon: { about: 'anonymous memory, private and shared', calls: USUAL, advice: USUAL_ADVICE, ofFile: 0, extras: [null] },
  file: { about: 'a memfd mapped shared and private, cut, punched and written meanwhile', calls: [...USUAL, 'mmap', 'msync', 'truncate', 'punch', 'write', 'write'], advice: [...USUAL_ADVICE, 'remove', 'willneed'], ofFile: 3, extras: [null] },
  advice: { about: 'every advice, on all of these', calls: [...USUAL, 'madvise', 'madvise', 'madvise', 'madvise'], advice: [...USUAL_ADVICE, 'normal', 'willneed', 'free', 'remove', 'hugepage', 'nohugepage', 'mergeable', 'cold'], ofFile: 1, extras: [null] },
  reclaim: { about: 'MADV_COLD and MADV_PAGEOUT', calls: [...USUAL, 'madvise', 'madvise'], advice: [...USUAL_ADVICE, 'cold', 'pageout', 'pageout'], ofFile: 2, extras: [null] },
  locked: { about: 'mlock, munlock, MAP_LOCKED, MAP_POPULATE, MAP_NORESERVE', calls: [...USUAL, 'mlock', 'mlock', 'munlock', 'munlock', 'msync', 'truncate'], advice: [...USUAL_ADVICE, 'dontneed', 'free', 'remove', 'cold'], ofFile: 1, extras: [null, 'locked', 'populate', 'noreserve'] },
} as const satisfies Readonly<Record<string, Draw>>;
export type FamilyName = keyof typeof FAMILIES;
export const FAMILY_NAMES = Object.keys(FAMILIES) as readonly FamilyName[];

export function randomSteps(seed: bigint, count: number, family: FamilyName): Step[] {
  const random = new Random(seed);
  const draw: Draw = FAMILIES[family];
  const below = (n: number): number => random.below(n);
  const pick = <T>(list: readonly T[]): T => list[below(list.length)] as T;
  return Array.from({ length: count }, () => {
    const call = pick(draw.calls);
    const npages = below(24) === 0 ? 0 : 1 + below(RANGE_PAGES_MAX); // none at all, now and then
    const dontunmap = below(6) === 0;
    const newPages = dontunmap ? npages : 1 + below(RANGE_PAGES_MAX);
    const file = call === 'truncate' || call === 'punch' || call === 'write';
    return {
      call,
      page: call === 'truncate' ? 0 : below((file ? FILE_PAGES : AREA_PAGES) - RANGE_PAGES_MAX + 1),
      npages: call === 'truncate' ? below(FILE_PAGES + 1) : npages,
      prot: pick(['', 'r', 'rw', 'rw', 'rw', 'rx'] as const),
      advice: pick(draw.advice),
      shared: below(4) < (draw.ofFile > 0 ? 2 : 1),
      replace: below(3) > 0,
      filePage: below(4) < draw.ofFile ? below(FILE_PAGES) : null,
      extra: pick(draw.extras),
      sync: pick(['async', 'sync', 'invalidate'] as const),
      newPages,
      to: dontunmap || below(2) === 0 ? below(AREA_PAGES - RANGE_PAGES_MAX + 1) : null,
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
      return [...head, PROT_BITS[step.prot] as number, mapBits(step), step.filePage ?? 0];
    case 'mprotect':
      return [...head, PROT_BITS[step.prot] as number, 0, 0];
    case 'mremap':
      return [...head, step.newPages, step.to === null ? 0 : MREMAP_MAYMOVE | MREMAP_FIXED | (step.dontunmap ? MREMAP_DONTUNMAP : 0), step.to ?? 0];
    case 'madvise':
      return [...head, ADVICE_NUMBERS[step.advice], 0, 0];
    case 'msync':
      return [...head, SYNC_BITS[step.sync], 0, 0];
    case 'store':
    case 'write':
      return [...head, step.byte, 0, 0];
    default:
      return [...head, 0, 0, 0];
  }
}

function mapBits({ shared, replace, filePage, extra }: Step): number {
  return (shared ? MAP_SHARED : MAP_PRIVATE) | (replace ? MAP_FIXED : MAP_FIXED_NOREPLACE) | (filePage === null ? MAP_ANONYMOUS : 0) | (extra === null ? 0 : EXTRA_BITS[extra]);
}

export function encode(steps: readonly Step[]): Uint8Array {
  return new Uint8Array(Int32Array.from(steps.flatMap(wordsOf)).buffer);
}

/** A step as a line: `mremap 3+2 -> 5 pages at 9`. */
export function stepText(step: Step): string {
  const { call, page, npages, prot, advice, sync, newPages, to, dontunmap, byte } = step;
  const range = `${call} ${page}+${npages}`;
  switch (call) {
    case 'mmap':
      return mmapText(range, step);
    case 'mprotect':
      return `${range} ${prot === '' ? 'none' : prot}`;
    case 'mremap':
      return `${range} -> ${newPages} pages${to === null ? '' : ` at ${to}`}${dontunmap && to !== null ? ' dontunmap' : ''}`;
    case 'madvise':
      return `${range} ${advice}`;
    case 'msync':
      return `${range} ${sync}`;
    case 'store':
    case 'write':
      return `${call} ${page} ${byte}`;
    case 'truncate':
      return `truncate ${npages}`;
    case 'fork':
      return call;
    default:
      return range;
  }
}

function mmapText(range: string, { prot, shared, replace, filePage, extra }: Step): string {
  const words = [range, filePage === null ? 'anon' : `file+${filePage}`, prot === '' ? 'none' : prot, shared ? 'shared' : 'private', replace ? 'fixed' : 'noreplace'];
  return [...words, ...(extra === null ? [] : [extra])].join(' ');
}
