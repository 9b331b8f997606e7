/** translator(): page numbers to frames, for who makes millions; and addresses that numbers do not hold exactly. */
import { expect, test } from 'vitest';
import { STOP_HOLE, STOP_NEEDS_WRITE } from '../../../src/abi.ts';
import { MiB, createMachine, createMirror } from '../../../dist/index.js';

test('a space: as translate does, for reading and for writing; outside of it and for what is no page nothing is mapped', async () => {
  const machine = await createMachine({ arena: 32 * MiB, native: 'off' });
  const mm = machine.mm({ name: 'app' });
  const { start } = mm.mmap(null, { length: 8 * 4096, smallPages: true });
  mm.store(start, new Uint8Array(3 * 4096));
  mm.mprotect(start + 4096n, 4096, 'r');
  const [read, write] = [mm.translator(), mm.translator('w')];
  const vpn = Number(start / 4096n);
  for (const page of [0, 1, 2]) expect(read(vpn + page)).toBe(Number((mm.translate(start + BigInt(page * 4096)) as bigint) / 4096n));
  expect([write(vpn), write(vpn + 1), read(vpn + 3)]).toEqual([read(vpn), -STOP_NEEDS_WRITE, -STOP_HOLE]);
  expect([-1, 2 ** 35, 2 ** 60, NaN, Infinity].map(read)).toEqual([-STOP_HOLE, -STOP_HOLE, -STOP_HOLE, -STOP_HOLE, -STOP_HOLE]);
  mm.munmap(start, 4096);
  expect(read(vpn)).toBe(-STOP_HOLE);
  expect(() => mm.translator('x' as 'r')).toThrow("translator: access must be one of r, w, not 'x'");
  mm.exit();
  expect(() => read(vpn)).toThrow(expect.objectContaining({ code: 'EFAULT', message: 'translate: process app has exited (EFAULT)' }) as Error);
});

test('a mirror: what its own table has, until it is closed or the machine reset', async () => {
  const machine = await createMachine({ arena: 32 * MiB, native: 'off' });
  const mm = machine.mm();
  const { start } = mm.mmap(null, { length: 4096, smallPages: true });
  const [gpu, other] = [createMirror(mm, { name: 'gpu0' }), createMirror(mm, { name: 'gpu1' })];
  const [frameOf, otherFrameOf] = [gpu.translator('w'), other.translator('r')];
  const vpn = Number(start / 4096n);
  expect(frameOf(vpn)).toBe(-STOP_HOLE);
  const paddr = gpu.translate(start, 'w');
  expect(frameOf(vpn)).toBe(Number(paddr / 4096n));
  gpu.close();
  expect(() => frameOf(vpn)).toThrow(expect.objectContaining({ code: 'EBADF' }) as Error);
  machine.reset();
  expect(() => otherFrameOf(vpn)).toThrow(expect.objectContaining({ code: 'ENXIO' }) as Error);
});

test('translatePages: a translator\'s answers to many pages at once, more than fit a piece; what is no page is named', async () => {
  const machine = await createMachine({ arena: 64 * MiB, native: 'off' });
  const mm = machine.mm({ name: 'app' });
  const { start } = mm.mmap(null, { length: 8 * MiB, smallPages: true });
  for (let at = 0; at < 8 * MiB; at += 12 * 1024) mm.store(start + BigInt(at), new Uint8Array(1));
  const first = Number(start / 4096n);
  const vpns = Float64Array.from({ length: 9001 }, (_, i) => first + ((i * 7919) % 2048));
  expect([...mm.translatePages(vpns, 'w')]).toEqual([...vpns].map(mm.translator('w')));
  const gpu = createMirror(mm, { name: 'gpu0' });
  gpu.read(start, MiB);
  expect([...gpu.translatePages(vpns, 'r')]).toEqual([...vpns].map(gpu.translator('r')));
  expect(mm.translatePages(new Float64Array(0))).toHaveLength(0);
  expect(() => mm.translatePages(Float64Array.of(first, 2 ** 35))).toThrow('translatePages: 34359738368 is no page of app');
  expect(() => mm.translatePages([first] as unknown as Float64Array)).toThrow('translatePages: vpns must be a Float64Array, not an object');
});

test('addresses of five levels are exact to the byte', async () => {
  const machine = await createMachine({ arena: 32 * MiB, native: 'off', la57: true });
  const mm = machine.mm();
  const at = (1n << 56n) - (1n << 30n);
  mm.mmap(null, { length: 4096, at, fixed: 'fixed' });
  mm.store(at + 4093n, new Uint8Array([1, 2, 3]));
  expect([...mm.load(at + 4093n, 3)]).toEqual([1, 2, 3]);
  expect((mm.translate(at + 4093n) as bigint) % 4096n).toBe(4093n);
  expect(mm.translate(at + 4096n)).toBeNull();
});
