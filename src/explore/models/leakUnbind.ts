/**
 * The seed patch's leak: a walk that leaves by a special pte (a hole's page of zeroes) after devmap pages keeps its dev_pagemap
 * reference, and the device can never be unbound.
 */
import type { Model } from '../model.ts';

export const leakUnbind: Model = {
  name: 'leak-unbind',
  about: 'a device on the 2019 API that faults a file with a hole while the process unmaps it; then the pagemap is to go',
  tasks: 2,
  profile: 'v6.1',
  era: ['zero-page-special'],
  bugs: ['leak-pgmap-on-special'],
  preemptions: 3,
  all: true,
  build(world) {
    const fs = world.fileSystem();
    const inode = world.file(fs, 'f', 2, 1);
    const mm = world.process();
    const at = world.map(mm, inode, 2);
    world.run(world.store(mm, at, 1));
    world.byte(mm, at + 1);
    const device = world.device(mm, at, at + 2, { api: '2019' });
    world.task('device', device.fill(at, at + 2, false), mm.notifiers.touches);
    world.task('cpu', world.store(mm, at + 1, 2), '');
    return () => `byte ${world.byte(mm, at + 1)}, references ${fs.pgmap.refs}`;
  },
};
