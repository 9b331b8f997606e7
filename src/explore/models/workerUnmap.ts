/** munmap against a Worker: what it reads from the table in a thread of its own it takes for good only where nothing came between. */
import { munmap } from '../../mm/index.ts';
import type { Model } from '../model.ts';

export const workerUnmap: Model = {
  name: 'worker-unmap',
  about: 'munmap(2) of anonymous memory against a Worker that reads its entry',
  tasks: 2,
  profile: 'v6.1',
  bugs: ['worker-skips-retry'],
  preemptions: 3,
  all: true,
  build(world) {
    const mm = world.process();
    const at = world.map(mm, null, 1);
    world.run(world.store(mm, at, 5));
    const worker = world.worker(mm);
    let found = false;
    world.task('munmap', munmap(mm, at, 1));
    world.task('worker', (function* reads() {
      found = (yield* worker.read(at)) >= 0;
    })(), '');
    return () => `${found ? 'a frame' : 'nothing'}, areas ${mm.vmas.count}`;
  },
};
