/**
 * Pages of files of which a power cut would lose the block: what a journal commit since has not made durable.
 *
 * A file's own flag says only that something of it is not durable, which beside other tasks is soon so again by what is none of a
 * fault's block. Here it is known page by page.
 */
import type { UncommittedBlocks } from '../memremap/index.ts';

interface Run {
  readonly start: number;
  end: number;
}

/** remembered of one file; where there are more the whole span between the first and the last counts */
const RUNS_MAX = 4096;

export class Uncommitted implements UncommittedBlocks {
  #files = new WeakMap<object, Run[]>();

  changed(file: object, start: number, end: number): void {
    if (end <= start) return;
    const runs = this.#files.get(file);
    const last = runs?.at(-1);
    if (runs === undefined) this.#files.set(file, [{ start, end }]);
    else if (last !== undefined && start >= last.start && start <= last.end) last.end = Math.max(last.end, end);
    else if (runs.length < RUNS_MAX) runs.push({ start, end });
    else this.#files.set(file, [{ start: Math.min(start, ...runs.map((run) => run.start)), end: Math.max(end, ...runs.map((run) => run.end)) }]);
  }

  committed(file: object): void {
    this.#files.delete(file);
  }

  /** Would a power cut now lose what leads to page `index`? */
  has(file: object, index: number): boolean {
    return this.#files.get(file)?.some(({ start, end }) => index >= start && index < end) ?? false;
  }
}
