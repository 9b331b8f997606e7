/**
 * No bitwise operator on a page number: JavaScript cuts to 32 bits and page numbers have up to 45.
 *
 * A page number is what is named `vpn`, `pfn`, `npages`, `…Vpn` or `…Pfn`, as a variable or a member. An operand is followed
 * through arithmetic, grouping parentheses, a ternary and the calls that keep a number's size (`Math.floor(vpn) | 0`). Not
 * meant: `vpn % X` (already small), arguments of other calls, indices, an operation with a bigint literal, and types.
 */
import { OPERATOR_WORDS, tokenize, type Token } from './tokens.ts';
import type { Source } from './imports.ts';

const PAGE_NUMBER = /^(?:vpn|pfn|npages|[a-z]\w*(?:Vpn|Pfn))$/;
const BITWISE = new Set(['&', '|', '^', '<<', '>>', '>>>', '&=', '|=', '^=', '<<=', '>>=', '>>>=']);
const ARITHMETIC = new Set(['+', '-', '*', '/', '%', '**']);
const PREFIX = new Set(['+', '-', '~', '!']);
/** Calls whose answer is as large as their argument. */
const KEEP_SIZE = new Set(['Number', 'floor', 'trunc', 'round', 'ceil', 'abs', 'max', 'min']);

export function checkBitwise(sources: readonly Source[]): string[] {
  return sources.flatMap(({ file, text }) => bitwiseFindings(tokenize(text)).map(({ line, name, operator }) => `${file}:${line}: ${operator} on page number ${name} (it cuts to 32 bits)`));
}

interface Finding {
  readonly line: number;
  readonly name: string;
  readonly operator: string;
}

/** A stretch of tokens [start, end) that an operator works on. */
type Span = readonly [start: number, end: number];

function bitwiseFindings(tokens: readonly Token[]): Finding[] {
  const findings: Finding[] = [];
  for (const [i, token] of tokens.entries()) {
    if (token.kind !== 'punct') continue;
    let spans: Span[] = [];
    if (token.text === '~') spans = [operandAfter(tokens, i + 1, true)];
    else if (BITWISE.has(token.text) && !closesTypeArguments(tokens, i)) spans = [operandBefore(tokens, i), operandAfter(tokens, i + 1, false)];
    if (spans.some((span) => hasBigint(tokens, span))) continue;
    const name = spans.map((span) => pageNumberIn(tokens, span)).find((found) => found !== null);
    if (name !== undefined && name !== null) findings.push({ line: token.line, name, operator: token.text });
  }
  return findings;
}

/** `>>` of `new Map<A, Set<B>>(…)`: a shift is written with spaces around it. */
function closesTypeArguments(tokens: readonly Token[], at: number): boolean {
  return tokens[at]?.text.startsWith('>>') === true && tokens[at]?.spaced === false && tokens[at + 1]?.text === '(';
}

/** From the operator at `end` back over one chain of values and arithmetic. */
function operandBefore(tokens: readonly Token[], end: number): Span {
  let start = end;
  for (;;) {
    const value = valueBefore(tokens, start);
    if (value === start) return [start, end];
    start = value;
    while (PREFIX.has(tokens[start - 1]?.text ?? '') && !endsValue(tokens[start - 2])) start--;
    if (!ARITHMETIC.has(tokens[start - 1]?.text ?? '')) return [start, end];
    start--;
  }
}

/** The start of the one value (`a.b[c](d)`, a literal, a group) that ends before `end`; `end` if none does. */
function valueBefore(tokens: readonly Token[], end: number): number {
  let at = end;
  while (tokens[at - 1]?.text === '!' && endsValue(tokens[at - 2])) at--; // non-null assertion
  for (;;) {
    const token = tokens[at - 1];
    if (token === undefined) return at;
    if (token.kind === 'punct' && (token.text === ')' || token.text === ']')) {
      at = openingOf(tokens, at - 1);
      if (!endsValue(tokens[at - 1])) return at;
      continue;
    }
    if (!endsValue(token)) return at === end ? end : at;
    at--;
    const dot = tokens[at - 1]?.text;
    if (dot !== '.' && dot !== '?.') return at;
    at--;
  }
}

/** From `start` on: prefixes, then one chain of values and arithmetic (`single`: one value, as a prefix operator takes). */
function operandAfter(tokens: readonly Token[], start: number, single: boolean): Span {
  let at = start;
  for (;;) {
    while (PREFIX.has(tokens[at]?.text ?? '')) at++;
    at = valueAfter(tokens, at);
    if (single || !ARITHMETIC.has(tokens[at]?.text ?? '')) return [start, at];
    at++;
  }
}

function valueAfter(tokens: readonly Token[], start: number): number {
  let at = start;
  const first = tokens[at];
  if (first?.text === '(') at = closingOf(tokens, at) + 1;
  else if (endsValue(first)) at++;
  else return at;
  for (;;) {
    const text = tokens[at]?.text;
    if (text === '.' || text === '?.') at += tokens[at + 1]?.text === '(' || tokens[at + 1]?.text === '[' ? 1 : 2;
    else if (text === '(' || text === '[') at = closingOf(tokens, at) + 1;
    else if (text === '!' && !tokens[at]?.spaced) at++;
    else return at;
  }
}

/** The first page number that is a value of its own within the span; null if there is none. */
function pageNumberIn(tokens: readonly Token[], [start, end]: Span): string | null {
  for (let i = start; i < end; i++) {
    const token = tokens[i];
    if (token === undefined) return null;
    if (token.text === '[' && token.kind === 'punct') i = closingOf(tokens, i);
    else if (token.text === '(' && token.kind === 'punct') {
      const close = closingOf(tokens, i);
      const callee = tokens[i - 1];
      const isCall = endsValue(callee);
      if (!isCall || KEEP_SIZE.has(callee?.text ?? '')) {
        const inside = pageNumberIn(tokens, [i + 1, close]);
        const isCut = tokens[close + 1]?.text === '%';
        if (inside !== null && !isCut) return inside;
      }
      i = close;
    } else if (token.kind === 'name' && PAGE_NUMBER.test(token.text) && isValue(tokens, i, start)) return token.text;
  }
  return null;
}

/** Not an object whose member or element is taken, not a callee, not a name with a type or a key, not cut by `%`. */
function isValue(tokens: readonly Token[], at: number, start: number): boolean {
  const next = tokens[at + 1]?.text ?? '';
  if (['.', '?.', '(', '[', '%', '=>'].includes(next)) return false;
  if (next === '?' && tokens[at + 2]?.text === ':') return false;
  if (next !== ':') return true;
  for (let i = at - 1; i >= start; i--) if (tokens[i]?.text === '?') return true; // a ternary's middle
  return false;
}

function hasBigint(tokens: readonly Token[], [start, end]: Span): boolean {
  return tokens.slice(start, end).some((token) => token.kind === 'number' && token.text.endsWith('n'));
}

function endsValue(token: Token | undefined): boolean {
  if (token === undefined) return false;
  if (token.kind === 'punct') return token.text === ')' || token.text === ']';
  return token.kind !== 'name' || !(OPERATOR_WORDS.has(token.text) || ['if', 'while', 'for', 'switch', 'const', 'let', 'import', 'export'].includes(token.text));
}

function openingOf(tokens: readonly Token[], close: number): number {
  let depth = 0;
  for (let i = close; i >= 0; i--) {
    const token = tokens[i];
    if (token?.kind !== 'punct') continue;
    if (')]}'.includes(token.text)) depth++;
    else if ('([{'.includes(token.text) && --depth === 0) return i;
  }
  return 0;
}

function closingOf(tokens: readonly Token[], open: number): number {
  let depth = 0;
  for (let i = open; i < tokens.length; i++) {
    const token = tokens[i];
    if (token?.kind !== 'punct') continue;
    if ('([{'.includes(token.text)) depth++;
    else if (')]}'.includes(token.text) && --depth === 0) return i;
  }
  return tokens.length - 1;
}
