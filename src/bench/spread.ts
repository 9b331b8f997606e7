/** Median and extremes: what rounds come to. One absolute time says nothing, so there is no mean and no single value. */

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** Of at least one value. */
export function spreadOf(values: readonly number[]): Spread {
  if (values.length === 0) throw new RangeError('spreadOf: no values');
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >>> 1;
  const median = sorted.length % 2 === 1 ? (sorted[middle] as number) : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
  return { median, min: sorted[0] as number, max: sorted.at(-1) as number };
}

/** Round by round `of[i] / to[i]`: what happened to the machine in a round happened to both. */
export function ratioSpread(of: readonly number[], to: readonly number[]): Spread {
  if (of.length !== to.length) throw new RangeError(`ratioSpread: ${of.length} rounds against ${to.length}`);
  return spreadOf(of.map((value, i) => value / (to[i] as number)));
}
