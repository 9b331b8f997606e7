/**
 * The owner's side of shared tables: which there are, and how far their address spaces are with invalidations.
 *
 * Each has a block of numbers in the arena (SHARE_* of abi.ts). Its sequence is the page table's to count: odd while entries change.
 * Its invalidations are counted here, by a listener of the space's notifiers: begun before the first entry goes, ended when the last
 * has gone, the last sixteen with their ranges. An id is never given twice, so that who knew the table before finds it gone.
 */
import { HDR_SHARE_IDS, SHARES, SHARE_ENDED, SHARE_ID, SHARE_MAX, SHARE_RING, SHARE_RING_MAX, SHARE_RING_STRIDE, SHARE_STARTED, SHARE_STRIDE } from '../abi.ts';
import type { Arena } from '../arena/index.ts';
import { HmmError } from '../errno.ts';
import type { MmuNotifier, MmuNotifiers } from '../mm/index.ts';
import type { PageTable } from '../pgtable/index.ts';
import type { SharedTableEntry } from './handle.ts';

export class SharedTables {
  readonly #arena: Arena;
  readonly #entries = new Map<PageTable, SharedTableEntry>();

  constructor(arena: Arena) {
    this.#arena = arena;
  }

  /** Every table that is shared and not gone, in the order in which they were. */
  get entries(): readonly SharedTableEntry[] {
    this.#sweep();
    return [...this.#entries.values()];
  }

  /**
   * Shares `table`; one that is already stays as it is. `notifiers`: of the space that it is the page table of, or whose mirror it is.
   * Throws EBUSY while an invalidation of the space is in flight, ENOSPC when there are 64.
   */
  share(name: string, kind: SharedTableEntry['kind'], table: PageTable, notifiers: MmuNotifiers): SharedTableEntry {
    const known = this.#entries.get(table);
    if (known !== undefined && table.share === known.share) return known;
    if (notifiers.active > 0) throw new HmmError('EBUSY', 'share', `an invalidation of ${name} is in flight`);
    this.#sweep();
    const taken = new Set(Array.from(this.#entries.values(), ({ share }) => share));
    let share = SHARES;
    while (taken.has(share)) share += SHARE_STRIDE;
    if (share >= SHARES + SHARE_STRIDE * SHARE_MAX) throw new HmmError('ENOSPC', 'share', `${SHARE_MAX} tables are shared already`);
    const entry: SharedTableEntry = { name, kind, share, id: this.#newId(), root: table.root, levels: table.levels };
    const { i32 } = this.#arena;
    Atomics.store(i32, (share + SHARE_ENDED) >>> 2, Atomics.load(i32, (share + SHARE_STARTED) >>> 2));
    Atomics.store(i32, (share + SHARE_ID) >>> 2, entry.id);
    table.share = share;
    notifiers.register(this.#listener(entry));
    this.#entries.set(table, entry);
    return entry;
  }

  /** The table with this block, or null where it is gone. */
  tableAt(share: number): { readonly table: PageTable; readonly entry: SharedTableEntry } | null {
    for (const [table, entry] of this.#entries) if (entry.share === share && table.share === share) return { table, entry };
    return null;
  }

  /** Nothing is shared any more: who reads finds it gone. */
  end(): void {
    for (const [table, { share }] of this.#entries) {
      table.share = 0;
      Atomics.store(this.#arena.i32, (share + SHARE_ID) >>> 2, 0);
    }
    this.#entries.clear();
  }

  /** Forgets tables that were given back. */
  #sweep(): void {
    for (const table of this.#entries.keys()) if (table.share === 0) this.#entries.delete(table);
  }

  #newId(): number {
    const { i32 } = this.#arena;
    const id = (Atomics.add(i32, HDR_SHARE_IDS >>> 2, 1) + 1) | 0;
    return id === 0 ? this.#newId() : id;
  }

  #listener({ name, share, id }: SharedTableEntry): MmuNotifier {
    const { i32, f64 } = this.#arena;
    const idAt = (share + SHARE_ID) >>> 2;
    const [started, ended] = [(share + SHARE_STARTED) >>> 2, (share + SHARE_ENDED) >>> 2];
    return {
      name: `workers of ${name}`,
      // oxlint-disable-next-line require-yield
      *start(range) {
        if (Atomics.load(i32, idAt) !== id) return true;
        const at = (share + SHARE_RING + ((i32[started] as number) & (SHARE_RING_MAX - 1)) * SHARE_RING_STRIDE) >>> 3;
        f64[at] = range.start;
        f64[at + 1] = range.end;
        Atomics.add(i32, started, 1);
        return true;
      },
      end() {
        if (Atomics.load(i32, idAt) === id) Atomics.add(i32, ended, 1);
      },
    };
  }
}
