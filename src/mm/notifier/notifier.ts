/**
 * mmu notifiers: how an address space tells its mirrors (mm/mmu_notifier.c).
 *
 * Guarantee: between start and end of an invalidation the pages are still there, and a secondary MMU that has heard
 * start must neither keep nor make an entry in the range until end. Two kinds listen: *classic* ones hear start, end
 * and release of the whole space; *interval* ones hear what overlaps theirs and are told apart by a sequence number:
 *
 *   seq = readBegin(sub); … collect pages …; lock; if (readRetry(sub, seq)) start again; program; unlock
 *
 * Interval subscriptions are called before classic ones at start, and closed before them at end. Nested and concurrent
 * invalidations are allowed. A non-blockable one may be refused: -EAGAIN, and then its end must not be called.
 * Ranges are page numbers `[start, end)`.
 */
import { InvariantError, invariant } from '../../errno.ts';
import type { EventBus, NotifierEvent } from '../../events/events.ts';
import type { BugSwitch } from '../../profile/index.ts';
import { IntervalTree, type IntervalNode } from '../../interval.ts';
import { WaitQueue, type Scheduler, type Sleepable } from '../../sched/index.ts';
import type { Vpn } from '../../units.ts';

export interface NotifierRange {
  readonly event: NotifierEvent;
  readonly start: Vpn;
  readonly end: Vpn;
  readonly blockable: boolean;
  /** who raises it, for MIGRATE and EXCLUSIVE: a device ignores its own */
  readonly owner: object | null;
}

/**
 * How a listener answers the start of an invalidation when it has not to wait: the same as what may sleep, without a generator for each.
 * Asked only while nobody else can run.
 */
export interface Prompt {
  /** False: this time it would have to wait, or what it does then takes more than an answer. */
  isReady(): boolean;
  answer(range: NotifierRange, seq: number): void;
}

/** A classic listener. `start` answers false only to a non-blockable range that it cannot serve now. */
export interface MmuNotifier {
  readonly name: string;
  start?(range: NotifierRange): Sleepable<boolean>;
  end?(range: NotifierRange): void;
  release?(): Sleepable<void>;
  /** `start` at once; left out: it may always have to wait */
  readonly prompt?: Prompt;
}

/** Called for each overlapping invalidation; must call `setSeq` under the driver's lock and drop its entries. */
export type IntervalInvalidate = (range: NotifierRange, seq: number) => Sleepable<boolean>;

/** mmu_interval_notifier: one subscription to `[start, end)`. */
export interface IntervalSub {
  readonly name: string;
  readonly start: Vpn;
  readonly end: Vpn;
  readonly invalidate: IntervalInvalidate;
  /** the same at once; null: it may always have to wait */
  readonly prompt: Prompt | null;
  /** odd; equal to the space's number while an invalidation that touches this one is in flight */
  seq: number;
  node: IntervalNode<IntervalSub> | null;
  deferred: 'insert' | 'remove' | null;
}

export class MmuNotifiers {
  readonly mmId: number;
  readonly #sched: Scheduler;
  readonly #bus: EventBus;
  /** even when nothing that matters is in flight, odd while an invalidation overlaps a subscription */
  #seq = 2;
  #active = 0;
  readonly #tree = new IntervalTree<IntervalSub>();
  #deferred: IntervalSub[] = [];
  #list: readonly MmuNotifier[] = [];
  /** of those that listen: how they answer without a wait, and how many there are that cannot */
  #prompts: readonly Prompt[] = [];
  #slow = 0;
  readonly #ended: WaitQueue;
  /** what preemption points of this space's notifiers touch */
  readonly touches: string;

  /** bug switches, looked up once */
  readonly #beginDoesNotWait: boolean;
  readonly #endUnpaired: boolean;
  readonly #removeRaces: boolean;
  readonly #endUnstarted: boolean;

  constructor(mmId: number, sched: Scheduler, bus: EventBus, bugs: ReadonlySet<BugSwitch> = NO_BUGS) {
    this.#beginDoesNotWait = bugs.has('begin-does-not-wait');
    this.#endUnpaired = bugs.has('range-end-unpaired');
    this.#removeRaces = bugs.has('interval-remove-race');
    this.#endUnstarted = bugs.has('end-without-start');
    this.mmId = mmId;
    this.touches = `notifier ${mmId}`;
    this.#ended = new WaitQueue('mmu notifier sequence', this.touches);
    this.#sched = sched;
    this.#bus = bus;
  }

  /** False while nobody listens: an invalidation has then nothing to do. */
  get heard(): boolean {
    return this.#list.length > 0 || this.#tree.size > 0 || this.#deferred.length > 0;
  }

  /** Invalidations in flight. */
  get active(): number {
    return this.#active;
  }

  // ── the core's side ──

  /**
   * mmu_notifier_invalidate_range_start(). False: refused (non-blockable only), and end must not be called.
   * Concurrency: who calls it yields a point before anything else, as the last listener's stretch runs on into the caller.
   */
  *start(range: NotifierRange): Sleepable<boolean> {
    if (this.#bus.on) this.#bus.emit({ type: 'invalidate-start', mm: this.mmId, event: range.event, start: range.start, end: range.end, blockable: range.blockable });
    if (this.#sched.concurrent) yield this.#sched.point(`${range.event} start`, this.touches);
    const overlapping = this.#openIntervals(range);
    for (const sub of overlapping) {
      if (yield* sub.invalidate(range, this.#seq)) continue;
      if (range.blockable) throw new InvariantError(`${sub.name} refuses a blockable invalidation`);
      this.#closeIntervals();
      this.#tell('invalidate-refused', range);
      return false;
    }
    const taken = this.#list.length === 0 || (yield* this.#startList(range));
    this.#tell(taken ? 'invalidate-told' : 'invalidate-refused', range);
    return taken;
  }

  /** Nobody else can run and no listener has to wait: `startNow` may take the place of `start`. */
  get startsNow(): boolean {
    if (this.#sched.concurrent || this.#slow > 0) return false;
    for (let i = 0; i < this.#prompts.length; i++) if (!(this.#prompts[i] as Prompt).isReady()) return false;
    return true;
  }

  /** `start` of a blockable range where `startsNow`. */
  startNow(range: NotifierRange): void {
    if (this.#bus.on) this.#bus.emit({ type: 'invalidate-start', mm: this.mmId, event: range.event, start: range.start, end: range.end, blockable: range.blockable });
    const overlapping = this.#openIntervals(range);
    for (let i = 0; i < overlapping.length; i++) ((overlapping[i] as IntervalSub).prompt as Prompt).answer(range, this.#seq);
    const list = this.#list;
    for (let i = 0; i < list.length; i++) (list[i] as MmuNotifier).prompt?.answer(range, this.#seq);
    this.#tell('invalidate-told', range);
  }

  /** mmu_notifier_invalidate_range_end(). */
  end(range: NotifierRange): void {
    this.#tell('invalidate-end', range);
    if (this.#active === 0 && this.#endUnstarted) return; // who checks has heard it
    invariant(this.#active > 0, 'invalidation ended more often than started');
    this.#closeIntervals();
    const list = this.#list;
    for (let i = 0; i < list.length; i++) (list[i] as MmuNotifier).end?.(range);
  }

  /** mmu_notifier_release(): the space goes away. Interval subscriptions hear RELEASE over everything, classic ones `release`. */
  *release(endVpn: Vpn): Sleepable<void> {
    const range: NotifierRange = { event: 'RELEASE', start: 0, end: endVpn, blockable: true, owner: null };
    for (const sub of this.#openIntervals(range)) yield* sub.invalidate(range, this.#seq);
    this.#closeIntervals();
    const listeners = this.#list;
    for (const notifier of listeners) {
      if (this.#list.includes(notifier) && notifier.release !== undefined) yield* notifier.release();
    }
    for (const notifier of this.#list) this.#count(notifier, -1);
    this.#list = []; // until now they hear what others invalidate
  }

  // ── classic listeners ──

  register(notifier: MmuNotifier): void {
    this.#list = [...this.#list, notifier];
    this.#count(notifier, 1);
  }

  unregister(notifier: MmuNotifier): void {
    if (this.#list.includes(notifier)) this.#count(notifier, -1);
    this.#list = this.#list.filter((other) => other !== notifier);
  }

  // ── interval listeners ──

  /** mmu_interval_notifier_insert(). While an invalidation is in flight it joins at its end. */
  insert(name: string, start: Vpn, end: Vpn, invalidate: IntervalInvalidate, prompt: Prompt | null = null): IntervalSub {
    const sub: IntervalSub = { name, start, end, invalidate, prompt, seq: this.#seq - 1, node: null, deferred: null };
    this.#count(sub, 1);
    if (this.#invalidating) {
      sub.seq = this.#seq;
      sub.deferred = 'insert';
      this.#deferred.push(sub);
    } else {
      if (this.#active > 0) {
        this.#seq++;
        sub.seq = this.#seq;
      }
      sub.node = this.#tree.insert(start, end, sub);
    }
    return sub;
  }

  /** mmu_interval_notifier_remove(): no callback runs any more when it returns. May sleep; not to be called from a callback. */
  *remove(sub: IntervalSub): Sleepable<void> {
    if (this.#sched.concurrent) yield this.#sched.point('mmu_interval_notifier_remove', '*');
    if (sub.deferred === 'insert') {
      sub.deferred = null;
      this.#deferred = this.#deferred.filter((other) => other !== sub);
      this.#count(sub, -1);
      return;
    }
    if (sub.node === null) return;
    if (!this.#invalidating) {
      this.#tree.remove(sub.node);
      sub.node = null;
      this.#count(sub, -1);
      return;
    }
    sub.deferred = 'remove';
    this.#deferred.push(sub);
    const seq = this.#seq;
    yield* this.#ended.wait(this.#sched, () => this.#seq !== seq);
  }

  /** What points that work on the sequence of the subscription `name` touch. */
  subTouches(name: string): string {
    return `sub ${this.mmId} ${name}`;
  }

  /** mmu_interval_read_begin(): waits while an invalidation that touches `sub` is in flight, then names the state it stands for. */
  *readBegin(sub: IntervalSub): Sleepable<number> {
    if (this.#sched.concurrent) yield this.#sched.point('mmu_interval_read_begin', `${this.touches},${this.subTouches(sub.name)}`);
    const seq = sub.seq;
    if (seq === this.#seq && !this.#beginDoesNotWait) yield* this.#ended.wait(this.#sched, () => this.#seq !== seq);
    return seq;
  }

  /** Would `readBegin` answer `sub.seq` at once, without a preemption point? */
  settled(sub: IntervalSub): boolean {
    return !this.#sched.concurrent && sub.seq !== this.#seq;
  }

  /** True when what was read since `seq` may be stale. To be asked under the driver's lock. */
  readRetry(sub: IntervalSub, seq: number): boolean {
    return sub.seq !== seq;
  }

  /** mmu_interval_set_seq(), from the invalidate callback under the driver's lock. */
  setSeq(sub: IntervalSub, seq: number): void {
    sub.seq = seq;
  }

  // ── inside ──

  #tell(type: 'invalidate-told' | 'invalidate-refused' | 'invalidate-end', { event, start, end }: NotifierRange): void {
    if (this.#bus.on) this.#bus.emit({ type, mm: this.mmId, event, start, end });
  }

  /** An invalidation that overlaps a subscription is in flight. */
  get #invalidating(): boolean {
    return this.#active > 0 && this.#seq % 2 === 1;
  }

  /** A listener comes, or goes. */
  #count({ prompt, start }: { readonly prompt?: Prompt | null; readonly start?: unknown }, by: 1 | -1): void {
    if (prompt === undefined || prompt === null) this.#slow += start === undefined ? 0 : by;
    else if (by === 1) this.#prompts = [...this.#prompts, prompt];
    else this.#prompts = this.#prompts.filter((other) => other !== prompt);
  }

  #openIntervals(range: NotifierRange): readonly IntervalSub[] {
    this.#active++;
    if (this.#tree.size === 0 || range.start >= range.end) return NONE;
    const overlapping = this.#tree.collect(range.start, range.end);
    if (this.#removeRaces && !this.#invalidating) this.#workOff(); // who ended the last one comes to it only now
    if (overlapping.length > 0 && this.#seq % 2 === 0) this.#seq++;
    return overlapping;
  }

  #closeIntervals(): void {
    this.#active--;
    if (this.#active > 0 || this.#seq % 2 === 0) return;
    this.#seq++;
    if (!this.#removeRaces) this.#workOff();
  }

  /** What came or went while an invalidation was in flight joins or leaves. */
  #workOff(): void {
    const deferred = this.#deferred;
    this.#deferred = [];
    for (const sub of deferred) {
      if (sub.deferred === 'insert') sub.node = this.#tree.insert(sub.start, sub.end, sub);
      else if (sub.node !== null) {
        this.#tree.remove(sub.node);
        sub.node = null;
        this.#count(sub, -1);
      }
      sub.deferred = null;
    }
  }

  /** All hear start even after one refused; then those that have heard it hear end, and the core goes back. */
  *#startList(range: NotifierRange): Sleepable<boolean> {
    if (this.#sched.concurrent) yield this.#sched.point(`${range.event} start: list`, this.touches);
    let refused = false;
    for (const notifier of this.#list) {
      if (notifier.start === undefined || (yield* notifier.start(range))) continue;
      if (range.blockable) throw new InvariantError(`${notifier.name} refuses a blockable invalidation`);
      refused = true;
    }
    if (!refused) return true;
    this.#closeIntervals();
    if (!this.#endUnpaired) for (const notifier of this.#list) notifier.end?.(range);
    return false;
  }
}

const NONE: readonly IntervalSub[] = [];
const NO_BUGS: ReadonlySet<BugSwitch> = new Set();
