/** Advice about areas, and locking them in memory: advise, mlock, munlock; smaps, which only looks. */
import { madvise, mlock, munlock } from '../../mm/index.ts';
import type { OperationList } from '../operation.ts';
import { pageOf, pagesUp } from './mappings.ts';
import { adviseInject } from './pages.ts';

export const ADVICE_OPERATIONS: OperationList = {
  'advise ADDR LEN WORD': function* advise(process, args) {
    const advice = args.word('WORD');
    if (advice === 'hwpoison' || advice === 'softoffline') return yield* adviseInject(process, pageOf(process, args), pagesUp(args.size('LEN')), advice);
    yield* madvise(process.mm, pageOf(process, args), pagesUp(args.size('LEN')), advice);
    return { err: 'ok' };
  },
  'mlock ADDR LEN': function* lock(process, args) {
    yield* mlock(process.mm, pageOf(process, args), pagesUp(args.size('LEN')));
    return { err: 'ok' };
  },
  'munlock ADDR LEN': function* unlock(process, args) {
    yield* munlock(process.mm, pageOf(process, args), pagesUp(args.size('LEN')));
    return { err: 'ok' };
  },
  'smaps [ID]': function* smaps(process, args) {
    return { smaps: yield* process.smaps(args.word('ID')) };
  },
};
