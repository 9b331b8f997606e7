/** Whom a block's page says it belongs to, where files share blocks. */
import { describe, expect, test } from 'vitest';
import { daxClone, daxPunch, isTied } from '../../../dist/dax/index.js';
import { KernelCrash } from '../../../dist/errno.js';
import type { Inode } from '../../../dist/fs/index.js';
import { madviseInject } from '../../../dist/mm/index.js';
import { makeMachine, type Rig } from '../../support/rig.ts';

async function twoFiles(profile = 'v6.1', touchFirst = false): Promise<{ rig: Rig; f: Inode; g: Inode; a: number; b: number }> {
  const rig = await makeMachine({ profile });
  const fs = rig.fileSystem(8192, 'xfs');
  const f = rig.file({ npages: 4, fs });
  const g = rig.file({ npages: 4, fs, hole: true });
  const a = rig.map(f, { npages: 4 });
  const b = rig.map(g, { npages: 4 });
  if (touchFirst) rig.touch(a, 'r');
  rig.run(daxClone(f, g, { from: 0, length: 0, to: 0 }));
  return { rig, f, g, a, b };
}

const poison = (rig: Rig, vpn: number): string | number => {
  const { err, signal } = rig.run(madviseInject(rig.mm, vpn, 1, 'hwpoison'));
  return err ?? (signal?.vpn as number);
};

describe('6.1 ties a page to the file that read it last', () => {
  test('so poison found in one mapping is told in the other', async () => {
    const { rig, a, b } = await twoFiles();
    rig.touch(a, 'r');
    rig.touch(b, 'r');
    expect(poison(rig, a)).toBe(b);
    expect(rig.mm.pageTable.look(a)).toBe(true);
    expect(rig.mm.pageTable.look(b)).toBe(false);
  });

  test('also where the other had it before they shared it', async () => {
    const { rig, a, b } = await twoFiles('v6.1', true);
    rig.touch(b, 'r');
    rig.touch(a, 'r');
    expect(poison(rig, a)).toBe(b);
  });

  test('and to nobody when one lets go: poison is refused', async () => {
    const { rig, f, g, a, b } = await twoFiles();
    rig.touch(a, 'r');
    rig.touch(b, 'r');
    const pfn = f.extents.next(0)?.pfn as number;
    expect(isTied(f.fs, pfn)).toBe(true);
    rig.run(daxPunch(g, 0, 4096));
    expect(isTied(f.fs, pfn)).toBe(false);
    rig.touch(a, 'r');
    expect(poison(rig, a)).toBe('EBUSY');
  });

  test('a write that copies marks the new page shared, which poison trips over', async () => {
    const { rig, a } = await twoFiles();
    rig.touch(a, 'w');
    expect(() => poison(rig, a)).toThrow(KernelCrash);
  });
});

test('6.12 marks a page shared on a read too', async () => {
  const { rig, a } = await twoFiles('v6.12');
  rig.touch(a, 'r');
  expect(() => poison(rig, a)).toThrow(KernelCrash);
});

test('of files that share nothing nothing is kept', async () => {
  const rig = await makeMachine();
  const f = rig.file({ npages: 4 });
  rig.touch(rig.map(f, { npages: 4 }), 'r');
  expect(isTied(f.fs, f.extents.next(0)?.pfn as number)).toBeNull();
});
