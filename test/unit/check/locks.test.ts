/** Rule lock-order for locks that lockdep does not see: those of pages and of DAX entries. */
import { describe, expect, test } from 'vitest';
import { Checker, findingText } from '../../../dist/check/index.js';
import { entriesOf } from '../../../dist/dax/entries.js';
import { grabEntry, releaseEntry } from '../../../dist/dax/grab.js';
import type { Sleepable } from '../../../dist/sched/index.js';
import { makeMachine, type Rig } from '../../support/rig.ts';

async function scene(): Promise<{ rig: Rig; checker: Checker }> {
  const rig = await makeMachine({ profile: 'v6.12' });
  return { rig, checker: new Checker(rig.core) };
}

describe('the lock of a page', () => {
  function* pageUnderMmap({ core, mm }: Rig, pfn: number): Sleepable<void> {
    const { sched, pageLocks } = core.platform;
    yield* mm.mmapLock.read(sched);
    yield* pageLocks.lock(sched, pfn);
    pageLocks.unlock(pfn);
    mm.mmapLock.readUnlock(sched);
  }

  test('taken with mmap_lock held, and mmap_lock with it held: each may wait for the other', async () => {
    const { rig, checker } = await scene();
    const { sched, pageLocks } = rig.core.platform;
    rig.run(pageUnderMmap(rig, 5));
    expect(checker.step('fault')).toEqual([]);
    rig.run((function* (): Sleepable<void> {
      yield* pageLocks.lock(sched, 9);
      yield* rig.mm.mmapLock.read(sched);
      rig.mm.mmapLock.readUnlock(sched);
      pageLocks.unlock(9);
    })());
    const [finding, ...others] = checker.step('migrate');
    expect(others).toEqual([]);
    expect(finding).toMatchObject({ rule: 'lock-order', operation: 'migrate' });
    expect(finding && findingText(finding)).toMatch(/mmap_lock is taken with page_lock held, and elsewhere page_lock with mmap_lock held[^]*holds page_lock; takes mmap_lock/);
  });

  test('counts until the last page of a task is unlocked, and no longer where its task left it', async () => {
    const { rig, checker } = await scene();
    const { pageLocks } = rig.core.platform;
    rig.run(pageUnderMmap(rig, 5));
    pageLocks.tryLock(7);
    pageLocks.tryLock(8);
    pageLocks.unlock(7);
    pageLocks.leave(8);
    rig.run(pageUnderMmap(rig, 5));
    expect(checker.step('left')).toEqual([]);
    pageLocks.unlock(8);
    pageLocks.tryLock(8);
    rig.run(pageUnderMmap(rig, 5));
    expect(checker.step('held')).toMatchObject([{ rule: 'lock-order' }, { rule: 'lock-balance', what: 'page_lock is held still, by who called' }]);
  });
});

test('the lock of a DAX entry comes after the lock of the file that a fault holds', async () => {
  const { rig, checker } = await scene();
  const file = rig.file({ npages: 4 });
  const start = rig.map(file, { npages: 4, smallPages: true });
  const { sched } = rig.core.platform;
  rig.touch(start, 'w');
  rig.run((function* (): Sleepable<void> {
    yield* file.invalidateLock.read(sched);
    yield* grabEntry(file, entriesOf(file), 1, rig.mm);
    releaseEntry(file, entriesOf(file), 1);
    file.invalidateLock.readUnlock(sched);
  })());
  expect(checker.step('fault')).toEqual([]);
  rig.run((function* (): Sleepable<void> {
    yield* grabEntry(file, entriesOf(file), 2, rig.mm);
    yield* file.invalidateLock.read(sched);
    file.invalidateLock.readUnlock(sched);
    releaseEntry(file, entriesOf(file), 2);
  })());
  expect(checker.step('a fault that locks late')).toMatchObject([{ rule: 'lock-order', what: expect.stringMatching(/is taken with dax_entry held, and elsewhere dax_entry with/) }]);
});
