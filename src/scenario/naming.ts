/**
 * Which names each operation gives and needs, so that a name nobody gave is found before anything runs.
 *
 * A name counts as given by every line that tries to, whoever carries it out: whether that line succeeds, and whether the process that
 * asks has heard of it (a child knows what its parent had named when it was forked), shows when it runs.
 */
import type { Line } from './parse.ts';

type Kind = 'area' | 'file' | 'mirror' | 'set of pins' | 'child' | 'thread' | 'device';

interface Naming {
  readonly gives?: readonly [kind: Kind, place: string];
  readonly needs?: readonly (readonly [kind: Kind, place: string])[];
}

const file: Naming = { needs: [['file', 'ID']] };
const mirror: Naming = { needs: [['mirror', 'ID']] };
const device: Naming = { needs: [['device', 'ID']] };

/** Areas in places that hold addresses are not listed: those are found by their form. */
const NAMING: Readonly<Record<string, Naming>> = {
  map: { gives: ['area', 'ID'], needs: [['file', 'WHAT']] },
  hole: { gives: ['area', 'ID'] },
  remap: { gives: ['area', 'ID'] },
  open: { gives: ['file', 'ID'] },
  memfd: { gives: ['file', 'ID'] },
  close: file, unlink: file, truncate: file, falloc: file, pwrite: file, pread: file, fsync: file, stat: file, extents: file,
  clone: { needs: [['file', 'DST'], ['file', 'SRC']] },
  mirror: { gives: ['mirror', 'ID'] },
  events: mirror, unmirror: mirror,
  pin: { gives: ['set of pins', 'ID'] },
  unpin: { needs: [['set of pins', 'ID']] },
  fork: { gives: ['child', 'ID'] },
  in: { needs: [['child', 'ID']] },
  join: { needs: [['child', 'ID']] },
  async: { gives: ['thread', 'ID'] },
  wait: { needs: [['thread', 'ID']] },
  device: { gives: ['device', 'ID'] },
  fill: device, load: device, store: device,
  smaps: { needs: [['area', 'ID']] },
};

/** What has been named so far. */
export class Scope {
  readonly #given = new Set<string>();

  /** The first place of `line` that holds a name which nobody gave, and what is wrong with it; null: none. Learns what the line names. */
  enter(line: Line): { readonly place: string; readonly what: string; readonly inner: Line } | null {
    const { op, args } = line;
    const { gives, needs = [] } = NAMING[op] ?? {};
    for (const [kind, place] of needs) {
      const id = args.word(place);
      if (id === '' || (place === 'WHAT' && id === 'anon') || this.#has(kind, id)) continue;
      return { place, what: `no ${kind} '${id}'${this.#known(kind)}`, inner: line };
    }
    for (const [place, name] of args.areas()) {
      if (this.#has('area', name) || (op === 'page' && this.#has('set of pins', name))) continue;
      return { place, what: `no area '${name}'${this.#known('area')}`, inner: line };
    }
    const deeper = args.inner === null ? null : this.enter(args.inner);
    if (gives !== undefined) this.#give(gives[0], args.word(gives[1]));
    return deeper;
  }

  #give(kind: Kind, id: string): void {
    this.#given.add(`${kind} ${id}`);
  }

  #has(kind: Kind, id: string): boolean {
    return this.#given.has(`${kind} ${id}`);
  }

  #known(kind: Kind): string {
    const known = [...this.#given].filter((name) => name.startsWith(`${kind} `)).map((name) => name.slice(kind.length + 1));
    return known.length === 0 ? '' : ` (known: ${known.join(', ')})`;
  }
}
