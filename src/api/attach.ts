/** attach(): a machine seen from another thread. It reads tables and contents while their owner changes them, and asks for pages. */
import { HmmError, checkOptions } from '../errno.ts';
import { TableReader, WorkerPlace, type ShareHandle } from '../share/index.ts';
import { describe } from './checks.ts';
import { threadId } from './nativeThread.ts';
import { SharedTable } from './sharedTable.ts';

export interface AttachOptions {
  /** how long it waits for the owner before EAGAIN or EBUSY (default 10,000 ms) */
  readonly patienceMs?: number;
}

const PATIENCE_MS = 10_000;

/**
 * Attaches this thread to the machine that `machine.share()` made `handle` of. Throws TypeError for what is no handle, ENOEXEC for an arena of
 * another ABI version, ENXIO for a machine that was reset or disposed, EAGAIN when as many Workers are attached as it has places for.
 */
export function attach(handle: ShareHandle, options: AttachOptions = {}): Attachment {
  checkOptions('attach', options, ['patienceMs']);
  const { patienceMs = PATIENCE_MS } = options;
  if (typeof handle !== 'object' || handle === null || handle.kind !== 'daxmirror share') throw new TypeError(`attach: handle must come from machine.share(), not ${describe(handle)}`);
  if (typeof patienceMs !== 'number' || !(patienceMs > 0)) throw new RangeError(`attach: patienceMs ${describe(patienceMs)} is not more than 0`);
  return new Attachment(new WorkerPlace(handle, threadId(), patienceMs));
}

/** A Worker's access to a machine. Not to be used by two threads: each attaches for itself. */
export class Attachment implements Disposable {
  readonly #place: WorkerPlace;
  readonly #tables = new Map<number, SharedTable>();

  /** @internal made by `attach` */
  constructor(place: WorkerPlace) {
    this.#place = place;
  }

  /** Names of the tables that can be read: processes and devices. */
  get names(): readonly string[] {
    return this.#place.handle.tables.map(({ name }) => name);
  }

  /** The page table of the process, or device, of that name; the first of several. Throws ENOENT. */
  table(name: string): SharedTable {
    this.#place.check('table');
    const entry = this.#place.handle.tables.find((table) => table.name === name);
    if (entry === undefined) throw new HmmError('ENOENT', 'table', `nothing called ${describe(name)} is shared (known: ${this.names.join(', ') || 'none'})`);
    let table = this.#tables.get(entry.id);
    if (table === undefined) {
      table = new SharedTable(this.#place, new TableReader(this.#place, entry));
      this.#tables.set(entry.id, table);
    }
    return table;
  }

  /** What this Worker did: reads (a translation, a piece of a walk, a page's bytes each) and tries that the owner was faster than. */
  get counts(): { readonly reads: number; readonly retries: number } {
    return { reads: this.#place.reads, retries: this.#place.retries };
  }

  /** Gives the place back; the tables made from here are dead (EBADF). Detaching twice is no error. */
  detach(): void {
    this.#place.detach();
  }

  [Symbol.dispose](): void {
    this.detach();
  }
}
