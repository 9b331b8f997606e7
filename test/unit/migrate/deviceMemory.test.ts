import { afterEach, describe, expect, it } from 'vitest';
import { movePages, type DeviceMemory, type MoveRequest, type Moved } from '../../../dist/dmirror/index.js';
import { MIGRATE_VMA_SELECT_DEVICE_COHERENT, MIGRATE_VMA_SELECT_DEVICE_PRIVATE, MIGRATE_VMA_SELECT_SYSTEM, VM_READ, VM_WRITE, cpuLoad, mprotect, munmap, pinUserPages, registerMissing, unpinUserPages } from '../../../dist/mm/index.js';
import { SWP_DEVICE_READ, SWP_DEVICE_WRITE, swapType } from '../../../dist/pgtable/index.js';
import { checkPgmaps, makeMachine, type Rig } from '../../support/rig.ts';

afterEach(checkPgmaps);

const TO_DEVICE: MoveRequest = { to: 'device', select: MIGRATE_VMA_SELECT_SYSTEM };
const TO_RAM: MoveRequest = { to: 'system', select: MIGRATE_VMA_SELECT_DEVICE_PRIVATE };

interface Setup {
  readonly rig: Rig;
  readonly memory: DeviceMemory;
  readonly a: number;
  move(request: MoveRequest, start?: number, npages?: number): Moved;
}

/** Eight pages, the first four written (page i holds i + 1). */
async function eightPages(type: 'private' | 'coherent' = 'private', npages = 64): Promise<Setup> {
  const rig = await makeMachine();
  const memory = rig.core.newDeviceMemory('gpu', type, npages);
  const a = rig.map(null, { npages: 8 });
  for (let i = 0; i < 4; i++) rig.touch(a + i, 'w', i + 1);
  return { rig, memory, a, move: (request, start = a, n = 8) => rig.run(movePages(memory, rig.mm, start, n, request)) };
}

describe('private device memory', () => {
  it('takes written pages and holes, and gives them back with their bytes when the CPU comes', async () => {
    const { rig, memory, a, move } = await eightPages();
    expect([...move(TO_DEVICE).moved]).toEqual(Array(8).fill(1));
    expect(memory.used).toBe(8);
    expect(swapType(rig.entry(a).hi)).toBe(SWP_DEVICE_WRITE);
    expect(Array.from({ length: 8 }, (_, i) => rig.touch(a + i, 'r'))).toEqual([1, 2, 3, 4, 0, 0, 0, 0]);
    expect([memory.used, memory.faults]).toEqual([0, 8]);
  });

  it('is freed with the area', async () => {
    const { rig, memory, a, move } = await eightPages();
    move(TO_DEVICE);
    rig.run(munmap(rig.mm, a + 2, 3));
    expect(memory.used).toBe(5);
    rig.run(munmap(rig.mm, a, 8));
    expect(memory.used).toBe(0);
  });

  it('is handed out lowest first, and what does not fit stays in RAM', async () => {
    const { rig, memory, a, move } = await eightPages('private', 6);
    expect([...move(TO_DEVICE).moved]).toEqual([1, 1, 1, 1, 1, 1, 0, 0]);
    rig.touch(a + 1, 'r');
    expect(move(TO_DEVICE, a, 3).cpages).toBe(1);
    expect(memory.used).toBe(6);
    rig.run(munmap(rig.mm, a, 8));
  });

  it('evicted by frame, is all in RAM, and no fault is counted', async () => {
    const { rig, memory, a, move } = await eightPages();
    move(TO_DEVICE);
    expect(rig.run(memory.evict())).toBe(8);
    expect([memory.used, memory.faults]).toEqual([0, 0]);
    expect(rig.touch(a + 3, 'r')).toBe(4);
  });

  it('loses the right to write with any change of rights', async () => {
    const { rig, a, move } = await eightPages();
    move(TO_DEVICE);
    rig.run(mprotect(rig.mm, a, 4, VM_READ));
    rig.run(mprotect(rig.mm, a, 4, VM_READ | VM_WRITE));
    expect([swapType(rig.entry(a).hi), swapType(rig.entry(a + 4).hi)]).toEqual([SWP_DEVICE_READ, SWP_DEVICE_WRITE]);
    rig.run(munmap(rig.mm, a, 8));
  });

  it('waits in its unmapping for the last page, which the CPU may still have back', async () => {
    const { rig, memory, a, move } = await eightPages();
    move(TO_DEVICE);
    const { sched } = rig.platform;
    const byte = new Uint8Array(1);
    sched.spawn('cpu', (function* () {
      yield* sched.sleep(1000);
      for (let i = 0; i < 8; i++) yield* cpuLoad(rig.mm, a + i, 0, byte);
    })());
    rig.run(memory.down());
    expect([memory.isUp, sched.nowNs]).toEqual([false, 1000]);
    expect(move(TO_DEVICE).moved).not.toContain(1);
    rig.run(memory.up());
    expect(move(TO_DEVICE).moved).toContain(1);
    move(TO_RAM);
  });
});

describe('holes', () => {
  it('of an area whose missing pages a userfaultfd handler gives are not filled', async () => {
    const { rig, memory, a, move } = await eightPages();
    rig.run(registerMissing(rig.mm, a, a + 8));
    expect([...move(TO_DEVICE).moved]).toEqual([1, 1, 1, 1, 0, 0, 0, 0]);
    expect(memory.used).toBe(4);
    rig.run(munmap(rig.mm, a, 8));
  });
});

describe('coherent device memory', () => {
  it('cannot be pinned for long while somebody has it pinned: it cannot go to RAM', async () => {
    const { rig, a, memory, move } = await eightPages('coherent');
    move(TO_DEVICE);
    const { pfns } = rig.run(pinUserPages(rig.mm, a, 1, { write: true, longterm: false }));
    expect(rig.run(pinUserPages(rig.mm, a, 1, { write: true, longterm: true }))).toEqual({ err: 'EBUSY', pfns: [] });
    unpinUserPages(rig.mm, pfns);
    expect([memory.used, rig.touch(a, 'r')]).toEqual([8, 1]);
    rig.run(munmap(rig.mm, a, 8));
  });

  it('stays mapped: the CPU reads and writes it in place', async () => {
    const { rig, memory, a, move } = await eightPages('coherent');
    move(TO_DEVICE);
    expect(rig.touch(a + 2, 'r')).toBe(3);
    rig.touch(a + 2, 'w', 9);
    expect([memory.used, memory.faults]).toEqual([8, 0]);
    move({ to: 'system', select: MIGRATE_VMA_SELECT_DEVICE_COHERENT });
    expect([memory.used, rig.touch(a + 2, 'r')]).toEqual([0, 9]);
  });

  it('is not collected by another device, nor as private memory', async () => {
    const { rig, memory, a, move } = await eightPages('coherent');
    move(TO_DEVICE);
    const other = rig.core.newDeviceMemory('other', 'coherent', 64);
    const taken = rig.run(movePages(other, rig.mm, a, 8, { to: 'system', select: MIGRATE_VMA_SELECT_DEVICE_COHERENT }));
    expect([taken.cpages, move(TO_RAM).cpages, memory.used]).toEqual([0, 0, 8]);
    rig.run(munmap(rig.mm, a, 8));
  });
});
