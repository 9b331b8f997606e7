import { beforeEach, describe, expect, test } from 'vitest';
import { createChecker, createGuest, createMachine, createMirror, type AddressSpace, type Machine, type Mapping, type Pmem } from '../../../dist/index.js';

const MiB = 2 ** 20;

let machine: Machine;
let pmem: Pmem;
let mm: AddressSpace;
let map: Mapping;

beforeEach(async () => {
  machine = await createMachine({ profile: 'v6.12' });
  pmem = machine.pmem({ size: 16 * MiB });
  mm = machine.mm();
  map = mm.mmap(pmem.file('f', { size: 4 * MiB }), { length: 4 * MiB });
});

describe('a guest', () => {
  test('reads and writes the bytes of the file behind its memory', () => {
    using guest = createGuest(mm);
    guest.addSlot({ slot: 0, guestAddr: 0n, addr: map.start, length: 4 * MiB });
    guest.write(0x1ffen, Uint8Array.of(1, 2, 3, 4));
    expect([...mm.load(map.start + 0x1ffen, 4)]).toEqual([1, 2, 3, 4]);
    mm.store(map.start, Uint8Array.of(9));
    expect([...guest.read(0n, 1)]).toEqual([9]);
    expect(guest.translate(0x1ffen, true)).not.toBeNull();
    mm.munmap(map.start, 4 * MiB);
    expect(guest.translate(0x1ffen)).toBeNull();
    expect(() => guest.read(0n, 1)).toThrow(expect.objectContaining({ code: 'EFAULT' }));
  });

  test('logs what it wrote', () => {
    using guest = createGuest(mm);
    guest.addSlot({ slot: 3, guestAddr: 0x100000n, addr: map.start, length: 1 * MiB });
    guest.logDirty(3, true);
    guest.write(0x103000n, Uint8Array.of(1));
    expect(guest.dirtyLog(3)).toEqual([0x103000n]);
    expect(guest.dirtyLog(3)).toEqual([]);
    guest.logDirty(3, false);
    expect(() => guest.dirtyLog(3)).toThrow(expect.objectContaining({ code: 'ENOENT' }));
  });

  test('wrong arguments are named, and change nothing', () => {
    using guest = createGuest(mm);
    expect(() => guest.addSlot({ slot: 0, guestAddr: 1n, addr: map.start, length: 4096 })).toThrow(/guestAddr/);
    expect(() => createGuest(mm, { nam: 'x' } as never)).toThrow(/nam/);
    expect(() => guest.read(0n, 1)).toThrow(expect.objectContaining({ code: 'EFAULT' }));
    guest.close();
    guest.close();
    expect(() => guest.read(0n, 1)).toThrow(expect.objectContaining({ code: 'EBADF' }));
  });
});

describe('a checker', () => {
  test('of devices, guests and blocks finds nothing where all is well', () => {
    using guest = createGuest(mm);
    const mirror = createMirror(mm);
    const checker = createChecker(machine, { mirrors: [mirror], guests: [guest], pmems: [pmem] });
    guest.addSlot({ slot: 0, guestAddr: 0n, addr: map.start, length: 4 * MiB });
    guest.write(0n, Uint8Array.of(1));
    mirror.write(map.start + 8192n, Uint8Array.of(2));
    expect(checker.step('writes')).toEqual([]);
    mm.mprotect(map.start, 2 * MiB, 'r');
    expect(checker.step('mprotect')).toEqual([]);
    mm.munmap(map.start, 4 * MiB);
    expect([checker.step('munmap'), checker.end('end')]).toEqual([[], []]);
    checker.close();
  });

  test('names the operation that a deaf device missed', async () => {
    const broken = await createMachine({ profile: 'v6.12', bugs: ['skip-notifier'] });
    const space = broken.mm();
    const area = space.mmap(null, { length: 8192 });
    const mirror = createMirror(space, { name: 'gpu' });
    const checker = createChecker(broken, { mirrors: [mirror] });
    mirror.write(area.start, Uint8Array.of(1));
    checker.step('write');
    space.munmap(area.start, 8192);
    expect(checker.step('munmap')).toMatchObject([{ rule: 'mirror-coherent', operation: 'munmap', what: expect.stringContaining('gpu') }]);
  });
});

test('oomReap takes private memory, and a later access is SIGBUS', () => {
  const area = mm.mmap(null, { length: 8192 });
  mm.store(area.start, Uint8Array.of(1));
  expect(mm.oomReap()).toEqual({ reaped: 1, refused: 0, attempts: 1 });
  expect(() => mm.load(area.start, 1)).toThrow(/SIGBUS/);
});

test('a page that is missing is what fillMissing() gives it; a device gets EFAULT until then', () => {
  const area = mm.mmap(null, { length: 8192 });
  mm.registerMissing(area.start, 8192);
  const mirror = createMirror(mm);
  expect(() => mirror.read(area.start, 1)).toThrow(expect.objectContaining({ code: 'EFAULT' }));
  machine.spawn('touch', mm.task.load(area.start, new Uint8Array(1)));
  machine.spawn('handler', (function* handler() {
    while (mm.missing.length === 0) yield { kind: 'point', label: 'poll', touches: '*' };
    for (const { addr } of mm.missing) yield* mm.task.fillMissing(addr, new Uint8Array(4096).fill(0xab));
  })());
  machine.run({ seed: 1n });
  expect([...mirror.read(area.start, 1)]).toEqual([0xab]);
  mm.fillMissing(area.start + 4096n);
  expect([...mm.load(area.start + 4096n, 1)]).toEqual([0]);
  expect(() => mm.fillMissing(area.start)).toThrow(expect.objectContaining({ code: 'EEXIST' }));
  expect(() => mm.fillMissing(area.start, new Uint8Array(1))).toThrow(/4096/);
});
