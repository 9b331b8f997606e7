/**
 * Who holds references on pages of devices: where each was taken, by which task in which operation, and with `stacks` from where.
 *
 * A reference that an operation took and neither gave back nor handed to its caller is lost: nobody can give it back, and a truncate
 * or an unbind will wait for it for ever. What was handed over may stay as long as its holder likes, and its blocks with it.
 */
import type { ReferenceLedger } from '../memremap/index.ts';
import type { PageRecords } from '../page/index.ts';
import { DEVICE_BASE_PFN } from '../page/index.ts';
import type { Scheduler } from '../sched/index.ts';
import { hex, type Pfn } from '../units.ts';
import type { Report } from './finding.ts';
import type { Looked } from './rules.ts';

interface Taking {
  readonly place: string;
  readonly task: string;
  readonly refs: number;
  /** named when it is over */
  readonly operation: { name: string };
  readonly stack: readonly string[];
  handed: boolean;
}

interface Page {
  /** references that it had before any of these */
  readonly base: number;
  readonly takings: Taking[];
}

export class Ledger implements ReferenceLedger {
  readonly #records: PageRecords;
  readonly #sched: Scheduler;
  readonly #stacks: boolean;
  readonly #pages = new Map<Pfn, Page>();
  /** pages of which something was taken in this step */
  readonly #touched = new Set<Pfn>();
  #operation = { name: 'what is going on' };

  constructor(records: PageRecords, sched: Scheduler, stacks: boolean) {
    this.#records = records;
    this.#sched = sched;
    this.#stacks = stacks;
  }

  took(pfn: Pfn, refs: number, place: string): void {
    if (pfn < DEVICE_BASE_PFN) return;
    let page = this.#pages.get(pfn);
    if (page === undefined) this.#pages.set(pfn, (page = { base: this.#records.refs(pfn) - refs, takings: [] }));
    page.takings.push({ place, task: this.#sched.current.name, refs, operation: this.#operation, stack: this.#stacks ? stackNow() : [], handed: false });
    this.#touched.add(pfn);
  }

  put(pfn: Pfn, refs: number): void {
    const page = this.#pages.get(pfn);
    if (page === undefined) return;
    const { takings } = page;
    // The last one that nobody else has; else the last.
    let at = takings.findLastIndex((one) => one.refs === refs && !one.handed);
    if (at < 0) at = takings.findLastIndex((one) => one.refs === refs);
    if (at >= 0) takings.splice(at, 1);
    this.#touched.add(pfn);
  }

  handed(pfns: readonly Pfn[]): void {
    for (const pfn of pfns) {
      const taking = this.#pages.get(pfn)?.takings.find((one) => !one.handed);
      if (taking !== undefined) taking.handed = true;
    }
  }

  /** After an operation, with nothing going on: what it touched is handed over or given back, and the counts are those of the ledger. */
  step(operation: string, report: Report, looked: Looked): void {
    this.#operation.name = operation;
    this.#operation = { name: 'what is going on' };
    if (this.#touched.size === 0) return;
    for (const pfn of this.#touched) this.#check(pfn, report, looked);
    this.#touched.clear();
  }

  /** Who holds what, a line each; frames in a row that are held alike together. */
  get text(): readonly string[] {
    const lines: string[] = [];
    let [first, last, same]: [Pfn, Pfn, string] = [-1, -1, ''];
    const flush = (): void => {
      if (first >= 0) lines.push(`frame${last > first ? `s ${hex(first)}..${hex(last)}` : ` ${hex(first)}`}`, ...same.split('\n').map((line) => `  ${line}`));
    };
    for (const { pfn, by } of [...this.held()].sort((a, b) => a.pfn - b.pfn)) {
      const text = by.join('\n');
      if (pfn !== last + 1 || text !== same) {
        flush();
        [first, same] = [pfn, text];
      }
      last = pfn;
    }
    flush();
    return lines;
  }

  /** Pages that somebody holds. */
  *held(): Generator<{ readonly pfn: Pfn; readonly by: readonly string[] }> {
    for (const [pfn, { takings }] of this.#pages) if (takings.length > 0) yield { pfn, by: takings.flatMap(takingText) };
  }

  #check(pfn: Pfn, report: Report, looked: Looked): void {
    const page = this.#pages.get(pfn);
    if (page === undefined) return;
    looked['page-references']++;
    const { base, takings } = page;
    const lost = takings.filter((one) => !one.handed);
    const refs = this.#records.refs(pfn);
    const should = takings.reduce((sum, one) => sum + one.refs, base);
    if (takings.length === 0) this.#pages.delete(pfn);
    const about = { rule: 'page-references', mm: 0, start: 0, end: 0 } as const;
    for (const one of lost) {
      takings.splice(takings.indexOf(one), 1);
      report({ ...about, what: `${one.place} took a reference on frame ${hex(pfn)} and nobody has it: neither given back nor handed over`, missing: 'unpin_user_pages(), put_page() on every way out', details: takingText(one) });
    }
    if (lost.length === 0 && refs !== should) {
      report({ ...about, what: `frame ${hex(pfn)} has ${refs} references, and ${should} by the ledger`, missing: 'as many put_page() as get_page()', details: takings.flatMap(takingText) });
    }
  }
}

function takingText({ refs, place, task, operation, stack }: Taking): string[] {
  return [`held: ${refs === 1 ? '1 reference' : `a pin of ${refs} references`} by ${place}, taken in "${operation.name}" (${task})`, ...stack.map((line) => `  ${line}`)];
}

const STACK_LINES_MAX = 12;

/** Function names and places of who called, without this room's own and the turns of generators. */
function stackNow(): string[] {
  const lines = new Error('taken').stack?.split('\n').slice(1) ?? [];
  return lines
    .filter((line) => !line.includes('/check/') && !line.includes('node:') && !line.includes('<anonymous>'))
    .slice(0, STACK_LINES_MAX)
    .map((line) => line.trim().replace(/file:\/\/.*\/dist\//, ''));
}
