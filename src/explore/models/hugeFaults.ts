/**
 * A thread and a device fault one 2M page of a DAX file, for reading and for writing: who comes second finds an entry, and must not write over
 * it what his fault alone would give.
 */
import { PMD_PAGES } from '../../abi.ts';
import { cpuLoad } from '../../mm/index.ts';
import type { Model } from '../model.ts';

export const hugeFaults: Model = {
  name: 'huge-faults',
  about: 'a load of the process and a write of a device, to one 2M page of a DAX file',
  tasks: 2,
  profile: 'v6.12',
  bugs: ['insert-overwrites'],
  preemptions: 3,
  all: true,
  room: { arenaBytes: 32 * 2 ** 20, ramPages: 64 },
  build(world) {
    const inode = world.file(world.fileSystem('ext4', 4 * PMD_PAGES), 'f', PMD_PAGES, PMD_PAGES, PMD_PAGES);
    const mm = world.process();
    const at = world.map(mm, inode, PMD_PAGES);
    const device = world.device(mm, at, at + 1);
    world.task('load', cpuLoad(mm, at, 0, new Uint8Array(1)));
    world.task('device', device.write(at, 0, Uint8Array.of(7)), '');
    return () => `byte ${world.byte(mm, at)}`;
  },
};
