/**
 * machine.share() and attach(): who may read, what it sees, and what it is told when it may not. One thread plays both sides: what it
 * does between two calls happened between them, always.
 */
import { describe, expect, test } from 'vitest';
import { CALL_BUSY, REQUESTS, REQUEST_STRIDE, SHARE_SEQUENCE, STOP_HOLE, STOP_NEEDS_WRITE } from '../../../src/abi.ts';
import { HmmError, MiB, attach, createMachine, createMirror, type Attachment, type Machine, type MachineOptions, type Mapping, type ShareHandle } from '../../../dist/index.js';

const VALID = 1n << 63n;
const WRITE = 1n << 62n;

interface Scene {
  readonly machine: Machine;
  readonly mm: ReturnType<Machine['mm']>;
  readonly file: ReturnType<ReturnType<Machine['pmem']>['file']>;
  readonly map: Mapping;
  readonly handle: ShareHandle;
  readonly attached: Attachment;
}

/** A process that has 4 MiB of a file mapped and touched, in 4K pages (its place and the file's are not aligned alike), attached to from the same thread. */
async function scene(options: MachineOptions = {}): Promise<Scene> {
  const machine = await createMachine({ arena: 64 * MiB, native: 'off', ...options });
  const file = machine.pmem({ size: 32 * MiB }).file('data', { size: 4 * MiB });
  const mm = machine.mm({ name: 'app' });
  const map = mm.mmap(file, { length: file.size, at: 0x10001000n, fixed: 'fixed' });
  for (let at = 0; at < file.size; at += 4096) mm.store(map.start + BigInt(at), new Uint8Array([at / 4096]));
  const handle = machine.share();
  return { machine, mm, file, map, handle, attached: attach(handle) };
}

const codeOf = (body: () => unknown): string => {
  try {
    body();
  } catch (error) {
    return HmmError.is(error) ? `${error.code}: ${error.message}` : `${(error as Error).name}: ${(error as Error).message}`;
  }
  return 'nothing thrown';
};

describe('an attached reader', () => {
  test('translates as the owner does, by address, by page and by the thousand', async () => {
    const { mm, map, attached } = await scene();
    const table = attached.table('app');
    const first = Number(map.start / 4096n);
    for (const at of [0n, 4095n, 8192n + 17n, BigInt(map.length) - 1n]) expect(table.translate(map.start + at)).toBe(mm.translate(map.start + at));
    expect(table.translate(map.end)).toBeNull();
    expect(table.translatePage(first + 1024)).toBe(-STOP_HOLE);
    mm.mprotect(map.start, 4096, 'r');
    expect(table.translatePage(first, 'w')).toBe(-STOP_NEEDS_WRITE);
    const pages = Float64Array.from({ length: 1100 }, (_, i) => first + i);
    const frames = table.translatePages(pages);
    expect(frames[1023]).toBe(Number((mm.translate(map.end - 4096n) as bigint) / 4096n));
    for (const none of [-1, NaN, 2 ** 35]) expect([table.translatePage(none), codeOf(() => table.translatePages(Float64Array.of(none)))]).toEqual([-STOP_HOLE, `RangeError: translatePages: ${none} is no page of app`]);
    expect([...frames].map((frame, i) => frame === table.translatePage(pages[i] as number))).not.toContain(false);
  });

  test('walks: a word for each page, holes 0, rights as they are', async () => {
    const { mm, map, attached } = await scene();
    mm.munmap(map.start + 4096n, 4096);
    mm.mprotect(map.start + 8192n, 4096, 'r');
    const [words] = [...attached.table('app').walk(map.start, map.length)];
    expect(words?.pfns.length).toBe(1024);
    const frame = (mm.translate(map.start) as bigint) / 4096n;
    expect([...(words?.pfns.subarray(0, 4) ?? [])]).toEqual([VALID | WRITE | frame, 0n, VALID | (frame + 2n), VALID | WRITE | (frame + 3n)]);
  });

  test('walks more than a window in steps', async () => {
    const machine = await createMachine({ arena: 64 * MiB, native: 'off', profile: 'lab' });
    const file = machine.pmem({ size: 512 * MiB }).file('data', { size: 300 * MiB });
    const mm = machine.mm({ name: 'app' });
    const map = mm.mmap(file, { length: file.size });
    mm.madvise(map.start, map.length, 'populate_read');
    using attached = attach(machine.share());
    const steps = [...attached.table('app').walk(map.start, map.length)].map(({ start, end }) => [start - map.start, end - map.start]);
    expect(steps).toEqual([[0n, 256n * 1024n * 1024n], [256n * 1024n * 1024n, 300n * 1024n * 1024n]]);
  });

  test('sees what was taken away, and that what it walked before is stale: there and nowhere else', async () => {
    const { mm, map, attached } = await scene();
    const table = attached.table('app');
    const [words] = [...table.walk(map.start, map.length)];
    const state = words?.state as number;
    mm.munmap(map.start + 8n * 4096n, 4096);
    expect(table.translate(map.start + 8n * 4096n)).toBeNull();
    expect(table.stale(state, map.start, map.length)).toBe(true);
    expect(table.stale(state, map.start + 8n * 4096n, 4096)).toBe(true);
    expect(table.stale(state, map.start, 8 * 4096)).toBe(false);
    expect(table.stale(state, map.start + 9n * 4096n, 4096)).toBe(false);
    expect(table.stale(table.begin(), map.start, map.length)).toBe(false);
  });

  test('takes everything for stale when more was invalidated than is remembered', async () => {
    const { mm, map, attached } = await scene();
    const table = attached.table('app');
    const state = table.begin();
    for (let i = 0; i < 15; i++) mm.madvise(map.start, 4096, 'dontneed');
    expect(table.stale(state, map.start + 4096n, 4096)).toBe(false);
    mm.madvise(map.start, 4096, 'dontneed');
    expect(table.stale(state, map.start + 4096n, 4096)).toBe(true);
  });

  test('filling a hole makes nothing stale', async () => {
    const { mm, map, attached } = await scene();
    const table = attached.table('app');
    mm.madvise(map.start, 4096, 'dontneed');
    const state = table.begin();
    mm.load(map.start, 1);
    expect(table.stale(state, map.start, map.length)).toBe(false);
    expect(table.translate(map.start)).toBe(mm.translate(map.start));
  });

  test('reads contents, of huge pages too, and zeroes where nothing was written', async () => {
    const { file, map, attached } = await scene();
    file.write(4096 * 3 - 2, new TextEncoder().encode('abcdef'));
    expect(new TextDecoder().decode(attached.table('app').read(map.start + 4096n * 3n - 2n, 6))).toBe('abcdef');
    expect([...attached.table('app').read(map.start + 5n, 3)]).toEqual([0, 0, 0]);
    expect(codeOf(() => attached.table('app').read(map.end, 1, { fault: false }))).toBe('EFAULT: read: the page is not there (EFAULT)');
  });

  test("reads a device's own table, and finds stale what the device was told to drop", async () => {
    const { machine, mm, map } = await scene();
    const gpu = createMirror(mm, { name: 'gpu0' });
    gpu.fault(map.start, map.length);
    using attached = attach(machine.share({ mirrors: [gpu], workers: 5 }));
    const table = attached.table('gpu0');
    expect([table.kind, table.translate(map.start)]).toEqual(['device', mm.translate(map.start)]);
    const state = table.begin();
    mm.munmap(map.start, map.length);
    expect(table.translate(map.start)).toBeNull();
    expect(table.stale(state, map.start, 4096)).toBe(true);
  });

  test('counts what it reads; the owner sees it', async () => {
    const { machine, map, attached } = await scene();
    for (let i = 0; i < 10; i++) attached.table('app').translate(map.start);
    expect(attached.counts).toEqual({ reads: 10, retries: 0 });
    expect(machine.workers[0]).toMatchObject({ reads: 10, retries: 0 });
  });
});

describe('the sequence', () => {
  test('an odd one is waited for, and told when it stays', async () => {
    const { map, handle, attached } = await scene();
    const i32 = new Int32Array(handle.memory.buffer);
    const sequence = ((handle.tables[0]?.share ?? 0) + SHARE_SEQUENCE) >>> 2;
    using impatient = attach(handle, { patienceMs: 5 });
    Atomics.add(i32, sequence, 1);
    expect(codeOf(() => impatient.table('app').translate(map.start))).toBe('EBUSY: translate: app did not settle within 5 ms (EBUSY)');
    expect(codeOf(() => [...impatient.table('app').walk(map.start, 4096)])).toBe('EBUSY: walk: app did not settle within 5 ms (EBUSY)');
    expect(impatient.counts.retries).toBeGreaterThan(5);
    Atomics.add(i32, sequence, 1);
    expect(impatient.table('app').translate(map.start)).toBe(attached.table('app').translate(map.start));
  });

  test('moves on, and is even again, with every operation that changes an entry', async () => {
    const { machine, mm, file, map, handle } = await scene();
    const i32 = new Int32Array(handle.memory.buffer);
    const at = ((handle.tables[0]?.share ?? 0) + SHARE_SEQUENCE) >>> 2;
    const operations: Record<string, () => unknown> = {
      mprotect: () => mm.mprotect(map.start, 8192, 'r'),
      munmap: () => mm.munmap(map.start, 4096),
      dontneed: () => mm.madvise(map.start + 4096n, 4096, 'dontneed'),
      fault: () => mm.load(map.start + 4096n, 1),
      truncate: () => file.truncate(MiB),
      mmap: () => mm.mmap(null, { length: 2 * MiB, at: 0x20000000n }),
      touch: () => mm.store(0x20000000n, new Uint8Array(8192)),
      split: () => mm.munmap(0x20000000n, 4096),
      mremap: () => mm.mremap(map.start + 8192n, 4096, 4096, { to: 0x30000000n }),
      fork: () => mm.fork({ name: 'child' }),
    };
    for (const [name, operation] of Object.entries(operations)) {
      const before = Atomics.load(i32, at);
      operation();
      const after = Atomics.load(i32, at);
      expect(`${name} ${after % 2}`).toBe(`${name} 0`);
      if (name !== 'mmap') expect(`${name} ${after > before}`).toBe(`${name} true`);
    }
    expect(machine.share().tables.map(({ name }) => name)).toEqual(['app', 'child']);
  });

  test('between start and end of an invalidation nobody begins, and what was begun is stale', async () => {
    const { machine, mm, map, handle } = await scene();
    using impatient = attach(handle, { patienceMs: 5 });
    const table = impatient.table('app');
    const state = table.begin();
    const seen: unknown[] = [];
    const stop = machine.observe((event) => {
      if (event.type === 'zap') seen.push(codeOf(() => table.begin()), table.stale(state, map.start, 4096), table.stale(state, map.start + 4096n, 4096), table.translate(map.start));
    });
    mm.madvise(map.start, 4096, 'dontneed');
    stop();
    expect(seen).toEqual(['EBUSY: begin: app did not settle within 5 ms (EBUSY)', true, false, null]);
    expect(codeOf(() => table.begin())).toBe('nothing thrown');
  });

  test('a process that ended is gone for who knew it', async () => {
    const { mm, map, attached } = await scene();
    const table = attached.table('app');
    const state = table.begin();
    mm.exit();
    expect(codeOf(() => table.translate(map.start))).toBe('EFAULT: translate: process app has ended (EFAULT)');
    expect(codeOf(() => [...table.walk(map.start, 4096)])).toBe('EFAULT: walk: process app has ended (EFAULT)');
    expect(table.stale(state, map.start, 4096)).toBe(true);
  });
});

describe('refusals', () => {
  test('an arena that is not shared memory', async () => {
    const machine = await createMachine({ arena: 16 * MiB, build: 'simd', native: 'off' });
    expect(codeOf(() => machine.share())).toBe("EOPNOTSUPP: share: the arena is not shared memory (WASM build simd): make the machine with build 'shared' (EOPNOTSUPP)");
  });

  test('options that are none', async () => {
    const { machine, handle } = await scene();
    expect(codeOf(() => machine.share({ workers: 64 }))).toBe('RangeError: share: workers 64 is not a whole number from 1 to 63');
    expect(codeOf(() => machine.share({ worker: 1 } as object))).toBe("TypeError: share: unknown option 'worker' (did you mean workers?); known: workers, mirrors");
    expect(codeOf(() => attach({} as ShareHandle))).toBe('TypeError: attach: handle must come from machine.share(), not an object');
    expect(codeOf(() => attach(handle, { patienceMs: -1 }))).toBe('RangeError: attach: patienceMs -1 is not more than 0');
    expect(codeOf(() => machine.tend({ threadId: -1, once: () => {} }))).toBe('EINVAL: tend: the Worker has ended already (EINVAL)');
    expect(codeOf(() => machine.tend({} as never))).toBe('TypeError: tend: worker is no Worker of node:worker_threads');
  });

  test('a handle of another ABI version', async () => {
    const { handle } = await scene();
    expect(codeOf(() => attach({ ...handle, abiVersion: 77 }))).toMatch(/^ENOEXEC: attach: the arena has ABI version 77, this library \d+ \(ENOEXEC\)$/);
  });

  test('a name that nothing has: the known ones are told', async () => {
    const { attached } = await scene();
    expect(codeOf(() => attached.table('ap'))).toBe("ENOENT: table: nothing called 'ap' is shared (known: app) (ENOENT)");
  });

  test('a machine that was reset, or disposed: everything is void, and may be shared anew', async () => {
    const { machine, map, handle, attached } = await scene();
    const table = attached.table('app');
    machine.reset();
    const gone = 'the machine was reset or disposed since it was shared (ENXIO)';
    expect(codeOf(() => table.translate(map.start))).toBe(`ENXIO: translate: ${gone}`);
    expect(codeOf(() => table.read(map.start, 1))).toBe(`ENXIO: read: ${gone}`);
    expect(codeOf(() => table.fault(map.start, 1))).toBe(`ENXIO: fault: ${gone}`);
    expect(codeOf(() => attach(handle))).toBe(`ENXIO: attach: ${gone}`);
    attached.detach();
    machine.mm({ name: 'next' });
    const again = machine.share();
    expect(attach(again).names).toEqual(['next']);
    machine.dispose();
    expect(codeOf(() => attach(again))).toBe(`ENXIO: attach: ${gone}`);
  });

  test('more Workers than places: who has them is told; one that detaches makes room', async () => {
    const { handle, attached } = await scene();
    const table = attached.table('app');
    const others = Array.from({ length: handle.workers - 1 }, () => attach(handle));
    expect(codeOf(() => attach(handle))).toMatch(/^EAGAIN: attach: all 4 places for Workers are taken \(by threads [\d, -]+\); share\(\{ workers \}\) makes more \(EAGAIN\)$/);
    others[1]?.detach();
    others[1]?.detach();
    expect(codeOf(() => attach(handle))).toBe('nothing thrown');
    attached.detach();
    expect(codeOf(() => attached.table('app'))).toBe('EBADF: table: the Worker has detached (EBADF)');
    expect(codeOf(() => table.translatePage(1))).toBe('EBADF: translate: the Worker has detached (EBADF)');
  });

  test('no answer from the owner', async () => {
    const { machine, map, handle } = await scene();
    using impatient = attach(handle, { patienceMs: 60 });
    const refusal = 'EAGAIN: fault: the owner did not answer within 60 ms; it has to call machine.serve() or machine.tend(worker) (EAGAIN)';
    expect(codeOf(() => impatient.table('app').fault(map.start, 4096))).toBe(refusal);
    expect(machine.serve()).toBe(0);
  });

  test('too many tables', async () => {
    const { machine } = await scene();
    for (let i = 0; i < 64; i++) machine.mm();
    expect(codeOf(() => machine.share())).toBe('ENOSPC: share: 64 tables are shared already (ENOSPC)');
  });
});

test('before the arena is used anew the owner waits for who writes to it, and not for ever', async () => {
  const { machine, handle } = await scene();
  const i32 = new Int32Array(handle.memory.buffer);

  Atomics.store(i32, (REQUESTS + REQUEST_STRIDE + CALL_BUSY) >>> 2, 1);
  const start = performance.now();
  machine.reset();
  expect(performance.now() - start).toBeGreaterThan(1000);
}, 20_000);
