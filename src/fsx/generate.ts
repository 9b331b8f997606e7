/**
 * Operations at random: which, where, how long, by whom. The same seed and options give the same operations, whatever carries them out:
 * what is chosen depends on the sizes that the files ought to have and on nothing else.
 */
import { Random } from '../sched/index.ts';
import { ACCESSORS, BLOCK_BYTES, type AccessorName, type Beside, type Layout, type Operation, type OperationName } from './operation.ts';

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
}

export const DEFAULT_MIX: Mix = {
  seed: 1n, accessor: 'modern', operationBytes: 4096, fixedLength: false, readBoundary: 1, writeBoundary: 1, truncateBoundary: 1, closeOpenEvery: 128, besideEvery: 32, cutEvery: 0, without: [],
};

/** Where the power may fail, more is made durable. */
const WEIGHTS_UNDER_CUTS: Readonly<Partial<Record<OperationName, number>>> = { fsync: 12, msync: 12, map: 6 };

/** The classic ones come up alike, as there; ours, which mostly arrange the scene, less. */
const WEIGHTS: Readonly<Record<OperationName, number>> = {
  read: 16, write: 16, mapread: 16, mapwrite: 16, truncate: 16, fallocate: 16, punch_hole: 16, zero_range: 16, collapse_range: 16, insert_range: 16,
  clone_range: 16, dedupe_range: 0, copy_range: 16, fsync: 4, msync: 4, map: 2, unmap: 2, mprotect: 2, fork: 1,
};

/** later than any operation has points: when it is over */
const LATE = 9999;
const NO_POWER = { flush: false, cut: null } as const;

export class Generator {
  readonly #layout: Layout;
  readonly #mix: Mix;
  readonly #random: Random;
  readonly #names: OperationName[] = [];

  constructor(layout: Layout, mix: Mix, reflink: boolean) {
    this.#layout = layout;
    this.#mix = mix;
    this.#random = new Random(mix.seed);
    for (const [name, weight] of Object.entries(WEIGHTS) as [OperationName, number][]) {
      if (mix.without.includes(name) || (name === 'clone_range' && !reflink)) continue;
      const times = layout.power === 'off' ? weight : (WEIGHTS_UNDER_CUTS[name] ?? weight);
      for (let i = 0; i < times; i++) this.#names.push(name);
    }
  }

  /** The next operation; `sizeOf` says how large a file is by now. */
  next(sizeOf: (file: number) => number): Operation {
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
    return {
      name, offset: place.offset, length: place.length, dest: place.dest, size,
      keepSize: (name === 'fallocate' || name === 'zero_range') && random.below(2) === 1,
      closeOpen: mix.closeOpenEvery > 0 && random.below(mix.closeOpenEvery) === 0,
      skipped: false, process: processes === 1 ? 0 : random.below(processes), file, by: this.#accessor(),
      prot: name !== 'mprotect' ? 'rw' : random.below(2) === 0 ? 'none' : 'r', sync: name === 'map' && random.below(2) === 1, beside,
      ...this.#power(name),
    };
  }

  #power(name: OperationName): Pick<Operation, 'flush' | 'cut'> {
    const { cutEvery } = this.#mix;
    const random = this.#random;
    if (this.#layout.power === 'off') return NO_POWER;
    const flush = name === 'mapwrite' && random.below(3) === 0;
    if (cutEvery === 0 || random.below(cutEvery) > 0) return { flush, cut: null };
    return { flush, cut: { point: random.below(2) === 0 ? LATE : random.below(16), seed: random.below(2 ** 24) } };
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
        return { offset: 0, length: down(spot, truncateBoundary), dest: 0 };
      case 'collapse_range':
        return inBlocks(within(wanted, size <= 1 ? 0 : spot % (size - 1), size - 1), 0);
      case 'insert_range':
        return inBlocks({ offset: size === 0 ? 0 : spot % size, length: Math.max(0, Math.min(wanted, fileBytes - size)), dest: 0 }, 0);
      case 'clone_range':
        return inBlocks(within(wanted, size === 0 ? 0 : spot % size, size), down(this.#random.below(fileBytes), BLOCK_BYTES));
      case 'copy_range':
        return within(wanted, size === 0 ? 0 : spot % size, size, down(this.#random.below(fileBytes), writeBoundary));
      case 'msync':
      case 'unmap':
      case 'mprotect':
        return within(wanted, down(spot, BLOCK_BYTES), fileBytes);
      case 'map':
      case 'fsync':
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
