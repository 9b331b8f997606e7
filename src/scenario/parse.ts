/**
 * Reads a scenario file: one operation a line; `#` begins a comment, the first of which is the title; `# isolated` wants a boot of
 * its own. The whole file is checked before anything runs: what is wrong throws ScenarioError with its place.
 */
import { ScenarioError } from './error.ts';
import type { Operations } from './operation.ts';
import { misfit, misfitOfKind, type Usage } from './usage.ts';
import { addressOf, numberOf, protOf, sizeOf, type AddressWord } from './words.ts';

export interface Script {
  readonly name: string;
  readonly title: string;
  readonly isolated: boolean;
  readonly lines: readonly Line[];
}

/** One operation with its words. */
export interface Line {
  /** in the file, from 1 */
  readonly number: number;
  readonly op: string;
  /** as in the file, without blanks at its ends */
  readonly text: string;
  readonly args: Args;
}

interface Word {
  readonly text: string;
  readonly column: number;
}

/** The words of one operation, by their places in its usage. */
export class Args {
  readonly #places = new Map<string, string>();
  readonly #options = new Map<string, string>();
  /** the operation that an OPERATION place holds */
  inner: Line | null = null;

  set(place: string, text: string): void {
    this.#places.set(place, text);
  }

  setOption(name: string, value: string): void {
    this.#options.set(name, value);
  }

  has(name: string): boolean {
    return this.#options.has(name) || this.#places.has(name);
  }

  /** The word at a place or of an option, '' where there is none. */
  word(name: string): string {
    return this.#places.get(name) ?? this.#options.get(name) ?? '';
  }

  /** Bytes; `otherwise` where it was left out. */
  size(name: string, otherwise = 0): number {
    return sizeOf(this.word(name)) ?? otherwise;
  }

  number(name: string, otherwise = 0): number {
    return numberOf(this.word(name)) ?? otherwise;
  }

  prot(name: string, otherwise = 0): number {
    return protOf(this.word(name)) ?? otherwise;
  }

  address(name: string): AddressWord {
    return addressOf(this.word(name)) ?? { name: null, offset: 0 };
  }
}

export function parseScenario(file: string, text: string, operations: Operations): Script {
  const name = file.replace(/^.*[/\\]/, '').replace(/\.scn$/, '');
  let title = '';
  let isolated = false;
  const lines: Line[] = [];
  for (const [i, raw] of text.split(/\r?\n/).entries()) {
    const line = raw.trim();
    if (line.startsWith('#')) {
      const comment = line.slice(1).trim();
      if (comment === 'isolated') isolated = true;
      if (title === '') title = comment;
    } else if (line !== '') lines.push(parseLine({ file, number: i + 1, operations }, wordsOf(raw), line));
  }
  return { name, title, isolated, lines };
}

interface Context {
  readonly file: string;
  readonly number: number;
  readonly operations: Operations;
}

function wordsOf(raw: string): Word[] {
  return Array.from(raw.matchAll(/\S+/g), (match) => ({ text: match[0], column: match.index + 1 }));
}

function parseLine(context: Context, words: readonly Word[], text: string): Line {
  const [head, ...rest] = words;
  if (head === undefined) throw new ScenarioError(context.file, context.number, 1, 'an operation is missing');
  const operation = context.operations.get(head.text);
  if (operation === undefined) throw new ScenarioError(context.file, context.number, head.column, `no operation '${head.text}'`);
  return { number: context.number, op: head.text, text, args: parseArgs(context, operation.usage, head, rest) };
}

function parseArgs(context: Context, usage: Usage, head: Word, words: readonly Word[]): Args {
  const args = new Args();
  const fail = (at: Word, what: string): never => {
    throw new ScenarioError(context.file, context.number, at.column, `${head.text}: ${what} (${usage.text})`);
  };
  let next = 0;
  for (let i = 0; i < words.length; i++) {
    const word = words[i] as Word;
    const place = usage.places[next];
    if (place?.rest === true) {
      const rest = words.slice(i);
      args.set(place.name, rest.map(({ text }) => text).join(' '));
      if (place.kind === 'OPERATION') args.inner = parseLine(context, rest, args.word(place.name));
      return args;
    }
    if ((place === undefined || place.optional) && setOption(args, usage, word, fail)) continue;
    if (place === undefined) fail(word, `'${word.text}' is one word too many`);
    else {
      const wrong = misfit(place, word.text);
      if (wrong !== null) fail(word, wrong);
      args.set(place.name, word.text);
      next++;
    }
  }
  const missing = usage.places[next];
  if (missing !== undefined && !missing.optional) fail(head, `${missing.name} is missing`);
  return args;
}

/** Takes `word` for an option where it is one. */
function setOption(args: Args, usage: Usage, word: Word, fail: (at: Word, what: string) => never): boolean {
  const [name = '', value] = word.text.split(/=(.*)/s);
  const kind = usage.options.get(name);
  if (kind === undefined) return false;
  if (kind === null ? value !== undefined : value === undefined) fail(word, kind === null ? `${name} takes no value` : `${name} needs a value`);
  const wrong = kind === null ? null : misfitOfKind(kind, value ?? '');
  if (wrong !== null) fail(word, wrong);
  args.setOption(name, value ?? '');
  return true;
}
