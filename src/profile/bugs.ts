/**
 * Bug switches: named deviations from what the code means to do. Data only; each names where it stands.
 *
 * The seed's own faults (spec of the 2019 API, confirmed on a v5.2.1 kernel) are on in profile v5.2.
 * The deliberate ones break a mirror on purpose, so that checks can be shown to catch them.
 */
export const SEED_BUGS = [
  'leak-pgmap-on-special', // mm/hmm.c: a walk that leaves by a special or poisoned pte keeps its dev_pagemap reference
  'valid-aba', // range->valid becomes true again after an invalidation that the driver never saw
  'overlap-inclusive', // an update that ends where a range starts invalidates it
  'valid-per-mm', // a range stays invalid until no invalidation of the whole mm is in flight
  'mirror-eagain-lost', // a mirror's -EAGAIN is shadowed: the core hears 0
  'nonblock-count-leak', // a failed non-blockable start leaves the count of invalidations raised
  'snapshot-ignores-walk', // hmm_range_snapshot() throws the walk's error away
  'fault-wipes-marker', // a failing fault overwrites the ERROR or SPECIAL word it has just written
  'count-stops-at-hole', // the count returned leaves out a trailing page-table hole
  'block-may-drop-lock', // block = true still allows the fault to drop mmap_sem
  'fault-under-pud-lock', // the pud handler faults with the pud's spinlock held
  'gap-fault-without-vma', // faulting a gap below a VMA calls the fault handler with no VMA
  'fault-ignores-vm-write', // a write fault on a read-only VMA is taken and taken again
  'dying-pagemap-retries', // a dying dev_pagemap answers the retry code
  'chunk-faulting', // one asked page faults on to the end of its chunk
  'protnone-valid', // a PROT_NONE or NUMA hinted pte counts as present
] as const;

export const DEVICE_BUGS = [
  'skip-notifier', // an invalidation does not reach the device
  'stale-pfn', // the device programs a page-table entry without looking whether its sequence is still good
  'wrong-frame', // the device programs the neighbour's frame
  'lost-device-write', // a device store is dropped
] as const;

export const BUG_SWITCHES = [...SEED_BUGS, ...DEVICE_BUGS] as const;
export type BugSwitch = (typeof BUG_SWITCHES)[number];
