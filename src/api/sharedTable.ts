/**
 * SharedTable: a page table that another thread owns.
 *
 * Every answer is what the table said at one moment of the call. Between two calls anything may have changed: `walk` and `begin` name the
 * state that an answer stands for, and `stale` says whether something of it was taken back since (mmu_interval_read_begin() and
 * mmu_interval_read_retry()). src/share/reader.ts has the promise in full.
 */
import { STOP_HOLE } from '../abi.ts';
import { HmmError, checkOptions } from '../errno.ts';
import { BATCH_MAX, WINDOW_WORDS, type TableReader, type WorkerPlace } from '../share/index.ts';
import { addrOf, type Pfn, type Vpn } from '../units.ts';
import { checkAddress, checkBoolean, checkBytes, checkPage, checkPages, checkVpns } from './checks.ts';

/** A state of the address space, for `stale`. */
export type ReadState = number;

/** One window of a walk: words of `[start, end)`, in the layout of the kernel's hmm_pfns. */
export interface WalkedWords {
  readonly start: bigint;
  readonly end: bigint;
  /** a view of the arena, good until the next step or any other walk of this Worker */
  readonly pfns: BigUint64Array;
  readonly state: ReadState;
}

const FAULT_TRIES_MAX = 1000;

export class SharedTable {
  readonly name: string;
  readonly kind: 'process' | 'device';
  readonly #place: WorkerPlace;
  readonly #reader: TableReader;
  readonly #endVpn: Vpn;

  /** @internal made by `Attachment.table` */
  constructor(place: WorkerPlace, reader: TableReader) {
    this.name = reader.entry.name;
    this.kind = reader.entry.kind;
    this.#place = place;
    this.#reader = reader;
    this.#endVpn = reader.entry.levels === 4 ? 2 ** 35 : 2 ** 44;
  }

  /** The physical address behind `addr`, or null where nothing is mapped for this access. Looks only. Throws EFAULT, ENXIO where the table is gone. */
  translate(addr: bigint, access: 'r' | 'w' = 'r'): bigint | null {
    const { vpn, within } = checkAddress('translate', 'addr', addr);
    const pfn = this.translatePage(vpn, access);
    return pfn < 0 ? null : BigInt(pfn * 4096 + within);
  }

  /** The same by page numbers, for who makes many: the frame, or a negative number (-STOP_* of src/abi.ts) that says why there is none. */
  translatePage(vpn: Vpn, access: 'r' | 'w' = 'r'): Pfn {
    if (!this.#place.open) this.#place.check('translate'); // throws
    return vpn >= 0 && vpn < this.#endVpn ? this.#reader.translate(vpn, access === 'w') : -STOP_HOLE;
  }

  /** translatePage() of up to 65,536 pages in one call. */
  translatePages(vpns: Float64Array, access: 'r' | 'w' = 'r'): Float64Array {
    checkVpns('translatePages', vpns, this.#endVpn, this.name);
    if (vpns.length > BATCH_MAX) throw new RangeError(`translatePages: ${vpns.length} pages are more than ${BATCH_MAX}`);
    this.#place.check('translate');
    return this.#reader.translateBatch(vpns, access === 'w');
  }

  /** Waits until no invalidation is in flight, and names the state. Throws EBUSY when one does not end. */
  begin(): ReadState {
    this.#place.check('begin');
    return this.#reader.begin();
  }

  /** Was something of `[addr, addr + length)` invalidated since `state`? To be asked after an answer was used, not before. */
  stale(state: ReadState, addr: bigint, length: number): boolean {
    const vpn = checkPage('stale', 'addr', addr);
    const npages = checkPages('stale', 'length', vpn, length);
    if (!this.#place.open) this.#place.check('stale'); // throws
    return this.#reader.retry(state, vpn, vpn + npages);
  }

  /**
   * Words of `[addr, addr + length)`, up to 65,536 pages a step. All words of a step were true together at a moment after which nothing of
   * them was invalidated until the step's walk was over. Pages that are not mapped read 0. Throws EBUSY, EFAULT, ENXIO.
   */
  *walk(addr: bigint, length: number): Generator<WalkedWords, void, void> {
    const first = checkPage('walk', 'addr', addr);
    const end = first + checkPages('walk', 'length', first, length);
    if (end > this.#endVpn) throw new RangeError(`walk: the range ends beyond the address space of ${this.name}`);
    for (let at = first; at < end; at += WINDOW_WORDS) {
      const npages = Math.min(WINDOW_WORDS, end - at);
      const state = this.#reader.walk(at, npages);
      yield { start: addrOf(at), end: addrOf(at + npages), pfns: new BigUint64Array(this.#place.u64.buffer, this.#place.window, npages), state };
    }
  }

  /** Has the owner bring `[addr, addr + length)` in. Throws what the owner's call threw (EFAULT, EPERM, ENOMEM, EBUSY), EAGAIN when it does not answer. */
  fault(addr: bigint, length: number, options: { write?: boolean } = {}): void {
    checkOptions('fault', options, ['write']);
    const write = checkBoolean('fault', 'write', options.write ?? false);
    const vpn = checkPage('fault', 'addr', addr);
    this.#place.request('fault', { share: this.#reader.entry.share, vpn, npages: checkPages('fault', 'length', vpn, length), write });
  }

  /**
   * Bytes at `addr`, read while their page was mapped there, page by page; pages that are not there are asked for, or with `fault: false`
   * EFAULT. Of bytes that somebody writes meanwhile some may be old and some new, as on any machine. Throws EBUSY, ENXIO, and as `fault`.
   */
  read(addr: bigint, length: number, options: { fault?: boolean } = {}): Uint8Array {
    checkOptions('read', options, ['fault']);
    const fault = checkBoolean('read', 'fault', options.fault ?? true);
    const { vpn, within } = checkAddress('read', 'addr', addr);
    const bytes = new Uint8Array(checkBytes('read', 'length', length));
    this.#place.check('read');
    for (let done = 0; done < bytes.length; ) {
      const at = within + done;
      const count = Math.min(bytes.length - done, 4096 - (at % 4096));
      this.#readPage(vpn + Math.floor(at / 4096), at % 4096, bytes, done, count, fault);
      done += count;
    }
    return bytes;
  }

  #readPage(vpn: Vpn, within: number, target: Uint8Array, at: number, length: number, fault: boolean): void {
    for (let tries = 0; tries < FAULT_TRIES_MAX; tries++) {
      if (vpn < this.#endVpn && this.#reader.copy(vpn, within, target, at, length)) return;
      if (vpn < this.#endVpn && this.#reader.translate(vpn, false) >= 0) continue;
      if (!fault) throw new HmmError('EFAULT', 'read', 'the page is not there', addrOf(vpn));
      this.fault(addrOf(vpn), 4096);
    }
    throw new HmmError('EBUSY', 'read', 'the page did not stay', addrOf(vpn));
  }

}
