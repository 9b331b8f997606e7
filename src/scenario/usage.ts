/**
 * The grammar of an operation is its usage line: `map ID LEN WHAT [off=SIZE] [prot=PROT] [populate]`.
 *
 * Capitals are places, by kind: see KINDS. `a|b` is one of these words. In brackets: what may be left out; `[name=KIND]` and
 * `[word]` may stand in any order after the places. TEXT and OPERATION take the rest of the line.
 */
import { addressOf, numberOf, protOf, sizeOf } from './words.ts';

/** What a place takes: null where the word will not do. */
const KINDS: Readonly<Record<string, { readonly what: string; readonly read: (text: string) => unknown }>> = {
  ID: { what: 'a name', read: (text) => (/^\w{1,23}$/.test(text) ? text : null) },
  FILE: { what: 'the name of a file', read: (text) => (/^\w{1,23}$/.test(text) ? text : null) },
  WHAT: { what: "'anon' or the name of a file", read: (text) => (/^\w{1,23}$/.test(text) ? text : null) },
  ADDR: { what: 'an address (name+offset, [stack] or a number)', read: addressOf },
  SIZE: { what: 'a size (with K, M, G or P)', read: sizeOf },
  LEN: { what: 'a length (with K, M, G or P)', read: sizeOf },
  OFF: { what: 'an offset (with K, M, G or P)', read: sizeOf },
  N: { what: 'a number', read: numberOf },
  BYTE: { what: 'a byte', read: (text) => ((numberOf(text) ?? 256) < 256 ? numberOf(text) : null) },
  MS: { what: 'a time in ms', read: numberOf },
  PROT: { what: "a protection (of rwx, or '-')", read: protOf },
  FLAGS: { what: "'f' or 'fw'", read: (text) => (/^[fwp]+$/.test(text) ? text : null) },
  WORD: { what: 'a word', read: (text) => text },
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
  return { text, places, options };
}

/** What is wrong with `text` for `place`; null: nothing. */
export function misfit(place: Place, text: string): string | null {
  if (place.words !== null) return place.words.includes(text) ? null : `one of ${place.words.join(', ')} is meant, not '${text}'`;
  return misfitOfKind(place.kind, text);
}

export function misfitOfKind(kind: string, text: string): string | null {
  const known = KINDS[kind] ?? KINDS['WORD'];
  return known === undefined || known.read(text) !== null ? null : `${known.what} is meant, not '${text}'`;
}
