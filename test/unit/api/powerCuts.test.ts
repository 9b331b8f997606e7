/** Power cuts through the library: what is left, and what the machine finds when it comes up. */
import { beforeEach, describe, expect, it } from 'vitest';
import { createGuest, createMachine, createMirror, createPowerCuts, type Machine, type PowerCuts } from '../../../dist/index.js';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (data: Uint8Array): string => new TextDecoder().decode(data).replaceAll('\0', '.');
const KIB = 1024;

describe('power cuts', () => {
  let machine: Machine;
  let power: PowerCuts;
  beforeEach(async () => {
    machine = await createMachine({ arena: 64 * KIB * KIB });
    power = createPowerCuts(machine);
  });

  it.each([['cpu'], ['modern'], ['2019'], ['guest']])('a store by %s is there after fsync, not before', (who) => {
    const pmem = machine.pmem({ size: 16 * KIB * KIB });
    const file = pmem.file('a', { size: 64 * KIB });
    file.fsync();
    const mm = machine.mm();
    const { start } = mm.mmap(file, { length: file.size });
    if (who === 'cpu') mm.store(start, bytes('stored'));
    else if (who === 'guest') {
      const guest = createGuest(mm);
      guest.addSlot({ slot: 0, guestAddr: 0n, addr: start, length: 64 * KIB });
      guest.write(0n, bytes('stored'));
    } else createMirror(mm, { api: who as 'modern' | '2019' }).write(start, bytes('stored'));
    expect(power.volatileBytes).toBe(64);
    expect(text(power.cut(pmem).read('a', 0, 6))).toBe('......');
    expect(text(power.cut(pmem, { lines: 'newest' }).read('a', 0, 6))).toBe('stored');
    file.fsync();
    expect(text(power.cut(pmem).read('a', 0, 6))).toBe('stored');
  });

  it.each([[false, '......'], [true, 'stored']])('a flushed store to a page without a block, MAP_SYNC %s: %s', (sync, left) => {
    const pmem = machine.pmem({ size: 16 * KIB * KIB });
    const file = pmem.file('a', { size: 64 * KIB, sparse: true });
    file.fsync();
    const mm = machine.mm();
    const { start } = mm.mmap(file, { length: file.size, sync });
    createMirror(mm).write(start, bytes('stored'));
    power.flush(mm, start, 6);
    const image = power.cut(pmem);
    expect(text(image.read('a', 0, 6))).toBe(left);
    machine.reset();
    const again = machine.mount(image).open('a');
    expect(again.size).toBe(64 * KIB);
    expect(text(again.read(0, 6))).toBe(left);
    expect(text(power.cut(machine.mount(image)).read('a', 0, 6))).toBe(left);
  });

  it('files that were deleted, or never committed, are as the journal says', () => {
    const pmem = machine.pmem({ size: 16 * KIB * KIB, fs: 'xfs' });
    const gone = pmem.file('gone', { size: 4 * KIB });
    gone.fsync();
    gone.unlink();
    pmem.file('new', { size: 4 * KIB });
    const names = (journal: 'oldest' | 'newest'): string[] => power.cut(pmem, { journal }).files.map(({ name }) => name);
    expect([names('oldest'), names('newest')]).toEqual([['gone'], ['new']]);
  });

  it('after a mount the blocks of files are in use, others are free', () => {
    const pmem = machine.pmem({ size: 16 * KIB * KIB });
    pmem.file('a', { size: 4 * KIB * KIB }).fsync();
    const free = pmem.freeBytes;
    const image = power.cut(pmem);
    machine.reset();
    const again = machine.mount(image, { name: 'again' });
    expect([again.name, again.freeBytes]).toEqual(['again', free]);
    const other = again.file('b', { size: 1024 * KIB, bytes: new Uint8Array(1024 * KIB).fill(9) });
    expect(again.open('a').read(0, 4 * KIB * KIB).every((byte) => byte === 0)).toBe(true);
    expect(other.read(0, 1)[0]).toBe(9);
  });

  it('bad input is named', () => {
    const pmem = machine.pmem({ size: 16 * KIB * KIB });
    expect(() => power.cut(pmem, { lines: 'some' as 'oldest' })).toThrow('cut: lines must be one of oldest, newest, random');
    expect(() => power.cut(pmem, { line: 'oldest' } as object)).toThrow(/line/);
    expect(() => power.cut(pmem).read('b', 0, 1)).toThrow('no file b was left');
    expect(() => power.flush(machine.mm({ name: 'empty' }), 0x1000n, 1)).toThrow('empty has no page there');
    expect(() => machine.mount({} as never)).toThrow('mount: image must be');
    expect(() => createPowerCuts(machine, { eadr: 1 as never })).toThrow('eadr must be true or false');
    machine.reset();
    expect(() => power.cut(pmem)).toThrow(/not of this machine/);
  });
});
