/** How a 2019 walk faults: what it should not have asked of the fault handler, and what becomes of it. */
import { afterEach, describe, expect, test } from 'vitest';
import { daxFsync } from '../../dist/dax/index.js';
import { KernelCrash, Livelock } from '../../dist/errno.js';
import { FAULT_FLAG_ALLOW_RETRY, FAULT_SLEEPS, mprotect } from '../../dist/mm/index.js';
import { VALID, WRITE, callPages, fault, kindOf, frameOf, letters, snap } from '../support/probe2019.ts';
import { checkPgmaps, makeMachine } from '../support/rig.ts';

afterEach(checkPgmaps);

const AT = 2 ** 20;
const GIB = 2 ** 18;

describe('chunk-faulting', () => {
  test.each([[true, 12, '1VW 499- 12VW'], [false, 1, '1VW 499- 1VW 11-']] as const)('one page is asked for (switch %s)', async (on, faults, want) => {
    const rig = await makeMachine(on ? { bugs: ['chunk-faulting'] } : {});
    const a = rig.map(null, { npages: 1024, at: AT });
    rig.touch(a, 'w');
    const call = callPages(rig, a, 512, { pfnFlagsMask: VALID | WRITE, requests: { 500: VALID | WRITE } }, { fault: true });
    expect([call.result, call.faults, letters(call.words)]).toEqual([512, faults, want]);
  });

  test.each([[true, '8V'], [false, '2- 1V 2- 1VW 2-']] as const)('a page that asks for more than the first one is forgotten (switch %s)', async (on, want) => {
    const rig = await makeMachine(on ? { bugs: ['chunk-faulting'] } : {});
    const a = rig.map(rig.file({ npages: 8, hole: true }), { npages: 8, at: AT, shared: false });
    rig.touch(a + 7, 'r');
    rig.setPte(a + 7, 0, 0);
    // In a pte table the first page's rights count for all that follow.
    const call = callPages(rig, a, 8, { pfnFlagsMask: VALID | WRITE, requests: on ? { 0: VALID, 5: VALID | WRITE } : { 2: VALID, 5: VALID | WRITE } }, { fault: true });
    expect([call.result, letters(call.words)]).toEqual([8, want]);
  });

  test('rights of the area are asked before the chunk is faulted', async () => {
    const rig = await makeMachine({ bugs: ['chunk-faulting'] });
    const a = rig.map(rig.file({ npages: 8 }), { npages: 8, at: AT, prot: 'r', smallPages: true });
    rig.touch(a, 'r');
    const call = fault(rig, a, 8, 'w');
    expect([call.result, call.faults, letters(call.words)]).toEqual(['EPERM', 0, '1E 7-']);
  });

  test.each([[true, 2048], [false, 1]] as const)('in a hole of many pages (switch %s)', async (on, faults) => {
    const rig = await makeMachine(on ? { bugs: ['chunk-faulting'] } : {});
    const a = rig.map(null, { npages: 2048, at: AT });
    const call = callPages(rig, a, 2048, { pfnFlagsMask: VALID | WRITE, requests: { 1030: VALID | WRITE } }, { fault: true });
    expect([call.result, call.faults]).toEqual([2048, faults]);
  });
});

describe('block-may-drop-lock', () => {
  test.each([[true, ['EAGAIN', true, '1-']], [false, [1, false, '1VW']]] as const)('block = true and a page that is locked (switch %s)', async (on, want) => {
    const rig = await makeMachine(on ? { bugs: ['block-may-drop-lock'] } : {});
    const { sched, ram, records } = rig.platform;
    let locked = true;
    const file = rig.file({ npages: 1 });
    const a = rig.map({
      inode: { name: 'locked', mappings: file.mappings }, writable: true, vmFlags: 0, alignPages: 1, preferPages: 1, syncSupported: false, refuses: () => null,
      vmOps: {
        name: 'locked',
        dax: false,
        quickFault: () => FAULT_SLEEPS,
        *fault({ vma, vpn, flags }) {
          if (locked && (flags & FAULT_FLAG_ALLOW_RETRY) !== 0) {
            vma.mm.mmapLock.readUnlock(sched);
            return 0x400;
          }
          while (locked) yield { kind: 'wait', what: 'the page lock', touches: '*', ready: () => !locked, holder: () => null, deadlineNs: Infinity };
          const pfn = ram.alloc();
          records.addMappings(pfn, 1);
          vma.mm.pageTable.slot(vpn, 0);
          vma.mm.pageTable.set(pfn, 0x27, 0);
          return 0x100;
        },
      },
    }, { npages: 1, at: AT });
    sched.spawn('unlock', (function* unlock() {
      yield* sched.sleep(300_000_000);
      locked = false;
    })());
    const call = fault(rig, a, 1, 'w', { once: true, block: true });
    expect([call.result, call.dropped, letters(call.words)]).toEqual(want);
    locked = false;
    expect(fault(rig, a, 1, 'w').result).toBe(1);
  });
});

describe('fault-ignores-vm-write', () => {
  const kinds = ['anonymous', 'private file', 'shared file of 4K', 'shared file of 2M', 'device of 4K', 'device of 2M'] as const;

  describe.each(kinds)('a write asked of a read-only area: %s', (kind) => {
    async function readOnly(on: boolean): Promise<{ rig: Awaited<ReturnType<typeof makeMachine>>; a: number }> {
      const rig = await makeMachine(on ? { bugs: ['fault-ignores-vm-write'] } : {});
      const options = { npages: 512, at: AT, prot: 'r' };
      if (kind === 'anonymous') {
        const a = rig.map(null, { npages: 512, at: AT });
        for (let i = 0; i < 8; i++) rig.touch(a + i, 'w');
        rig.run(mprotect(rig.mm, a, 512, 1));
        return { rig, a };
      }
      const what = kind.startsWith('device') ? rig.daxDevice(512, kind.endsWith('2M') ? 1 : 0) : rig.file({ npages: 512 });
      const a = rig.map(what, kind === 'private file' ? { ...options, shared: false, smallPages: true } : kind.endsWith('4K') ? { ...options, smallPages: true } : options);
      for (let i = 0; i < 8; i++) rig.touch(a + i, 'r');
      return { rig, a };
    }

    test('with the switch it never ends, and the area stays read only', async () => {
      const { rig, a } = await readOnly(true);
      expect(() => fault(rig, a, 4, 'w')).toThrow(Livelock);
      expect(letters(snap(rig, a, 4).words)).toBe('4V');
      expect(rig.mm.mmapLock.held).toBeNull();
    });

    test('without it: EPERM, and the entries are as they were', async () => {
      const { rig, a } = await readOnly(false);
      const before = snap(rig, a, 8).words;
      expect(fault(rig, a, 8, 'w')).toMatchObject({ result: 'EPERM', faults: 0 });
      expect(snap(rig, a, 8).words).toEqual(before);
    });
  });

  test('with the switch a page of a shared mapping is copied, and does not see its file any more', async () => {
    const rig = await makeMachine({ bugs: ['fault-ignores-vm-write'] });
    const a = rig.map(rig.file({ npages: 8 }), { npages: 8, at: AT, prot: 'r', smallPages: true });
    for (let i = 0; i < 8; i++) rig.touch(a + i, 'r');
    expect(() => fault(rig, a + 2, 1, 'w')).toThrow(Livelock);
    const { words } = snap(rig, a, 8);
    expect([...words].map((word) => kindOf(rig, frameOf(word)))).toEqual(['ext4', 'ext4', 'anon', 'ext4', 'ext4', 'ext4', 'ext4', 'ext4']);
  });
});

describe('fault-under-pud-lock', () => {
  test.each([true, false])('write asked of a 1G leaf that lacks it (switch %s)', async (on) => {
    const rig = await makeMachine({ profile: 'lab', bugs: on ? ['fault-under-pud-lock'] : [] });
    const file = rig.file({ npages: GIB, extentPages: 262144, hole: true, fs: rig.fileSystem(3 * GIB) });
    const a = rig.map(file, { npages: GIB, at: AT });
    rig.touch(a, 'w');
    rig.run(daxFsync(file));
    expect(rig.entry(a).level).toBe(2);
    expect(fault(rig, a, 8, 'r')).toMatchObject({ result: 8, faults: 0 });
    if (on) expect(() => fault(rig, a, 8, 'w')).toThrow(/spinlock recursion on/);
    else expect(letters(fault(rig, a, 8, 'w').words)).toBe('8VW');
  });

  test.each([true, false])('a read-only mapping of a 1G device (switch %s)', async (on) => {
    const rig = await makeMachine({ bugs: on ? ['fault-under-pud-lock', 'fault-ignores-vm-write'] : ['fault-under-pud-lock'] });
    const a = rig.map(rig.daxDevice(GIB, 2), { npages: GIB, at: AT, prot: 'r' });
    rig.touch(a, 'r');
    // The area's rights are looked at before the fault, where they are.
    if (on) expect(() => fault(rig, a, 8, 'w')).toThrow(KernelCrash);
    else expect(fault(rig, a, 8, 'w').result).toBe('EPERM');
    expect(rig.mm.mmapLock.held).toBeNull();
  });

  test('smaller leaves are faulted without a spinlock', async () => {
    const rig = await makeMachine({ bugs: ['fault-under-pud-lock'] });
    const file = rig.file({ npages: 512 });
    const a = rig.map(file, { npages: 512, at: AT });
    rig.touch(a, 'r');
    expect(fault(rig, a, 8, 'w').result).toBe(8);
  });
});

describe('gap-fault-without-vma', () => {
  test.each([true, false])('a range that begins in a gap below an area (switch %s)', async (on) => {
    const rig = await makeMachine(on ? { bugs: ['gap-fault-without-vma'] } : {});
    rig.map(null, { npages: 4, at: AT });
    const b = rig.map(null, { npages: 4, at: AT + 8 });
    rig.touch(b, 'w');
    expect(snap(rig, AT + 4, 8)).toMatchObject({ result: 8 });
    if (on) expect(() => fault(rig, AT + 4, 8, 'w')).toThrow(/no VMA/);
    else expect(fault(rig, AT + 4, 8, 'w').result).toBe('EFAULT');
    expect(rig.mm.mmapLock.held).toBeNull();
    // Nothing of the gap is asked for: nothing to fault there.
    const call = callPages(rig, AT + 4, 8, { pfnFlagsMask: VALID | WRITE, requests: { 4: VALID | WRITE } }, { fault: true });
    expect([call.result, letters(call.words)]).toEqual([8, '4- 1VW 3-']);
  });

  test.each([true, false])('a gap in the middle of a range, of spaces with page tables and without (switch %s)', async (on) => {
    const rig = await makeMachine(on ? { bugs: ['gap-fault-without-vma'] } : {});
    const a = rig.map(null, { npages: 4, at: AT });
    rig.map(null, { npages: 4, at: AT + 5 * GIB });
    rig.touch(a, 'w');
    const looked = snap(rig, a, 4 * GIB + 8, {}, { once: true });
    expect(looked.result).toBe(4 * GIB + 8);
    if (on) expect(() => fault(rig, a, 2048, 'w')).toThrow(KernelCrash);
    else expect(fault(rig, a, 2048, 'w').result).toBe('EFAULT');
  });
});
