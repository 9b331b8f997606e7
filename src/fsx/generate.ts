/**
 * Operations at random: which, where, how long, by whom. The same seed and options give the same operations, whatever carries them out:
 * what is chosen depends on the sizes that the files ought to have and on nothing else.
 */
import { Random } from '../sched/index.ts';
import { ACCESSORS, BLOCK_BYTES, WITH_DEST, type AccessorName, type Beside, type Layout, type Operation, type OperationName } from './operation.ts';

export interface Mix {
  readonly seed: bigint;
  /** who carries out mapped accesses; 'mixed': any of them, at random */
  readonly accessor: AccessorName | 'mixed';
  /** longest operation, in bytes (-o) */
  readonly operationBytes: number;
  /** every operation is that long (-O) */
  readonly fixedLength: boolean;
  /** what offsets of reads, writes and truncates are multiples of (-r, -w, -t) */
  readonly readBoundary: number;
  readonly writeBoundary: number;
  readonly truncateBoundary: number;
  /** one in so many operations closes and opens its file afterwards (-c); 0: none */
  readonly closeOpenEvery: number;
  /** one in so many operations runs beside a mapped read; 0: none */
  readonly besideEvery: number;
  /** the power fails in one of so many operations; 0: never */
  readonly cutEvery: number;
  /** operations left out */
  readonly without: readonly OperationName[];
  /** fallocate and zero_range may leave the size as it is (without -K) */
  readonly keepSize: boolean;
  /** fallocate may give a file blocks of its own where it shares some (without -u) */
  readonly unshare: boolean;
  /** truncates are no larger than other operations (-s 1) */
  readonly smallTruncates: boolean;
  /** the byte that operations store (-g); null: ones that tell an operation from the next */
  readonly fill: number | null;
  /** what every file begins as: nothing, blocks for the largest size (-x), or zeroes of that size, which then stays (-L) */
  readonly start: 'empty' | 'reserved' | 'whole';
  /** what follows each operation that stores something (-f, -y) */
  readonly syncEach: 'none' | 'msync' | 'fsync';
}

export const DEFAULT_MIX: Mix = {
  seed: 1n, accessor: 'modern', operationBytes: 4096, fixedLength: false, readBoundary: 1, writeBoundary: 1, truncateBoundary: 1, closeOpenEvery: 128, besideEvery: 32, cutEvery: 0, without: [],
  keepSize: true, unshare: true, smallTruncates: false, fill: null, start: 'empty', syncEach: 'none',
};

/** Where the power may fail, more is made durable. */
const WEIGHTS_UNDER_CUTS: Readonly<Partial<Record<OperationName, number>>> = { fsync: 12, msync: 12, map: 6 };

/** The classic ones come up alike, as there; ours, which mostly arrange the scene, less. */
const WEIGHTS: Readonly<Record<OperationName, number>> = {
  read: 16, write: 16, mapread: 16, mapwrite: 16, truncate: 16, fallocate: 16, punch_hole: 16, zero_range: 16, collapse_range: 16, insert_range: 16,
  clone_range: 16, dedupe_range: 4, copy_range: 16, exchange_range: 0, fsync: 4, msync: 4, map: 2, unmap: 2, mprotect: 2, fork: 1,
};

/** Left out where files keep their size. */
const CHANGES_SIZE: readonly OperationName[] = ['truncate', 'fallocate', 'punch_hole', 'zero_range', 'collapse_range', 'insert_range', 'clone_range', 'dedupe_range', 'copy_range', 'exchange_range'];
const STORES: readonly OperationName[] = ['write', 'mapwrite', 'clone_range', 'copy_range', 'zero_range', 'fork'];
const PLAIN: Operation = {
  name: 'read', offset: 0, length: 0, dest: 0, size: 0, keepSize: false, unshare: false, closeOpen: false, skipped: false, process: 0, file: 0, by: 'cpu', prot: 'rw', sync: false, beside: null, flush: false, cut: null,
};

/** later than any operation has points: when it is over */
const LATE = 9999;
/** An operation that is being made. */
type Draft = { -readonly [Key in keyof Operation]: Operation[Key] };

export class Generator {
  readonly #layout: Layout;
  readonly #mix: Mix;
  readonly #random: Random;
  readonly #names: OperationName[] = [];
  readonly #reflink: boolean;
  /** files that have been begun */
  #begun = 0;
  /** an operation whose bytes are to be made durable next (-f, -y) */
  #unsynced: Operation | null = null;

  constructor(layout: Layout, mix: Mix, reflink: boolean) {
    this.#layout = layout;
    this.#mix = mix;
    this.#random = new Random(mix.seed);
    this.#reflink = reflink;
    for (const [name, weight] of Object.entries(WEIGHTS) as [OperationName, number][]) {
      if (mix.without.includes(name) || (mix.start === 'whole' && CHANGES_SIZE.includes(name)) || ((name === 'clone_range' || name === 'dedupe_range') && !reflink)) continue;
      const times = layout.power === 'off' ? weight : (WEIGHTS_UNDER_CUTS[name] ?? weight);
      for (let i = 0; i < times; i++) this.#names.push(name);
    }
  }

  /** The next operation; `sizeOf` says how large a file is by now. */
  next(sizeOf: (file: number) => number): Operation {
    if (this.#mix.start !== 'empty' && this.#begun < this.#layout.files) return this.#beginning(this.#begun++);
    if (this.#unsynced !== null) return this.#sync(this.#unsynced, sizeOf);
    const operation = this.#any(sizeOf);
    if (this.#mix.syncEach !== 'none' && STORES.includes(operation.name)) this.#unsynced = operation;
    return operation;
  }

  #beginning(file: number): Operation {
    const { start } = this.#mix;
    return { ...PLAIN, name: start === 'whole' ? 'truncate' : 'fallocate', length: this.#layout.fileBytes, keepSize: start === 'reserved', file };
  }

  #sync({ offset, length, dest, file, process, by, name }: Operation, sizeOf: (file: number) => number): Operation {
    this.#unsynced = null;
    const range = this.#mix.syncEach === 'fsync' ? { offset: 0, length: 0 } : { offset: WITH_DEST.includes(name) ? dest : offset, length };
    return { ...PLAIN, ...range, name: this.#mix.syncEach as OperationName, size: sizeOf(file), file, process, by };
  }

  #any(sizeOf: (file: number) => number): Operation {
    const random = this.#random;
    const { processes, files, fileBytes } = this.#layout;
    const mix = this.#mix;
    const file = files === 1 ? 0 : random.below(files);
    const name = this.#names[random.below(this.#names.length)] as OperationName;
    const size = sizeOf(file);
    const full = Math.min(fileBytes, mix.operationBytes);
    const wanted = mix.fixedLength ? full : random.below(full + 1);
    const spot = random.below(fileBytes);
    const place = this.#place(name, size, spot, wanted);
    const beside = mix.besideEvery > 0 && random.below(mix.besideEvery) === 0 ? this.#beside(size, place) : null;
    // Every key by its name: a spread into the middle of a literal makes a slow object.
    const operation: Draft = {
      name, offset: place.offset, length: place.length, dest: place.dest, size,
      keepSize: mix.keepSize && (name === 'fallocate' || name === 'zero_range') && random.below(2) === 1,
      unshare: this.#reflink && mix.unshare && name === 'fallocate' && random.below(2) === 1,
      closeOpen: mix.closeOpenEvery > 0 && random.below(mix.closeOpenEvery) === 0,
      skipped: false, process: processes === 1 ? 0 : random.below(processes), file, by: this.#accessor(),
      prot: name !== 'mprotect' ? 'rw' : random.below(2) === 0 ? 'none' : 'r', sync: name === 'map' && random.below(2) === 1, beside, flush: false, cut: null,
    };
    if (this.#layout.power !== 'off') this.#power(operation);
    return operation;
  }

  /** What has to do with the power: whether a store is flushed, and whether the power fails. */
  #power(operation: Draft): void {
    const { cutEvery } = this.#mix;
    const random = this.#random;
    operation.flush = operation.name === 'mapwrite' && random.below(3) === 0;
    if (cutEvery > 0 && random.below(cutEvery) === 0) operation.cut = { point: random.below(2) === 0 ? LATE : random.below(16), seed: random.below(2 ** 24) };
  }

  #accessor(): AccessorName {
    const { accessor } = this.#mix;
    return accessor === 'mixed' ? (ACCESSORS[this.#random.below(ACCESSORS.length)] as AccessorName) : accessor;
  }

  /** Mostly where the operation is. */
  #beside(size: number, place: { readonly offset: number; readonly length: number }): Beside | null {
    if (size === 0) return null;
    const isThere = place.offset < size && this.#random.below(4) > 0;
    const offset = isThere ? place.offset : this.#random.below(size);
    const length = Math.min(size - offset, 1 + this.#random.below(isThere ? Math.max(1, place.length) : this.#mix.operationBytes));
    return { process: this.#random.below(this.#layout.processes), by: this.#accessor(), offset, length, seed: this.#random.below(2 ** 24) };
  }

  /** Offset and length as the classic exerciser trims them: within the file where the operation needs something there, else within the largest. */
  #place(name: OperationName, size: number, spot: number, wanted: number): Place {
    const { fileBytes } = this.#layout;
    const { readBoundary, writeBoundary, truncateBoundary } = this.#mix;
    switch (name) {
      case 'read':
      case 'mapread':
        return within(wanted, down(size === 0 ? 0 : spot % size, readBoundary), size);
      case 'write':
      case 'mapwrite':
        return within(wanted, down(spot, writeBoundary), fileBytes);
      case 'fallocate':
        return within(wanted, spot, fileBytes);
      case 'truncate':
        return { offset: 0, length: down(this.#mix.smallTruncates ? wanted : spot, truncateBoundary), dest: 0 };
      case 'collapse_range':
        return inBlocks(within(wanted, size <= 1 ? 0 : spot % (size - 1), size - 1), 0);
      case 'insert_range':
        return inBlocks({ offset: size === 0 ? 0 : spot % size, length: Math.max(0, Math.min(wanted, fileBytes - size)), dest: 0 }, 0);
      case 'clone_range':
        return inBlocks(within(wanted, size === 0 ? 0 : spot % size, size), down(this.#random.below(fileBytes), BLOCK_BYTES));
      case 'dedupe_range':
        return inBlocks(within(wanted, size === 0 ? 0 : spot % size, size), down(size === 0 ? 0 : this.#random.below(size), BLOCK_BYTES));
      case 'copy_range':
        return within(wanted, size === 0 ? 0 : spot % size, size, down(this.#random.below(fileBytes), writeBoundary));
      case 'msync':
      case 'unmap':
      case 'mprotect':
        return within(wanted, down(spot, BLOCK_BYTES), fileBytes);
      case 'map':
      case 'fsync':
      case 'exchange_range':
        return { offset: 0, length: 0, dest: 0 };
      default:
        return within(wanted, size === 0 ? 0 : spot % size, size);
    }
  }
}

interface Place {
  readonly offset: number;
  readonly length: number;
  readonly dest: number;
}

/** `wanted` bytes from `offset` on, no further than `end`. */
function within(wanted: number, offset: number, end: number, dest = 0): Place {
  return { offset, length: Math.max(0, Math.min(wanted, end - offset)), dest };
}

/** Whole blocks: lengths up, so that short operations are not all nothing. */
function inBlocks({ offset, length }: Place, dest: number): Place {
  return { offset: down(offset, BLOCK_BYTES), length: length === 0 ? 0 : down(length + BLOCK_BYTES - 1, BLOCK_BYTES), dest };
}

function down(n: number, boundary: number): number {
  return boundary === 1 ? n : n - (n % boundary);
}
