/** Tasks of a scenario: each does its lines in order, and answers them; which of them goes on when is the scheduler's. */
import type { Scheduler, Sleepable, Step } from '../sched/index.ts';
import type { Answer } from './operation.ts';
import type { Line } from './parse.ts';
import { perform } from './perform.ts';
import type { Process } from './process.ts';

/**
 * Operations that are kernel paths and nothing else, whose points say what each stretch works on (`Point.touches`). Others do something of
 * their own besides, so each of their stretches counts as working on everything.
 */
const SAYS_WHAT_IT_TOUCHES: ReadonlySet<string> = new Set(['truncate', 'falloc', 'fsync', 'unmap', 'touch', 'fill', 'load', 'store', 'exit', 'reap']);

/** Where the answers go. */
export type Tell = (line: Line, answer: Answer) => void;

export function* performTask(process: Process, task: Line, tell: Tell): Sleepable<void> {
  const { sched } = process.guest.platform;
  for (const [i, line] of (task.body ?? []).entries()) {
    if (i > 0) yield* stopBefore(sched, line);
    const body = perform(process, line);
    tell(line, yield* SAYS_WHAT_IT_TOUCHES.has(line.op) ? body : touchingAll(body));
  }
}

function* stopBefore(sched: Scheduler, line: Line): Sleepable<void> {
  if (sched.concurrent) yield sched.point(line.text, '*');
}

/** `body`, each stretch of which counts as working on everything. */
function* touchingAll<T>(body: Sleepable<T>): Sleepable<T> {
  let turn = body.next();
  while (!turn.done) {
    const step: Step = { ...turn.value, touches: '*' };
    try {
      yield step;
    } catch (error) {
      turn = body.throw(error);
      continue;
    }
    turn = body.next();
  }
  return turn.value;
}
