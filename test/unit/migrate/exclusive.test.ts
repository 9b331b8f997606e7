import { afterEach, describe, expect, it } from 'vitest';
import { useExclusive, type ExclusiveUse } from '../../../dist/dmirror/index.js';
import { VM_READ, VM_WRITE, mprotect, munmap } from '../../../dist/mm/index.js';
import { SWP_EXCLUSIVE_READ, SWP_EXCLUSIVE_WRITE, swapType } from '../../../dist/pgtable/index.js';
import { checkPgmaps, makeMachine, type Rig } from '../../support/rig.ts';

afterEach(checkPgmaps);

interface Setup {
  readonly rig: Rig;
  readonly a: number;
  take(start?: number, npages?: number): ExclusiveUse;
}

/** Four pages, of which the first two have been written to (page i holds i + 1). Who takes one writes 9 to its first byte. */
async function fourPages(): Promise<Setup> {
  const rig = await makeMachine({ profile: 'v6.12' });
  const memory = rig.core.newDeviceMemory('gpu', 'private', 64);
  const a = rig.map(null, { npages: 4 });
  for (let i = 0; i < 2; i++) rig.touch(a + i, 'w', i + 1);
  const nine = Uint8Array.of(9);
  const use = (pfn: number): void => void rig.platform.arena.content.write(pfn * 4096, nine, 0, 1);
  return { rig, a, take: (start = a, npages = 4) => rig.run(useExclusive(memory, rig.mm, start, npages, use)) };
}

describe('device exclusive access', () => {
  it('is granted for written pages and holes, and the CPU takes each back with what the device wrote', async () => {
    const { rig, a, take } = await fourPages();
    expect(take()).toEqual({ error: null, count: 4, granted: [true, true, true, true] });
    expect(swapType(rig.entry(a + 3).hi)).toBe(SWP_EXCLUSIVE_WRITE);
    expect([rig.touch(a, 'r'), rig.touch(a + 3, 'r')]).toEqual([9, 9]);
    expect([rig.entry(a).lo % 2, swapType(rig.entry(a + 1).hi)]).toEqual([1, SWP_EXCLUSIVE_WRITE]);
  });

  it('keeps the page and its reference: unmapping drops both', async () => {
    const { rig, take, a } = await fourPages();
    const before = rig.platform.ram.freePages;
    rig.touch(a + 2, 'w');
    rig.touch(a + 3, 'w');
    take();

    rig.run(munmap(rig.mm, a, 4));
    expect(rig.platform.ram.freePages).toBe(before + 2);
  });

  it('is EFAULT where the area is read only, and short where a later one is', async () => {
    const { rig, a, take } = await fourPages();
    rig.run(mprotect(rig.mm, a + 2, 2, VM_READ));
    expect(take(a + 2, 1)).toEqual({ error: 'EFAULT', count: 0, granted: [false] });
    expect(take()).toEqual({ error: null, count: 2, granted: [true, true, false, false] });
  });

  it('survives a change of rights, read only', async () => {
    const { rig, a, take } = await fourPages();
    take();
    rig.run(mprotect(rig.mm, a, 4, VM_READ));
    rig.run(mprotect(rig.mm, a, 4, VM_READ | VM_WRITE));
    expect(swapType(rig.entry(a).hi)).toBe(SWP_EXCLUSIVE_READ);
    rig.touch(a, 'w', 3);
    expect(rig.touch(a, 'r')).toBe(3);
  });

  it('is given back to both sides by fork, also where the area is inaccessible by then', async () => {
    const { rig, a, take } = await fourPages();
    take();
    rig.run(mprotect(rig.mm, a, 2, 0));
    const child = rig.run(rig.core.fork(rig.mm, 'child'));
    rig.run(mprotect(child, a, 2, VM_READ));
    expect([rig.touch(a, 'r', 0, child), rig.touch(a + 2, 'r', 0, child)]).toEqual([9, 9]);
    rig.run(mprotect(rig.mm, a, 2, VM_READ));
    expect(rig.touch(a + 1, 'r')).toBe(9);
  });
});
