/** A page that moves to a device's memory against a process that touches it and another device that has it mapped. */
import { movePages } from '../../dmirror/index.ts';
import { MIGRATE_VMA_SELECT_SYSTEM } from '../../mm/index.ts';
import type { Model } from '../model.ts';

export const migrateTouch: Model = {
  name: 'migrate-touch',
  about: 'migration of a page to device memory against a store of the process and another device that reads it',
  tasks: 3,
  profile: 'v6.1',
  bugs: ['stale-pfn', 'skip-notifier', 'collect-untold'],
  preemptions: 2,
  all: false,
  build(world) {
    const mm = world.process();
    const at = world.map(mm, null, 1);
    world.run(world.store(mm, at, 2));
    const memory = world.core.newDeviceMemory('vram', 'private', 8);
    const device = world.device(mm, at, at + 1);
    const seen = new Uint8Array(1);
    world.task('migrate', movePages(memory, mm, at, 1, { to: 'device', select: MIGRATE_VMA_SELECT_SYSTEM }), '');
    world.task('cpu', world.store(mm, at, 3), '');
    world.task('device', device.read(at, 0, seen), '');
    return () => `read ${seen[0]}, byte ${world.byte(mm, at)}`;
  },
};
