import { beforeEach, describe, expect, test } from 'vitest';
import { VM_READ, VM_WRITE, VM_EXEC, anonMappings, mprotect, munmap } from '../../../dist/mm/index.js';
import { ACCESS_READ } from '../../../dist/abi.js';
import { makeMachine, type Rig } from '../../support/rig.ts';

const RW = VM_READ | VM_WRITE;
const AT = 0x10_0000;

let rig: Rig;

beforeEach(async () => {
  rig = await makeMachine();
});

function pfnAt(vpn: number, mm = rig.mm): number {
  return mm.pageTable.translate(vpn, ACCESS_READ);
}

/** Where the page behind `vpn` may be mapped, as [process, page] */
function places(pfn: number): [string, number][] {
  return anonMappings(rig.platform, pfn).map(({ vma, vpn }) => [vma.mm.name, vpn]);
}

function bounds(): [number, number][] {
  return Array.from(rig.mm.vmas, ({ start, end }) => [start - AT, end - AT]);
}

describe('from an anonymous page to its areas', () => {
  test('leads to the area that made it, also when that has been cut since', () => {
    rig.map(null, { npages: 8, at: AT });
    for (let i = 0; i < 8; i++) rig.touch(AT + i, 'w');
    expect(places(pfnAt(AT + 5))).toEqual([['p', AT + 5]]);
    rig.run(mprotect(rig.mm, AT + 4, 2, VM_READ));
    rig.run(munmap(rig.mm, AT, 2));
    for (const i of [2, 4, 7]) expect(places(pfnAt(AT + i))).toEqual([['p', AT + i]]);
  });

  test('leads there still when what was cut is one again', () => {
    rig.map(null, { npages: 8, at: AT });
    rig.touch(AT + 1, 'w');
    rig.run(mprotect(rig.mm, AT, 4, RW | VM_EXEC));
    rig.run(mprotect(rig.mm, AT, 4, RW));
    expect(bounds()).toEqual([[0, 8]]);
    expect(places(pfnAt(AT + 1))).toEqual([['p', AT + 1]]);
  });

  test('is gone with the last area', () => {
    rig.map(null, { npages: 8, at: AT });
    rig.touch(AT, 'w');
    rig.run(mprotect(rig.mm, AT + 4, 2, VM_READ));
    expect(rig.platform.anonVmas.count).toBe(1);
    rig.run(munmap(rig.mm, AT, 8));
    expect(rig.platform.anonVmas.count).toBe(0);
  });

  test('a page of a file has none', () => {
    const file = rig.file({ npages: 4 });
    rig.map(file, { npages: 4, at: AT });
    rig.touch(AT, 'w');
    expect(places(pfnAt(AT))).toEqual([]);
  });
});

describe('areas of which only one has pages', () => {
  test('become one where the one without is changed', () => {
    rig.map(null, { npages: 12, at: AT });
    rig.run(mprotect(rig.mm, AT + 4, 4, RW | VM_EXEC));
    rig.touch(AT, 'w');
    rig.run(mprotect(rig.mm, AT + 4, 4, RW));
    expect(bounds()).toEqual([[0, 12]]);
  });

  test('stay two where the one with pages is', () => {
    rig.map(null, { npages: 12, at: AT });
    rig.run(mprotect(rig.mm, AT + 4, 4, RW | VM_EXEC));
    rig.touch(AT + 4, 'w');
    rig.run(mprotect(rig.mm, AT + 4, 4, RW));
    expect(bounds()).toEqual([[0, 4], [4, 8], [8, 12]]);
  });
});
