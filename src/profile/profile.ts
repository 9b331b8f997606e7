/**
 * KernelProfile: what differs between kernels, as data. No code here and no `if (version)` elsewhere.
 *
 * v6.1 and v6.12 are held against recorded kernels, v5.2 against a recorded v5.2.1, which has the seed's API.
 */
import { DEVMAP_BIT_NONE } from '../abi.ts';
import { nearest } from '../nearest.ts';
import { SEED_BUGS, type BugSwitch } from './bugs.ts';

export interface KernelProfile {
  readonly name: string;
  /** bit of _PAGE_DEVMAP in an entry: 58 up to 6.5, 57 from 6.6, none from 6.17 */
  readonly devmapBit: number;
  /** where hmm_pfns carry the map order */
  readonly hmmOrderShift: number;
  /** a DAX read fault tags its page cache entry dirty (6.1 and before) */
  readonly readFaultDirties: boolean;
  /** ext4 writes dirty entries back before it punches a hole */
  readonly punchWritesBack: boolean;
  /** ext4 makes a file shorter before it waits for pages that are pinned, not after */
  readonly truncateSizesFirst: boolean;
  /** statx tells of a file that it is DAX */
  readonly statTellsDax: boolean;
  /** mprotect raises its event from the first populated entry of this level on */
  readonly mprotectEventLevel: 'pmd' | 'pud';
  /** giving write back to a 2M entry makes it writable at once, by the rules of its 4K ones */
  readonly mprotectPmdWritable: boolean;
  /** giving write back to an anonymous page of one's own makes it writable at once: not until it is written to, if its entry is dirty, or always */
  readonly mprotectAnonWritable: 'never' | 'dirty' | 'always';
  /** advice (MADV_, by name) that the kernel does not know yet */
  readonly adviceUnknown: readonly string[];
  /** MADV_POPULATE_ stops at the first gap, instead of answering ENOMEM when the rest is done */
  readonly populateStopsAtGap: boolean;
  /** the last page of a split huge page that is still in use anywhere is written to in place, as a page by itself is */
  readonly reusesPartOfHuge: boolean;
  /** MADV_DONTNEED takes hugetlb areas */
  readonly hugetlbDontneed: boolean;
  /** MADV_REMOVE wants the mapping to be writable now, not only that it may become so */
  readonly removeNeedsWrite: boolean;
  /** smaps counts 2M device leaves, as many pages as are one in the device */
  readonly smapsCountsDevice: boolean;
  /** areas carry VM_SOFTDIRTY, as smaps shows */
  readonly softDirty: boolean;
  /** MADV_COLD and MADV_PAGEOUT take a 2M device leaf for a bad table: it is cleared, and nobody hears of it */
  readonly coldClearsPmd: boolean;
  /** advice for pages splits a huge page that is mapped by parts though all of it is meant */
  readonly adviceSplitsParts: boolean;
  /** where an anonymous huge page falls to pages, those of zeroes become the page of zeroes */
  readonly splitZeroPage: boolean;
  /** mprotect of a 1G device leaf: changed in place, or cleared as a bad entry without an event */
  readonly mprotectPud: 'changed' | 'cleared';
  /** a private write under a huge read-only DAX entry asks the file system for a huge page once more, and splits twice */
  readonly privateWriteAsksHuge: boolean;
  /** fork copies the entries of huge page areas always; later kernels only where a fault could not make them again */
  readonly forkCopiesHugetlb: boolean;
  /** mremap moves hugetlb areas; else they are refused */
  readonly mremapHugetlb: boolean;
  /** mremap has MREMAP_DONTUNMAP, also of files */
  readonly mremapDontunmap: boolean;
  /** an area that has anonymous pages becomes one with a neighbour that has none, too (6.16) */
  readonly mergesIntoUntouched: boolean;
  /** mremap sees that something is mapped at the old place before it unmaps anything at the new one */
  readonly mremapLooksFirst: boolean;
  /** mremap moves 2M entries of devices; where it does not know them, one that does not stay whole crashes the kernel (CVE-2020-10757) */
  readonly mremapKnowsDevmap: boolean;
  /** mremap asks the driver whether the area can be split before it moves part of it */
  readonly mremapAsksSplit: boolean;
  /** mremap of length 0 raises UNMAP over nothing */
  readonly mremapEmptyEvent: boolean;
  /** mremap begins on the 2M boundary below where nothing else is in there, and moves the table whole */
  readonly mremapRealigns: boolean;
  /** a write takes a page for its own that nobody else maps, though somebody may hold it; later kernels ask for references */
  readonly cowCountsMappings: boolean;
  /** a write to a 2M page that others have, or to the one of zeroes, copies it whole */
  readonly cowCopiesHugePages: boolean;
  /** pages held by get_user_pages: pins, which count by themselves, or plain references */
  readonly pins: 'counted' | 'references';
  /** long term pins of a DAX file are refused before its pages are faulted in, or after */
  readonly longtermPinRefused: 'before' | 'after';
  /** long term pins for writing to a shared mapping of a file that hears of first writes */
  readonly longtermFileWrite: 'allowed' | 'refused';
  /** a long term pin for reading in a private area copies what is not anonymous yet */
  readonly longtermReadCopies: boolean;
  /** where a huge page of a file's cache is to be copied for such a pin, its 2M leaf goes, and the fault maps it again: for ever */
  readonly unshareMapsHuge: boolean;
  /** pages of device DAX are compound, as large as its alignment */
  readonly deviceCompoundPages: boolean;
  /** MADV_HWPOISON kills who asks at once, not only who touches the page later */
  readonly adviceKills: boolean;
  /** poison in a huge page that cannot be split */
  readonly unsplitAnswers: 'EBUSY' | 'EHWPOISON';
  /** a shared DAX page stays shared for one owner longer than it has owners */
  readonly sharersLag: boolean;
  /** poison of a DAX page unmaps as many pages too many behind it as lie before it in the file */
  readonly poisonUnmapsFromZero: boolean;
  /** a device that goes away under its file system is written back first; the file system is told, and shuts down */
  readonly removalWritesBack: boolean;
  readonly removalShutsDown: boolean;
  /** mappings of a file stay when its device goes away, and lead to memory that is nobody's */
  readonly removalLeavesMappings: boolean;
  /** pages of a file that nobody maps are not looked through for references before their blocks go (up to 6.14) */
  readonly unmappedLayoutsPass: boolean;
  /** hmm_range_fault() answers the owner of a device-private page with it as it is, also where write is asked for and the entry lacks it */
  readonly ownPrivateAsIs: boolean;
  /** a pagemap that goes away waits for references on its pages; else their struct pages go under whoever has them */
  readonly drainWaitsForPages: boolean;
  /** on one CPU a new thread runs before the one that made it goes on (EEVDF) */
  readonly newThreadRuns: boolean;
  /** mprotect to read only forgets that an area was accounted for, where no page has come of it */
  readonly mprotectUnaccounts: boolean;
  /** smaps takes pages that no entry maps just now (exclusive to a device, on their way) for shared */
  readonly smapsAbsentShared: boolean;
  /** device exclusive access to hugetlb: refused (EOPNOTSUPP), or answered as if done, with nothing granted */
  readonly exclusiveHugetlb: 'refused' | 'ignored';
  /** the break of a static program begins within the page of its data, which is in use */
  readonly heapBeginsUsed: boolean;
  /** unmapping huge pages of a pool raises an UNMAP of its own for each area, within whatever event is open */
  readonly hugetlbUnmapNests: boolean;
  /** a huge page of a private area that goes leaves its promise behind */
  readonly hugetlbRestoresReserve: boolean;
  /** unmapping a folio of several pages by its reverse map raises CLEAR over the 2 MiB around it first */
  readonly unmapClearsPmd: boolean;
  /** file systems that can have page cache folios of several pages have them */
  readonly largeFolios: boolean;
  /** read-ahead goes on from where its marks stand, also at the start of a file; earlier it began anew there */
  readonly readaheadFollowsMarks: boolean;
  /** what makes a file longer zeroes what a mapping has stored behind its old end; earlier that came to light */
  readonly extendZeroes: boolean;
  /** XFS writes the page of a file's new end back before it shortens it */
  readonly truncateFlushesEnd: boolean;
  /** a write of many pages to a file of a file system with large folios makes folios as large as it is, up to 2 MiB */
  readonly largeFolioWrites: boolean;
  /** the 2019 API on DAX VMAs: refused (EINVAL, before the seed patch) or mirrored */
  readonly daxMirror: 'refused' | 'mirrored';
  /** fallocate(2) that takes blocks away breaks the layout, and does no more, before it looks at its arguments; earlier ext4 looked first, and XFS forgot the range before */
  readonly fallocateBreaksFirst: boolean;
  /** XFS gives the blocks of a deleted file back in the background: before the next ones are taken */
  readonly evictsLater: boolean;
  /** ext4 does not know of a hole that it has just punched: what it knows of holes beside it ends there */
  readonly punchForgetsHole: boolean;
  /** a load or store faults under the area's lock first, and from the start again where a file that maps nothing around has no huge page for it: what the first try allocated may have made one */
  readonly userFaultsTwice: boolean;
  /** XFS maps files with DAX that share blocks; without it such a file system has no reflink */
  readonly daxReflink: boolean;
  /** any fault of a block that files share, not only a write, unmaps it in that file first */
  readonly sharedReadUnmaps: boolean;
  /** write(2) to a shared block unmaps what it leaves; without it a mapping goes on showing the old block */
  readonly sharedWriteUnmaps: boolean;
  /** a fault between that and the end of the write maps the old block again, for good (by the source of 6.2 to 6.12; not recorded) */
  readonly copiedWriteRaces: boolean;
  /** the copy of a hole, where blocks for a copy stood ready, reads zero; or as the device was before */
  readonly copyOfHoleZeroed: boolean;
  /** zeroes beyond an end of a file, or at the edges of a range, go to the file where others share the block; without it to a copy that stays aside, and the file reads what it did */
  readonly sharedZeroesKept: boolean;
  /** what is copied of a shared block is flushed at once; without it a power cut may take it back, though it was durable before the write that made the copy */
  readonly copiesFlushed: boolean;
  /** a file with 1 GiB extents maps with PUD leaves; no kernel does, the seed's discussion hopes for it */
  readonly fsdaxPud: boolean;
  /** bugs that this kernel has */
  readonly bugs: readonly BugSwitch[];
}

const V6_1: KernelProfile = {
  name: 'v6.1',
  devmapBit: 58,
  hmmOrderShift: 56,
  readFaultDirties: true,
  punchWritesBack: true,
  truncateSizesFirst: false,
  statTellsDax: true,
  mprotectEventLevel: 'pmd',
  mprotectPmdWritable: false,
  mprotectAnonWritable: 'dirty',
  adviceUnknown: [],
  populateStopsAtGap: false,
  reusesPartOfHuge: true,
  hugetlbDontneed: true,
  removeNeedsWrite: false,
  smapsCountsDevice: true,
  softDirty: true,
  coldClearsPmd: true,
  adviceSplitsParts: true,
  splitZeroPage: false,
  mprotectPud: 'cleared',
  privateWriteAsksHuge: true,
  newThreadRuns: false,
  mprotectUnaccounts: false,
  smapsAbsentShared: false,
  exclusiveHugetlb: 'ignored',
  forkCopiesHugetlb: false,
  mremapHugetlb: true,
  mremapDontunmap: true,
  mergesIntoUntouched: false,
  mremapLooksFirst: true,
  mremapKnowsDevmap: true,
  mremapAsksSplit: true,
  mremapEmptyEvent: false,
  mremapRealigns: false,
  cowCountsMappings: false,
  cowCopiesHugePages: false,
  pins: 'counted',
  longtermPinRefused: 'before',
  longtermFileWrite: 'allowed',
  longtermReadCopies: false,
  unshareMapsHuge: false,
  deviceCompoundPages: true,
  adviceKills: false,
  unsplitAnswers: 'EBUSY',
  sharersLag: true,
  poisonUnmapsFromZero: false,
  removalWritesBack: true,
  removalShutsDown: false,
  removalLeavesMappings: true,
  unmappedLayoutsPass: true,
  ownPrivateAsIs: true,
  drainWaitsForPages: false,
  heapBeginsUsed: false,
  hugetlbUnmapNests: true,
  hugetlbRestoresReserve: false,
  unmapClearsPmd: true,
  largeFolios: true,
  readaheadFollowsMarks: false,
  extendZeroes: false,
  truncateFlushesEnd: true,
  largeFolioWrites: false,
  daxMirror: 'mirrored',
  fallocateBreaksFirst: false,
  evictsLater: true,
  punchForgetsHole: true,
  userFaultsTwice: false,
  daxReflink: true,
  sharedReadUnmaps: false,
  sharedWriteUnmaps: false,
  copiedWriteRaces: true,
  copyOfHoleZeroed: false,
  sharedZeroesKept: false,
  copiesFlushed: false,
  fsdaxPud: false,
  bugs: [],
};

const V6_12: KernelProfile = {
  ...V6_1,
  punchForgetsHole: false,
  userFaultsTwice: true,
  name: 'v6.12',
  devmapBit: 57,
  readFaultDirties: false,
  punchWritesBack: false,
  mprotectEventLevel: 'pud',
  mprotectPmdWritable: true,
  mprotectAnonWritable: 'always',
  populateStopsAtGap: true,
  reusesPartOfHuge: false,
  smapsCountsDevice: false,
  coldClearsPmd: false,
  adviceSplitsParts: false,
  splitZeroPage: true,
  mprotectPud: 'changed',
  privateWriteAsksHuge: false,
  newThreadRuns: true,
  mprotectUnaccounts: true,
  smapsAbsentShared: true,
  exclusiveHugetlb: 'refused',
  mremapRealigns: true,
  longtermFileWrite: 'refused',
  adviceKills: true,
  unsplitAnswers: 'EHWPOISON',
  sharersLag: false,
  removalShutsDown: true,
  longtermReadCopies: true,
  unshareMapsHuge: true,
  heapBeginsUsed: true,
  hugetlbUnmapNests: false,
  hugetlbRestoresReserve: true,
  unmapClearsPmd: false,
  readaheadFollowsMarks: true,
  extendZeroes: true,
  truncateFlushesEnd: false,
  largeFolioWrites: true,
  fallocateBreaksFirst: true,
  sharedReadUnmaps: true,
  sharedWriteUnmaps: true,
  copyOfHoleZeroed: true,
  sharedZeroesKept: true,
};

const V5_2: KernelProfile = {
  ...V6_1,
  name: 'v5.2',
  readFaultDirties: false,
  truncateSizesFirst: true,
  statTellsDax: false,
  privateWriteAsksHuge: false,
  cowCountsMappings: true,
  cowCopiesHugePages: true,
  mprotectAnonWritable: 'never',
  adviceUnknown: ['cold', 'pageout', 'populate_read', 'populate_write', 'collapse'],
  hugetlbDontneed: false,
  removeNeedsWrite: true,
  softDirty: false,
  truncateFlushesEnd: false,
  pins: 'references',
  longtermPinRefused: 'after',
  deviceCompoundPages: false,
  removalWritesBack: false,
  drainWaitsForPages: true,
  forkCopiesHugetlb: true,
  mremapHugetlb: false,
  mremapDontunmap: false,
    mremapLooksFirst: false,
  mremapKnowsDevmap: false,
  mremapAsksSplit: false,
  mremapEmptyEvent: true,
  poisonUnmapsFromZero: true,
  daxReflink: false,
  evictsLater: false,
  bugs: SEED_BUGS,
  largeFolios: false,
};

export const PROFILES = {
  'v6.1': V6_1,
  'v6.12': V6_12,
  'v5.2': V5_2,
  /** no recorded kernel: v6.12 whose file systems map 1 GiB extents with PUD leaves, without what its file systems do wrong; the main job and the benches use it */
  lab: { ...V6_12, name: 'lab', fsdaxPud: true, removalLeavesMappings: false, unmappedLayoutsPass: false, unshareMapsHuge: false, ownPrivateAsIs: false, copiedWriteRaces: false, copiesFlushed: true },
} as const satisfies Record<string, KernelProfile>;

export type ProfileName = keyof typeof PROFILES;
export const NO_DEVMAP = DEVMAP_BIT_NONE;

/** Fields that follow a kernel's source where no recorded kernel shows them. */
const BY_SOURCE: readonly string[] = ['copiedWriteRaces', 'copiesFlushed'] satisfies (keyof KernelProfile)[];

/** A field's name, with the word that it was read and not recorded where that is so. */
export function fieldInWords(field: string): string {
  return BY_SOURCE.includes(field) ? `${field}, which is read in the source and not recorded` : field;
}

/** A profile by name, with some fields changed. Unknown names and fields, and values of another type, throw TypeError naming them. */
export function profileOf(name: string, changes: Partial<KernelProfile> = {}): KernelProfile {
  const base = Object.hasOwn(PROFILES, name) ? PROFILES[name as ProfileName] : undefined;
  if (base === undefined) throw new TypeError(`profile: unknown ${nearest(name, Object.keys(PROFILES))}; known: ${Object.keys(PROFILES).join(', ')}`);
  for (const [key, value] of Object.entries(changes)) {
    if (!Object.hasOwn(base, key)) throw new TypeError(`profile: unknown field ${nearest(key, Object.keys(base))}`);
    const meant = base[key as keyof KernelProfile];
    if (typeof value !== typeof meant) throw new TypeError(`profile: ${key} is a ${typeof meant}, not ${typeof value}`);
  }
  return { ...base, ...changes };
}
