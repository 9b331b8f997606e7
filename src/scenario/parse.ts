/**
 * Reads a scenario file: one operation a line; `#` begins a comment, the first of which is the title; `# isolated` wants a boot of
 * its own; blocks of operations are tasks (blocks.ts). The whole file is checked before anything runs: what is wrong throws ScenarioError
 * with its place.
 */
import { checkIs, checkString } from '../api/checks.ts';
import { Blocks, unknownOperation } from './blocks.ts';
import { ScenarioError } from './error.ts';
import { LINES_MAX, LINE_BYTES_MAX, SCENARIO_MS_MAX, WORDS_MAX, excess } from './limits.ts';
import { Scope } from './naming.ts';
import type { Operations } from './operation.ts';
import { nearest } from '../nearest.ts';
import { misfit, misfitOfKind, type Place, type Usage } from './usage.ts';
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
  /** as in the file, without the blanks before it */
  readonly text: string;
  readonly args: Args;
  /** of a task: what it does */
  readonly body?: readonly Line[];
}

export interface Word {
  readonly text: string;
  readonly column: number;
}

/** The words of one operation, by their places in its usage. */
export class Args {
  readonly #words = new Map<string, Word & { readonly kind: string | null }>();
  /** the operation that an OPERATION place holds */
  inner: Line | null = null;

  /** `kind`: what the place takes; null for an option without value. */
  set(place: string, word: Word, kind: string | null): void {
    this.#words.set(place, { ...word, kind });
  }

  has(name: string): boolean {
    return this.#words.has(name);
  }

  /** The word at a place or of an option, '' where there is none. */
  word(name: string): string {
    return this.#words.get(name)?.text ?? '';
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
    return addressOf(this.word(name)) ?? { name: null, offset: 0, text: '' };
  }

  columnOf(place: string): number {
    return this.#words.get(place)?.column ?? 1;
  }

  /** The areas that addresses begin with, by place. Special ones like [stack] are always there. */
  *areas(): Generator<[place: string, name: string]> {
    for (const [place, { text, kind }] of this.#words) {
      if (kind !== 'ADDR') continue;
      const name = addressOf(text)?.name ?? null;
      if (name !== null && !name.startsWith('[')) yield [place, name];
    }
  }

  /** Milliseconds that the operation asks for. */
  milliseconds(): number {
    return [...this.#words.values()].reduce((sum, { text, kind }) => sum + (kind === 'MS' ? (numberOf(text) ?? 0) : 0), 0);
  }
}

/**
 * The text of a scenario, one operation a line; `file` is its name or path, of which errors tell, and `operations` what `operationsFor()`
 * returns. Throws ScenarioError with the place of what is wrong, TypeError where an argument is of the wrong kind.
 */
export function parseScenario(file: string, text: string, operations: Operations): Script {
  checkString('parseScenario', 'file', file);
  checkString('parseScenario', 'text', text);
  checkIs('parseScenario', 'operations', operations, Map);
  const name = file.replace(/^.*[/\\]/, '').replace(/\..*$/s, '');
  const scope = new Scope();
  const blocks = new Blocks(file);
  let count = 0;
  let title = '';
  let isolated = false;
  let sleptMs = 0;
  const lines: Line[] = [];
  for (const [i, raw] of text.split('\n').entries()) {
    const at = { file, number: i + 1, operations };
    const words = wordsOf(raw);
    const [head] = words;
    if (head === undefined) continue;
    if (head.text.startsWith('#')) {
      const comment = raw.slice(head.column).trim();
      if (raw.startsWith('# isolated')) isolated = true;
      if (title === '') title = comment;
      continue;
    }
    checkSize(at, raw, words, count);
    if (blocks.take(at.number, words, lines)) continue;
    const line = parseLine(at, words, textOf(raw.slice(head.column - 1)));
    const unnamed = scope.enter(line);
    if (unnamed !== null) throw new ScenarioError(file, at.number, unnamed.inner.args.columnOf(unnamed.place), `${unnamed.inner.op}: ${unnamed.what}`);
    if (line.op === 'sleep') sleptMs += line.args.milliseconds();
    if (sleptMs > SCENARIO_MS_MAX) throw new ScenarioError(file, at.number, head.column, `sleep: ${sleptMs} ms of sleep in all; a scenario has ${SCENARIO_MS_MAX}`);
    blocks.put(line, head.column, lines);
    count++;
  }
  blocks.close();
  return { name, title, isolated, lines };
}

interface Context {
  readonly file: string;
  readonly number: number;
  readonly operations: Operations;
}

function wordsOf(raw: string): Word[] {
  return Array.from(raw.matchAll(/[^ \t\r]+/g), (match) => ({ text: match[0], column: match.index + 1 }));
}

/** A line as answers repeat it: without control characters. */
function textOf(line: string): string {
  // oxlint-disable-next-line no-control-regex
  return line.replace(/[\0-\x1f]/g, '');
}

function checkSize({ file, number }: Context, raw: string, words: readonly Word[], before: number): void {
  if (before === LINES_MAX) throw new ScenarioError(file, number, 1, `more than ${LINES_MAX} operations`);
  const bytes = Buffer.byteLength(raw);
  if (bytes > LINE_BYTES_MAX) throw new ScenarioError(file, number, 1, `the line is of ${bytes} bytes, more than ${LINE_BYTES_MAX}`);
  const extra = words[WORDS_MAX];
  if (extra !== undefined) throw new ScenarioError(file, number, extra.column, `more than ${WORDS_MAX} words`);
}

function parseLine(context: Context, words: readonly Word[], text: string): Line {
  const [head, ...rest] = words as [Word, ...Word[]];
  const operation = context.operations.get(head.text);
  if (operation === undefined) throw new ScenarioError(context.file, context.number, head.column, unknownOperation(head.text, context.operations.keys()));
  const line = { number: context.number, op: head.text, text, args: parseArgs(context, operation.usage, head, rest) };
  const over = excess(line);
  if (over !== null) throw new ScenarioError(context.file, context.number, line.args.columnOf(over.place), `${line.op}: ${over.what}`);
  return line;
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
      setRest(context, args, place, words.slice(i));
      return args;
    }
    // A name may be that of an option, but holds no '='.
    if ((place === undefined || place.optional || word.text.includes('=')) && setOption(args, usage, word, fail)) continue;
    if (place === undefined) fail(word, tooMany(word.text, usage));
    else {
      const wrong = misfit(place, word.text);
      if (wrong !== null) fail(word, wrong);
      args.set(place.name, word, place.kind);
      next++;
    }
  }
  const missing = usage.places[next];
  if (missing !== undefined && !missing.optional) fail(head, `${missing.name} is missing`);
  return args;
}

function tooMany(word: string, { options }: Usage): string {
  const meant = nearest(word, options.keys());
  return meant.endsWith(')') ? `no option ${meant}` : `'${word}' is one word too many`;
}

/** The rest of a line is one word: in it is what an OPERATION is made of. */
function setRest(context: Context, args: Args, place: Place, words: readonly Word[]): void {
  const [first] = words as [Word];
  const text = words.map((word) => word.text).join(' ');
  args.set(place.name, { text, column: first.column }, place.kind);
  if (place.kind === 'OPERATION') args.inner = parseLine(context, words, text);
}

/** Takes `word` for an option where it is one. */
function setOption(args: Args, usage: Usage, word: Word, fail: (at: Word, what: string) => never): boolean {
  const [name = '', value] = word.text.split(/=(.*)/s);
  const kind = usage.options.get(name);
  if (kind === undefined) return false;
  if (kind === null ? value !== undefined : value === undefined) fail(word, kind === null ? `${name} takes no value` : `${name} needs a value`);
  const wrong = kind === null ? null : misfitOfKind(kind, value ?? '');
  if (wrong !== null) fail(word, wrong);
  args.set(name, { text: value ?? '', column: word.column }, kind);
  return true;
}
