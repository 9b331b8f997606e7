/** A punch against a device that writes the page: its byte goes to the old block before, or to a new one after. */
import { daxPunch } from '../../dax/index.ts';
import type { Model } from '../model.ts';

export const punchWrite: Model = {
  name: 'punch-write',
  about: 'fallocate(2) with PUNCH_HOLE against a device that writes the page',
  tasks: 2,
  profile: 'v6.1',
  bugs: ['stale-pfn', 'skip-notifier', 'punch-untold', 'begin-does-not-wait'],
  preemptions: 3,
  all: true,
  build(world) {
    const inode = world.file(world.fileSystem(), 'f', 1);
    const mm = world.process();
    const at = world.map(mm, inode, 1);
    const device = world.device(mm, at, at + 1);
    world.task('punch', daxPunch(inode, 0, 4096), inode.touches);
    world.task('device', device.write(at, 0, Uint8Array.of(7)), '');
    return () => `blocks ${inode.extents.pages}, byte ${world.byte(mm, at)}`;
  },
};
