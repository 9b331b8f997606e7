/**
 * Holding pages (mm/gup.c: try_grab_folio, gup_put_folio; include/linux/mm.h: folio_maybe_dma_pinned).
 *
 * A pin says that the bytes themselves will be accessed. Of a page on its own it counts as 1024 references, so that a page with many
 * readers may look pinned; of a compound page as one, beside a count of pins that the head keeps. Before there were pins (v5.2) it
 * is a plain reference. The page of zeroes belongs to everyone: its counts say nothing and are left alone.
 */
import { KernelCrash } from '../../errno.ts';
import type { Platform } from '../../memremap/index.ts';
import { DEVICE_BASE_PFN } from '../../page/index.ts';
import { alignDown, hex, type Pfn } from '../../units.ts';
import { hold, letGo } from '../hold.ts';

/** GUP_PIN_COUNTING_BIAS */
export const PIN_BIAS = 1024;
/** what a count can hold: a page that has so many references is given to nobody (try_grab_page) */
const REFS_MAX = 2 ** 31 - 1;

/** The page that keeps the counts: the first of a compound page. */
export function countedPage({ ram, pgmaps }: Platform, pfn: Pfn): Pfn {
  if (pfn < DEVICE_BASE_PFN) return ram.head(pfn);
  const map = pgmaps.find(pfn);
  return map === null ? pfn : map.basePfn + alignDown(pfn - map.basePfn, map.compoundPages);
}

export function isCompound({ ram, pgmaps }: Platform, pfn: Pfn): boolean {
  return pfn < DEVICE_BASE_PFN ? ram.order(pfn) > 0 : (pgmaps.find(pfn)?.compoundPages ?? 1) > 1;
}

/** Takes one pin. False where the pagemap of a device page is dying, or the count is full: nothing is taken. ENOMEM. */
export function takePin(platform: Platform, pfn: Pfn): boolean {
  const { records, ram, pgmaps, profile } = platform;
  if (pfn < DEVICE_BASE_PFN && ram.isZero(pfn)) return true;
  if (isSaturated(platform, pfn)) return false;
  if (pfn >= DEVICE_BASE_PFN) {
    const map = pgmaps.find(pfn);
    if (map === null || map.state !== 'live') return false;
    map.heldPages++;
  }
  const head = countedPage(platform, pfn);
  records.addRefs(head, refsOfPin(platform, pfn));
  platform.ledger?.took(head, refsOfPin(platform, pfn), 'pin_user_pages');
  if (profile.pins === 'counted') records.addPins(head, 1);
  return true;
}

/** Gives one pin back. A device page whose struct page went with its device is no page any more: KernelCrash. */
export function dropPin(platform: Platform, pfn: Pfn): void {
  const { records, ram, pgmaps, profile } = platform;
  if (pfn < DEVICE_BASE_PFN && ram.isZero(pfn)) return;
  const map = pfn < DEVICE_BASE_PFN ? null : pgmaps.find(pfn);
  if (pfn >= DEVICE_BASE_PFN && map === null) throw new KernelCrash(`unpin_user_pages: page fault, frame ${hex(pfn)} has no struct page any more`);
  const head = countedPage(platform, pfn);
  const refs = refsOfPin(platform, pfn);
  if (profile.pins === 'counted') records.addPins(head, -1);
  if (map === null) {
    platform.ledger?.put(head, refs);
    ram.put(head, refs);
  } else {
    records.addRefs(head, -refs);
    platform.ledger?.put(head, refs);
    map.heldPages--;
  }
}

function refsOfPin(platform: Platform, pfn: Pfn): number {
  return platform.profile.pins === 'references' || isCompound(platform, pfn) ? 1 : PIN_BIAS;
}

/** One plain reference: FOLL_GET. */
export function takePage(platform: Platform, pfn: Pfn): boolean {
  const { records, ram, pgmaps } = platform;
  if (isSaturated(platform, pfn)) return false;
  if (pfn < DEVICE_BASE_PFN) {
    if (!ram.isZero(pfn)) hold(platform, pfn, 'get_user_pages');
    return true;
  }
  const map = pgmaps.find(pfn);
  if (map === null || map.state !== 'live') return false;
  map.heldPages++;
  const head = countedPage(platform, pfn);
  records.addRefs(head, 1);
  platform.ledger?.took(head, 1, 'get_user_pages');
  return true;
}

/** put_page() of what takePage() gave. */
export function putUserPage(platform: Platform, pfn: Pfn): void {
  const { records, ram, pgmaps } = platform;
  if (pfn < DEVICE_BASE_PFN) {
    if (!ram.isZero(pfn)) letGo(platform, pfn);
    return;
  }
  const map = pgmaps.find(pfn);
  if (map === null) throw new KernelCrash(`put_page: page fault, frame ${hex(pfn)} has no struct page any more`);
  const head = countedPage(platform, pfn);
  records.addRefs(head, -1);
  platform.ledger?.put(head, 1);
  map.heldPages--;
}

/** Is there no room for a pin more? */
export function isSaturated(platform: Platform, pfn: Pfn): boolean {
  return platform.records.refs(countedPage(platform, pfn)) > REFS_MAX - PIN_BIAS;
}

/** Somebody takes all the references that the page's count has room for. Nobody gives them back. */
export function saturate(platform: Platform, pfn: Pfn): void {
  const head = countedPage(platform, pfn);
  const refs = REFS_MAX - platform.records.refs(head);
  platform.records.addRefs(head, refs);
  platform.ledger?.took(head, refs, 'saturate');
  platform.ledger?.handed([head]);
}

/** folio_maybe_dma_pinned(): false is sure, true may be a page with a thousand references. */
export function maybePinned(platform: Platform, pfn: Pfn): boolean {
  const { records } = platform;
  const head = countedPage(platform, pfn);
  return isCompound(platform, pfn) ? records.pins(head) > 0 : records.refs(head) >= PIN_BIAS;
}
