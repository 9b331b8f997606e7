/** truncate against a device that faults the page: the lifetime race of file system and mirror. */
import { daxTruncate } from '../../dax/index.ts';
import type { Model } from '../model.ts';

export const truncateFault: Model = {
  name: 'truncate-fault',
  about: 'truncate(2) against a device that faults the page',
  tasks: 2,
  profile: 'v6.1',
  bugs: ['stale-pfn', 'skip-notifier', 'set-seq-forgotten', 'retry-outside-lock', 'truncate-frees-first'],
  preemptions: 3,
  all: true,
  build(world) {
    const inode = world.file(world.fileSystem(), 'f', 1);
    const mm = world.process();
    const at = world.map(mm, inode, 1);
    const device = world.device(mm, at, at + 1);
    world.task('truncate', daxTruncate(inode, 0), inode.touches);
    world.task('device', device.fill(at, at + 1, false), '');
    return () => `size ${inode.size}, blocks ${inode.extents.pages}, byte ${world.byte(mm, at)}`;
  },
};
