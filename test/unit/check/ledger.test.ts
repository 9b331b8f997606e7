/** The ledger of references of RAM: whose each is, and what is found when the count is not that. */
import { describe, expect, test } from 'vitest';
import { Checker, findingText } from '../../../dist/check/index.js';
import { munmap, pinUserPages, swapOut, unpinUserPages } from '../../../dist/mm/index.js';
import { framePfn } from '../../../dist/pgtable/index.js';
import { makeMachine, type Rig } from '../../support/rig.ts';

interface Scene {
  readonly rig: Rig;
  readonly checker: Checker;
  readonly start: number;
  readonly pfn: number;
}

/** A process with four pages of RAM; the frame of the first. */
async function scene(stacks = false): Promise<Scene> {
  const rig = await makeMachine({ profile: 'v6.12' });
  const checker = new Checker(rig.core, { stacks });
  const start = rig.map(null, { npages: 4 });
  for (let i = 0; i < 4; i++) rig.touch(start + i, 'w');
  expect(checker.step('touch')).toEqual([]);
  rig.mm.pageTable.look(start);
  return { rig, checker, start, pfn: framePfn(rig.mm.pageTable.lo, rig.mm.pageTable.hi) };
}

const PIN = { write: true, longterm: false };

describe('references of RAM', () => {
  test('mappings, pins and the swap cache account for all of them', async () => {
    const { rig, checker, start } = await scene();
    const { pfns } = rig.run(pinUserPages(rig.mm, start, 2, PIN));
    expect(checker.step('pin')).toEqual([]);
    expect(checker.holders.join()).toMatch(/held: a pin of 1024 references by pin_user_pages, taken in "pin"/);
    unpinUserPages(rig.mm, pfns);
    rig.run(swapOut(rig.mm, start, start + 2));
    expect(checker.step('swap')).toEqual([]);
    rig.run(munmap(rig.mm, start, 4));
    expect(checker.step('munmap')).toEqual([]);
    expect(checker.holders).toEqual([]);
  });

  test('one that nobody has is found once, with those that somebody has', async () => {
    const { rig, checker, pfn } = await scene();
    rig.core.platform.ram.get(pfn);
    const [finding] = checker.step('get');
    expect(finding).toMatchObject({ rule: 'page-references', operation: 'get', missing: 'put_page() by who took one too many' });
    expect(finding?.what).toMatch(/has 2 references, and 1 that is somebody's: 1 of a mapping$/);
    expect(checker.step('nothing')).toEqual([]);
  });

  test('one that is given back twice is found', async () => {
    const { rig, checker, start, pfn } = await scene();
    const { pfns } = rig.run(pinUserPages(rig.mm, start, 1, PIN));
    checker.step('pin');
    unpinUserPages(rig.mm, pfns);
    expect(checker.step('unpin')).toEqual([]);
    rig.run(pinUserPages(rig.mm, start, 1, PIN));
    checker.step('pin');
    rig.core.platform.ram.put(pfn, 1);
    const [finding] = checker.step('a put too many');
    expect(finding).toMatchObject({ rule: 'page-references', missing: 'a mapping goes with its reference, and nobody gives back more than he took' });
    expect(finding?.what).toMatch(/has 1024 references, and 1025 that are somebody's: 1 of a mapping$/);
    expect(finding?.details.join()).toMatch(/a pin of 1024 references by pin_user_pages/);
  });

  test('a page that is freed while somebody holds it says who does, and from where it was taken', async () => {
    const { rig, checker, start, pfn } = await scene(true);
    rig.run(pinUserPages(rig.mm, start, 1, PIN));
    checker.step('pin');
    rig.run(munmap(rig.mm, start, 1));
    expect(checker.step('munmap')).toEqual([]);
    rig.core.platform.ram.put(pfn, 1024);
    const text = checker.step('one put too many').map(findingText).join();
    expect(text).toMatch(/the last reference of frame \S+ is given back, and somebody holds it still/);
    expect(text).toMatch(/held: a pin of 1024 references by pin_user_pages, taken in "pin"[^]*at pinUserPages \(mm\/gup/);
  });
});
