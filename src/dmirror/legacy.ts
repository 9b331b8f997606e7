/**
 * The device on the 2019 API: a mirror over the whole address space, a range for each walk, and the loop that every driver of
 * the era had (Documentation/vm/hmm.rst, v5.2; drivers/gpu/drm/nouveau/nouveau_svm.c).
 *
 *   register the range
 *   again: wait until it is valid, a second at most
 *          take mmap_lock, fault, drop it unless the fault did
 *          take the device's lock; unless the range is still valid: drop it, again
 *          program, drop the device's lock, unregister
 *
 * The mirror is called after the range has stopped being valid and takes the device's lock to drop entries: whoever programmed
 * before is undone, whoever comes after looks at `valid` first.
 */
import { PAGE_SHIFT } from '../abi.ts';
import { HmmError } from '../errno.ts';
import {
  RANGE_DEFAULT_TIMEOUT_MS, hmmMirrorRegister, hmmMirrorUnregister, hmmRangeFault2019, hmmRangeRegister, hmmRangeUnregister, hmmRangeWaitUntilValid, newRange2019,
  type HmmMirror, type HmmMirrorOps, type HmmUpdate, type PfnFormat, type Range2019, type RangeErrno,
} from '../hmm/index.ts';
import { livelock, type NotifierRange } from '../mm/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { addrOf, type Vpn } from '../units.ts';
import type { DeviceMirror, FillResult, InstallWords, MirrorPort } from './device.ts';

/** 262,144 pages: 1 GiB a walk */
const WINDOW_PAGES = 2 ** 18;

/** Bug switch ebusy-forever: so many waits of a second each in vain, and it goes on. */
const WAITS_MAX = 64;

/** Words for so many pages are kept between fills: a fault of one page costs less than finding room for its word. */
const SPARE_PAGES = 512;

interface Scratch {
  readonly range: Range2019;
  readonly free: () => void;
}

const VALID = 1n;
const WRITE = 2n;
const DEVICE_PRIVATE = 4n;
const NONE = 0n;
/** Flags in the low bits, as a page-table entry has them; the values are no frames and not VALID. */
export const LEGACY_FORMAT: PfnFormat = {
  flags: [VALID, WRITE, DEVICE_PRIVATE],
  values: [0xffff_ffff_ffff_fffen, NONE, 0xffff_ffff_ffff_fffcn],
  pfnShift: PAGE_SHIFT,
};
const PFN_MASK = 0xffff_ffff_ffff_f000n;

/** Starts mirroring through hmm_mirror. Throws EINVAL when the process has exited. */
export function attachLegacy(device: DeviceMirror): MirrorPort {
  return new LegacyPort(device);
}

/** What the mirror of a device is told. */
class LegacyOps implements HmmMirrorOps {
  readonly #device: DeviceMirror;
  readonly prompt: NonNullable<HmmMirrorOps['prompt']>;

  constructor(device: DeviceMirror) {
    this.#device = device;
    this.prompt = { isReady: () => device.answersNow, answer: (update) => device.invalidateNow(rangeOf(update), () => {}) };
  }

  syncCpuDevicePagetables(update: HmmUpdate): Sleepable<boolean> {
    return this.#device.invalidate(rangeOf(update), () => {});
  }

  *release(): Sleepable<void> {
    const device = this.#device;
    yield* device.invalidate({ event: 'RELEASE', start: 0, end: device.mm.pageTable.endVpn, blockable: true, owner: null }, () => {
      device.attached = false;
    });
  }
}

class LegacyPort implements MirrorPort {
  readonly #device: DeviceMirror;
  readonly #mirror: HmmMirror;
  #spare: Scratch | null = null;

  constructor(device: DeviceMirror) {
    const { mm } = device;
    const mirror = hmmMirrorRegister(mm, device.name, new LegacyOps(device));
    if (typeof mirror === 'string') throw new HmmError(mirror, 'hmm_mirror_register', `process ${mm.name} has exited`);
    this.#device = device;
    this.#mirror = mirror;
  }

  *fill(start: Vpn, end: Vpn, write: boolean): Sleepable<FillResult> {
    let npages = 0;
    let retries = 0;
    const leaves: [number, number, number] = [0, 0, 0];
    for (let at = start; at < end; ) {
      const upTo = Math.min(end, at - (at % WINDOW_PAGES) + WINDOW_PAGES);
      const part = yield* this.#fillWindow(at, upTo, write);
      npages += part.npages;
      retries += part.retries;
      for (const level of [0, 1, 2] as const) leaves[level] += part.leaves[level];
      at = upTo;
    }
    return { npages, retries, leaves };
  }

  *detach(): Sleepable<void> {
    yield* hmmMirrorUnregister(this.#mirror);
    this.#spare?.free();
    this.#spare = null;
  }

  *#fillWindow(start: Vpn, end: Vpn, write: boolean): Sleepable<FillResult> {
    const device = this.#device;
    const { mm } = device;
    const scratch = this.#takeScratch(end - start);
    const { range } = scratch;
    range.defaultFlags = write ? VALID | WRITE : VALID;
    try {
      const refused = hmmRangeRegister(range, mm, start, end);
      if (refused !== null) throw new HmmError(refused, 'device fault', `process ${mm.name} has exited`, addrOf(start));
      return yield* this.#fillRange(range, write);
    } finally {
      hmmRangeUnregister(range);
      if (this.#spare === null && range.words.length === SPARE_PAGES && device.attached) this.#spare = scratch;
      else scratch.free();
    }
  }

  /** A range that nobody else uses, and its words. Throws ENOMEM. */
  #takeScratch(npages: number): Scratch {
    const kept = this.#spare;
    if (kept !== null && npages <= SPARE_PAGES) {
      this.#spare = null;
      return kept;
    }
    const window = this.#device.platform.arena.window(Math.max(npages, SPARE_PAGES));
    return { range: newRange2019({ ...LEGACY_FORMAT, words: window.words, out: window.offset }), free: window.free };
  }

  *#fillRange(range: Range2019, write: boolean): Sleepable<FillResult> {
    const device = this.#device;
    const { mm } = device;
    const { sched, bugs } = mm.platform;
    const { start, end } = range;
    const words: InstallWords = { offset: range.out, pfnShift: PAGE_SHIFT, pfnMask: PFN_MASK, valid: VALID, write: WRITE, none: NONE };
    const deadlineNs = sched.nowNs + RANGE_DEFAULT_TIMEOUT_MS * 1_000_000;
    for (let retries = 0; ; retries++) {
      const settled = (sched.nowNs <= deadlineNs || bugs.has('ebusy-forever')) && (yield* hmmRangeWaitUntilValid(range));
      if (!settled && bugs.has('ebusy-forever')) {
        if (retries > WAITS_MAX) throw livelock(mm, `${device.name}: wait until the range is valid`, start, retries);
        continue;
      }
      if (!mm.alive) throw new HmmError('EFAULT', 'device fault', `process ${mm.name} has exited`, addrOf(start));
      if (!settled) throw new HmmError('EBUSY', 'device fault', 'the range did not settle within a second', addrOf(start));
      const answer = yield* this.#faultLocked(range);
      if ((answer === 'EAGAIN' && !bugs.has('eagain-ignored')) || answer === 'EBUSY' || answer === 0) continue;
      if (typeof answer === 'string' && answer !== 'EAGAIN') throw new HmmError(answer, 'device fault', `the page cannot be had for ${write ? 'writing' : 'reading'}`, addrOf(start));
      if (!device.lock.tryWrite(sched)) yield* device.lock.write(sched);
      try {
        if (sched.concurrent) yield sched.point(`${device.name}: is the range valid`, `${device.lock.writeTouches},${mm.touches}`);
        if (!range.valid && answer !== 'EAGAIN' && !bugs.has('stale-pfn')) continue;
        return { npages: end - start, retries, leaves: device.install(start, end - start, words) };
      } finally {
        device.lock.writeUnlock(sched);
      }
    }
  }

  *#faultLocked(range: Range2019): Sleepable<number | RangeErrno> {
    const { mm } = this.#device;
    const { sched, bugs } = mm.platform;
    if (!mm.mmapLock.tryRead(sched)) yield* mm.mmapLock.read(sched);
    let held = true;
    try {
      const { result, dropped } = yield* hmmRangeFault2019(range, { block: true });
      held = !dropped || bugs.has('lock-dropped-twice');
      if (result === 'EBUSY' && bugs.has('lock-kept-on-ebusy')) held = false;
      return result;
    } finally {
      if (held) mm.mmapLock.readUnlock(sched);
    }
  }
}

/** The API does not say why: UNMAP, after which nothing may be kept, stands for everything. */
function rangeOf(update: HmmUpdate): NotifierRange {
  return { event: 'UNMAP', start: update.start, end: update.end, blockable: update.blockable, owner: null };
}
