/**
 * pin_user_pages_fast() (mm/gup.c): the pages behind addresses, held, so that they outlive what maps them.
 *
 * First the fast way: without lock or areas, what the page table grants as it stands, up to the first page that it does not.
 * From there on the slow way, all the rest: the areas are asked, and what is missing is faulted in. Both give up at the first page
 * that cannot be had; what was taken until then is the answer, and its reason only where that is nothing.
 *
 * A page that is read must not be one that a later copy on write would take from under the pin: an anonymous page which is not the
 * process's alone is copied first (FAULT_FLAG_UNSHARE). Pins for long are refused where the file system could want its blocks back.
 */
import { LEVEL_PTE } from '../../abi.ts';
import type { ErrnoCode } from '../../errno.ts';
import { DEVICE_BASE_PFN, DEVICE_MEMORY_BASE_PFN, PAGE_ANON, PAGE_EXCLUSIVE } from '../../page/index.ts';
import { framePfn, isSpecial, isWritable, type PageTable } from '../../pgtable/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import { pagesOfLevel, type Pfn, type Vpn } from '../../units.ts';
import { handleMmFault } from '../fault.ts';
import { cacheOf } from '../migrate/mappers.ts';
import { migrateCoherentToRam } from '../migrate/index.ts';
import { livelock, type Mm } from '../mm.ts';
import { FAULT_FLAG_UNSHARE, FAULT_FLAG_WRITE, VM_FAULT_ERROR, VM_FAULT_OOM, VM_IO, VM_PFNMAP, VM_READ, VM_WRITE, type Vma } from '../vma.ts';
import { countedPage, dropPin, isSaturated, takePage, takePin } from './pins.ts';

export interface PinRequest {
  /** FOLL_WRITE */
  readonly write: boolean;
  /** FOLL_LONGTERM */
  readonly longterm: boolean;
  /** FOLL_GET: a reference, which says nothing of the bytes */
  readonly plain?: boolean;
}

export interface Pinned {
  /** why there is none; null where there is at least one */
  readonly err: ErrnoCode | null;
  readonly pfns: readonly Pfn[];
}

/** Faults in a row that leave a page as impossible to take as before are a livelock. */
const MAX_ROUNDS = 64;

/** Pins pages `[start, start + npages)`, as many as can be had in a row. EFAULT, EOPNOTSUPP, ENOMEM; EBUSY where device memory cannot go to RAM first. */
export function* pinUserPages(mm: Mm, start: Vpn, npages: number, request: PinRequest): Sleepable<Pinned> {
  const { sched } = mm.platform;
  if (request.plain !== true) mm.hasPinned = true;
  if (sched.concurrent) yield sched.point(`pin ${mm.name}`, '*');
  const pfns: Pfn[] = [];
  while (pfns.length < npages && pinFast(mm, start + pfns.length, request, pfns));
  if (pfns.length === npages) return handOver(mm, pfns, null);
  const fast = pfns.length;
  if (!mm.mmapLock.tryRead(sched)) yield* mm.mmapLock.read(sched);
  try {
    const err = yield* pinSlow(mm, start, npages, request, pfns);
    return handOver(mm, pfns, err);
  } catch (error) {
    unpinUserPages(mm, pfns.splice(fast));
    throw error;
  } finally {
    mm.mmapLock.readUnlock(sched);
  }
}

/** From here on the caller has them. */
function handOver({ platform }: Mm, pfns: readonly Pfn[], err: ErrnoCode | null): Pinned {
  platform.ledger?.handed(pfns.map((pfn) => countedPage(platform, pfn)));
  return { err: pfns.length > 0 ? null : err, pfns };
}

/** get_user_pages_fast() of one page to be read, with a plain reference: its frame, or an errno. putUserPage() gives it back. */
export function* getUserPage(mm: Mm, vpn: Vpn): Sleepable<Pfn | ErrnoCode> {
  const { err, pfns } = yield* pinUserPages(mm, vpn, 1, { write: false, longterm: false, plain: true });
  return pfns[0] ?? err ?? 'EFAULT';
}

/** unpin_user_pages(). KernelCrash where a page's device is gone. */
export function unpinUserPages(mm: Mm, pfns: readonly Pfn[]): void {
  for (const pfn of pfns) dropPin(mm.platform, pfn);
}

/** One page by the page table alone; false: the slow way has to see to it. */
function pinFast(mm: Mm, vpn: Vpn, request: PinRequest, pfns: Pfn[]): boolean {
  const pt = mm.pageTable;
  if (vpn >= pt.endVpn || !pt.look(vpn)) return false;
  const pfn = pageAt(pt, vpn);
  const device = pfn >= DEVICE_MEMORY_BASE_PFN;
  if (device ? request.longterm : isSpecial(pt.lo) || mustAskFile(mm, pfn, request)) return false;
  if (request.write ? !isWritable(pt.lo) : mustUnshare(mm, request, null)) return false;
  if (!take(mm, pfn, request)) {
    if (device && pt.level > LEVEL_PTE && mm.platform.bugs.has('gup-huge-keeps-pgmap')) mm.platform.pgmaps.get(pfn, '__gup_device_huge');
    return false;
  }
  pfns.push(pfn);
  return true;
}

/** gup_fast_folio_allowed(): a long pin for writing of a file's page, where only the area can tell whether that may be. Not of tmpfs, and hugetlb. */
function mustAskFile({ platform }: Mm, pfn: Pfn, { write, longterm }: PinRequest): boolean {
  if (!longterm || !write || platform.profile.longtermFileWrite !== 'refused') return false;
  const cache = cacheOf(platform, platform.ram.head(pfn));
  return cache !== undefined && !cache.swapBacked;
}

/** Adds the rest to `pfns`; the errno of the first that cannot be had, or null. */
function* pinSlow(mm: Mm, start: Vpn, npages: number, request: PinRequest, pfns: Pfn[]): Sleepable<ErrnoCode | null> {
  const fast = pfns.length;
  let err: ErrnoCode | null = null;
  let fsDax = false;
  while (pfns.length < npages && err === null) {
    const vpn = start + pfns.length;
    const vma = mm.vmas.at(vpn);
    err = vma === null ? 'EFAULT' : refusal(vma, request);
    if (vma === null || err !== null) break;
    const pfn = yield* pinOne(vma, vpn, request);
    if (typeof pfn === 'string') err = pfn;
    else pfns.push(pfn);
    fsDax ||= vma.isFsDax && typeof pfn !== 'string';
  }
  // Kernels that look at the areas afterwards have faulted the pages in by now.
  if (!fsDax || !request.longterm) return err;
  const refused = pfns.splice(fast);
  if (!mm.platform.bugs.has('pin-fails-holding')) unpinUserPages(mm, refused);
  return 'EOPNOTSUPP';
}

/** check_vma_flags() */
function refusal(vma: Vma, { write, longterm }: PinRequest): ErrnoCode | null {
  const { profile } = vma.mm.platform;
  if (vma.has(VM_IO | VM_PFNMAP)) return 'EFAULT';
  if (longterm && profile.longtermPinRefused === 'before' && vma.isFsDax) return 'EOPNOTSUPP';
  if (!write) return vma.has(VM_READ) ? null : 'EFAULT';
  if (longterm && profile.longtermFileWrite === 'refused' && vma.isShared && (vma.ops?.pfnMkwrite !== undefined || vma.ops?.pageMkwrite !== undefined)) return 'EFAULT';
  return vma.has(VM_WRITE) ? null : 'EFAULT';
}

/** follow_page_mask(), and faultin_page() until there is one: its frame, pinned, or an errno. */
function* pinOne(vma: Vma, vpn: Vpn, request: PinRequest): Sleepable<Pfn | ErrnoCode> {
  const { mm } = vma;
  const pt = mm.pageTable;
  for (let round = 0; round < MAX_ROUNDS; round++) {
    let flags = request.write ? FAULT_FLAG_WRITE : 0;
    if (pt.look(vpn)) {
      const pfn = pageAt(pt, vpn);
      const { ram } = mm.platform;
      if (isSpecial(pt.lo) && pfn < DEVICE_BASE_PFN && !ram.isZero(pfn)) return 'EFAULT'; // a frame without a page
      if (request.longterm && pfn >= DEVICE_MEMORY_BASE_PFN && pfn < DEVICE_BASE_PFN) {
        if (!(yield* migrateCoherentToRam(mm.platform, pfn))) return 'EBUSY';
        continue;
      }
      const unshare = !request.write && mustUnshare(mm, request, vma);
      if (unshare) flags |= FAULT_FLAG_UNSHARE;
      else if (!request.write || isWritable(pt.lo)) return take(mm, pfn, request) ? pfn : isSaturated(mm.platform, pfn) ? 'ENOMEM' : 'EFAULT';
    }
    const result = yield* handleMmFault(vma, vpn, flags);
    if ((result & VM_FAULT_OOM) !== 0) return 'ENOMEM';
    if ((result & VM_FAULT_ERROR) !== 0) return 'EFAULT';
  }
  throw livelock(mm, 'pin_user_pages', vpn, MAX_ROUNDS);
}

/**
 * gup_must_unshare(): would a pin for reading hold, by the leaf found last, a page that copy on write takes away? `vma` null: the
 * fast way, which cannot tell what kind of area it is in.
 */
function mustUnshare(mm: Mm, { longterm, plain }: PinRequest, vma: Vma | null): boolean {
  const { profile, ram, records } = mm.platform;
  const pt = mm.pageTable;
  if (isWritable(pt.lo) || plain === true || profile.pins === 'references') return false;
  const first = framePfn(pt.lo, pt.hi);
  if (first < DEVICE_BASE_PFN && (ram.flags(first) & PAGE_ANON) !== 0) return (records.flags(first) & PAGE_EXCLUSIVE) === 0;
  return longterm && profile.longtermReadCopies && (vma === null || vma.isCow);
}

function take({ platform }: Mm, pfn: Pfn, { plain }: PinRequest): boolean {
  return plain === true ? takePage(platform, pfn) : takePin(platform, pfn);
}

/** The frame of page `vpn` in the leaf found last. */
function pageAt(pt: PageTable, vpn: Vpn): Pfn {
  const pfn = framePfn(pt.lo, pt.hi);
  return pt.level === LEVEL_PTE ? pfn : pfn + (vpn % pagesOfLevel(pt.level));
}
