/**
 * The OOM reaper, whose invalidations may not block, with two listeners: a virtual machine, and a mirror of the 2019 API whose device has
 * its lock at times. Where the mirror refuses, the machine, which has heard the start, must hear the end: until then its guest faults wait.
 */
import { oomReap } from '../../mm/index.ts';
import type { Model } from '../model.ts';

export const guestReap: Model = {
  name: 'guest-reap',
  about: 'the OOM reaper (not blockable) against a device on the 2019 API, beside a virtual machine that listens too',
  tasks: 2,
  profile: 'v6.1',
  bugs: ['range-end-unpaired'],
  preemptions: 3,
  all: true,
  build(world) {
    const mm = world.process();
    const at = world.map(mm, null, 1);
    world.run(world.store(mm, at, 2));
    const guest = world.guest(mm, at, 1);
    const device = world.device(mm, at, at + 1, { api: '2019' });
    world.task('reaper', oomReap(mm));
    world.task('device', device.fill(at, at + 1, false), '');
    return () => `in progress ${guest.inProgress}, byte ${world.byte(mm, at)}`;
  },
};
