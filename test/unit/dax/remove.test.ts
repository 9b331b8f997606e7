/** A persistent memory device goes away under its mounted, mapped file system. */
import { afterEach, expect, test } from 'vitest';
import { daxRead } from '../../../dist/dax/index.js';
import { pinUserPages, unpinUserPages } from '../../../dist/mm/index.js';
import { KernelCrash } from '../../../dist/errno.js';
import { checkPgmaps, makeMachine, maps, stalePages } from '../../support/rig.ts';

afterEach(checkPgmaps);

test('what is mapped stays and reads; it is write-protected, and faults fail', async () => {
  const rig = await makeMachine();
  const fs = rig.fileSystem(4096);
  const at = rig.map(rig.file({ npages: 8, fs }), { npages: 8, smallPages: true });
  rig.touch(at, 'w', 5);
  rig.run(rig.core.unbindPmem(fs));
  expect(rig.touch(at, 'r')).toBe(5);
  expect(() => rig.touch(at, 'w')).toThrow(expect.objectContaining({ signal: 'SIGBUS', reason: 'ADRERR' }) as Error);
  expect(() => rig.touch(at + 1, 'r')).toThrow(expect.objectContaining({ signal: 'SIGBUS' }) as Error);
});

test('a mirror hears of the write-back and keeps no right to write', async () => {
  const rig = await makeMachine();
  const fs = rig.fileSystem(4096);
  const at = rig.map(rig.file({ npages: 8, fs }), { npages: 8, smallPages: true });
  const device = rig.device('modern');
  rig.run(device.write(at, 0, Uint8Array.of(7)));
  expect(maps(device, at, true)).toBe(true);
  rig.run(rig.core.unbindPmem(fs));
  expect(maps(device, at, true)).toBe(false);
  expect(stalePages(device, at, at + 8)).toEqual([]);
});

test('files: no device in 6.1, shut down in 6.12', async () => {
  for (const [profile, code] of [['v6.1', 'ENXIO'], ['v6.12', 'EIO']] as const) {
    const rig = await makeMachine({ profile });
    const fs = rig.fileSystem(4096);
    const file = rig.file({ npages: 8, fs });
    rig.run(rig.core.unbindPmem(fs));
    expect(() => rig.run(daxRead(file, 0, new Uint8Array(16)))).toThrow(expect.objectContaining({ code }) as Error);
  }
});

test('pins are not waited for, and cannot be given back; in v5.2 they are', async () => {
  for (const profile of ['v6.1', 'v5.2']) {
    const rig = await makeMachine({ profile });
    const fs = rig.fileSystem(4096);
    const at = rig.map(rig.file({ npages: 8, fs }), { npages: 8 });
    const { pfns } = rig.run(pinUserPages(rig.mm, at, 1, { write: true, longterm: false }));
    const { sched } = rig.platform;
    const task = sched.spawn('unbind', rig.core.unbindPmem(fs));
    rig.run(sched.sleep(1e9));
    expect(task.finished, profile).toBe(profile === 'v6.1');
    if (profile === 'v6.1') expect(() => unpinUserPages(rig.mm, pfns)).toThrow(KernelCrash);
    else unpinUserPages(rig.mm, pfns);
    rig.run(sched.sleep(1e9));
    expect(task.finished).toBe(true);
  }
});
