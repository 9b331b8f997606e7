/**
 * The owner's side of Workers: a place for each that may be attached at once, with a window for its words, and its requests.
 *
 * A Worker holds no lock, so one that dies in mid-walk leaves nothing behind but its place, which `reclaim` frees. While it writes to
 * the arena it says so (CALL_BUSY): before the arena is used anew the owner waits for that.
 */
import {
  CALL_ANSWERED, CALL_BUSY, CALL_CLAIM, CALL_CLAIM_BIAS, CALL_FLAGS, CALL_IDLE, CALL_NPAGES, CALL_POSTED, CALL_READS, CALL_RETRIES, CALL_SHARE, CALL_STATE, CALL_TAKEN, CALL_TEXT, CALL_TEXT_BYTES,
  CALL_VPN, CALL_WINDOW, CALL_WINDOW_BYTES, CALL_WRITE, HDR_DOORBELL, HDR_GENERATION, REQUEST_MAX,
} from '../abi.ts';
import type { Arena } from '../arena/index.ts';
import { ERRNO, HmmError } from '../errno.ts';
import type { Vpn } from '../units.ts';

export const WORKERS_MAX = REQUEST_MAX - 1;
/** How long the owner waits for a Worker that writes; one that takes longer is dead. */
const BUSY_MS = 2000;
export const NO_ADDRESS = 0xffff_ffff_ffff_ffffn;

/** What a Worker asks for: the pages of `[vpn, vpn + npages)` of the table at `share`. */
export interface PageRequest {
  readonly share: number;
  readonly vpn: Vpn;
  readonly npages: number;
  readonly write: boolean;
}

/** A place, as its owner sees it. */
export interface PlaceState {
  /** thread id of who has it, or null */
  readonly thread: number | null;
  readonly reads: number;
  readonly retries: number;
}

export class WorkerPlaces {
  readonly #arena: Arena;
  #count = 0;

  constructor(arena: Arena) {
    this.#arena = arena;
  }

  get count(): number {
    return this.#count;
  }

  /** Makes places until there are `count`. Throws ENOMEM; places made stay. */
  grow(count: number): void {
    const { u8, u32 } = this.#arena;
    for (; this.#count < count; this.#count++) {
      const window = this.#arena.blockAlloc(CALL_WINDOW_BYTES);
      const text = window === 0 ? 0 : this.#arena.blockAlloc(CALL_TEXT_BYTES);
      if (text === 0) {
        if (window !== 0) this.#arena.blockFree(window, CALL_WINDOW_BYTES);
        throw new HmmError('ENOMEM', 'share', `no room in the arena for the window of Worker ${this.#count + 1} of ${count}`);
      }
      const r = this.#arena.request(this.#count + 1);
      u8.fill(0, r, r + 512);
      u32[(r + CALL_WINDOW) >>> 2] = window;
      u32[(r + CALL_TEXT) >>> 2] = text;
    }
  }

  /** Every place. */
  get states(): readonly PlaceState[] {
    const { i32, u32 } = this.#arena;
    return this.#places().map((r) => ({
      thread: Atomics.load(i32, (r + CALL_CLAIM) >>> 2) === 0 ? null : Atomics.load(i32, (r + CALL_CLAIM) >>> 2) - CALL_CLAIM_BIAS,
      reads: Atomics.load(u32, (r + CALL_READS) >>> 2),
      retries: Atomics.load(u32, (r + CALL_RETRIES) >>> 2),
    }));
  }

  /** Answers every request that waits, by `serve`; an error of the kernel's goes to who asked, any other is thrown after that. Returns how many. */
  answer(serve: (request: PageRequest) => void): number {
    const { i32, u32, f64 } = this.#arena;
    let answered = 0;
    for (const r of this.#places()) {
      const state = (r + CALL_STATE) >>> 2;
      if (Atomics.compareExchange(i32, state, CALL_POSTED, CALL_TAKEN) !== CALL_POSTED) continue;
      answered++;
      const request: PageRequest = {
        share: u32[(r + CALL_SHARE) >>> 2] as number,
        vpn: f64[(r + CALL_VPN) >>> 3] as number,
        npages: f64[(r + CALL_NPAGES) >>> 3] as number,
        write: ((u32[(r + CALL_FLAGS) >>> 2] as number) & CALL_WRITE) !== 0,
      };
      let thrown: unknown = null;
      try {
        serve(request);
      } catch (error) {
        thrown = error;
      }
      this.#reply(r, thrown);
      if (thrown !== null && !HmmError.is(thrown)) throw thrown;
    }
    return answered;
  }

  /** The thread is gone: its places are free. Returns how many it had. */
  reclaim(thread: number): number {
    const { i32 } = this.#arena;
    let freed = 0;
    for (const r of this.#places()) {
      if (Atomics.load(i32, (r + CALL_CLAIM) >>> 2) !== thread + CALL_CLAIM_BIAS) continue;
      for (const field of [CALL_BUSY, CALL_STATE, CALL_READS, CALL_RETRIES, CALL_CLAIM]) Atomics.store(i32, (r + field) >>> 2, 0);
      freed++;
    }
    return freed;
  }

  /** The arena is about to be used anew: handles are void, who waits is woken, and nobody writes any more when this returns. */
  end(): void {
    const { i32 } = this.#arena;
    Atomics.add(i32, HDR_GENERATION >>> 2, 1);
    for (const r of this.#places()) {
      Atomics.store(i32, (r + CALL_STATE) >>> 2, CALL_IDLE);
      Atomics.notify(i32, (r + CALL_STATE) >>> 2);
    }
    for (const r of this.#places()) {
      const busy = (r + CALL_BUSY) >>> 2;
      for (let ms = 0; ms < BUSY_MS && Atomics.load(i32, busy) !== 0; ms++) Atomics.wait(i32, busy, 1, 1);
    }
    this.#count = 0;
    Atomics.add(i32, HDR_DOORBELL >>> 2, 1);
    Atomics.notify(i32, HDR_DOORBELL >>> 2);
  }

  #places(): number[] {
    return Array.from({ length: this.#count }, (_, i) => this.#arena.request(i + 1));
  }

  #reply(r: number, thrown: unknown): void {
    const { i32, u32, u64, u8 } = this.#arena;
    const refusal = thrown === null ? null : HmmError.is(thrown) ? thrown : new HmmError('EIO', 'serve', thrown instanceof Error ? thrown.message : String(thrown));
    u32[(r + CALL_FLAGS) >>> 2] = refusal === null ? 0 : ERRNO[refusal.code];
    u64[(r + CALL_VPN) >>> 3] = refusal?.addr ?? NO_ADDRESS;
    if (refusal !== null) {
      const detail = refusal.message.slice(refusal.op.length + 2, -refusal.code.length - 3);
      const text = new TextEncoder().encode(`${refusal.op}\n${detail}`).subarray(0, CALL_TEXT_BYTES);
      u8.set(text, u32[(r + CALL_TEXT) >>> 2] as number);
      u32[(r + CALL_NPAGES) >>> 2] = text.length;
    }
    Atomics.compareExchange(i32, (r + CALL_STATE) >>> 2, CALL_TAKEN, CALL_ANSWERED);
    Atomics.notify(i32, (r + CALL_STATE) >>> 2);
  }
}
