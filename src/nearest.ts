/** What was meant by a word that nobody knows. */

/** Letters that may be wrong. */
const DISTANCE_MAX = 2;

/** `'fautl' (did you mean fault?)`; without the question where nothing is near. */
export function nearest(word: string, known: Iterable<string>): string {
  let best: { readonly name: string; readonly distance: number } | null = null;
  for (const name of known) {
    const distance = name.length > word.length + DISTANCE_MAX || word.length > name.length + DISTANCE_MAX ? Infinity : editDistance(word, name);
    if (distance <= DISTANCE_MAX && distance < name.length && distance < (best?.distance ?? Infinity)) best = { name, distance };
  }
  return `'${word}'${best === null ? '' : ` (did you mean ${best.name}?)`}`;
}

/** Letters put in, left out or changed, two neighbours swapped counting once. */
function editDistance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const above = rows[i - 1] as number[];
      const changed = (above[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      let least = Math.min((above[j] as number) + 1, (row[j - 1] as number) + 1, changed);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) least = Math.min(least, (rows[i - 2]?.[j - 2] as number) + 1);
      row.push(least);
    }
    rows.push(row);
  }
  return (rows[a.length] as number[])[b.length] as number;
}
