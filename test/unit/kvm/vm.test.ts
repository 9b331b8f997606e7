/**
 * The second MMU of a virtual machine. No kernel was recorded for it: what is expected here are the rules of mm.md, "KVM-like secondary
 * MMU" (start counts in and widens, end raises the sequence; level = min of slot and host leaf), and the guarantee itself.
 */
import { describe, expect, test } from 'vitest';
import { daxPunch, daxTruncate } from '../../../dist/dax/index.js';
import { Kvm } from '../../../dist/kvm/index.js';
import type { BugSwitch } from '../../../dist/profile/index.js';
import { exploreSchedules } from '../../../dist/sched/index.js';
import { exitMm, mprotect, munmap } from '../../../dist/mm/index.js';
import { makeMachine, type Rig } from '../../support/rig.ts';

const PMD = 512;
const PUD = 2 ** 18;

interface Guest {
  readonly rig: Rig;
  readonly kvm: Kvm;
  readonly start: number;
}

async function guestOn(npages: number, options: { gfn?: number; extentPages?: 1 | 512 | 262144; profile?: string } = {}): Promise<Guest> {
  const rig = await makeMachine({ profile: options.profile ?? 'v6.1', arenaBytes: 256 * 2 ** 20 });
  const file = rig.file({ npages: Math.min(npages, 2048), extentPages: options.extentPages ?? 512 });
  const start = rig.map(file, { npages });
  const kvm = new Kvm('vm', rig.mm);
  kvm.slots.add(0, options.gfn ?? start % PUD, npages, start);
  return { rig, kvm, start };
}

function read(rig: Rig, kvm: Kvm, gfn: number): number {
  const byte = new Uint8Array(1);
  rig.run(kvm.read(gfn, 0, byte));
  return byte[0] as number;
}

describe('mapping', () => {
  test('guest loads and stores reach the bytes of the file', async () => {
    const { rig, kvm, start } = await guestOn(1024);
    const gfn = start % PUD;
    expect(read(rig, kvm, gfn + 3)).toBe(4);
    rig.run(kvm.write(gfn + 3, 0, Uint8Array.of(99)));
    expect(rig.touch(start + 3, 'r')).toBe(99);
  });

  test('a host leaf of 2M becomes a guest leaf of 2M where slot and addresses agree', async () => {
    const { rig, kvm, start } = await guestOn(1024);
    const gfn = start % PUD;
    rig.run(kvm.fault(gfn, true));
    kvm.table.look(gfn);
    expect(kvm.table.level).toBe(1);
    expect(kvm.translate(gfn + 511, true)).toBe(rig.mm.pageTable.translate(start + 511, 1));
  });

  test('where frame and address differ in their low bits it is 4K', async () => {
    const { rig, kvm } = await guestOn(1024, { gfn: 1 });
    rig.run(kvm.fault(1, true));
    kvm.table.look(1);
    expect(kvm.table.level).toBe(0);
  });

  test('a frame that no slot has is EFAULT, and so is one behind which nothing is mapped', async () => {
    const { rig, kvm, start } = await guestOn(1024);
    expect(() => rig.run(kvm.fault(start % PUD + 4096, false))).toThrow(/no memory at frame/);
    rig.run(munmap(rig.mm, start, 1024));
    expect(() => rig.run(kvm.fault(start % PUD, false))).toThrow(expect.objectContaining({ code: 'EFAULT' }));
  });

  test('slots may not meet', async () => {
    const { kvm } = await guestOn(1024, { gfn: 0 });
    expect(() => kvm.slots.add(1, 1023, 1, 5)).toThrow(expect.objectContaining({ code: 'EEXIST' }));
    expect(kvm.slots.at(1024)).toBeNull();
  });
});

describe('invalidation', () => {
  test('what the host loses, or loses rights to, the guest loses too', async () => {
    const { rig, kvm, start } = await guestOn(1024);
    const gfn = start % PUD;
    rig.run(kvm.fault(gfn, true));
    rig.run(mprotect(rig.mm, start, 1024, 1));
    expect(kvm.translate(gfn, false)).toBeLessThan(0);
    expect(read(rig, kvm, gfn)).toBe(1);
    expect(kvm.translate(gfn, true)).toBeLessThan(0);
    expect(() => rig.run(kvm.fault(gfn, true))).toThrow(expect.objectContaining({ code: 'EFAULT' }));
  });

  test('start counts in, end raises the sequence', async () => {
    const { rig, kvm, start } = await guestOn(1024);
    const { seq } = kvm;
    rig.run(munmap(rig.mm, start, 512));
    expect([kvm.inProgress, kvm.seq]).toEqual([0, seq + 1]);
  });

  test('the exit of the process ends the machine', async () => {
    const { rig, kvm, start } = await guestOn(1024);
    rig.run(kvm.fault(start % PUD, true));
    rig.run(exitMm(rig.mm));
    expect(kvm.alive).toBe(false);
    expect(() => rig.run(kvm.fault(start % PUD, true))).toThrow(expect.objectContaining({ code: 'EFAULT' }));
  });
});

describe('dirty log', () => {
  test('tells the pages written since last time, each 4K', async () => {
    const { rig, kvm, start } = await guestOn(1024);
    const gfn = start % PUD;
    rig.run(kvm.fault(gfn, true));
    kvm.startDirtyLog(0);
    for (const page of [7, 600, 7]) rig.run(kvm.write(gfn + page, 8, Uint8Array.of(1)));
    read(rig, kvm, gfn + 9);
    expect(kvm.dirtyLog(0)).toEqual([7, 600]);
    expect(kvm.dirtyLog(0)).toEqual([]);
    rig.run(kvm.write(gfn + 7, 8, Uint8Array.of(2)));
    expect(kvm.dirtyLog(0)).toEqual([7]);
  });

  test('large leaves come back when it is stopped', async () => {
    const { rig, kvm, start } = await guestOn(1024);
    const gfn = start % PUD;
    kvm.startDirtyLog(0);
    rig.run(kvm.write(gfn, 0, Uint8Array.of(1)));
    kvm.stopDirtyLog(0);
    rig.run(kvm.fault(gfn, true));
    kvm.table.look(gfn);
    expect(kvm.table.level).toBe(1);
  });
});

describe('every interleaving', () => {
  test.each(['truncate', 'punch'])('of a guest fault and %s leaves no entry to a page that the host has not', async (what) => {
    expect(await explored(what, [])).toBeGreaterThan(5);
  });

  test('and a machine that does not hear of the truncate is found', async () => {
    await expect(explored('truncate', ['skip-notifier'])).rejects.toThrow(/expected/);
  });

  async function explored(what: string, bugs: readonly BugSwitch[]): Promise<number> {
    const rig = await makeMachine({ profile: 'v6.1', bugs });
    const result = exploreSchedules((policy) => {
      rig.core.reset();
      const mm = rig.core.newMm('p');
      const fs = rig.core.newFileSystem('ext4', 4096, 'ext4');
      const file = fs.create('f', PMD);
      rig.run(daxTruncate(file, 2 ** 21));
      const start = rig.map(file, { npages: PMD, mm });
      const kvm = new Kvm('vm', mm);
      kvm.slots.add(0, 0, PMD, start);
      const { sched } = rig.platform;
      sched.spawn('guest', (function* guest() {
        try {
          yield* kvm.fault(5, true);
        } catch (error) {
          if ((error as { code?: string }).code !== 'EFAULT') throw error;
        }
      })());
      sched.spawn(what, what === 'truncate' ? daxTruncate(file, 0) : daxPunch(file, 0, 2 ** 21));
      sched.run(policy);
      const guest = kvm.translate(5, true);
      if (guest >= 0) expect(guest).toBe(mm.pageTable.translate(start + 5, 1));
      return sched;
    });
    return result.schedules;
  }
});
