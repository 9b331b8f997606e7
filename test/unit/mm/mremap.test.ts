import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ACCESS_READ, ACCESS_WRITE, LEVEL_PMD, LEVEL_PTE, LEVEL_PUD } from '../../../dist/abi.js';
import { HmmError, KernelCrash } from '../../../dist/errno.js';
import {
  MAX_MAP_COUNT, VM_DONTEXPAND, VM_HUGEPAGE, VM_LOCKED, VM_READ, VM_WRITE, anonMappings, exitMm, mmap, mprotect, mremap, munmap, type MremapRequest,
} from '../../../dist/mm/index.js';
import { listen } from '../../support/listener.ts';
import { checkPgmaps, makeMachine, type Rig } from '../../support/rig.ts';

const AT = 2 ** 20;
const TO = AT + 2 ** 18;
const RW = VM_READ | VM_WRITE;

let rig: Rig;
let free: number;

beforeEach(async () => {
  await use('v6.1');
});
afterEach(() => {
  if (rig.mm.alive) rig.run(exitMm(rig.mm));
  expect(rig.platform.ram.freePages, 'pages of RAM are all back').toBe(free);
  expect(rig.platform.anonVmas.count).toBe(0);
  checkPgmaps();
});

async function use(profile: string): Promise<void> {
  rig = await makeMachine({ profile });
  free = rig.platform.ram.freePages;
}

/** Moves to `to`, or resizes where it is. */
function remap(start: number, oldPages: number, newPages: number, options: Partial<MremapRequest> = {}): number {
  return rig.run(mremap(rig.mm, { start, oldPages, newPages, mayMove: true, to: null, dontunmap: false, ...options }));
}

function refusal(body: () => unknown): string {
  try {
    body();
  } catch (error) {
    return HmmError.is(error) ? error.code : (error as Error).name;
  }
  return 'none';
}

function frame(vpn: number, access = ACCESS_READ): number {
  return rig.mm.pageTable.translate(vpn, access);
}

/** Areas as 'start+npages', relative to AT. */
function layout(): string[] {
  return Array.from(rig.mm.vmas, ({ start, npages }) => `${start - AT}+${npages}`);
}

function anon(npages: number, at = AT): void {
  rig.map(null, { npages, at });
}

function huge(at = AT): void {
  rig.mm.vmas.at(at)!.flags |= VM_HUGEPAGE;
}

describe('moving', () => {
  test('takes pages, rights and contents along, under UNMAP of the old range, twice; the new one is told of nothing', () => {
    anon(8);
    for (let i = 0; i < 8; i++) rig.touch(AT + i, 'w', i + 1);
    const frames = [2, 3].map((i) => frame(AT + i));
    const [old, fresh] = [listen(rig.mm, AT, 8), listen(rig.mm, TO, 8)];
    expect(remap(AT + 2, 2, 2, { to: TO })).toBe(TO);
    expect(old.heard()).toEqual(['UNMAP 2-4', 'UNMAP 2-4']);
    expect(fresh.heard()).toEqual([]);
    expect([0, 1].map((i) => frame(TO + i, ACCESS_WRITE))).toEqual(frames);
    expect(layout()).toEqual(['0+2', '4+4', '262144+2']);
    expect(rig.touch(TO, 'r')).toBe(3);
    expect(anonMappings(rig.platform, frame(TO)).map(({ vpn }) => vpn)).toEqual([TO]);
  });

  test('moves whole page tables where both places are on their boundary', () => {
    anon(1024);
    rig.touch(AT + 512, 'w', 7);
    const tables = rig.mm.pageTable.frames;
    remap(AT + 512, 512, 512, { to: AT + 4096 });
    expect(rig.mm.pageTable.frames).toBe(tables);
    expect(rig.touch(AT + 4096, 'r')).toBe(7);
  });

  test('moves a GiB by its table', () => {
    const start = 2 ** 21;
    const GIB = 2 ** 18;
    rig.map(null, { npages: GIB, at: start });
    for (const i of [0, 5000, GIB - 1]) rig.touch(start + i, 'w', 5);
    const tables = rig.mm.pageTable.frames;
    remap(start, GIB, GIB, { to: start + 2 * GIB });
    expect(rig.mm.pageTable.frames).toBe(tables);
    expect([0, 5000, GIB - 1].map((i) => rig.touch(start + 2 * GIB + i, 'r'))).toEqual([5, 5, 5]);
  });

  test('keeps huge leaves huge where they stay aligned, of memory and of files', () => {
    anon(512);
    huge();
    rig.touch(AT, 'w');
    const file = rig.file({ npages: 512 });
    rig.map(file, { npages: 512, at: AT + 1024 });
    rig.touch(AT + 1024, 'w');
    remap(AT, 512, 512, { to: TO });
    remap(AT + 1024, 512, 512, { to: TO + 1024 });
    expect([rig.entry(TO).level, rig.entry(TO + 1024).level]).toEqual([LEVEL_PMD, LEVEL_PMD]);
  });

  test('splits huge memory that does not, and drops huge leaves of files; with a CLEAR', () => {
    anon(512);
    huge();
    rig.touch(AT, 'w', 5);
    const file = rig.file({ npages: 512 });
    rig.map(file, { npages: 512, at: AT + 1024 });
    rig.touch(AT + 1024, 'w', 6);
    const head = frame(AT);
    const { heard } = listen(rig.mm, AT, 2048);
    remap(AT, 512, 512, { to: TO + 1 });
    expect(heard()).toEqual(['UNMAP 0-512', 'CLEAR 0-512', 'UNMAP 0-512']);
    remap(AT + 1024, 512, 512, { to: TO + 1025 });
    expect(heard()).toEqual(['UNMAP 1024-1536', 'CLEAR 1024-1536', 'UNMAP 1024-1536']);
    expect([frame(TO + 1), frame(TO + 512), rig.entry(TO + 1).level]).toEqual([head, head + 511, LEVEL_PTE]);
    expect(frame(TO + 1025)).toBeLessThan(0);
    expect(rig.touch(TO + 1025, 'r')).toBe(6);
  });

  test('loses a 1G leaf', () => {
    const GIB = 2 ** 18;
    const device = rig.daxDevice(GIB, LEVEL_PUD);
    rig.map(device, { npages: GIB, at: 4 * GIB });
    rig.touch(4 * GIB, 'w');
    remap(4 * GIB, GIB, GIB, { to: 6 * GIB });
    expect(frame(6 * GIB)).toBeLessThan(0);
    expect(rig.touch(6 * GIB, 'r')).toBe(1);
    expect(rig.entry(6 * GIB).level).toBe(LEVEL_PUD);
  });

  test('replaces what is at the new place, and shortens the old range first', () => {
    anon(8);
    anon(8, TO);
    for (let i = 0; i < 8; i++) rig.touch(AT + i, 'w', i + 1);
    rig.touch(TO + 1, 'w', 99);
    const { heard } = listen(rig.mm, AT, 2 ** 19);
    remap(AT, 8, 4, { to: TO });
    expect(heard()).toEqual(['UNMAP 262144-262148', 'UNMAP 4-8', 'UNMAP 0-4', 'UNMAP 0-4']);
    expect(layout()).toEqual(['262144+4', '262148+4']);
    expect(rig.touch(TO + 1, 'r')).toBe(2);
  });

  test('of pages that are not there yet may make one area with a neighbour of the new place, with pages it does not', () => {
    anon(4);
    anon(4, TO);
    remap(AT, 4, 4, { to: TO + 4 });
    expect(layout()).toEqual(['262144+8']);
    anon(4);
    rig.touch(AT, 'w');
    remap(AT, 4, 4, { to: TO + 8 });
    expect(layout()).toEqual(['262144+8', '262152+4']);
  });

  test('next to its own old place leaves what the old range was', () => {
    anon(8);
    remap(AT + 4, 4, 4, { to: AT + 8 });
    expect(layout()).toEqual(['0+4', '8+4']);
  });

  test('of length 0 maps what is shared a second time, and is refused for what is private', () => {
    rig.map(null, { npages: 4, at: AT, shared: true });
    rig.touch(AT, 'w', 5);
    const { heard } = listen(rig.mm, AT, 4);
    remap(AT, 0, 4, { to: TO });
    expect(heard()).toEqual([]);
    expect(rig.touch(TO, 'r')).toBe(5);
    expect(layout()).toEqual(['0+4', '262144+4']);
    anon(4, AT + 64);
    expect(refusal(() => remap(AT + 64, 0, 4, { to: TO + 64 }))).toBe('EINVAL');
  });
});

describe('MREMAP_DONTUNMAP', () => {
  test('leaves the old area, empty and not locked; UNMAP is raised once', () => {
    anon(4);
    rig.touch(AT, 'w', 5);
    rig.mm.vmas.at(AT)!.flags |= VM_LOCKED;
    const { heard } = listen(rig.mm, AT, 4);
    remap(AT, 4, 4, { to: TO, dontunmap: true });
    expect(heard()).toEqual(['UNMAP 0-4']);
    expect(layout()).toEqual(['0+4', '262144+4']);
    expect([AT, TO].map((vpn) => rig.mm.vmas.at(vpn)!.flags & VM_LOCKED)).toEqual([0, VM_LOCKED]);
    expect([rig.touch(AT, 'r'), rig.touch(TO, 'r')]).toEqual([0, 5]);
    rig.run(munmap(rig.mm, TO, 4));
    rig.touch(AT, 'w');
    expect(anonMappings(rig.platform, frame(AT)).map(({ vpn }) => vpn)).toEqual([AT]);
  });

  test('changes no length, moves, and is not known to every kernel', async () => {
    anon(8);
    expect(refusal(() => remap(AT, 4, 8, { to: TO, dontunmap: true }))).toBe('EINVAL');
    expect(refusal(() => remap(AT, 4, 4, { dontunmap: true, mayMove: false }))).toBe('EINVAL');
    rig.mm.vmas.at(AT)!.flags |= VM_DONTEXPAND;
    expect(refusal(() => remap(AT, 4, 4, { to: TO, dontunmap: true }))).toBe('EINVAL');
    await use('v5.2');
    anon(8);
    expect(refusal(() => remap(AT, 4, 4, { to: TO, dontunmap: true }))).toBe('EINVAL');
  });

  test('without a place takes one', () => {
    anon(8);
    rig.touch(AT, 'w', 5);
    const at = remap(AT, 8, 8, { dontunmap: true });
    expect(at).not.toBe(AT);
    expect(rig.touch(at, 'r')).toBe(5);
  });
});

describe('in place', () => {
  test('grows where there is room, and meets the next area', () => {
    anon(4);
    anon(4, AT + 8);
    expect(remap(AT, 4, 6, { mayMove: false })).toBe(AT);
    expect(layout()).toEqual(['0+6', '8+4']);
    expect(refusal(() => remap(AT, 6, 9, { mayMove: false }))).toBe('ENOMEM');
    expect(refusal(() => remap(AT, 4, 7, { mayMove: false }))).toBe('ENOMEM');
    remap(AT, 6, 8, { mayMove: false });
    expect(layout()).toEqual(['0+12']);
  });

  test('faults in what a locked area gains', () => {
    anon(4);
    rig.mm.vmas.at(AT)!.flags |= VM_LOCKED;
    remap(AT, 4, 8);
    expect([frame(AT + 3), frame(AT + 4), frame(AT + 7)].map((pfn) => pfn > 0)).toEqual([false, true, true]);
    remap(AT, 8, 12, { to: TO });
    expect([frame(TO + 3), frame(TO + 4), frame(TO + 11)].map((pfn) => pfn > 0)).toEqual([false, true, true]);
  });

  test('shrinks, which is to unmap the end', () => {
    anon(8);
    for (let i = 0; i < 8; i++) rig.touch(AT + i, 'w');
    const { heard } = listen(rig.mm, AT, 8);
    expect(remap(AT, 8, 3, { mayMove: false })).toBe(AT);
    expect(heard()).toEqual(['UNMAP 3-8']);
    expect(layout()).toEqual(['0+3']);
    expect(remap(AT, 3, 3, { mayMove: false })).toBe(AT);
    expect(heard()).toEqual([]);
  });

  test('moves where it cannot grow, if it may', () => {
    anon(4);
    anon(4, AT + 4 + 2);
    rig.touch(AT, 'w', 5);
    const at = remap(AT, 4, 16);
    expect(at).not.toBe(AT);
    expect(rig.touch(at, 'r')).toBe(5);
    expect(rig.mm.vmas.at(at)!.npages).toBe(16);
  });
});

describe('what is refused', () => {
  test('gaps and several areas EFAULT, odd wishes EINVAL; nothing has changed', () => {
    anon(8);
    rig.run(mprotect(rig.mm, AT + 4, 4, VM_READ));
    const before = layout();
    expect(refusal(() => remap(AT + 100, 1, 1, { to: TO }))).toBe('EFAULT');
    expect(refusal(() => remap(AT + 100, 1, 2))).toBe('EFAULT');
    expect(refusal(() => remap(AT + 2, 4, 4, { to: TO }))).toBe('EFAULT');
    expect(refusal(() => remap(AT, 4, 0, { to: TO }))).toBe('EINVAL');
    expect(refusal(() => remap(AT, 4, 4, { to: TO, mayMove: false }))).toBe('EINVAL');
    expect(refusal(() => remap(AT, 4, 4, { to: AT + 2 }))).toBe('EINVAL');
    expect(refusal(() => remap(AT, 4, 4, { to: rig.mm.taskEndVpn - 2 }))).toBe('EINVAL');
    rig.mm.vmas.at(AT)!.flags |= VM_DONTEXPAND;
    expect(refusal(() => remap(AT, 4, 6, { to: TO }))).toBe('EFAULT');
    expect(layout()).toEqual(before);
  });

  test('a cut that the driver forbids', async () => {
    const device = rig.daxDevice(2048, LEVEL_PMD);
    rig.map(device, { npages: 2048, at: AT });
    rig.touch(AT, 'w');
    expect(refusal(() => remap(AT + 1, 512, 512, { to: TO }))).toBe('EINVAL');
    expect(refusal(() => remap(AT, 1, 1, { to: TO }))).toBe('EINVAL');
    expect(layout()).toEqual(['0+2048']);
  });

  test('a kernel that does not ask the driver leaves the old area where it was, empty', async () => {
    await use('v5.2');
    rig.map(rig.daxDevice(2048, LEVEL_PMD), { npages: 2048, at: AT });
    remap(AT, 1, 1, { to: TO });
    expect(layout()).toEqual(['0+2048', '262144+1']);
  });

  test('one area too many', () => {
    anon(8);
    for (let i = 0; i < MAX_MAP_COUNT - 5; i++) rig.run(mmap(rig.mm, { npages: 1, prot: RW, shared: false, file: null, pgoff: 0, start: TO + 2 * i, fixed: 'noreplace', sync: false, vmFlags: 0 }));
    expect(rig.mm.vmas.count).toBe(MAX_MAP_COUNT - 4);
    expect(refusal(() => remap(AT, 8, 8, { to: 2 ** 30 }))).toBe('ENOMEM');
    rig.run(munmap(rig.mm, TO, 2));
    expect(refusal(() => remap(AT, 8, 8, { to: 2 ** 30 }))).toBe('ENOMEM');
    rig.run(munmap(rig.mm, TO + 2, 2));
    expect(refusal(() => remap(AT, 8, 8, { to: 2 ** 30 }))).toBe('none');
  });
});

describe('kernels', () => {
  test('5.2 takes a 2M device entry that does not stay whole for a page table: it crashes', async () => {
    await use('v5.2');
    const file = rig.file({ npages: 1024 });
    rig.map(file, { npages: 1024, at: AT });
    rig.touch(AT, 'w', 5);
    rig.touch(AT + 512, 'w', 6);
    remap(AT, 512, 512, { to: TO });
    expect([rig.entry(TO).level, rig.touch(TO, 'r')]).toEqual([LEVEL_PMD, 5]);
    expect(() => remap(TO, 512, 512, { to: TO + 4097 })).toThrow(KernelCrash);
  });

  test('5.2 raises UNMAP over nothing where nothing moves: only classic listeners hear of it', async () => {
    await use('v5.2');
    rig.map(null, { npages: 4, at: AT, shared: true });
    const log: string[] = [];
    rig.mm.notifiers.register({
      name: 'log',
      *start({ event, start, end }) {
        log.push(`${event} ${start - AT}-${end - AT}`);
        return true;
      },
    });
    const { heard } = listen(rig.mm, AT, 4);
    remap(AT, 0, 4, { to: TO });
    expect([log, heard()]).toEqual([['UNMAP 0-0'], []]);
  });

  test.each([['v6.1', 'UNMAP 16-1024', 2], ['v6.12', 'UNMAP 0-1024', 1]])('%s: alike within 2M, from the start of its area: %s', async (profile, event, tablesMade) => {
    await use(profile);
    anon(1008, AT + 16);
    for (const i of [16, 700]) rig.touch(AT + i, 'w', 5);
    const tables = rig.mm.pageTable.frames;
    const { heard } = listen(rig.mm, AT, 1024);
    remap(AT + 16, 1008, 1008, { to: TO + 16, dontunmap: true });
    expect(heard()).toEqual([event]);
    expect(rig.mm.pageTable.frames - tables).toBe(tablesMade);
    expect([16, 700].map((i) => rig.touch(TO + i, 'r'))).toEqual([5, 5]);
  });
});
