/** Arguments of the facade: each bad one is a TypeError or RangeError that names it and its value, before anything has changed. */
import { HmmError } from '../errno.ts';
import { nearest } from '../nearest.ts';
import { hex, vpnOf, type Vpn } from '../units.ts';

const ADDRESS_END = 1n << 64n;
/** below it a number has every byte's address: operations on numbers cost a tenth of those on bigints */
const EXACT_END = 2 ** 53;

/** A byte address as page number and byte within it. */
export function checkAddress(op: string, name: string, value: unknown): { vpn: Vpn; within: number } {
  if (typeof value !== 'bigint') throw new TypeError(`${op}: ${name} must be a bigint, not ${describe(value)}`);
  const bytes = Number(value);
  if (bytes >= 0 && bytes < EXACT_END) {
    const vpn = Math.floor(bytes / 4096);
    return { vpn, within: bytes - vpn * 4096 };
  }
  if (value < 0n || value >= ADDRESS_END) throw new RangeError(`${op}: ${name} ${hex(value)} is outside 64 bits`);
  return { vpn: vpnOf(value), within: Number(value & 0xfffn) };
}

/** A byte address on a page. Throws EINVAL when it is not. */
export function checkPage(op: string, name: string, value: unknown): Vpn {
  const { vpn, within } = checkAddress(op, name, value);
  if (within !== 0) throw new HmmError('EINVAL', op, `${name} ${hex(value as bigint)} is not page aligned`, value as bigint);
  return vpn;
}

/** A whole number of bytes, 0 or more. */
export function checkBytes(op: string, name: string, value: unknown): number {
  if (typeof value !== 'number') throw new TypeError(`${op}: ${name} must be a number, not ${describe(value)}`);
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${op}: ${name} ${value} is not a whole number of bytes`);
  return value;
}

/** A length in bytes, more than 0, rounded up to pages; the end must stay inside 64 bits. Throws EINVAL for 0. */
export function checkPages(op: string, name: string, start: Vpn, value: unknown): number {
  const bytes = checkBytes(op, name, value);
  if (bytes === 0) throw new HmmError('EINVAL', op, `${name} is zero`);
  const npages = Math.ceil(bytes / 4096);
  if (start + npages > 2 ** 52) throw new RangeError(`${op}: ${name} ${value} wraps the address space`);
  return npages;
}

export function checkData(op: string, name: string, value: unknown): Uint8Array {
  if (!(value instanceof Uint8Array)) throw new TypeError(`${op}: ${name} must be a Uint8Array, not ${describe(value)}`);
  return value;
}

/** Page numbers that a table of pages below `end` can have. */
export function checkVpns(op: string, vpns: unknown, end: Vpn, table: string): Float64Array {
  if (!(vpns instanceof Float64Array)) throw new TypeError(`${op}: vpns must be a Float64Array, not ${describe(vpns)}`);
  for (let i = 0; i < vpns.length; i++) {
    const vpn = vpns[i] as number;
    if (!(vpn >= 0 && vpn < end)) throw new RangeError(`${op}: ${vpn} is no page of ${table}`);
  }
  return vpns;
}

/** One of a few words. */
export function checkOneOf<T extends string>(op: string, name: string, value: unknown, allowed: readonly T[]): T {
  if (typeof value !== 'string' || !(allowed as readonly string[]).includes(value)) {
    throw new TypeError(`${op}: ${name} must be one of ${allowed.join(', ')}, not ${typeof value === 'string' ? nearest(value, allowed) : describe(value)}`);
  }
  return value as T;
}

export function checkName(op: string, value: unknown): string {
  return checkString(op, 'name', value);
}

export function checkString(op: string, name: string, value: unknown): string {
  if (typeof value !== 'string') throw new TypeError(`${op}: ${name} must be a string, not ${describe(value)}`);
  return value;
}

export function checkFunction(op: string, name: string, value: unknown): void {
  if (typeof value !== 'function') throw new TypeError(`${op}: ${name} must be a function, not ${describe(value)}`);
}

/** An object of the facade, by its class. */
export function checkIs(op: string, name: string, value: unknown, kind: abstract new (...args: never[]) => object): void {
  if (!(value instanceof kind)) throw new TypeError(`${op}: ${name} must be of class ${kind.name}, not ${describe(value)}`);
}

export function checkBoolean(op: string, name: string, value: unknown): boolean {
  if (typeof value !== 'boolean') throw new TypeError(`${op}: ${name} must be true or false, not ${describe(value)}`);
  return value;
}

export function describe(value: unknown): string {
  if (typeof value === 'string') return `'${value}'`;
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}
