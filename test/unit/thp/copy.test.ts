/** A write to a huge page that others have too: split and copied by the page, or (v5.2) copied whole (recorded: anon-thp-req-per-page, fork-thp). */
import { afterEach, describe, expect, test } from 'vitest';
import { exitMm, madviseHuge, munmap } from '../../../dist/mm/index.js';
import { listen } from '../../support/listener.ts';
import { checkPgmaps, makeMachine } from '../../support/rig.ts';

afterEach(checkPgmaps);

const AT = 2 ** 20;

describe.each([
  { profile: 'v6.1', heard: ['CLEAR 0-512', 'CLEAR 5-6'], level: 0, zeroHeard: ['CLEAR 512-1024', 'CLEAR 517-518'] },
  { profile: 'v5.2', heard: ['CLEAR 0-512'], level: 1, zeroHeard: ['CLEAR 512-1024'] },
])('$profile', ({ profile, heard, level, zeroHeard }) => {
  test('a write of one of two processes leaves the other its page, whole', async () => {
    const rig = await makeMachine({ profile });
    const free = rig.platform.ram.freePages;
    rig.map(null, { npages: 1024, at: AT });
    rig.run(madviseHuge(rig.mm, AT, 1024, true));
    rig.touch(AT + 5, 'w', 1);
    rig.touch(AT + 6, 'w', 2);
    rig.touch(AT + 512, 'r');
    const child = rig.run(rig.core.fork(rig.mm, 'c'));
    const own = listen(child, AT, 1024);
    rig.touch(AT + 5, 'w', 3, child);
    expect(own.heard()).toEqual(heard);
    rig.touch(AT + 517, 'w', 4, child);
    expect(own.heard()).toEqual(zeroHeard);
    expect([rig.entry(AT).level, rig.entry(AT, child).level, rig.entry(AT + 512, child).level]).toEqual([1, level, level]);
    expect([5, 6, 517].map((i) => rig.touch(AT + i, 'r', 0, child))).toEqual([3, 2, 4]);
    expect([5, 6, 517].map((i) => rig.touch(AT + i, 'r'))).toEqual([1, 2, 0]);
    rig.run(exitMm(child));
    const left = listen(rig.mm, AT, 1024);
    rig.touch(AT + 6, 'w', 7);
    expect(left.heard(), 'nobody else has it any more').toEqual([]);
    expect(rig.entry(AT).level).toBe(1);
    rig.run(exitMm(rig.mm));
    expect(rig.platform.ram.freePages).toBe(free);
  });
});

test('v5.2 copies the pages of a huge page that is mapped by parts as long as others have any of them', async () => {
  const rig = await makeMachine({ profile: 'v5.2' });
  rig.map(null, { npages: 512, at: AT });
  rig.run(madviseHuge(rig.mm, AT, 512, true));
  rig.touch(AT, 'w', 1);
  const child = rig.run(rig.core.fork(rig.mm, 'c'));
  rig.run(munmap(child, AT + 1, 511));
  rig.run(munmap(rig.mm, AT + 500, 12));
  const frame = rig.mm.pageTable.translate(AT + 7, 0);
  rig.touch(AT + 7, 'w', 2);
  expect(rig.mm.pageTable.translate(AT + 7, 0)).not.toBe(frame);
  rig.run(exitMm(child));
  const next = rig.mm.pageTable.translate(AT + 8, 0);
  rig.touch(AT + 8, 'w', 3);
  expect(rig.mm.pageTable.translate(AT + 8, 0)).toBe(next);
});
