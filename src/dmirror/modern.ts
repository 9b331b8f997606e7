/**
 * The device on the modern API: one interval notifier over the whole address space, hmm_range_fault() in windows, the sequence
 * protocol (Documentation/mm/hmm.rst; lib/test_hmm.c: dmirror_range_fault).
 */
import { HmmError } from '../errno.ts';
import { HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE, HMM_PFN_VALID, HMM_PFN_WRITE, hmmRangeFault, modernPfnMask, type HmmErrno, type HmmRange } from '../hmm/index.ts';
import type { IntervalSub, NotifierRange } from '../mm/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { addrOf, type Vpn } from '../units.ts';
import type { DeviceMirror, FillResult, MirrorPort } from './device.ts';

/** 262,144 pages: 1 GiB a walk */
const WINDOW_PAGES = 2 ** 18;
/** as the kernel's sample: after so much virtual time of retries, EBUSY */
const TIMEOUT_NS = 1_000_000_000;

/** Starts mirroring through an interval notifier. */
export function attachModern(device: DeviceMirror): MirrorPort {
  return new ModernPort(device);
}

/** A class, and no functions within a function: of those each device would have its own, with a shape of its own. */
class ModernPort implements MirrorPort {
  readonly #device: DeviceMirror;
  readonly #sub: IntervalSub;

  constructor(device: DeviceMirror) {
    const { mm } = device;
    const underLock = (range: NotifierRange, seq: number): void => {
      if (!mm.platform.bugs.has('set-seq-forgotten')) mm.notifiers.setSeq(sub, seq);
      if (range.event === 'RELEASE') device.attached = false;
    };
    const sub: IntervalSub = mm.notifiers.insert(device.name, 0, mm.pageTable.endVpn, (range, seq) => device.invalidate(range, () => underLock(range, seq)), {
      isReady: () => device.answersNow,
      answer: (range, seq) => device.invalidateNow(range, () => underLock(range, seq)),
    });
    this.#device = device;
    this.#sub = sub;
  }

  *fill(start: Vpn, end: Vpn, write: boolean): Sleepable<FillResult> {
    let result: FillResult = { npages: 0, retries: 0, leaves: [0, 0, 0] };
    for (let at = start; at < end; ) {
      const upTo = Math.min(end, at - (at % WINDOW_PAGES) + WINDOW_PAGES);
      result = plus(result, yield* this.#fillWindow(at, upTo, write));
      at = upTo;
    }
    return result;
  }

  *detach(): Sleepable<void> {
    yield* this.#device.mm.notifiers.remove(this.#sub);
  }

  *#fillWindow(start: Vpn, end: Vpn, write: boolean): Sleepable<FillResult> {
    const window = this.#device.platform.arena.window(end - start);
    try {
      return yield* this.#fillWords(start, end, write, window);
    } finally {
      window.free();
    }
  }

  *#fillWords(start: Vpn, end: Vpn, write: boolean, window: { words: BigUint64Array; offset: number }): Sleepable<FillResult> {
    const device = this.#device;
    const sub = this.#sub;
    const { mm } = device;
    const { sched, profile, bugs } = mm.platform;
    const deadlineNs = sched.nowNs + TIMEOUT_NS;
    const range: HmmRange = {
      mm,
      notifier: sub,
      seq: 0,
      start,
      end,
      words: window.words,
      out: window.offset,
      defaultFlags: write ? HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE : HMM_PFN_REQ_FAULT,
      pfnFlagsMask: 0n,
      devPrivateOwner: device.memory,
    };
    for (let retries = 0; ; retries++) {
      if (sched.nowNs > deadlineNs) throw new HmmError('EBUSY', 'device fault', 'the range did not settle within a second', addrOf(start));
      range.seq = yield* mm.notifiers.readBegin(sub);
      const answer = yield* this.#walkLocked(range);
      if (answer === 'EBUSY') continue;
      if (answer !== null) throw new HmmError(answer, 'device fault', `the page cannot be had for ${write ? 'writing' : 'reading'}`, addrOf(start));
      const early = bugs.has('retry-outside-lock');
      if (early) {
        if (mm.notifiers.readRetry(sub, range.seq)) continue;
        if (sched.concurrent) yield sched.point('device lock', `${device.lock.writeTouches},${mm.touches}`);
      }
      if (!device.lock.tryWrite(sched)) yield* device.lock.write(sched);
      try {
        if (!early && mm.notifiers.readRetry(sub, range.seq) && !bugs.has('stale-pfn')) continue;
        const words = { offset: window.offset, pfnShift: 0, pfnMask: modernPfnMask(profile.hmmOrderShift), valid: HMM_PFN_VALID, write: HMM_PFN_WRITE, none: 0n };
        return { npages: end - start, retries, leaves: device.install(start, end - start, words) };
      } finally {
        device.lock.writeUnlock(sched);
      }
    }
  }

  *#walkLocked(range: HmmRange): Sleepable<HmmErrno | null> {
    const { mm } = this.#device;
    const { sched } = mm.platform;
    if (!mm.mmapLock.tryRead(sched)) yield* mm.mmapLock.read(sched);
    try {
      const { bus, bugs } = mm.platform;
      if (bus.on && (mm.alive || bugs.has('gone-mm-faulted'))) {
        bus.emit({ type: 'driver-used', mm: mm.id, what: `hmm_range_fault() for ${this.#device.name}`, whose: mm.name, freed: mm.alive ? null : 'a process that has exited' });
      }
      if (!mm.alive) throw new HmmError('EFAULT', 'device fault', `process ${mm.name} has exited`, addrOf(range.start));
      return yield* hmmRangeFault(range);
    } finally {
      mm.mmapLock.readUnlock(sched);
    }
  }
}

function plus(a: FillResult, b: FillResult): FillResult {
  return {
    npages: a.npages + b.npages,
    retries: a.retries + b.retries,
    leaves: [a.leaves[0] + b.leaves[0], a.leaves[1] + b.leaves[1], a.leaves[2] + b.leaves[2]],
  };
}
