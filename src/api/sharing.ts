/**
 * Sharing: the owner's side of Workers. What may be read, and who answers their requests.
 *
 * Everything stands in the arena (src/share/): the handle is plain data. Nothing runs by itself: requests are answered in `serve`, or
 * by the event loop for Workers that are tended.
 */
import { ABI_VERSION, HDR_DOORBELL, HDR_GENERATION } from '../abi.ts';
import { HmmError, checkOptions } from '../errno.ts';
import { SharedTables, WORKERS_MAX, WorkerPlaces, type PageRequest, type PlaceState, type ShareHandle } from '../share/index.ts';
import { addrOf } from '../units.ts';
import { describe } from './checks.ts';
import type { Driver } from './driver.ts';
import { Mirror } from './mirror.ts';
import { MirrorRange } from './range.ts';

export interface ShareOptions {
  /** how many Workers may be attached at once, 1 to 63, each with 513 KiB of the arena (default 4, or as many as there are by now) */
  readonly workers?: number;
  /** devices whose tables may be read, besides all processes of now */
  readonly mirrors?: readonly Mirror[];
}

/** A Worker of node:worker_threads, as far as its end is concerned. */
export interface TendedWorker {
  readonly threadId: number;
  once(event: 'exit', listener: () => void): unknown;
}

const WORKERS = 4;
/** pages that one round of a request brings in: 1 GiB */
const ROUND_PAGES = 2 ** 18;

/** Missing in ES2023's types, there in Node and in browsers. */
interface WaitAsync {
  waitAsync?(array: Int32Array, index: number, value: number): { readonly async: boolean; readonly value: 'not-equal' | 'timed-out' | Promise<'ok' | 'timed-out'> };
}

export class Sharing {
  readonly #driver: Driver;
  readonly #tables: SharedTables;
  readonly #places: WorkerPlaces;
  readonly #mirrors = new Map<number, Mirror>();
  #tended = 0;
  #pumping = false;

  /** Throws EOPNOTSUPP for an arena that other threads cannot see. */
  constructor(driver: Driver) {
    const { arena } = driver.core.platform;
    if (arena.build !== 'shared') throw new HmmError('EOPNOTSUPP', 'share', `the arena is not shared memory (WASM build ${arena.build}): make the machine with build 'shared'`);
    this.#driver = driver;
    this.#tables = new SharedTables(arena);
    this.#places = new WorkerPlaces(arena);
    driver.cleanups.add(() => this.#end());
  }

  share(options: ShareOptions): ShareHandle {
    checkOptions('share', options, ['workers', 'mirrors']);
    const { workers = Math.max(WORKERS, this.#places.count), mirrors = [] } = options;
    if (!Number.isInteger(workers) || workers < 1 || workers > WORKERS_MAX) throw new RangeError(`share: workers ${describe(workers)} is not a whole number from 1 to ${WORKERS_MAX}`);
    for (const mirror of mirrors) if (!(mirror instanceof Mirror)) throw new TypeError(`share: mirrors has ${describe(mirror)}, which is no Mirror`);
    const { core } = this.#driver;
    const { arena, profile, ram, bugs } = core.platform;
    this.#places.grow(workers);
    for (const mm of core.mms) if (mm.alive) this.#tables.share(mm.name, 'process', mm.pageTable, mm.notifiers);
    for (const mirror of mirrors) {
      const { device } = mirror;
      this.#mirrors.set(this.#tables.share(device.name, 'device', device.table, device.mm.notifiers).share, mirror);
    }
    return {
      kind: 'daxmirror share',
      abiVersion: ABI_VERSION,
      generation: Atomics.load(arena.i32, HDR_GENERATION >>> 2),
      memory: arena.memory,
      module: arena.module,
      workers: this.#places.count,
      constants: { devmapBit: profile.devmapBit, orderShift: profile.hmmOrderShift, zeroPfn: ram.zeroPfn },
      skipsRetry: bugs.has('worker-skips-retry'),
      tables: this.#tables.entries,
    };
  }

  /** Every place for a Worker: who has it, what it did. */
  get states(): readonly PlaceState[] {
    return this.#places.states;
  }

  serve(): number {
    this.#driver.check('serve');
    return this.#places.answer((request) => this.#bringIn(request));
  }

  tend(worker: TendedWorker): void {
    const { threadId } = worker;
    if (typeof threadId !== 'number' || typeof worker.once !== 'function') throw new TypeError('tend: worker is no Worker of node:worker_threads');
    if (threadId < 0) throw new HmmError('EINVAL', 'tend', 'the Worker has ended already');
    const { waitAsync } = Atomics as WaitAsync;
    if (waitAsync === undefined) throw new HmmError('ENOSYS', 'tend', 'there is no Atomics.waitAsync here: call machine.serve() instead');
    this.#tended++;
    worker.once('exit', () => {
      this.#tended--;
      if (this.#driver.live) this.#places.reclaim(threadId);
    });
    if (!this.#pumping) void this.#pump(waitAsync.bind(Atomics));
  }

  /** Answers requests as they come, while Workers are tended. */
  async #pump(waitAsync: NonNullable<WaitAsync['waitAsync']>): Promise<void> {
    const { i32 } = this.#driver.core.platform.arena;
    this.#pumping = true;
    try {
      while (this.#tended > 0 && this.#driver.live) {
        const rung = Atomics.load(i32, HDR_DOORBELL >>> 2);
        this.serve();
        const waiting = waitAsync(i32, HDR_DOORBELL >>> 2, rung);
        if (waiting.async) await waiting.value;
      }
    } finally {
      this.#pumping = false;
    }
  }

  /** What the owner does for a Worker: a range fault of the process, or a fill of the device. */
  #bringIn({ share, vpn, npages, write }: PageRequest): void {
    const found = this.#tables.tableAt(share);
    if (found === null) throw new HmmError('EFAULT', 'fault', 'the address space has ended', addrOf(vpn));
    const mirror = this.#mirrors.get(share);
    if (found.entry.kind === 'device' && mirror !== undefined) {
      mirror.fault(addrOf(vpn), npages * 4096, { write });
      return;
    }
    const mm = this.#driver.core.mms.find((other) => other.pageTable === found.table);
    if (mm === undefined) throw new HmmError('EFAULT', 'fault', `${found.entry.name} has ended`, addrOf(vpn));
    for (let at = vpn; at < vpn + npages; at += ROUND_PAGES) {
      const range = new MirrorRange(this.#driver, mm, at, Math.min(ROUND_PAGES, vpn + npages - at), { write });
      try {
        range.fault();
      } finally {
        range.dispose();
      }
    }
  }

  #end(): void {
    this.#tables.end();
    this.#places.end();
  }
}

