/** munmap against a virtual machine that faults the page: what the guest maps must have been asked for since the last invalidation. */
import { munmap } from '../../mm/index.ts';
import type { Model } from '../model.ts';

export const guestMunmap: Model = {
  name: 'guest-munmap',
  about: 'munmap(2) of anonymous memory against a virtual machine that faults a page of it',
  tasks: 2,
  profile: 'v6.12',
  bugs: ['kvm-retry-skipped', 'skip-notifier', 'munmap-untold', 'munmap-never-ends'],
  preemptions: 3,
  all: true,
  build(world) {
    const mm = world.process();
    const at = world.map(mm, null, 1);
    world.run(world.store(mm, at, 5));
    const guest = world.guest(mm, at, 1);
    world.task('guest', guest.fault(0, true));
    world.task('munmap', munmap(mm, at, 1));
    return () => `frame ${guest.translate(0, false) < 0 ? 'none' : 'mapped'}, areas ${mm.vmas.count}`;
  },
};
