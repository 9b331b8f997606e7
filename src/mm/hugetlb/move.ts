/**
 * mremap of huge pages (mm/hugetlb.c: move_hugetlb_page_tables): leaves of the pool's size go over as they are, under CLEAR, where other
 * memory moves under UNMAP. Both places are on whole pages.
 */
import type { Sleepable } from '../../sched/index.ts';
import type { Vpn } from '../../units.ts';
import { invalidateEnd, invalidateStart } from '../mm.ts';
import type { Vma } from '../vma.ts';
import { hugePageOf } from './open.ts';

/** Moves what `vma` maps in `[start, start + pages, null, 'mremap-untold')` to `dest`. Returns pages dealt with; fewer only when tables ran out. */
export function* moveHuge(vma: Vma, start: Vpn, dest: Vpn, pages: number): Sleepable<number> {
  const { mm } = vma;
  const pt = mm.pageTable;
  const { level, npages } = hugePageOf(vma);
  const range = yield* invalidateStart(mm, 'CLEAR', start, start + pages);
  let done = 0;
  for (; done < pages; done += npages) {
    pt.look(start + done);
    if (pt.level !== level || pt.none) continue;
    if (!pt.slot(dest + done, level)) break;
    pt.look(start + done);
    const { lo, hi } = pt;
    pt.setRaw(0, 0);
    pt.slot(dest + done, level);
    pt.setRaw(lo, hi);
  }
  invalidateEnd(mm, range);
  return done;
}
