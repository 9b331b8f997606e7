/** The rules, by name: what each holds to be true. */

export const RULES = {
  'told-before-taken': 'a mirror hears of every entry that goes, changes its frame or loses rights, before it does',
  'mirror-coherent': 'an entry of a mirror points at what the CPU table maps there, with no more rights',
  'refault-before-end': 'nobody programs an entry while an invalidation of it is in flight',
  balanced: 'every invalidation that began has ended, and none that did not begin',
  'blocks-owned': 'no entry, of the CPU or a mirror, and no reference leads to blocks that no file has',
  'pagemap-alive': 'no entry leads to memory of a device that is gone',
  'pagemap-references': 'HMM and pins leave the references of a dev_pagemap as they were',
  'page-references': "each reference of a page is a mapping's, a cache's, or one in the ledger of who took it; a page that somebody holds or works on is not free",
  'sync-order': 'a MAP_SYNC area has no writable entry before the metadata that leads to its block is durable',
  'dirty-tracked': 'a page of a DAX file that can be written, or was, is tagged dirty until it is flushed',
  'atomic-sleep': 'nothing that may sleep is called with a spinlock held',
  'lock-order': 'no two chains of locks are taken in orders that can wait for each other',
  'bounded-retries': 'no retry loop goes round with nothing changed',
  'leaf-not-table': 'no huge leaf is taken for a page table, whose entries and lock it does not have',
  'copies-kept': 'who breaks the layout of a file leaves private copies of its pages alone',
  'hmm-answers': 'HMM answers what the CPU table has, for all that is asked and nothing else, and refuses no page that the process may use',
  'lock-balance': 'a lock is given back once, by who holds it, on every way out',
  woken: 'who waits for what is to be had is woken',
  'poison-unmapped': 'a page that has failed is mapped no more when its failure has been dealt with',
  'use-after-free': 'nothing is done with what has been freed: a driver, a process',
} as const;

export type Rule = keyof typeof RULES;
export const RULE_NAMES = Object.keys(RULES) as readonly Rule[];

/** How often each rule had something to look at: entries, locks, invalidations, pages. */
export type Looked = Record<Rule, number>;

export function noLooks(): Looked {
  return Object.fromEntries(RULE_NAMES.map((rule) => [rule, 0])) as Looked;
}
