/**
 * Locks, as lockdep sees them: the order in which classes of locks are taken, and what is done with a spinlock held
 * (kernel/locking/lockdep.c; might_sleep()).
 *
 * Orders that were seen at any time count together: two chains that take two classes in opposite orders are a finding though they never
 * met. Locks of one class are told apart by name: parent and child, a file and the one that it is cloned to. What a task only
 * tries to take cannot make it wait, but what it then holds can make others. Page locks and those of DAX entries, which lockdep
 * does not see, count too; pages of one task are not told apart, as a migration holds hundreds.
 */
import type { PageLockWatch } from '../page/index.ts';
import type { LockWatch, Scheduler } from '../sched/index.ts';
import { hex, type Pfn } from '../units.ts';
import type { Report } from './finding.ts';
import type { Looked } from './rules.ts';

/** How an order came to be: who took the second with the first held, and all that it held. */
interface Edge {
  readonly to: string;
  readonly task: string;
  readonly held: readonly string[];
  readonly taken: string;
}

export class LockRules implements LockWatch, PageLockWatch {
  readonly #sched: Scheduler;
  readonly #report: Report;
  readonly #looked: Looked;
  readonly #held = new Map<number, string[]>();
  readonly #orders = new Map<string, Map<string, Edge>>();
  readonly #classes = new Map<string, string>();
  /** locked pages, by who has them; and how many each has */
  readonly #pages = new Map<Pfn, number>();
  readonly #pageCounts = new Map<number, number>();

  constructor(sched: Scheduler, report: Report, looked: Looked) {
    this.#sched = sched;
    this.#report = report;
    this.#looked = looked;
  }

  asks(name: string): void {
    const { current } = this.#sched;
    const held = this.#held.get(current.id);
    if (held === undefined || held.length === 0) return;
    for (const before of held) this.#order(before, name, held);
  }

  has(name: string): void {
    const { id } = this.#sched.current;
    const held = this.#held.get(id);
    if (held === undefined) this.#held.set(id, [name]);
    else held.push(name);
  }

  gives(name: string): void {
    this.#drop(this.#sched.current.id, name);
  }

  #drop(id: number, name: string): void {
    const held = this.#held.get(id);
    const at = held?.lastIndexOf(name) ?? -1;
    if (at < 0) this.#report({ rule: 'lock-balance', mm: 0, start: 0, end: 0, what: `${this.#sched.current.name} gives back ${name}, which it does not hold`, missing: 'a look at whether the call that was given the lock has dropped it', details: [`held: ${held?.join(', ') || 'nothing'}`] });
    if (held !== undefined && at >= 0) held.splice(at, 1);
    if (held?.length === 0 && id !== 0) this.#held.delete(id); // tasks come and go
  }

  neverWoken(task: string, what: string): void {
    this.#report({ rule: 'woken', mm: 0, start: 0, end: 0, what: `${task} sleeps for ever, waiting for ${what}, which is to be had`, missing: 'who was woken, and does not take it, wakes the next' });
  }

  /** Nobody runs, and nobody is left asleep: what is held now was kept. Told once. */
  atRest(): void {
    this.#looked.woken++;
    this.#looked['lock-balance']++;
    for (const [id, held] of this.#held) {
      if (held.length === 0) continue;
      const kept = held.splice(0);
      this.#report({ rule: 'lock-balance', mm: 0, start: 0, end: 0, what: `${kept.join(', ')} ${kept.length === 1 ? 'is' : 'are'} held still, by ${id === 0 ? 'who called' : `task ${id}, which has ended`}`, missing: 'the lock is given back on every way out' });
    }
    this.#pages.clear();
    this.#pageCounts.clear();
  }

  asksPage(pfn: Pfn): void {
    const { current } = this.#sched;
    const held = this.#held.get(current.id);
    if (held === undefined || held.length === 0) return;
    if (this.#pages.get(pfn) === current.id) this.#found(PAGE_LOCK, `${PAGE_LOCK} of ${hex(pfn)}`, { to: PAGE_LOCK, task: current.name, held: [...held], taken: PAGE_LOCK }, []);
    for (const before of held) if (before !== PAGE_LOCK) this.#order(before, PAGE_LOCK, held);
  }

  hasPage(pfn: Pfn): void {
    const { id } = this.#sched.current;
    this.#pages.set(pfn, id);
    const count = (this.#pageCounts.get(id) ?? 0) + 1;
    this.#pageCounts.set(id, count);
    if (count === 1) this.has(PAGE_LOCK);
  }

  givesPage(pfn: Pfn): void {
    const id = this.#pages.get(pfn);
    if (id === undefined) return;
    this.#pages.delete(pfn);
    const count = (this.#pageCounts.get(id) as number) - 1;
    if (count > 0) this.#pageCounts.set(id, count);
    else {
      this.#pageCounts.delete(id);
      this.#drop(id, PAGE_LOCK);
    }
  }

  maySleep(what: string): void {
    this.#looked['atomic-sleep']++;
    const { spinlocks, name } = this.#sched.current;
    const lock = spinlocks.at(-1);
    if (lock === undefined) return;
    this.#report({ rule: 'atomic-sleep', mm: 0, start: 0, end: 0, what: `${name} asks for ${what}, which may sleep, with spinlock ${lock} held`, missing: `${lock} is given back before`, details: [`held: ${spinlocks.join(', ')}`] });
  }

  spinsForever(name: string): void {
    this.#report({ rule: 'lock-order', mm: 0, start: 0, end: 0, what: `${this.#sched.current.name} spins for ${name}, which it holds itself`, missing: `${name} is given back before it is taken again`, details: [`held: ${this.#sched.current.spinlocks.join(', ')}`] });
  }

  #order(before: string, after: string, held: readonly string[]): void {
    this.#looked['lock-order']++;
    const same = this.#classOf(before) === this.#classOf(after);
    const from = same ? before : this.#classOf(before);
    const to = same ? after : this.#classOf(after);
    let orders = this.#orders.get(from);
    if (orders?.has(to) === true) return;
    if (orders === undefined) this.#orders.set(from, (orders = new Map()));
    const edge: Edge = { to, task: this.#sched.current.name, held: [...held], taken: after };
    const back = this.#path(to, from);
    orders.set(to, edge);
    if (orders.size > EDGES_MAX) orders.delete(orders.keys().next().value as string);
    if (from === to) this.#found(before, after, edge, []);
    else if (back !== null) this.#found(from, to, edge, back);
  }

  /** Orders that lead from one class to another; null: none do. */
  #path(from: string, to: string): Edge[] | null {
    const seen = new Set([from]);
    const paths: { readonly at: string; readonly edges: Edge[] }[] = [{ at: from, edges: [] }];
    for (let path = paths.pop(); path !== undefined; path = paths.pop()) {
      for (const edge of this.#orders.get(path.at)?.values() ?? []) {
        if (edge.to === to) return [...path.edges, edge];
        if (!seen.has(edge.to)) paths.push({ at: edge.to, edges: [...path.edges, edge] });
        seen.add(edge.to);
      }
    }
    return null;
  }

  #found(first: string, second: string, edge: Edge, back: readonly Edge[]): void {
    const what = back.length === 0 ? `${edge.task} asks for ${second}, which it holds` : `${second} is taken with ${first} held, and elsewhere ${first} with ${second} held: each may wait for the other`;
    const details = [edge, ...back].map(({ task, held, taken }) => `${task}: holds ${held.join(', ')}; takes ${taken}`);
    this.#report({ rule: 'lock-order', mm: 0, start: 0, end: 0, what, missing: 'one order for both, or a trylock that goes back', details });
  }

  /** A lock's name begins with its class; the rest says which one. */
  #classOf(name: string): string {
    let found = this.#classes.get(name);
    if (found === undefined) {
      found = /^device \w+|^\S+/.exec(name)?.[0] ?? name;
      if (this.#classes.size > CLASSES_MAX) this.#classes.clear();
      this.#classes.set(name, found);
    }
    return found;
  }
}

const PAGE_LOCK = 'page_lock';
/** names remembered, so that a long run of short-lived processes does not fill memory */
const CLASSES_MAX = 4096;
/** as many orders from one lock: a parent has one to each of its children */
const EDGES_MAX = 1024;
