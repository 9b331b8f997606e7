/** A driver that pins a page, writes by DMA and gives it back, against truncate: the block is not freed while it is pinned. */
import { daxTruncate } from '../../dax/index.ts';
import { pinUserPages, unpinUserPages } from '../../mm/index.ts';
import type { Pfn } from '../../units.ts';
import { Violation, type Model } from '../model.ts';

export const pinTruncate: Model = {
  name: 'pin-truncate',
  about: 'truncate(2) against DMA to a page that is pinned meanwhile, and a device that faults it',
  tasks: 3,
  profile: 'v6.1',
  bugs: ['stale-pfn', 'skip-notifier', 'truncate-untold', 'truncate-frees-first'],
  preemptions: 2,
  all: false,
  build(world) {
    const inode = world.file(world.fileSystem(), 'f', 1);
    const mm = world.process();
    const at = world.map(mm, inode, 1);
    const device = world.device(mm, at, at + 1);
    const { sched } = world.platform;
    const { allocator } = inode.fs;
    const dma = (pfns: readonly Pfn[]): void => {
      if (pfns.some((pfn) => allocator.isFree(pfn))) throw new Violation('blocks-owned', 'DMA goes to a freed block');
    };
    world.task('dma', (function* pinned() {
      const { err, pfns } = yield* pinUserPages(mm, at, 1, { write: true, longterm: false });
      if (err !== null) return;
      if (sched.concurrent) yield sched.point('dma', '*');
      dma(pfns);
      if (sched.concurrent) yield sched.point('unpin', '*');
      dma(pfns);
      unpinUserPages(mm, pfns);
    })(), mm.touches);
    world.task('truncate', daxTruncate(inode, 0), inode.touches);
    world.task('device', device.fill(at, at + 1, true), '');
    return () => `size ${inode.size}, blocks ${inode.extents.pages}`;
  },
};
