/**
 * What a scenario has named: areas, files, mirrors, pins, children, threads. At most 32 names at a time, in slots.
 *
 * A name given again takes the old one's slot; a new one the first that is free. Of two areas at one address the one in the earlier
 * slot gives its name to addresses there. One id may stand for things of different kinds.
 */

export const NAMES_MAX = 32;

export type NameKind = 'area' | 'file' | 'mirror' | 'pins' | 'child' | 'thread' | 'device' | 'machine' | 'worker';

interface Slot {
  readonly kind: NameKind;
  readonly id: string;
  readonly value: unknown;
}

/** The names are used up: the runner in the guest gives up, too. */
export class TooManyNames extends Error {}

/** The names of one kind. */
export interface NamesOf<T> {
  get(id: string): T | undefined;
  has(id: string): boolean;
  /** Throws TooManyNames. */
  set(id: string, value: T): void;
  delete(id: string): void;
  /** in the order of their slots */
  values(): Iterable<T>;
}

export class Names {
  readonly #slots: (Slot | null)[] = [];

  /** The names of one kind; the caller says of what type they are. */
  of<T>(kind: NameKind): NamesOf<T> {
    const slots = this.#slots;
    const find = (id: string): number => slots.findLastIndex((slot) => slot !== null && slot.kind === kind && slot.id === id);
    return {
      get: (id) => slots[find(id)]?.value as T | undefined,
      has: (id) => find(id) >= 0,
      set: (id, value) => {
        const free = slots.indexOf(null);
        const at = [find(id), free, slots.length].find((i) => i >= 0) as number;
        if (at === NAMES_MAX) throw new TooManyNames('too many names');
        slots[at] = { kind, id, value };
      },
      delete: (id) => {
        const at = find(id);
        if (at >= 0) slots[at] = null;
      },
      values: () => slots.filter((slot) => slot?.kind === kind).map((slot) => (slot as Slot).value as T),
    };
  }

  /** What a child starts with: all but its brothers, whose slots are free. */
  copy(): Names {
    const copy = new Names();
    copy.#slots.push(...this.#slots.map((slot) => (slot?.kind === 'child' ? null : slot)));
    return copy;
  }
}
