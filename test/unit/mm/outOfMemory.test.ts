import { createHash } from 'node:crypto';
import { afterEach, describe, expect, test } from 'vitest';
import { HDR_FAIL_AFTER } from '../../../dist/abi.js';
import { daxAllocate, daxPunch, daxRead, daxTruncate, daxWrite, daxZeroRange } from '../../../dist/dax/index.js';
import { HmmError, type ErrnoCode } from '../../../dist/errno.js';
import type { Inode } from '../../../dist/fs/index.js';
import { accessPage, exitMm, madviseDontneed, mprotect, mremap, munmap } from '../../../dist/mm/index.js';
import { checkPgmaps, makeMachine, type Rig } from '../../support/rig.ts';
import { fileState, leavesOf, stateOf } from '../../support/roomState.ts';

afterEach(checkPgmaps);

interface Scene {
  readonly inode: Inode;
  readonly start: number;
}

/** An operation that allocates. `prepare` is not interfered with, `act` is. */
interface Case {
  readonly name: string;
  readonly profile?: string;
  prepare(rig: Rig): Scene;
  act(rig: Rig, scene: Scene): void;
  /** what must not have changed (default: everything) */
  readonly unchanged?: (rig: Rig, scene: Scene) => unknown;
  readonly alsoFails?: ErrnoCode;
  /** calls of an allocator that this operation takes at least */
  readonly allocations: number;
}

const GIB = 262144;
const file = (rig: Rig, npages: number, extentPages: 1 | 512 | 262144, hole = false): Scene => {
  const fs = rig.fileSystem(extentPages === GIB ? 3 * GIB : 65536);
  const inode = fs.create('f', extentPages);
  if (hole) fs.setSize(inode, npages * 4096);
  else {
    fs.allocateWritten(inode, 0, npages);
    fs.setSize(inode, npages * 4096);
  }
  return { inode, start: rig.map(inode, { npages }) };
};
const privateFile = (rig: Rig, hole: boolean): Scene => {
  const { inode } = file(rig, 1024, 512, hole);
  return { inode, start: rig.map(inode, { npages: 1024, shared: false }) };
};
const written = (rig: Rig, scene: Scene): Scene => {
  rig.run(daxWrite(scene.inode, 0, new Uint8Array(8192).fill(7)));
  return scene;
};
const anonymous = (rig: Rig): Scene => ({ inode: rig.file({ npages: 1 }), start: rig.map(null, { npages: 4 }) });
const touched = (rig: Rig, scene: Scene, how: 'r' | 'w', pages = 1): Scene => {
  for (let i = 0; i < pages; i++) rig.touch(scene.start + i, how);
  return scene;
};

/** The fault that an access takes, without the access: bytes are another allocation. */
const access = (rig: Rig, vpn: number, write: boolean): void => void rig.run(accessPage(rig.mm, vpn, write, 'access'));

/** Where what was faulted in on the way stays, as in a kernel. */
const lessLeaves = (rig: Rig, { inode }: Scene): object => ({ size: inode.size, extents: [...inode.extents], ramFree: rig.platform.ram.freePages });

const CASES: readonly Case[] = [
  { name: 'read fault of a 4K page', prepare: (rig) => file(rig, 8, 1), act: (rig, { start }) => access(rig, start, false), allocations: 3 },
  { name: 'write fault of a 4K page', prepare: (rig) => file(rig, 8, 1), act: (rig, { start }) => access(rig, start, true), allocations: 3 },
  { name: 'write fault of a 2M page', prepare: (rig) => file(rig, 1024, 512), act: (rig, { start }) => access(rig, start, true), allocations: 2 },
  { name: 'write fault of a 1G page', profile: 'lab', prepare: (rig) => file(rig, GIB, GIB), act: (rig, { start }) => access(rig, start, true), allocations: 1 },
  { name: 'read fault of a hole', prepare: (rig) => file(rig, 8, 1, true), act: (rig, { start }) => access(rig, start, false), allocations: 3 },
  { name: 'read fault of a 2M hole', prepare: (rig) => file(rig, 512, 512, true), act: (rig, { start }) => access(rig, start, false), allocations: 2 },
  { name: 'write fault of a hole', prepare: (rig) => file(rig, 8, 1, true), act: (rig, { start }) => access(rig, start, true), allocations: 3 },
  { name: 'write over the zero page', prepare: (rig) => touched(rig, file(rig, 8, 1, true), 'r'), act: (rig, { start }) => access(rig, start, true), allocations: 0 },
  { name: 'anonymous read', prepare: anonymous, act: (rig, { start }) => access(rig, start, false), allocations: 3 },
  { name: 'anonymous write', prepare: anonymous, act: (rig, { start }) => access(rig, start, true), allocations: 4 },
  { name: 'anonymous write over the zero page', prepare: (rig) => touched(rig, anonymous(rig), 'r'), act: (rig, { start }) => access(rig, start, true), allocations: 1 },
  { name: 'private write', prepare: (rig) => written(rig, privateFile(rig, false)), act: (rig, { start }) => access(rig, start, true), allocations: 6 },
  {
    name: 'private write after a read', prepare: (rig) => touched(rig, privateFile(rig, true), 'r', 2), act: (rig, { start }) => access(rig, start, true), allocations: 2,
    // The 2M page of zeroes is taken apart before the copy is allocated, as in a kernel.
    unchanged: lessLeaves,
  },
  { name: 'store to a mapped page', prepare: (rig) => touched(rig, file(rig, 8, 1), 'r'), act: (rig, { start }) => void rig.touch(start, 'w', 9), allocations: 2, unchanged: lessLeaves },
  {
    name: 'write(2) into new blocks', prepare: (rig) => file(rig, 64, 1, true), allocations: 4,
    act: (rig, { inode }) => rig.run(daxWrite(inode, 4096 * 3 + 5, new Uint8Array(9000).fill(3))),
  },
  { name: 'write(2) beyond the end', prepare: (rig) => written(rig, file(rig, 64, 1)), act: (rig, { inode }) => rig.run(daxWrite(inode, 4096 * 70, new Uint8Array(70000).fill(3))), allocations: 1 },
  { name: 'fallocate', prepare: (rig) => file(rig, 64, 1, true), act: (rig, { inode }) => rig.run(daxAllocate(inode, 0, 64 * 4096, false)), allocations: 0 },
  { name: 'punch', prepare: (rig) => touched(rig, file(rig, 1024, 512), 'w'), act: (rig, { inode }) => rig.run(daxPunch(inode, 4096, 70000)), allocations: 0 },
  { name: 'zero range', prepare: (rig) => touched(rig, file(rig, 1024, 512), 'w'), act: (rig, { inode }) => rig.run(daxZeroRange(inode, 4096, 70000, true)), allocations: 0 },
  { name: 'truncate', prepare: (rig) => touched(rig, privateFile(rig, false), 'w'), act: (rig, { inode }) => rig.run(daxTruncate(inode, 5000)), allocations: 0 },
  { name: 'mprotect of a part', prepare: (rig) => touched(rig, file(rig, 1024, 512), 'w'), act: (rig, { start }) => rig.run(mprotect(rig.mm, start + 3, 5, 1)), allocations: 0 },
  { name: 'munmap of a part', prepare: (rig) => touched(rig, privateFile(rig, false), 'w'), act: (rig, { start }) => rig.run(munmap(rig.mm, start, 3)), allocations: 0 },
  { name: 'madvise', prepare: (rig) => touched(rig, anonymous(rig), 'w', 4), act: (rig, { start }) => rig.run(madviseDontneed(rig.mm, start, 4)), allocations: 0 },
  { name: 'exit', prepare: (rig) => touched(rig, privateFile(rig, false), 'w'), act: (rig) => rig.run(exitMm(rig.mm)), allocations: 0 },
  {
    name: 'mremap to where there are no tables', prepare: (rig) => touched(rig, anonymous(rig), 'w', 4), allocations: 2,
    act: (rig, { start }) => void rig.run(mremap(rig.mm, { start, oldPages: 4, newPages: 4, mayMove: true, to: start - 4 * GIB, dontunmap: false })),
  },
  // What has become read only for both stays so in the parent.
  { name: 'fork', prepare: (rig) => touched(rig, privateFile(rig, false), 'w', 3), act: (rig) => void rig.run(rig.core.fork(rig.mm, 'c')), allocations: 4, unchanged: lessLeaves },
  { name: 'a new process', prepare: anonymous, act: (rig) => void rig.core.newMm('q'), allocations: 1 },
  {
    name: 'device fill', prepare: (rig) => file(rig, 1024, 1), act: (rig, { start }) => rig.run(rig.device('modern').fill(start, start + 700, true)), allocations: 4,
    unchanged: lessLeaves,
    // hmm_range_fault() knows no other answer to a fault that failed.
    alsoFails: 'EFAULT',
  },
];

describe.each(CASES)('out of memory: $name', ({ profile = 'v6.1', prepare, act, unchanged = stateOf, alsoFails = 'ENOMEM', allocations }) => {
  test('fails with ENOMEM or ENOSPC at every allocation, changes nothing, and works the next time', async () => {
    const clean = await makeMachine({ profile });
    const cleanScene = prepare(clean);
    act(clean, cleanScene);
    let failures = 0;
    for (let n = 1; ; n++) {
      const rig = await makeMachine({ profile });
      const scene = prepare(rig);
      const before = unchanged(rig, scene);
      rig.platform.arena.failAfter(n);
      let error: unknown = null;
      try {
        act(rig, scene);
      } catch (caught) {
        error = caught;
      }
      const fired = rig.platform.arena.u32[HDR_FAIL_AFTER / 4] === 0;
      rig.platform.arena.failAfter(0);
      if (error !== null) {
        expect(HmmError.is(error, 'ENOMEM') || HmmError.is(error, 'ENOSPC') || HmmError.is(error, alsoFails), `allocation ${n}: ${String(error)}`).toBe(true);
        expect(fired).toBe(true);
        expect(unchanged(rig, scene), `allocation ${n} failed`).toEqual(before);
        failures++;
        act(rig, scene);
      }
      expect(outcome(rig, scene), `after allocation ${n} had failed`).toEqual(outcome(clean, cleanScene));
      if (!fired) break;
    }
    expect(failures).toBeGreaterThanOrEqual(allocations);
  });
});

/** What a user sees in the end: leaves by size and rights, and the file's size and bytes. Frames may be others. */
function outcome(rig: Rig, { inode }: Scene): object {
  const bytes = new Uint8Array(Math.min(inode.size, 400_000));
  rig.run(daxRead(inode, 0, bytes));
  return {
    leaves: rig.core.mms.map((mm) => (mm.alive ? leavesOf(mm.pageTable).map(({ vpn, level, lo }) => `${vpn}/${level} ${lo}`) : [])),
    size: (fileState(inode) as { size: number }).size,
    bytes: createHash('sha256').update(bytes).digest('hex'),
    ramFree: rig.platform.ram.freePages,
  };
}
