/** A persistent memory device goes away under its mounted, mapped file system. */
import { afterEach, describe, expect, test } from 'vitest';
import { daxAllocate, daxFsync, daxRead, daxTruncate, daxWrite } from '../../../dist/dax/index.js';
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

describe('what files answer without their device', () => {
  async function withoutDevice(fsName: 'ext4' | 'xfs', profile = 'v6.1') {
    const rig = await makeMachine({ profile });
    const fs = rig.fileSystem(4096, fsName);
    const file = rig.file({ npages: 8, fs });
    rig.run(daxAllocate(file, 8 * 4096, 4 * 4096, false));
    rig.run(daxTruncate(file, 16 * 4096));
    rig.run(rig.core.unbindPmem(fs));
    return { rig, fs, file };
  }
  const refused = (code: string) => expect.objectContaining({ code }) as Error;

  test('holes and unwritten blocks read as zeroes, written ones not at all', async () => {
    const { rig, file } = await withoutDevice('ext4');
    expect(rig.run(daxRead(file, 8 * 4096, new Uint8Array(8 * 4096)))).toBe(8 * 4096);
    expect(() => rig.run(daxRead(file, 7 * 4096, new Uint8Array(4096)))).toThrow(refused('ENXIO'));
  });

  test('writes fail, and differently where blocks would have to be made', async () => {
    const { rig, file } = await withoutDevice('xfs');
    expect(() => rig.run(daxWrite(file, 0, new Uint8Array(16)))).toThrow(refused('ENXIO'));
    expect(() => rig.run(daxWrite(file, 9 * 4096, new Uint8Array(16)))).toThrow(refused('EIO'));
    expect(() => rig.run(daxWrite(file, 13 * 4096, new Uint8Array(16)))).toThrow(refused('EIO'));
  });

  test('a sync fails, and from then on ext4 changes nothing and XFS answers nothing', async () => {
    for (const [name, change, read] of [['ext4', 'EROFS', null], ['xfs', 'EIO', 'EIO']] as const) {
      const { rig, fs, file } = await withoutDevice(name);
      rig.run(daxTruncate(file, 12 * 4096));
      expect(() => rig.run(daxFsync(file))).toThrow(refused('EIO'));
      expect(() => rig.run(daxTruncate(file, 4096)), name).toThrow(refused(change));
      expect(() => fs.create('new')).toThrow(refused(change));
      const reads = (): number => rig.run(daxRead(file, 8 * 4096, new Uint8Array(4096)));
      if (read === null) expect(reads()).toBe(4096);
      else expect(reads).toThrow(refused(read));
    }
  });

  test('a truncate of what was mapped looks for pins on pages that are no more', async () => {
    const rig = await makeMachine();
    const fs = rig.fileSystem(4096);
    const file = rig.file({ npages: 8, fs });
    const at = rig.map(file, { npages: 8 });
    rig.touch(at, 'r');
    rig.run(rig.core.unbindPmem(fs));
    expect(() => rig.run(daxTruncate(file, 0))).toThrow(KernelCrash);
  });

  test('a read fault of a hole still maps zeroes', async () => {
    const rig = await makeMachine();
    const fs = rig.fileSystem(4096);
    const at = rig.map(rig.file({ npages: 8, fs, hole: true }), { npages: 8 });
    rig.run(rig.core.unbindPmem(fs));
    expect(rig.touch(at, 'r')).toBe(0);
    expect(() => rig.touch(at, 'w')).toThrow(expect.objectContaining({ signal: 'SIGBUS' }) as Error);
  });
});
