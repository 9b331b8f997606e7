/** A process ends while its file is truncated and devices write it: they are told, and have nothing left. */
import { daxTruncate } from '../../dax/index.ts';
import { exitMm } from '../../mm/index.ts';
import { Violation, type Model } from '../model.ts';

export const exitAll: Model = {
  name: 'exit-all',
  about: 'exit(2) against truncate of its file and two devices that write it',
  tasks: 4,
  profile: 'v6.1',
  bugs: ['stale-pfn', 'skip-notifier', 'truncate-untold'],
  preemptions: 2,
  all: false,
  build(world) {
    const inode = world.file(world.fileSystem(), 'f', 1);
    const mm = world.process();
    const at = world.map(mm, inode, 1);
    const devices = [world.device(mm, at, at + 1), world.device(mm, at, at + 1, { name: 'nic' })];
    world.task('exit', exitMm(mm), '');
    world.task('truncate', daxTruncate(inode, 0), inode.touches);
    for (const device of devices) world.task(device.name, device.write(at, 0, Uint8Array.of(7)), '');
    return () => {
      for (const device of devices) if (device.translate(at, false) >= 0) throw new Violation('mirror-coherent', `${device.name} has a page of a process that is gone`);
      return `blocks ${inode.extents.pages}`;
    };
  },
};
