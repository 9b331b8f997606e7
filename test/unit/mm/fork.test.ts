import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ACCESS_READ, ACCESS_WRITE, LEVEL_PMD, PTE_RW } from '../../../dist/abi.js';
import { HmmError } from '../../../dist/errno.js';
import {
  VM_DONTCOPY, VM_HUGEPAGE, VM_LOCKED, VM_READ, VM_WIPEONFORK, anonMappings, exitMm, mprotect, type Mm,
} from '../../../dist/mm/index.js';
import { framePfn, swapHi, swapLo, swapType, SWP_MIGRATION_READ, SWP_MIGRATION_WRITE } from '../../../dist/pgtable/index.js';
import { checkPgmaps, makeMachine, type Rig } from '../../support/rig.ts';
import { listen } from '../../support/listener.ts';

const AT = 0x10_0000;

let rig: Rig;
let free: number;

beforeEach(async () => {
  rig = await makeMachine();
  free = rig.platform.ram.freePages;
});
afterEach(() => {
  for (const mm of rig.core.mms) if (mm.alive) rig.run(exitMm(mm));
  expect(rig.platform.ram.freePages, 'pages of RAM are all back').toBe(free);
  expect(rig.platform.anonVmas.count).toBe(0);
  checkPgmaps();
});

function fork(name = 'c'): Mm {
  return rig.run(rig.core.fork(rig.mm, name));
}

function frame(vpn: number, mm = rig.mm, access = ACCESS_READ): number {
  return mm.pageTable.translate(vpn, access);
}

function places(pfn: number): [string, number][] {
  return anonMappings(rig.platform, pfn).map(({ vma, vpn }) => [vma.mm.name, vpn - AT]);
}

describe('anonymous pages after fork', () => {
  test('are shared, read only on both sides, under one PROTECTION_PAGE over the area', () => {
    rig.map(null, { npages: 8, at: AT });
    for (let i = 0; i < 3; i++) rig.touch(AT + i, 'w');
    const { heard } = listen(rig.mm, AT, 4096);
    const child = fork();
    expect(heard()).toEqual(['PROTECTION_PAGE 0-8']);
    for (const mm of [rig.mm, child]) {
      expect(frame(AT, mm)).toBe(frame(AT));
      expect(frame(AT, mm, ACCESS_WRITE)).toBeLessThan(0);
      expect(frame(AT + 3, mm)).toBeLessThan(0);
    }
    expect([rig.platform.ram.refs(frame(AT)), rig.platform.ram.mappings(frame(AT))]).toEqual([2, 2]);
    expect(places(frame(AT))).toEqual([['p', 0], ['c', 0]]);
  });

  test('are copied by who writes first, with a CLEAR in that process, and then the other\'s own again', () => {
    rig.map(null, { npages: 1, at: AT });
    rig.touch(AT, 'w', 5);
    const child = fork();
    const shared = frame(AT);
    const [parent, own] = [listen(rig.mm, AT, 4096), listen(child, AT, 4096)];
    rig.touch(AT, 'w', 6, child);
    expect(own.heard()).toEqual(['CLEAR 0-1']);
    expect(places(frame(AT, child))).toEqual([['c', 0]]);
    rig.touch(AT, 'w', 7);
    expect(parent.heard()).toEqual([]);
    expect(frame(AT)).toBe(shared);
    expect(places(shared)).toEqual([['p', 0], ['c', 0]]);
    expect([rig.touch(AT, 'r'), rig.touch(AT, 'r', 0, child)]).toEqual([7, 6]);
  });

  test('of a parent that has exited are the child\'s, which then writes to them in place', () => {
    rig.map(null, { npages: 1, at: AT });
    rig.touch(AT, 'w', 5);
    const child = fork();
    const shared = frame(AT);
    rig.run(exitMm(rig.mm));
    rig.touch(AT, 'w', 6, child);
    expect(frame(AT, child)).toBe(shared);
    expect(places(shared)).toEqual([['c', 0]]);
  });

  test.each([['v6.1', false], ['v5.2', true]])('that somebody else holds are copied once they are one\'s own again (%s: written in place: %s)', async (profile, inPlace) => {
    const other = await makeMachine({ profile });
    other.map(null, { npages: 1, at: AT });
    other.touch(AT, 'w', 5);
    const shared = frame(AT, other.mm);
    other.run(exitMm(other.run(other.core.fork(other.mm, 'c'))));
    other.platform.ram.get(shared);
    other.touch(AT, 'w', 6);
    expect(frame(AT, other.mm) === shared).toBe(inPlace);
  });

  test('of 2 MiB stay huge on both sides', () => {
    rig.map(null, { npages: 512, at: AT });
    rig.mm.vmas.at(AT)!.flags |= VM_HUGEPAGE;
    rig.touch(AT, 'w');
    const child = fork();
    for (const mm of [rig.mm, child]) expect(rig.entry(AT, mm)).toMatchObject({ level: LEVEL_PMD });
    expect(rig.entry(AT, child).lo & PTE_RW).toBe(0);
    expect(frame(AT + 77, child)).toBe(frame(AT + 77));
    expect(rig.platform.ram.mappings(frame(AT))).toBe(2);
  });

  test('that are pinned stay the parent\'s, writable; the child gets copies at once', () => {
    rig.map(null, { npages: 2, at: AT });
    rig.touch(AT, 'w', 5);
    rig.touch(AT + 1, 'w', 6);
    const pinned = frame(AT);
    rig.platform.records.addPins(pinned, 1);
    const child = fork();
    rig.platform.records.addPins(pinned, -1);
    expect(frame(AT, rig.mm, ACCESS_WRITE)).toBe(pinned);
    expect(frame(AT, child, ACCESS_WRITE)).not.toBe(pinned);
    expect(rig.touch(AT, 'r', 0, child)).toBe(5);
    expect(frame(AT + 1, child)).toBe(frame(AT + 1));
    expect(places(frame(AT, child))).toEqual([['c', 0]]);
  });

  test('that are pinned as one of 2 MiB are split and copied each', () => {
    rig.map(null, { npages: 512, at: AT });
    rig.mm.vmas.at(AT)!.flags |= VM_HUGEPAGE;
    rig.touch(AT, 'w', 5);
    const head = frame(AT);
    rig.platform.records.addPins(head, 1);
    const { heard } = listen(rig.mm, AT, 4096);
    const child = fork();
    rig.platform.records.addPins(head, -1);
    expect(heard()).toEqual(['PROTECTION_PAGE 0-512', 'CLEAR 0-512']);
    expect(frame(AT + 511, rig.mm, ACCESS_WRITE)).toBe(head + 511);
    expect(frame(AT + 511, child, ACCESS_WRITE)).not.toBe(head + 511);
    expect(rig.touch(AT, 'r', 0, child)).toBe(5);
  });
});

describe('other mappings after fork', () => {
  test('shared and clean private ones have no entries and raise nothing', () => {
    const file = rig.file({ npages: 1024 });
    rig.map(file, { npages: 1024, at: AT });
    rig.map(file, { npages: 1024, at: AT + 2048, shared: false });
    rig.touch(AT, 'w');
    rig.touch(AT + 2048, 'r');
    const { heard } = listen(rig.mm, AT, 4096);
    const child = fork();
    expect(heard()).toEqual([]);
    expect(frame(AT, child)).toBeLessThan(0);
    expect(child.pageTable.frames).toBe(1);
    expect(rig.touch(AT, 'r', 0, child)).toBe(rig.touch(AT, 'r'));
  });

  test('private ones with copies take their 4K entries along, not their 2M ones', () => {
    const file = rig.file({ npages: 1024 });
    rig.map(file, { npages: 1024, at: AT, shared: false });
    rig.touch(AT, 'r');
    rig.touch(AT + 512, 'w', 9);
    rig.touch(AT + 513, 'r');
    const child = fork();
    expect(rig.entry(AT)).toMatchObject({ level: LEVEL_PMD });
    expect(frame(AT, child)).toBeLessThan(0);
    expect(frame(AT + 512, child)).toBe(frame(AT + 512));
    expect(frame(AT + 513, child)).toBe(frame(AT + 513));
  });

  test('DONTFORK ones are not there, WIPEONFORK ones are empty, locked ones are not locked', () => {
    for (const at of [0, 8, 16]) {
      rig.map(null, { npages: 4, at: AT + at });
      rig.touch(AT + at, 'w', 3);
    }
    const [dont, wipe, locked] = Array.from(rig.mm.vmas);
    dont!.flags |= VM_DONTCOPY;
    wipe!.flags |= VM_WIPEONFORK;
    locked!.flags |= VM_LOCKED;
    const child = fork();
    expect(Array.from(child.vmas, ({ start, flags }) => [start - AT, (flags & VM_LOCKED) !== 0])).toEqual([[8, false], [16, false]]);
    expect(rig.touch(AT + 8, 'r', 0, child)).toBe(0);
    expect(rig.touch(AT + 8, 'r')).toBe(3);
    expect(frame(AT + 8, rig.mm, ACCESS_WRITE)).toBeGreaterThan(0);
    expect(rig.touch(AT + 16, 'r', 0, child)).toBe(3);
  });

  test('a child\'s area with pages does not merge with one without', () => {
    rig.map(null, { npages: 4, at: AT });
    rig.touch(AT, 'w');
    const child = fork();
    rig.map(null, { npages: 4, at: AT + 4, mm: child });
    rig.map(null, { npages: 4, at: AT + 4 });
    expect([child.vmas.count, rig.mm.vmas.count]).toEqual([2, 1]);
  });

  test('a page on its way elsewhere becomes readable only on both sides', () => {
    rig.map(null, { npages: 2, at: AT });
    rig.touch(AT, 'w');
    const { lo, hi } = rig.entry(AT);
    const pfn = framePfn(lo, hi);
    rig.setPte(AT, swapLo(pfn), swapHi(SWP_MIGRATION_WRITE, pfn));
    const child = fork();
    for (const mm of [rig.mm, child]) expect(swapType(rig.entry(AT, mm).hi)).toBe(SWP_MIGRATION_READ);
    rig.setPte(AT, 0, 0, child);
    rig.setPte(AT, lo, hi);
  });
});

test('a fork for which there is no memory is ENOMEM and leaves no child', async () => {
  const small = await makeMachine({ ramPages: 64, arenaBytes: 16 * 2 ** 20 });
  small.map(null, { npages: 40, at: AT });
  for (let i = 0; i < 40; i++) small.touch(AT + i, 'w', i + 1);
  for (let i = 0; i < 40; i++) small.platform.records.addPins(small.mm.pageTable.translate(AT + i, ACCESS_READ), 1);
  let code: unknown = null;
  try {
    small.run(small.core.fork(small.mm, 'c'));
  } catch (error) {
    code = HmmError.is(error) ? error.code : error;
  }
  expect(code).toBe('ENOMEM');
  expect(small.core.mms.map((mm) => mm.alive)).toEqual([true]);
  expect(small.platform.ram.freePages).toBe(64 - 40);
  expect(small.touch(AT + 39, 'r')).toBe(40);
  small.run(mprotect(small.mm, AT, 40, VM_READ));
});
