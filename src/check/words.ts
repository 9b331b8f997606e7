/** One word of a range against what the CPU's page table has there. Words are read by halves: they are many. */
import { PMD_PAGES, PTE_PRESENT, PTE_SPECIAL } from '../abi.ts';
import type { RangeCall } from '../events/events.ts';
import { VM_IO, VM_MIXEDMAP, VM_PFNMAP, VM_READ, type Mm } from '../mm/index.ts';
import { DEVICE_BASE_PFN } from '../page/index.ts';
import type { Pfn, Vpn } from '../units.ts';
import { chunkNow, frameOf, writableAt, type Chunk } from './rights.ts';

/** What may be wrong with it. */
export type Wrong = 'frame' | 'rights' | 'absent' | 'readOnly' | 'untouched' | 'hidden';

const WORD = 2 ** 32;

interface Halves {
  readonly lo: number;
  readonly hi: number;
}

function halves(word: bigint): Halves {
  return { lo: Number(word & 0xffff_ffffn), hi: Number(word >> 32n) };
}

export class WordReader {
  readonly #mm: Mm;
  readonly #call: RangeCall;
  readonly #asked: BigUint64Array | null;
  readonly #still: boolean;
  readonly #words: Uint32Array;
  readonly #valid: Halves;
  readonly #write: Halves;
  readonly #values: readonly Halves[];
  /** DEVICE_PRIVATE; 0: the API has none */
  readonly #private: Halves;
  readonly #asksAll: boolean;
  readonly #asksAllWrite: boolean;
  #base = -1;
  #chunk: Chunk | null = null;

  /** `asked`: the words as they asked, where they count. `still`: no entry has changed since. */
  constructor(mm: Mm, call: RangeCall, asked: BigUint64Array | null, still: boolean) {
    [this.#mm, this.#call, this.#asked, this.#still] = [mm, call, asked, still];
    const { words, flags: [valid, write, own], values, defaultFlags } = call;
    this.#words = new Uint32Array(words.buffer, words.byteOffset, words.length * 2);
    [this.#valid, this.#write, this.#private] = [halves(valid), halves(write), halves(own)];
    this.#values = values.map(halves);
    this.#asksAll = (defaultFlags & valid) !== 0n;
    this.#asksAllWrite = this.#asksAll && write !== 0n && (defaultFlags & write) !== 0n;
  }

  /** What is wrong with the word for page `vpn`; null: nothing. */
  wrongAt(vpn: Vpn): Wrong | null {
    const { start, pagesPerWord, api } = this.#call;
    const i = (vpn - start) / pagesPerWord;
    const at = i * 2;
    const lo = this.#words[at] as number;
    const hi = this.#words[at + 1] as number;
    const within = vpn % PMD_PAGES;
    if (vpn - within !== this.#base) {
      this.#base = vpn - within;
      this.#chunk = chunkNow(this.#mm.pageTable, vpn);
    }
    const value = this.#values.findIndex((one) => one.lo === lo && one.hi === hi);
    if (value >= 0 || !has(this.#valid, lo, hi)) {
      if (this.#asks(i)) return 'absent';
      if (value < 0) return api === 'modern' && !has(this.#write, lo, hi) ? null : 'untouched';
      return this.#still && this.#isPlain(vpn, within) ? 'hidden' : null;
    }
    if (frameOf(this.#chunk, within) !== this.#frame(lo, hi)) return 'frame';
    const write = has(this.#write, lo, hi);
    if (write) return writableAt(this.#chunk, within) ? null : 'rights';
    return this.#asksWrite(i) && !has(this.#private, lo, hi) ? 'readOnly' : null;
  }

  #frame(lo: number, hi: number): Pfn {
    const { pfnShift, pfnBits } = this.#call;
    const upper = pfnBits + pfnShift >= 64 ? hi : hi % 2 ** (pfnBits + pfnShift - 32);
    return pfnShift >= 32 ? Math.floor(upper / 2 ** (pfnShift - 32)) : Math.floor(lo / 2 ** pfnShift) + upper * (WORD / 2 ** pfnShift);
  }

  #asks(i: number): boolean {
    if (this.#asked === null || this.#asksAll) return this.#asksAll;
    return ((this.#asked[i] as bigint) & this.#call.pfnFlagsMask & this.#call.flags[0]) !== 0n;
  }

  #asksWrite(i: number): boolean {
    if (this.#asked === null || this.#asksAllWrite) return this.#asksAllWrite;
    const { pfnFlagsMask, defaultFlags, flags: [valid, write] } = this.#call;
    const request = ((this.#asked[i] as bigint) & pfnFlagsMask) | defaultFlags;
    return write !== 0n && (request & valid) !== 0n && (request & write) !== 0n;
  }

  /** A page like any other, that everybody may have: present, not special but for the page of zeroes, of no device that goes, in an area to be read. */
  #isPlain(vpn: Vpn, within: number): boolean {
    const chunk = this.#chunk;
    const frame = frameOf(chunk, within);
    if (frame < 0) return false;
    const { platform, vmas } = this.#mm;
    if (chunk instanceof Uint32Array) {
      const lo = chunk[within * 2] as number;
      const hi = chunk[within * 2 + 1] as number;
      if ((lo & PTE_PRESENT) === 0) return false; // of a device's own memory
      const devmap = platform.devmapHi !== 0 && (hi & platform.devmapHi) !== 0;
      if ((lo & PTE_SPECIAL) !== 0 && !devmap && frame !== platform.ram.zeroPfn) return false;
    }
    if (frame >= DEVICE_BASE_PFN && platform.pgmaps.find(frame)?.state !== 'live') return false;
    const vma = vmas.at(vpn);
    return vma !== null && vma.has(VM_READ) && !vma.has(VM_IO | VM_PFNMAP | VM_MIXEDMAP);
  }
}

function has(flag: Halves, lo: number, hi: number): boolean {
  return (flag.lo !== 0 || flag.hi !== 0) && (lo & flag.lo) >>> 0 === flag.lo && (hi & flag.hi) >>> 0 === flag.hi;
}
