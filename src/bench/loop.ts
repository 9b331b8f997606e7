/**
 * Loops of their own. V8 keeps what it learnt about a call with the source text around it: a loop shared by three WASM builds and a
 * native peer would be compiled for none of them, and cost half as much again. Users have one machine, so each contender gets a text
 * of its own.
 */

/** The function of `names` with `body`. `label` makes the text unlike all others: functions of one text are compiled as one. */
export function ownFunction<F>(label: string, names: readonly string[], body: string): F {
  return new Function(...names, `// ${label}\n${body}`) as F;
}
