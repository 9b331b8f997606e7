/** struct hmm_range of the 2019 API: registration, `valid`, waiting, and every code that a call can answer, without its defects. */
import { afterEach, describe, expect, test } from 'vitest';
import { PTE_PRESENT, PTE_SPECIAL } from '../../../dist/abi.js';
import { LEGACY_FORMAT } from '../../../dist/dmirror/index.js';
import { hmmRangeFault2019, hmmRangeRegister, hmmRangeSnapshot, hmmRangeUnregister, hmmRangeWaitUntilValid, newRange2019, type Range2019 } from '../../../dist/hmm/index.js';
import { FAULT_SLEEPS, exitMm, madviseDontneed, mprotect, munmap, type MappedFile, type NotifierRange, type VmOps } from '../../../dist/mm/index.js';
import { runOn, type Sleepable } from '../../../dist/sched/index.js';
import { VALID, WRITE, callRange, fault, letters, makeRange, snap } from '../../support/probe2019.ts';
import { checkPgmaps, makeMachine, type Rig } from '../../support/rig.ts';

afterEach(checkPgmaps);

function bare(rig: Rig, npages: number): Range2019 {
  const { words, offset } = rig.platform.arena.window(npages);
  return newRange2019({ ...LEGACY_FORMAT, words, out: offset });
}

function openByHand(rig: Rig, start: number, end: number): { end: () => void } {
  const range: NotifierRange = { event: 'CLEAR', start, end, blockable: true, owner: null };
  expect(rig.run(rig.mm.notifiers.start(range))).toBe(true);
  return { end: () => rig.mm.notifiers.end(range) };
}

describe('hmm_range_register', () => {
  test('refuses in the order in which the kernel looks: alignment, emptiness, the process', async () => {
    const rig = await makeMachine();
    const range = bare(rig, 512);
    expect(hmmRangeRegister(range, rig.mm, 513, 1, 21)).toBe('EINVAL');
    expect(hmmRangeRegister(range, rig.mm, 512, 513, 21)).toBe('EINVAL');
    expect(hmmRangeRegister(range, rig.mm, 1024, 512, 21)).toBe('EINVAL');
    expect(hmmRangeRegister(range, rig.mm, 512, 512)).toBe('EINVAL');
    rig.run(exitMm(rig.mm));
    expect(hmmRangeRegister(range, rig.mm, 512, 512)).toBe('EINVAL');
    expect(hmmRangeRegister(range, rig.mm, 512, 1024, 21)).toBe('EFAULT');
    expect(range.hmm).toBeNull();
    expect(rig.mm.notifiers.heard).toBe(false);
  });

  test('makes it valid when nothing is in flight, and unregistering is allowed twice', async () => {
    const rig = await makeMachine();
    const range = bare(rig, 16);
    expect(hmmRangeRegister(range, rig.mm, 16, 32)).toBeNull();
    expect(range).toMatchObject({ start: 16, end: 32, pageShift: 12, valid: true });
    hmmRangeUnregister(range);
    expect(range).toMatchObject({ valid: false, hmm: null });
    hmmRangeUnregister(range);
    expect(rig.mm.notifiers.heard).toBe(false);
    expect(rig.run(hmmRangeWaitUntilValid(range))).toBe(false);
  });

  test('names arguments that make no sense', async () => {
    const rig = await makeMachine();
    const range = bare(rig, 4);
    expect(() => hmmRangeRegister(range, rig.mm, 0, 5)).toThrow(/4 words for 5 pages/);
    expect(() => hmmRangeRegister(range, rig.mm, 0, 4, 11)).toThrow(/page_shift 11/);
    expect(hmmRangeRegister(range, rig.mm, 0, 4)).toBeNull();
    expect(() => hmmRangeRegister(range, rig.mm, 0, 4)).toThrow(/registered already/);
    expect(() => newRange2019({ ...LEGACY_FORMAT, words: range.words, out: 0, flag: 1n } as never)).toThrow(/unknown option 'flag'/);
    hmmRangeUnregister(range);
    expect(() => rig.run(hmmRangeSnapshot(range))).toThrow(/not registered/);
    expect(() => rig.run(hmmRangeFault2019(range, { blocks: true } as never))).toThrow(/unknown option 'blocks'/);
  });
});

describe('valid', () => {
  test('goes with an invalidation that overlaps, not with one beside, and stays away until the driver has waited', async () => {
    const rig = await makeMachine();
    const { range, dispose } = makeRange(rig, 16, 16);
    openByHand(rig, 0, 16).end();
    openByHand(rig, 32, 48).end();
    expect(range.valid).toBe(true);
    const open = openByHand(rig, 31, 32);
    expect(range.valid).toBe(false);
    open.end();
    expect(range.valid).toBe(false);
    expect(rig.run(hmmRangeWaitUntilValid(range, 0))).toBe(true);
    expect(range.valid).toBe(true);
    dispose();
  });

  test('comes back while something else is in flight', async () => {
    const rig = await makeMachine();
    const { range, dispose } = makeRange(rig, 16, 16);
    const long = openByHand(rig, 1024, 2048);
    const short = openByHand(rig, 16, 17);
    expect(rig.run(hmmRangeWaitUntilValid(range, 1))).toBe(false);
    short.end();
    expect(rig.run(hmmRangeWaitUntilValid(range, 1))).toBe(true);
    long.end();
    expect(range.valid).toBe(true);
    dispose();
  });

  test('waits for the end of all that overlap, nested as they may be', async () => {
    const rig = await makeMachine();
    const { range, dispose } = makeRange(rig, 16, 16);
    const outer = openByHand(rig, 0, 64);
    const inner = openByHand(rig, 20, 21);
    outer.end();
    expect(rig.run(hmmRangeWaitUntilValid(range, 1))).toBe(false);
    inner.end();
    expect(rig.run(hmmRangeWaitUntilValid(range, 1))).toBe(true);
    dispose();
  });
});

describe('hmm_range_wait_until_valid', () => {
  test('gives up when its time is up, which is virtual', async () => {
    const rig = await makeMachine();
    const { range, dispose } = makeRange(rig, 16, 16);
    const open = openByHand(rig, 16, 32);
    const { sched } = rig.platform;
    expect(rig.run(hmmRangeWaitUntilValid(range))).toBe(false);
    expect(sched.nowNs).toBe(1_000_000_000);
    expect(rig.run(hmmRangeWaitUntilValid(range, 5))).toBe(false);
    expect(sched.nowNs).toBe(1_005_000_000);
    open.end();
    dispose();
  });

  test('wakes at the end of the invalidation, and when the process exits', async () => {
    const rig = await makeMachine();
    const { sched } = rig.platform;
    const { range, dispose } = makeRange(rig, 16, 16);
    const open = openByHand(rig, 16, 32);
    sched.spawn('end', (function* end(): Sleepable<void> {
      yield* sched.sleep(7_000_000);
      open.end();
    })());
    expect(rig.run(hmmRangeWaitUntilValid(range))).toBe(true);
    expect(sched.nowNs).toBe(7_000_000);
    openByHand(rig, 16, 32);
    sched.spawn('exit', (function* exit(): Sleepable<void> {
      yield* sched.sleep(1_000_000);
      yield* exitMm(rig.mm);
    })());
    expect(rig.run(hmmRangeWaitUntilValid(range))).toBe(false);
    expect(sched.nowNs).toBe(8_000_000);
    sched.run(runOn);
    dispose();
  });
});

describe('codes', () => {
  test('EBUSY while the range is not valid, and mmap_lock is held; nothing is written', async () => {
    const rig = await makeMachine();
    const a = rig.map(null, { npages: 4 });
    const { range, dispose } = makeRange(rig, a, 4, { defaultFlags: VALID | WRITE });
    const open = openByHand(rig, a, a + 1);
    for (const call of [{}, { fault: true }, { fault: true, block: false }]) expect(callRange(rig, range, call)).toEqual({ result: 'EBUSY', dropped: false });
    expect(letters(range.words)).toBe('4?');
    open.end();
    dispose();
  });

  test('as it was at first: EAGAIN while the range is not valid; a snapshot keeps mmap_lock, a fault drops it', async () => {
    const rig = await makeMachine({ bugs: ['invalid-range-eagain'] });
    const a = rig.map(null, { npages: 4 });
    const { range, dispose } = makeRange(rig, a, 4, { defaultFlags: VALID | WRITE });
    const open = openByHand(rig, a, a + 1);
    expect(callRange(rig, range)).toEqual({ result: 'EAGAIN', dropped: false });
    expect(callRange(rig, range, { fault: true })).toEqual({ result: 'EAGAIN', dropped: true });
    expect(callRange(rig, range, { fault: true, block: false })).toEqual({ result: 'EAGAIN', dropped: true });
    expect(letters(range.words)).toBe('4?');
    expect(rig.mm.mmapLock.held).toBeNull();
    open.end();
    dispose();
  });

  test('EFAULT where nothing is mapped, words untouched; where the next area is far above the walk goes on in a hole', async () => {
    const rig = await makeMachine();
    const a = rig.map(null, { npages: 4 });
    for (const call of [snap(rig, a + 4, 4), fault(rig, a + 4, 4)]) {
      expect(call.result).toBe('EFAULT');
      expect(letters(call.words)).toBe('4?');
    }
    const below = snap(rig, a - 8, 4);
    expect(below.result).toBe(4);
    expect(letters(below.words)).toBe('4-');
  });

  test('EFAULT for device memory that was mapped by frame number', async () => {
    const rig = await makeMachine();
    const a = rig.map({ ...plainFile(rig), vmFlags: 0x400 }, { npages: 4 });
    expect(snap(rig, a, 4).result).toBe('EFAULT');
    expect(fault(rig, a, 4).result).toBe('EFAULT');
  });

  test('EINVAL for huge pages wanted in an area of small ones', async () => {
    const rig = await makeMachine();
    const a = rig.map(null, { npages: 1024, at: 2 ** 20 });
    const call = snap(rig, a, 512, { pageShift: 21 });
    expect(call.result).toBe('EINVAL');
    expect(letters(call.words)).toBe('512?');
    expect(fault(rig, a, 512, 'r', {}, { pageShift: 21 }).result).toBe('EINVAL');
  });

  test('EPERM without read access, the words of the whole range NONE, also of areas that were walked', async () => {
    const rig = await makeMachine();
    const a = rig.map(null, { npages: 8 });
    rig.touch(a, 'w');
    rig.run(mprotect(rig.mm, a + 4, 4, 0));
    for (const call of [snap(rig, a, 8), fault(rig, a, 8, 'w'), fault(rig, a, 8, 'r')]) {
      expect(call.result).toBe('EPERM');
      expect(letters(call.words)).toBe('8-');
    }
  });

  test('EPERM for a write asked of a read-only area: the page is marked, nothing was faulted', async () => {
    const rig = await makeMachine();
    const file = rig.file({ npages: 4 });
    const a = rig.map(file, { npages: 4, prot: 'r', smallPages: true });
    rig.touch(a, 'r');
    const call = fault(rig, a, 4, 'w');
    expect(call).toMatchObject({ result: 'EPERM', faults: 0 });
    expect(letters(call.words)).toBe('1E 3-');
    expect(fault(rig, a, 4, 'r')).toMatchObject({ result: 4, faults: 3 });
  });

  test('EFAULT for a page that cannot be had: it is marked, what lies before it are answers', async () => {
    const rig = await makeMachine();
    const file = rig.file({ npages: 3 });
    const a = rig.map(file, { npages: 6 });
    const call = fault(rig, a, 6, 'w');
    expect(call.result).toBe('EFAULT');
    expect(letters(call.words)).toBe('3- 1E 2-');
    const again = fault(rig, a, 6, 'w');
    expect(again.result).toBe('EFAULT');
    expect(letters(again.words)).toBe('3VW 1E 2-');
  });

  test('EBUSY where pages were faulted in and the range is not valid any more', async () => {
    const rig = await makeMachine();
    const a = rig.map(null, { npages: 4 });
    rig.touch(a, 'w');
    const { range, dispose } = makeRange(rig, a + 1, 2, { defaultFlags: VALID | WRITE });
    // The fault of a page that the file's handler invalidates while it is at it.
    rig.platform.bus.observe((event) => {
      if (event.type === 'fault') range.valid = false;
    });
    expect(callRange(rig, range, { fault: true })).toEqual({ result: 'EBUSY', dropped: false });
    expect(letters(range.words)).toBe('2-');
    dispose();
  });

  test('a count, of what was looked at, holes and all', async () => {
    const rig = await makeMachine();
    const a = rig.map(null, { npages: 2048, at: 2 ** 20 });
    expect(snap(rig, a, 2048).result).toBe(2048);
    rig.touch(a + 3, 'w');
    expect(snap(rig, a, 2048).result).toBe(2048);
    expect(fault(rig, a, 2048, 'w').result).toBe(2048);
    rig.run(munmap(rig.mm, a + 1024, 512));
    expect(snap(rig, a, 2048).result).toBe(2048);
  });

  test('a failing snapshot says so, and marks the page', async () => {
    const rig = await makeMachine();
    const a = rig.map(null, { npages: 4 });
    rig.setPte(a + 2, 0x5000 + PTE_PRESENT + PTE_SPECIAL, 0);
    const call = snap(rig, a, 4);
    expect(call.result).toBe('EFAULT');
    expect(letters(call.words)).toBe('2- 1S 1-');
  });
});

describe('block', () => {
  /** A file whose pages are locked by somebody: the handler waits with mmap_lock, or drops it where it may. */
  function lockedFile(rig: Rig, state: { locked: boolean }): MappedFile {
    const { sched, ram, records } = rig.platform;
    const plain = plainFile(rig);
    return {
      ...plain,
      vmOps: {
        ...(plain.vmOps as VmOps),
        *fault(vmf) {
          if (state.locked && (vmf.flags & 4) !== 0) {
            vmf.vma.mm.mmapLock.readUnlock(sched);
            return 0x400;
          }
          while (state.locked) yield { kind: 'wait', what: 'the page lock', touches: '*', ready: () => !state.locked, holder: () => null, deadlineNs: Infinity };
          const pt = vmf.vma.mm.pageTable;
          const pfn = ram.alloc();
          records.addMappings(pfn, 1);
          pt.slot(vmf.vpn, 0);
          pt.set(pfn, 0x25, 0);
          return 0x100;
        },
      },
    };
  }

  test('true waits with mmap_lock held', async () => {
    const rig = await makeMachine();
    const state = { locked: true };
    const a = rig.map(lockedFile(rig, state), { npages: 4 });
    rig.platform.sched.spawn('unlock', (function* unlock(): Sleepable<void> {
      yield* rig.platform.sched.sleep(1000);
      state.locked = false;
    })());
    const call = fault(rig, a, 1, 'r', { once: true });
    expect(call).toMatchObject({ result: 1, dropped: false });
    expect(letters(call.words)).toBe('1V');
  });

  test('false drops mmap_lock and answers EAGAIN', async () => {
    const rig = await makeMachine();
    const state = { locked: true };
    const a = rig.map(lockedFile(rig, state), { npages: 4 });
    const call = fault(rig, a, 1, 'r', { once: true, block: false });
    expect(call).toMatchObject({ result: 'EAGAIN', dropped: true });
    expect(letters(call.words)).toBe('1-');
    expect(rig.mm.mmapLock.held).toBeNull();
    state.locked = false;
    expect(fault(rig, a, 1, 'r', { block: false }).result).toBe(1);
    rig.run(madviseDontneed(rig.mm, a, 4));
  });
});

/** Something that is mapped page by page and has no file behind it. */
function plainFile(rig: Rig): MappedFile {
  const inode = rig.file({ npages: 1 });
  return {
    inode: { name: 'plain', mappings: inode.mappings },
    writable: true,
    vmOps: { name: 'plain', dax: false, quickFault: () => FAULT_SLEEPS, *fault() { return 2; } },
    vmFlags: 0,
    alignPages: 1,
    preferPages: 1,
    syncSupported: false,
    refuses: () => null,
  };
}
