/** Pages themselves: pin, unpin, page. */
import { LEVEL_PTE } from '../../abi.ts';
import { isTied, entryFlags, entriesOf, entryPfn, DAX_EMPTY, DAX_ZERO } from '../../dax/index.ts';
import { VM_IO, VM_PFNMAP, VM_READ, countedPage, isCompound, madviseInject, maybePinned, pinUserPages, swapPfn, unpinUserPages } from '../../mm/index.ts';
import { DEVICE_BASE_PFN, DEVICE_MEMORY_BASE_PFN, PAGE_ANON, PAGE_CACHE, PAGE_POISONED } from '../../page/index.ts';
import { framePfn, isDevicePrivateType, isSwapEntry, swapType } from '../../pgtable/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import { pagesOfLevel, type Pfn, type Vpn } from '../../units.ts';
import type { Answer, OperationList } from '../operation.ts';
import { Words, runsOf } from '../pageRuns.ts';
import { ownerOf } from './hmm.ts';
import type { Process } from '../process.ts';

/** What the probe takes at most. */
const PAGES_MAX = 2 ** 20;

/** What struct page says of a frame: its flags by name, and the counts. */
function pageAnswer(process: Process, pfn: Pfn): Answer {
  const { platform } = process.guest;
  const { ram, records, profile } = platform;
  const device = pfn >= DEVICE_MEMORY_BASE_PFN;
  const counted = pfn < DEVICE_BASE_PFN; // mappings are, and whose page it is
  const map = device ? platform.pgmaps.find(pfn) : null;
  if (device && map === null) return { page: [] };
  const dying = map !== null && map.state !== 'live';
  const zero = pfn === ram.zeroPfn;
  const flags: readonly (readonly [string, boolean])[] = [
    ['valid', true],
    ['device', device],
    ['fsdax', map?.type === 'fs-dax'],
    ['poison', (records.flags(pfn) & PAGE_POISONED) !== 0],
    ['compound', isCompound(platform, pfn)],
    ['pinned', !zero && profile.pins === 'counted' && maybePinned(platform, pfn)],
    ['dying', dying],
    ['zero', zero],
    ['mapping', !counted ? hasMapping(process, pfn) : (ram.flags(pfn) & (PAGE_ANON | PAGE_CACHE)) !== 0],
    ['private', map?.type === 'private'],
  ];
  const page = flags.filter(([, set]) => set).map(([name]) => name);
  if (zero) return { page };
  const idle = dying && profile.drainWaitsForPages ? 1 : 0; // the reference of a page that is in use by nobody goes first
  return { page, refs: records.refs(countedPage(platform, pfn)) - idle, maps: counted ? ram.mappings(pfn) : 0 };
}

/** page->mapping of a device page: of a DAX file while there is an entry of its page cache; of a device from its first fault on. */
function hasMapping(process: Process, pfn: Pfn): boolean {
  const map = process.guest.platform.pgmaps.find(pfn);
  if (map?.type !== 'fs-dax') return true;
  const fs = process.guest.core.fileSystems.find(({ pgmap }) => pgmap === map);
  const tied = fs === undefined ? null : isTied(fs, pfn);
  if (tied !== null) return tied;
  for (const inode of fs?.inodes.values() ?? []) {
    for (const { block, npages, pfn: first } of inode.extents) {
      if (pfn < first || pfn >= first + npages) continue;
      const entries = entriesOf(inode);
      const entry = entries.find(block + (pfn - first));
      if (entry !== 0 && (entryFlags(entry) & (DAX_ZERO | DAX_EMPTY)) === 0 && pfn - entryPfn(entry) < pagesOfLevel(entries.level)) return true;
    }
  }
  return false;
}

/** Memory fails: whoever asks may have a signal for it, told with the line's answer. */
export function* adviseInject(process: Process, vpn: Vpn, npages: number, how: 'hwpoison' | 'softoffline'): Sleepable<Answer> {
  const { err, signal } = yield* madviseInject(process.mm, vpn, npages, how);
  if (signal !== null) process.signals.push({ sig: 'SIGBUS', code: 'MCEERR_AR', addr: process.relative(signal.vpn * 4096), lsb: signal.lsb });
  return { err: err ?? 'ok' };
}

/** The frame that a mirror of `owner`'s would see at `vpn`, or null. */
function mappedFrame(process: Process, vpn: Vpn, owner: object | null): Pfn | null {
  const vma = process.mm.vmas.at(vpn);
  if (vma === null || !vma.has(VM_READ) || vma.has(VM_IO | VM_PFNMAP)) return null;
  const pt = process.mm.pageTable;
  if (!pt.look(vpn) && pt.level === LEVEL_PTE && isSwapEntry(LEVEL_PTE, pt.lo, pt.hi) && isDevicePrivateType(swapType(pt.hi))) {
    const pfn = swapPfn(pt.lo, pt.hi);
    return owner !== null && process.guest.platform.pgmaps.find(pfn)?.owner === owner ? pfn : null;
  }
  return pt.look(vpn) ? framePfn(pt.lo, pt.hi) + (vpn % pagesOfLevel(pt.level)) : null;
}

export const PAGE_OPERATIONS: OperationList = {
  'pin ID ADDR PAGES [w] [longterm]': function* pin(process, args) {
    const [vpn] = process.split(args.address('ADDR'));
    const npages = args.size('PAGES');
    if (!process.hasProbeSlot() || npages === 0 || npages > PAGES_MAX) return { ioctl: 'EINVAL' };
    const { err, pfns } = yield* pinUserPages(process.mm, vpn, npages, { write: args.has('w'), longterm: args.has('longterm') });
    if (pfns.length === 0) return { err: err ?? 'ok', pinned: 0 };
    process.pins.set(args.word('ID'), { mm: process.mm, pfns });
    process.takeProbeSlot();
    return { err: 'ok', pinned: pfns.length, pfns: runsOf(process, Words.ofFrames(process.guest.platform, pfns), vpn) };
  },
  'unpin ID': function* unpin(process, args) {
    const pins = process.pins.get(args.word('ID'));
    process.pins.delete(args.word('ID'));
    // A child has its parent's names, not its parent's pins.
    if (pins === undefined || pins.mm !== process.mm) return { err: 'ENOENT' };
    unpinUserPages(process.mm, pins.pfns);
    return { err: 'ok' };
  },
  'page ADDR [owner=N]': function* page(process, args) {
    const pins = process.pins.get(args.word('ADDR'));
    if (pins !== undefined) return pageAnswer(process, pins.pfns[0] as Pfn);
    const pfn = mappedFrame(process, process.split(args.address('ADDR'))[0], ownerOf(process, args));
    return pfn === null ? { page: null } : pageAnswer(process, pfn);
  },
};
