/** An interval notifier that writes down what it hears, in pages relative to its start: 'CLEAR 0-512'. */
import type { IntervalSub, Mm } from '../../dist/mm/index.js';
import type { Sleepable } from '../../dist/sched/index.js';

export interface Listener {
  readonly sub: IntervalSub;
  /** what was heard since the last call */
  heard(): string[];
}

export function listen(mm: Mm, start: number, npages: number): Listener {
  const log: string[] = [];
  const sub = mm.notifiers.insert('listener', start, start + npages, function* invalidate(range, seq): Sleepable<boolean> {
    mm.notifiers.setSeq(sub, seq);
    log.push(`${range.event} ${range.start - start}-${range.end - start}`);
    return true;
  });
  return { sub, heard: () => log.splice(0) };
}
