/**
 * Who holds references beyond mappings: where each was taken, by which task in which operation, and with `stacks` from where.
 *
 * A reference that an operation took and neither gave back nor handed to its caller is lost: nobody can give it back, and a truncate
 * or an unbind will wait for it for ever, or RAM is never free again. What was handed over may stay as long as its holder likes, and
 * its blocks with it.
 *
 * Of RAM, and of device memory that migrates, each reference has to be somebody's: a mapping's, the page cache's, the swap cache's, or
 * one that is in here. Looked at is what was touched since the last time, as far as it was allocated under our eyes.
 */
import type { Platform, ReferenceLedger } from '../memremap/index.ts';
import { PIN_BIAS } from '../mm/index.ts';
import { DEVICE_BASE_PFN, DEVICE_MEMORY_BASE_PFN, type PageRecords, type PageWatch } from '../page/index.ts';
import type { Scheduler } from '../sched/index.ts';
import { hex, type Pfn } from '../units.ts';
import type { Report } from './finding.ts';
import { accountText, accountedFor } from './ramReferences.ts';
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
  /** of a page of a DAX device: references that it had before any of these */
  readonly base: number;
  readonly takings: Taking[];
}

export class Ledger implements ReferenceLedger, PageWatch {
  readonly #platform: Platform;
  readonly #records: PageRecords;
  readonly #sched: Scheduler;
  readonly #stacks: boolean;
  readonly #report: Report;
  readonly #pages = new Map<Pfn, Page>();
  /** pages of which something was taken or given back in this step */
  readonly #touched = new Set<Pfn>();
  /** RAM that was allocated while we looked, by its first page, and how many references too many it was found to have, or too few */
  readonly #ram = new Map<Pfn, number>();
  #operation = { name: 'what is going on' };

  constructor(platform: Platform, stacks: boolean, report: Report) {
    this.#platform = platform;
    this.#records = platform.records;
    this.#sched = platform.sched;
    this.#stacks = stacks;
    this.#report = report;
  }

  took(pfn: Pfn, refs: number, place: string): void {
    let page = this.#pages.get(pfn);
    if (page === undefined) this.#pages.set(pfn, (page = { base: pfn < DEVICE_BASE_PFN ? 0 : this.#records.refs(pfn) - refs, takings: [] }));
    page.takings.push({ place, task: this.#sched.current.name, refs, operation: this.#operation, stack: this.#stacks ? stackNow() : [], handed: false });
    this.#touched.add(pfn);
  }

  put(pfn: Pfn, refs: number): void {
    const page = this.#pages.get(pfn);
    if (page === undefined) return;
    const { takings } = page;
    const task = this.#sched.current.name;
    // The task's own that nobody else has; any that nobody else has; else the last.
    let at = takings.findLastIndex((one) => one.refs === refs && !one.handed && one.task === task);
    if (at < 0) at = takings.findLastIndex((one) => one.refs === refs && !one.handed);
    if (at < 0) at = takings.findLastIndex((one) => one.refs === refs);
    if (at >= 0) takings.splice(at, 1);
    if (takings.length === 0 && pfn < DEVICE_BASE_PFN) this.#pages.delete(pfn);
    this.#touched.add(pfn);
  }

  handed(pfns: readonly Pfn[]): void {
    const task = this.#sched.current.name;
    for (const pfn of pfns) {
      const taking = this.#pages.get(pfn)?.takings.findLast((one) => !one.handed && one.task === task);
      if (taking !== undefined) taking.handed = true;
    }
  }

  uses(pfn: Pfn, place: string): void {
    if (this.#records.refs(this.#platform.ram.head(pfn)) > 0) return;
    this.#report({ ...ABOUT, what: `${place} works on frame ${hex(pfn)}, which is free: it took no reference when it found the page`, missing: 'folio_try_get() under the lock of the page table, before it is dropped' });
  }

  changed(pfn: Pfn, refs: number, delta: number): void {
    if (pfn >= DEVICE_BASE_PFN) return;
    if (refs === delta && delta > 0) this.#ram.set(pfn, 0);
    this.#touched.add(pfn);
  }

  freed(head: Pfn): void {
    const held = this.#pages.get(head);
    this.#ram.delete(head);
    this.#touched.delete(head);
    if (held === undefined || held.takings.length === 0) return;
    this.#pages.delete(head);
    this.#report({ ...ABOUT, what: `the last reference of frame ${hex(head)} is given back, and somebody holds it still`, missing: 'as many get_page() as put_page()', details: held.takings.flatMap(takingText) });
  }

  split(head: Pfn, keeper: Pfn): void {
    const held = this.#pages.get(head);
    if (held === undefined || keeper === head) return;
    this.#pages.delete(head);
    this.#pages.set(keeper, held);
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

  /** Pages of devices that somebody holds, and those of device memory that are in use. */
  *ofDevices(): Generator<{ readonly pfn: Pfn; readonly by: readonly string[] }> {
    for (const held of this.held()) if (held.pfn >= DEVICE_BASE_PFN) yield held;
    for (const pfn of this.#ram.keys()) if (pfn >= DEVICE_MEMORY_BASE_PFN) yield { pfn, by: this.#pages.get(pfn)?.takings.flatMap(takingText) ?? [] };
  }

  #check(pfn: Pfn, report: Report, looked: Looked): void {
    const page = this.#pages.get(pfn);
    const ram = pfn < DEVICE_BASE_PFN;
    if (page === undefined && !ram) return;
    looked['page-references']++;
    if (page === undefined) return this.#checkRam(pfn, NONE, false, report);
    const { takings } = page;
    const lost = takings.filter((one) => !one.handed);
    if (!ram && takings.length === 0) this.#pages.delete(pfn);
    for (const one of lost) {
      takings.splice(takings.indexOf(one), 1);
      report({ ...ABOUT, what: `${one.place} took a reference on frame ${hex(pfn)} and nobody has it: neither given back nor handed over`, missing: 'unpin_user_pages(), put_page() on every way out', details: takingText(one) });
    }
    if (ram) this.#checkRam(pfn, takings, lost.length > 0, report);
    else if (lost.length === 0) this.#checkCount(pfn, takings, page.base + sumOf(takings), report);
  }

  #checkCount(pfn: Pfn, takings: readonly Taking[], should: number, report: Report): void {
    const refs = this.#records.refs(pfn);
    if (refs === should) return;
    report({ ...ABOUT, what: `frame ${hex(pfn)} has ${refs} references, and ${should} by the ledger`, missing: 'as many put_page() as get_page()', details: takings.flatMap(takingText) });
  }

  /** `told`: why there are too many has been said already. */
  #checkRam(pfn: Pfn, takings: readonly Taking[], told: boolean, report: Report): void {
    const head = this.#platform.ram.head(pfn);
    const before = this.#ram.get(head);
    if (before === undefined) return;
    const held = head === pfn ? takings : (this.#pages.get(head)?.takings ?? NONE);
    const refs = this.#records.refs(head);
    const should = accountedFor(this.#platform, head) + sumOf(held);
    const odd = refs - should;
    if (odd === before) return;
    this.#ram.set(head, odd);
    if (told) return;
    const parts = accountText(this.#platform, head);
    report({
      ...ABOUT, what: `frame ${hex(head)} has ${refs === 1 ? '1 reference' : `${refs} references`}, and ${should} that ${should === 1 ? 'is' : 'are'} somebody's${parts === '' ? '' : `: ${parts}`}`,
      missing: odd > before ? 'put_page() by who took one too many' : 'a mapping goes with its reference, and nobody gives back more than he took', details: held.flatMap(takingText),
    });
  }
}

const NONE: readonly Taking[] = [];
const ABOUT = { rule: 'page-references', mm: 0, start: 0, end: 0 } as const;

function sumOf(takings: readonly Taking[]): number {
  let sum = 0;
  for (const one of takings) sum += one.refs;
  return sum;
}

function takingText({ refs, place, task, operation, stack }: Taking): string[] {
  return [`held: ${refs === 1 ? '1 reference' : refs === PIN_BIAS ? `a pin of ${refs} references` : `${refs} references`} by ${place}, taken in "${operation.name}" (${task})`, ...stack.map((line) => `  ${line}`)];
}

const STACK_LINES_MAX = 12;
const ROOM_URL = new URL('.', import.meta.url).href;
const HOUSE_URL = new URL('..', import.meta.url).href;

/** Function names and places of who called, without this room's own and the turns of generators. */
function stackNow(): string[] {
  const lines = new Error('taken').stack?.split('\n').slice(1) ?? [];
  return lines
    .filter((line) => !line.includes(ROOM_URL) && !line.includes('node:') && !line.includes('<anonymous>'))
    .slice(0, STACK_LINES_MAX)
    .map((line) => line.trim().replace(HOUSE_URL, ''));
}
