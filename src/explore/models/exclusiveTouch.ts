/** A page that is exclusive to a device, which the process touches while another thread of it gives the page back. */
import { useExclusive } from '../../dmirror/index.ts';
import { madviseDontneed } from '../../mm/index.ts';
import type { Model } from '../model.ts';

export const exclusiveTouch: Model = {
  name: 'exclusive-touch',
  about: 'a store to a page that is exclusive to a device against MADV_DONTNEED of it',
  tasks: 2,
  profile: 'v6.1',
  bugs: ['exclusive-removed-unheld'],
  preemptions: 3,
  all: true,
  build(world) {
    const mm = world.process();
    const at = world.map(mm, null, 1);
    world.run(world.store(mm, at, 2));
    const memory = world.core.newDeviceMemory('vram', 'private', 8);
    world.run(useExclusive(memory, mm, at, 1, () => undefined));
    world.task('cpu', world.store(mm, at, 3));
    world.task('dontneed', madviseDontneed(mm, at, 1));
    return () => `byte ${world.byte(mm, at)}`;
  },
};
