/** munmap against a device that reads a page again and again: what it has of it must go before the page does. */
import { munmap } from '../../mm/index.ts';
import type { Model } from '../model.ts';

export const munmapRead: Model = {
  name: 'munmap-read',
  about: 'munmap(2) of anonymous memory against a device that reads it twice',
  tasks: 2,
  profile: 'v6.1',
  bugs: ['stale-pfn', 'skip-notifier', 'munmap-untold', 'munmap-never-ends'],
  preemptions: 3,
  all: true,
  build(world) {
    const mm = world.process();
    const at = world.map(mm, null, 1);
    world.run(world.store(mm, at, 5));
    const device = world.device(mm, at, at + 1);
    const seen = new Uint8Array(2);
    world.task('munmap', munmap(mm, at, 1), '');
    world.task('device', (function* readLoop() {
      for (let i = 0; i < 2; i++) yield* device.read(at, 0, seen.subarray(i, i + 1));
    })(), '');
    return () => `read ${seen.join(' ')}, areas ${mm.vmas.count}`;
  },
};
