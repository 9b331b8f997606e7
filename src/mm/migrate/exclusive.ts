/**
 * Device exclusive access (mm/rmap.c, up to 6.14: make_device_exclusive_range): for a while only the device may touch a page, so that
 * its atomic operations are atomic to everyone.
 *
 * Granted for anonymous pages that can be had for writing. Every entry of the page becomes a device-exclusive one, under an EXCLUSIVE
 * of the device's; nobody sees it in a snapshot then. It keeps its reference, and gives up its mapping. Whoever touches it takes it
 * back (swapFault.ts).
 */
import { LEVEL_PMD, LEVEL_PTE, PMD_PAGES } from '../../abi.ts';
import type { ErrnoCode } from '../../errno.ts';
import type { Platform } from '../../memremap/index.ts';
import { DEVICE_BASE_PFN, PAGE_ANON, PAGE_DIRTY } from '../../page/index.ts';
import { SWP_EXCLUSIVE_READ, SWP_EXCLUSIVE_WRITE, framePfn, isDirty, isSpecial, isWritable, swapHi, swapLo } from '../../pgtable/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import { alignDown, pagesOfLevel, type Pfn, type Vpn } from '../../units.ts';
import { handleMmFault } from '../fault.ts';
import { hold, letGo } from '../hold.ts';
import { invalidateEnd, invalidateStart, livelock, type Mm } from '../mm.ts';
import { FAULT_FLAG_REMOTE, FAULT_FLAG_WRITE, VM_FAULT_ERROR, VM_FAULT_OOM, VM_HUGETLB, VM_IO, VM_PFNMAP, VM_WRITE, type Vma } from '../vma.ts';
import { splitHuge, zapTouches } from '../zap.ts';
import { lookPte, mappedPfn } from './entries.ts';
import { isExclusiveOf } from './swapFault.ts';

export interface Exclusive {
  /** why the first page cannot be had; null where at least one can */
  readonly error: ErrnoCode | null;
  /** the pages that could be had: that many, whether or not exclusive */
  readonly count: number;
  /** the frame of each that is exclusive, locked and with a reference that the caller gives back; else -1 */
  readonly pfns: readonly Pfn[];
}

/** Faults in a row that leave a page as impossible to take as before are a livelock. */
const MAX_ROUNDS = 64;

/** The caller holds mmap_lock for reading. */
export function* makeDeviceExclusiveRange(mm: Mm, start: Vpn, npages: number, owner: object): Sleepable<Exclusive> {
  const { platform } = mm;
  const had: Pfn[] = [];
  let error: ErrnoCode | null = null;
  while (had.length < npages && error === null) {
    const got = yield* getPage(mm, start + had.length);
    if (typeof got === 'string') error = got;
    else had.push(got);
  }
  if (had.length === 0) return { error, count: 0, pfns: [] };
  const pfns: Pfn[] = [];
  for (const [i, pfn] of had.entries()) pfns.push((yield* makeExclusive(mm, start + i, pfn, owner)) ? pfn : -1);
  for (const [i, pfn] of had.entries()) if (pfns[i] === -1 && isReferenced(platform, pfn)) letGo(platform, pfn);
  return { error: null, count: had.length, pfns };
}

/** get_user_pages() of one page for writing, with a reference; huge leaves of RAM are split (FOLL_SPLIT_PMD). */
function* getPage(mm: Mm, vpn: Vpn): Sleepable<Pfn | ErrnoCode> {
  const vma = mm.vmas.at(vpn);
  if (vma === null || vma.has(VM_IO | VM_PFNMAP)) return 'EFAULT';
  const { profile, bugs } = mm.platform;
  if (vma.has(VM_HUGETLB) && profile.exclusiveHugetlb === 'refused' && !bugs.has('exclusive-takes-hugetlb')) return 'EOPNOTSUPP';
  if (!vma.has(VM_WRITE)) return 'EFAULT';
  const pt = mm.pageTable;
  for (let round = 0; round < MAX_ROUNDS; round++) {
    if (pt.look(vpn) && isWritable(pt.lo)) {
      const splits = pt.level === LEVEL_PMD && !vma.has(VM_HUGETLB) && framePfn(pt.lo, pt.hi) < DEVICE_BASE_PFN;
      if (splits) {
        yield* splitHuge(vma, alignDown(vpn, PMD_PAGES), PMD_PAGES);
        continue;
      }
      return takePage(vma, framePfn(pt.lo, pt.hi) + (vpn % pagesOfLevel(pt.level)));
    }
    const result = yield* handleMmFault(vma, vpn, FAULT_FLAG_REMOTE | FAULT_FLAG_WRITE);
    if ((result & VM_FAULT_OOM) !== 0) return 'ENOMEM';
    if ((result & VM_FAULT_ERROR) !== 0) return 'EFAULT';
  }
  throw livelock(mm, 'make_device_exclusive_range', vpn, MAX_ROUNDS);
}

function takePage(vma: Vma, pfn: Pfn): Pfn | ErrnoCode {
  const { platform, pageTable: pt } = vma.mm;
  if (isReferenced(platform, pfn)) {
    if (pt.level === LEVEL_PTE && isSpecial(pt.lo)) return 'EFAULT';
    hold(platform, pfn, 'make_device_exclusive_range');
  }
  return pfn;
}

/** Pages of DAX are not held: their pagemap is, which nobody takes away while mmap_lock is held. */
function isReferenced({ ram }: Platform, pfn: Pfn): boolean {
  return pfn < DEVICE_BASE_PFN && !ram.isZero(pfn);
}

/**
 * folio_make_device_exclusive() of the page that `vpn` was found to have. False for what is not anonymous, a page within a huge one,
 * and one that was not writable here or stays mapped somewhere; what has become exclusive on the way stays so.
 */
function* makeExclusive(mm: Mm, vpn: Vpn, pfn: Pfn, owner: object): Sleepable<boolean> {
  const { platform } = mm;
  const { ram, pageLocks } = platform;
  if (!isReferenced(platform, pfn) || ram.head(pfn) !== pfn || !pageLocks.tryLock(pfn)) return false;
  let granted = false;
  const takes = mm.vmas.at(vpn)?.has(VM_HUGETLB) === false || platform.bugs.has('exclusive-takes-hugetlb');
  if ((ram.flags(pfn) & PAGE_ANON) !== 0 && takes) {
    for (const place of placesOf(platform, pfn)) {
      const found = yield* replaceEntries(place, pfn, owner, place.vma.mm === mm ? vpn : -1);
      granted ||= found.granted;
      if (!found.all || !isMapped(platform, pfn)) break;
    }
    granted &&= !isMapped(platform, pfn);
  }
  if (!granted) pageLocks.unlock(pfn);
  return granted;
}

/** An area's part of a block of pages: where its first page would be, and where the walk over its entries begins. */
interface Place {
  readonly vma: Vma;
  readonly base: Vpn;
  readonly start: Vpn;
}

function placesOf(platform: Platform, head: Pfn): Place[] {
  const { ram, records, anonVmas } = platform;
  const index = records.index(head);
  const areas = (anonVmas.get(records.owner(head))?.areas.collect(index, index + 2 ** ram.order(head)) ?? []) as Vma[];
  return areas.map((vma) => {
    const base = vma.start + (index - vma.pgoff);
    return { vma, base, start: Math.max(base, vma.start) };
  });
}

/**
 * page_make_device_exclusive_one(): `granted` where the page at `wanted` was writable. `all` is false where an entry was met that is
 * exclusive already.
 */
function* replaceEntries({ vma, base, start }: Place, head: Pfn, owner: object, wanted: Vpn): Sleepable<{ granted: boolean; all: boolean }> {
  const { mm } = vma;
  const { sched, ram } = mm.platform;
  const pt = mm.pageTable;
  const npages = 2 ** ram.order(head);
  const range = yield* invalidateStart(mm, 'EXCLUSIVE', start, Math.min(vma.end, start + npages), owner, 'exclusive-untold');
  if (sched.concurrent) yield sched.point('make exclusive', zapTouches(vma));
  let granted = false;
  let all = true;
  if (vma.has(VM_HUGETLB)) {
    granted = replaceHugeEntry(mm, base, head);
    invalidateEnd(mm, range);
    return { granted, all };
  }
  for (let vpn = start; all && vpn < Math.min(vma.end, base + npages); vpn++) {
    const pfn = head + (vpn - base);
    if (!lookPte(vma, vpn)) continue;
    if (isExclusiveOf(vma, pfn)) all = false;
    else if (mappedPfn(pt.lo, pt.hi) === pfn) {
      granted ||= vpn === wanted && isWritable(pt.lo);
      replaceEntry(mm, pfn);
    }
  }
  invalidateEnd(mm, range);
  return { granted, all };
}

/** The pte found last, of page `pfn`, becomes an exclusive one: its mapping goes, its reference stays. */
function replaceEntry(mm: Mm, pfn: Pfn): void {
  const { ram, records } = mm.platform;
  const pt = mm.pageTable;
  const { lo } = pt;
  const head = ram.head(pfn);
  if (isDirty(lo)) records.setFlags(head, records.flags(head) | PAGE_DIRTY);
  mm.mayHaveSwapEntries = true;
  pt.setRaw(swapLo(pfn), swapHi(isWritable(lo) ? SWP_EXCLUSIVE_WRITE : SWP_EXCLUSIVE_READ, pfn));
  records.addMappings(pfn, -1);
  mm.platform.ledger?.took(head, 1, 'a device-exclusive entry');
  mm.platform.ledger?.handed([head]);
}

/** What became of a page of hugetlb before it was refused: its entry goes as a pte does, and nobody else knows of such an entry. */
function replaceHugeEntry(mm: Mm, base: Vpn, head: Pfn): boolean {
  const { records } = mm.platform;
  const pt = mm.pageTable;
  pt.look(base);
  if (pt.level !== LEVEL_PMD || pt.none || framePfn(pt.lo, pt.hi) !== head) return false;
  const write = isWritable(pt.lo);
  mm.mayHaveSwapEntries = true;
  pt.setRaw(swapLo(head), swapHi(write ? SWP_EXCLUSIVE_WRITE : SWP_EXCLUSIVE_READ, head));
  records.addWholeMappings(head, -1);
  return write;
}

/** Does any entry map any page of the block? */
function isMapped({ ram, records }: Platform, head: Pfn): boolean {
  for (let i = 0; i < 2 ** ram.order(head); i++) if (records.mappings(head + i) > 0) return true;
  return ram.order(head) > 0 && records.wholeMappings(head) > 0;
}
