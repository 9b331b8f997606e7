/**
 * What is mapped where in a range that is not simply dense: which pages are there, how, and on which device. Data, drawn from a seed.
 */
import { LEVEL_PMD, LEVEL_PTE, LEVEL_PUD } from '../../abi.ts';
import { Random } from '../../sched/index.ts';
import { PAGE_SIZES } from '../../units.ts';

export const LAYOUTS = {
  dense: 'every page, writable, of one device',
  '10 % read-only': 'every tenth page, at random, is read-only',
  '25 % holes in runs': 'a quarter of the pages is missing, 64 to 127 in a row',
  '25 % holes at random': 'a quarter of the pages is missing, each for itself',
  '64 pagemaps': 'blocks of 2 MiB from 64 devices in turn',
  'mixed leaf sizes': 'every other 2 MiB is one leaf, every fourth GiB as well',
} as const;

export type LayoutName = keyof typeof LAYOUTS;

export const NONE = 0;
export const READ_ONLY = 1;
export const WRITABLE = 2;
const DEVICES = 64;
const PMD_PAGES = PAGE_SIZES['2M'].npages;
const PUD_PAGES = PAGE_SIZES['1G'].npages;
const SEED = 1n;

/** By page of the range. */
export interface Layout {
  /** NONE, READ_ONLY or WRITABLE */
  readonly rights: Uint8Array;
  /** of the leaf */
  readonly level: Uint8Array;
  readonly device: Uint8Array;
  /** page of that device */
  readonly page: Uint32Array;
  /** by device */
  readonly devicePages: readonly number[];
}

/** Pages that are mapped by one call: neighbours in the range and on the device, alike in everything else. */
export interface LayoutRun {
  readonly first: number;
  readonly npages: number;
  readonly level: number;
  readonly isWritable: boolean;
  readonly device: number;
  readonly page: number;
}

/** The layout of `npages`, from the start of a 1 GiB boundary on. */
export function layoutOf(name: LayoutName, npages: number): Layout {
  const random = new Random(SEED);
  const rights = new Uint8Array(npages).fill(WRITABLE);
  const level = new Uint8Array(npages).fill(LEVEL_PTE);
  const device = new Uint8Array(npages);
  const page = Uint32Array.from({ length: npages }, (_, i) => i);
  const devices = name === '64 pagemaps' ? DEVICES : 1;
  if (name === '10 % read-only') for (let i = 0; i < npages; i++) rights[i] = random.below(10) === 0 ? READ_ONLY : WRITABLE;
  if (name === '25 % holes at random') for (let i = 0; i < npages; i++) rights[i] = random.below(4) === 0 ? NONE : WRITABLE;
  if (name === '25 % holes in runs') dig(rights, random);
  if (name === 'mixed leaf sizes') for (let i = 0; i < npages; i++) level[i] = leafLevel(i, npages);
  if (devices > 1) {
    for (let i = 0; i < npages; i++) {
      const block = Math.floor(i / PMD_PAGES);
      device[i] = block % devices;
      page[i] = Math.floor(block / devices) * PMD_PAGES + (i % PMD_PAGES);
    }
  }
  const blocks = Math.ceil(npages / PMD_PAGES / devices);
  return { rights, level, device, page, devicePages: Array.from({ length: devices }, () => blocks * PMD_PAGES) };
}

/** Holes of 64 to 127 pages, each with three times as many pages before it. */
function dig(rights: Uint8Array, random: Random): void {
  for (let at = 0; at < rights.length; ) {
    const hole = 64 + random.below(64);
    rights.fill(NONE, at + 3 * hole, at + 4 * hole);
    at += 4 * hole;
  }
}

function leafLevel(page: number, npages: number): number {
  const gib = Math.floor(page / PUD_PAGES);
  if (gib % 4 === 3 && (gib + 1) * PUD_PAGES <= npages) return LEVEL_PUD;
  return Math.floor(page / PMD_PAGES) % 2 === 0 ? LEVEL_PMD : LEVEL_PTE;
}

/** The layout in as few runs as there are. */
export function* runsOf({ rights, level, device, page }: Layout): Generator<LayoutRun> {
  for (let first = 0, end = 0; first < rights.length; first = end) {
    const goesOn = (i: number): boolean => rights[i] === rights[first] && level[i] === level[first] && device[i] === device[first] && (page[i] as number) - (page[first] as number) === i - first;
    for (end = first + 1; end < rights.length && goesOn(end); end++);
    if (rights[first] === NONE) continue;
    yield { first, npages: end - first, level: level[first] as number, isWritable: rights[first] === WRITABLE, device: device[first] as number, page: page[first] as number };
  }
}

/** Words by which single pages ask: every other page that is there, and every other of these that is writable for write access too. */
export function requestWords({ rights }: Layout, fault: bigint, write: bigint): BigUint64Array {
  const random = new Random(SEED);
  return BigUint64Array.from(rights, (right) => {
    if (right === NONE || random.below(2) === 0) return 0n;
    return right === WRITABLE && random.below(2) === 0 ? fault | write : fault;
  });
}
