/**
 * What map, zap, protect, split, harvest, install and the rest of assembly/'s table calls have to do, on a NaiveSpace,
 * one entry at a time.
 */
import {
  ACCESS_MARK, ACCESS_WRITE, STOP_BAD, STOP_COLLISION, STOP_DONE_ALL, STOP_FULL, STOP_HOLE, STOP_NEEDS_WRITE, STOP_NONPRESENT, STOP_NO_MEMORY, STOP_PARTIAL,
} from '../../src/abi.ts';
import { A, D, NaiveSpace, P, PFN, PROTNONE, PSE, RW, frameOf, kindOf, pagesOf, type Found } from './naiveSpace.ts';

export interface Answer {
  reason: number;
  done: number;
  level: number;
  entry: bigint;
  changed: number;
  freed: number;
  leaves: [number, number, number];
}

export interface Record {
  vpn: bigint;
  entry: bigint;
  level: number;
}

export interface InstallWords {
  words: readonly bigint[];
  shift: number;
  mask: bigint;
  valid: bigint;
  write: bigint;
  none: bigint;
  flags: bigint;
}

export class NaiveTables {
  readonly space: NaiveSpace;
  /** as HDR_FAIL_AFTER */
  failAfter = 0;

  constructor(space: NaiveSpace) {
    this.space = space;
  }

  #alloc(): boolean {
    if (this.failAfter === 0) return true;
    this.failAfter--;
    return this.failAfter !== 0;
  }

  #answer(): Answer {
    return { reason: STOP_DONE_ALL, done: 0, level: 0, entry: 0n, changed: 0, freed: 0, leaves: [0, 0, 0] };
  }

  #stop(a: Answer, reason: number, done: bigint, found: Found): Answer {
    return { ...a, reason, done: Number(done), level: found.level, entry: found.entry };
  }

  /** What stands at `level` over `vpn` or above it; a table at `level` counts as an entry of kind bad. */
  #at(vpn: bigint, level: number): Found {
    const found = this.space.find(vpn);
    if (found.level >= level) return found;
    const first = vpn - (vpn % pagesOf(level));
    return { level, entry: -1n, kind: 'bad', first, end: first + pagesOf(level) };
  }

  /** Makes tables down to `level`: true, or false when a frame was missing and nothing is changed. */
  makeTables(vpn: bigint, level: number): boolean {
    const found = this.space.find(vpn);
    for (let l = found.level - 1; l >= level; l--) if (!this.#alloc()) return false;
    this.space.set(found.level, vpn, found.level > level ? 0n : found.entry);
    this.space.addTables(vpn, level);
    return true;
  }

  map(vpn: bigint, pfn: bigint, npages: number, level: number, flags: bigint): Answer {
    const a = this.#answer();
    const pages = pagesOf(level);
    for (const n of [vpn, pfn, BigInt(npages)]) if (n % pages !== 0n) return { ...a, reason: STOP_BAD };
    for (let i = 0n; i < BigInt(npages); i += pages) {
      const found = this.#at(vpn + i, level);
      if (found.kind === 'bad' && found.level > level) return this.#stop(a, STOP_BAD, i, found);
      if (found.kind !== 'none') return this.#stop(a, STOP_COLLISION, i, found);
      if (!this.makeTables(vpn + i, level)) return this.#stop(a, STOP_NO_MEMORY, i, found);
      this.space.set(level, vpn + i, ((pfn + i) << 12n) | flags | (level > 0 ? PSE : 0n));
      a.leaves[level as 0 | 1 | 2]++;
    }
    return { ...a, done: npages };
  }

  zap(vpn: bigint, npages: number, capacity: number | null, freeTables: boolean, records: Record[]): Answer {
    const a = this.#answer();
    const end = vpn + BigInt(npages);
    let result: Answer | null = null;
    let at = vpn;
    while (at < end && result === null) {
      const found = this.space.find(at);
      const chunkEnd = found.end < end ? found.end : end;
      if (found.kind === 'bad') result = this.#stop(a, STOP_BAD, at - vpn, found);
      else if (found.kind === 'none') this.space.set(found.level, at, 0n);
      else if (found.first < vpn || found.end > end) result = this.#stop(a, STOP_PARTIAL, at - vpn, found);
      else if (capacity !== null && a.changed >= capacity) result = this.#stop(a, STOP_FULL, at - vpn, found);
      else {
        if (capacity !== null) records.push({ vpn: at, entry: found.entry, level: found.level });
        this.space.set(found.level, at, 0n);
        a.changed++;
      }
      if (result === null) at = chunkEnd;
    }
    const freed = freeTables ? this.#freeEmpty(vpn, Number(at - vpn), false) : 0;
    return { ...(result ?? { ...a, done: npages }), changed: a.changed, freed };
  }

  protect(vpn: bigint, npages: number, and: bigint, or: bigint, orIfDirty: bigint): Answer {
    const a = this.#answer();
    const end = vpn + BigInt(npages);
    for (let at = vpn; at < end; ) {
      const found = this.space.find(at);
      if (found.kind === 'bad') return this.#stop(a, STOP_BAD, at - vpn, found);
      if (found.kind === 'leaf') {
        if (found.first < vpn || found.end > end) return this.#stop(a, STOP_PARTIAL, at - vpn, found);
        const next = (found.entry & and) | or | ((found.entry & D) !== 0n ? orIfDirty : 0n);
        if (next !== found.entry) a.changed++;
        this.space.set(found.level, at, next);
      }
      at = found.end < end ? found.end : end;
    }
    return { ...a, done: npages };
  }

  split(vpn: bigint, level: number): number {
    const found = this.#at(vpn, level);
    const { entry } = found;
    if (found.level !== level || entry < 0n || (entry & PSE) === 0n || (entry & (P | PROTNONE)) === 0n) return STOP_HOLE;
    if (!this.#alloc()) return STOP_NO_MEMORY;
    this.#splitFound(found);
    return 0;
  }

  #splitFound({ entry, level, first }: Found): void {
    const flags = entry & ~PFN & (level === 1 ? ~PSE : -1n);
    const inverted = (entry & P) === 0n;
    const frame = frameOf(inverted ? ~entry & PFN : entry, level);
    this.space.set(level, first, 0n);
    this.space.addTables(first, level - 1);
    for (let i = 0n; i < pagesOf(level); i += pagesOf(level - 1)) {
      const field = (frame + i) << 12n;
      this.space.set(level - 1, first + i, (inverted ? ~field & PFN : field) | flags);
    }
  }

  harvest(vpn: bigint, npages: number, mask: bigint): { answer: Answer; bits: boolean[] } {
    const a = this.#answer();
    const bits: boolean[] = Array.from({ length: npages }, () => false);
    const end = vpn + BigInt(npages);
    for (let at = vpn; at < end; ) {
      const found = this.space.find(at);
      const chunkEnd = found.end < end ? found.end : end;
      if (found.kind === 'bad') return { answer: this.#stop(a, STOP_BAD, at - vpn, found), bits };
      if (found.kind === 'leaf' && (found.entry & mask) !== 0n) {
        for (let v = at; v < chunkEnd; v++) bits[Number(v - vpn)] = true;
        this.space.set(found.level, at, found.entry & ~mask);
        a.changed++;
      }
      at = chunkEnd;
    }
    return { answer: { ...a, done: npages }, bits };
  }

  /** Drops every table and entry below the entry of `vpn` at `level`; returns tables dropped. */
  #dropBelow(vpn: bigint, level: number): number {
    let freed = 0;
    for (let l = level - 1; l >= 0; l--) {
      for (let i = 0n; i < pagesOf(level); i += pagesOf(l + 1)) {
        if (!this.space.hasTable(l, vpn + i)) continue;
        for (let j = 0n; j < 512n; j++) this.space.set(l, vpn + i + j * pagesOf(l), 0n);
        freed++;
      }
    }
    for (let l = level - 1; l >= 0; l--) for (let i = 0n; i < pagesOf(level); i += pagesOf(l + 1)) this.space.dropTable(l, vpn + i);
    return freed;
  }

  install(vpn: bigint, w: InstallWords): Answer {
    const a = this.#answer();
    const shift = BigInt(w.shift);
    const care = w.mask | w.valid | w.write;
    const counts = (word: bigint): boolean => w.valid !== 0n && (word & w.valid) === w.valid && word !== w.none;
    for (let i = 0; i < w.words.length; ) {
      const word = w.words[i] as bigint;
      if (!counts(word)) {
        i++;
        continue;
      }
      let run = 1;
      const next = (n: number): bigint => w.words[i + n] as bigint;
      while (i + run < w.words.length && counts(next(run)) && (next(run) & care) === (((word & care) + (BigInt(run) << shift)) & (2n ** 64n - 1n))) run++;
      const flags = w.flags | P | (w.write !== 0n && (word & w.write) === w.write ? RW : 0n);
      for (let done = 0; done < run; ) {
        const at = vpn + BigInt(i + done);
        const frame = ((word & w.mask) >> shift) + BigInt(done);
        let level = 0;
        for (const l of [1, 2]) if (at % pagesOf(l) === 0n && frame % pagesOf(l) === 0n && BigInt(run - done) >= pagesOf(l)) level = l;
        const to512 = 512n - (at % 512n);
        const pages = level > 0 ? Number(pagesOf(level)) : Math.min(run - done, Number(to512));
        const stopped = this.#installPiece(a, at, frame, level, pages, flags);
        if (stopped !== null) return { ...stopped, done: i + done };
        done += pages;
      }
      i += run;
    }
    return { ...a, done: w.words.length };
  }

  #installPiece(a: Answer, at: bigint, frame: bigint, level: number, pages: number, flags: bigint): Answer | null {
    const same = (x: bigint, y: bigint): boolean => (x & ~(A | D)) === (y & ~(A | D));
    for (;;) {
      const found = this.space.find(at);
      if (found.level <= level) break;
      if (found.kind === 'bad') return this.#stop(a, STOP_BAD, 0n, found);
      if (found.kind === 'none') {
        if (!this.makeTables(at, level)) return this.#stop(a, STOP_NO_MEMORY, 0n, found);
      } else if (found.kind === 'nonpresent') {
        this.space.set(found.level, at, 0n);
        a.changed++;
      } else if (same(found.entry, ((frame - (at - found.first)) << 12n) | flags | PSE)) {
        return null;
      } else if (!this.#alloc()) return this.#stop(a, STOP_NO_MEMORY, 0n, found);
      else {
        this.#splitFound(found);
        a.changed++;
      }
    }
    for (let i = 0n; i < BigInt(pages); i += pagesOf(level)) {
      const wanted = ((frame + i) << 12n) | flags | (level > 0 ? PSE : 0n);
      const there = this.#at(at + i, level);
      if (there.entry >= 0n && kindOf(there.entry, level) === 'bad') return this.#stop(a, STOP_BAD, 0n, there);
      if (there.entry < 0n) a.freed += this.#dropBelow(at + i, level);
      if (there.entry < 0n || !same(there.entry, wanted)) {
        this.space.set(level, at + i, wanted);
        a.changed++;
      }
      a.leaves[level as 0 | 1 | 2]++;
    }
    return null;
  }

  /** Empty tables that lie wholly in the range. */
  freeTables(vpn: bigint, npages: number): number {
    return this.#freeEmpty(vpn, npages, true);
  }

  #freeEmpty(vpn: bigint, npages: number, within: boolean): number {
    if (npages === 0) return 0;
    let freed = 0;
    const last = vpn + BigInt(npages) - 1n;
    for (let level = 0; level < this.space.levels - 1; level++) {
      const span = pagesOf(level + 1);
      for (let at = vpn - (vpn % span); at <= last; at += span) {
        if (!this.space.hasTable(level, at)) continue;
        if (within && (at < vpn || at + span > last + 1n)) continue;
        let empty = true;
        for (let i = 0n; i < 512n && empty; i++) {
          const v = at + i * pagesOf(level);
          empty = this.space.get(level, v) === 0n && !(level > 0 && this.space.hasTable(level - 1, v));
        }
        if (!empty) continue;
        this.space.dropTable(level, at);
        freed++;
      }
    }
    return freed;
  }

  nextEntry(vpn: bigint, end: bigint, level: number): bigint {
    for (let at = vpn; at < end; ) {
      const found = this.#at(at, level);
      if (found.kind !== 'none') return at;
      at = found.end;
    }
    return -1n;
  }

  translate(vpn: bigint, access: number): bigint {
    const found = this.space.find(vpn);
    if (found.kind !== 'leaf') return -BigInt(found.kind === 'none' ? STOP_HOLE : found.kind === 'bad' ? STOP_BAD : STOP_NONPRESENT);
    const writes = (access & ACCESS_WRITE) !== 0;
    if (writes && (found.entry & RW) === 0n) return -BigInt(STOP_NEEDS_WRITE);
    if (access & ACCESS_MARK) this.space.set(found.level, vpn, found.entry | A | (writes ? D : 0n));
    return frameOf(found.entry, found.level) + vpn - found.first;
  }
}
