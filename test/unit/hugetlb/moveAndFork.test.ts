/** mremap and fork of huge pages (recorded: mremap-hugetlb, hugetlb-2m). */
import { describe, expect, test } from 'vitest';
import { ACCESS_READ, ACCESS_WRITE } from '../../../dist/abi.js';
import { HmmError } from '../../../dist/errno.js';
import { MachineCore } from '../../../dist/machine.js';
import { VM_READ, VM_WRITE, cpuLoad, cpuStore, exitMm, mmap, mremap, newHugeAnon, type Mm } from '../../../dist/mm/index.js';
import { profileOf } from '../../../dist/profile/index.js';
import type { Sleepable } from '../../../dist/sched/index.js';
import { listen } from '../../support/listener.ts';

const AT = 2 ** 20;
const TO = 2 ** 21;

interface Scene {
  readonly core: MachineCore;
  readonly mm: Mm;
  run<T>(body: Sleepable<T>): T;
  byte(vpn: number, mm?: Mm): number;
}

/** Two huge pages with 5 in each, at AT. */
async function scene(profile: string, shared: boolean): Promise<Scene> {
  const core = await MachineCore.create({ arena: { bytes: 64 * 2 ** 20 }, profile: profileOf(profile), bugs: [], seed: 1n, ramPages: 65536, hugePages: [8, 0], levels: 4 });
  const mm = core.newMm('p');
  const run = <T>(body: Sleepable<T>): T => core.platform.sched.runToEnd('test', body);
  const file = newHugeAnon(core.platform, core.platform.hugePools.huge2m, 1024);
  run(mmap(mm, { npages: 1024, prot: VM_READ | VM_WRITE, shared, file, pgoff: 0, start: AT, fixed: 'noreplace', sync: false, vmFlags: 0 }));
  for (const at of [AT, AT + 512]) run(cpuStore(mm, at, 0, Uint8Array.of(5)));
  const byte = (vpn: number, of = mm): number => {
    const target = new Uint8Array(1);
    run(cpuLoad(of, vpn, 0, target));
    return target[0] as number;
  };
  return { core, mm, run, byte };
}

function move({ mm, run }: Scene, start: number, oldPages: number, newPages: number, to: number, dontunmap = false): string {
  try {
    run(mremap(mm, { start, oldPages, newPages, mayMove: true, to, dontunmap }));
    return 'ok';
  } catch (error) {
    if (HmmError.is(error)) return error.code;
    throw error;
  }
}

describe('mremap', () => {
  test.each([['v6.1', ['CLEAR 512-1024', 'UNMAP 512-1024', 'UNMAP 512-1024']], ['v6.12', ['CLEAR 512-1024', 'UNMAP 512-1024']]])('%s: moves whole pages, under CLEAR', async (profile, events) => {
    const it = await scene(profile, false);
    const { heard } = listen(it.mm, AT, 1024);
    expect(move(it, AT + 512, 1, 1, TO), 'lengths are rounded up').toBe('ok');
    expect(heard()).toEqual(events);
    expect([it.byte(TO), it.byte(AT)]).toEqual([5, 5]);
    it.run(exitMm(it.mm));
    expect(it.core.platform.hugePools.huge2m.free).toBe(8);
  });

  test('is refused off their bounds, for growth, and to leave the old place', async () => {
    const it = await scene('v6.1', false);
    expect(move(it, AT + 1, 512, 512, TO)).toBe('EINVAL');
    expect(move(it, AT, 512, 512, TO + 1)).toBe('EINVAL');
    expect(move(it, AT, 512, 1024, TO)).toBe('EINVAL');
    expect(move(it, AT, 512, 512, TO, true)).toBe('EINVAL');
    expect(it.byte(AT)).toBe(5);
  });

  test('5.2 does not move huge pages at all', async () => {
    const it = await scene('v5.2', false);
    expect(move(it, AT, 512, 512, TO)).toBe('EINVAL');
  });
});

describe('fork', () => {
  test.each([['v6.1', false], ['v5.2', true]])('%s: shared huge pages are in the child at once: %s', async (profile, there) => {
    const it = await scene(profile, true);
    const { heard } = listen(it.mm, AT, 1024);
    const child = it.run(it.core.fork(it.mm, 'c'));
    expect(heard()).toEqual([]);
    expect(child.pageTable.translate(AT, ACCESS_READ) > 0).toBe(there);
    it.run(cpuStore(child, AT, 0, Uint8Array.of(6)));
    expect(it.byte(AT)).toBe(6);
  });

  test('private ones are shared read only, under CLEAR, until one side writes', async () => {
    const it = await scene('v6.1', false);
    const { heard } = listen(it.mm, AT, 1024);
    const child = it.run(it.core.fork(it.mm, 'c'));
    expect(heard()).toEqual(['CLEAR 0-1024']);
    expect(it.mm.pageTable.translate(AT, ACCESS_WRITE)).toBeLessThan(0);
    it.run(cpuStore(child, AT, 0, Uint8Array.of(6)));
    expect([it.byte(AT), it.byte(AT, child), it.byte(AT + 512, child)]).toEqual([5, 6, 5]);
    for (const mm of [child, it.mm]) it.run(exitMm(mm));
    expect(it.core.platform.hugePools.huge2m.free).toBe(8);
  });
});
