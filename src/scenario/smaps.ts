/**
 * /proc/PID/smaps (fs/proc/task_mmu.c: show_smap), in the words of the records: counters that are not zero, in KiB.
 *
 * Reading it walks every area of the process, and what such a walk does to 1G leaves it does here too.
 */
import { LEVEL_PMD, LEVEL_PTE } from '../abi.ts';
import { VM_HUGETLB, VM_LOCKED, VM_PFNMAP, cacheOf, swapPfn, visitNothing, walkPmds, type Mm, type Vma } from '../mm/index.ts';
import { DEVICE_BASE_PFN, PAGE_ANON, PAGE_DIRTY, PAGE_LAZYFREE } from '../page/index.ts';
import { framePfn, isDeviceExclusiveType, isDevicePrivateType, isDirty, isLeafEntry, isMigrationType, isSpecial, isSwapEntry, swapType } from '../pgtable/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { alignDown, pagesOfLevel, type Vpn } from '../units.ts';
import type { Answer } from './operation.ts';

/** VM_ flags by bit, as VmFlags names them. */
const FLAG_NAMES: readonly (readonly [bit: number, name: string])[] = [
  [0, 'rd'], [1, 'wr'], [2, 'ex'], [3, 'sh'], [4, 'mr'], [5, 'mw'], [6, 'me'], [7, 'ms'], [8, 'gd'], [10, 'pf'], [13, 'lo'], [14, 'io'], [17, 'dc'], [18, 'de'],
  [20, 'ac'], [21, 'nr'], [22, 'ht'], [23, 'sf'], [25, 'wf'], [27, 'sd'], [28, 'mm'], [29, 'hg'], [30, 'nh'], [31, 'mg'],
];

/** What is counted of one area, in pages. */
interface Counters {
  Rss: number;
  Shared_Clean: number;
  Shared_Dirty: number;
  Private_Clean: number;
  Private_Dirty: number;
  Anonymous: number;
  AnonHugePages: number;
  FilePmdMapped: number;
  Shared_Hugetlb: number;
  Private_Hugetlb: number;
  /** its share of pages that others map too */
  pss: number;
}

/** All of a process is read. */
export function* readSmaps(mm: Mm): Sleepable<void> {
  for (const vma of Array.from(mm.vmas)) if (!vma.has(VM_PFNMAP | VM_HUGETLB)) yield* walkPmds(vma, vma.start, vma.end, visitNothing);
}

/** The counters and flags of one area. */
export function smapsOf(vma: Vma): Answer {
  const { pss, ...counters } = count(vma);
  const answer: Answer = { MMUPageSize: (vma.file?.alignPages ?? 1) * 4 };
  for (const [name, npages] of Object.entries(counters)) if (npages > 0) answer[name] = npages * 4;
  if (vma.has(VM_LOCKED) && pss >= 0.25) answer['Locked'] = Math.floor(pss * 4);
  const { softDirty } = vma.mm.platform.profile;
  const names = FLAG_NAMES.filter(([bit, name]) => ((vma.flags >>> bit) & 1) === 1 && (softDirty || name !== 'sd'));
  return { ...answer, vmflags: names.map(([, name]) => name).join(' ') };
}

function count(vma: Vma): Counters {
  const c: Counters = {
    Rss: 0, Shared_Clean: 0, Shared_Dirty: 0, Private_Clean: 0, Private_Dirty: 0, Anonymous: 0, AnonHugePages: 0, FilePmdMapped: 0, Shared_Hugetlb: 0,
    Private_Hugetlb: 0, pss: 0,
  };
  const pt = vma.mm.pageTable;
  if (vma.has(VM_PFNMAP)) return c;
  for (let vpn: Vpn = pt.nextEntry(vma.start, vma.end, LEVEL_PTE); vpn >= 0; ) {
    pt.look(vpn);
    const npages = pagesOfLevel(pt.level);
    if (isLeafEntry(pt.level, pt.lo)) countLeaf(vma, c, pt.level, pt.lo, pt.hi);
    else if (isSwapEntry(pt.level, pt.lo, pt.hi)) countAbsent(vma, c, pt.lo, pt.hi);
    const next = alignDown(vpn, npages) + npages;
    vpn = next >= vma.end ? -1 : pt.nextEntry(next, vma.end, LEVEL_PTE);
  }
  return c;
}

function countLeaf(vma: Vma, c: Counters, level: number, lo: number, hi: number): void {
  const { ram, records } = vma.mm.platform;
  const pfn = framePfn(lo, hi);
  if (pfn >= DEVICE_BASE_PFN) {
    countDevice(vma, c, level, lo, pfn);
    return;
  }
  if (ram.isZero(pfn) || (level === LEVEL_PTE && isSpecial(lo))) return;
  const npages = pagesOfLevel(level);
  const mappings = Math.max(1, ram.mappings(pfn));
  if (vma.has(VM_HUGETLB)) {
    c[mappings > 1 ? 'Shared_Hugetlb' : 'Private_Hugetlb'] += npages;
    return;
  }
  const head = ram.head(pfn);
  const flags = records.flags(head);
  const anon = (flags & PAGE_ANON) !== 0;
  const dirty = anon ? (flags & PAGE_LAZYFREE) === 0 : cacheOf(vma.mm.platform, head)?.get(records.index(head))?.dirty === true;
  add(c, npages, mappings, isDirty(lo) || dirty);
  if (anon) c.Anonymous += npages;
  if (level === LEVEL_PMD) c[anon ? 'AnonHugePages' : 'FilePmdMapped'] += npages;
}

/** Pages that a device has, or that are on their way, count as there; where nothing maps them just now, kernels differ in whether others might. */
function countAbsent(vma: Vma, c: Counters, lo: number, hi: number): void {
  const { ram, records, profile } = vma.mm.platform;
  const type = swapType(hi);
  const there = isDevicePrivateType(type);
  if (!there && !isDeviceExclusiveType(type) && !isMigrationType(type)) return;
  const pfn = swapPfn(lo, hi);
  const anon = (records.flags(ram.head(pfn)) & PAGE_ANON) !== 0;
  add(c, 1, there ? Math.max(1, ram.mappings(pfn)) : profile.smapsAbsentShared ? 2 : 1, anon || (records.flags(pfn) & PAGE_DIRTY) !== 0);
  if (anon) c.Anonymous++;
}

/** Device leaves of 2M count as the pages that are one there, by kernels that count them at all; smaller ones never do. */
function countDevice(vma: Vma, c: Counters, level: number, lo: number, pfn: number): void {
  const { profile, pgmaps } = vma.mm.platform;
  if (level !== LEVEL_PMD || !profile.smapsCountsDevice) return;
  const compound = profile.deviceCompoundPages && pgmaps.find(pfn)?.type === 'device-dax';
  add(c, compound ? pagesOfLevel(level) : 1, 1, isDirty(lo));
}

function add(c: Counters, npages: number, mappings: number, dirty: boolean): void {
  c.Rss += npages;
  c.pss += npages / mappings;
  if (mappings > 1) c[dirty ? 'Shared_Dirty' : 'Shared_Clean'] += npages;
  else c[dirty ? 'Private_Dirty' : 'Private_Clean'] += npages;
}
