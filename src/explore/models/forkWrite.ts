/** fork against a device that writes: its byte is there before the copy is taken, or goes to the parent's own page. */
import type { Mm } from '../../mm/index.ts';
import { Violation, type Model } from '../model.ts';

export const forkWrite: Model = {
  name: 'fork-write',
  about: 'fork(2) against a device that writes the page that is to be shared',
  tasks: 2,
  profile: 'v6.1',
  bugs: ['stale-pfn', 'skip-notifier', 'fork-untold', 'protection-ignored'],
  preemptions: 3,
  all: true,
  build(world) {
    const mm = world.process();
    const at = world.map(mm, null, 1);
    world.run(world.store(mm, at, 2));
    const device = world.device(mm, at, at + 1);
    let child: Mm | null = null;
    world.task('fork', (function* forks() {
      child = yield* world.core.fork(mm, 'c');
    })());
    world.task('device', device.write(at, 0, Uint8Array.of(7)), '');
    return () => {
      if (child === null) return 'no child';
      const before = world.byte(child, at);
      world.run(device.write(at, 0, Uint8Array.of(9)));
      if (world.byte(child, at) !== before || world.byte(mm, at) !== '9') throw new Violation('shared-page-written', "a write of the parent's device shows in the child");
      return `child ${before}`;
    };
  },
};
