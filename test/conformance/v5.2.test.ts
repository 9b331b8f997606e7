/** The seed's own release, and its API. */
import { holdAgainstRecords } from '../support/records.ts';

holdAgainstRecords('v5.2', 'v5.2', [
  'block-may-drop-lock', 'chunk-faulting', 'count-stops-at-hole', 'dying-pagemap-retries', 'fault-ignores-vm-write', 'fault-under-pud-lock', 'fault-wipes-marker',
  'gap-fault-without-vma', 'hugetlb-empty-valid', 'invalid-range-eagain', 'leak-pgmap-on-special', 'migrating-pmd-untouched', 'mprotectPud', 'mremapKnowsDevmap', 'nonblock-count-leak', 'overlap-inclusive',
  'page-shift-mixed', 'protnone-valid', 'removalLeavesMappings', 'snapshot-ignores-walk', 'swap-never-faulted', 'valid-per-mm', 'zero-page-special',
]);
