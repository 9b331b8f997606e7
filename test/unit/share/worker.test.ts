/* oxlint-disable unicorn/require-post-message-target-origin -- a Worker has none */
/** Real Workers: what they ask the owner for, how its errors reach them, and that one that dies leaves nothing behind. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { afterEach, expect, test } from 'vitest';
import { MiB, attach, createMachine, type Machine, type Mapping, type ShareHandle } from '../../../dist/index.js';

interface Reply {
  readonly value?: unknown;
  readonly name?: string;
  readonly code?: string;
  readonly op?: string;
  readonly addr?: bigint;
  readonly message?: string;
}

const workers: Worker[] = [];
afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.terminate()));
});

function start(machine: Machine, handle: ShareHandle): Worker {
  const worker = new Worker(new URL('../../support/shareWorker.mjs', import.meta.url), { workerData: { handle } });
  workers.push(worker);
  machine.tend(worker);
  return worker;
}

async function tell(worker: Worker, ...step: unknown[]): Promise<Reply> {
  worker.postMessage(step);
  return ((await once(worker, 'message')) as [Reply])[0];
}

async function scene(): Promise<{ machine: Machine; mm: ReturnType<Machine['mm']>; map: Mapping; handle: ShareHandle }> {
  const machine = await createMachine({ arena: 64 * MiB, native: 'off' });
  const file = machine.pmem({ size: 32 * MiB }).file('data', { size: 4 * MiB });
  file.write(8192, new TextEncoder().encode('on the medium'));
  const mm = machine.mm({ name: 'app' });
  const map = mm.mmap(file, { length: file.size, smallPages: true });
  return { machine, mm, map, handle: machine.share({ workers: 1 }) };
}

test('a Worker has pages brought in by the owner, and reads what they hold', async () => {
  const { machine, mm, map, handle } = await scene();
  const worker = start(machine, handle);
  expect(await tell(worker, 'attach')).toEqual({ value: undefined });
  expect(await tell(worker, 'translate', map.start + 8192n, 'r')).toEqual({ value: null });
  expect(await tell(worker, 'read', map.start + 8192n, 13)).toEqual({ value: 'on the medium' });
  expect(await tell(worker, 'fault', map.start, 4096, true)).toEqual({ value: undefined });
  expect(await tell(worker, 'translate', map.start + 5n, 'w')).toEqual({ value: mm.translate(map.start + 5n) });
  expect(machine.workers).toEqual([{ thread: worker.threadId, reads: expect.any(Number) as number, retries: expect.any(Number) as number }]);
});

test("the owner's errors cross with code, operation and address", async () => {
  const { machine, mm, map, handle } = await scene();
  const worker = start(machine, handle);
  await tell(worker, 'attach');
  mm.mprotect(map.start, 4096, 'r');
  const refused = { name: 'HmmError', op: 'hmm_range_fault', addr: map.start, message: expect.stringContaining('hmm_range_fault: a page of the range cannot be had') as string };
  expect(await tell(worker, 'fault', map.start, 4096, true)).toEqual({ ...refused, code: 'EPERM' });
  expect(await tell(worker, 'fault', map.end + 4096n, 4096, false)).toEqual({ ...refused, code: 'EFAULT', addr: map.end + 4096n });
  mm.exit();
  expect(await tell(worker, 'translate', map.start, 'r')).toMatchObject({ code: 'EFAULT', message: 'translate: process app has ended (EFAULT)' });
  expect(await tell(worker, 'fault', map.start, 4096, false)).toMatchObject({ code: 'EFAULT', op: 'fault', message: 'fault: the address space has ended (EFAULT)' });
  machine.reset();
  expect(await tell(worker, 'fault', map.start, 4096, false)).toMatchObject({ code: 'ENXIO' });
});

test('a Worker that exits, or dies in mid-walk, or in mid-request, frees its place and holds nothing up', async () => {
  const { machine, mm, map, handle } = await scene();
  for (const [how, ...step] of [['exit', 'die'], ['killed', 'spin'], ['killed', 'fault', map.start, 4096, true]] as const) {
    const worker = start(machine, handle);
    await tell(worker, 'attach');
    expect(() => attach(handle)).toThrow(expect.objectContaining({ code: 'EAGAIN' }) as Error);
    const ended = once(worker, 'exit');
    worker.postMessage(step);
    if (how === 'killed') {
      const until = performance.now() + 30; // the owner does not come to answer meanwhile
      while (performance.now() < until) void 0;
      await worker.terminate();
    }
    await ended;
    expect(machine.workers).toEqual([{ thread: null, reads: 0, retries: 0 }]);
    mm.store(map.start, new Uint8Array([1]));
    mm.munmap(map.start + 4096n, 4096);
    const here = attach(handle);
    expect(here.table('app').translate(map.start)).toBe(mm.translate(map.start));
    here.detach();
  }
});
