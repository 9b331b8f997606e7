/** A device-dax that is unbound against a device that faults its pages: nothing may lead to a pagemap that is gone. */
import { killDaxDevice } from '../../dax/index.ts';
import type { Model } from '../model.ts';

export const unbindFault: Model = {
  name: 'unbind-fault',
  about: 'unbind of a device-dax against a device on the 2019 API that faults it, and the process that stores to it',
  tasks: 3,
  profile: 'v6.1',
  bugs: ['stale-pfn', 'skip-notifier', 'unbind-untold'],
  preemptions: 2,
  all: false,
  build(world) {
    const dax = world.core.newDaxDevice('dax0', 512, 0);
    const mm = world.process();
    const at = world.map(mm, dax, 1);
    const device = world.device(mm, at, at + 1, { api: '2019' });
    world.task('unbind', killDaxDevice(dax), dax.touches);
    world.task('device', device.fill(at, at + 1, true), mm.notifiers.touches);
    world.task('cpu', world.store(mm, at, 3), '');
    return () => `pagemap ${dax.pgmap.state}, references ${dax.pgmap.refs}`;
  },
};
