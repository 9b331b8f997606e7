/**
 * fsync against a device that writes: what the device wrote after the pages were cleaned must make them dirty again, or a later fsync
 * would not write it. So the device loses its right to write with the process.
 */
import { daxFsync } from '../../dax/index.ts';
import type { Model } from '../model.ts';

export const fsyncWrite: Model = {
  name: 'fsync-write',
  about: 'fsync(2) of a DAX file against a device that writes it',
  tasks: 2,
  profile: 'v6.1',
  bugs: ['stale-pfn', 'skip-notifier', 'writeback-untold', 'protection-ignored'],
  preemptions: 3,
  all: true,
  build(world) {
    const inode = world.file(world.fileSystem(), 'f', 1);
    const mm = world.process();
    const at = world.map(mm, inode, 1);
    const device = world.device(mm, at, at + 1);
    world.run(world.store(mm, at, 2));
    world.task('fsync', daxFsync(inode), inode.touches);
    world.task('device', device.write(at, 0, Uint8Array.of(7)), '');
    return () => `byte ${world.byte(mm, at)}, ${device.translate(at, true) >= 0 ? 'writable' : 'clean'}`;
  },
};
