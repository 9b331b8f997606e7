/**
 * hmm_release(), 2019: as a process exits each mirror is called for the last time. Until it has been, it must hear of what others take
 * away: a truncate of the file that it has mapped.
 */
import { daxTruncate } from '../../dax/index.ts';
import { exitMm } from '../../mm/index.ts';
import type { Model } from '../model.ts';

export const releaseWindow: Model = {
  name: 'release-window',
  about: 'exit(2) against truncate of a file that a device on the 2019 API has mapped',
  tasks: 2,
  profile: 'v6.1',
  bugs: ['release-window', 'skip-notifier'],
  preemptions: 3,
  all: true,
  build(world) {
    const inode = world.file(world.fileSystem(), 'f', 1);
    const mm = world.process();
    const at = world.map(mm, inode, 1);
    const device = world.device(mm, at, at + 1, { api: '2019' });
    world.run(device.fill(at, at + 1, true));
    world.task('exit', exitMm(mm), '');
    world.task('truncate', daxTruncate(inode, 0), inode.touches);
    return () => `size ${inode.size}, blocks ${inode.extents.pages}`;
  },
};
