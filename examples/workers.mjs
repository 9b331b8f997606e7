/* oxlint-disable unicorn/require-post-message-target-origin */
// A Worker reads a process's page table and memory while their owner, this thread, changes them.
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import { attach, createMachine, MiB } from 'daxmirror';

if (isMainThread) {
  const machine = await createMachine({ arena: 64 * MiB });
  const file = machine.pmem({ size: 64 * MiB }).file('model.bin', { size: 4 * MiB });
  file.write(8192, new TextEncoder().encode('from the medium'));
  const mm = machine.mm({ name: 'trainer' });
  const { start, length } = mm.mmap(file, { length: file.size });
  const worker = new Worker(new URL(import.meta.url), { workerData: { handle: machine.share(), start, length } });
  machine.tend(worker); // its requests are answered from the event loop
  worker.once('message', () => {
    mm.munmap(start, length / 2);
    worker.postMessage('unmapped');
  });
} else {
  const { handle, start, length } = workerData;
  const table = attach(handle).table('trainer');
  console.log(table.translate(start + 8192n)); // not mapped yet, and looking changes nothing
  console.log(new TextDecoder().decode(table.read(start + 8192n, 15))); // has the owner bring the page in
  const [{ pfns, state }] = table.walk(start, length); // a word a page, as hmm_range_fault() has it
  console.log(pfns.filter((word) => word !== 0n).length, 'pages, stale:', table.stale(state, start, length));
  parentPort.once('message', () => {
    console.log('stale:', table.stale(state, start, length / 2), table.stale(state, start + BigInt(length / 2), length / 2));
    try {
      table.fault(start, 4096);
    } catch (error) {
      console.log(error.message);
    }
  });
  parentPort.postMessage('walked');
}
