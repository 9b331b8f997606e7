/**
 * SIGBUS for memory that has failed, as it comes to a process that did not touch it (mm/memory-failure.c: collect_procs, add_to_kill).
 */
import { PAGE_ANON } from '../../page/index.ts';
import { framePfn } from '../../pgtable/index.ts';
import { pagesOfLevel, type Pfn, type Vpn } from '../../units.ts';
import { anonMappings, type AnonMapping } from '../anonVma.ts';
import { mappersOf } from '../migrate/mappers.ts';
import type { Mm } from '../mm.ts';

export class PoisonSignal {
  readonly vpn: Vpn;
  /** low bits of the address that do not count: the failed page is so large */
  readonly lsb: number;

  constructor(vpn: Vpn, lsb: number) {
    this.vpn = vpn;
    this.lsb = lsb;
  }
}

/** Where a process is to be told of a page of RAM: an anonymous one where it is mapped, a file's in every area over it. */
export function signalsOf(mm: Mm, pfn: Pfn): PoisonSignal[] {
  const { platform, pageTable: pt } = mm;
  const { ram } = platform;
  const lsb = 12 + ram.order(pfn);
  const anon = (ram.flags(pfn) & PAGE_ANON) !== 0;
  return areasOver(mm, pfn, anon)
    .filter(({ vma, vpn }) => vma.mm === mm && (!anon || (pt.look(vpn) && frameAt(mm, vpn) === pfn)))
    .map(({ vpn }) => new PoisonSignal(vpn, lsb));
}

function areasOver({ platform }: Mm, pfn: Pfn, anon: boolean): readonly AnonMapping[] {
  if (anon) return anonMappings(platform, pfn);
  const head = platform.ram.head(pfn);
  return mappersOf(platform, head).map(({ vma, vpn }) => ({ vma, vpn: vpn + (pfn - head) }));
}

/** The frame of page `vpn` in the leaf found last. */
export function frameAt({ pageTable: pt }: Mm, vpn: Vpn): Pfn {
  return framePfn(pt.lo, pt.hi) + (vpn % pagesOfLevel(pt.level));
}
