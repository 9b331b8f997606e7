/**
 * Memory whose missing pages a process fills itself, as HMM sees it. No kernel was recorded for it; the rules: bugs-and-needs.md, "Lock
 * rules" (userfaultfd memory could not be used with HMM: hmm_range_fault() may not drop mmap_lock), hmm.md a.3 (block = true: the handler may
 * drop it, -EAGAIN), hmm-tests.md (uffd test: the handler fills 0xAB).
 */
import { describe, expect, test } from 'vitest';
import { cpuLoad, mremap, munmap, registerMissing, uffdCopy, uffdZero, unregisterMissing } from '../../../dist/mm/index.js';
import { makeMachine, maps, type Rig } from '../../support/rig.ts';

async function registered(npages = 8): Promise<{ rig: Rig; at: number }> {
  const rig = await makeMachine();
  const at = rig.map(null, { npages: 16 });
  rig.run(registerMissing(rig.mm, at, at + npages));
  return { rig, at };
}

/** A thread that answers each fault with pages of 0xab. */
function handle(rig: Rig, count = 1): void {
  const { sched } = rig.platform;
  sched.spawn('handler', (function* handler() {
    for (let i = 0; i < count; i++) {
      yield { kind: 'wait', what: 'a fault', touches: '*', ready: () => rig.mm.userFaults.size > 0, holder: () => null, deadlineNs: Infinity };
      const [fault] = rig.mm.userFaults.values();
      if (fault !== undefined) yield* uffdCopy(rig.mm, fault.vpn, new Uint8Array(4096).fill(0xab));
    }
  })());
}

describe('a missing page', () => {
  test('is what the handler fills in; the access waits for it', async () => {
    const { rig, at } = await registered();
    handle(rig);
    expect(rig.touch(at + 2, 'r')).toBe(0xab);
    expect(rig.mm.userFaults.size).toBe(0);
    expect(rig.mm.mmapLock.held).toBeNull();
  });

  test('without a handler that answers, the access waits for ever: EDEADLK names whom it waits for', async () => {
    const { rig, at } = await registered();
    expect(() => rig.touch(at, 'w')).toThrow(/waits for the userfaultfd handler/);
  });

  test('beside the registered range is an ordinary one', async () => {
    const { rig, at } = await registered();
    expect(rig.touch(at + 8, 'w')).toBe(1);
    expect(rig.mm.vmas.count).toBe(2);
  });

  test('a thread that unmaps meanwhile sends the waiting one to its SIGSEGV', async () => {
    const { rig, at } = await registered();
    const { sched } = rig.platform;
    sched.spawn('unmap', (function* unmap() {
      yield* sched.sleep(1000);
      yield* munmap(rig.mm, at, 16);
      rig.mm.userFaults.clear();
    })());
    expect(() => rig.run(cpuLoad(rig.mm, at, 0, new Uint8Array(1)))).toThrow(/SIGSEGV MAPERR/);
  });
});

describe('a device', () => {
  test('gets EFAULT from hmm_range_fault(), which may not drop the lock, and the handler hears nothing', async () => {
    const { rig, at } = await registered();
    const device = rig.device('modern');
    expect(() => rig.run(device.fill(at, at + 1, false))).toThrow(expect.objectContaining({ code: 'EFAULT' }));
    expect([rig.mm.userFaults.size, rig.mm.mmapLock.held]).toEqual([0, null]);
  });

  test('mirrors it once the page is there', async () => {
    const { rig, at } = await registered();
    rig.run(uffdCopy(rig.mm, at, new Uint8Array(4096).fill(0xab)));
    const device = rig.device('modern');
    rig.run(device.fill(at, at + 1, true));
    const byte = new Uint8Array(1);
    rig.run(device.read(at, 0, byte));
    expect([maps(device, at, true), byte[0]]).toEqual([true, 0xab]);
  });
});

describe('the handler', () => {
  test('may not fill a page twice, nor one that is not registered', async () => {
    const { rig, at } = await registered();
    const bytes = new Uint8Array(4096);
    rig.run(uffdZero(rig.mm, at));
    expect(rig.touch(at, 'r')).toBe(0);
    expect(() => rig.run(uffdCopy(rig.mm, at, bytes))).toThrow(expect.objectContaining({ code: 'EEXIST' }));
    expect(() => rig.run(uffdCopy(rig.mm, at + 9, bytes))).toThrow(expect.objectContaining({ code: 'ENOENT' }));
  });

  test('registers anonymous memory only', async () => {
    const { rig, at } = await registered();
    const file = rig.map(rig.file({ npages: 8 }), { npages: 8 });
    expect(() => rig.run(registerMissing(rig.mm, file, file + 8))).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    expect(() => rig.run(registerMissing(rig.mm, at + 100_000, at + 100_001))).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });

  test('when it goes the area is as before, one again with its neighbour', async () => {
    const { rig, at } = await registered();
    rig.run(unregisterMissing(rig.mm, at, at + 8));
    expect(rig.touch(at, 'w')).toBe(1);
    expect(rig.mm.vmas.count).toBe(1);
  });

  test('stays with the place and the process: neither a moved area nor a child asks it', async () => {
    const { rig, at } = await registered();
    const child = rig.run(rig.core.fork(rig.mm, 'c'));
    expect(rig.touch(at, 'r', 0, child)).toBe(0);
    const to = rig.run(mremap(rig.mm, { start: at, oldPages: 8, newPages: 8, mayMove: true, to: at - 4096, dontunmap: false }));
    expect(rig.touch(to, 'r')).toBe(0);
    expect(rig.mm.userFaults.size).toBe(0);
  });
});
