import { afterEach, describe, expect, test } from 'vitest';
import { FaultSignal, HmmError } from '../../../dist/errno.js';
import { HugeFile, VM_NORESERVE, cpuLoad, cpuStore, mmap, mprotect, munmap, newHugeAnon, openHugeFile, type MappedFile, type Mm } from '../../../dist/mm/index.js';
import { MachineCore } from '../../../dist/machine.js';
import { profileOf } from '../../../dist/profile/index.js';
import { Rig, checkPgmaps } from '../../support/rig.ts';

afterEach(checkPgmaps);

const RW = 3;

async function ground(profile = 'v6.1'): Promise<Rig> {
  const config = { arena: { bytes: 64 * 2 ** 20 }, profile: profileOf(profile), bugs: [], seed: 1n, ramPages: 2 ** 20, hugePages: [8, 1] as const, levels: 4 as const };
  return new Rig(await MachineCore.create(config));
}

const outcome = (body: () => unknown): string => {
  try {
    body();
    return 'ok';
  } catch (error) {
    if (FaultSignal.is(error) && 'signal' in error) return String(error.signal);
    return HmmError.is(error) ? error.code : String(error);
  }
};

function map(rig: Rig, file: MappedFile, npages: number, { at = 2 ** 20, shared = false, noreserve = false, mm = rig.mm } = {}): number {
  return rig.run(mmap(mm, { npages, prot: RW, shared, file, pgoff: 0, start: at, fixed: 'fixed', sync: false, vmFlags: noreserve ? VM_NORESERVE : 0 }));
}

const anon = (rig: Rig, npages: number, options = {}): number => map(rig, newHugeAnon(rig.platform, rig.platform.hugePools.huge2m, npages), npages, options);
const store = (rig: Rig, vpn: number, value: number, mm: Mm = rig.mm): string => outcome(() => rig.run(cpuStore(mm, vpn, 0, Uint8Array.of(value))));
function load(rig: Rig, vpn: number, mm: Mm = rig.mm): number {
  const byte = Uint8Array.of(0xee);
  rig.run(cpuLoad(mm, vpn, 0, byte));
  return byte[0] as number;
}

describe('the pool', () => {
  test('promises no more than it has, and what is not promised is refused at the fault', async () => {
    const rig = await ground();
    const { huge2m } = rig.platform.hugePools;
    const a = anon(rig, 7 * 512);
    expect(outcome(() => anon(rig, 2 * 512, { at: 2 ** 21 }))).toBe('ENOMEM');
    const b = anon(rig, 2 * 512, { at: 2 ** 21, noreserve: true });
    expect(store(rig, b, 1)).toBe('ok');
    expect(store(rig, b + 512, 1)).toBe('SIGBUS');
    expect(store(rig, a, 1)).toBe('ok');
    expect([huge2m.free, huge2m.reserved]).toEqual([6, 6]);
    rig.run(munmap(rig.mm, a, 7 * 512));
    expect([huge2m.free, huge2m.reserved]).toEqual([7, 0]);
    expect(store(rig, b + 512, 1)).toBe('ok');
  });

  test('a piece of an area that goes gives back the promises of that piece alone', async () => {
    const rig = await ground();
    const { huge2m } = rig.platform.hugePools;
    const a = anon(rig, 6 * 512);
    store(rig, a, 1);
    rig.run(munmap(rig.mm, a + 512, 2 * 512));
    expect([huge2m.free, huge2m.reserved]).toEqual([7, 3]);
    rig.run(munmap(rig.mm, a, 512));
    rig.run(munmap(rig.mm, a + 3 * 512, 3 * 512));
    expect([huge2m.free, huge2m.reserved]).toEqual([8, 0]);
  });

  test('a file is promised each of its pages once, however often it is mapped, until it ends', async () => {
    const rig = await ground();
    const { huge2m } = rig.platform.hugePools;
    const file = new HugeFile(rig.platform, 'f', huge2m, 4 * 2 ** 21);
    const a = map(rig, openHugeFile(file, true), 4 * 512, { shared: true });
    const b = map(rig, openHugeFile(file, true), 4 * 512, { at: 2 ** 21, shared: true });
    expect(huge2m.reserved).toBe(4);
    store(rig, a, 3);
    expect(load(rig, b)).toBe(3);
    expect([huge2m.free, huge2m.reserved]).toEqual([7, 3]);
    rig.run(munmap(rig.mm, a, 4 * 512));
    expect(huge2m.reserved).toBe(3);
    rig.run(munmap(rig.mm, b, 4 * 512));
    expect([huge2m.free, huge2m.reserved], 'nobody has it').toEqual([8, 0]);
  });
});

describe('an area of huge pages', () => {
  test('is cut, and begins, only at whole ones; its length is rounded up', async () => {
    const rig = await ground();
    const a = anon(rig, 700);
    expect(rig.mm.vmas.at(a)?.npages).toBe(1024);
    expect(outcome(() => rig.run(munmap(rig.mm, a, 100)))).toBe('EINVAL');
    expect(outcome(() => rig.run(mprotect(rig.mm, a + 1, 1, 1)))).toBe('EINVAL');
    expect(outcome(() => anon(rig, 512, { at: 2 ** 21 + 8 }))).toBe('EINVAL');
  });

  test('after a fork the first to write copies, the last takes the page', async () => {
    const rig = await ground();
    const { huge2m } = rig.platform.hugePools;
    const a = anon(rig, 512);
    store(rig, a, 1);
    const child = rig.run(rig.core.fork(rig.mm, 'child'));
    expect(store(rig, a, 2)).toBe('ok');
    expect(huge2m.free).toBe(6);
    expect(load(rig, a, child)).toBe(1);
    expect(store(rig, a, 3, child)).toBe('ok');
    expect([huge2m.free, load(rig, a), load(rig, a, child)]).toEqual([6, 2, 3]);
  });

  test('with the pool empty who was promised takes the page from his child, which is refused from then on', async () => {
    const rig = await ground();
    const a = anon(rig, 8 * 512);
    for (let i = 0; i < 8; i++) store(rig, a + i * 512, i);
    const child = rig.run(rig.core.fork(rig.mm, 'child'));
    expect(store(rig, a, 9, child), 'the child was promised nothing').toBe('SIGBUS');
    expect(store(rig, a, 9)).toBe('ok');
    expect(outcome(() => load(rig, a, child))).toBe('SIGBUS');
    expect(load(rig, a + 512, child)).toBe(1);
  });

  test('of 1 GiB keeps its bytes wherever they are', async () => {
    const rig = await ground();
    const a = map(rig, newHugeAnon(rig.platform, rig.platform.hugePools.huge1g, 2 ** 18), 2 ** 18);
    store(rig, a + 2 ** 18 - 1, 7);
    expect([load(rig, a), load(rig, a + 2 ** 18 - 1), rig.entry(a).level]).toEqual([0, 7, 2]);
    expect(outcome(() => map(rig, newHugeAnon(rig.platform, rig.platform.hugePools.huge1g, 2 ** 18), 2 ** 18, { at: 2 ** 22 }))).toBe('ENOMEM');
    rig.run(munmap(rig.mm, a, 2 ** 18));
    expect(rig.platform.hugePools.huge1g.free).toBe(1);
  });
});
