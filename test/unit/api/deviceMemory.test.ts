import { describe, expect, it } from 'vitest';
import { MiB, createMachine, createMirror, exploreSchedules, type Machine } from '../../../dist/index.js';

const PAGE = 4096;
const machineOf = (): Promise<Machine> => createMachine({ arena: 32 * MiB, ram: 4 * MiB, native: 'off' });

describe('device memory of the facade', () => {
  it('takes pages, shows them to its mirror where they are, and gives them back to the CPU', async () => {
    const machine = await machineOf();
    const memory = machine.deviceMemory({ size: MiB, name: 'vram' });
    const mm = machine.mm();
    const { start } = mm.mmap(null, { length: 4 * PAGE });
    const gpu = createMirror(mm, { memory });
    mm.store(start, Uint8Array.of(7));
    expect(memory.migrate(mm, start, 4 * PAGE)).toEqual({ collected: 4, moved: 4 });
    expect([memory.used, memory.faults]).toEqual([4 * PAGE, 0]);
    gpu.write(start + 1n, Uint8Array.of(8));
    expect([...gpu.read(start, 2)]).toEqual([7, 8]);
    expect(memory.faults, 'the device needs nobody').toBe(0);
    expect([...mm.load(start, 2)]).toEqual([7, 8]);
    expect([memory.used, memory.faults]).toEqual([3 * PAGE, 1]);
    expect(memory.evict()).toBe(3);
  });

  it('grants pages exclusively', async () => {
    const machine = await machineOf();
    const memory = machine.deviceMemory({ size: MiB });
    const mm = machine.mm();
    const { start } = mm.mmap(null, { length: 2 * PAGE });
    expect(memory.exclusive(mm, start, 2 * PAGE)).toEqual([true, true]);
    expect([...mm.load(start, 1)]).toEqual([0]);
  });

  it('refuses DAX files, and arguments that are none', async () => {
    const machine = await machineOf();
    const memory = machine.deviceMemory({ size: MiB });
    const mm = machine.mm();
    const file = machine.pmem({ size: 4 * MiB }).file('f', { size: MiB });
    const map = mm.mmap(file, { length: MiB });
    expect(() => memory.migrate(mm, map.start, PAGE)).toThrow('EINVAL');
    expect(() => memory.migrate(mm, map.start, PAGE, { to: 'moon' as 'device' })).toThrow("must be one of device, system, not 'moon'");
    expect(() => machine.deviceMemory({ size: 100 })).toThrow('not a positive multiple of 4096');
    expect(() => createMirror(mm, { api: '2019', memory })).toThrow('memory is for the modern api');
  });

  it('in every interleaving a page that migrates while the CPU writes and the device reads is whole, and in one place', async () => {
    const machine = await machineOf();
    const seen = new Set<string>();
    const result = exploreSchedules((policy) => {
      machine.reset();
      const memory = machine.deviceMemory({ size: MiB });
      const mm = machine.mm();
      const { start } = mm.mmap(null, { length: PAGE });
      mm.store(start, Uint8Array.of(1));
      const gpu = createMirror(mm, { memory });
      const byte = new Uint8Array(1);
      machine.spawn('migrate', memory.task.migrate(mm, start, PAGE));
      machine.spawn('cpu', mm.task.store(start, Uint8Array.of(2)));
      machine.spawn('gpu', gpu.task.read(start, byte));
      machine.run({ policy });
      seen.add(`${byte[0]} ${memory.faults}`);
      expect([...mm.load(start, 1)]).toEqual([2]);
      expect(memory.used, 'the last load brought it back').toBe(0);
      gpu.close();
      mm.exit();
    }, { maxPreemptions: 2, maxSchedules: 20_000 });
    expect(result.schedules).toBeGreaterThan(50);
    expect([...seen].sort()).toEqual(['1 0', '1 1', '2 0', '2 1']);
  }, 60_000);
});
