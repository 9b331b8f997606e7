/** A clone of a file against a device that writes the original: the byte is in both files, or in the original alone. */
import { daxClone } from '../../dax/index.ts';
import { Violation, type Model } from '../model.ts';

export const reflinkWrite: Model = {
  name: 'reflink-write',
  about: 'FICLONE of a mapped file (XFS) against a device that writes it',
  tasks: 2,
  profile: 'v6.1',
  bugs: ['stale-pfn', 'skip-notifier'],
  preemptions: 3,
  all: true,
  build(world) {
    const fs = world.fileSystem('xfs');
    const [source, copy] = [world.file(fs, 'f', 1), world.file(fs, 'copy', 1, 0)];
    const mm = world.process();
    const at = world.map(mm, source, 1);
    const there = world.map(mm, copy, 1);
    world.run(world.store(mm, at, 2));
    const device = world.device(mm, at, at + 1);
    world.task('clone', daxClone(source, copy, { from: 0, length: 0, to: 0 }), source.touches);
    world.task('device', device.write(at, 0, Uint8Array.of(7)), '');
    return () => {
      const before = world.byte(mm, there);
      world.run(device.write(at, 0, Uint8Array.of(9)));
      if (world.byte(mm, at) !== '9') throw new Violation('mirror-coherent', 'the device writes where its process does not read');
      if (world.byte(mm, there) !== before) throw new Violation('shared-block-written', "a device's write of one file shows in the other");
      return `copy ${before}`;
    };
  },
};
