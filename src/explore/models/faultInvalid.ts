/**
 * hmm_range_fault(), 2019, of a range that has become invalid since the driver waited for it: EAGAIN, with mmap_sem dropped. The words of the
 * fault before are still where the driver has them; and EBUSY, with mmap_sem held, is another answer.
 */
import { madviseDontneed } from '../../mm/index.ts';
import type { Model } from '../model.ts';

export const faultInvalid: Model = {
  name: 'fault-invalid',
  about: 'a device on the 2019 API that reads a page, for the second time, while the process drops it: a range that is invalid when it is faulted',
  tasks: 2,
  profile: 'v6.1',
  era: ['invalid-range-eagain'],
  bugs: ['eagain-ignored', 'lock-dropped-twice', 'lock-kept-on-ebusy', 'valid-aba'],
  preemptions: 3,
  all: true,
  build(world) {
    const mm = world.process();
    const at = world.map(mm, null, 1);
    world.run(world.store(mm, at, 5));
    const device = world.device(mm, at, at + 1, { api: '2019' });
    const seen = new Uint8Array(1);
    world.run(device.read(at, 0, seen));
    world.run(madviseDontneed(mm, at, 1));
    world.run(world.store(mm, at, 6));
    world.task('device', device.read(at, 0, seen), '');
    world.task('cpu', madviseDontneed(mm, at, 1));
    return () => `read ${seen[0]}`;
  },
};
