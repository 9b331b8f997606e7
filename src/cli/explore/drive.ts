/** Drives a search in slices, so that Ctrl-C is heard between two schedules. */
import type { Search, SearchReport } from '../../explore/index.ts';

const SLICE_MS = 50;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export interface Driven {
  readonly report: SearchReport;
  readonly seconds: number;
  /** null: it came to its end; else how to go on */
  readonly resume: string | null;
}

export async function driveSearch(search: Search): Promise<Driven> {
  const interrupt = new AbortController();
  const onSignal = (): void => interrupt.abort();
  for (const signal of SIGNALS) process.on(signal, onSignal);
  const start = performance.now();
  try {
    const steps = search.run();
    for (let done = false; !done; ) {
      for (const until = performance.now() + SLICE_MS; !done && performance.now() < until; ) done = steps.next().done === true;
      await new Promise((resolve) => setImmediate(resolve));
      if (interrupt.signal.aborted && !done) return { report: search.report, seconds: secondsSince(start), resume: search.resume };
    }
    return { report: search.report, seconds: secondsSince(start), resume: null };
  } finally {
    for (const signal of SIGNALS) process.off(signal, onSignal);
  }
}

function secondsSince(start: number): number {
  return (performance.now() - start) / 1000;
}
