/** Bug switches of a user's own: mutation testing of a driver that is written against the mirror API. */

/** Switches by name, with what each breaks, and which of them are on. */
export interface OwnBugs<Name extends string> {
  readonly names: readonly Name[];
  /** what it breaks */
  what(name: Name): string;
  /** is it on? Asked by the driver, where it would do wrong. */
  has(name: Name): boolean;
}

/** `all`: what each switch breaks, in a line. `on`: those that are on. Throws RangeError for a name that is none of them. */
export function defineBugs<Name extends string>(all: Readonly<Record<Name, string>>, on: readonly string[] = []): OwnBugs<Name> {
  if (typeof all !== 'object' || all === null) throw new TypeError(`defineBugs: all must be an object, not ${String(all)}`);
  const names = Object.keys(all) as Name[];
  const unknown = on.find((name) => !Object.hasOwn(all, name));
  if (unknown !== undefined) throw new RangeError(`defineBugs: no switch '${unknown}' (known: ${names.join(', ')})`);
  return {
    names,
    what: (name) => all[name],
    has: (name) => on.includes(name),
  };
}
