/**
 * Words of the scenario language: sizes with K, M, G and P (pages), numbers, protections, addresses `name+offset`.
 *
 * Each reader answers null for what is no such word; who asked says where it stands. A number that begins with 0 is none: it would be octal
 * in the guest.
 */
import { VM_EXEC, VM_READ, VM_WRITE } from '../mm/index.ts';

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, P: 4096 };

/** '8K', '0x1000', '3P' in bytes. */
export function sizeOf(text: string): number | null {
  const [, digits = '', unit = ''] = /^(0x[0-9a-f]+|0|[1-9]\d*)([KMGP]?)$/i.exec(text) ?? [];
  if (digits === '') return null;
  const bytes = Number(digits) * (UNITS[unit.toUpperCase()] as number);
  return bytes < 2 ** 53 ? bytes : null;
}

export function numberOf(text: string): number | null {
  return /^(0x[0-9a-f]+|0|[1-9]\d*)$/i.test(text) && Number(text) < 2 ** 53 ? Number(text) : null;
}

/** 'rwx', '-' for none, as VM_ bits. */
export function protOf(text: string): number | null {
  if (text !== '-' && !/^[rwx]+$/.test(text)) return null;
  return (text.includes('r') ? VM_READ : 0) + (text.includes('w') ? VM_WRITE : 0) + (text.includes('x') ? VM_EXEC : 0);
}

/** An address in parts: a name (or '[stack]' and the like; null for a plain number) and bytes beyond it. */
export interface AddressWord {
  readonly name: string | null;
  readonly offset: number;
  /** as it was written */
  readonly text: string;
}

/** 'a', 'a+4K', '[vvar]+0', '0x1000'. Of 'a+4M+8K' only the first offset counts: so the runner in the guest took it, and the records. */
export function addressOf(text: string): AddressWord | null {
  const [first = '', ...rest] = text.split('+');
  const plain = sizeOf(first);
  let offset = plain ?? 0;
  for (const [i, part] of rest.entries()) {
    const bytes = sizeOf(part);
    if (bytes === null) return null;
    if (i === 0) offset += bytes;
  }
  if (plain !== null) return { name: null, offset, text };
  return /^(\w+|\[\w+\])$/.test(first) ? { name: first, offset, text } : null;
}
