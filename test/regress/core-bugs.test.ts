/** Bug switches of the core's own steps, Linux's and deliberate ones: off nothing is found, on a check finds it and says whose fault it is. */
import { describe, expect, test } from 'vitest';
import { Checker, type Finding, type WatchedMirror } from '../../dist/check/index.js';
import { daxFsync, daxPunch, daxTruncate } from '../../dist/dax/index.js';
import { Deadlock, HmmError, Livelock } from '../../dist/errno.js';
import type { MachineEvent } from '../../dist/events/events.js';
import { Kvm } from '../../dist/kvm/index.js';
import { insertDevicePfn, madviseDontneed, mprotect, munmap, oomReap, pinUserPages, type IntervalSub, type NotifierRange } from '../../dist/mm/index.js';
import type { BugSwitch } from '../../dist/profile/index.js';
import { operationsFor, parseScenario, runScenario, type ScenarioRecord } from '../../dist/scenario/index.js';
import { ScheduleError, exploreSchedules, type Sleepable } from '../../dist/sched/index.js';
import { Rig, makeMachine, stalePages } from '../support/rig.ts';

const machine = (bug: BugSwitch | null): Promise<Rig> => makeMachine({ profile: 'v6.12', bugs: bug === null ? [] : [bug], arenaBytes: 32 * 2 ** 20 });

/** Off and on. */
function switched(bug: BugSwitch): [BugSwitch | null, boolean][] {
  return [[null, false], [bug, true]];
}

function watched(rig: Rig, checker: Checker, device: ReturnType<Rig['device']>): void {
  checker.watch({ name: 'gpu', mm: rig.mm, table: device.table, get attached() { return device.attached; }, vpnOf: (page) => page });
}

const rules = (findings: readonly Finding[]): string[] => findings.map(({ rule, operation }) => `${rule} ${operation}`);

describe('races of a device with madvise', () => {
  /** Explores until a rule is broken; the first that is. */
  async function race(bug: BugSwitch | null): Promise<string> {
    const { core } = await machine(bug);
    try {
      exploreSchedules((policy) => {
        core.reset();
        const rig = new Rig(core);
        const a = rig.map(rig.file({ npages: 2, fs: rig.fileSystem(2048) }), { npages: 2, smallPages: true });
        rig.touch(a, 'w');
        const device = rig.device('modern');
        const checker = new Checker(core);
        watched(rig, checker, device);
        checker.step('before');
        rig.platform.sched.spawn('device', orEfault(device.fill(a, a + 1, true)));
        rig.platform.sched.spawn('madvise', madviseDontneed(rig.mm, a, 2));
        rig.platform.sched.run(policy);
        const [finding] = checker.step('madvise beside a device fault');
        checker.close();
        if (finding !== undefined) throw new Error(rules([finding])[0]);
      }, { maxPreemptions: 2 });
    } catch (error) {
      if (error instanceof ScheduleError) return (error.cause as Error).message;
      throw error;
    }
    return 'none';
  }

  test.each([
    ['begin-does-not-wait', 'refault-before-end'],
    ['zap-ends-first', 'told-before-taken'],
    ['set-seq-forgotten', 'mirror-coherent'],
    ['retry-outside-lock', 'mirror-coherent'],
  ] as const)('%s breaks %s', async (bug, rule) => {
    expect(await race(bug)).toBe(`${rule} madvise beside a device fault`);
  }, 60_000);

  test('without a switch nothing is found', async () => {
    expect(await race(null)).toBe('none');
  }, 60_000);
});

function* orEfault(body: Sleepable<unknown>): Sleepable<void> {
  try {
    yield* body;
  } catch (error) {
    if (!HmmError.is(error, 'EFAULT')) throw error;
  }
}

describe('a device that does not do as it is told', () => {
  async function filled(bug: BugSwitch | null, prot = 'rw'): Promise<{ rig: Rig; checker: Checker; device: ReturnType<Rig['device']>; a: number }> {
    const rig = await machine(bug);
    const a = rig.map(rig.file({ npages: 8 }), { npages: 8, smallPages: true, prot });
    const device = rig.device('modern');
    const checker = new Checker(rig.core);
    watched(rig, checker, device);
    rig.run(device.fill(a, a + 8, prot.includes('w')));
    return { rig, checker, device, a };
  }

  test.each(switched('protection-ignored'))('bug %s: rights that mprotect takes', async (bug, on) => {
    const { rig, checker, a } = await filled(bug);
    rig.run(mprotect(rig.mm, a, 8, 1));
    expect(rules(checker.step('mprotect')).slice(0, 1)).toEqual(on ? ['mirror-coherent mprotect'] : []);
  });

  test.each(switched('drops-first-page'))('bug %s: a range of several pages', async (bug, on) => {
    const { rig, checker, device, a } = await filled(bug);
    rig.run(munmap(rig.mm, a, 8));
    expect(rules(checker.step('munmap')).every((one) => one === 'mirror-coherent munmap')).toBe(true);
    expect(stalePages(device, a, a + 8)).toHaveLength(on ? 7 : 0);
    expect(checker.findings.length > 0).toBe(on);
  });

  test.each(switched('write-assumed'))('bug %s: pages that may only be read', async (bug, on) => {
    const { checker } = await filled(bug, 'r');
    expect(rules(checker.step('fill')).slice(0, 1)).toEqual(on ? ['mirror-coherent fill'] : []);
  });

  test.each(switched('nonblock-skipped'))('bug %s: the OOM reaper, while the device works', async (bug, on) => {
    const rig = await machine(bug);
    const { sched } = rig.platform;
    const a = rig.map(null, { npages: 4 });
    rig.touch(a, 'w');
    const device = rig.device('modern');
    const checker = new Checker(rig.core);
    watched(rig, checker, device);
    rig.run(device.fill(a, a + 1, true));
    checker.step('fill');
    rig.run(device.lock.write(sched));
    const { refused } = rig.run(oomReap(rig.mm));
    device.lock.writeUnlock(sched);
    expect(refused).toBe(on ? 0 : 1);
    expect(rules(checker.step('oom reaper'))).toEqual(on ? ['mirror-coherent oom reaper'] : []);
  });

  test.each(switched('removed-in-callback'))('bug %s: munmap under it', async (bug, on) => {
    const { rig, a } = await filled(bug);
    if (!on) rig.run(munmap(rig.mm, a, 8));
    else expect(() => rig.run(munmap(rig.mm, a, 8))).toThrow(Deadlock);
  });

  test.each(switched('kvm-retry-skipped'))('bug %s: a guest fault against munmap', async (bug, on) => {
    const { core } = await machine(bug);
    const find = (): unknown => exploreSchedules((policy) => {
      core.reset();
      const rig = new Rig(core);
      const a = rig.map(null, { npages: 2 });
      rig.touch(a, 'w');
      const kvm = new Kvm('vm', rig.mm);
      kvm.slots.add(0, 0, 2, a);
      const checker = new Checker(core);
      checker.watch({ name: 'vm', mm: rig.mm, table: kvm.table, get attached() { return kvm.alive; }, vpnOf: (gfn) => a + gfn });
      rig.platform.sched.spawn('guest', orEfault(kvm.fault(0, true)));
      rig.platform.sched.spawn('munmap', munmap(rig.mm, a, 2));
      rig.platform.sched.run(policy);
      const found = rules(checker.step('munmap beside a guest fault'));
      checker.close();
      expect(found).toEqual([]);
    }, { maxPreemptions: 2 });
    if (on) expect(find).toThrow(ScheduleError);
    else find();
  }, 60_000);
});

describe('the notifiers', () => {
  test.each(switched('munmap-never-ends'))('bug %s: an invalidation without an end', async (bug, on) => {
    const rig = await machine(bug);
    const a = rig.map(null, { npages: 2 });
    const checker = new Checker(rig.core);
    rig.run(munmap(rig.mm, a, 2));
    checker.step('munmap');
    expect(rules(checker.end('end')), 'the operation that began it').toEqual(on ? ['balanced munmap'] : []);
  });

  test.each(switched('range-end-unpaired'))('bug %s: two listeners, of which one refuses', async (bug, on) => {
    const rig = await machine(bug);
    const a = rig.map(null, { npages: 2 });
    const kvm = new Kvm('vm', rig.mm);
    kvm.slots.add(0, 0, 2, a);
    rig.mm.notifiers.register({ name: 'busy', *start({ blockable }) { return blockable; } });
    const checker = new Checker(rig.core);
    const mirror: WatchedMirror = { name: 'vm', mm: rig.mm, table: kvm.table, attached: true, vpnOf: (gfn) => a + gfn, get inProgress() { return kvm.inProgress; } };
    checker.watch(mirror);
    rig.run(oomReap(rig.mm));
    checker.step('oom reaper');
    const findings = checker.end('end');
    expect(rules(findings)).toEqual(on ? ['balanced end'] : []);
    if (on) expect(findings[0]?.what).toMatch(/^vm counts [1-9]\d* invalidations/);
  });

  test.each(switched('interval-remove-race'))('bug %s: who was removed is called no more', async (bug, on) => {
    const rig = await machine(bug);
    const { sched } = rig.platform;
    const { notifiers } = rig.mm;
    const heard: string[] = [];
    const subscribe = (name: string): IntervalSub => notifiers.insert(name, 0, 10, function* invalidate(): Sleepable<boolean> {
      heard.push(name);
      return true;
    });
    const range: NotifierRange = { event: 'CLEAR', start: 0, end: 10, blockable: true, owner: null };
    const b = subscribe('b');
    rig.run(notifiers.start(range));
    subscribe('a');
    const removal = sched.spawn('remove', notifiers.remove(b));
    sched.spawn('end', (function* end(): Sleepable<void> {
      yield sched.point('end', '*');
      notifiers.end(range);
    })());
    sched.run({ choose: () => 0 });
    expect(removal.finished).toBe(true);
    expect(b.node === null).toBe(!on); // it may be freed now
    heard.length = 0;
    rig.run(notifiers.start(range));
    notifiers.end(range);
    expect(heard).toEqual(on ? ['b'] : ['a']);
  });
});

describe('files', () => {
  test.each(switched('truncate-frees-first'))('bug %s: blocks are still owned when mirrors are told', async (bug, on) => {
    const rig = await machine(bug);
    const fs = rig.fileSystem(2048);
    const file = rig.file({ npages: 8, fs });
    rig.touch(rig.map(file, { npages: 8, smallPages: true }), 'w');
    const checker = new Checker(rig.core);
    checker.watchBlocks(fs);
    const stop = rig.platform.bus.observe((event: MachineEvent) => {
      if (event.type === 'invalidate-start') checker.end('truncate');
    });
    rig.run(daxTruncate(file, 0));
    stop();
    expect(rules(checker.findings).filter((one) => one.startsWith('blocks-owned')).slice(0, 1)).toEqual(on ? ['blocks-owned truncate'] : []);
  });

  test.each(switched('layout-break-takes-copies'))('bug %s: what was stored in a private copy', async (bug, on) => {
    const rig = await machine(bug);
    const file = rig.file({ npages: 8 });
    const a = rig.map(file, { npages: 8, shared: false });
    rig.touch(a, 'w', 77);
    rig.run(daxPunch(file, 4 * 4096, 4096));
    expect(rig.touch(a, 'r')).toBe(on ? 1 : 77);
  });

  test.each(switched('wait-interruptible'))('bug %s: truncate of a page that somebody has pinned', async (bug, on) => {
    const rig = await machine(bug);
    const fs = rig.fileSystem(2048);
    const file = rig.file({ npages: 8, fs });
    const a = rig.map(file, { npages: 8, smallPages: true });
    const { pfns } = rig.run(pinUserPages(rig.mm, a, 1, { write: true, longterm: false }));
    const pfn = pfns[0] as number;
    if (on) rig.run(daxTruncate(file, 0));
    else expect(() => rig.run(daxTruncate(file, 0))).toThrow(Deadlock);
    expect([rig.platform.records.refs(pfn) > 1, fs.allocator.isFree(pfn)]).toEqual([true, on]);
  });

  test.each(switched('mremap-pmd-as-table'))('bug %s: a part of a 2M entry moves', async (bug, on) => {
    const lines = ['fs ext4', 'open f ext4:f', 'pwrite f 0 4M 1', 'map a 4M f', 'touch a r', 'remap b a+1M 64K 64K'];
    const record = await scenario(lines, bug);
    if (!on) expect(record).toMatchObject({ result: 'ok', klog: [] });
    else expect(record).toMatchObject({ result: 'crash', klog: ['kernel crash: mremap takes a huge device entry for a page table, and locks what is no lock'] });
  });

  test.each(switched('pud-not-split'))('bug %s: a private store under a 1G entry', async (bug, on) => {
    const rig = await makeMachine({ profile: 'lab', bugs: bug === null ? [] : [bug], arenaBytes: 2 ** 26 });
    const fs = rig.fileSystem(3 * 2 ** 18);
    const file = rig.file({ npages: 2 ** 18, extentPages: 262144, hole: true, fs });
    fs.allocateWritten(file, 0, 2 ** 18);
    const a = rig.map(file, { npages: 2 ** 18, shared: false, at: 2 ** 20 });
    rig.touch(a, 'r');
    expect(rig.entry(a).level).toBe(2);
    const checker = new Checker(rig.core);
    if (on) expect(() => rig.touch(a, 'w')).toThrow(Livelock);
    else expect(rig.touch(a, 'w', 9)).toBe(9);
    expect(rules(checker.step('a store'))).toEqual(on ? ['bounded-retries a store'] : []);
  });

  test.each(switched('flush-first-page'))('bug %s: all that a 2M entry says is dirty is flushed', async (bug, on) => {
    expect(await flushed(bug)).toBe(on ? 1 : 512);
  });
});

function scenario(lines: readonly string[], bug: BugSwitch | null): Promise<ScenarioRecord> {
  return runScenario(parseScenario('bug.scn', lines.join('\n'), operationsFor('modern')), { profile: 'v6.12', bugs: bug === null ? [] : [bug] });
}

/** Pages that fsync flushes of a file whose one entry is dirty. */
async function flushed(bug: BugSwitch | null): Promise<number> {
  const rig = await machine(bug);
  const file = rig.file({ npages: 512 });
  rig.touch(rig.map(file, { npages: 512 }), 'w');
  let npages = 0;
  rig.platform.bus.observe((event: MachineEvent) => {
    if (event.type === 'writeback') npages += event.npages;
  });
  rig.run(daxFsync(file));
  return npages;
}

test.each(switched('insert-overwrites'))('bug %s: a read fault of a 2M page that may be written', async (bug, on) => {
  const rig = await machine(bug);
  const a = rig.map(rig.file({ npages: 512 }), { npages: 512 });
  rig.touch(a, 'w');
  const checker = new Checker(rig.core);
  checker.step('touch');
  const { lo, hi } = rig.entry(a);
  const pfn = Math.floor(lo / 4096) + (hi % 2 ** 20) * 2 ** 20;
  const vma = rig.mm.vmas.find(a);
  if (vma === null) throw new Error('no area');
  insertDevicePfn({ vma, vpn: a, pgoff: 0, flags: 0, syncPfn: -1, syncLevel: 0 }, 1, pfn, false);
  expect(rules(checker.step('a read fault'))).toEqual(on ? ['told-before-taken a read fault'] : []);
});

describe('hmm_range_fault() that refuses what the CPU can have', () => {
  type Op = ScenarioRecord['ops'][number];
  async function last(lines: readonly string[], bug: BugSwitch | null): Promise<Op> {
    const { result, ops } = await scenario(lines, bug);
    expect(result).toBe('ok');
    return ops.at(-1) as Op;
  }

  test.each(switched('devmap-pte-special'))('bug %s: 4K of a DAX file', async (bug, on) => {
    const lines = ['fs ext4', 'open f ext4:f', 'pwrite f 0 64K 1', 'map a 64K f', 'touch a w', 'fault a 4K'];
    expect(await last(lines, bug)).toMatchObject({ err: on ? 'EFAULT' : 'ok' });
    expect(await last([...lines, 'touch a r'], bug)).toMatchObject({ err: 'ok' });
  });

  test.each(switched('private-of-other-refused'))("bug %s: a page in another device's memory", async (bug, on) => {
    const lines = ['map a 16K anon', 'touch a w n=4', 'todev 0 a 4K', 'fault a 4K'];
    expect(await last(lines, bug)).toMatchObject({ err: on ? 'EFAULT' : 'ok' });
    expect(await last([...lines, 'touch a r'], bug)).toMatchObject({ err: 'ok' });
  });
});
