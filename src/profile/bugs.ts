/**
 * Bug switches: named deviations from what the code means to do. Data only; `grep` for a name finds where it stands.
 *
 * The seed's own faults (spec of the 2019 API, confirmed on a v5.2.1 kernel) are on in profile v5.2, where its answers are a real
 * kernel's; off, the API does what its documentation meant. All others are off everywhere: they break the guarantee on purpose, so
 * that checks can be shown to catch them.
 */
export interface Bug {
  /** what goes wrong, in a line */
  readonly what: string;
  /** for a bug that Linux had: the release whose fix took it away, where that is known, and the subject of that fix */
  readonly fixedIn?: string;
  readonly subject?: string;
}

type Bugs = Readonly<Record<string, Bug>>;

/** Of the API of 2019, as the seed had it. */
const SEED = {
  // walks (mm/hmm.c: hmm_vma_walk_pud, _pmd, _pte)
  'leak-pgmap-on-special': {
    what: 'a walk that leaves by a special or poisoned pte keeps its dev_pagemap reference: the device cannot be unbound any more',
    fixedIn: 'v5.7', subject: 'mm/hmm: remove pgmap checking for devmap pages',
  },
  'zero-page-special': {
    what: 'the 4K page of zeroes (untouched memory, a DAX hole) cannot be mirrored; the 2M one can',
    fixedIn: 'v5.5', subject: 'mm/hmm: allow snapshot of the special zero page',
  },
  'protnone-valid': { what: 'a PROT_NONE pte (a NUMA hint) counts as present', fixedIn: 'v5.3', subject: 'mm/hmm: support automatic NUMA balancing' },
  'dying-pagemap-retries': {
    what: 'a dying dev_pagemap answers the code for "again": a fault spins until somebody unmaps',
    fixedIn: 'v5.7', subject: 'mm/hmm: remove pgmap checking for devmap pages',
  },
  'swap-never-faulted': {
    what: 'a page that is swapped out, or on its way, is NONE: it is asked for in vain',
    fixedIn: 'v5.4', subject: "mm/hmm: fix hmm_range_fault()'s handling of swapped out pages",
  },
  'migrating-pmd-untouched': {
    what: 'the words of a 2M page on its way stay as the caller left them',
    fixedIn: 'v5.7', subject: 'mm/hmm: add missing pfns set to hmm_vma_walk_pmd()',
  },
  'hugetlb-empty-valid': { what: 'an entry of a hugetlb area is VALID, also an empty one (frame 0) or a poisoned one (garbage)' },
  'page-shift-mixed': { what: 'a range in huge pages has its words counted in 4K pages where a failed call clears them' },
  // faults (hmm_vma_walk_hole_, hmm_vma_do_fault)
  'chunk-faulting': { what: 'a page that asks has everything faulted up to the end of its 2M chunk, or of its hole, and requests in there are lost' },
  'block-may-drop-lock': {
    what: 'block = true still allows the handler to drop mmap_sem',
    fixedIn: 'v5.3', subject: 'mm/hmm: Only set FAULT_FLAG_ALLOW_RETRY for non-blocking',
  },
  'mixedmap-refused': {
    what: "pages that a driver maps of its own (VM_MIXEDMAP) are refused, by both APIs",
    fixedIn: 'v5.16', subject: 'mm/hmm.c: allow VM_MIXEDMAP to work with hmm_range_fault',
  },
  'invalid-range-eagain': {
    what: 'an invalid range answers EAGAIN, with mmap_sem dropped by a fault and held by a snapshot',
    fixedIn: 'v5.3', subject: 'mm/hmm: always return EBUSY for invalid ranges in hmm_range_{fault,snapshot}',
  },
  'fault-ignores-vm-write': {
    what: 'a write fault of a read-only area is taken, and taken again',
    fixedIn: 'v5.4', subject: 'mm/hmm: hmm_range_fault() infinite loop',
  },
  'fault-under-pud-lock': {
    what: "the pud handler faults with the pud's spinlock held",
    fixedIn: 'v5.7', subject: 'mm/hmm: do not call hmm_vma_walk_hole() while holding a spinlock',
  },
  'gap-fault-without-vma': {
    what: 'a fault of a gap below an area calls the fault handler with no area',
    fixedIn: 'v5.4', subject: 'mm/hmm: hmm_range_fault() NULL pointer bug',
  },
  // answers (hmm_range_snapshot, hmm_range_fault)
  'snapshot-ignores-walk': { what: "a snapshot throws its walk's error away" },
  'fault-wipes-marker': { what: 'a failing fault overwrites the ERROR or SPECIAL word that it has just written' },
  'count-stops-at-hole': { what: 'the count leaves out a hole at the end that has no page table' },
  // notifiers (hmm_invalidate_range_start, _end)
  'valid-aba': { what: 'range->valid becomes true again after an invalidation that the driver never saw' },
  'release-window': { what: 'when a process exits a mirror is taken off the list before it is told: an invalidation in between does not reach it' },
  'valid-per-mm': { what: 'a range stays invalid until no invalidation of the whole space is in flight' },
  'overlap-inclusive': { what: 'an update that ends where a range starts invalidates it' },
  'mirror-eagain-lost': {
    what: "a mirror's -EAGAIN is shadowed: the core hears 0 and goes on",
    fixedIn: 'v5.3', subject: 'mm/hmm: Fix error flows in hmm_invalidate_range_start',
  },
  'nonblock-count-leak': {
    what: 'a failed start that might not block leaves the count of invalidations raised for ever',
    fixedIn: 'v5.3', subject: 'mm/hmm: Fix error flows in hmm_invalidate_range_start',
  },
} as const satisfies Bugs;

/** Of the mirroring device, one access at a time: `daxmirror mirror --bug` finds them. */
const DEVICE = {
  'skip-notifier': { what: 'an invalidation does not reach the device' },
  'stale-pfn': { what: 'the device programs a page-table entry without looking whether its sequence is still good' },
  'wrong-frame': { what: "the device programs the neighbour's frame" },
  'lost-device-write': { what: 'a device store is dropped' },
} as const satisfies Bugs;

/** Of what a driver does when it is told, or races with who tells it. */
const DRIVER = {
  'retry-outside-lock': { what: 'the device looks whether its sequence is still good before it takes its lock, not under it' },
  'set-seq-forgotten': { what: 'the callback of an invalidation drops entries, but does not move the sequence on' },
  'protection-ignored': { what: 'the device does not act on invalidations that only take rights away' },
  'drops-first-page': { what: 'an invalidation makes the device drop the first page of the range only' },
  'write-assumed': { what: 'the device programs what it may only read as writable' },
  'nonblock-skipped': { what: 'to an invalidation that may not block, the device says that all is done while its lock is held by another' },
  'removed-in-callback': { what: 'the device stops mirroring from within its callback: the removal waits for the invalidation that waits for it' },
  'kvm-retry-skipped': { what: 'a guest fault maps what it found without looking whether an invalidation came between' },
  'eagain-ignored': { what: 'the device takes the words of a fault that answered EAGAIN for good' },
  'ebusy-forever': { what: 'the device waits for its range to be valid for as long as it takes, and never answers EBUSY' },
  'lock-dropped-twice': { what: 'the device gives mmap_lock back after a fault that has dropped it' },
  'lock-kept-on-ebusy': { what: 'the device takes EBUSY for a sign that the fault has dropped mmap_lock, and keeps it' },
  'gone-mm-faulted': {
    what: 'the device faults in a process that has exited',
    subject: 'lib/test_hmm: fail dmirror_fault() when the mirrored mm is gone',
  },
  'close-keeps-pages': {
    what: 'a device that is closed leaves pages in its memory: who touches one calls it back',
    subject: 'lib: test_hmm: evict device pages on file close to avoid use-after-free',
  },
  'worker-skips-retry': { what: 'a Worker takes what it read for good without looking whether the owner changed the table meanwhile' },
} as const satisfies Bugs;

/** Of the core: an operation changes entries, and raises no invalidation for it. */
const UNTOLD = {
  'munmap-untold': { what: 'munmap takes entries away and tells no mirror' },
  'mremap-untold': { what: 'mremap moves entries and tells no mirror' },
  'mprotect-untold': { what: 'mprotect takes rights away and tells no mirror' },
  'dontneed-untold': { what: 'MADV_DONTNEED takes entries away and tells no mirror' },
  'fork-untold': { what: 'fork write-protects what the child shares and tells no mirror' },
  'cow-untold': { what: 'a copy on write changes the frame of an entry and tells no mirror' },
  'hugetlb-cow-untold': { what: 'a copy on write of a hugetlb page changes its frame and tells no mirror' },
  'split-untold': { what: 'a huge entry that a range cuts goes whole, and no mirror is told of the part outside the range' },
  'collapse-untold': { what: '512 pages become a huge one and no mirror is told that they went' },
  'numa-untold': { what: 'a NUMA hint takes the rights of pages and tells no mirror' },
  'swapout-untold': { what: 'a page is swapped out and no mirror is told' },
  'migrate-untold': { what: 'an entry becomes a migration entry and no mirror is told' },
  'collect-untold': { what: 'migrate_vma takes entries away, to move their pages to a device, and tells no mirror' },
  'exclusive-untold': { what: 'a page is made exclusive to one device and no other mirror is told' },
  'poison-untold': { what: 'a poisoned page is unmapped and no mirror is told' },
  'writeback-untold': { what: 'fsync write-protects the entries of a DAX file and tells no mirror' },
  'truncate-untold': { what: 'truncate of a DAX file takes entries away and tells no mirror' },
  'punch-untold': { what: 'a hole is punched in a DAX file and no mirror is told' },
  'zero-range-untold': { what: 'a range of a DAX file is zeroed by changing its blocks and no mirror is told' },
  'entry-change-untold': { what: 'a store gives a hole or a shared page of a DAX file a block of its own, and no mirror of the old one is told' },
  'cache-truncate-untold': { what: 'truncate of a file in the page cache takes entries away and tells no mirror' },
  'unbind-untold': { what: 'a device-dax goes away under its mappings and no mirror is told' },
  'oom-reap-untold': { what: 'the OOM reaper takes entries away and tells no mirror' },
} as const satisfies Bugs;

/** Of the core's own steps: notifiers out of order, files, faults, HMM. */
const CORE = {
  'begin-does-not-wait': { what: 'mmu_interval_read_begin() does not wait for invalidations in flight: the device faults in again what is about to go' },
  'zap-ends-first': { what: 'who drops a range of entries ends the invalidation before they go' },
  'munmap-never-ends': { what: 'munmap starts an invalidation and does not end it' },
  'range-end-unpaired': {
    what: 'where a listener refuses to start without blocking, those that have started never hear the end',
    fixedIn: 'v5.13', subject: 'mm/mmu_notifiers: ensure range_end() is paired with range_start()',
  },
  'interval-remove-race': {
    what: 'mmu_interval_notifier_remove() returns when the sequence has moved, with the subscription still in the tree',
    fixedIn: 'v5.18', subject: 'mm/mmu_notifier.c: fix race in mmu_interval_notifier_remove()',
  },
  'truncate-frees-first': { what: 'truncate frees blocks before what maps them is gone' },
  'end-without-start': { what: 'mprotect ends an invalidation that it never started' },
  'clone-locks-by-argument': { what: 'a clone locks its two files as they come, source first, not by their numbers: two clones there and back wait for each other' },
  'pin-fails-holding': { what: 'a pin that is refused after the pages were found keeps the references that it took' },
  'layout-break-takes-copies': {
    what: 'breaking the layout of a DAX file unmaps private copies of its pages: what was stored there is lost',
    fixedIn: 'v5.3', subject: 'dax: dax_layout_busy_page() should not unmap cow pages',
  },
  'wait-interruptible': { what: 'a signal ends the wait for pinned pages of a DAX file, and its blocks are taken under who pinned them' },
  'mremap-pmd-as-table': {
    what: 'mremap takes a 2M entry of a DAX file for a table of 4K ones (CVE-2020-10757)',
    fixedIn: 'v5.8', subject: 'mm: Fix mremap not considering huge pmd devmap',
  },
  'pud-not-split': {
    what: 'a store to a 1G page that falls back to smaller ones finds it still there, again and again',
    fixedIn: 'v5.19', subject: 'mm: split huge PUD on wp_huge_pud fallback',
  },
  'flush-first-page': {
    what: 'write-back of a 2M entry flushes 4K of it',
    fixedIn: 'v5.19', subject: 'dax: fix cache flush on PMD-mapped pages',
  },
  'dax-index-rounded-up': {
    what: 'a fault in the middle of a leaf of a device-dax writes down the index of the next leaf: when memory fails, others are unmapped (CVE-2024-50022)',
    fixedIn: 'v6.12', subject: 'device-dax: correct pgoff align in dax_set_mapping()',
  },
  'dax-wakeup-missed': {
    what: 'who is woken to find a DAX entry free, and does not lock it, wakes nobody after him: the next sleeps for ever',
    fixedIn: 'v5.3', subject: 'dax: Fix missed wakeup in put_unlocked_entry()',
  },
  'huge-over-small': { what: 'a 2M fault of a DAX file does not see that entries of 4K are in its way, dirty ones among them' },
  'hugetlb-fault-in-walk': { what: 'hmm_range_fault() faults a hugetlb page with the lock of its area held, which the fault takes, too: with a writer in between both wait' },
  'insert-overwrites': {
    what: 'a fault of a device page that is mapped already writes a new entry over the old one, with the rights of this fault alone',
    fixedIn: 'v5.1', subject: 'mm/huge_memory.c: fix modifying of page protection by insert_pfn_pmd()',
  },
  'pagemap-gone-early': {
    what: 'the memory of a device goes when its pagemap is killed, and not when the last reference is back',
    fixedIn: 'v5.2', subject: 'mm/devm_memremap_pages: fix final page put race',
  },
  'gup-huge-keeps-pgmap': {
    what: 'the fast way of a pin keeps its dev_pagemap reference where a page of a huge entry cannot be had: the device cannot be unbound any more',
    fixedIn: 'v5.15', subject: 'mm: gup: fix potential pgmap refcnt leak in __gup_device_huge()',
  },
  'device-page-uncounted': {
    what: 'a page of device memory that is in use holds no reference on its pagemap: the memory goes while processes have pages in it',
    fixedIn: 'v6.1', subject: 'mm/memremap.c: take a pgmap reference on page allocation',
  },
  'private-fault-unheld': {
    what: 'a fault of a device-private page takes no reference between reading the entry and migrate_to_ram(): the page may be free by then',
    fixedIn: 'v6.1', subject: 'mm/memory.c: fix race when faulting a device private page',
  },
  'exclusive-removed-unheld': {
    what: 'a fault of a device-exclusive entry locks the page without a reference: it may be free by then',
    fixedIn: 'v6.3', subject: 'mm: take a page reference when removing device exclusive entries',
  },
  'exclusive-takes-hugetlb': {
    what: 'a page of hugetlb is made exclusive to a device as if it were a small one: its reference is never given back',
    fixedIn: 'v6.15', subject: 'mm/rmap: reject hugetlb folios in folio_make_device_exclusive()',
  },
  'unmap-bad-subpage': {
    what: 'unmapping a device-private page takes the mapping off the page that pte_pfn() finds in an entry that is not present',
    fixedIn: 'v5.3', subject: 'mm/hmm: fix bad subpage pointer in try_to_unmap_one',
  },
  'devmap-pte-special': {
    what: 'hmm_range_fault() takes 4K pages of DAX, which are special as well as devmap, for special ones: EFAULT',
    fixedIn: 'v5.15', subject: 'mm/hmm: bypass devmap pte when all pfn requested flags are fulfilled',
  },
  'private-of-other-refused': {
    what: "hmm_range_fault() answers EFAULT for a page in another device's memory, instead of bringing it back",
    fixedIn: 'v6.0', subject: 'mm/hmm: fault non-owner device private entries',
  },
} as const satisfies Bugs;

/** Of what is to survive a power cut: `daxmirror fsx --power-cut --bug` finds them. */
const POWER = {
  'fsync-skips-flush': { what: 'write-back cleans dirty entries of a DAX file and does not flush their cache lines' },
  'write-cached': { what: 'write(2) to a DAX file copies through the cache, and nothing flushes what it wrote' },
  'commit-without-fence': { what: 'a journal commit does not fence what was flushed before it' },
  'new-blocks-unflushed': { what: 'new blocks are zeroed in the cache alone: after a power cut they have the bytes of who had them before' },
  'blocks-reused-early': { what: 'freed blocks are used again before the journal says that they are free' },
  'sync-fault-without-commit': { what: 'a write fault of a MAP_SYNC mapping does not commit the metadata that leads to its block' },
  'sync-copy-unflushed': { what: 'a write fault of a MAP_SYNC mapping does not flush the copy that it makes of a shared block' },
  'device-fault-not-dirty': { what: 'what a device faults in for writing is not marked dirty: fsync passes over what it stores' },
  'msync-off-by-one': { what: 'msync leaves out the last page of its range' },
} as const satisfies Bugs;

function names<B extends Bugs>(bugs: B): readonly (keyof B & string)[] {
  return Object.keys(bugs);
}

/** Every switch by name, with what it does. */
export const BUGS = { ...SEED, ...DEVICE, ...DRIVER, ...UNTOLD, ...CORE, ...POWER } as const;
export const SEED_BUGS = names(SEED);
export const DEVICE_BUGS = names(DEVICE);
export const POWER_BUGS = names(POWER);
export const UNTOLD_BUGS = names(UNTOLD);
export const BUG_SWITCHES = names(BUGS);
export type BugSwitch = keyof typeof BUGS;
export type UntoldBug = keyof typeof UNTOLD;
