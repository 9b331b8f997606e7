/**
 * A write into a hole of a DAX file against two faults of the page, of which one is for writing: each may have to wait for the page's entry
 * while another works on it, and whoever waits must come to his turn.
 */
import { daxWrite } from '../../dax/index.ts';
import { cpuLoad } from '../../mm/index.ts';
import type { Model } from '../model.ts';

export const writeFaults: Model = {
  name: 'write-faults',
  about: 'write(2) into a hole of a DAX file against a store and a load of the page, each in a mapping of its own',
  tasks: 3,
  profile: 'v6.12',
  bugs: ['dax-wakeup-missed', 'entry-change-untold'],
  preemptions: 2,
  all: false,
  build(world) {
    const inode = world.file(world.fileSystem(), 'f', 1, 0);
    const mm = world.process();
    const [at, there, elsewhere] = [world.map(mm, inode, 1), world.map(mm, inode, 1), world.map(mm, inode, 1)];
    world.byte(mm, elsewhere);
    world.task('write', daxWrite(inode, 0, Uint8Array.of(5)));
    world.task('store', world.store(mm, there, 7));
    world.task('load', cpuLoad(mm, at, 0, new Uint8Array(1)));
    return () => `byte ${world.byte(mm, at)}`;
  },
};
