/**
 * Errors: one class for what a kernel call answers, one for what the model forbids.
 *
 * Match `code`, not the class: two copies of the package still understand each other (`HmmError.is`).
 * Inside the rooms hot functions return numbers; the facade throws.
 */
import { nearest } from './nearest.ts';

/** Linux error numbers that can leave this library. */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  ENOEXEC: 8,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  EISDIR: 21,
  EINVAL: 22,
  EFBIG: 27,
  ENOSPC: 28,
  EROFS: 30,
  EDEADLK: 35,
  ENOSYS: 38,
  ENODATA: 61,
  EOVERFLOW: 75,
  EOPNOTSUPP: 95,
  ESHUTDOWN: 108,
  EHWPOISON: 133,
} as const;

export type ErrnoCode = keyof typeof ERRNO;

const BRAND = Symbol.for('daxmirror.HmmError');

/** Where and why a call failed. `op` is the kernel's name of the operation, `addr` the byte address it is about. */
export class HmmError extends Error {
  readonly code: ErrnoCode;
  /** positive, as in `os.constants.errno` */
  readonly errno: number;
  readonly op: string;
  readonly addr?: bigint;
  readonly [BRAND] = true;

  constructor(code: ErrnoCode, op: string, detail: string, addr?: bigint) {
    super(`${op}: ${detail} (${code})`);
    this.name = 'HmmError';
    this.code = code;
    this.errno = ERRNO[code];
    this.op = op;
    if (addr !== undefined) this.addr = addr;
  }

  /** True of an HmmError of any copy of this package; with `code`, of that code only. */
  static is(error: unknown, code?: ErrnoCode): error is HmmError {
    return typeof error === 'object' && error !== null && BRAND in error && (code === undefined || (error as HmmError).code === code);
  }
}

/** A signal that a CPU access ended in, as the process would see it. */
export class FaultSignal extends HmmError {
  readonly signal: 'SIGSEGV' | 'SIGBUS';
  /** si_code by name */
  readonly reason: 'MAPERR' | 'ACCERR' | 'ADRERR' | 'MCEERR_AR';

  /** of poisoned memory: how many low bits of the address do not count; else 0 */
  readonly lsb: number;

  constructor(signal: 'SIGSEGV' | 'SIGBUS', reason: FaultSignal['reason'], op: string, addr: bigint, lsb = 0) {
    super('EFAULT', op, `${signal} ${reason} at 0x${addr.toString(16)}`, addr);
    this.name = 'FaultSignal';
    this.signal = signal;
    this.reason = reason;
    this.lsb = lsb;
  }
}

/** A path that can never go on: what it waits for is held by who waits for it, or by nobody who is left. */
export class Deadlock extends HmmError {
  /** who waits for what, a line each */
  readonly waits: readonly string[];

  constructor(op: string, waits: readonly string[]) {
    super('EDEADLK', op, `would wait for ever\n${waits.map((line) => `  ${line}`).join('\n')}`);
    this.waits = waits;
  }
}

/** The modelled kernel stops here: what was asked makes the real one dereference nothing, deadlock on itself or hit a BUG. */
export class KernelCrash extends Error {
  readonly reason: string;
  constructor(reason: string) {
    super(`kernel crash: ${reason}`);
    this.name = 'KernelCrash';
    this.reason = reason;
  }
}

/** A retry loop came back to its head with nothing changed and nobody else to change it: it would spin for ever. */
export class Livelock extends Error {
  readonly loop: string;
  constructor(loop: string) {
    super(`livelock: ${loop} retries with nothing changed`);
    this.name = 'Livelock';
    this.loop = loop;
  }
}

/** A rule of the model is broken: a bug in daxmirror or a bug switch at work. Never caught inside. */
export class InvariantError extends Error {
  constructor(message: string) {
    super(`invariant broken: ${message}`);
    this.name = 'InvariantError';
  }
}

/** Throws InvariantError unless `condition` holds. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}

/** Throws TypeError naming the first key of `options` that is not in `known`, with the nearest that is. */
export function checkOptions(what: string, options: object, known: readonly string[]): void {
  if (typeof options !== 'object' || options === null) throw new TypeError(`${what}: options must be an object, not ${String(options)}`);
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) throw new TypeError(`${what}: unknown option ${nearest(key, known)}; known: ${known.join(', ')}`);
  }
}
