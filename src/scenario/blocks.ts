/**
 * Task blocks: what several do at the same time.
 *
 *   task NAME
 *     operations, one a line
 *   end
 *
 * Blocks in a row run beside each other; the line that follows them waits for all. A block has no block in it, and no operation that is
 * about other flows of control.
 */
import { ScenarioError } from './error.ts';
import { TASKS_MAX } from './limits.ts';
import { nearest } from '../nearest.ts';
import { Args, type Line, type Word } from './parse.ts';

/** What a task cannot do: ask others, or make places anew under them. */
const NOT_IN_TASKS: ReadonlySet<string> = new Set(['async', 'wait', 'in', 'join', 'fs', 'sh']);

interface Open {
  readonly number: number;
  readonly head: Word;
  readonly name: Word;
  readonly lines: Line[];
}

export class Blocks {
  readonly #file: string;
  readonly #names = new Set<string>();
  #open: Open | null = null;
  /** blocks in a row so far */
  #row = 0;

  constructor(file: string) {
    this.#file = file;
  }

  /** Takes a `task` or `end` line; what is complete goes to `lines`. False: it is neither. */
  take(number: number, words: readonly Word[], lines: Line[]): boolean {
    const [head, name, extra] = words as [Word, Word?, Word?];
    if (head.text !== 'task' && head.text !== 'end') return false;
    const fail = (column: number, what: string): never => {
      throw new ScenarioError(this.#file, number, column, `${head.text}: ${what}`);
    };
    if (head.text === 'task') this.#begin(number, words, fail);
    else {
      if (name !== undefined) fail(name.column, `'${name.text}' is one word too many (end)`);
      lines.push(this.#end(fail, head));
    }
    if (extra !== undefined) fail(extra.column, `'${extra.text}' is one word too many (task NAME)`);
    return true;
  }

  /** Where an operation goes: into the block that is open, or to `lines`. */
  put(line: Line, column: number, lines: Line[]): void {
    if (this.#open === null) {
      this.#row = 0;
      lines.push(line);
      return;
    }
    if (NOT_IN_TASKS.has(line.op)) throw new ScenarioError(this.#file, line.number, column, `${line.op}: not in a task`);
    this.#open.lines.push(line);
  }

  /** The file is over. */
  close(): void {
    if (this.#open !== null) throw new ScenarioError(this.#file, this.#open.number, this.#open.head.column, `task: no 'end' of task ${this.#open.name.text}`);
  }

  #begin(number: number, [head, name]: readonly Word[], fail: (column: number, what: string) => never): void {
    if (this.#open !== null) fail((head as Word).column, `task ${this.#open.name.text} has no 'end' yet`);
    if (name === undefined) return fail((head as Word).column, 'NAME is missing (task NAME)');
    if (!/^\w{1,23}$/.test(name.text)) fail(name.column, `a name (letters, digits and _, at most 23) is meant, not '${name.text}'`);
    if (this.#names.has(name.text)) fail(name.column, `there is a task ${name.text} already`);
    if (this.#row === TASKS_MAX) fail((head as Word).column, `more than ${TASKS_MAX} tasks at a time`);
    this.#names.add(name.text);
    this.#row++;
    this.#open = { number, head: head as Word, name, lines: [] };
  }

  #end(fail: (column: number, what: string) => never, head: Word): Line {
    const open = this.#open;
    if (open === null) return fail(head.column, 'no task begins before it');
    if (open.lines.length === 0) fail(head.column, `task ${open.name.text} has no operation`);
    this.#open = null;
    const args = new Args();
    args.set('ID', open.name, 'ID');
    return { number: open.number, op: 'task', text: `task ${open.name.text}`, args, body: open.lines };
  }
}

/** `what` is no operation: the nearest one, `task` and `end` among them. */
export function unknownOperation(word: string, operations: Iterable<string>): string {
  return `no operation ${nearest(word, [...operations, 'task', 'end'])}`;
}
