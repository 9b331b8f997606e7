/** A page in a device's memory that the process touches while the driver empties that memory. */
import { movePages } from '../../dmirror/index.ts';
import { MIGRATE_VMA_SELECT_SYSTEM } from '../../mm/index.ts';
import type { Model } from '../model.ts';

export const privateTouch: Model = {
  name: 'private-touch',
  about: 'a load of a page in device-private memory against the driver that brings all of it back',
  tasks: 2,
  profile: 'v6.1',
  bugs: ['private-fault-unheld'],
  preemptions: 3,
  all: true,
  build(world) {
    const mm = world.process();
    const at = world.map(mm, null, 1);
    world.run(world.store(mm, at, 2));
    const memory = world.core.newDeviceMemory('vram', 'private', 8);
    world.run(movePages(memory, mm, at, 1, { to: 'device', select: MIGRATE_VMA_SELECT_SYSTEM }));
    world.task('cpu', world.store(mm, at, 3));
    world.task('driver', memory.evict(), '');
    return () => `byte ${world.byte(mm, at)}, ${memory.used} pages in use`;
  },
};
