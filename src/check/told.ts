/**
 * What one address space tells: its invalidations in flight, and what they came to.
 *
 * Taken literally: what goes must go between the start and the end of an invalidation that covers it. So the table is compared at
 * either: at the start nothing may have gone already, and what goes after the end is untold again. Told pages that keep what they
 * had are no breach, but cost every mirror a fault: they are counted, by event.
 */
import { PMD_PAGES } from '../abi.ts';
import type { NotifierEvent } from '../events/events.ts';
import type { Mm } from '../mm/index.ts';
import { addrOf, hex, type Vpn } from '../units.ts';
import { entryText, type Report } from './finding.ts';
import type { Looked } from './rules.ts';
import { entryAt, type Chunk } from './rights.ts';
import { Shadow } from './shadow.ts';

interface InFlight {
  readonly event: NotifierEvent;
  readonly start: Vpn;
  readonly end: Vpn;
  /** every listener has heard of it: from now on nobody may program anything there */
  told: boolean;
  /** who began it */
  readonly task: string;
  /** the operation in which it began, once that is over */
  operation: string | null;
}

/** Of one kind of event: invalidations, pages in their ranges, those that had an entry, those that lost something. */
export interface ToldCount {
  times: number;
  pages: number;
  mapped: number;
  lost: number;
}

const MISSING = 'mmu_notifier_invalidate_range_start() over the range, before the change, and its end() after it';

export class Told {
  readonly mm: Mm;
  readonly shadow: Shadow;
  readonly #inFlight: InFlight[] = [];
  /** ranges of this step that have ended: what goes after that was told too early */
  readonly #over: { readonly start: Vpn; readonly end: Vpn }[] = [];
  readonly #report: Report;
  readonly #looked: Looked;
  readonly #counts: Map<NotifierEvent, ToldCount>;
  readonly #lost = (start: Vpn, end: Vpn, before: Chunk, after: Chunk | null): void => this.#loss(start, end, before, after);

  constructor(mm: Mm, report: Report, looked: Looked, counts: Map<NotifierEvent, ToldCount>) {
    this.mm = mm;
    this.shadow = new Shadow(mm);
    this.#report = report;
    this.#looked = looked;
    this.#counts = counts;
  }

  start(event: NotifierEvent, start: Vpn, end: Vpn): void {
    this.#looked.balanced++;
    this.shadow.refreshRange(start, end, this.#lost);
    this.#inFlight.push({ event, start, end, told: false, task: this.mm.platform.sched.current.name, operation: null });
    const count = this.#count(event);
    count.times++;
    count.pages += end - start;
    count.mapped += this.shadow.countFrames(start, end);
  }

  /** Every listener has heard the last start. */
  allTold(event: NotifierEvent, start: Vpn, end: Vpn): void {
    const one = this.#inFlight.findLast((range) => range.event === event && range.start === start && range.end === end);
    if (one !== undefined) one.told = true;
  }

  ended(event: NotifierEvent, start: Vpn, end: Vpn): void {
    const at = this.#inFlight.findLastIndex((range) => range.event === event && range.start === start && range.end === end);
    if (at < 0) {
      this.#report({ rule: 'balanced', mm: this.mm.id, start, end, what: `an invalidation (${event}) of ${this.mm.name} ended that had not begun`, missing: 'mmu_notifier_invalidate_range_start() before range_end()' });
      return;
    }
    this.shadow.refreshRange(start, end, this.#lost);
    this.#inFlight.splice(at, 1);
    this.#over.push({ start, end });
  }

  /** A non-blockable one that was refused: its end is not called. */
  refused(event: NotifierEvent, start: Vpn, end: Vpn): void {
    const at = this.#inFlight.findLastIndex((range) => range.event === event && range.start === start && range.end === end);
    if (at >= 0) this.#inFlight.splice(at, 1);
  }

  /** A mirror has programmed pages `[start, end)`. */
  programmed(device: string, start: Vpn, end: Vpn): void {
    this.#looked['refault-before-end']++;
    const one = this.#inFlight.find((range) => range.told && range.start < end && start < range.end);
    if (one === undefined) return;
    const from = Math.max(start, one.start);
    this.#report({
      rule: 'refault-before-end', mm: this.mm.id, start: from, end: Math.min(end, one.end),
      what: `${device} programs entries while an invalidation (${one.event} of ${hex(addrOf(one.start))}..${hex(addrOf(one.end))}) is in flight`,
      missing: 'mmu_interval_read_begin(), which waits for range_end(); and mmu_interval_read_retry() under the lock',
    });
  }

  /** After `operation`. */
  step(operation: string): void {
    for (const one of this.#inFlight) one.operation ??= operation;
    this.#looked['told-before-taken'] += this.shadow.refresh(this.#lost);
    if (this.#over.length > 0) this.#over.length = 0;
  }

  /** Is page `vpn` in an invalidation that has not ended? */
  isInFlight(vpn: Vpn): boolean {
    return this.#inFlight.length > 0 && this.#inFlight.some(({ start, end }) => vpn >= start && vpn < end);
  }

  /** Is any of pages `[start, end)` in one? */
  touches(start: Vpn, end: Vpn): boolean {
    return this.#inFlight.length > 0 && this.#inFlight.some((range) => range.start < end && start < range.end);
  }

  /** And has every listener heard of it? */
  isTold(start: Vpn, end: Vpn): boolean {
    return this.#inFlight.length > 0 && this.#inFlight.some((range) => range.told && range.start < end && start < range.end);
  }

  /** What began and has not ended, oldest first. */
  get open(): readonly Readonly<InFlight>[] {
    return this.#inFlight;
  }

  #count(event: NotifierEvent): ToldCount {
    let count = this.#counts.get(event);
    if (count === undefined) this.#counts.set(event, (count = { times: 0, pages: 0, mapped: 0, lost: 0 }));
    return count;
  }

  #loss(start: Vpn, end: Vpn, before: Chunk, after: Chunk | null): void {
    for (let vpn = start; vpn < end; ) {
      const by = this.#inFlight.find((range) => vpn >= range.start && vpn < range.end);
      if (by !== undefined) {
        const upTo = Math.min(end, by.end);
        this.#count(by.event).lost += upTo - vpn;
        vpn = upTo;
        continue;
      }
      let upTo = vpn + 1;
      while (upTo < end && !this.isInFlight(upTo)) upTo++;
      this.#untold(vpn, upTo, before, after);
      vpn = upTo;
    }
  }

  #untold(start: Vpn, end: Vpn, before: Chunk, after: Chunk | null): void {
    const { mm } = this;
    const { devmapBit } = mm.platform.profile;
    const was = entryText(entryAt(before, start % PMD_PAGES), devmapBit);
    const is = entryText(entryAt(after, start % PMD_PAGES), devmapBit);
    const early = this.#over.some((range) => start >= range.start && start < range.end);
    const how = early ? 'and the only invalidation of it had ended by then' : 'and nobody was told';
    this.#report({ rule: 'told-before-taken', mm: mm.id, start, end, what: `${mm.name}: ${was} became ${is}, ${how}`, missing: MISSING, cpu: is });
  }
}
