/** Median, quartiles and extremes: what rounds come to. One absolute time says nothing, so there is no mean and no single value. */

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** the quartiles: half of the rounds lie between them */
  readonly lower: number;
  readonly upper: number;
}

/** Of at least one value. */
export function spreadOf(values: readonly number[]): Spread {
  if (values.length === 0) throw new RangeError('spreadOf: no values');
  const sorted = [...values].sort((a, b) => a - b);
  return { median: at(sorted, 0.5), min: at(sorted, 0), max: at(sorted, 1), lower: at(sorted, 0.25), upper: at(sorted, 0.75) };
}

/** The value `part` of the way through, between its neighbours where it falls between two. */
function at(sorted: readonly number[], part: number): number {
  const place = part * (sorted.length - 1);
  const below = sorted[Math.floor(place)] as number;
  return below + (place % 1) * ((sorted[Math.ceil(place)] as number) - below);
}

/** A spread, and the rounds it is made of. */
export interface QuietSpread extends Spread {
  readonly rounds: number;
  /** false: too few rounds were quiet, or its time was over too early, and all there are are in it */
  readonly isQuiet: boolean;
}

/** What a contender's rounds came to, and in which of them the core was its own. */
export interface Rounds {
  readonly ns: readonly number[];
  readonly quiet: readonly boolean[];
}

/** Of the quiet rounds where there are `wanted` of them, else of all. */
export function quietSpread({ ns, quiet }: Rounds, wanted: number): QuietSpread {
  const chosen = ns.filter((_, round) => quiet[round] === true);
  const isQuiet = chosen.length >= wanted;
  const values = isQuiet ? chosen : ns;
  return { ...spreadOf(values), rounds: values.length, isQuiet };
}

/** Round by round the ratio of two: what happened to the machine in a round happened to both. Quiet rounds are those of both. */
export function ratioSpread(of: Rounds, to: Rounds, wanted: number): QuietSpread {
  if (of.ns.length !== to.ns.length) throw new RangeError(`ratioSpread: ${of.ns.length} rounds against ${to.ns.length}`);
  const ratios = of.ns.map((value, round) => value / (to.ns[round] as number));
  return quietSpread({ ns: ratios, quiet: of.quiet.map((isQuiet, round) => isQuiet && to.quiet[round] === true) }, wanted);
}
