/** Children: fork, join. What `in` has them do, run.ts sees to. */
import { exitMm } from '../../mm/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import { Skip, type OperationList } from '../operation.ts';
import type { Process } from '../process.ts';

export const PROCESS_OPERATIONS: OperationList = {
  'fork ID': function* fork(process, args) {
    const id = args.word('ID');
    const mm = yield* process.guest.core.fork(process.mm, id);
    process.children.set(id, process.forked(mm, id));
    return { err: 'ok' };
  },
  // The child sees that nobody will ask it any more, and exits.
  'join ID': function* join(process, args) {
    const id = args.word('ID');
    const child = process.children.get(id);
    if (child === undefined) throw new Skip(`no child ${id}`);
    yield* ended(child);
    process.children.delete(id);
    return { exit: 0 };
  },
};

/** It exits; then its own children do, whom nobody asks any more either. */
function* ended(process: Process): Sleepable<void> {
  yield* exitMm(process.mm);
  for (const child of process.children.values()) yield* ended(child);
}
