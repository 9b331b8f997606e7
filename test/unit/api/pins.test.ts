/** Pins, failing memory and devices that go away, by the facade. */
import { expect, test } from 'vitest';
import { createMachine, KernelCrash, MiB } from '../../../dist/index.js';

test('truncate waits for a pin, and the end of a using block is a release', async () => {
  const machine = await createMachine({ arena: 32 * MiB, native: 'off' });
  const pmem = machine.pmem({ size: 64 * MiB });
  const file = pmem.file('f', { size: 4 * MiB, bytes: new Uint8Array(4 * MiB).fill(7) });
  const space = machine.mm();
  const { start } = space.mmap(file, { length: 4 * MiB });
  {
    using pins = space.pin(start, 8192, { write: true });
    expect(pins.pfns).toHaveLength(2);
    expect(() => file.truncate(0)).toThrow(expect.objectContaining({ code: 'EDEADLK' }) as Error);
  }
  file.truncate(0);
  expect(file.size).toBe(0);
});

test('a pin is refused for long on a DAX file, and where nothing is mapped', async () => {
  const machine = await createMachine({ arena: 32 * MiB, native: 'off' });
  const space = machine.mm();
  const { start } = space.mmap(machine.pmem({ size: 64 * MiB }).file('f', { size: MiB }), { length: MiB });
  expect(() => space.pin(start, 4096, { longterm: true })).toThrow(expect.objectContaining({ code: 'EOPNOTSUPP' }) as Error);
  expect(() => space.pin(0x1000_0000n, 4096)).toThrow(expect.objectContaining({ code: 'EFAULT' }) as Error);
  expect(() => space.pin(start, 4096, { longTerm: true } as object)).toThrow(TypeError);
});

test('failing memory names the address and how much of it does not count', async () => {
  const machine = await createMachine({ arena: 32 * MiB, native: 'off' });
  const space = machine.mm();
  const file = machine.pmem({ size: 64 * MiB }).file('f', { size: 4 * MiB, bytes: new Uint8Array(4 * MiB) });
  const { start } = space.mmap(file, { length: 4 * MiB, at: 1n << 40n });
  space.store(start, Uint8Array.of(1));
  expect(space.poison(start + 8192n, 4096)).toEqual({ addr: start + 8192n, lsb: 21 });
  expect(() => space.poison(start, 4096, 'softoffline')).toThrow(expect.objectContaining({ code: 'EIO' }) as Error);
});

test('a device goes under its file: loads go on, a pin cannot be given back', async () => {
  const machine = await createMachine({ arena: 32 * MiB, native: 'off' });
  const space = machine.mm();
  const pmem = machine.pmem({ size: 64 * MiB });
  const file = pmem.file('f', { size: 4096, bytes: new Uint8Array(4096).fill(7) });
  const { start } = space.mmap(file, { length: 4096 });
  const pins = space.pin(start, 4096);
  pmem.unbind();
  expect(space.load(start, 1)).toEqual(Uint8Array.of(7));
  expect(() => file.read(0, 1)).toThrow(expect.objectContaining({ code: 'ENXIO' }) as Error);
  expect(() => pins.release()).toThrow(KernelCrash);
});
