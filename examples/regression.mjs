/** A regression test of DAX and HMM together: node --test examples/regression.mjs. With BUG=punch-untold (daxmirror bugs) it fails. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { MiB, createChecker, createMachine, createMirror, findingText } from 'daxmirror';

const bugs = process.env.BUG ? [process.env.BUG] : [];

for (const profile of ['v6.1', 'v6.12']) {
  for (const api of ['modern', '2019']) {
    test(`a device on the ${api} API follows a DAX file, whatever ${profile} does to it`, async () => {
      const machine = await createMachine({ arena: 64 * MiB, profile, bugs });
      const pmem = machine.pmem({ size: 64 * MiB });
      const file = pmem.file('data', { size: 4 * MiB });
      const mm = machine.mm();
      const { start } = mm.mmap(file, { length: file.size });
      const gpu = createMirror(mm, { api });
      const checker = createChecker(machine, { mirrors: [gpu], pmems: [pmem] });
      const steps = {
        'device write': () => gpu.write(start, new Uint8Array(4 * MiB).fill(1)),
        fsync: () => file.fsync(),
        'write again': () => gpu.write(start + 5000n, Uint8Array.of(2)),
        mprotect: () => mm.mprotect(start, MiB, 'r'),
        'refused write': () => assert.throws(() => gpu.write(start, Uint8Array.of(3)), { code: 'EPERM' }),
        punch: () => file.punch(MiB, MiB),
        'read of the hole': () => assert.equal(gpu.read(start + BigInt(MiB), 1)[0], 0),
        truncate: () => file.truncate(2 * MiB),
        'read beyond the end': () => assert.throws(() => gpu.read(start + BigInt(3 * MiB), 1), { code: 'EFAULT' }),
        munmap: () => mm.munmap(start, 4 * MiB),
      };
      for (const [name, step] of Object.entries(steps)) {
        step();
        assert.deepEqual(checker.step(name).map(findingText), []);
      }
      assert.deepEqual(checker.end('the end').map(findingText), []);
    });
  }
}
