/** Advice about areas, and locking them in memory: advise, mlock, munlock; smaps, which only looks. */
import { madvise, mlock, munlock } from '../../mm/index.ts';
import type { Vpn } from '../../units.ts';
import type { OperationList } from '../operation.ts';
import type { Args } from '../parse.ts';
import type { Process } from '../process.ts';
import { pageOf, pagesUp } from './mappings.ts';
import { adviseInject } from './pages.ts';

/** All pages that the range touches: addresses need not be aligned here. */
function pagesAround(process: Process, args: Args): [start: Vpn, npages: number] {
  const [vpn, within] = process.split(args.address('ADDR'));
  return [vpn, pagesUp(within + args.size('LEN'))];
}

export const ADVICE_OPERATIONS: OperationList = {
  'advise ADDR LEN ADVICE': function* advise(process, args) {
    const advice = args.word('ADVICE');
    if (advice === 'hwpoison' || advice === 'softoffline') return yield* adviseInject(process, pageOf(process, args), pagesUp(args.size('LEN')), advice);
    yield* madvise(process.mm, pageOf(process, args), pagesUp(args.size('LEN')), advice);
    return { err: 'ok' };
  },
  'mlock ADDR LEN': function* lock(process, args) {
    yield* mlock(process.mm, ...pagesAround(process, args));
    return { err: 'ok' };
  },
  'munlock ADDR LEN': function* unlock(process, args) {
    yield* munlock(process.mm, ...pagesAround(process, args));
    return { err: 'ok' };
  },
  'smaps [ID]': function* smaps(process, args) {
    return { smaps: yield* process.smaps(args.word('ID')) };
  },
};
