import { describe, expect, it } from 'vitest';
import { GiB, MiB, createMachine, createMirror, type Machine, type MachineEvent } from '../../../dist/index.js';

/** A little of everything; what it does depends on the machine's own random numbers too. */
function session(machine: Machine): string[] {
  const log: string[] = [];
  const stop = machine.observe((event: MachineEvent) => log.push(JSON.stringify(event, (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value))));
  const pmem = machine.pmem({ size: 64 * MiB });
  const file = pmem.file('f', { size: 8 * MiB });
  const mm = machine.mm();
  const map = mm.mmap(file, { length: 8 * MiB });
  const anon = mm.mmap(null, { length: MiB });
  const gpu = createMirror(mm, { name: 'gpu' });
  const cpu = (function* () {
    for (let i = 0; i < 20; i++) yield* mm.task.store(map.start + BigInt(i * 4096), Uint8Array.of(i));
    yield* file.task.fsync();
    yield* file.task.punch(4096, 8192);
  })();
  const device = (function* () {
    for (let i = 0; i < 20; i++) yield* gpu.task.write(map.start + BigInt(i * 300_000), Uint8Array.of(i));
    yield* gpu.task.read(anon.start, new Uint8Array(64));
  })();
  machine.spawn('cpu', cpu);
  machine.spawn('device', device);
  machine.run();
  file.truncate(5000);
  mm.munmap(map.start, 4 * MiB);
  gpu.close();
  mm.exit();
  stop();
  log.push(JSON.stringify({ ...machine.counts, ...machine.usage }));
  return log;
}

describe('a machine that was reset', () => {
  it('goes through the same events as a fresh one, however often', async () => {
    const options = { arena: 64 * MiB, seed: 7n, native: 'off' } as const;
    const fresh = session(await createMachine(options));
    const machine = await createMachine(options);
    for (let round = 0; round < 3; round++) {
      expect(session(machine)).toEqual(fresh);
      machine.reset();
    }
    expect(fresh.length).toBeGreaterThan(50);
  });

  it('hands out memory that reads zero, whatever was in it', async () => {
    const machine = await createMachine({ arena: 16 * MiB, native: 'off' });
    const length = 4 * MiB;
    for (let round = 0; round < 4; round++) {
      const mm = machine.mm();
      const map = mm.mmap(null, { length });
      const file = machine.pmem({ size: 8 * MiB }).file('f', { size: length });
      expect(mm.load(map.start, length).every((byte) => byte === 0)).toBe(true);
      expect(file.read(0, length).every((byte) => byte === 0)).toBe(true);
      mm.store(map.start, new Uint8Array(length).fill(0xaa));
      file.write(0, new Uint8Array(length).fill(0x55));
      machine.reset();
    }
  });
});

describe('the same seed', () => {
  it('gives the same run, another seed another', async () => {
    const run = async (seed: bigint): Promise<string> => session(await createMachine({ arena: 64 * MiB, seed, native: 'off' })).join('\n');
    const [one, again, other] = [await run(1n), await run(1n), await run(2n)];
    expect(again).toBe(one);
    expect(other).not.toBe(one);
  });
});

describe('createMachine', () => {
  it('names what is wrong with its options', async () => {
    await expect(createMachine({ arean: 1 } as object)).rejects.toThrow(/unknown option 'arean'/);
    await expect(createMachine({ arena: 15 * MiB })).rejects.toThrow(RangeError);
    await expect(createMachine({ arena: 5 * GiB })).rejects.toThrow(RangeError);
    await expect(createMachine({ arena: 32 * MiB + 1 })).rejects.toThrow(RangeError);
    await expect(createMachine({ profile: 'v7.0' as 'v6.1' })).rejects.toThrow(/profile: unknown 'v7.0'.*; known: v6.1/);
    await expect(createMachine({ bugs: ['skip-everything' as 'stale-pfn'] })).rejects.toThrow(/bugs: no switch 'skip-everything'/);
    await expect(createMachine({ bugs: ['stale-pfm' as 'stale-pfn'] })).rejects.toThrow(/bugs: no switch 'stale-pfm' \(did you mean stale-pfn\?\)/);
    await expect(createMachine({ bugs: 'stale-pfn' as never })).rejects.toThrow(/bugs must be an array of names, not 'stale-pfn'/);
    await expect(createMachine({ profile: { base: 'v6.1', changes: { copiesFlushed: 'yes' as never } } })).rejects.toThrow(/profile: copiesFlushed is a boolean, not string/);
    await expect(createMachine({ seed: 1 as unknown as bigint })).rejects.toThrow(/seed must be a bigint/);
    await expect(createMachine({ ram: 100 })).rejects.toThrow(RangeError);
  });

  it('takes the smallest and the largest arena, and the default is 4 GiB', async () => {
    for (const arena of [16 * MiB, 48 * MiB, 4 * GiB]) {
      const machine = await createMachine({ arena, native: 'off' });
      expect(machine.usage.arenaBytes).toBe(arena);
      const mm = machine.mm();
      const map = mm.mmap(null, { length: 4096 });
      mm.store(map.start, Uint8Array.of(42));
      expect(mm.load(map.start, 1)[0]).toBe(42);
    }
    expect((await createMachine({ native: 'off' })).usage.arenaBytes).toBe(4 * GiB);
  });

  it('refuses a module of something else', async () => {
    await expect(createMachine({ wasm: new Uint8Array([1, 2, 3, 4]) })).rejects.toMatchObject({ code: 'ENOEXEC' });
    const empty = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
    await expect(createMachine({ wasm: empty })).rejects.toMatchObject({ code: 'ENOEXEC' });
  });

  it('serves the same answers from every build, and from memory of the embedder, shared or not', async () => {
    const logs: string[] = [];
    for (const build of ['shared', 'simd', 'scalar'] as const) {
      const machine = await createMachine({ arena: 64 * MiB, build, native: 'off' });
      expect(machine.build).toBe(build);
      logs.push(session(machine).join('\n'));
    }
    for (const shared of [true, false]) {
      const memory = new WebAssembly.Memory({ initial: 1024, maximum: 1024, shared });
      new Uint8Array(memory.buffer).fill(0xa5);
      const machine = await createMachine({ memory, native: 'off' });
      expect(machine.memory).toBe(memory);
      logs.push(session(machine).join('\n'));
    }
    expect(new Set(logs).size).toBe(1);
  });

  it('makes machines that never meet', async () => {
    const [a, b] = [await createMachine({ arena: 32 * MiB, native: 'off' }), await createMachine({ arena: 32 * MiB, native: 'off' })];
    const mmA = a.mm();
    const map = mmA.mmap(null, { length: 4096 });
    mmA.store(map.start, Uint8Array.of(1));
    expect(b.counts.faults).toBe(0);
    expect(b.mm().areas()).toEqual([]);
  });
});

describe('five levels of page tables', () => {
  it('map, mirror and unmap as four do, at the cost of one more table', async () => {
    const used: number[] = [];
    for (const la57 of [false, true]) {
      const machine = await createMachine({ arena: 64 * MiB, la57, native: 'off' });
      const file = machine.pmem({ size: 16 * MiB }).file('f', { size: 4 * MiB, bytes: new Uint8Array(4 * MiB).map((_, i) => i % 251) });
      const mm = machine.mm();
      const map = mm.mmap(file, { length: 4 * MiB });
      const gpu = createMirror(mm);
      expect(Buffer.compare(gpu.read(map.start, 4 * MiB), file.read(0, 4 * MiB))).toBe(0);
      expect(gpu.leaves()).toEqual({ '4K': 0, '2M': 2, '1G': 0 });
      used.push(mm.tableBytes);
      file.truncate(0);
      expect(gpu.leaves()).toEqual({ '4K': 0, '2M': 0, '1G': 0 });
    }
    expect((used[1] as number) - (used[0] as number)).toBe(4096);
  });
});

describe('areas of many terabytes', () => {
  it('are zapped, protected and unmapped to their last page', async () => {
    const machine = await createMachine({ arena: 32 * MiB, native: 'off' });
    const mm = machine.mm();
    const length = 100 * 2 ** 40;
    const map = mm.mmap(null, { length });
    const gpu = createMirror(mm);
    const places = [map.start, map.start + (1n << 44n) + 5n, map.end - 1n];
    for (const [i, place] of places.entries()) mm.store(place, Uint8Array.of(i + 1));
    expect(places.map((place) => gpu.read(place, 1)[0])).toEqual([1, 2, 3]);
    mm.mprotect(map.start, length, 'r');
    for (const place of places) expect(() => mm.store(place, Uint8Array.of(9))).toThrow(/SIGSEGV/);
    expect(gpu.leaves()['4K']).toBe(0);
    mm.madvise(map.start, length, 'dontneed');
    expect(places.map((place) => mm.load(place, 1)[0])).toEqual([0, 0, 0]);
    mm.munmap(map.start, length);
    expect([...mm.walk(0n, 1n << 47n)]).toEqual([]);
    expect(mm.tableBytes).toBe(4096);
  });
});

describe('advice and locking', () => {
  it('makes huge pages, splits and collapses them, and says what it refuses', async () => {
    using machine = await createMachine({ arena: 32 * MiB, native: 'off' });
    const mm = machine.mm();
    const map = mm.mmap(null, { length: 2 * MiB, at: 1n << 40n });
    mm.madvise(map.start, 2 * MiB, 'hugepage');
    mm.store(map.start + 5000n, Uint8Array.of(7));
    const sizes = (): string[] => [...mm.walk(map.start, map.end)].map((leaf) => leaf.pageSize);
    expect(sizes()).toEqual(['2M']);
    mm.madvise(map.start, 4096, 'cold');
    expect(new Set(sizes())).toEqual(new Set(['4K']));
    mm.madvise(map.start, 2 * MiB, 'collapse');
    expect(sizes()).toEqual(['2M']);
    expect(mm.load(map.start + 5000n, 1)[0]).toBe(7);
    mm.mlock(map.start, 2 * MiB);
    expect(() => mm.madvise(map.start, 2 * MiB, 'dontneed')).toThrow(/EINVAL/);
    mm.munlock(map.start, 2 * MiB);
    mm.madvise(map.start, 2 * MiB, 'dontneed');
    expect(sizes()).toEqual([]);
    expect(() => mm.mlock(map.end, 4096)).toThrow(/ENOMEM/);
    expect(() => mm.mlock(map.start + 1n, 4096)).toThrow(/mlock: addr/);
  });
});

describe('a process that forks', () => {
  it('shares its memory until one writes; mirrors of either see their own', async () => {
    using machine = await createMachine({ arena: 32 * MiB, native: 'off' });
    const mm = machine.mm({ name: 'parent' });
    const map = mm.mmap(null, { length: 64 * 1024 });
    mm.store(map.start, Uint8Array.of(1));
    const gpu = createMirror(mm);
    expect(gpu.read(map.start, 1)[0]).toBe(1);
    const child = mm.fork();
    expect(child.name).toBe("parent's child");
    expect(child.translate(map.start)).toBe(mm.translate(map.start));
    gpu.write(map.start, Uint8Array.of(2));
    const other = createMirror(child);
    expect([mm.load(map.start, 1)[0], child.load(map.start, 1)[0], other.read(map.start, 1)[0]]).toEqual([2, 1, 1]);
    child.exit();
    expect(mm.areas()).toHaveLength(1);
  });

  it('moves what it has, in the order of events that its mirror sees', async () => {
    using machine = await createMachine({ arena: 32 * MiB, native: 'off' });
    const mm = machine.mm();
    const map = mm.mmap(null, { length: 8 * MiB });
    mm.store(map.start + 4096n, Uint8Array.of(7));
    const gpu = createMirror(mm);
    expect(gpu.read(map.start + 4096n, 1)[0]).toBe(7);
    const to = map.start - BigInt(64 * MiB);
    expect(mm.mremap(map.start, 2 * MiB, 4 * MiB, { to })).toEqual({ start: to, end: to + BigInt(4 * MiB), length: 4 * MiB });
    expect(() => gpu.read(map.start + 4096n, 1)).toThrow(/EFAULT/);
    expect(gpu.read(to + 4096n, 1)[0]).toBe(7);
    const grown = mm.mremap(to, 4 * MiB, 8 * MiB, { mayMove: false });
    expect(mm.mremap(grown.start, 8 * MiB, 4096)).toEqual({ start: to, end: to + 4096n, length: 4096 });
    const twin = mm.mremap(to, 4096, 4096, { dontunmap: true });
    expect([mm.load(to + 5n, 1)[0], mm.load(twin.start, 1)[0], mm.areas().length]).toEqual([0, 0, 3]);
  });
});
