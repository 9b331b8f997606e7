/** MirrorRange: hmm_range_fault() by hand, for who writes a driver of his own. */
import { HmmError, checkOptions } from '../errno.ts';
import { HMM_PFN_ERROR, HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE, HMM_PFN_VALID, HMM_PFN_WRITE, RANGE_SLEEPS, beginRangeFault, hmmRangeFault, modernPfnMask, quickRangeFault, resumeRangeFault, type HmmErrno, type HmmRange } from '../hmm/index.ts';
import type { IntervalSub, Mm } from '../mm/index.ts';
import type { Window } from '../arena/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { addrOf, type Vpn } from '../units.ts';
import { checkBoolean } from './checks.ts';
import type { Driver } from './driver.ts';

const OP = 'hmm_range_fault';

export interface RangeOptions {
  /** fault() asks for write access (default false) */
  readonly write?: boolean;
}

/** A word, decoded. */
export interface PfnInfo {
  readonly addr: bigint;
  readonly valid: boolean;
  readonly write: boolean;
  readonly error: boolean;
  readonly pfn: bigint;
  /** 0, 9 or 18: the size of the leaf it is part of */
  readonly order: number;
}

/**
 * Words of `[start, end)`, one a page, in the layout of the kernel's hmm_pfns, as a view of the arena that is good until `dispose`.
 * `valid` is mmu_interval_read_retry() turned round: while it is true the words say what the CPU page table maps.
 */
export class MirrorRange implements Disposable {
  readonly start: bigint;
  readonly end: bigint;
  readonly #driver: Driver;
  readonly #mm: Mm;
  readonly #sub: IntervalSub;
  readonly #window: Window;
  /** HMM_PFN_REQ_ bits of fault() */
  readonly #faultFlags: bigint;
  readonly #first: Vpn;
  readonly #npages: number;
  #seq = 0;
  #disposed = false;

  /** @internal made by `Mirror.range` */
  constructor(driver: Driver, mm: Mm, first: Vpn, npages: number, options: RangeOptions) {
    checkOptions('range', options, ['write']);
    this.#faultFlags = checkBoolean('range', 'write', options.write ?? false) ? HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE : HMM_PFN_REQ_FAULT;
    this.#driver = driver;
    this.#mm = mm;
    this.#first = first;
    this.#npages = npages;
    this.start = addrOf(first);
    this.end = addrOf(first + npages);
    this.#window = mm.platform.arena.window(npages);
    const sub: IntervalSub = mm.notifiers.insert('range', first, first + npages, function* (_range, seq) {
      mm.notifiers.setSeq(sub, seq);
      return true;
    });
    this.#sub = sub;
  }

  /** The words, as they stand in the arena. */
  get pfns(): BigUint64Array {
    this.#check('pfns');
    return this.#window.words;
  }

  /** False when something was invalidated since the last snapshot or fault began. */
  get valid(): boolean {
    this.#check('valid');
    return this.#seq !== 0 && !this.#mm.notifiers.readRetry(this.#sub, this.#seq);
  }

  /** What a task can `yield*`. */
  readonly task = {
    snapshot: (): Sleepable<void> => this.#walk(0n),
    fault: (): Sleepable<void> => this.#walk(this.#faultFlags),
  };

  /** Looks, and faults nothing in: pages that are not mapped read 0. */
  snapshot(): void {
    this.#walkNow(0n);
  }

  /** Faults in what is missing. Throws EFAULT, EPERM, ENOMEM; EBUSY only where it never settles. */
  fault(): void {
    this.#walkNow(this.#faultFlags);
  }

  /** The words, decoded one by one. */
  *[Symbol.iterator](): Generator<PfnInfo, void, void> {
    const shift = BigInt(this.#mm.platform.profile.hmmOrderShift);
    const mask = modernPfnMask(Number(shift));
    for (let i = 0; i < this.#npages; i++) {
      const word = this.pfns[i] as bigint;
      yield {
        addr: addrOf(this.#first + i),
        valid: (word & HMM_PFN_VALID) !== 0n,
        write: (word & HMM_PFN_WRITE) !== 0n,
        error: (word & HMM_PFN_ERROR) !== 0n,
        pfn: word & mask,
        order: Number((word >> shift) & 31n),
      };
    }
  }

  /** Ends the subscription and gives the window back. */
  dispose(): void {
    if (this.#disposed || !this.#driver.live) return;
    this.#disposed = true;
    this.#driver.run('range', this.#mm.notifiers.remove(this.#sub));
    this.#window.free();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  *#walk(defaultFlags: bigint): Sleepable<void> {
    this.#check(OP);
    const mm = this.#mm;
    const { sched } = mm.platform;
    const range = this.#request(defaultFlags);
    for (;;) {
      range.seq = yield* mm.notifiers.readBegin(this.#sub);
      if (!mm.mmapLock.tryRead(sched)) yield* mm.mmapLock.read(sched);
      let answer: HmmErrno | null;
      try {
        this.#checkAlive();
        answer = yield* hmmRangeFault(range);
      } finally {
        mm.mmapLock.readUnlock(sched);
      }
      if (this.#isDone(range, answer)) return;
    }
  }

  /** The same to its end, by plain functions as far as nothing has to wait. */
  #walkNow(defaultFlags: bigint): void {
    this.#check(OP);
    const { notifiers, mmapLock, platform } = this.#mm;
    const { sched } = platform;
    if (!notifiers.settled(this.#sub) || !mmapLock.tryRead(sched)) {
      this.#driver.run(OP, this.#walk(defaultFlags));
      return;
    }
    const range = this.#request(defaultFlags);
    range.seq = this.#sub.seq;
    let answer: HmmErrno | typeof RANGE_SLEEPS | null;
    try {
      this.#checkAlive();
      const state = beginRangeFault(range);
      answer = quickRangeFault(state);
      if (answer === RANGE_SLEEPS) answer = this.#driver.run(OP, resumeRangeFault(state));
    } finally {
      mmapLock.readUnlock(sched);
    }
    if (!this.#isDone(range, answer)) this.#driver.run(OP, this.#walk(defaultFlags));
  }

  #request(defaultFlags: bigint): HmmRange {
    const { words, offset } = this.#window;
    return { mm: this.#mm, notifier: this.#sub, seq: 0, start: this.#first, end: this.#first + this.#npages, words, out: offset, defaultFlags, pfnFlagsMask: 0n };
  }

  /** Takes the answer for `range`: false where it is to begin anew. Throws what the walk was refused with. */
  #isDone(range: HmmRange, answer: HmmErrno | null): boolean {
    this.#seq = range.seq;
    if (answer === null) return true;
    if (answer !== 'EBUSY') throw new HmmError(answer, OP, 'a page of the range cannot be had', this.start);
    return false;
  }

  #checkAlive(): void {
    if (!this.#mm.alive) throw new HmmError('EFAULT', OP, `process ${this.#mm.name} has exited`, this.start);
  }

  #check(op: string): void {
    this.#driver.check(op);
    if (this.#disposed) throw new HmmError('EBADF', op, 'the range was disposed');
  }
}
