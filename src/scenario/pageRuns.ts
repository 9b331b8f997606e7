/**
 * Pages of an answer as runs of pages alike, in the words of the records.
 *
 *   f: V valid, W write, E error, - nothing; in:fw where a word stands as the caller wrote it.  o: order.  k: kind of frame.
 *   cong: by which page size frames and addresses agree.  at: a device's frame, from the first one that was shown of it.
 */
import { PMD_PAGES, PUD_PAGES } from '../abi.ts';
import { HMM_PFN_VALID } from '../hmm/index.ts';
import type { Platform } from '../memremap/index.ts';
import { PAGE_ANON, PAGE_HUGETLB } from '../page/index.ts';
import type { Vpn } from '../units.ts';
import type { Process } from './process.ts';
import type { Answer } from './operation.ts';

/** One word of an answer, taken apart. */
export interface Word {
  readonly pfn: number;
  readonly order: number;
  readonly f: string;
  readonly valid: boolean;
  /** anon, zero, hugetlb, ram, or the label of a device */
  readonly kind: string;
  readonly inDevice: boolean;
}

/** The three flags on top of a word, as in its upper half. */
const VALID_HI = 2 ** 31;
const WRITE_HI = 2 ** 30;
const ERROR_HI = 2 ** 29;

/** The words of a range, taken apart only where somebody looks: a range may have a million of them, and few runs. */
export class Words {
  readonly length: number;
  readonly #platform: Platform;
  /** lower and upper half of each word, in turn */
  readonly #halves: Uint32Array;
  readonly #orderShift: number;
  /** what an upper half counts that holds no order and no flag */
  readonly #pfnHi: number;

  constructor(platform: Platform, words: BigUint64Array) {
    this.#platform = platform;
    this.#halves = new Uint32Array(words.buffer, words.byteOffset, words.length * 2).slice();
    this.#orderShift = platform.profile.hmmOrderShift - 32;
    this.#pfnHi = 2 ** this.#orderShift;
    this.length = words.length;
  }

  /** Frames of which nothing is known but that they are there: those of a pin. */
  static ofFrames(platform: Platform, pfns: readonly number[]): Words {
    return new Words(platform, BigUint64Array.from(pfns, (pfn) => HMM_PFN_VALID | BigInt(pfn)));
  }

  at(i: number): Word {
    const pfn = this.pfn(i);
    const hi = this.#hi(i);
    const order = Math.floor((hi % ERROR_HI) / this.#pfnHi);
    const write = hi % VALID_HI >= WRITE_HI;
    // Request and answer have the same bits: without a frame it is the request that stands there still.
    const left = hi >= VALID_HI && pfn === 0;
    if (left) return { pfn, order, f: `in:f${write ? 'w' : ''}`, valid: false, kind: '', inDevice: false };
    const valid = hi >= VALID_HI;
    const device = valid ? this.#platform.pgmaps.nameOf(pfn) : null;
    const kind = valid ? (device ?? kindOfRam(this.#platform, pfn)) : '';
    const f = `${valid ? 'V' : ''}${write ? 'W' : ''}${hi % WRITE_HI >= ERROR_HI ? 'E' : ''}`;
    return { pfn, order, f: f === '' ? '-' : f, valid, kind, inDevice: device !== null };
  }

  pfn(i: number): number {
    return (this.#hi(i) % this.#pfnHi) * 2 ** 32 + (this.#halves[2 * i] as number);
  }

  /** Where the run ends that begins at `i`: of equal flags and order; in a device contiguous, in RAM of one kind. */
  endOfRun(i: number): number {
    const { inDevice, valid, kind, pfn: first, order } = this.at(i);
    const [lo, hi, top] = [this.#halves[2 * i] as number, this.#hi(i), this.#top(i)];
    let end = i + 1;
    for (; end < this.length; end++) {
      // Most words are told at a look: they have the same upper half and, in a device, the next frame.
      if (this.#hi(end) === hi && (!valid || (inDevice && this.#halves[2 * end] === lo + end - i))) continue;
      if (this.#top(end) !== top) break;
      if (!valid) continue;
      const pfn = this.pfn(end);
      if (inDevice ? pfn !== first + end - i : !this.#sameKind(pfn, first, order, kind)) break;
    }
    return end;
  }

  /** Do all frames of a run agree with their addresses modulo `npages`? */
  congruent(start: number, end: number, vpn: Vpn, npages: number): boolean {
    let before = -1;
    for (let i = start; i < end; i++) {
      const pfn = this.pfn(i);
      // What follows its predecessor agrees as that does.
      if (pfn !== before + 1 && (pfn - (vpn + i)) % npages !== 0) return false;
      before = pfn;
    }
    return true;
  }

  #hi(i: number): number {
    return this.#halves[2 * i + 1] as number;
  }

  /** Order and flags. */
  #top(i: number): number {
    return Math.floor(this.#hi(i) / this.#pfnHi);
  }

  #sameKind(pfn: number, first: number, order: number, kind: string): boolean {
    return Math.floor(pfn / 2 ** order) === Math.floor(first / 2 ** order) || (this.#platform.pgmaps.nameOf(pfn) ?? kindOfRam(this.#platform, pfn)) === kind;
  }
}

/** What /proc/kpageflags would say of a frame of RAM. */
export function kindOfRam({ ram }: Platform, pfn: number): string {
  if (ram.isZero(pfn)) return 'zero';
  const flags = ram.flags(pfn);
  return (flags & PAGE_HUGETLB) !== 0 ? 'hugetlb' : (flags & PAGE_ANON) === 0 ? 'ram' : 'anon';
}

/** Runs of pages alike from page `start` on, as the records write them. */
export function runsOf(process: Process, words: Words, start: Vpn): Answer[] {
  const runs: Answer[] = [];
  for (let i = 0, end = 0; i < words.length; i = end) {
    const first = words.at(i);
    end = words.endOfRun(i);
    const run: Answer = { n: end - i, f: first.f };
    const last = words.pfn(end - 1);
    if (!first.valid && last !== 0) run['junk'] = last === (start + end - 1) % 2 ** first.order ? 'index' : 'other';
    if (first.order > 0) run['o'] = first.order;
    if (first.valid) Object.assign(run, { k: first.kind, cong: congruence(words, first, i, end, start) });
    if (first.inDevice) run['at'] = process.frame(first.kind, first.pfn);
    runs.push(run);
  }
  return runs;
}

const PUD_ORDER = 18;

/** The largest page size by which frames and addresses of a run agree; pages of RAM say nothing beyond their own size, file systems at most 2M. */
function congruence(words: Words, first: Word, start: number, end: number, vpn: Vpn): '4K' | '2M' | '1G' {
  if (first.order === 0 && (!first.inDevice || first.kind.startsWith('dev'))) return '4K';
  if ((first.inDevice ? first.kind.startsWith('dax') : first.order >= PUD_ORDER) && words.congruent(start, end, vpn, PUD_PAGES)) return '1G';
  return words.congruent(start, end, vpn, PMD_PAGES) ? '2M' : '4K';
}

