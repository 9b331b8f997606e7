/**
 * Where a trace's bytes come from: a file, read straight into the arena; standard input; either through gzip or xz, told by their first
 * bytes. gzip is zlib's, xz the program of that name.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, createReadStream, fstatSync, openSync, readSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import type { ByteSource } from '../../memtrace/index.ts';
import { BadInput, hostWords } from '../badInput.ts';

export interface TraceSource extends ByteSource {
  /** as users know it */
  readonly name: string;
  /** 'gzip', 'xz', or null for bytes as they are */
  readonly packed: string | null;
  /** bytes of the file, packed as it is; null for a pipe */
  readonly size: number | null;
  /** of those, how many were read */
  readonly position: number;
  close(): void;
}

const MAGIC_BYTES = 6;
const PACKERS = [
  { name: 'gzip', magic: [0x1f, 0x8b] },
  { name: 'xz', magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00] },
  { name: 'zstd', magic: [0x28, 0xb5, 0x2f, 0xfd] },
  { name: 'bzip2', magic: [0x42, 0x5a, 0x68] },
] as const;

/** Opens FILE, or standard input for '-'. Throws BadInput. */
export async function openTrace(file: string): Promise<TraceSource> {
  if (file === '-') return openStream(file, 'standard input', process.stdin, null, () => 0, () => process.stdin.destroy());
  let fd: number;
  try {
    fd = openSync(file, 'r');
  } catch (error) {
    throw new BadInput(`${file}: ${hostWords(error)}`);
  }
  const stat = fstatSync(fd);
  if (stat.isDirectory()) {
    closeSync(fd);
    throw new BadInput(`${file}: a folder, not a file`);
  }
  const size = stat.isFile() ? stat.size : null;
  const head = new Uint8Array(MAGIC_BYTES);
  const plain = size !== null && packerOf(head.subarray(0, readSync(fd, head, 0, MAGIC_BYTES, 0))) === null;
  if (plain) return new FileSource(file, fd, size);
  // A read of a FIFO that nobody writes to can be given up on a socket only.
  const stream = stat.isFIFO() ? new Socket({ fd, readable: true, writable: false }) : createReadStream(file, { fd, ...(size === null ? {} : { start: 0 }), highWaterMark: 2 ** 18 });
  return openStream(file, file, stream, size, () => stream.bytesRead, () => stream.destroy());
}

/** A file as it is. */
class FileSource implements TraceSource {
  readonly name: string;
  readonly packed = null;
  readonly size: number;
  position = 0;
  readonly #fd: number;

  constructor(name: string, fd: number, size: number) {
    this.name = name;
    this.#fd = fd;
    this.size = size;
  }

  read(target: Uint8Array): number {
    const n = readSync(this.#fd, target, 0, target.length, this.position);
    this.position += n;
    return n;
  }

  close(): void {
    closeSync(this.#fd);
  }
}

type Chunks = AsyncIterator<Buffer, undefined>;

async function openStream(file: string, name: string, stream: Readable, size: number | null, position: () => number, close: () => void): Promise<TraceSource> {
  const chunks = stream[Symbol.asyncIterator]() as Chunks;
  let head: Buffer = Buffer.alloc(0);
  while (head.length < MAGIC_BYTES) {
    const { value, done } = await chunks.next();
    if (done === true) break;
    head = Buffer.concat([head, value]);
  }
  const packed = packerOf(head);
  const ahead = withHead(head, chunks);
  if (packed === null) return new StreamSource({ name, packed, size, chunks: ahead, position, close });
  if (packed === 'gzip') return new StreamSource({ name, packed, size, chunks: gunzip(file, ahead), position, close });
  if (packed === 'xz') return new StreamSource({ name, packed, size, chunks: unxz(file, ahead), position, close });
  close();
  throw new BadInput(`${name}: ${packed} is not read here; unpack it into a pipe: ${packed} -dc ${file === '-' ? '' : `${file} `}| daxmirror trace -`);
}

/** Bytes as they come, in pieces of any size. */
class StreamSource implements TraceSource {
  readonly name: string;
  readonly packed: string | null;
  readonly size: number | null;
  readonly #chunks: Chunks;
  readonly #position: () => number;
  readonly #close: () => void;
  #chunk: Uint8Array = new Uint8Array(0);

  constructor(of: { readonly name: string; readonly packed: string | null; readonly size: number | null; readonly chunks: Chunks; readonly position: () => number; readonly close: () => void }) {
    this.name = of.name;
    this.packed = of.packed;
    this.size = of.size;
    this.#chunks = of.chunks;
    this.#position = of.position;
    this.#close = of.close;
  }

  get position(): number {
    return this.#position();
  }

  async read(target: Uint8Array): Promise<number> {
    while (this.#chunk.length === 0) {
      const { value, done } = await this.#chunks.next();
      if (done === true) return 0;
      this.#chunk = value;
    }
    const n = Math.min(target.length, this.#chunk.length);
    target.set(this.#chunk.subarray(0, n));
    this.#chunk = this.#chunk.subarray(n);
    return n;
  }

  close(): void {
    this.#chunks.return?.().catch(() => {});
    this.#close();
  }
}

async function* withHead(head: Buffer, rest: Chunks): AsyncGenerator<Buffer, undefined> {
  if (head.length > 0) yield head;
  for (;;) {
    const { value, done } = await rest.next();
    if (done === true) return undefined;
    yield value;
  }
}

/** What is packed cannot be unpacked to its end. */
export class PackError extends Error {}

async function* gunzip(name: string, packed: Chunks): AsyncGenerator<Buffer, undefined> {
  const out = createGunzip({ chunkSize: 2 ** 18 });
  feed(packed, out);
  try {
    for await (const chunk of out) yield chunk as Buffer;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new PackError(code === 'Z_BUF_ERROR' ? 'truncated: the gzip data ends too early' : `gzip: ${message}`, { cause: name });
  }
  return undefined;
}

async function* unxz(name: string, packed: Chunks): AsyncGenerator<Buffer, undefined> {
  const child = spawn('xz', ['-dc', '-'], { stdio: ['pipe', 'pipe', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  const ended = new Promise<number | Error>((resolve) => child.on('error', resolve).on('close', (code) => resolve(code ?? 1)));
  child.stdin.on('error', () => {}); // it has gone: its exit code tells
  feed(packed, child.stdin);
  try {
    for await (const chunk of child.stdout) yield chunk as Buffer;
    const end = await ended;
    if (end instanceof Error) throw new BadInput(`${name}: the xz program is needed to read it (xz-utils), and could not be run: ${(end as NodeJS.ErrnoException).code}`);
    if (end !== 0) throw new PackError(/unexpected end/i.test(said) ? 'truncated: the xz data ends too early' : `xz: ${said.split('\n')[0]?.replace(/^xz: \(stdin\): /, '') ?? ''}`, { cause: name });
  } finally {
    child.kill();
  }
  return undefined;
}

/** Pumps chunks into a stream, no faster than it takes them. */
function feed(from: Chunks, to: NodeJS.WritableStream): void {
  const over = new AbortController();
  const closed = once(to, 'close').catch(() => {}).then(() => over.abort());
  const pump = async (): Promise<void> => {
    for (;;) {
      const { value, done } = await from.next();
      if (done === true) break;
      if (!to.write(value)) await Promise.race([once(to, 'drain', { signal: over.signal }), closed]).catch(() => {});
      if (!to.writable) return;
    }
    to.end();
  };
  pump().catch((error: Error) => (to as NodeJS.WritableStream & { destroy(error: Error): void }).destroy(error));
}

function packerOf(head: Uint8Array): string | null {
  return PACKERS.find(({ magic }) => magic.every((byte, i) => head[i] === byte))?.name ?? null;
}
