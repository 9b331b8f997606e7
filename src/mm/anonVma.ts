/**
 * Anonymous reverse mapping (mm/rmap.c, and what mm/mmap.c asks of it).
 *
 * An area gets an anon_vma of its own with its first anonymous page; its new pages belong to that one. fork links the child's area
 * to all that its parent's is linked to, so that pages which both still map are found in both, and gives it one of its own for
 * what comes after. Splitting and moving an area copies its links. So for each page: whoever maps it stands in its
 * anon_vma, at the page's place, which moves with the area (`pgoff`), not with its addresses.
 *
 *   parent's area ── A            child's area ── A, B        pages from before the fork: A;  the parent's after it: A;  the child's: B
 */
import { invariant } from '../errno.ts';
import type { IntervalNode } from '../interval.ts';
import type { Platform } from '../memremap/index.ts';
import { PAGE_ANON, PAGE_EXCLUSIVE, type AnonVma } from '../page/index.ts';
import type { Pfn, Vpn } from '../units.ts';
import { VM_ACCESS, VM_SOFTDIRTY, type Vma } from './vma.ts';

/** An area's place in one anon_vma (struct anon_vma_chain). */
export interface AnonLink {
  readonly anonVma: AnonVma;
  /** null while the area's bounds change */
  node: IntervalNode<unknown> | null;
}

/** A place where an anonymous page may be mapped. */
export interface AnonMapping {
  readonly vma: Vma;
  readonly vpn: Vpn;
}

/**
 * rmap_walk_anon(): where page `pfn` may be mapped, in the order in which a kernel visits the areas: by their first page, then by age.
 * Whether it is mapped there is for the page table to say, and who sleeps between two visits asks `maps` again.
 */
export function anonMappings(platform: Platform, pfn: Pfn): AnonMapping[] {
  const { records, ram, anonVmas } = platform;
  const head = ram.head(pfn);
  if ((records.flags(head) & PAGE_ANON) === 0) return [];
  const index = records.index(head) + (pfn - head);
  const areas = anonVmas.get(records.owner(head))?.areas.collect(index, index + 1) as Vma[] | undefined;
  return (areas ?? []).map((vma) => ({ vma, vpn: vma.start + (index - vma.pgoff) }));
}

/** Does the area still stand over that page? */
export function maps({ vma, vpn }: AnonMapping): boolean {
  return vma.mm.alive && vma.start <= vpn && vpn < vma.end && vma.mm.vmas.at(vpn) === vma;
}

/** anon_vma_prepare(): that of a neighbour that this area could be one with but for its rights, else a new one. */
export function prepareAnonVma(vma: Vma): void {
  if (vma.anonVma !== null) return;
  const anonVma = findMergeable(vma) ?? vma.mm.platform.anonVmas.create();
  vma.anonVma = anonVma;
  vma.anonLinks.push(newLink(vma, anonVma));
}

/** An anonymous page of one's own: it belongs to the area's anon_vma, at the area's place. After prepareAnonVma. */
export function ownPage(vma: Vma, pfn: Pfn, vpn: Vpn): void {
  invariant(vma.anonVma !== null, 'an anonymous page in an area without anon_vma');
  vma.mm.platform.records.setOwner(pfn, PAGE_ANON | PAGE_EXCLUSIVE, vma.anonVma.id, vma.pgoffOf(vpn));
}

/** page_move_anon_rmap(): a page that nobody else has any more becomes this area's own. */
export function movePage(vma: Vma, pfn: Pfn): void {
  const { records, ram } = vma.mm.platform;
  const head = ram.head(pfn);
  prepareAnonVma(vma);
  invariant(vma.anonVma !== null, 'an anonymous page in an area without anon_vma');
  records.setOwner(head, records.flags(head), vma.anonVma.id, records.index(head));
  records.setFlags(pfn, records.flags(pfn) | PAGE_EXCLUSIVE);
}

/** anon_vma_clone(): `copy`, of other bounds or at another place, is linked to all that `vma` is. */
export function cloneAnonVma(copy: Vma, vma: Vma): void {
  copy.anonVma = vma.anonVma;
  for (const { anonVma } of vma.anonLinks) copy.anonLinks.push(newLink(copy, anonVma));
}

/** anon_vma_fork(): the child's area finds what the parent's has mapped, and has an anon_vma of its own for what is new. */
export function forkAnonVma(child: Vma, parent: Vma): void {
  if (parent.anonVma === null) return;
  cloneAnonVma(child, parent);
  child.anonVma = child.mm.platform.anonVmas.create();
  child.anonLinks.push(newLink(child, child.anonVma));
}

/** The area's bounds are about to change. */
export function holdAnonLinks(vma: Vma): void {
  for (const link of vma.anonLinks) {
    if (link.node !== null) link.anonVma.areas.remove(link.node);
    link.node = null;
  }
}

export function restoreAnonLinks(vma: Vma): void {
  for (const link of vma.anonLinks) link.node ??= newLink(vma, link.anonVma).node;
}

/** unlink_anon_vmas(): the area maps none of their pages any more. */
export function dropAnonVmas(vma: Vma): void {
  holdAnonLinks(vma);
  for (const { anonVma } of vma.anonLinks) if (anonVma.areas.size === 0) vma.mm.platform.anonVmas.drop(anonVma);
  vma.anonLinks.length = 0;
  vma.anonVma = null;
}

/**
 * is_mergeable_anon_vma(): may `neighbour` become one area with `part`? Those of a forked process stay apart. An area that has no page yet
 * and one that has become one where the one that has none is `part`; whichever it is, where the profile says so.
 */
export function anonVmasMerge(neighbour: Vma, part: Vma): boolean {
  if (neighbour.anonVma === part.anonVma) return true;
  if (part.anonVma === null) return neighbour.anonLinks.length === 1;
  return neighbour.anonVma === null && part.anonLinks.length === 1 && part.mm.platform.profile.mergesIntoUntouched;
}

function newLink(vma: Vma, anonVma: AnonVma): AnonLink {
  return { anonVma, node: anonVma.areas.insert(vma.pgoff, vma.pgoff + vma.npages, vma) };
}

/** find_mergeable_anon_vma() */
function findMergeable(vma: Vma): AnonVma | null {
  const { vmas } = vma.mm;
  const next = vmas.next(vma);
  if (next !== null && next.anonLinks.length === 1 && continues(vma, next)) return next.anonVma;
  const prev = vmas.prev(vma);
  return prev !== null && prev.anonLinks.length === 1 && continues(prev, vma) ? prev.anonVma : null;
}

function continues(low: Vma, high: Vma): boolean {
  const differs = (low.flags ^ high.flags) & ~(VM_ACCESS | VM_SOFTDIRTY);
  return low.end === high.start && low.file?.inode === high.file?.inode && differs === 0 && low.pgoffOf(high.start) === high.pgoff;
}
