/**
 * Two reports side by side: what became faster or slower, and whether that is more than noise.
 *
 * Two runs happened to two machines, or to one at two times. So a row is judged by its time against a peer of its own run where both runs
 * have one, and by its ns only where they have none. The change is a range, from the quartiles of both; a verdict other than 'same' needs a
 * range that leaves 1 by more than either run's null row does.
 */
import type { Report, Row } from './report.ts';
import type { Spread } from './spread.ts';

export type Verdict = 'faster' | 'slower' | 'same' | 'new' | 'gone' | 'not measured';

export interface Change {
  readonly workload: string;
  readonly contender: string;
  /** what is compared: `ns`, or the time against this peer */
  readonly by: 'ns' | { readonly peer: string };
  readonly old: Spread | null;
  readonly now: Spread | null;
  /** now / old: of the medians, and of the nearest and farthest quartiles; null where one is missing */
  readonly ratio: { readonly median: number; readonly lower: number; readonly upper: number } | null;
  /** what a ratio has to differ from 1 by to be no noise */
  readonly noise: number;
  readonly verdict: Verdict;
}

/** Differences below this are noise on any machine. */
const NOISE_MIN = 0.05;

/** One change for each row of either report but the null rows, in the order of `now`, then what is gone. */
export function compareReports(old: Report, now: Report): Change[] {
  const before = rowsOf(old);
  const after = rowsOf(now);
  const noise = new Map([...noiseOf(before)].map(([name, own]) => [name, own] as const));
  for (const [name, own] of noiseOf(after)) noise.set(name, Math.max(own, noise.get(name) ?? 0));
  const olds = new Map(before.map((row) => [keyOf(row), row]));
  const changes = after.filter(({ isNull }) => !isNull).map((row) => changeOf(olds.get(keyOf(row)), row, noise.get(row.workload) ?? NOISE_MIN));
  const known = new Set(after.map(keyOf));
  const gone = before.filter((row) => !row.isNull && !known.has(keyOf(row)));
  return [...changes, ...gone.map((row): Change => ({ ...named(row), by: 'ns', old: row.ns, now: null, ratio: null, noise: NOISE_MIN, verdict: 'gone' }))];
}

function rowsOf({ tables }: Report): Row[] {
  return tables.flatMap(({ rows }) => rows);
}

function keyOf({ workload, contender }: Row): string {
  return `${workload}\n${contender}`;
}

function named({ workload, contender }: Row): Pick<Change, 'workload' | 'contender'> {
  return { workload, contender };
}

/** What the null rows say of each workload. */
function noiseOf(rows: readonly Row[]): Map<string, number> {
  const noise = new Map<string, number>();
  for (const row of rows) {
    const ratio = row.isNull ? row.ratios[rows.find((one) => one.workload === row.workload)?.contender ?? ''] : undefined;
    if (ratio !== undefined) noise.set(row.workload, Math.max(NOISE_MIN, Math.abs(ratio.median - 1), (ratio.upper - ratio.lower) / 2));
  }
  return noise;
}

function changeOf(old: Row | undefined, now: Row, noise: number): Change {
  if (old === undefined) return { ...named(now), by: 'ns', old: null, now: now.ns, ratio: null, noise, verdict: 'new' };
  const peer = now.against.find((name) => name !== now.contender && old.ratios[name] !== undefined && now.ratios[name] !== undefined);
  const by = peer === undefined ? 'ns' : { peer };
  const from = peer === undefined ? old.ns : (old.ratios[peer] as Spread);
  const to = peer === undefined ? now.ns : (now.ratios[peer] as Spread);
  if (from === null || to === null) return { ...named(now), by, old: from, now: to, ratio: null, noise, verdict: 'not measured' };
  const ratio = { median: to.median / from.median, lower: to.lower / from.upper, upper: to.upper / from.lower };
  return { ...named(now), by, old: from, now: to, ratio, noise, verdict: ratio.lower > 1 + noise ? 'slower' : ratio.upper < 1 - noise ? 'faster' : 'same' };
}
