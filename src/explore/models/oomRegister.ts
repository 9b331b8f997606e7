/**
 * The OOM reaper, whose invalidations may not block, against a device on the 2019 API that registers its mirror and a range: a refused
 * start leaves the memory, and nothing counts as in flight for ever.
 */
import { oomReap } from '../../mm/index.ts';
import { Violation, type Model } from '../model.ts';

export const oomRegister: Model = {
  name: 'oom-register',
  about: 'the OOM reaper (not blockable) against a device on the 2019 API that registers and reads',
  tasks: 2,
  profile: 'v6.1',
  bugs: ['mirror-eagain-lost', 'nonblock-count-leak', 'stale-pfn', 'skip-notifier', 'oom-reap-untold', 'nonblock-skipped'],
  preemptions: 3,
  all: true,
  build(world) {
    const mm = world.process();
    const at = world.map(mm, null, 2);
    for (const vpn of [at, at + 1]) world.run(world.store(mm, vpn, 2));
    const seen = new Uint8Array(2);
    world.task('reaper', oomReap(mm));
    world.task('device', (function* registers() {
      const device = world.device(mm, at, at + 2, { api: '2019' });
      for (let i = 0; i < 2; i++) yield* device.read(at + i, 0, seen.subarray(i, i + 1));
    })());
    return () => {
      if (world.answers['device'] === 'EBUSY') throw new Violation('balanced', 'the device waits for an invalidation that was refused and counts as in flight for ever');
      return `read ${seen.join(' ')}, byte ${world.byte(mm, at)}`;
    };
  },
};
