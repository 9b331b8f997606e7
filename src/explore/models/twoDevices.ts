/** Two devices, one on each API, and a process write a page of a file in the gap that the process has just had punched. */
import { daxPunch } from '../../dax/index.ts';
import type { Model } from '../model.ts';

export const twoDevices: Model = {
  name: 'two-devices',
  about: 'two devices, one on each API, write a page while the process punches and stores to it',
  tasks: 3,
  profile: 'v6.1',
  bugs: ['stale-pfn', 'skip-notifier', 'punch-untold'],
  preemptions: 2,
  all: false,
  build(world) {
    const inode = world.file(world.fileSystem(), 'f', 1);
    const mm = world.process();
    const at = world.map(mm, inode, 1);
    const [modern, legacy] = [world.device(mm, at, at + 1), world.device(mm, at, at + 1, { name: 'nic', api: '2019' })];
    world.task('gpu', modern.write(at, 0, Uint8Array.of(7)), '');
    world.task('nic', legacy.write(at, 1, Uint8Array.of(8)), mm.notifiers.touches);
    world.task('cpu', (function* punches() {
      yield* daxPunch(inode, 0, 4096);
      yield* world.store(mm, at, 3);
    })(), inode.touches);
    return () => `blocks ${inode.extents.pages}, byte ${world.byte(mm, at)}`;
  },
};
