import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  HmmError, MiB, compareRecords, createChecker, createCosts, createMachine, createMirror, createPowerCuts, defineBugs, exploreSchedules, operationsFor, parseFsxLog, parseScenario, randomPolicy,
  replayPolicy, runScenario, type AddressSpace, type DaxFile, type Machine, type Mirror,
} from '../../../dist/index.js';

/** Everything a wrong call must leave as it was. */
function picture(machine: Machine, mm: AddressSpace, file: DaxFile, mirror: Mirror): string {
  const text = { areas: mm.areas(), extents: file.extents(), size: file.size, usage: machine.usage, counts: machine.counts, leaves: mirror.leaves(), walk: [...mm.walk(0n, 1n << 47n)] };
  return JSON.stringify(text, (_key, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value));
}

describe('wrong arguments', () => {
  let machine: Machine;
  let mm: AddressSpace;
  let file: DaxFile;
  let mirror: Mirror;
  let start: bigint;
  let before: string;

  beforeEach(async () => {
    machine = await createMachine({ arena: 32 * MiB, native: 'off' });
    file = machine.pmem({ size: 16 * MiB }).file('f', { size: 4 * MiB });
    mm = machine.mm();
    ({ start } = mm.mmap(file, { length: 4 * MiB }));
    mm.store(start, Uint8Array.of(1, 2, 3));
    mirror = createMirror(mm);
    mirror.read(start, 10);
    before = picture(machine, mm, file, mirror);
  });

  afterEach(() => expect(picture(machine, mm, file, mirror)).toBe(before));

  const typed: [string, () => unknown, RegExp][] = [
    ['a number for an address', () => mm.load(4096 as unknown as bigint, 1), /load: addr must be a bigint, not 4096/],
    ['a string for an address', () => mirror.read('0x1000' as unknown as bigint, 1), /device read: addr must be a bigint, not '0x1000'/],
    ['a bigint for a length', () => mm.load(start, 1n as unknown as number), /load: length must be a number/],
    ['a string for bytes', () => mm.store(start, 'x' as unknown as Uint8Array), /store: bytes must be a Uint8Array/],
    ['an unknown option', () => mm.mmap(file, { length: 4096, protection: 'r' } as unknown as { length: number }), /mmap: unknown option 'protection'/],
    ['rights that are none', () => mm.mprotect(start, 4096, 'rwz'), /mprotect: prot must be made of r, w and x, not 'rwz'/],
    ['advice that is none', () => mm.madvise(start, 4096, 'coldish' as 'dontneed'), /madvise: advice must be one of normal/],
    ['leave to move that is none', () => mm.mremap(start, 4096, 8192, { mayMove: 1 as unknown as boolean }), /mremap: mayMove must be true or false, not 1/],
    ['an unknown way to fork', () => mm.fork({ vm: true } as unknown as { name: string }), /fork: unknown option 'vm'/],
    ['an unknown extent size', () => machine.pmem({ size: MiB }).file('g', { extent: '8K' as '4K' }), /file: extent must be one of 4K, 2M, 1G, not '8K'/],
    ['an option misspelt', () => mm.mmap(file, { lenght: 4096 } as unknown as { length: number }), /mmap: unknown option 'lenght' \(did you mean length\?\); known: /],
    ['a name that is no string', () => machine.mm({ name: 3 as unknown as string }), /mm: name must be a string, not 3/],
    ['a listener that is no function', () => createMirror(mm, { onInvalidate: 3 as never }), /createMirror: onInvalidate must be a function, not 3/],
    ['a mirror of nothing', () => createMirror(null as never), /createMirror: space must be of class AddressSpace, not null/],
    ['a checker of what is no machine', () => createChecker({} as never), /createChecker: machine must be of class Machine, not an object/],
    ['power cuts of what is no machine', () => createPowerCuts(7 as never), /createPowerCuts: machine must be of class Machine, not 7/],
    ['options of exploreSchedules', () => exploreSchedules(() => {}, { maxPreemption: 1 } as never), /exploreSchedules: unknown option 'maxPreemption' \(did you mean maxPreemptions\?\)/],
    ['costs of what has no table', () => createCosts(machine as never), /createCosts: target must be an AddressSpace or a Mirror, not an object/],
    ['a scenario without a text', () => parseScenario('a.scn', undefined as never, operationsFor('modern')), /parseScenario: text must be a string, not undefined/],
    ['a scenario without operations', () => parseScenario('a.scn', 'map a 4K anon', undefined as never), /parseScenario: operations must be of class Map, not undefined/],
    ['operations of an API that is none', () => operationsFor('2018' as never), /operationsFor: api must be one of modern, 2019, not '2018'/],
    ['records that are none', () => compareRecords({ result: 'ok', ops: [] }, {} as never), /compareRecords: got must be a record, not an object/],
    ['a log of the exerciser that is none', () => parseFsxLog('a.fsxops', 3 as never), /parseFsxLog: text must be a string, not 3/],
    ['a seed that is a number', () => randomPolicy(1 as never), /randomPolicy: seed must be a bigint, not number/],
    ['a schedule that is none', () => replayPolicy(undefined as never), /replayPolicy: schedule must be an array of task ids, not undefined/],
    ['bugs that are none', () => defineBugs(undefined as never), /defineBugs: all must be an object, not undefined/],
    ['an atomic of a number', () => mirror.atomicAdd(start, 1 as unknown as bigint), /device atomic: value must be a bigint/],
  ];
  it.each(typed)('is a TypeError naming it: %s', (name, call, message) => {
    if (name.includes('extent')) before = '';
    expect(call).toThrow(TypeError);
    expect(call).toThrow(message);
    if (before === '') before = picture(machine, mm, file, mirror);
  });

  it('is a TypeError of runScenario, too, which answers later', async () => {
    await expect(runScenario({} as never, { profile: 'v6.1' })).rejects.toThrow(/runScenario: script must come from parseScenario\(\), not an object/);
    const script = parseScenario('a.scn', 'map a 4K anon', operationsFor('modern'));
    await expect(runScenario(script, { profil: 'v6.1' } as never)).rejects.toThrow(/runScenario: unknown option 'profil' \(did you mean profile\?\)/);
    await expect(runScenario(script, { profile: 'v6.2' })).rejects.toThrow(/unknown 'v6.2'/);
  });

  const ranged: [string, () => unknown, RegExp][] = [
    ['a negative address', () => mm.load(-1n, 1), /load: addr 0x-1 is outside 64 bits/],
    ['an address of 65 bits', () => mirror.write(1n << 64n, Uint8Array.of(1)), /device write: addr 0x10000000000000000 is outside 64 bits/],
    ['a negative length', () => mm.munmap(start, -4096), /munmap: length -4096 is not a whole number of bytes/],
    ['a length that is no whole number', () => mm.load(start, 1.5), /load: length 1.5/],
    ['a length that wraps', () => mm.munmap((1n << 64n) - 4096n, 2 ** 50), /munmap: length .* wraps/],
    ['a negative file size', () => file.truncate(-1), /truncate: size -1/],
    ['pmem of no whole pages', () => machine.pmem({ size: 5000 }), /pmem: size 5000 is not a positive multiple of 4096/],
  ];
  it.each(ranged)('is a RangeError naming it: %s', (_name, call, message) => {
    expect(call).toThrow(RangeError);
    expect(call).toThrow(message);
  });

  const errnos: [string, () => unknown, string][] = [
    ['a misaligned munmap', () => mm.munmap(start + 1n, 4096), 'EINVAL'],
    ['a misaligned mprotect', () => mm.mprotect(start + 8n, 4096, 'r'), 'EINVAL'],
    ['a misaligned mremap', () => mm.mremap(start + 1n, 4096, 4096), 'EINVAL'],
    ['a misaligned new place', () => mm.mremap(start, 4096, 4096, { to: 0x10001n }), 'EINVAL'],
    ['mremap of what leaves its area', () => mm.mremap(start, 8 * MiB, 8 * MiB, { to: 0x10000000n }), 'EFAULT'],
    ['growing in place where something is', () => mm.mremap(start, 4096, 8192, { mayMove: false }), 'ENOMEM'],
    ['a misaligned range', () => mirror.range(start + 1n, 4096), 'EINVAL'],
    ['a misaligned file offset', () => mm.mmap(file, { length: 4096, offset: 100 }), 'EINVAL'],
    ['a misaligned fixed address', () => mm.mmap(null, { length: 4096, at: 0x10001n, fixed: 'fixed' }), 'EINVAL'],
    ['a length of zero', () => mm.mmap(null, { length: 0 }), 'EINVAL'],
    ['an occupied address', () => mm.mmap(null, { length: 4096, at: start, fixed: 'noreplace' }), 'EEXIST'],
    ['an address below the lowest', () => mm.mmap(null, { length: 4096, at: 0n, fixed: 'fixed' }), 'EPERM'],
    ['an address above user space', () => mm.mmap(null, { length: 4096, at: 1n << 47n, fixed: 'fixed' }), 'ENOMEM'],
    ['more than the address space', () => mm.mmap(null, { length: 2 ** 48 }), 'ENOMEM'],
    ['MAP_SYNC of anonymous memory', () => mm.mmap(null, { length: 4096, sync: true }), 'EOPNOTSUPP'],
    ['an atomic across words', () => mirror.atomicAdd(start + 4n, 1n), 'EINVAL'],
    ['a punch of nothing', () => file.punch(0, 0), 'EINVAL'],
  ];
  it.each(errnos)('is an errno: %s', (_name, call, code) => {
    let thrown: unknown;
    try {
      call();
    } catch (error) {
      thrown = error;
    }
    expect(HmmError.is(thrown) ? thrown.code : thrown).toBe(code);
  });
});

describe('accesses that a process may not make', () => {
  it('end in the signal that the process would get, and name the address', async () => {
    const machine = await createMachine({ arena: 32 * MiB, native: 'off' });
    const file = machine.pmem({ size: 16 * MiB }).file('f', { size: 8192 });
    const mm = machine.mm();
    const map = mm.mmap(file, { length: 16384, prot: 'r' });
    expect(() => mm.store(map.start, Uint8Array.of(1))).toThrow(/store: SIGSEGV ACCERR/);
    expect(() => mm.load(map.start + 8192n, 1)).toThrow(/load: SIGBUS ADRERR/);
    expect(() => mm.load(0x1000n, 1)).toThrow(/load: SIGSEGV MAPERR at 0x1000/);
    const mirror = createMirror(mm);
    expect(() => mirror.read(map.start + 8192n, 1)).toThrow(/EFAULT/);
    expect(() => mirror.write(map.start, Uint8Array.of(1))).toThrow(/EPERM/);
    expect(() => mirror.read(0x1000n, 1)).toThrow(/EFAULT/);
    expect(mm.load(map.start, 4)).toEqual(new Uint8Array(4));
  });
});

describe('objects that are over', () => {
  it('say so: closed files and mirrors EBADF, exited spaces EFAULT, everything after a reset ENXIO', async () => {
    const machine = await createMachine({ arena: 32 * MiB, native: 'off' });
    const file = machine.pmem({ size: 16 * MiB }).file('f', { size: 8192 });
    const mm = machine.mm();
    const map = mm.mmap(file, { length: 8192 });
    const mirror = createMirror(mm);
    const code = (call: () => unknown): string => {
      try {
        call();
        return 'no error';
      } catch (error) {
        return HmmError.is(error) ? error.code : String(error);
      }
    };
    file.close();
    file.close();
    expect(code(() => file.read(0, 1))).toBe('EBADF');
    expect(mm.load(map.start, 1)).toEqual(new Uint8Array(1));
    mirror.close();
    mirror.close();
    expect(code(() => mirror.read(map.start, 1))).toBe('EBADF');
    mm.exit();
    expect(code(() => mm.load(map.start, 1))).toBe('EFAULT');
    const other = machine.mm();
    machine.reset();
    expect(code(() => other.areas())).toBe('ENXIO');
    expect(machine.mm().areas()).toEqual([]);
  });
});
