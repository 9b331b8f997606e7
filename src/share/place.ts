/**
 * A Worker's side of its place: claimed when it attaches, its block and window to write to, requests to the owner through it.
 *
 * Concurrency: one thread. It blocks in `Atomics.wait`, which a browser's main thread may not.
 */
import {
  ABI_VERSION, ARENA_MAGIC, CALL_ANSWERED, CALL_BUSY, CALL_CLAIM, CALL_CLAIM_BIAS, CALL_FLAGS, CALL_IDLE, CALL_NPAGES, CALL_POSTED, CALL_READS, CALL_RETRIES, CALL_SERIAL, CALL_SHARE, CALL_STATE, CALL_TEXT,
  CALL_VPN, CALL_WINDOW, CALL_WRITE, HDR_ABI_VERSION, HDR_CLAIMS, HDR_DOORBELL, HDR_GENERATION, HDR_MAGIC, REQUESTS, REQUEST_STRIDE,
} from '../abi.ts';
import { instantiateNow, type Walker } from '../arena/index.ts';
import { ERRNO, HmmError, type ErrnoCode } from '../errno.ts';
import type { ShareHandle } from './handle.ts';
import { NO_ADDRESS, type PageRequest } from './places.ts';

/** The arena in another thread: the same bytes, a walker of its own. */
export class WorkerPlace {
  readonly handle: ShareHandle;
  readonly walker: Walker;
  readonly u8: Uint8Array;
  readonly i32: Int32Array;
  readonly u32: Uint32Array;
  readonly u64: BigUint64Array;
  readonly f64: Float64Array;
  /** arena offsets: the block, and CALL_WINDOW_BYTES for words */
  readonly block: number;
  readonly window: number;
  /** virtual patience: so long it waits for the owner, in ms */
  readonly patienceMs: number;
  readonly #serial: number;
  #open = true;

  /** `walker`: one of this thread's over the memory; null: a new one. Throws ENOEXEC for an arena of another ABI version, ENXIO for a machine that was reset or disposed, EAGAIN where every place is taken. */
  constructor(handle: ShareHandle, thread: number, patienceMs: number, walker: Walker | null = null) {
    if (handle.abiVersion !== ABI_VERSION) throw new HmmError('ENOEXEC', 'attach', `the arena has ABI version ${handle.abiVersion}, this library ${ABI_VERSION}`);
    const { buffer } = handle.memory;
    this.handle = handle;
    this.u8 = new Uint8Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.u64 = new BigUint64Array(buffer);
    this.f64 = new Float64Array(buffer);
    this.patienceMs = patienceMs;
    if (this.u32[HDR_MAGIC >>> 2] !== ARENA_MAGIC) throw new HmmError('ENXIO', 'attach', 'the memory holds no arena any more');
    const version = this.u32[HDR_ABI_VERSION >>> 2] as number;
    if (version !== ABI_VERSION) throw new HmmError('ENOEXEC', 'attach', `the arena has ABI version ${version}, this library ${ABI_VERSION}`);
    this.#checkGeneration('attach');
    this.walker = walker ?? instantiateNow(handle.module, handle.memory);
    this.#serial = (Atomics.add(this.i32, HDR_CLAIMS >>> 2, 1) + 1) | 0;
    this.block = this.#take(thread);
    this.window = this.u32[(this.block + CALL_WINDOW) >>> 2] as number;
  }

  /** False after `detach`. */
  get open(): boolean {
    return this.#open;
  }

  /** Throws ENXIO when the machine was reset or disposed, EBADF after `detach`. */
  check(op: string): void {
    if (!this.#open) throw new HmmError('EBADF', op, 'the Worker has detached');
    this.#checkGeneration(op);
  }

  /** From here to `left` the Worker may write to its block and window: the arena is not used anew meanwhile. */
  enter(op: string): void {
    Atomics.store(this.i32, (this.block + CALL_BUSY) >>> 2, 1);
    if (this.#open && Atomics.load(this.i32, HDR_GENERATION >>> 2) === this.handle.generation) return;
    this.leave();
    this.check(op);
  }

  leave(): void {
    Atomics.store(this.i32, (this.block + CALL_BUSY) >>> 2, 0);
    Atomics.notify(this.i32, (this.block + CALL_BUSY) >>> 2);
  }

  /** Counts a read. The addition is a fence, too: what was read before it is older than what is read after it. */
  counted(): void {
    Atomics.add(this.i32, (this.block + CALL_READS) >>> 2, 1);
  }

  retried(): void {
    Atomics.add(this.i32, (this.block + CALL_RETRIES) >>> 2, 1);
  }

  get reads(): number {
    return Atomics.load(this.u32, (this.block + CALL_READS) >>> 2);
  }

  get retries(): number {
    return Atomics.load(this.u32, (this.block + CALL_RETRIES) >>> 2);
  }

  /** Sleeps until the word at index `at` is no longer `value`, a millisecond at most. True when that time has passed. */
  sleep(at: number, value: number): boolean {
    return Atomics.wait(this.i32, at, value, 1) === 'timed-out';
  }

  /** Has the owner bring pages in. Throws what that threw there; EAGAIN when it does not answer. */
  request(op: string, { share, vpn, npages, write }: PageRequest): void {
    const { i32, u32, f64, block } = this;
    const state = (block + CALL_STATE) >>> 2;
    this.enter(op);
    try {
      u32[(block + CALL_SHARE) >>> 2] = share;
      f64[(block + CALL_VPN) >>> 3] = vpn;
      f64[(block + CALL_NPAGES) >>> 3] = npages;
      u32[(block + CALL_FLAGS) >>> 2] = write ? CALL_WRITE : 0;
      Atomics.store(i32, state, CALL_POSTED);
    } finally {
      this.leave();
    }
    Atomics.add(i32, HDR_DOORBELL >>> 2, 1);
    Atomics.notify(i32, HDR_DOORBELL >>> 2);
    this.#await(op, state);
    const refusal = this.#refusal();
    Atomics.store(i32, state, CALL_IDLE);
    this.check(op);
    if (refusal !== null) throw refusal;
  }

  /** Gives the place back. */
  detach(): void {
    if (!this.#open) return;
    this.#open = false;
    // After a reset the place may be another's by now.
    if (Atomics.load(this.i32, (this.block + CALL_SERIAL) >>> 2) === this.#serial) Atomics.store(this.i32, (this.block + CALL_CLAIM) >>> 2, 0);
  }

  /** Waits for the answer in slices; a request that nobody has taken yet can be withdrawn. */
  #await(op: string, state: number): void {
    const { i32 } = this;
    for (let ms = 0; ; ) {
      const now = Atomics.load(i32, state);
      if (now === CALL_ANSWERED || now === CALL_IDLE) break;
      if (Atomics.wait(i32, state, now, 50) === 'timed-out') ms += 50;
      this.check(op);
      if (ms >= this.patienceMs && Atomics.compareExchange(i32, state, CALL_POSTED, CALL_IDLE) === CALL_POSTED) {
        throw new HmmError('EAGAIN', op, `the owner did not answer within ${this.patienceMs} ms; it has to call machine.serve() or machine.tend(worker)`);
      }
    }
    this.check(op);
  }

  #refusal(): HmmError | null {
    const { u32, u64, u8, block } = this;
    const errno = u32[(block + CALL_FLAGS) >>> 2] as number;
    if (errno === 0) return null;
    const text = u32[(block + CALL_TEXT) >>> 2] as number;
    const [op = 'serve', detail = ''] = new TextDecoder().decode(u8.slice(text, text + (u32[(block + CALL_NPAGES) >>> 2] as number))).split('\n', 2);
    const code = (Object.keys(ERRNO) as ErrnoCode[]).find((name) => ERRNO[name] === errno) ?? 'EIO';
    const addr = u64[(block + CALL_VPN) >>> 3] as bigint;
    return addr === NO_ADDRESS ? new HmmError(code, op, detail) : new HmmError(code, op, detail, addr);
  }

  #checkGeneration(op: string): void {
    if (Atomics.load(this.i32, HDR_GENERATION >>> 2) !== this.handle.generation) throw new HmmError('ENXIO', op, 'the machine was reset or disposed since it was shared');
  }

  #take(thread: number): number {
    const taken: number[] = [];
    for (let worker = 1; worker <= this.handle.workers; worker++) {
      const block = REQUESTS + worker * REQUEST_STRIDE;
      const claim = Atomics.compareExchange(this.i32, (block + CALL_CLAIM) >>> 2, 0, thread + CALL_CLAIM_BIAS);
      if (claim === 0) {
        for (const field of [CALL_BUSY, CALL_STATE, CALL_READS, CALL_RETRIES]) Atomics.store(this.i32, (block + field) >>> 2, 0);
        Atomics.store(this.i32, (block + CALL_SERIAL) >>> 2, this.#serial);
        return block;
      }
      taken.push(claim - CALL_CLAIM_BIAS);
    }
    throw new HmmError('EAGAIN', 'attach', `all ${this.handle.workers} places for Workers are taken (by threads ${taken.join(', ')}); share({ workers }) makes more`);
  }
}
