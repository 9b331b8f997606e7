/**
 * A small lexer for TypeScript and AssemblyScript: enough to tell code from comments, strings and regular expressions.
 *
 * A template becomes its text pieces (kind `string`) and, between parentheses that are not in the source, the tokens of each
 * `${…}`. It never fails: what it cannot place is one `punct` of one character.
 */
export type TokenKind = 'name' | 'number' | 'string' | 'regex' | 'punct';

export interface Token {
  readonly kind: TokenKind;
  /** as in the source; of a string what stands between its quotes */
  readonly text: string;
  readonly line: number;
  /** whether white space or a comment stands before it */
  readonly spaced: boolean;
}

const PUNCTUATION = ['>>>=', '...', '===', '!==', '**=', '<<=', '>>=', '>>>', '&&=', '||=', '??='].concat(
  ['=>', '==', '!=', '<=', '>=', '&&', '||', '??', '?.', '++', '--', '+=', '-=', '*=', '/=', '%=', '&=', '|=', '^=', '<<', '>>', '**'],
);
const NAME = /[\p{ID_Start}$_#@][\p{ID_Continue}$]*/uy;
const NUMBER = /0[xXbBoO][\da-fA-F_]+n?|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?n?/y;
const REGEX = /\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])+\/[a-z]*/y;
/** Words after which a value starts, so that a slash begins a regular expression. */
export const OPERATOR_WORDS: ReadonlySet<string> = new Set(
  'return typeof case in of instanceof new delete void throw yield await else do extends as satisfies is keyof'.split(' '),
);

export function tokenize(source: string): Token[] {
  return new Lexer(source).run();
}

class Lexer {
  readonly tokens: Token[] = [];
  readonly source: string;
  at = 0;
  line = 1;
  spaced = false;
  /** depths of `{` at which a template's `${` was opened */
  readonly templates: number[] = [];
  depth = 0;

  constructor(source: string) {
    this.source = source;
  }

  run(): Token[] {
    while (this.at < this.source.length) this.step();
    return this.tokens;
  }

  step(): void {
    const { source, at } = this;
    const char = source[at] ?? '';
    if (/\s/.test(char)) return this.skip(1);
    if (source.startsWith('//', at)) return this.skip(lengthTo(source, '\n', at, 0));
    if (source.startsWith('/*', at)) return this.skip(lengthTo(source, '*/', at + 2, 2) + 2);
    if (source.startsWith('#!', at) && at === 0) return this.skip(lengthTo(source, '\n', at, 0));
    if (char === '"' || char === "'") return this.quoted(char);
    if (char === '`') return this.template(1);
    if (char === '}' && this.templates.at(-1) === this.depth) {
      this.templates.pop();
      this.push('punct', ')', 0);
      return this.template(1);
    }
    const number = /[\d.]/.test(char) ? match(NUMBER, source, at) : null;
    if (number !== null && number !== '.') return this.push('number', number, number.length);
    const name = match(NAME, source, at);
    if (name !== null) return this.push('name', name, name.length);
    const regex = char === '/' && this.valueMayStart() ? match(REGEX, source, at) : null;
    if (regex !== null) return this.push('regex', regex, regex.length);
    const punct = PUNCTUATION.find((candidate) => source.startsWith(candidate, at)) ?? char;
    if (punct === '{') this.depth++;
    if (punct === '}') this.depth--;
    this.push('punct', punct, punct.length);
  }

  valueMayStart(): boolean {
    const last = this.tokens.at(-1);
    if (last === undefined) return true;
    if (last.kind === 'punct') return ![')', ']', '}', '++', '--'].includes(last.text);
    return last.kind === 'name' && OPERATOR_WORDS.has(last.text);
  }

  quoted(quote: string): void {
    let end = this.at + 1;
    while (end < this.source.length && this.source[end] !== quote && this.source[end] !== '\n') end += this.source[end] === '\\' ? 2 : 1;
    this.push('string', this.source.slice(this.at + 1, end), end + 1 - this.at);
  }

  /** A piece of a template's text, from `opening` characters on: up to its end or to the next `${`. */
  template(opening: number): void {
    const start = this.at + opening;
    let end = start;
    while (end < this.source.length && this.source[end] !== '`' && !this.source.startsWith('${', end)) end += this.source[end] === '\\' ? 2 : 1;
    const more = this.source.startsWith('${', end);
    this.push('string', this.source.slice(start, end), end + (more ? 2 : 1) - this.at);
    if (!more) return;
    this.push('punct', '(', 0);
    this.templates.push(this.depth);
  }

  push(kind: TokenKind, text: string, length: number): void {
    this.tokens.push({ kind, text, line: this.line, spaced: this.spaced });
    this.skip(length);
    this.spaced = false;
  }

  skip(length: number): void {
    for (let i = this.at; i < this.at + length; i++) if (this.source[i] === '\n') this.line++;
    this.at += length;
    this.spaced = true;
  }
}

function match(pattern: RegExp, source: string, at: number): string | null {
  pattern.lastIndex = at;
  return pattern.exec(source)?.[0] ?? null;
}

function lengthTo(source: string, end: string, from: number, including: number): number {
  const found = source.indexOf(end, from);
  return (found < 0 ? source.length : found + including) - from;
}
