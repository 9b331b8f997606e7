/**
 * Bugs that Linux had in what is modelled here, and which switch has each of them: the subjects of their fixes, oldest first. Where none has it,
 * why. `daxmirror bugs NAME` shows a switch at work; every-switch.test.ts plays it.
 */
import { expect, test } from 'vitest';
import { BUGS, BUG_SWITCHES, type BugSwitch } from '../../dist/profile/index.js';

interface Item {
  readonly subjects: readonly string[];
  /** what went wrong, part by part, and who has it here */
  readonly parts: readonly (readonly [what: string, by: BugSwitch | readonly BugSwitch[] | { readonly not: string }])[];
}

const not = (why: string): { not: string } => ({ not: why });

const ITEMS: Readonly<Record<number, Item>> = {
  1: {
    subjects: ['mm/hmm: Fix error flows in hmm_invalidate_range_start'],
    parts: [['a refused start leaves the count of invalidations raised', 'nonblock-count-leak'], ["a mirror's -EAGAIN is shadowed", 'mirror-eagain-lost']],
  },
  2: {
    subjects: ['mm/hmm: always return EBUSY for invalid ranges in hmm_range_{fault,snapshot}'],
    parts: [
      ['EAGAIN, with mmap_sem dropped by a fault and held by a snapshot', 'invalid-range-eagain'],
      ['a driver that gives the lock back twice', 'lock-dropped-twice'],
      ['a driver that keeps it', 'lock-kept-on-ebusy'],
      ['a driver that takes the answer for success', 'eagain-ignored'],
    ],
  },
  3: { subjects: ['mm/hmm: Only set FAULT_FLAG_ALLOW_RETRY for non-blocking'], parts: [['block = true, and the lock is dropped', 'block-may-drop-lock']] },
  4: {
    subjects: ['mm/hmm: hmm_range_fault() NULL pointer bug', 'mm/hmm: hmm_range_fault() infinite loop'],
    parts: [['a range that starts in a gap', 'gap-fault-without-vma'], ['a write asked for in a read-only area', 'fault-ignores-vm-write']],
  },
  5: { subjects: ["mm/hmm: fix hmm_range_fault()'s handling of swapped out pages"], parts: [['a page that is swapped out is NONE', 'swap-never-faulted']] },
  6: { subjects: ['mm/hmm: bypass devmap pte when all pfn requested flags are fulfilled'], parts: [['4K pages of DAX are EFAULT', 'devmap-pte-special']] },
  7: { subjects: ['mm/hmm: allow snapshot of the special zero page'], parts: [['the 4K page of zeroes is EFAULT, the 2M one is not', 'zero-page-special']] },
  8: {
    subjects: ["mm/hmm: don't free the cached pgmap while scanning", 'mm/hmm: remove pgmap checking for devmap pages'],
    parts: [['a reference of the pagemap is kept on the way out', 'leak-pgmap-on-special'], ['-EBUSY for a pagemap that is dying, again and again', 'dying-pagemap-retries'], ['a driver that waits for ever', 'ebusy-forever']],
  },
  9: { subjects: ['mm/hmm: do not call hmm_vma_walk_hole() while holding a spinlock'], parts: [['a 1G entry is faulted under the lock of its table', 'fault-under-pud-lock']] },
  10: {
    subjects: [
      'mm/hmm: add missing pfns set to hmm_vma_walk_pmd()', 'mm/hmm: add missing unmaps of the ptep during hmm_vma_handle_pte()',
      'mm/hmm: add missing call to hmm_pte_need_fault in HMM_PFN_SPECIAL handling', 'mm/hmm: return -EFAULT when setting HMM_PFN_ERROR on requested valid pages',
    ],
    parts: [
      ['the words of a 2M page on its way stay as they were', 'migrating-pmd-untouched'],
      ['a pte that stays mapped', not('pte_unmap() does nothing on 64-bit machines, which are all there are here')],
      ['an error for a page that nobody asked for: the 2019 walk refuses special pages of a snapshot, too', 'zero-page-special'],
      ['a failing fault wipes the word that tells where', 'fault-wipes-marker'],
    ],
  },
  11: { subjects: ['mm/hmm: fault non-owner device private entries'], parts: [["EFAULT for a page in another device's memory", 'private-of-other-refused']] },
  12: { subjects: ['mm/hmm.c: allow VM_MIXEDMAP to work with hmm_range_fault'], parts: [["a driver's own pages are EFAULT", 'mixedmap-refused']] },
  13: { subjects: ['mm/mmu_notifiers: ensure range_end() is paired with range_start()'], parts: [['one listener refuses, another never hears the end', 'range-end-unpaired']] },
  14: { subjects: ['mm/mmu_notifier.c: fix race in mmu_interval_notifier_remove()'], parts: [['a subscription is freed that is still in the tree', 'interval-remove-race']] },
  15: { subjects: ['mm: Fix mremap not considering huge pmd devmap'], parts: [['a 2M entry of a DAX file is taken for a table', 'mremap-pmd-as-table']] },
  16: { subjects: ['mm/huge_memory.c: fix modifying of page protection by insert_pfn_pmd()'], parts: [['an entry that is there is written over', 'insert-overwrites']] },
  17: { subjects: ['mm: split huge PUD on wp_huge_pud fallback'], parts: [['a store to a 1G page goes round in circles', 'pud-not-split']] },
  18: { subjects: ['mm/devm_memremap_pages: fix final page put race'], parts: [['memory goes before the last reference is back', 'pagemap-gone-early']] },
  19: { subjects: ['mm: gup: fix potential pgmap refcnt leak in __gup_device_huge()'], parts: [['a reference of the pagemap is kept on the way out', 'gup-huge-keeps-pgmap']] },
  20: {
    subjects: ['dax: Fix missed wakeup in put_unlocked_entry()', 'dax: Wake up all waiters after invalidating dax entry', 'fs/dax: Fix pmd vs pte conflict detection'],
    parts: [
      ['who was woken in vain wakes nobody after him', 'dax-wakeup-missed'],
      ['2M and 4K entries of one place', 'huge-over-small'],
      ['2M faults that fall back with nothing in their way', not('a 4K answer where 2M was to be had breaks no rule: it is as slow as Linux was, and as right')],
    ],
  },
  21: { subjects: ['dax: dax_layout_busy_page() should not unmap cow pages'], parts: [['private copies are lost', 'layout-break-takes-copies']] },
  22: { subjects: ['dax: fix cache flush on PMD-mapped pages'], parts: [['4K of 2M are flushed', 'flush-first-page']] },
  23: { subjects: ['device-dax: correct pgoff align in dax_set_mapping()'], parts: [['memory fails, and the wrong address is unmapped', 'dax-index-rounded-up']] },
  24: {
    subjects: ['mm/memory.c: fix race when faulting a device private page', 'mm/memremap.c: take a pgmap reference on page allocation'],
    parts: [['a page is free between its entry and migrate_to_ram()', 'private-fault-unheld'], ['memory goes under pages that are in use', 'device-page-uncounted']],
  },
  25: {
    subjects: ['mm: take a page reference when removing device exclusive entries', 'mm/rmap: reject hugetlb folios in folio_make_device_exclusive()'],
    parts: [['a page is free between its entry and its lock', 'exclusive-removed-unheld'], ['a page of hugetlb is made exclusive', 'exclusive-takes-hugetlb']],
  },
  26: {
    subjects: ['mm/migrate_device: clear stale mapping after freeing swapcache', 'mm: migrate_device: fix pte_pfn/pte_dirty called on non-present PTE', 'mm/migrate.c: initialize pud_entry in migrate_vma()'],
    parts: [
      ['the mapping of a page whose swap slot has just been freed', not('a page is in the swap cache here only as long as an entry names its slot, and then a migration leaves it alone')],
      ['the dirty bit of an entry that is not present', not('it makes pages dirty that need not be: nothing is lost, and no rule broken')],
      ['a pointer that was never set', not('memory that was never set is no part of the model: Linux called whatever stood there')],
    ],
  },
  27: { subjects: ['mm/hmm: fix bad subpage pointer in try_to_unmap_one'], parts: [['a mapping is taken off a page that pte_pfn() makes up', 'unmap-bad-subpage']] },
  28: {
    subjects: ['lib: test_hmm: evict device pages on file close to avoid use-after-free', 'lib/test_hmm: fail dmirror_fault() when the mirrored mm is gone'],
    parts: [['pages stay behind in the memory of a device that was closed', 'close-keeps-pages'], ['a device faults in a process that is gone', 'gone-mm-faulted']],
  },
  29: { subjects: ['mm/hmm: support automatic NUMA balancing'], parts: [['a PROT_NONE pte counts as present', 'protnone-valid']] },
  30: { subjects: ["mm/hmm.c: the lock of a hugetlb area is dropped around the fault"], parts: [['the fault takes the lock that the walk holds', 'hugetlb-fault-in-walk']] },
};

const PARTS = Object.entries(ITEMS).flatMap(([number, { parts }]) => parts.map(([what, by]) => ({ number, what, by })));

test.each(PARTS)('$number: $what', ({ by }) => {
  if (typeof by === 'object' && 'not' in by) return expect(by.not.length).toBeGreaterThan(20);
  for (const name of typeof by === 'string' ? [by] : by) expect(BUG_SWITCHES).toContain(name);
});

test('a switch with the subject of a fix is in the table, under that subject', () => {
  for (const name of BUG_SWITCHES) {
    const { subject } = BUGS[name] as { subject?: string };
    if (subject === undefined) continue;
    const item = Object.values(ITEMS).find(({ parts }) => parts.some(([, by]) => by === name || (Array.isArray(by) && by.includes(name))));
    expect(item?.subjects, name).toContain(subject);
  }
});
