/**
 * range->valid, 2019: a driver waits for it, faults, and looks at it again before it programs. An invalidation that begins and ends in
 * between must leave it false.
 */
import { daxPunch } from '../../dax/index.ts';
import type { Model } from '../model.ts';

export const validAba: Model = {
  name: 'valid-aba',
  about: 'a punch against a device on the 2019 API: range->valid becomes true again behind its back',
  tasks: 2,
  profile: 'v6.1',
  bugs: ['valid-aba', 'stale-pfn'],
  preemptions: 3,
  all: true,
  build(world) {
    const inode = world.file(world.fileSystem(), 'f', 1);
    const mm = world.process();
    const at = world.map(mm, inode, 1);
    const device = world.device(mm, at, at + 1, { api: '2019' });
    world.task('punch', daxPunch(inode, 0, 4096), inode.touches);
    world.task('device', device.fill(at, at + 1, false), mm.notifiers.touches);
    return () => `blocks ${inode.extents.pages}, byte ${world.byte(mm, at)}`;
  },
};
