import { describe, expect, test } from 'vitest';
import { Checker, findingText, type Finding } from '../../../dist/check/index.js';
import { daxTruncate } from '../../../dist/dax/index.js';
import { Kvm } from '../../../dist/kvm/index.js';
import { madviseDontneed, mprotect, munmap } from '../../../dist/mm/index.js';
import type { BugSwitch } from '../../../dist/profile/index.js';
import { APIS, makeMachine, type Api, type Rig } from '../../support/rig.ts';

interface Scene {
  readonly rig: Rig;
  readonly checker: Checker;
  readonly start: number;
}

async function scene(bugs: readonly BugSwitch[] = [], profile = 'v6.12'): Promise<Scene> {
  const rig = await makeMachine({ profile, bugs });
  const start = rig.map(rig.file({ npages: 1024 }), { npages: 1024 });
  const checker = new Checker(rig.core);
  rig.touch(start, 'w');
  rig.touch(start + 512, 'r');
  expect(checker.step('touch')).toEqual([]);
  return { rig, checker, start };
}

const rules = (findings: readonly Finding[]): string[] => findings.map(({ rule }) => rule);

describe('told-before-taken', () => {
  test('operations that tell are no finding', async () => {
    const { rig, checker, start } = await scene();
    rig.run(mprotect(rig.mm, start, 512, 1));
    expect(checker.step('mprotect')).toEqual([]);
    rig.run(madviseDontneed(rig.mm, start, 512));
    expect(checker.step('madvise')).toEqual([]);
    rig.run(munmap(rig.mm, start, 1024));
    expect(checker.step('munmap')).toEqual([]);
    expect(checker.end('end')).toEqual([]);
    expect(checker.lostPages).toBe(1536); // 512 lost the right to be written, then 512 and the other 512 went
  });

  test('an entry that goes untold is found, decoded, and names the operation', async () => {
    const { rig, checker, start } = await scene();
    rig.mm.pageTable.look(start);
    rig.mm.pageTable.setRaw(0, 0);
    const [finding, ...others] = checker.step('a store by hand');
    expect(others).toEqual([]);
    expect(finding).toMatchObject({ rule: 'told-before-taken', operation: 'a store by hand', start, end: start + 512, knownBy: null });
    expect(findingText(finding as Finding)).toMatch(/pmd pfn 0x[0-9a-f]+ P\|RW\|U\|A\|D\|PSE.* became pmd none, and nobody was told/);
  });

  test('so are rights that are taken, and another frame; more rights are not', async () => {
    const { rig, checker, start } = await scene();
    const pt = rig.mm.pageTable;
    pt.look(start + 512);
    pt.setRaw((pt.lo | 2) >>> 0, pt.hi);
    expect(rules(checker.step('more'))).toEqual(['dirty-tracked']); // a right that the file system did not give
    pt.look(start + 512);
    pt.setRaw((pt.lo & ~2) >>> 0, pt.hi);
    expect(rules(checker.step('less'))).toEqual(['told-before-taken']);
    pt.look(start + 512);
    pt.setRaw(pt.lo + 0x200000, pt.hi);
    expect(rules(checker.step('another'))).toEqual(['told-before-taken', 'blocks-owned']); // the next 2 MiB are nobody's
  });

  test("a kernel's own breach is found, and names the profile's field", async () => {
    const { rig, checker } = await scene([], 'v6.1');
    const device = rig.daxDevice(2 ** 18, 2);
    const at = rig.map(device, { npages: 2 ** 18, at: 2 ** 20 });
    rig.touch(at, 'w');
    checker.step('touch');
    rig.run(mprotect(rig.mm, at, 2 ** 18, 1));
    const findings = checker.step('mprotect');
    expect(new Set(findings.map(({ knownBy }) => knownBy))).toEqual(new Set(['mprotectPud']));
    expect(findingText(findings[0] as Finding)).toContain('known: this kernel does so (profile field mprotectPud)');
  });
});

describe.each(APIS)('a device on the %s API', (api: Api) => {
  const watched = async (bugs: readonly BugSwitch[]): Promise<Scene> => {
    const all = await scene(bugs);
    const device = all.rig.device(api);
    all.checker.watch({ name: 'gpu', mm: all.rig.mm, table: device.table, get attached() { return device.attached; }, vpnOf: (page) => page });
    all.rig.run(device.fill(all.start, all.start + 1024, false));
    return all;
  };

  test('that drops what it is told to drop is coherent', async () => {
    const { rig, checker, start } = await watched([]);
    expect(checker.step('fill')).toEqual([]);
    rig.run(munmap(rig.mm, start, 1024));
    expect(checker.step('munmap')).toEqual([]);
  });

  test('that does not hear is found, at the operation it missed', async () => {
    const { rig, checker, start } = await watched(['skip-notifier']);
    expect(checker.step('fill')).toEqual([]);
    rig.run(munmap(rig.mm, start, 1024));
    const [finding] = checker.step('munmap a 4M');
    expect(finding).toMatchObject({ rule: 'mirror-coherent', operation: 'munmap a 4M', start });
    expect(finding?.what).toContain('where p has nothing');
  });

  test('that programs the wrong frame is found', async () => {
    const { checker } = await watched(['wrong-frame']);
    expect(rules(checker.step('fill'))).toEqual(['mirror-coherent']);
  });
});

test('a virtual machine is a mirror too', async () => {
  const { rig, checker, start } = await scene(['skip-notifier']);
  const kvm = new Kvm('vm', rig.mm);
  kvm.slots.add(0, 0, 1024, start);
  checker.watch({ name: 'vm', mm: rig.mm, table: kvm.table, get attached() { return kvm.alive; }, vpnOf: (gfn) => start + gfn });
  rig.run(kvm.fault(0, true));
  expect(checker.step('guest fault')).toEqual([]);
  rig.run(munmap(rig.mm, start, 512));
  expect(rules(checker.step('munmap'))).toEqual(['mirror-coherent']);
});

describe('at the end', () => {
  test('an entry to blocks that no file has is found', async () => {
    const rig = await makeMachine({ profile: 'v6.12' });
    const fs = rig.fileSystem();
    const file = rig.file({ npages: 512, fs });
    const start = rig.map(file, { npages: 512 });
    const checker = new Checker(rig.core);
    checker.watchBlocks(fs);
    rig.touch(start, 'w');
    rig.mm.pageTable.look(start);
    const { lo, hi } = rig.mm.pageTable;
    rig.run(daxTruncate(file, 0));
    fs.allocator.settle();
    expect(rules(checker.end('truncate'))).toEqual([]);
    rig.mm.pageTable.slot(start, 1);
    rig.mm.pageTable.setRaw(lo, hi);
    expect(rules(checker.end('an entry by hand'))).toEqual(['blocks-owned', 'dirty-tracked']);
  });

  test('an invalidation that never ended is found', async () => {
    const { rig, checker, start } = await scene();
    rig.run(rig.mm.notifiers.start({ event: 'CLEAR', start, end: start + 1, blockable: true, owner: null }));
    expect(rules(checker.end('end'))).toEqual(['balanced']);
  });

  test('a dev_pagemap reference that nobody gives back is found', async () => {
    const { rig, checker } = await scene();
    const [map] = rig.platform.pgmaps.all;
    expect(map?.tryGet('a test')).toBe(true);
    const [finding] = checker.end('end');
    expect(finding).toMatchObject({ rule: 'pagemap-references', what: expect.stringContaining('a test') });
    map?.put('a test');
  });
});
