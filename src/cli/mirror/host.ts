/**
 * The real file: opened once, checked up front, hashed from disk before anything else is done with it. Whatever the job compares with comes from here.
 *
 * It is read through one descriptor, so that a file renamed or replaced meanwhile stays the one that was opened.
 */
import { createHash } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readSync, statSync, writeSync, type Stats } from 'node:fs';
import { GiB, MiB } from '../../units.ts';
import { BadInput, hostWords } from '../badInput.ts';

const HASH_CHUNK_BYTES = 4 * MiB;
/** read(2) takes less than 2 GiB at once */
const READ_BYTES_MAX = GiB;

export class HostFile {
  readonly path: string;
  readonly fd: number;
  /** bytes when it was looked at first */
  readonly length: number;
  readonly writable: boolean;
  readonly #mtimeMs: number;
  #sha256 = '';

  /** Throws BadInput for what is no readable (`write`: and writable) regular file with bytes in it. */
  constructor(path: string, write: boolean) {
    const status = tried(path, 'open', () => statSync(path));
    const wrong = unsuitable(status);
    if (wrong !== null) throw new BadInput(`${path} ${wrong}`);
    this.path = path;
    this.writable = write;
    // O_NONBLOCK: if a FIFO has taken its place, opening must not wait for its other end.
    this.fd = tried(path, write ? 'open for writing' : 'open', () => openSync(path, (write ? constants.O_RDWR : constants.O_RDONLY) | constants.O_NONBLOCK));
    try {
      const opened = fstatSync(this.fd);
      const changed = unsuitable(opened);
      if (changed !== null) throw new BadInput(`${path} ${changed}`);
      // As it was before it was opened: what happens to it from then on is noticed.
      this.length = status.size;
      this.#mtimeMs = opened.mtimeMs;
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** SHA-256 of its bytes as they stood when this was asked first. */
  get sha256(): string {
    if (this.#sha256 === '') this.#sha256 = this.hash();
    return this.#sha256;
  }

  /** SHA-256 of its bytes as they stand on disk now. Throws BadInput when there are fewer than at first. */
  hash(): string {
    const hash = createHash('sha256');
    const chunk = new Uint8Array(Math.min(HASH_CHUNK_BYTES, this.length));
    for (let at = 0; at < this.length; at += chunk.length) {
      const part = chunk.subarray(0, Math.min(chunk.length, this.length - at));
      this.readAt(at, part);
      hash.update(part);
    }
    return hash.digest('hex');
  }

  /** Fills `target` from byte `offset` on. Throws BadInput when the file ends before. */
  readAt(offset: number, target: Uint8Array): void {
    for (let done = 0; done < target.length; ) {
      const n = tried(this.path, 'read', () => readSync(this.fd, target, done, Math.min(READ_BYTES_MAX, target.length - done), offset + done));
      if (n === 0) throw new BadInput(`${this.path} shrank from ${this.length} to ${offset + done} bytes while it was read`);
      done += n;
    }
  }

  /** Puts bytes back where they differ, past the simulation. */
  restore(offset: number, bytes: Uint8Array): void {
    const now = new Uint8Array(bytes.length);
    this.readAt(offset, now);
    if (Buffer.compare(now, bytes) !== 0) tried(this.path, 'write', () => writeSync(this.fd, bytes, 0, bytes.length, offset));
  }

  /** How the file differs from when it was opened, or null. Its own stores move a shared one's time. */
  change(): { readonly isShorter: boolean; readonly words: string } | null {
    const { size, mtimeMs } = fstatSync(this.fd);
    if (size !== this.length) return { isShorter: size < this.length, words: `went from ${this.length} to ${size} bytes while it was mirrored` };
    return !this.writable && mtimeMs !== this.#mtimeMs ? { isShorter: false, words: 'was written while it was mirrored' } : null;
  }

  close(): void {
    closeSync(this.fd);
  }
}

/** What is wrong with a file that is to be mirrored; null if nothing. */
function unsuitable(status: Stats): string | null {
  if (status.isDirectory()) return 'is a directory';
  if (!status.isFile()) return 'is no regular file';
  return status.size === 0 ? 'is empty' : null;
}

/** Runs a system call; its failure in the system's own words. */
function tried<T>(path: string, verb: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw new BadInput(`cannot ${verb} ${path}: ${hostWords(error)}`);
  }
}
