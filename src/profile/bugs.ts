/**
 * Bug switches: named deviations from what the code means to do. Data only; each names where it stands.
 *
 * The seed's own faults (spec of the 2019 API, confirmed on a v5.2.1 kernel) are on in profile v5.2, where its answers are a real
 * kernel's; off, the API does what its documentation meant. The deliberate ones break a mirror on purpose, so that checks can
 * be shown to catch them.
 */
export const SEED_BUGS = [
  // walks (mm/hmm.c: hmm_vma_walk_pud, _pmd, _pte)
  'leak-pgmap-on-special', // a walk that leaves by a special or poisoned pte keeps its dev_pagemap reference: the device cannot be unbound any more
  'zero-page-special', // the 4K page of zeroes (untouched memory, a DAX hole) cannot be mirrored; the 2M one can
  'protnone-valid', // a PROT_NONE pte (a NUMA hint) counts as present
  'dying-pagemap-retries', // a dying dev_pagemap answers the code for "again": a fault spins until somebody unmaps
  'swap-never-faulted', // a page that is swapped out, or on its way, is NONE: it is asked for in vain
  'migrating-pmd-untouched', // the words of a 2M page on its way stay as the caller left them
  'hugetlb-empty-valid', // an entry of a hugetlb area is VALID, also an empty one (frame 0) or a poisoned one (garbage)
  'page-shift-mixed', // a range in huge pages has its words counted in 4K pages where a failed call clears them
  // faults (hmm_vma_walk_hole_, hmm_vma_do_fault)
  'chunk-faulting', // a page that asks has everything faulted up to the end of its 2M chunk, or of its hole, and requests in there are lost
  'block-may-drop-lock', // block = true still allows the handler to drop mmap_sem
  'fault-ignores-vm-write', // a write fault of a read-only area is taken, and taken again
  'fault-under-pud-lock', // the pud handler faults with the pud's spinlock held
  'gap-fault-without-vma', // a fault of a gap below an area calls the fault handler with no area
  // answers (hmm_range_snapshot, hmm_range_fault)
  'snapshot-ignores-walk', // a snapshot throws its walk's error away
  'fault-wipes-marker', // a failing fault overwrites the ERROR or SPECIAL word that it has just written
  'count-stops-at-hole', // the count leaves out a hole at the end that has no page table
  // notifiers (hmm_invalidate_range_start, _end)
  'valid-aba', // range->valid becomes true again after an invalidation that the driver never saw
  'valid-per-mm', // a range stays invalid until no invalidation of the whole space is in flight
  'overlap-inclusive', // an update that ends where a range starts invalidates it
  'mirror-eagain-lost', // a mirror's -EAGAIN is shadowed: the core hears 0 and goes on
  'nonblock-count-leak', // a failed start that might not block leaves the count of invalidations raised for ever
] as const;

export const DEVICE_BUGS = [
  'skip-notifier', // an invalidation does not reach the device
  'stale-pfn', // the device programs a page-table entry without looking whether its sequence is still good
  'wrong-frame', // the device programs the neighbour's frame
  'lost-device-write', // a device store is dropped
] as const;

export const BUG_SWITCHES = [...SEED_BUGS, ...DEVICE_BUGS] as const;
export type BugSwitch = (typeof BUG_SWITCHES)[number];
