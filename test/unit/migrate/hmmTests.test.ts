/**
 * Those of the kernel's own HMM tests (tools/testing/selftests/mm/hmm-tests.c) that are about device memory, by their kernel names, on
 * private and on coherent memory. What a MIGRATE_TO_DEV answers there with ENOENT is here a page that did not move.
 */
import { beforeEach, describe, expect, it } from 'vitest';
import { movePages, type DeviceMemory, type DeviceMirror } from '../../../dist/dmirror/index.js';
import {
  MIGRATE_VMA_SELECT_DEVICE_COHERENT, MIGRATE_VMA_SELECT_DEVICE_PRIVATE, MIGRATE_VMA_SELECT_SYSTEM, VM_READ, VM_WRITE, exitMm, mprotect, munmap, pinUserPages,
  unpinUserPages, type Mm,
} from '../../../dist/mm/index.js';
import { makeMachine, stalePages, type Rig } from '../../support/rig.ts';

const N = 64;

interface Device {
  readonly memory: DeviceMemory;
  readonly mirror: DeviceMirror;
}

describe.each(['private', 'coherent'] as const)('hmm-tests.c on %s memory', (type) => {
  let rig: Rig;
  let a: number;
  let first: Device;
  let second: Device;

  const open = (mm: Mm, memory: DeviceMemory): Device => {
    const mirror = rig.device('modern', { name: `${memory.name} ${mm.name}`, mm });
    mirror.memory = memory;
    return { memory, mirror };
  };
  const fill = (npages = N, mm = rig.mm): void => {
    for (let i = 0; i < npages; i++) rig.touch(a + i, 'w', i + 1, mm);
  };
  const cpu = (start: number, npages: number, mm = rig.mm): number[] => Array.from({ length: npages }, (_, i) => rig.touch(start + i, 'r', 0, mm));
  const counted = (npages: number, from = 1): number[] => Array.from({ length: npages }, (_, i) => i + from);
  const toDevice = (device: Device, start: number, npages: number, mm = rig.mm): { error: string | null; moved: number } => {
    const { error, moved } = rig.run(movePages(device.memory, mm, start, npages, { to: 'device', select: MIGRATE_VMA_SELECT_SYSTEM }));
    return { error, moved: moved.reduce((sum, one) => sum + one, 0) };
  };
  const toSystem = (device: Device, start: number, npages: number): number => {
    const select = type === 'private' ? MIGRATE_VMA_SELECT_DEVICE_PRIVATE : MIGRATE_VMA_SELECT_DEVICE_COHERENT;
    return rig.run(movePages(device.memory, rig.mm, start, npages, { to: 'system', select })).cpages;
  };
  /** First bytes of pages as the device reads them. */
  const read = ({ mirror }: Device, start: number, npages: number): number[] =>
    Array.from({ length: npages }, (_, i) => {
      const byte = new Uint8Array(1);
      rig.run(mirror.read(start + i, 0, byte));
      return byte[0] as number;
    });
  const write = ({ mirror }: Device, vpn: number, byte: number): void => rig.run(mirror.write(vpn, 0, Uint8Array.of(byte)));

  beforeEach(async () => {
    rig = await makeMachine();
    first = open(rig.mm, rig.core.newDeviceMemory('dmirror0', type, 2048));
    second = open(rig.mm, rig.core.newDeviceMemory('dmirror1', type, 2048));
    a = rig.map(null, { npages: N });
  });

  it('migrate', () => {
    fill();
    expect(toDevice(first, a, N)).toEqual({ error: null, moved: N });
    expect(read(first, a, N)).toEqual(counted(N));
    expect([first.memory.used, first.memory.faults, first.mirror.stats.faults], 'in the table since the migration').toEqual([N, 0, 0]);
  });

  it('migrate_fault', () => {
    fill();
    toDevice(first, a, N);
    expect(cpu(a, N / 2)).toEqual(counted(N / 2));
    expect(first.memory.used).toBe(type === 'private' ? N / 2 : N);
    toDevice(first, a, N);
    expect([first.memory.used, read(first, a, N)]).toEqual([N, counted(N)]);
  });

  it('migrate_release', () => {
    fill();
    toDevice(first, a, N);
    expect(rig.run(first.memory.evict())).toBe(N);
    rig.run(first.memory.down());
    expect(cpu(a, N / 2)).toEqual(counted(N / 2));
    expect(stalePages(first.mirror, a, a + N)).toEqual([]);
  });

  it('migrate_mixed', () => {
    rig.run(munmap(rig.mm, a, N));
    a = rig.map(null, { npages: 6, prot: '', at: a });
    rig.run(munmap(rig.mm, a + 1, 1));
    expect(toDevice(second, a + 1, 3)).toEqual({ error: 'EINVAL', moved: 0 });
    rig.run(mprotect(rig.mm, a + 2, 1, VM_READ));
    rig.touch(a + 2, 'r');
    rig.run(mprotect(rig.mm, a + 3, 3, VM_READ | VM_WRITE));
    for (let i = 3; i < 6; i++) rig.touch(a + i, 'w', i);
    rig.run(mprotect(rig.mm, a + 3, 1, VM_READ));
    expect(toDevice(second, a + 2, 4)).toEqual({ error: null, moved: 4 });
    expect(read(second, a + 2, 4)).toEqual([0, 3, 4, 5]);
    expect(toDevice(first, a + 5, 1).moved, 'it is the other device\'s').toBe(0);
  });

  it('migrate_multiple', () => {
    for (let round = 0; round < 10; round++) {
      fill();
      expect(toDevice(first, a, N).moved).toBe(N);
      expect(read(first, a, N)).toEqual(counted(N));
      expect(toSystem(first, a, N)).toBe(N);
      expect([cpu(a, N), first.memory.used]).toEqual([counted(N), 0]);
      rig.run(munmap(rig.mm, a, N));
      a = rig.map(null, { npages: N, at: a });
    }
  });

  it('double_map', () => {
    fill(6);
    rig.run(mprotect(rig.mm, a, 6, VM_READ));
    expect([read(first, a, 6), read(second, a, 6)]).toEqual([counted(6), counted(6)]);
    expect(toDevice(second, a, 6).moved).toBe(6);
    expect(read(first, a, 6)).toEqual(counted(6));
    expect(second.memory.used, 'private pages had to come back').toBe(type === 'private' ? 0 : 6);
  });

  it('anon_write_child', () => {
    fill();
    toDevice(first, a, N);
    const child = rig.run(rig.core.fork(rig.mm, 'child'));
    const device = open(child, first.memory);
    for (let i = 0; i < 8; i++) expect(rig.touch(a + i, 'r', 0, child)).toBe(i + 1);
    for (let i = 0; i < 8; i++) write(device, a + i, 100 + i);
    expect([cpu(a, 8, child), cpu(a, 8)]).toEqual([counted(8, 100), counted(8)]);
    rig.run(device.mirror.close());
    rig.run(exitMm(child));
  });

  it('hmm_cow_in_device', () => {
    fill(4);
    toDevice(first, a, 4);
    const child = rig.run(rig.core.fork(rig.mm, 'child'));
    for (let i = 0; i < 4; i++) rig.touch(a + i, 'w', 50 + i);
    rig.run(exitMm(child));
    expect(cpu(a, 4)).toEqual(counted(4, 50));
    expect(first.memory.used).toBe(0);
  });

  it('hmm_gup_test', () => {
    fill(4);
    toDevice(first, a, 4);
    const pins = [0, 1, 2, 3].map((i) => rig.run(pinUserPages(rig.mm, a + i, 1, { write: i % 2 === 1, longterm: i >= 2 })));
    expect(pins.map(({ err }) => err)).toEqual([null, null, null, null]);
    expect(first.memory.used, 'coherent pages are pinned where they are, but not for long').toBe(type === 'private' ? 0 : 2);
    for (const { pfns } of pins) unpinUserPages(rig.mm, pfns);
    expect(cpu(a, 4)).toEqual(counted(4));
  });

  it('migrate refuses DAX files, shared and private', () => {
    const file = rig.file({ npages: 512 });
    for (const shared of [true, false]) {
      const start = rig.map(file, { npages: 512, shared });
      rig.touch(start, shared ? 'r' : 'w');
      expect(toDevice(first, start, 1)).toEqual({ error: 'EINVAL', moved: 0 });
    }
  });
});
