import { afterEach, expect, test } from 'vitest';
import { FILE_PAGES_MAX } from '../../../dist/fs/index.js';
import { openCachedFile, type FileCalls } from '../../../dist/mm/index.js';
import { checkPgmaps, makeMachine } from '../../support/rig.ts';

afterEach(checkPgmaps);

test('files that share blocks in the page cache go their own ways at the first write, on the device too', async () => {
  const rig = await makeMachine();
  const fs = rig.core.newFileSystem('xfs', 8192, 'xfs', false);
  const [f, g] = [fs.create('f'), fs.create('g')];
  const open = (inode: typeof f, direct: boolean): FileCalls => openCachedFile(inode, { writable: true, direct }).calls as FileCalls;
  const [cf, cg] = [open(f, false), open(g, false)];
  rig.run(cf.write(0, new Uint8Array(8 * 4096).fill(1)));
  rig.run(cg.write(0, new Uint8Array(8 * 4096).fill(9)));
  const a = rig.map(openCachedFile(g, { writable: true, direct: false }), { npages: 8 });
  rig.touch(a + 1, 'w', 8);
  rig.run((cg.clone as NonNullable<FileCalls['clone']>)(f, 0, 0, 0));
  expect(rig.touch(a + 1, 'r'), 'what was mapped is gone').toBe(1);
  rig.touch(a + 2, 'w', 7);
  rig.run(cf.write(5 * 4096, new Uint8Array(4096).fill(3)));
  for (const calls of [cf, cg]) rig.run(calls.sync(0, FILE_PAGES_MAX));
  const firsts = (calls: FileCalls): number[] => {
    const bytes = new Uint8Array(8 * 4096);
    rig.run(calls.read(0, bytes));
    return Array.from({ length: 8 }, (_, page) => bytes[page * 4096] as number);
  };
  for (const direct of [false, true]) {
    expect(firsts(open(f, direct))).toEqual([1, 1, 1, 1, 1, 3, 1, 1]);
    expect(firsts(open(g, direct))).toEqual([1, 1, 7, 1, 1, 1, 1, 1]);
  }
});
