/**
 * struct hmm and hmm_mirror: the 2019 API's side of the notifiers (mm/hmm.c, v5.2).
 *
 * One `Hmm2019` an address space, made by the first mirror or range and gone with the last; it is one classic notifier. At the
 * start of an invalidation every range that it touches stops being valid and every mirror is called; the count of those in
 * flight says when ranges may be valid again. A mirror hears of the whole space, without being told what for.
 *
 * Where the era's code goes wrong there is a bug switch: which ranges an update touches (overlap-inclusive), until when they
 * are not valid (valid-per-mm), who makes them valid again (valid-aba, see range2019.ts), and what becomes of an
 * invalidation that may not block and would have to (mirror-eagain-lost, nonblock-count-leak).
 *
 * Locks, outermost first: `lock` over ranges and count, never held across a step; `mirrorsSem`, held for reading while mirrors
 * are called, so that who unregisters one waits for its callback.
 */
import { Beside } from '../beside.ts';
import { InvariantError, invariant } from '../errno.ts';
import { tellBreach, type Mm, type MmuNotifier, type NotifierRange } from '../mm/index.ts';
import { RwLock, type Sleepable } from '../sched/index.ts';
import type { Vpn } from '../units.ts';
import { tellEra } from './toldCalls.ts';

/** struct hmm_update: what a mirror is told. The API knows one event. */
export interface HmmUpdate {
  readonly start: Vpn;
  readonly end: Vpn;
  readonly event: 'INVALIDATE';
  readonly blockable: boolean;
}

export interface HmmMirrorOps {
  /** the address space goes away; called once, without `mirrorsSem` */
  release?(): Sleepable<void>;
  /** drops the device's entries in the range. False (-EAGAIN): would have to wait, only where the update may not block */
  syncCpuDevicePagetables(update: HmmUpdate): Sleepable<boolean>;
  /** the same at once, asked only while nobody else can run; left out: it may always have to wait */
  readonly prompt?: { isReady(): boolean; answer(update: HmmUpdate): void };
}

/** struct hmm_mirror: one device's ear on one address space. */
export interface HmmMirror {
  readonly name: string;
  readonly ops: HmmMirrorOps;
  /** null before it was registered and after it was unregistered */
  hmm: Hmm2019 | null;
}

/** What struct hmm knows of a range. */
export interface TrackedRange {
  readonly start: Vpn;
  readonly end: Vpn;
  valid: boolean;
}

const spaces = new Beside<Mm, Hmm2019>();

export class Hmm2019 {
  readonly mm: Mm;
  readonly lock: RwLock;
  readonly mirrorsSem: RwLock;
  readonly ranges = new Set<TrackedRange>();
  mirrors: readonly HmmMirror[] = [];
  /** the process has exited */
  dead = false;
  #inFlight: readonly NotifierRange[] = [];
  /** those that were in flight when this was made: nobody said where, so they count for every range */
  #unheard: number;
  readonly #refused = new WeakSet<NotifierRange>();
  /** the count stays raised for ever */
  #leaked = false;
  #refs = 0;
  readonly #notifier: MmuNotifier;

  constructor(mm: Mm) {
    this.mm = mm;
    this.lock = new RwLock(`hmm->lock ${mm.id}`, '*');
    this.mirrorsSem = new RwLock(`mirrors_sem ${mm.id}`, '*');
    this.#notifier = { name: `hmm ${mm.id}`, start: (range) => this.#start(range), end: (range) => this.#end(range), release: () => this.#release(), prompt: { isReady: () => this.#answersNow, answer: (range) => this.#answer(range) } };
    this.#unheard = mm.notifiers.active;
    mm.notifiers.register(this.#notifier);
  }

  /** Invalidations in flight, or counted as such. */
  get notifiers(): number {
    return this.#inFlight.length + this.#unheard;
  }

  /** What preemption points touch before state of this object is looked at. */
  get touches(): string {
    return `${this.mm.touches},notifier ${this.mm.id}`;
  }

  /** True when nothing in flight keeps `range` from being valid. */
  quiet(range: TrackedRange): boolean {
    if (this.#unheard > 0) return false;
    if (this.mm.platform.bugs.has('valid-per-mm')) return this.#inFlight.length === 0;
    return !this.#inFlight.some((update) => this.#touches(update, range));
  }

  /** hmm_get(), hmm_put(): the last put takes the notifier away. */
  get(): void {
    this.#refs++;
  }

  put(): void {
    invariant(this.#refs > 0, 'struct hmm is put more often than it was got');
    this.#refs--;
    if (this.#refs > 0) return;
    this.mm.notifiers.unregister(this.#notifier);
    if (spaces.get(this.mm) === this) spaces.delete(this.mm);
  }

  /** hmm_invalidate_range_start(). */
  *#start(range: NotifierRange): Sleepable<boolean> {
    const { sched } = this.mm.platform;
    if (this.lock.held !== null) {
      if (!range.blockable) return false;
      yield* this.lock.write(sched);
      this.lock.writeUnlock(sched);
    }
    this.#enter(range);
    if (!range.blockable) {
      if (!this.mirrorsSem.readNow(sched)) return this.#refuse(range);
    } else if (!this.mirrorsSem.tryRead(sched)) {
      yield* this.mirrorsSem.read(sched, this.#mirrorsTouch());
    }
    try {
      return (yield* this.#callMirrors(range)) || this.#refuse(range);
    } finally {
      this.mirrorsSem.readUnlock(sched);
    }
  }

  #enter(range: NotifierRange): void {
    this.#inFlight = [...this.#inFlight, range];
    for (const tracked of this.ranges) if (this.#touches(range, tracked)) this.#invalidate(tracked, range);
  }

  get #answersNow(): boolean {
    return this.lock.held === null && this.mirrorsSem.isFree && this.mirrors.every(({ ops }) => ops.prompt?.isReady() === true);
  }

  /** `#start` of a blockable range where `#answersNow`. */
  #answer(range: NotifierRange): void {
    const { sched } = this.mm.platform;
    this.#enter(range);
    invariant(this.mirrorsSem.tryRead(sched), 'struct hmm answers at once, and mirrors_sem is taken');
    try {
      const update: HmmUpdate = { start: range.start, end: range.end, event: 'INVALIDATE', blockable: range.blockable };
      for (const { ops } of this.mirrors) ops.prompt?.answer(update);
    } finally {
      this.mirrorsSem.readUnlock(sched);
    }
  }

  /** False: a mirror would have to wait and may not. Those after it are not called. */
  *#callMirrors(range: NotifierRange): Sleepable<boolean> {
    const update: HmmUpdate = { start: range.start, end: range.end, event: 'INVALIDATE', blockable: range.blockable };
    for (const mirror of this.mirrors) {
      if (yield* mirror.ops.syncCpuDevicePagetables(update)) continue;
      if (range.blockable) throw new InvariantError(`mirror ${mirror.name} refuses a blockable invalidation`);
      return this.mm.platform.bugs.has('mirror-eagain-lost');
    }
    return true;
  }

  /** The start has failed: the core goes back, and its end is no end of ours. With the count leaked it stands for ever. */
  #refuse(range: NotifierRange): false {
    this.#inFlight = this.#inFlight.filter((update) => update !== range);
    this.#refused.add(range);
    if (this.mm.platform.bugs.has('nonblock-count-leak')) {
      this.#inFlight = [...this.#inFlight, { ...range }];
      this.#leaked = true;
    } else this.#settle();
    return false;
  }

  /** hmm_invalidate_range_end(). One whose start was refused is none. */
  #end(range: NotifierRange): void {
    if (this.#inFlight.includes(range)) this.#inFlight = this.#inFlight.filter((update) => update !== range);
    else if (this.#refused.has(range) || this.#unheard === 0) return;
    else this.#unheard--;
    this.#settle();
  }

  #settle(): void {
    if (!this.mm.platform.bugs.has('valid-aba')) return;
    for (const tracked of this.ranges) if (this.quiet(tracked)) tracked.valid = true;
  }

  /** hmm_release(). */
  *#release(): Sleepable<void> {
    const { sched, bugs } = this.mm.platform;
    const window = bugs.has('release-window');
    this.dead = true;
    for (const tracked of this.ranges) tracked.valid = false;
    for (;;) {
      if (!this.mirrorsSem.tryWrite(sched)) yield* this.mirrorsSem.write(sched, this.#mirrorsTouch());
      const mirror = this.mirrors[0];
      if (window) this.#missesNow();
      this.mirrorsSem.writeUnlock(sched);
      if (mirror === undefined) return;
      if (mirror.ops.release !== undefined) yield* mirror.ops.release();
      if (!window) this.mirrors = this.mirrors.filter((other) => other !== mirror);
    }
  }

  #invalidate(tracked: TrackedRange, update: NotifierRange): void {
    const { bus } = this.mm.platform;
    if (bus.on && tracked.valid) {
      const { start, end } = tracked;
      if (update.end === start) tellEra(this.mm, 'overlap-inclusive', start, end);
      bus.emit({ type: 'hmm-valid', mm: this.mm.id, start, end, valid: false, update: { start: update.start, end: update.end } });
    }
    tracked.valid = false;
  }

  /** Whoever checks hears whether `range` is valid, and of the era's reasons why not. */
  tellValid({ start, end, valid }: TrackedRange): void {
    const { bus } = this.mm.platform;
    if (!bus.on || this.#unheard > 0 || this.dead) return;
    if (!valid) {
      if (this.#leaked && this.mm.platform.profile.bugs.includes('nonblock-count-leak')) tellBreach(this.mm, 'balanced', 'nonblock-count-leak', start, end);
      if (this.#inFlight.some((update) => update.end === start)) tellEra(this.mm, 'overlap-inclusive', start, end);
      if (this.#inFlight.length > 0 && !this.#inFlight.some((update) => update.start < end && start < update.end)) tellEra(this.mm, 'valid-per-mm', start, end);
    }
    bus.emit({ type: 'hmm-valid', mm: this.mm.id, start, end, valid, update: null });
  }

  /** The era's window: a mirror off the list that has not been told. Until it has, it keeps what others take away. */
  #missesNow(): void {
    const { mm } = this;
    this.mirrors = this.mirrors.slice(1);
    if (!mm.platform.profile.bugs.includes('release-window')) return;
    for (const rule of ['mirror-coherent', 'blocks-owned']) tellBreach(mm, rule, 'release-window', 0, mm.pageTable.endVpn);
  }

  /** What the list of mirrors is changed and walked with: each is called, and in its turn taken off the list, under its device's lock. */
  #mirrorsTouch(): string {
    return [this.touches, ...this.mirrors.map(({ name }) => `device ${name}`)].join();
  }

  #touches(update: NotifierRange, range: TrackedRange): boolean {
    const inclusive = this.mm.platform.bugs.has('overlap-inclusive');
    return update.start < range.end && (inclusive ? update.end >= range.start : update.end > range.start);
  }
}

/** hmm_get_or_create(): the space's struct hmm with one more reference, or null when the process has exited. */
export function getHmm(mm: Mm): Hmm2019 | null {
  if (!mm.alive) return null;
  let hmm = spaces.get(mm);
  if (hmm === undefined) spaces.set(mm, (hmm = new Hmm2019(mm)));
  hmm.get();
  return hmm;
}

/**
 * hmm_mirror_register(): from now on `ops` hear of every invalidation of `mm`. EINVAL: no space (an exited one counts as
 * none) or no ops. An invalidation already past its mirrors is not heard; ranges registered meanwhile know of it.
 */
export function hmmMirrorRegister(mm: Mm | null, name: string, ops: HmmMirrorOps | null): HmmMirror | 'EINVAL' {
  const hmm = mm === null || ops === null ? null : getHmm(mm);
  if (hmm === null || ops === null) return 'EINVAL';
  const mirror: HmmMirror = { name, ops, hmm };
  hmm.mirrors = [...hmm.mirrors, mirror];
  return mirror;
}

/** hmm_mirror_unregister(): no callback runs any more when it returns. May sleep. Doing it twice is no error. */
export function* hmmMirrorUnregister(mirror: HmmMirror): Sleepable<void> {
  const { hmm } = mirror;
  if (hmm === null) return;
  const { sched } = hmm.mm.platform;
  if (!hmm.mirrorsSem.tryWrite(sched)) yield* hmm.mirrorsSem.write(sched);
  hmm.mirrors = hmm.mirrors.filter((other) => other !== mirror);
  hmm.mirrorsSem.writeUnlock(sched);
  mirror.hmm = null;
  hmm.put();
}
