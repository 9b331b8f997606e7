/** Commands that take a run up again: from where it stood, or up to what it found. */

/** The command line as given, with the seed that was used, from operation `begin` on. */
export function goOn(argv: readonly string[], seed: number, begin: number): string {
  return command(argv, /^(-b|--begin|-S|--seed)$/, /^(-b.|--begin=|-S.|--seed=)/, [`-S ${seed}`, `-b ${begin}`]);
}

/** The same up to operation `at`; `cutEvery`: operations between two power cuts, 0 none. */
export function upTo(argv: readonly string[], { seed, at, cutEvery }: { readonly seed: number; readonly at: number; readonly cutEvery: number }): string {
  const taken = /^(-N|--ops|-S|--seed|--duration|--record-ops|--cut-every)$/;
  return command(argv, taken, /^(-N.|--ops=|-S.|--seed=|--duration=|--record-ops=|--cut-every=)/, [`-S ${seed}`, `-N ${at}`, ...(cutEvery > 0 ? [`--cut-every ${cutEvery}`] : [])]);
}

/** Without the options `taken`, whose value is the next word, and `joined`, which have it in theirs; with `more`. */
function command(argv: readonly string[], taken: RegExp, joined: RegExp, more: readonly string[]): string {
  const kept: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] as string;
    if (taken.test(word)) i++;
    else if (!joined.test(word)) kept.push(inShell(word));
  }
  return `daxmirror ${[...kept, ...more].join(' ')}`;
}

/** A word as a shell has to read it. */
function inShell(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
