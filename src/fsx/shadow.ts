/**
 * What a file ought to hold: sizes and bytes by the meaning of each operation alone, without a file system.
 *
 * Bytes beyond the size are zero at all times. The bytes that an operation stores follow from its number and place.
 */
import { Random } from '../sched/index.ts';
import { alignUp } from '../units.ts';
import { BLOCK_BYTES, type Operation } from './operation.ts';

const NOISE_BYTES = 2 ** 18;
const WORD = 8;
/**
 * Apart far enough that two operations in a row store different bytes at the same place; a multiple of 8, so that the noise for a
 * place has the alignment of the place: copies into shared memory go by words then.
 */
const STRIDE = 8 * 989;

/** The bytes that operations store. */
export class Noise {
  readonly #bytes: Uint8Array;
  readonly #span: number;

  /** `fill`: the one byte that all operations store (-g); null: bytes that tell one operation from the next. */
  constructor(fileBytes: number, fill: number | null = null) {
    this.#span = Math.max(NOISE_BYTES, alignUp(fileBytes, WORD));
    this.#bytes = new Uint8Array(this.#span + fileBytes);
    const random = new Random(0x6e6f697365n);
    // Never zero: a byte that was stored is told from one that never was.
    for (let i = 0; i < this.#bytes.length; i++) this.#bytes[i] = fill ?? 1 + random.below(255);
  }

  /** What operation `number` stores from `offset` on; not to be written to. */
  of(number: number, offset: number, length: number): Uint8Array {
    const at = (number * STRIDE + offset) % this.#span;
    return this.#bytes.subarray(at, at + length);
  }
}

export class Shadow {
  readonly bytes: Uint8Array;
  /** the same, in words of 4 bytes */
  readonly words: Uint32Array;
  readonly fileBytes: number;
  readonly #noise: Noise;
  size = 0;

  constructor(fileBytes: number, noise: Noise) {
    this.fileBytes = fileBytes;
    this.#noise = noise;
    this.bytes = new Uint8Array(alignUp(fileBytes, BLOCK_BYTES));
    this.words = new Uint32Array(this.bytes.buffer);
  }

  /** Can it not be carried out on the file as it is? The classic exerciser passes over the same. */
  skips(operation: Operation, reflink: boolean): boolean {
    const { name, offset, length, dest } = operation;
    const { size, fileBytes } = this;
    const end = offset + length;
    switch (name) {
      case 'read':
      case 'mapread':
      case 'fork':
        return length === 0 || end > size;
      case 'write':
      case 'mapwrite':
      case 'fallocate':
        return length === 0 || end > fileBytes;
      case 'truncate':
        return length > fileBytes;
      case 'punch_hole':
        return length === 0 || offset >= size;
      case 'zero_range':
        return length === 0 || end > fileBytes;
      case 'collapse_range':
        return length === 0 || !inBlocks(offset, length) || end >= size;
      case 'insert_range':
        return length === 0 || !inBlocks(offset, length) || offset >= size || size + length > fileBytes;
      case 'clone_range':
        return !reflink || !inBlocks(offset, length, dest) || this.#skipsCopy(operation);
      case 'copy_range':
        return this.#skipsCopy(operation);
      case 'dedupe_range':
        return !reflink || !inBlocks(offset, length, dest) || this.#skipsCopy(operation) || dest + length > size;
      case 'exchange_range':
        return true; // the model's kernels have none
      default:
        return false;
    }
  }

  #skipsCopy({ offset, length, dest }: Operation): boolean {
    return length === 0 || offset + length > this.size || dest + length > this.fileBytes || Math.abs(dest - offset) < length;
  }

  /** Are the bytes at `dest` those at `offset`? */
  isSame({ offset, length, dest }: Operation): boolean {
    for (let i = 0; i < length; i++) if (this.bytes[offset + i] !== this.bytes[dest + i]) return false;
    return true;
  }

  /** What operation `number` makes of it. */
  apply({ name, offset, length, dest, keepSize }: Operation, number: number): void {
    const { bytes } = this;
    const end = offset + length;
    switch (name) {
      case 'write':
      case 'mapwrite':
      case 'fork':
        bytes.set(this.#noise.of(number, offset, length), offset);
        this.#reach(end);
        break;
      case 'truncate':
        if (length < this.size) bytes.fill(0, length, this.size);
        this.size = length;
        break;
      case 'fallocate':
        if (!keepSize) this.#reach(end);
        break;
      case 'zero_range':
        bytes.fill(0, offset, end);
        if (!keepSize) this.#reach(end);
        break;
      case 'punch_hole':
        bytes.fill(0, offset, Math.min(end, this.size));
        break;
      case 'collapse_range':
        bytes.copyWithin(offset, end, this.size);
        bytes.fill(0, this.size - length, this.size);
        this.size -= length;
        break;
      case 'insert_range':
        bytes.copyWithin(end, offset, this.size);
        bytes.fill(0, offset, end);
        this.size += length;
        break;
      case 'clone_range':
      case 'copy_range':
        bytes.copyWithin(dest, offset, end);
        this.#reach(dest + length);
        break;
      default:
        break;
    }
  }

  #reach(end: number): void {
    if (end > this.size) this.size = end;
  }
}

function inBlocks(...numbers: readonly number[]): boolean {
  return numbers.every((n) => n % BLOCK_BYTES === 0);
}

/** What a file holds is compared with bytes that lie at the same place within a word as they do in the file. */
export class Seen {
  readonly #bytes: Uint8Array;
  readonly #words: Uint32Array;

  constructor(fileBytes: number) {
    this.#bytes = new Uint8Array(alignUp(fileBytes, BLOCK_BYTES) + WORD);
    this.#words = new Uint32Array(this.#bytes.buffer);
  }

  /** Where bytes `[offset, offset + length)` of a file are to be put. */
  room(offset: number, length: number): Uint8Array {
    const at = offset % WORD;
    return this.#bytes.subarray(at, at + length);
  }

  /** The first of `length` bytes in `room(offset, …)` that differs from the file's, or -1. */
  firstDifference(shadow: Shadow, offset: number, length: number): number {
    const { bytes, words } = shadow;
    const shift = offset - (offset % WORD);
    const end = offset + length;
    let at = offset;
    for (; at < end && at % 4 !== 0; at++) if (this.#bytes[at - shift] !== bytes[at]) return at - offset;
    const mine = this.#words;
    const skew = shift / 4;
    const lastWord = Math.floor(end / 4);
    let word = at / 4;
    while (word < lastWord && mine[word - skew] === words[word]) word++;
    for (at = word * 4; at < end; at++) if (this.#bytes[at - shift] !== bytes[at]) return at - offset;
    return -1;
  }
}
