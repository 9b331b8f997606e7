import { afterEach, describe, expect, test } from 'vitest';
import { daxAllocate, daxFsync, daxPunch, daxRead, daxTruncate, daxWrite, daxZeroRange, entriesOf, entryFlags } from '../../dist/dax/index.js';
import type { DeviceMirror } from '../../dist/dmirror/index.js';
import { HmmError } from '../../dist/errno.js';
import type { Inode } from '../../dist/fs/index.js';
import { cpuLoad, cpuStore, exitMm, madviseDontneed, madviseHuge, mmap, mprotect, munmap, type Mm } from '../../dist/mm/index.js';
import { openDaxFile } from '../../dist/dax/index.js';
import { Random, randomPolicy, type Sleepable } from '../../dist/sched/index.js';
import { checkPgmaps, makeMachine, type Rig } from '../support/rig.ts';
import { leavesOf } from '../support/roomState.ts';

afterEach(checkPgmaps);

const PAGES = 1100;
const AT = 2 ** 20;

interface Scene {
  readonly rig: Rig;
  readonly inode: Inode;
  readonly mms: readonly Mm[];
  readonly devices: readonly DeviceMirror[];
}

async function scene(profile: string, fs: 'ext4' | 'xfs'): Promise<Scene> {
  const rig = await makeMachine({ profile, arenaBytes: 32 * 2 ** 20 });
  const inode = rig.fileSystem(65536, fs).create('f', 512);
  inode.fs.setSize(inode, PAGES * 4096);
  inode.fs.allocateWritten(inode, 0, 700);
  const mms = [rig.mm, rig.core.newMm('q')];
  for (const mm of mms) {
    rig.map(inode, { npages: PAGES, at: AT, mm });
    rig.map(inode, { npages: PAGES, at: AT + 4096, mm, sync: true });
    rig.map(inode, { npages: PAGES, at: AT + 8192, mm, shared: false });
  }
  const devices = [rig.device('modern', { name: 'd0' }), rig.device('modern', { name: 'd1', mm: mms[1]! }), rig.device('2019', { name: 'd2', mm: mms[1]! })];
  return { rig, inode, mms, devices };
}

/** One random operation of one task. */
function operation({ rig, inode, mms, devices }: Scene, random: Random): Sleepable<unknown> {
  const { mm } = { mm: mms[random.below(2)]! };
  const page = random.below(PAGES);
  const vpn = AT + 4096 * random.below(3) + page;
  const npages = Math.min([1, 2, 9, 512][random.below(4)]!, PAGES - page);
  const device = devices[random.below(3)]!;
  switch (random.below(18)) {
    case 0: case 1: case 2:
      return cpuStore(mm, vpn, 0, Uint8Array.of(random.below(256)));
    case 3:
      return cpuLoad(mm, vpn, 0, new Uint8Array(1));
    case 4: case 5:
      return device.fill(vpn, vpn + npages, random.below(2) === 0);
    case 6: case 7:
      return device.write(vpn, 0, Uint8Array.of(random.below(256)));
    case 8:
      return daxFsync(inode);
    case 9:
      return daxPunch(inode, page * 4096, npages * 4096);
    case 10:
      return daxTruncate(inode, random.below(2) === 0 ? page * 4096 : PAGES * 4096);
    case 11:
      return daxWrite(inode, page * 4096, new Uint8Array(npages * 4096).fill(random.below(256)));
    case 12:
      return random.below(2) === 0 ? daxZeroRange(inode, page * 4096, npages * 4096, true) : daxAllocate(inode, page * 4096, npages * 4096, true);
    case 13:
      return mprotect(mm, vpn, npages, random.below(2) === 0 ? 1 : 3);
    case 14:
      return madviseDontneed(mm, vpn, npages);
    case 15:
      return madviseHuge(mm, vpn, npages, random.below(2) === 0);
    case 16:
      return daxRead(inode, page * 4096, new Uint8Array(npages * 4096));
    default:
      return remap(rig, mm, inode, random);
  }
}

/** A mapping goes and comes again. */
function* remap(rig: Rig, mm: Mm, inode: Inode, random: Random): Sleepable<void> {
  const at = AT + 4096 * random.below(3);
  const from = random.below(PAGES);
  yield* munmap(mm, at + from, PAGES - from);
  yield* mmap(mm, { npages: PAGES - from, prot: 3, shared: at !== AT + 8192, file: openDaxFile(inode, true), pgoff: from, start: at + from, fixed: 'fixed', sync: false, vmFlags: 0 });
  expect(rig.platform.sched.current.spinlocks).toEqual([]);
}

/** No leaf, of a process or a device, at a block that nobody has; what a device has is what the CPU has, where nothing is in flight. */
function check({ inode, mms, devices }: Scene, when: string): void {
  const { allocator, pgmap } = inode.fs;
  const used = (pfn: number, npages: number): boolean => {
    for (let i = 0; i < npages; i++) if (allocator.isFree(pfn + i)) return false;
    return true;
  };
  for (const { mm, table, name, attached } of devices) {
    if (!attached) continue;
    for (const { vpn, level, pfn, lo } of leavesOf(table)) {
      if (pgmap.covers(pfn) && !used(pfn, 512 ** level)) throw new Error(`${when}: ${name} reaches a freed block at page ${vpn - AT}`);
      if (mm.notifiers.active > 0) continue;
      for (const i of [0, 512 ** level - 1]) {
        const have = mm.pageTable.translate(vpn + i, (lo & 2) !== 0 ? 1 : 0);
        if (have !== pfn + i) throw new Error(`${when}: ${name} has frame ${pfn + i} at page ${vpn + i - AT}, the CPU ${have}`);
      }
    }
  }
  for (const mm of mms) {
    if (!mm.alive || mm.notifiers.active > 0) continue;
    for (const { vpn, level, pfn } of leavesOf(mm.pageTable)) {
      if (pgmap.covers(pfn) && !used(pfn, 512 ** level)) throw new Error(`${when}: ${mm.name} maps a freed block at page ${vpn - AT}`);
    }
  }
}

describe.each([['v6.1', 'ext4'], ['v6.12', 'xfs'], ['lab', 'ext4']] as const)('many tasks on one file (%s, %s)', (profile, fs) => {
  test('keep every rule at every step of a hundred random schedules, and leave nothing behind', async () => {
    const known = new Set(['EFAULT', 'EBUSY', 'ENOMEM', 'EPERM', 'ENOSPC']);
    for (let seed = 1; seed <= 100; seed++) {
      const all = await scene(profile, fs);
      const { rig, inode, mms, devices } = all;
      const { sched } = rig.platform;
      const random = new Random(BigInt(seed));
      const others = randomPolicy(BigInt(seed) * 7919n);
      function* task(): Sleepable<void> {
        for (let i = 0; i < 5; i++) {
          try {
            yield* operation(all, random);
          } catch (error) {
            if (!HmmError.is(error) || !known.has(error.code)) throw error;
          }
        }
      }
      for (let i = 0; i < 4; i++) sched.spawn(`t${i}`, task());
      let steps = 0;
      sched.run({
        choose(ready, current) {
          if (steps++ % 7 === 0) check(all, `seed ${seed}, step ${steps}`);
          return others.choose(ready, current);
        },
      });
      check(all, `seed ${seed}, the end`);
      for (const mm of mms) expect([mm.notifiers.active, mm.mmapLock.held], `seed ${seed}`).toEqual([0, null]);
      expect([inode.rwsem.held, inode.invalidateLock.held], `seed ${seed}`).toEqual([null, null]);
      entriesOf(inode).forEach(0, 2 ** 52, (base, _level, entry) => expect(entryFlags(entry) % 2, `seed ${seed}: entry ${base} is locked`).toBe(0));
      for (const device of devices) rig.run(device.close());
      for (const mm of mms) rig.run(exitMm(mm));
      rig.run(daxTruncate(inode, 0));
      expect(rig.platform.ram.freePages, `seed ${seed}: pages of RAM`).toBe(rig.platform.ram.npages);
      expect(inode.fs.freePages, `seed ${seed}: blocks`).toBe(rig.fileSystem(65536, fs, `fresh${seed}`).freePages);
      expect(inode.mappings.size).toBe(0);
    }
  }, 240_000);
});
