/**
 * The grammar of an operation is its usage line: `map ID LEN WHAT [off=SIZE] [prot=PROT] [populate]`.
 *
 * Capitals are places, by kind: see KINDS. `a|b` is one of these words. In brackets: what may be left out; `[name=KIND]` and
 * `[word]` may stand in any order after the places. TEXT and OPERATION take the rest of the line.
 */
import { invariant } from '../errno.ts';
import { addressOf, numberOf, protOf, sizeOf } from './words.ts';

const ADVICES: readonly string[] = [
  'normal', 'willneed', 'dontneed', 'free', 'remove', 'cold', 'pageout', 'hugepage', 'nohugepage', 'collapse', 'populate_read', 'populate_write', 'dontfork',
  'dofork', 'wipeonfork', 'mergeable', 'hwpoison', 'softoffline',
];

const NAME = 'a name (letters, digits and _, at most 23)';

function nameOf(text: string): string | null {
  return /^\w{1,23}$/.test(text) ? text : null;
}

/** What a place takes: null where the word will not do. */
const KINDS: Readonly<Record<string, { readonly what: string; readonly read: (text: string) => unknown }>> = {
  ID: { what: NAME, read: nameOf },
  FILE: { what: 'the name of a file', read: nameOf },
  DST: { what: 'the name of a file', read: nameOf },
  SRC: { what: 'the name of a file', read: nameOf },
  WHAT: { what: "'anon' or the name of a file", read: nameOf },
  ADDR: { what: 'an address (name+offset, [stack] or a number)', read: addressOf },
  SIZE: { what: 'a size (with K, M, G or P)', read: sizeOf },
  LEN: { what: 'a length (with K, M, G or P)', read: sizeOf },
  OLD: { what: 'a length (with K, M, G or P)', read: sizeOf },
  NEW: { what: 'a length (with K, M, G or P)', read: sizeOf },
  PAGES: { what: 'a number of pages', read: sizeOf },
  OFF: { what: 'an offset (with K, M, G or P)', read: sizeOf },
  SRCOFF: { what: 'an offset (with K, M, G or P)', read: sizeOf },
  DSTOFF: { what: 'an offset (with K, M, G or P)', read: sizeOf },
  N: { what: 'a number', read: numberOf },
  D: { what: 'the number of a device', read: numberOf },
  BYTE: { what: 'a byte', read: (text) => ((numberOf(text) ?? 256) < 256 ? numberOf(text) : null) },
  MS: { what: 'a time in ms', read: numberOf },
  PROT: { what: "a protection (of rwx, or '-')", read: protOf },
  FLAGS: { what: "'f' or 'fw'", read: (text) => (/^[fwp]+$/.test(text) ? text : null) },
  REQUESTS: { what: 'requests by page (0:f,2-5:fw)', read: (text) => (/^\d{1,9}(-\d{1,9})?:[fwp]+(,\d{1,9}(-\d{1,9})?:[fwp]+)*$/.test(text) ? text : null) },
  ADVICE: { what: `an advice (${ADVICES.join(', ')})`, read: (text) => (ADVICES.includes(text) ? text : null) },
  WORD: { what: 'a word', read: (text) => text },
  TEXT: { what: 'a text', read: (text) => text },
  OPERATION: { what: 'an operation', read: (text) => text },
};

export interface Place {
  readonly name: string;
  readonly kind: string;
  readonly words: readonly string[] | null;
  readonly optional: boolean;
  /** takes all that follows */
  readonly rest: boolean;
}

export interface Usage {
  readonly text: string;
  readonly places: readonly Place[];
  /** option -> kind of its value; null for one without */
  readonly options: ReadonlyMap<string, string | null>;
}

export function usageOf(text: string): Usage {
  const places: Place[] = [];
  const options = new Map<string, string | null>();
  for (const token of text.split(' ').slice(1)) {
    const optional = token.startsWith('[');
    const bare = optional ? token.slice(1, -1) : token;
    const [name = '', value] = bare.split('=');
    if (value !== undefined) options.set(name, value);
    else if (bare.includes('|')) places.push({ name: bare, kind: 'WORD', words: bare.split('|'), optional, rest: false });
    else if (bare === bare.toUpperCase()) places.push({ name: bare, kind: bare.replace(/\d+$/, ''), words: null, optional, rest: bare === 'TEXT' || bare === 'OPERATION' });
    else options.set(bare, null);
  }
  for (const kind of [...places.map((place) => place.kind), ...options.values()]) if (kind !== null) kindOf(kind);
  return { text, places, options };
}

/** What is wrong with `text` for `place`; null: nothing. */
export function misfit(place: Place, text: string): string | null {
  if (place.words !== null) return place.words.includes(text) ? null : `one of ${place.words.join(', ')} is meant, not '${text}'`;
  return misfitOfKind(place.kind, text);
}

export function misfitOfKind(kind: string, text: string): string | null {
  const { what, read } = kindOf(kind);
  return read(text) !== null ? null : `${what} is meant, not '${text}'`;
}

function kindOf(kind: string): (typeof KINDS)[string] {
  const known = Object.hasOwn(KINDS, kind) ? KINDS[kind] : undefined;
  invariant(known !== undefined, `no kind of word ${kind}`);
  return known;
}
