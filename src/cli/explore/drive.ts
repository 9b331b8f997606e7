/** Drives a search in slices, so that Ctrl-C is heard between two schedules. */
import type { Search, SearchReport } from '../../explore/index.ts';
import { progressOn } from '../mirror/progress.ts';
import { progressText } from './text.ts';

const SLICE_MS = 50;
/** a phase that takes longer is told of on a terminal */
const QUIET_MS = 500;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export interface Driven {
  readonly report: SearchReport;
  readonly seconds: number;
  /** null: it came to its end; else how to go on */
  readonly resume: string | null;
}

export async function driveSearch(search: Search, quiet = false): Promise<Driven> {
  const interrupt = new AbortController();
  const onSignal = (): void => interrupt.abort();
  for (const signal of SIGNALS) process.on(signal, onSignal);
  const start = performance.now();
  const progress = progressOn(process.stderr, !quiet);
  try {
    const steps = search.run();
    for (let done = false; !done; ) {
      for (const until = performance.now() + SLICE_MS; !done && performance.now() < until; ) done = steps.next().done === true;
      if (performance.now() - start > QUIET_MS) progress.show(progressText(search.report, playedBy(search.report) / secondsSince(start)));
      await new Promise((resolve) => setImmediate(resolve));
      if (interrupt.signal.aborted && !done) return { report: search.report, seconds: secondsSince(start), resume: search.resume };
    }
    return { report: search.report, seconds: secondsSince(start), resume: null };
  } finally {
    progress.clear();
    for (const signal of SIGNALS) process.off(signal, onSignal);
  }
}

function playedBy({ phases }: SearchReport): number {
  return phases.reduce((sum, { schedules, pruned }) => sum + schedules + pruned, 0);
}

function secondsSince(start: number): number {
  return (performance.now() - start) / 1000;
}
